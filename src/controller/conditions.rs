//! Conditions of a status: pure edits that keep the time of the last transition.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::condition::reason;
use crate::redact;

/// Kubernetes accepts 32,768 bytes in a message; a person reads far less.
const MESSAGE_LIMIT: usize = 4096;

/// Type of the condition that lists spec fields which are set and not acted on.
pub const FIELDS_NOT_ACTED_ON: &str = "FieldsNotActedOn";

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// `True`.
    True,
    /// `False`.
    False,
    /// `Unknown`.
    Unknown,
}

impl Truth {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    /// As read; anything that Kubernetes does not define is unknown.
    pub fn from_status(status: &str) -> Self {
        [Self::True, Self::False].into_iter().find(|truth| truth.as_str() == status).unwrap_or(Self::Unknown)
    }
}

/// Sets a condition. Its transition time changes only with its status. The message is redacted
/// and bounded.
pub fn set(
    conditions: &mut Vec<Condition>,
    type_: &str,
    status: Truth,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let message = redact::bounded(&redact::redact(message), MESSAGE_LIMIT).into_owned();
    let new = Condition {
        type_: type_.to_owned(),
        status: status.as_str().to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: Time(whole_second(now)),
    };
    match conditions.iter_mut().find(|condition| condition.type_ == type_) {
        Some(old) if old.status == new.status => {
            *old = Condition { last_transition_time: old.last_transition_time.clone(), ..new };
        }
        Some(old) => *old = new,
        None => conditions.push(new),
    }
}

/// Kubernetes stores times of conditions in whole seconds; a finer one would differ from what is
/// read back, for ever.
pub fn whole_second(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Removes a condition.
pub fn remove(conditions: &mut Vec<Condition>, type_: &str) {
    conditions.retain(|condition| condition.type_ != type_);
}

/// The condition of that type.
pub fn get<'c>(conditions: &'c [Condition], type_: &str) -> Option<&'c Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of that type is `True`.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    get(conditions, type_).is_some_and(|condition| condition.status == Truth::True.as_str())
}

/// Whether `Ready` is `True` for this generation of the object.
pub fn ready(conditions: &[Condition], generation: Option<i64>) -> bool {
    get(conditions, "Ready").is_some_and(|ready| {
        ready.status == Truth::True.as_str()
            && (ready.observed_generation.is_none() || ready.observed_generation == generation)
    })
}

/// Says which fields of the spec are set and not acted on, or removes that note.
pub fn set_not_acted_on(conditions: &mut Vec<Condition>, fields: &[&str], generation: Option<i64>, now: Timestamp) {
    if fields.is_empty() {
        remove(conditions, FIELDS_NOT_ACTED_ON);
        return;
    }
    let message = not_acted_on_message(fields);
    set(conditions, FIELDS_NOT_ACTED_ON, Truth::True, reason::NOT_ACTED_ON, &message, generation, now);
}

/// The words of [`FIELDS_NOT_ACTED_ON`].
pub fn not_acted_on_message(fields: &[&str]) -> String {
    format!("accepted, but this version does not act on: {}", fields.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_transition_time_moves_with_the_status_only() {
        let mut conditions = Vec::new();
        set(&mut conditions, "Ready", Truth::False, "Failed", "a", Some(1), at(10));
        set(&mut conditions, "Ready", Truth::False, "Failed", "b", Some(2), at(20));
        let ready = get(&conditions, "Ready").unwrap();
        assert_eq!((ready.message.as_str(), ready.last_transition_time.0), ("b", at(10)));
        set(&mut conditions, "Ready", Truth::True, "Succeeded", "c", Some(2), at(30));
        assert_eq!(get(&conditions, "Ready").unwrap().last_transition_time.0, at(30));
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn ready_counts_for_its_generation() {
        let mut conditions = Vec::new();
        set(&mut conditions, "Ready", Truth::True, "Succeeded", "", Some(1), at(1));
        assert!(ready(&conditions, Some(1)));
        assert!(!ready(&conditions, Some(2)));
        assert!(!ready(&[], Some(1)));
    }

    #[test]
    fn messages_are_redacted_and_bounded() {
        let mut conditions = Vec::new();
        let long = format!("https://ann:pw@host {}", "x".repeat(10_000));
        set(&mut conditions, "Ready", Truth::False, "Failed", &long, None, at(1));
        let message = &conditions[0].message;
        assert!(message.starts_with("https://*****@host") && message.len() < 5_000, "{message}");
    }

    #[test]
    fn fields_not_acted_on_come_and_go() {
        let mut conditions = Vec::new();
        set_not_acted_on(&mut conditions, &["spec.verify"], Some(1), at(1));
        assert!(is_true(&conditions, FIELDS_NOT_ACTED_ON));
        assert!(conditions[0].message.contains("spec.verify"));
        set_not_acted_on(&mut conditions, &[], Some(1), at(1));
        assert!(conditions.is_empty());
    }
}
