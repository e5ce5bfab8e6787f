//! Flags about what the operator tells of its own work.

use clap::Args;

use super::given;
use crate::traces::settings::HEADERS;
use crate::traces::{OtlpError, OtlpSettings};

/// Arguments of `fairlead run` that are about what it tells of itself.
#[derive(Args, Clone, Debug)]
pub struct TelemetryArgs {
    /// Keep `gotk_reconcile_duration_seconds` for each object, as Flux does, and not only for each kind: 14 lines of
    /// `/metrics` an object.
    #[arg(long, env = "FAIRLEAD_METRICS_PER_OBJECT")]
    pub metrics_per_object: bool,
    /// Send a trace of each change to this OpenTelemetry collector, by OTLP over HTTP (`http://collector:4318`).
    /// Headers, such as an API key, are read from the variable `OTEL_EXPORTER_OTLP_HEADERS`.
    #[arg(long, env = "FAIRLEAD_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

impl TelemetryArgs {
    /// Where traces are sent, if anywhere. Headers are secret, and have no flag.
    pub(super) fn otlp(&self) -> Result<Option<OtlpSettings>, OtlpError> {
        let Some(endpoint) = given(self.otlp_endpoint.as_ref()) else { return Ok(None) };
        let headers = std::env::var_os(HEADERS).unwrap_or_default();
        OtlpSettings::read(&endpoint, &headers.to_string_lossy()).map(Some)
    }
}
