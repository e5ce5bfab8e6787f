//! Numbers as Go writes them.
//!
//! Helm and Flux decode every number of a values file into a 64-bit float, so `1.0` and `1` are
//! the same value, and integers beyond 2^53 lose their last digits. Both digests depend on it.

use serde_json::Number;

/// 2^63, the first float that an `int64` cannot hold.
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// 2^64, the first float that a `uint64` cannot hold.
const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;

/// The number as go-yaml writes a float that came out of JSON: whole ones as integers, others in
/// their shortest form, with an exponent below 1e-4 and from 1e6 on.
pub fn yaml(number: &Number) -> String {
    let float = float(number);
    if float.fract() == 0.0 && (-TWO_TO_63..TWO_TO_64).contains(&float) {
        return format!("{:.0}", float + 0.0);
    }
    let (digits, exponent) = shortest(float);
    if (-4..6).contains(&exponent) { format!("{float}") } else { scientific(&digits, exponent, 2) }
}

/// The number as Go's JSON encoder writes a float: an exponent below 1e-6 and from 1e21 on.
pub fn json(number: &Number) -> String {
    let float = float(number);
    let magnitude = float.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let (digits, exponent) = shortest(float);
        // Go shortens `e-09` to `e-9` here, but leaves `e+09` (which cannot occur) alone.
        return scientific(&digits, exponent, if exponent < 0 { 1 } else { 2 });
    }
    format!("{float}")
}

fn float(number: &Number) -> f64 {
    number.as_f64().expect("without arbitrary precision every JSON number is a float")
}

/// The shortest digits that read back as the same float (`-1.25`), and their decimal exponent.
fn shortest(float: f64) -> (String, i32) {
    let text = format!("{float:e}");
    let (digits, exponent) = text.split_once('e').expect("`{:e}` always writes an exponent");
    (digits.to_owned(), exponent.parse().expect("`{:e}` writes a decimal exponent"))
}

fn scientific(digits: &str, exponent: i32, width: usize) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:0width$}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn number(value: Value) -> Number {
        match value {
            Value::Number(number) => number,
            other => panic!("{other} is no number"),
        }
    }

    #[test]
    fn numbers_read_as_in_go() {
        let cases = [
            (json!(0), "0", "0"),
            (json!(-0.0), "0", "-0"),
            (json!(1.0), "1", "1"),
            (json!(0.1), "0.1", "0.1"),
            (json!(1e11), "100000000000", "100000000000"),
            (json!(1e20), "1e+20", "100000000000000000000"),
            (json!(1e21), "1e+21", "1e+21"),
            (json!(1_234_567.5), "1.2345675e+06", "1234567.5"),
            (json!(123_456.5), "123456.5", "123456.5"),
            (json!(0.0001), "0.0001", "0.0001"),
            (json!(0.00001), "1e-05", "0.00001"),
            (json!(1e-7), "1e-07", "1e-7"),
            (json!(9_007_199_254_740_993_i64), "9007199254740992", "9007199254740992"),
            (json!(u64::MAX), "1.8446744073709552e+19", "18446744073709552000"),
        ];
        for (value, in_yaml, in_json) in cases {
            let number = number(value);
            assert_eq!((yaml(&number).as_str(), json_text(&number).as_str()), (in_yaml, in_json));
        }
    }

    fn json_text(number: &Number) -> String {
        super::json(number)
    }
}
