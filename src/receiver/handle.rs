//! What is done with one request whose path is known.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use kube::Resource as _;
use serde_json::Value;

use super::authenticate::{self, Refusal};
use super::filter;
use super::objects::{Found, Objects};
use super::routes::{Route, Routes};
use crate::cel;
use crate::controller::Context;

/// An answer, in words that tell nothing but what the sender knows.
pub type Answer = (StatusCode, &'static str);

/// Nobody has this path, or its receiver is gone.
pub const UNKNOWN: Answer = (StatusCode::NOT_FOUND, "no receiver has this path\n");
/// The receiver takes no requests now.
pub const SUSPENDED: Answer = (StatusCode::SERVICE_UNAVAILABLE, "the receiver is suspended\n");
/// There were too many requests.
pub const LIMITED: Answer = (StatusCode::TOO_MANY_REQUESTS, "too many requests\n");
const DONE: Answer = (StatusCode::OK, "done\n");
const IGNORED: Answer = (StatusCode::OK, "nothing to do: the event is not among those of the receiver\n");
const NOT_GENUINE: Answer = (StatusCode::BAD_REQUEST, "the request does not prove that it is genuine\n");
const MALFORMED: Answer = (StatusCode::BAD_REQUEST, "the body is not what this receiver takes\n");
const FAILED: Answer =
    (StatusCode::INTERNAL_SERVER_ERROR, "not everything could be asked for; the operator's log says why\n");

/// Handles requests. Cheap to clone.
#[derive(Clone)]
pub struct Handler {
    /// For counters and log lines.
    pub context: Context,
    routes: Routes,
    objects: Objects,
}

impl Handler {
    /// A handler that has to be told the routes.
    pub fn new(context: Context, routes: Routes) -> Self {
        let objects = Objects::new(context.clone());
        Self { context, routes, objects }
    }

    /// The route of a request, or why it has none.
    pub fn route(&self, path: &str) -> Result<Arc<Route>, Answer> {
        let route = self.routes.at(path).ok_or(UNKNOWN)?;
        let (namespace, name) = &route.key;
        let receiver = self.context.caches.receivers.get(namespace, name).ok_or(UNKNOWN)?;
        match (receiver.meta().deletion_timestamp.is_some(), receiver.spec.suspend) {
            (true, _) => Err(UNKNOWN),
            (false, true) => Err(SUSPENDED),
            (false, false) => Ok(route),
        }
    }

    /// Checks a request and has the objects looked at that it is about.
    pub async fn handle(&self, route: &Route, headers: &HeaderMap, body: &[u8]) -> Answer {
        let (namespace, name) = &route.key;
        let counted = |outcome| self.context.metrics.webhook(route.kind.as_str(), outcome);
        let call = match authenticate::check(route.kind, &route.token, headers, body) {
            Ok(call) => call,
            Err(refusal) => {
                counted("refused");
                tracing::warn!(kind = "Receiver", namespace, name, %refusal, "refused a webhook");
                return if matches!(refusal, Refusal::NotGenuine(_)) { NOT_GENUINE } else { MALFORMED };
            }
        };
        let event = call.event.as_deref().unwrap_or_default();
        if !call.is_among(&route.events) {
            counted("ignored");
            tracing::debug!(kind = "Receiver", namespace, name, event, "a webhook of an event that is not asked for");
            return IGNORED;
        }
        let payload = match call.payload {
            Ok(payload) => payload,
            Err(_) if !route.has_filter() => Value::Null,
            Err(error) => {
                counted("refused");
                tracing::warn!(kind = "Receiver", namespace, name, error, "a webhook's body cannot be filtered by");
                return MALFORMED;
            }
        };
        let (told, problems) = self.tell(route, &payload).await;
        for problem in &problems {
            tracing::warn!(kind = "Receiver", namespace, name, problem, "a webhook could not be acted on in full");
        }
        tracing::info!(kind = "Receiver", namespace, name, event, told, "handled a webhook");
        counted(if problems.is_empty() { "accepted" } else { "failed" });
        if problems.is_empty() { DONE } else { FAILED }
    }

    /// How many objects were told, and what went wrong with others.
    async fn tell(&self, route: &Route, payload: &Value) -> (usize, Vec<String>) {
        let request = cel::Value::from(payload);
        let (mut told, mut problems) = (0, Vec::new());
        for target in &route.targets {
            let found = match self.objects.find(target).await {
                Ok(found) => found,
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            let filters: Vec<_> = route.filter.iter().chain(&target.filter).collect();
            for object in found {
                let holds = filter::hold(filters.iter().copied(), &object.seen, &request);
                match self.tell_one(&object, holds).await {
                    Ok(was_told) => told += usize::from(was_told),
                    Err(problem) => problems.push(problem),
                }
                // An evaluation may take its time; others have their turn.
                tokio::task::yield_now().await;
            }
        }
        (told, problems)
    }

    async fn tell_one(&self, object: &Found, holds: Result<bool, cel::CelError>) -> Result<bool, String> {
        match holds {
            Ok(true) => self.objects.tell(object).await.map(|()| true),
            Ok(false) => Ok(false),
            Err(error) => Err(format!("a filter gives no result for {object}: {error}")),
        }
    }
}

impl Route {
    fn has_filter(&self) -> bool {
        self.filter.is_some() || self.targets.iter().any(|target| target.filter.is_some())
    }
}
