//! Wiring: starts the watches, the controllers and the server, and ends the process with a reason
//! when one of them ends.

mod data_dir;
mod disk;
mod leadership;
mod preflight;
mod telling;
mod watchdog;

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use kube::Client;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::args::{Config, ControllerGroup};
use crate::controller::Context;
use crate::controller::cache::CacheError;
use crate::controller::pulse::Pulses;
use crate::controller::resources::Census;
use crate::forward::{Desk, Forwarder, to_the_leader};
use crate::helm::ReleaseCache;
use crate::http::{self, Readiness};
use crate::kube_ext::client;
use crate::kube_ext::lease::{Elector, Standing, term::Loss};
use crate::kube_ext::recorder;
use crate::metrics::Metrics;
use crate::notification::{self, Notifier, NotifierError};
use crate::receiver::Receivers;
use crate::release_controller;
use crate::source::serve::Shelf;
use crate::source::{self, store::ArtifactStore};
use crate::sync;
use crate::traces::{Exporter, Queue};
use leadership::{Attained, Desks};
use telling::Telling;

/// Name under which events and field managers show where they come from.
pub const CONTROLLER_NAME: &str = "fairlead";

/// How long giving the lease back may take.
const FAREWELL: Duration = Duration::from_secs(3);

/// The part of readiness that this module looks after.
const START: &str = "start";

