//! OpenTelemetry traces: one per change, from its commit until the releases that it changed are ready.
//!
//! ```text
//! controller::changes ── Span ──► Queue ──► Exporter ── OTLP over HTTP ──► collector
//!  (which stage a change is at)   (bounded)  (batches, retries)
//! ```
//!
//! Which spans a stage gives ([`stages`]), their identity ([`span`]) and their encoding ([`otlp`]) are pure. Without
//! `--otlp-endpoint` there is no queue, and nobody asks for a span.

pub mod export;
pub mod otlp;
pub mod queue;
pub mod settings;
pub mod span;
pub mod stages;

pub use export::Exporter;
pub use queue::Queue;
pub use settings::{OtlpError, OtlpSettings};
pub use span::{Failure, Period, Span, SpanId, TraceId};
