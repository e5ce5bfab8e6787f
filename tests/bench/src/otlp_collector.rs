//! A collector of OpenTelemetry traces on loopback: OTLP over HTTP, decoded with OpenTelemetry's own types.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::Message as _;
use serde_json::Value;

use crate::webhook_server::{Received, WebhookServer};

/// A span that came.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its trace, in hexadecimal.
    pub trace: String,
    /// Its identity, in hexadecimal.
    pub id: String,
    /// What it is a part of, in hexadecimal; empty for a root.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// When it began, in nanoseconds since 1970.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// What is known of it.
    pub attributes: BTreeMap<String, Value>,
    /// What is known of the process that sent it.
    pub resource: BTreeMap<String, Value>,
    /// The message of its status, where that is an error.
    pub error: Option<String>,
}

impl Span {
    /// An attribute as text; empty when it is absent.
    pub fn text(&self, key: &str) -> &str {
        self.attributes.get(key).and_then(Value::as_str).unwrap_or_default()
    }
}

/// The running collector; stops when dropped.
#[derive(Debug)]
pub struct OtlpCollector {
    server: WebhookServer,
}

impl OtlpCollector {
    /// Listens to plain HTTP.
    ///
    /// # Panics
    /// When no port can be bound.
    pub fn start() -> Self {
        Self { server: WebhookServer::start() }
    }

    /// Its address, as exporters take it.
    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// The server, whose answers can be changed.
    pub fn webhooks(&self) -> &WebhookServer {
        &self.server
    }

    /// The requests that were answered, taken or not.
    pub fn requests(&self) -> Vec<Received> {
        self.server.received()
    }

    /// The spans of all requests that were answered.
    ///
    /// # Panics
    /// When a request was not as OTLP asks for it.
    pub fn spans(&self) -> Vec<Span> {
        self.requests().iter().flat_map(decoded).collect()
    }
}

fn decoded(request: &Received) -> Vec<Span> {
    assert_eq!(request.path, "/v1/traces", "the path of traces");
    assert_eq!(request.header("content-type"), "application/x-protobuf", "the type of the body");
    let body = ExportTraceServiceRequest::decode(request.body.clone()).expect("a request for the export of traces");
    let spans = body.resource_spans.into_iter().flat_map(|of_resource| {
        let resource = attributes(of_resource.resource.unwrap_or_default().attributes);
        let spans = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
        spans.map(|span| shown(span, &resource)).collect::<Vec<_>>()
    });
    spans.collect()
}

fn shown(span: otlp::Span, resource: &BTreeMap<String, Value>) -> Span {
    assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8), "the length of ids: {span:?}");
    let status = span.status.unwrap_or_default();
    Span {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        name: span.name,
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        attributes: attributes(span.attributes),
        resource: resource.clone(),
        error: (status.code == otlp::status::StatusCode::Error as i32).then_some(status.message),
    }
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, Value> {
    let values = pairs.into_iter().map(|KeyValue { key, value, .. }| {
        let value = match value.and_then(|value| value.value) {
            Some(Any::StringValue(text)) => text.into(),
            Some(Any::IntValue(number)) => number.into(),
            other => panic!("{key} has the value {other:?}"),
        };
        (key, value)
    });
    values.collect()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}
