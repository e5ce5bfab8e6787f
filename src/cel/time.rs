//! Times and durations.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Zoned};

use super::ast::Operator;
use super::value::Value;
use crate::api::meta::Duration;

/// Reads a duration as Go writes it, with a sign or without.
pub fn duration(text: &str) -> Option<SignedDuration> {
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let magnitude = SignedDuration::try_from(rest.parse::<Duration>().ok()?.to_std()).ok()?;
    Some(if negative { -magnitude } else { magnitude })
}

/// A duration as CEL writes it: seconds.
pub fn shown(duration: SignedDuration) -> String {
    let (seconds, nanoseconds) = (duration.as_secs().unsigned_abs(), duration.subsec_nanos().unsigned_abs());
    let sign = if duration.is_negative() { "-" } else { "" };
    if nanoseconds == 0 {
        return format!("{sign}{seconds}s");
    }
    let fraction = format!("{nanoseconds:09}");
    format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
}

/// Whether times and durations of these types can be added or subtracted.
pub fn has_arithmetic(operator: Operator, left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Timestamp(_) | Value::Duration(_), Value::Duration(_)) => {
            matches!(operator, Operator::Add | Operator::Subtract)
        }
        (Value::Duration(_), Value::Timestamp(_)) => operator == Operator::Add,
        (Value::Timestamp(_), Value::Timestamp(_)) => operator == Operator::Subtract,
        _ => false,
    }
}

/// Their sum or difference; `None` when it is out of range.
pub fn arithmetic(operator: Operator, left: &Value, right: &Value) -> Option<Value> {
    let signed =
        |duration: &SignedDuration| if operator == Operator::Add { Some(*duration) } else { duration.checked_neg() };
    match (left, right) {
        (Value::Timestamp(time), Value::Duration(by)) | (Value::Duration(by), Value::Timestamp(time)) => {
            time.checked_add(signed(by)?).ok().map(Value::Timestamp)
        }
        (Value::Timestamp(one), Value::Timestamp(two)) => Some(Value::Duration(one.duration_since(*two))),
        (Value::Duration(one), Value::Duration(two)) => one.checked_add(signed(two)?).map(Value::Duration),
        _ => None,
    }
}

/// `getHours()` and its like; `None` for what is no part of the first argument.
pub fn part(function: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
    let (zone, number) = match arguments {
        [Value::Duration(duration)] => (None, of_duration(function, *duration)?),
        [Value::Timestamp(time)] => (None, of_time(function, &time.to_zoned(TimeZone::UTC))?),
        [Value::Timestamp(time), Value::String(zone)] => match time_zone(zone) {
            Some(zone) => (None, of_time(function, &time.to_zoned(zone))?),
            None => (Some(format!("there is no time zone '{}'", zone.chars().take(40).collect::<String>())), 0),
        },
        _ => return None,
    };
    Some(zone.map_or(Ok(Value::Int(number)), Err))
}

fn of_duration(function: &str, duration: SignedDuration) -> Option<i64> {
    Some(match function {
        "getHours" => duration.as_secs() / 3600,
        "getMinutes" => duration.as_secs() / 60,
        "getSeconds" => duration.as_secs(),
        "getMilliseconds" => i64::from(duration.subsec_millis()),
        _ => return None,
    })
}

fn of_time(function: &str, time: &Zoned) -> Option<i64> {
    Some(match function {
        "getFullYear" => i64::from(time.year()),
        "getMonth" => i64::from(time.month()) - 1,
        "getDate" => i64::from(time.day()),
        "getDayOfMonth" => i64::from(time.day()) - 1,
        "getDayOfWeek" => i64::from(time.weekday().to_sunday_zero_offset()),
        "getDayOfYear" => i64::from(time.day_of_year()) - 1,
        "getHours" => i64::from(time.hour()),
        "getMinutes" => i64::from(time.minute()),
        "getSeconds" => i64::from(time.second()),
        "getMilliseconds" => i64::from(time.millisecond()),
        _ => return None,
    })
}

/// A zone by its name, or by its offset as in `-02:00`.
fn time_zone(name: &str) -> Option<TimeZone> {
    let (sign, offset) = match name.split_at_checked(1)? {
        ("-", rest) => (-1, rest),
        ("+", rest) => (1, rest),
        _ => (1, name),
    };
    let Some((hours, minutes)) = offset.split_once(':') else {
        return TimeZone::get(name).ok();
    };
    let seconds = hours.parse::<i32>().ok()?.checked_mul(60)?.checked_add(minutes.parse().ok()?)?.checked_mul(60)?;
    jiff::tz::Offset::from_seconds(sign * seconds).ok().map(TimeZone::fixed)
}