/// How often the caches are looked at that readiness waits for.
const WARMING: Duration = Duration::from_millis(100);

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// No cluster is configured.
    #[error("no cluster: {0}; set KUBECONFIG, or run in a pod with a service account")]
    NoCluster(#[source] kube::config::InferConfigError),
    /// The client cannot be made.
    #[error("cannot talk to the cluster: {0}")]
    Client(#[source] kube::Error),
    /// The data directory cannot be used.
    #[error("--data-dir {}: {source}; it must be a directory that this user can write", dir.display())]
    DataDir {
        /// As configured.
        dir: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another operator works in the data directory.
    #[error("--data-dir {}: another operator{process} works there; give each one a directory of its own", dir.display())]
    DataDirInUse {
        /// As configured.
        dir: PathBuf,
        /// Its process, if it is known, in parentheses.
        process: String,
    },
    /// The address is taken or not this machine's.
    #[error("--listen {address}: {source}")]
    Listen {
        /// As configured.
        address: std::net::SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The address for webhooks is taken or not this machine's.
    #[error("--receiver-listen {address}: {source}")]
    ReceiverListen {
        /// As configured.
        address: std::net::SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// Requests cannot be passed on, or traces not be sent.
    #[error("cannot make an HTTP client: {0}")]
    HttpClient(#[source] reqwest::Error),
    /// Others may act now.
    #[error("{0}: ending at once, because another operator may act from now on")]
    Lease(#[from] Loss),
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signals(#[source] io::Error),
    /// A watch ended.
    #[error(transparent)]
    Watch(#[from] CacheError),
    /// Notifications cannot go on.
    #[error(transparent)]
    Notifier(#[from] NotifierError),
    /// A part that must not end has ended.
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
    /// A part panicked.
    #[error("a task died: {0}")]
    Died(#[from] tokio::task::JoinError),
}

/// Runs the operator until SIGTERM or SIGINT (then `Ok`), or until one of its parts fails.
pub async fn run(config: Config) -> Result<(), AppError> {
    // Both the API client and the chart downloads use this provider; a second call is harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut terminated = signal(SignalKind::terminate()).map_err(AppError::Signals)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(AppError::Signals)?;
    let grace = config.grace;
    let mut running = Running::default();
    tokio::select! {
        started = start(config, &mut running) => started?,
        _ = terminated.recv() => return running.end(grace).await,
        _ = interrupted.recv() => return running.end(grace).await,
    }
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
        error = running.failure() => return Err(error),
    }
    running.end(grace).await
}

/// What runs: `pillars` never end by themselves, `controllers` end after a shutdown, the election
/// when it is left or lost.
#[derive(Default)]
struct Running {
    /// Held until the end.
    data_dir: Option<File>,
    pillars: JoinSet<Result<&'static str, AppError>>,
    controllers: JoinSet<&'static str>,
    election: Option<JoinHandle<Result<(), Loss>>>,
    traces: Telling,
    shutdown: CancellationToken,
    leaves_election: CancellationToken,
}

type Ended = Option<Result<Result<&'static str, AppError>, tokio::task::JoinError>>;

fn reason(ended: Ended) -> AppError {
    match ended {
        None => AppError::Ended("everything"),
        Some(Ok(Ok(name))) => AppError::Ended(name),
        Some(Ok(Err(error))) => error,
        Some(Err(died)) => AppError::Died(died),
    }
}

async fn lost(election: &mut Option<JoinHandle<Result<(), Loss>>>) -> AppError {
    match election {
        None => std::future::pending().await,
        Some(handle) => match handle.await {
            Ok(Ok(())) => AppError::Ended("the election"),
            Ok(Err(loss)) => AppError::Lease(loss),
            Err(died) => AppError::Died(died),
        },
    }
}

impl Running {
    /// The failure of a part that nothing goes on without.
    async fn failure(&mut self) -> AppError {
        tokio::select! {
            error = lost(&mut self.election) => error,
            error = self.traces.failure() => error,
            ended = self.pillars.join_next(), if !self.pillars.is_empty() => reason(ended),
            ended = self.controllers.join_next(), if !self.controllers.is_empty() => reason(ended.map(|died| died.map(Ok))),
        }
    }

    /// Waits for something while all parts go on.
    async fn meanwhile<T>(&mut self, wanted: impl Future<Output = T>) -> Result<T, AppError> {
        tokio::select! {
            value = wanted => Ok(value),
            error = self.failure() => Err(error),
        }
    }

    /// Takes no more work, lets the passes under way end, then lets another operator lead.
    async fn end(mut self, grace: Duration) -> Result<(), AppError> {
        tracing::info!("asked to end: taking no new work");
        self.shutdown.cancel();
        let deadline = Instant::now() + grace;
        let drained = async { while self.controllers.join_next().await.is_some() {} };
        let drained = tokio::select! {
            drained = tokio::time::timeout(grace, drained) => drained.is_ok(),
            error = lost(&mut self.election) => return Err(error),
        };
        if drained {
            self.leaves_election.cancel();
            let election = self.election.take();
            let leaving = async {
                if let Some(election) = election {
                    // Unanswered, it costs the next one the lease's duration.
                    let _ = tokio::time::timeout(FAREWELL, election).await;
                }
            };
            tokio::join!(leaving, self.traces.end(deadline));
        } else {
            // The lease is kept: what is given up ends only with the process.
            tracing::warn!(?grace, "work is still under way and is given up; it is taken up again at the next start");
        }
        tracing::info!("ended");
        Ok(())
    }
}

async fn start(config: Config, running: &mut Running) -> Result<(), AppError> {
    let front = Front::new(&config);
    let Front { readiness, desks, .. } = &front;
    readiness.lacks(START, "it is on its way");
    front.serve(&config, &mut running.pillars).await?;
    let data_dir = running.meanwhile(preflight::take_data_dir(&config, readiness)).await??;
    running.data_dir = Some(data_dir);
    let client = connect().await?;
    running.meanwhile(preflight::passed(&config, &client, readiness)).await?;
    let (reporter, recorder) = recorder::channel_for(client.clone(), CONTROLLER_NAME);
    let (metrics, pulses) = (Arc::clone(&front.metrics), front.pulses.clone());
    let traces = start_traces(&config, &metrics, reporter.instance(), running)?;
    let shutdown = running.shutdown.clone();
    let context = Context::new(client, Arc::new(config), reporter, metrics, pulses, traces, shutdown);
    running.pillars.spawn(async move {
        recorder.run().await;
        Ok("the event recorder")
    });
    let unusable = |source| AppError::DataDir { dir: context.config.data_dir.clone(), source };
    let store = source::open_store(&context).map_err(unusable)?;
    front.shelf.get_or_init(|| Arc::clone(&store));
    watch_disk(&context, readiness, &mut running.pillars);
    start_notifications(&context, &mut running.pillars);
    watch_everything(&context, &mut running.pillars);
    let releases = watch_releases(&context, &mut running.pillars);
    let receivers = start_receiver(&context, desks, &mut running.pillars).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %context.config.listen,
        data_dir = %context.config.data_dir.display(),
        "fairlead runs"
    );
    running.meanwhile(warm(&context, readiness)).await?;
    tracing::info!("every watch is up");
    // At no moment in between is an operator ready that neither leads nor says that it stands by.
    if let Some(election) = &context.config.election {
        leadership::unseen(election, readiness);
    }
    readiness.has(START);
    lead(&context, readiness, desks, running).await?;
    context.metrics.leads(context.config.lease(), true);
    readiness.lacks(START, "the receivers are not known yet");
    leadership::settled(readiness);
    desks.open();
    start_controllers(&context, &store, releases.as_ref(), running).map_err(unusable)?;
    if let Some(receivers) = receivers {
        let opening = receivers.opening();
        receivers.start(&mut running.controllers);
        running.meanwhile(opening.ready()).await?;
    }
    readiness.has(START);
    tracing::info!("ready");
    Ok(())
}

/// What is served from the first moment on.
struct Front {
    readiness: Readiness,
    metrics: Arc<Metrics>,
    pulses: Pulses,
    shelf: Shelf,
    desks: Desks,
}

impl Front {
    fn new(config: &Config) -> Self {
        let metrics = Metrics::new(config.metrics_per_object);
        // From now on: an operator that never gets through its start is missed.
        metrics.leads(config.lease(), false);
        Self {
            readiness: Readiness::default(),
            metrics: Arc::new(metrics),
            pulses: Pulses::default(),
            shelf: Shelf::default(),
            desks: Desks::default(),
        }
    }

    /// Serves health, metrics and artifacts.
    async fn serve(
        &self,
        config: &Config,
        pillars: &mut JoinSet<Result<&'static str, AppError>>,
    ) -> Result<(), AppError> {
        let failed = |source| AppError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let forwarding = from_fn_with_state(forwarder(&self.desks.artifacts)?, to_the_leader);
        let artifacts = source::serve::router(Arc::clone(&self.shelf)).route_layer(forwarding);
        let own = http::router(Arc::clone(&self.metrics), self.pulses.clone(), self.readiness.clone());
        pillars.spawn(async move {
            axum::serve(listener, own.merge(artifacts)).await.map_err(|_| AppError::Ended("the HTTP server"))?;
            Ok("the HTTP server")
        });
        let watchdog = watchdog::run(self.pulses.clone());
        pillars.spawn(async move {
            watchdog.await;
            Ok("the watchdog")
        });
        Ok(())
    }
}

fn forwarder(desk: &watch::Sender<Desk>) -> Result<Forwarder, AppError> {
    Forwarder::to(desk.subscribe()).map_err(AppError::HttpClient)
}

/// Waits until all objects are known.
async fn warm(context: &Context, readiness: &Readiness) {
    loop {
        let cold = cold(context);
        if cold.is_empty() {
            return;
        }
        readiness.lacks(START, &format!("not all objects of these kinds are known yet: {}", cold.join(", ")));
        tokio::time::sleep(WARMING).await;
    }
}

/// The kinds whose objects are not all known yet.
fn cold(context: &Context) -> Vec<Cow<'static, str>> {
    let watched = context.caches.watched(&context.config);
    watched.filter(|cache| !cache.is_ready()).map(Census::kind).collect()
}

/// Waits until this operator may act, if it has to stand for that.
async fn lead(context: &Context, readiness: &Readiness, desks: &Desks, running: &mut Running) -> Result<(), AppError> {
    let Some(election) = &context.config.election else {
        tracing::warn!(
            "no lease: nothing keeps a second operator from acting on the same objects; outside of a pod \
             --leader-election-namespace says where to take one"
        );
        return Ok(());
    };
    let identity = data_dir::identity(&context.config.data_dir)?;
    let candidacy = leadership::candidacy(&context.config, election, &identity);
    // A client of its own: nothing else is in the way of a renewal.
    let client = client().await?;
    let elector = Elector::new(client, candidacy);
    let standing: watch::Receiver<Standing> = elector.standing();
    running.election = Some(tokio::spawn(elector.run(running.leaves_election.clone())));
    match running.meanwhile(leadership::attained(standing, election, readiness, desks)).await? {
        Attained::Lease => context.inherit(),
        Attained::NoLease => {
            if let Some(election) = running.election.take() {
                election.abort();
            }
        }
    }
    Ok(())
}

fn watch_disk(context: &Context, readiness: &Readiness, pillars: &mut JoinSet<Result<&'static str, AppError>>) {
    let watch = disk::watch(context.config.data_dir.clone(), readiness.clone());
    pillars.spawn(async move {
        watch.await;
        Ok("the watch of the disk")
    });
}

/// Sends traces, if that is asked for.
fn start_traces(
    config: &Config,
    metrics: &Arc<Metrics>,
    instance: &str,
    running: &mut Running,
) -> Result<Option<Arc<Queue>>, AppError> {
    let Some(settings) = config.otlp.clone() else { return Ok(None) };
    let (queue, metrics) = (Arc::new(Queue::new(Arc::clone(metrics))), Arc::clone(metrics));
    let exporter = Exporter::new(settings, Arc::clone(&queue), metrics, instance).map_err(AppError::HttpClient)?;
    running.traces.start(exporter);
    Ok(Some(queue))
}

/// Before all that tells events, so that none is missed.
fn start_notifications(context: &Context, pillars: &mut JoinSet<Result<&'static str, AppError>>) {
    if context.config.controllers.contains(&ControllerGroup::Notification) {
        let notifier = Notifier::new(context);
        pillars.spawn(async move { Box::pin(notifier.run()).await.map(|()| "the notifier").map_err(AppError::from) });
    }
    if let Some(address) = &context.config.events_addr {
        let forwarder = notification::Forwarder::new(context, address.clone());
        pillars.spawn(async move {
            forwarder.run().await;
            Ok("the forwarder of events")
        });
    }
}

/// Receives webhooks, if that is asked for.
async fn start_receiver(
    context: &Context,
    desks: &Desks,
    pillars: &mut JoinSet<Result<&'static str, AppError>>,
) -> Result<Option<Receivers>, AppError> {
    let Some(address) = context.config.receiver_listen else { return Ok(None) };
    let listener = TcpListener::bind(address).await.map_err(|source| AppError::ReceiverListen { address, source })?;
    let receivers = Receivers::new(context);
    let server = receivers.server(listener, forwarder(&desks.webhooks)?);
    pillars.spawn(async move {
        server.run().await;
        Ok("the server for webhooks")
    });
    tracing::info!(listen = %address, "webhooks are received");
    Ok(Some(receivers))
}

async fn client_config() -> Result<kube::Config, AppError> {
    kube::Config::infer().await.map_err(AppError::NoCluster)
}

async fn client() -> Result<Client, AppError> {
    client::client(client_config().await?).map_err(AppError::Client)
}

/// Connects; whether somebody answers is looked at next.
async fn connect() -> Result<Client, AppError> {
    let config = client_config().await?;
    tracing::info!(url = %config.cluster_url, "talks to this API server");
    client::client(config).map_err(AppError::Client)
}

fn start_controllers(
    context: &Context,
    store: &Arc<ArtifactStore>,
    releases: Option<&ReleaseCache>,
    running: &mut Running,
) -> io::Result<()> {
    let wanted = &context.config.controllers;
    if wanted.contains(&ControllerGroup::Source) {
        source::start(context, store, &mut running.controllers)?;
    }
    if wanted.contains(&ControllerGroup::Kustomize) {
        sync::start(context, store, &mut running.controllers);
    }
    if let Some(cache) = releases {
        let server = release_controller::start(context, store, cache, &mut running.controllers)?;
        running.pillars.spawn(async move {
            server.run().await.map_err(|_| AppError::Ended("the API server for helm"))?;
            Ok("the API server for helm")
        });
    }
    Ok(())
}

/// Watches helm's releases, where a controller needs them.
fn watch_releases(context: &Context, pillars: &mut JoinSet<Result<&'static str, AppError>>) -> Option<ReleaseCache> {
    if !context.config.controllers.contains(&ControllerGroup::Helm) {
        return None;
    }
    let cache = ReleaseCache::default();
    let (watched, client, namespace) = (cache.clone(), context.client.clone(), context.config.watch_namespace.clone());
    pillars.spawn(async move {
        watched.run(client, namespace.as_deref()).await;
        Ok("the watch of helm's releases")
    });
    Some(cache)
}

fn watch_everything(context: &Context, pillars: &mut JoinSet<Result<&'static str, AppError>>) {
    for cache in context.caches.watched(&context.config) {
        let watch = cache.watch(context);
        pillars.spawn(async move { Err(watch.await.into()) });
    }
    let (references, secrets, config_maps) = (context.references.clone(), context.watched_api(), context.watched_api());
    pillars.spawn(async move { Err(references.drive(secrets, config_maps).await.into()) });
}
