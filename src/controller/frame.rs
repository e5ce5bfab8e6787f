//! Runs a reconciler over every object of its kind.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use kube::Resource as _;
use kube::runtime::Controller;
use kube::runtime::controller::{Action, Config, Error as ControllerError};
use kube::runtime::reflector::ObjectRef;

use super::pace::Failures;
use super::pulse::{BEAT, Pulse};
use super::{Cache, Context, Requeue, Watched, namespaced_name, wake};
use crate::metrics::PassResult;
use crate::metrics::queue::{Queue, key};

/// Longest pause after the API server failed.
const API_FAILURE_PAUSE: Duration = Duration::from_secs(30);

/// One pass over one object.
pub trait Reconciler: Send + Sync + 'static {
    /// The kind that is reconciled.
    type Object: Watched;

    /// Looks at the object and does what is due. The object's own troubles belong on its status;
    /// an error means that the API server failed, and the pass is repeated with backoff.
    fn reconcile(&self, object: Arc<Self::Object>) -> impl Future<Output = Result<Requeue, kube::Error>> + Send;
}

struct Frame<R: Reconciler> {
    reconciler: R,
    context: Context,
    cache: Cache<R::Object>,
    failures: Arc<Failures>,
    under_way: AtomicUsize,
    queue: Arc<Queue>,
}

/// Asked for among the objects, to see whether the queue still turns; no object has such a name.
const HEARTBEAT: &str = "the heartbeat of its controller";

impl<R: Reconciler> Frame<R> {
    async fn pass(&self, object: Arc<R::Object>) -> Result<Action, std::convert::Infallible> {
        let _counted = Counted::among(&self.under_way);
        // A trigger, or an earlier requeue, may name an object of another operator's.
        if !self.context.is_own(object.as_ref()) {
            let (namespace, name) = namespaced_name(object.as_ref());
            self.queue.forget(key(&namespace, &name));
            return Ok(Action::await_change());
        }
        let kind = kind_of::<R::Object>();
        let object = self.context.written.freshest(object, &self.cache);
        let (namespace, name) = namespaced_name(object.as_ref());
        let (key, started) = (key(&namespace, &name), Instant::now());
        self.context.metrics.pass_begins(kind, self.queue.begin(key, started));
        let outcome = self.reconciler.reconcile(object.clone()).await;
        let requeue = outcome.unwrap_or_else(|error| {
            if is_conflict(&error) {
                tracing::debug!(kind, namespace, name, %error, "changed meanwhile, looking again");
            } else {
                tracing::warn!(kind, namespace, name, %error, "the API server refused or failed, trying again");
            }
            Requeue::Backoff { max: API_FAILURE_PAUSE }
        });
        self.context.metrics.pass(kind, (&namespace, &name), started.elapsed(), result_of(requeue));
        if let Some(watched) = self.cache.get(&namespace, &name) {
            self.context.written.caught_up(watched.as_ref());
        } else {
            // Its end was seen before that of the pass, which often makes it.
            self.context.written.forget(object.as_ref());
            self.context.metrics.forget(kind, &namespace, &name);
        }
        self.queue.end(key);
        let Some(pause) = self.failures.next(object.as_ref(), requeue) else { return Ok(Action::await_change()) };
        self.queue.due(key, Instant::now() + pause);
        Ok(Action::requeue(pause))
    }
}

/// One of the passes that are under way, however it ends.
struct Counted<'c>(&'c AtomicUsize);

impl<'c> Counted<'c> {
    fn among(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Metrics want a static label; each kind has one name for the life of the process.
fn kind_of<K: Watched>() -> &'static str {
    let path = std::any::type_name::<K>();
    path.rsplit("::").next().unwrap_or(path)
}

fn result_of(requeue: Requeue) -> PassResult {
    match requeue {
        Requeue::OnChange => PassResult::Success,
        Requeue::After(_) => PassResult::RequeueAfter,
        Requeue::Backoff { .. } => PassResult::Error,
    }
}

fn key_of<K: Watched>(object: &ObjectRef<K>) -> u64 {
    key(object.namespace.as_deref().unwrap_or_default(), &object.name)
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict() || status.is_not_found())
}

