//! Log lines: one line tells one thing a person wants to know.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::args::LogFormat;

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not understood.
    #[error("--log-level {level:?}: {source}; use error, warn, info, debug or trace")]
    Level {
        /// As given.
        level: String,
        /// Where it breaks.
        source: tracing_subscriber::filter::ParseError,
    },
    /// A subscriber is installed already.
    #[error(transparent)]
    Installed(#[from] TryInitError),
}

/// Installs the process-wide subscriber, which writes to standard error.
///
/// The level holds for Fairlead itself; libraries are heard from `warn` upwards unless the
/// directives name them.
pub fn start(format: LogFormat, level: &str) -> Result<(), TelemetryError> {
    let directives = if level.contains(['=', ',']) { level.to_owned() } else { format!("warn,fairlead={level}") };
    let filter =
        EnvFilter::try_new(directives).map_err(|source| TelemetryError::Level { level: level.to_owned(), source })?;
    let base = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_span_events(FmtSpan::NONE);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => {
            registry.with(base.json().flatten_event(true).with_current_span(false).with_span_list(false)).try_init()?;
        }
        LogFormat::Text => registry.with(base.with_target(false)).try_init()?,
    }
    Ok(())
}
