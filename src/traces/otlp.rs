//! Spans as OTLP asks for them in protobuf. Pure.
//!
//! The messages are those of `opentelemetry/proto/collector/trace/v1`, with the fields that are used here: the format
//! promises that their numbers stay. The generated ones would bring the whole SDK.

use jiff::Timestamp;
use prost::Message;

use super::span::{self, Attributes};

/// `SPAN_KIND_INTERNAL`.
const INTERNAL: i32 = 1;

/// `STATUS_CODE_ERROR`.
const ERROR: i32 = 2;

/// What is asked of a collector.
#[derive(Clone, PartialEq, Message)]
pub struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

/// What a collector answers.
#[derive(Clone, PartialEq, Message)]
pub struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[allow(clippy::struct_field_names, reason = "the names are those of the format")]
#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

/// The body of a request with these spans, of the process that these attributes describe.
pub fn request(resource: &Attributes, spans: &[span::Span]) -> Vec<u8> {
    let scope = Scope { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: spans.iter().map(encoded).collect() }];
    let resource = Resource { attributes: resource.iter().map(pair).collect() };
    ExportRequest { resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans }] }.encode_to_vec()
}

/// How many spans a collector rejected of a request that it took, and why. An answer that is none says nothing.
pub fn rejected(answer: &[u8]) -> Option<(u64, String)> {
    let partial = ExportResponse::decode(answer).ok()?.partial_success?;
    let count = u64::try_from(partial.rejected_spans).ok().filter(|count| *count > 0)?;
    Some((count, partial.error_message))
}

fn encoded(span: &span::Span) -> Span {
    let failed = span.failure.as_ref().map(|failure| Status { message: failure.message.clone(), code: ERROR });
    let reason = span.failure.as_ref().map(|failure| ("error.type", failure.reason.as_str().into()));
    Span {
        trace_id: span.trace.0.to_vec(),
        span_id: span.id.0.to_vec(),
        parent_span_id: span.parent.map(|parent| parent.0.to_vec()).unwrap_or_default(),
        name: span.name.clone().into_owned(),
        kind: INTERNAL,
        start_time_unix_nano: nanoseconds(span.period.start),
        end_time_unix_nano: nanoseconds(span.period.end),
        attributes: span.attributes.iter().chain(&reason).map(pair).collect(),
        status: failed,
    }
}

fn nanoseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or_default()
}

fn pair((key, value): &(&'static str, span::Value)) -> KeyValue {
    let value = match value {
        span::Value::Text(text) => Value::Text(text.clone()),
        span::Value::Number(number) => Value::Number(*number),
    };
    KeyValue { key: (*key).to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_rejection_counts() {
        let answer = |rejected_spans, error_message: &str| {
            let partial = PartialSuccess { rejected_spans, error_message: error_message.to_owned() };
            ExportResponse { partial_success: Some(partial) }.encode_to_vec()
        };
        for (answer, expected) in [
            (Vec::new(), None),
            (b"ok".to_vec(), None),
            (answer(0, "slow down"), None),
            (answer(-1, ""), None),
            (answer(2, "too old"), Some((2, "too old".to_owned()))),
        ] {
            assert_eq!(rejected(&answer), expected);
        }
    }
}
