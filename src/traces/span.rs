//! A span, and how it gets its identity. Pure.

use std::borrow::Cow;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::redact::{bounded, redact};

/// As long as the message of a condition may be.
const MESSAGE_LIMIT: usize = 4096;

/// Identity of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(pub [u8; 16]);

/// Identity of a span in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(pub [u8; 8]);

impl TraceId {
    /// Of an object, by its uid, at a revision: the same in every process.
    pub fn of(uid: &str, revision: &str) -> Self {
        Self(first(&[uid.as_bytes(), revision.as_bytes()]))
    }
}

impl SpanId {
    /// Of what these parts name in a trace: the same in every process.
    pub fn of(trace: TraceId, parts: &[&str]) -> Self {
        Self(first(&[&trace.0, parts.join("\n").as_bytes()]))
    }
}

/// The first bytes of the SHA-256 over these texts.
fn first<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let digest = hash.finalize();
    std::array::from_fn(|index| digest[index])
}

/// From when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The first moment.
    pub start: Timestamp,
    /// The last one.
    pub end: Timestamp,
}

impl Period {
    /// One that never ends before it starts, even where a clock was set back.
    pub fn new(start: Timestamp, end: Timestamp) -> Self {
        Self { start, end: end.max(start) }
    }
}

/// Why something failed, as a condition says it: without secrets, and bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In one word.
    pub reason: String,
    /// In words.
    pub message: String,
}

impl Failure {
    /// A failure, its message redacted as those of conditions are.
    pub fn new(reason: &str, message: &str) -> Self {
        Self { reason: reason.to_owned(), message: bounded(&redact(message), MESSAGE_LIMIT).into_owned() }
    }
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// Attributes of a span.
pub type Attributes = Vec<(&'static str, Value)>;

/// Something that took its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace that it belongs to.
    pub trace: TraceId,
    /// Its identity.
    pub id: SpanId,
    /// What it is a part of; none for the root of a trace.
    pub parent: Option<SpanId>,
    /// What it is.
    pub name: Cow<'static, str>,
    /// When it was.
    pub period: Period,
    /// What is known of it.
    pub attributes: Attributes,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_the_begin_of_a_hash_that_anybody_can_make() {
        // printf 'uid-1main@sha1:ab' | sha256sum
        let trace = TraceId::of("uid-1", "main@sha1:ab");
        assert_eq!(u128::from_be_bytes(trace.0), 0x3b96_607c_c420_7121_c2fc_4f32_d60d_239a);
        assert_ne!(trace, TraceId::of("uid-2", "main@sha1:ab"));
        let root = SpanId::of(trace, &["change"]);
        assert_eq!(root, SpanId::of(trace, &["change"]));
        for other in [vec!["change", "a"], vec!["fetch"]] {
            assert_ne!(root, SpanId::of(trace, &other), "{other:?}");
        }
        assert_ne!(root, SpanId::of(TraceId::of("uid-2", "main@sha1:ab"), &["change"]));
    }

    #[test]
    fn a_failure_tells_no_login_and_is_bounded() {
        let failure = Failure::new("GitOperationFailed", &format!("https://ann:pw@host {}", "x".repeat(9_000)));
        assert!(failure.message.starts_with("https://*****@host") && failure.message.len() < 5_000);
    }

    #[test]
    fn nothing_ends_before_it_starts() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(Period::new(at(5), at(3)), Period { start: at(5), end: at(5) });
        assert_eq!(Period::new(at(3), at(5)), Period { start: at(3), end: at(5) });
    }
}
