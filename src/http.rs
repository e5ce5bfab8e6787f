//! Health, readiness and metrics.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::controller::pulse::Pulses;
use crate::metrics::Metrics;
use crate::metrics::exposition::Format;

/// What the operator still lacks to be ready, by the part that lacks it. Cheap to clone.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    lacks: BTreeMap<&'static str, String>,
    notes: BTreeMap<&'static str, String>,
}

impl Readiness {
    /// A part is not ready for this reason. Tells whether that is news.
    pub fn lacks(&self, part: &'static str, why: &str) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.lacks.insert(part, why.to_owned()).as_deref() != Some(why)
    }

    /// A part is ready.
    pub fn has(&self, part: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lacks.remove(part);
    }

    /// What to say of a part besides `ok`.
    pub fn note(&self, part: &'static str, note: Option<String>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match note {
            Some(note) => drop(state.notes.insert(part, note)),
            None => drop(state.notes.remove(part)),
        }
    }

    fn answer(&self) -> (StatusCode, String) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.lacks.is_empty() {
            let notes = state.notes.values().map(String::as_str).collect::<Vec<_>>().join("; ");
            let colon = if notes.is_empty() { "" } else { ": " };
            return (StatusCode::OK, format!("ok{colon}{notes}\n"));
        }
        let lines = state.lacks.iter().fold(String::new(), |mut text, (part, why)| {
            let _ = writeln!(text, "{part}: {why}");
            text
        });
        (StatusCode::SERVICE_UNAVAILABLE, lines)
    }
}

/// Whether everything turns, or which part does not.
fn health(pulses: &Pulses) -> (StatusCode, String) {
    let stuck = pulses.stuck();
    if stuck.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    let lines = stuck.iter().map(|(part, silence)| format!("{part}: stuck for {} s\n", silence.as_secs()));
    (StatusCode::SERVICE_UNAVAILABLE, lines.collect())
}

/// `/healthz` says 200 while every part turns and else 503 with those that do not, `/readyz` says 200
/// once nothing is lacking and 503 with what is lacking before, `/metrics` is in the text format that
/// the client asks for.
pub fn router(metrics: Arc<Metrics>, pulses: Pulses, readiness: Readiness) -> Router {
    let healthy = move || {
        let answer = health(&pulses);
        async move { answer }
    };
    let ready = move || {
        let answer = readiness.answer();
        async move { answer }
    };
    let metrics = move |headers: HeaderMap| {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let format = Format::accepted(accept.unwrap_or_default());
        let text = metrics.text(format);
        async move { ([(header::CONTENT_TYPE, format.content_type())], text).into_response() }
    };
    Router::new().route("/healthz", get(healthy)).route("/readyz", get(ready)).route("/metrics", get(metrics))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_what_is_lacking() {
        let readiness = Readiness::default();
        assert!(readiness.lacks("caches", "HelmRelease is not known yet"));
        assert!(!readiness.lacks("caches", "HelmRelease is not known yet"), "no news");
        readiness.lacks("the API server", "does not answer");
        let (status, text) = readiness.answer();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(text, "caches: HelmRelease is not known yet\nthe API server: does not answer\n");
        readiness.has("caches");
        readiness.has("the API server");
        readiness.note("election", Some("standby".to_owned()));
        readiness.note("disk", Some("full".to_owned()));
        assert_eq!(readiness.answer(), (StatusCode::OK, "ok: full; standby\n".to_owned()));
        readiness.note("election", None);
        readiness.note("disk", None);
        assert_eq!(readiness.answer(), (StatusCode::OK, "ok\n".to_owned()));
    }
}
