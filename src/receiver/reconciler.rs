//! `Receiver`: reads the token, opens the route, and publishes its path.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use zeroize::Zeroizing;

use super::authenticate;
use super::bucket::Bucket;
use super::filter;
use super::routes::{self, Route, Routes};
use super::server::RATE_OF_ONE;
use super::target::{self, Invalid};
use crate::api::annotation::REQUESTED_AT;
use crate::api::condition::{self, reason};
use crate::api::notification::v1::{Receiver, ReceiverStatus};
use crate::controller::conditions::{self, Truth};
use crate::controller::dependencies::TERMINAL;
use crate::controller::wake::by_secrets;
use crate::controller::{Context, Reconciler, Requeue, jittered, namespaced_name};

/// How often a receiver that names no interval is looked at.
const DEFAULT_INTERVAL: Duration = Duration::from_mins(10);

/// Key of the Secret.
const TOKEN: &str = "token";

/// Reconciles every `Receiver`.
pub struct ReceiverController {
    context: Context,
    routes: Routes,
}

/// Why a receiver takes no requests.
enum Closed {
    /// Only another spec helps.
    Invalid(Invalid),
    /// The token cannot be had, in words.
    NoToken(String),
}

impl ReceiverController {
    /// A controller that opens routes.
    pub fn new(context: Context, routes: Routes) -> Self {
        Self { context, routes }
    }

    /// Receivers whose Secret changed.
    pub fn triggers(&self) -> BoxStream<'static, ObjectRef<Receiver>> {
        by_secrets(&self.context.references, &self.context.caches.receivers, |receiver, name| {
            receiver.spec.secret_ref.as_ref().is_some_and(|secret| secret.name == name)
        })
    }

    /// Opens the receiver's route; gives its path.
    async fn open(&self, receiver: &Receiver) -> Result<String, Closed> {
        let key = namespaced_name(receiver);
        let spec = &receiver.spec;
        let invalid = |reason, message| Closed::Invalid(Invalid { reason, message });
        if !authenticate::is_supported(spec.r#type) {
            let message = format!(
                "receivers of the type '{}' are not acted on yet: identity tokens cannot be checked",
                spec.r#type
            );
            return Err(invalid(reason::NOT_ACTED_ON, message));
        }
        let filter = filter::read(spec.resource_filter.as_ref())
            .map_err(|error| invalid(reason::INVALID_CEL_EXPRESSION, format!("spec.resourceFilter: {error}")))?;
        let denied = |kind: &str, namespace: &str, name: &str| self.context.denied(&key.0, kind, namespace, name);
        let targets = target::targets(receiver, denied).map_err(Closed::Invalid)?;
        let token = self.token(receiver).await.map_err(Closed::NoToken)?;
        let path = routes::path(&token, &key);
        let (kind, events) = (spec.r#type, spec.events.clone());
        let route = Route { key, kind, token, events, targets, filter, rate: Bucket::new(RATE_OF_ONE) };
        self.routes.open(&path, route).map_err(|(namespace, name)| {
            Closed::NoToken(format!("the receiver {namespace}/{name} has the same path; choose another token"))
        })?;
        Ok(path)
    }

    async fn token(&self, receiver: &Receiver) -> Result<Zeroizing<Vec<u8>>, String> {
        let namespace = receiver.namespace().unwrap_or_default();
        let Some(reference) = &receiver.spec.secret_ref else { return Err("spec.secretRef has to be set".to_owned()) };
        let name = &reference.name;
        let failed = |why: &str| format!("unable to read token from secret '{namespace}/{name}' error: {why}");
        match self.context.api::<Secret>(&namespace).get_opt(name).await {
            Ok(None) => Err(failed("it does not exist")),
            Err(error) => Err(failed(&error.to_string())),
            Ok(Some(secret)) => match secret.data.unwrap_or_default().remove(TOKEN) {
                Some(token) if !token.0.is_empty() => Ok(Zeroizing::new(token.0)),
                Some(_) => Err(format!("invalid '{namespace}/{name}' secret data: the field 'token' is empty")),
                None => Err(format!("invalid '{namespace}/{name}' secret data: required fields 'token'")),
            },
        }
    }

    fn report(&self, receiver: &Receiver, before: &ReceiverStatus, outcome: &Result<String, Closed>) {
        let known = conditions::get(&before.conditions, condition::READY);
        match outcome {
            Ok(path)
                if before.webhook_path.as_ref() == Some(path) && known.is_some_and(|ready| ready.status == "True") => {}
            // The path is as good as a token for some senders: it stands in the status alone.
            Ok(_) => {
                let message = "Receiver initialized; its path is in status.webhookPath";
                self.context.reporter.normal(receiver, reason::SUCCEEDED, message, &[]);
            }
            Err(closed) => {
                let (reason, message) = closed.told();
                if known.is_none_or(|ready| ready.reason != reason || ready.message != message) {
                    self.context.reporter.warning(receiver, reason, &message, &[]);
                }
            }
        }
    }
}