/// Runs until the shutdown token is cancelled and the passes under way have ended.
///
/// `triggers` names objects to look at because something they depend on changed.
pub async fn run<R: Reconciler>(
    context: Context,
    cache: Cache<R::Object>,
    reconciler: R,
    triggers: BoxStream<'static, ObjectRef<R::Object>>,
    concurrency: u16,
) {
    let kind = kind_of::<R::Object>();
    let (failures, queue) = (Arc::new(Failures::default()), context.metrics.queue(kind));
    let gone = {
        let (failures, context, queue) = (failures.clone(), context.clone(), queue.clone());
        move |object: &R::Object| {
            let (namespace, name) = namespaced_name(object);
            failures.forget(object);
            context.forget(object);
            context.metrics.forget(kind, &namespace, &name);
            queue.forget(key(&namespace, &name));
        }
    };
    let is_own = {
        let context = context.clone();
        move |object: &R::Object| context.is_own(object)
    };
    let due = |queue: &Arc<Queue>| {
        let queue = Arc::clone(queue);
        move |object: &ObjectRef<R::Object>| queue.due(key_of(object), Instant::now())
    };
    let changed = due(&queue);
    let followed = {
        let written = context.written.clone();
        wake::stream_of(cache.changes()).inspect(move |change| written.caught_up(change.object().as_ref()))
    };
    let own = wake::worth_a_pass(followed, is_own, gone)
        .inspect(move |object| changed(&ObjectRef::from_obj(object.as_ref())));
    cache.ready().await;
    let shutdown = context.shutdown.clone();
    let heartbeats = stream::unfold(tokio::time::interval(BEAT), |mut beats| async {
        beats.tick().await;
        Some((ObjectRef::new(HEARTBEAT), beats))
    });
    let triggers = stream::select(triggers, context.wakes.subscribe::<R::Object>()).inspect(due(&queue));
    let triggers = stream::select(triggers, heartbeats);
    let mut pulse = Some(context.pulses.part(kind_of::<R::Object>()));
    let (all, queued) = (cache.clone(), Arc::clone(&queue));
    let frame =
        Arc::new(Frame { reconciler, context, cache: all, failures, under_way: AtomicUsize::new(0), queue: queued });
    let ends = shutdown.clone();
    let passes = Controller::for_shared_stream(own, cache.store())
        .reconcile_on(triggers)
        .with_config(Config::default().concurrency(concurrency))
        .graceful_shutdown_on(async move { ends.cancelled().await })
        .run(
            |object, frame: Arc<Frame<R>>| async move { frame.pass(object).await },
            |_, never, _| match *never {},
            frame.clone(),
        );
    let mut passes = pin!(passes);
    let mut busy = tokio::time::interval(BEAT);
    loop {
        tokio::select! {
            end = passes.next() => match end {
                None => return,
                Some(Err(ControllerError::ObjectNotFound(asked))) if asked.name == HEARTBEAT => beat(pulse.as_ref()),
                // A trigger may name an object that is gone by now.
                Some(Err(ControllerError::ObjectNotFound(gone))) => {
                    queue.forget(key(gone.namespace.as_deref().unwrap_or_default(), &gone.name));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => tracing::error!(kind = %R::Object::kind(&()), %error, "the controller's queue failed"),
            },
            // The queue waits for a place: that it is asked for nothing is no trouble.
            _ = busy.tick() => if frame.under_way.load(Ordering::Relaxed) >= usize::from(concurrency) {
                beat(pulse.as_ref());
            },
            // What is under way may take its time.
            () = shutdown.cancelled(), if pulse.is_some() => pulse = None,
        }
    }
}

fn beat(pulse: Option<&Pulse>) {
    if let Some(pulse) = pulse {
        pulse.beat();
    }
}