impl Closed {
    fn told(&self) -> (&'static str, String) {
        match self {
            Self::Invalid(invalid) => (invalid.reason, format!("{TERMINAL}: {}", invalid.message)),
            Self::NoToken(why) => (reason::TOKEN_NOT_FOUND, why.clone()),
        }
    }
}

impl Reconciler for ReceiverController {
    type Object = Receiver;

    async fn reconcile(&self, receiver: Arc<Receiver>) -> Result<Requeue, kube::Error> {
        let key = namespaced_name(receiver.as_ref());
        let requeue = self.pass(&receiver, &key).await;
        self.routes.passed(&key);
        requeue
    }
}

impl ReceiverController {
    async fn pass(&self, receiver: &Receiver, key: &routes::Key) -> Result<Requeue, kube::Error> {
        if receiver.metadata.deletion_timestamp.is_some() {
            self.routes.close(key);
            // One that Flux has set; there is nothing to clean up.
            self.context.remove_finalizer(receiver).await?;
            return Ok(Requeue::OnChange);
        }
        if receiver.spec.suspend {
            return Ok(Requeue::OnChange);
        }
        let outcome = self.open(receiver).await;
        if outcome.is_err() {
            self.routes.close(key);
        }
        let before = receiver.status.clone().unwrap_or_default();
        let mut status = before.clone();
        record(&mut status, &outcome, receiver.metadata.generation, Timestamp::now());
        if let Some(requested) = receiver.annotations().get(REQUESTED_AT) {
            status.last_handled_reconcile_at = Some(requested.clone());
        }
        self.context.put_status(receiver, status).await?;
        self.report(receiver, &before, &outcome);
        let interval = receiver.spec.interval.map_or(DEFAULT_INTERVAL, crate::api::meta::Duration::to_std);
        Ok(match outcome {
            Ok(_) => Requeue::After(jittered(interval)),
            Err(Closed::Invalid(_)) => Requeue::OnChange,
            Err(Closed::NoToken(_)) => Requeue::Backoff { max: interval },
        })
    }
}

fn record(status: &mut ReceiverStatus, outcome: &Result<String, Closed>, generation: Option<i64>, now: Timestamp) {
    let ReceiverStatus { conditions, observed_generation, webhook_path, .. } = status;
    *webhook_path = outcome.as_ref().ok().cloned();
    let mut set = |type_, truth, reason, message: &str| {
        conditions::set(conditions, type_, truth, reason, message, generation, now);
    };
    let stale: &[&str] = match outcome {
        Ok(path) => {
            let message = format!("Receiver initialized for path: {path}");
            set(condition::READY, Truth::True, reason::SUCCEEDED, &message);
            *observed_generation = generation;
            &[condition::RECONCILING, condition::STALLED]
        }
        Err(closed @ Closed::Invalid(_)) => {
            let (reason, message) = closed.told();
            set(condition::READY, Truth::False, reason, &message);
            set(condition::STALLED, Truth::True, reason, &message);
            *observed_generation = generation;
            &[condition::RECONCILING]
        }
        Err(closed @ Closed::NoToken(_)) => {
            let (reason, message) = closed.told();
            set(condition::READY, Truth::False, reason, &message);
            set(condition::RECONCILING, Truth::True, reason::PROGRESSING_WITH_RETRY, "Reconciliation in progress");
            &[condition::STALLED]
        }
    };
    for type_ in stale {
        conditions::remove(conditions, type_);
    }
}
