//! Wiring: starts the watches, the controllers and the server, and ends the process with a reason
//! when one of them ends.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::args::{Config, ControllerGroup};
use crate::controller::cache::CacheError;
use crate::controller::{Cache, Context, Watched};
use crate::helm::ReleaseCache;
use crate::http::{self, Readiness};
use crate::kube_ext::recorder;
use crate::notification::{Forwarder, Notifier, NotifierError};
use crate::receiver;
use crate::release_controller;
use crate::source::{self, store::ArtifactStore};
use crate::sync;

/// Name under which events and field managers show where they come from.
pub const CONTROLLER_NAME: &str = "fairlead";

/// How long passes under way may take to end after SIGTERM. Kubernetes kills after 30 s.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(25);

/// Pause between attempts to reach the API server at start.
const API_SERVER_PAUSE: Duration = Duration::from_secs(2);

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
    let shutdown = CancellationToken::new();
    let mut running = tokio::select! {
        running = start(config, shutdown.clone()) => running?,
        _ = terminated.recv() => return Ok(()),
        _ = interrupted.recv() => return Ok(()),
    };
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
        ended = running.pillars.join_next() => return Err(reason(ended)),
        ended = running.controllers.join_next(), if !running.controllers.is_empty() => return Err(reason(ended.map(|died| died.map(Ok)))),
    }
    tracing::info!("asked to end: taking no new work");
    shutdown.cancel();
    drain(&mut running.controllers).await;
    tracing::info!("ended");
    Ok(())
}

/// What runs: `pillars` never end by themselves, `controllers` end after a shutdown.
struct Running {
    /// Held until the end.
    _data_dir: File,
    pillars: JoinSet<Result<&'static str, AppError>>,
    controllers: JoinSet<&'static str>,
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

async fn drain(controllers: &mut JoinSet<&'static str>) {
    let drained = async { while controllers.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_GRACE, drained).await.is_err() {
        tracing::warn!(grace = ?SHUTDOWN_GRACE, "work is still under way and is given up; it is taken up again at the next start");
    }
}

async fn start(config: Config, shutdown: CancellationToken) -> Result<Running, AppError> {
    let data_dir = take_data_dir(&config.data_dir)?;
    let listener =
        TcpListener::bind(config.listen).await.map_err(|source| AppError::Listen { address: config.listen, source })?;
    let dir = config.data_dir.clone();
    let client = connect().await?;
    let (reporter, recorder) = recorder::channel_for(client.clone(), CONTROLLER_NAME);
    let context = Context::new(client, Arc::new(config), reporter, shutdown);
    let readiness = Readiness::default();
    let mut running = Running { _data_dir: data_dir, pillars: JoinSet::new(), controllers: JoinSet::new() };
    running.pillars.spawn(async move {
        recorder.run().await;
        Ok("the event recorder")
    });
    let store = source::open_store(&context).map_err(|source| AppError::DataDir { dir: dir.clone(), source })?;
    let routes =
        http::router(context.metrics.clone(), readiness.clone()).merge(source::serve::router(Arc::clone(&store)));
    running.pillars.spawn(async move {
        axum::serve(listener, routes).await.map_err(|_| AppError::Ended("the HTTP server"))?;
        Ok("the HTTP server")
    });
    start_notifications(&context, &mut running.pillars);
    watch_everything(&context, &mut running.pillars);
    start_controllers(&context, &store, &mut running).map_err(|source| AppError::DataDir { dir, source })?;
    let receivers = start_receiver(&context, &mut running).await?;
    let caches = context.caches.clone();
    running.pillars.spawn(async move {
        caches.ready().await;
        receivers.ready().await;
        readiness.set();
        tracing::info!("ready: every watch is up");
        std::future::pending().await
    });
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %context.config.listen,
        data_dir = %context.config.data_dir.display(),
        "fairlead runs"
    );
    Ok(running)
}

/// Before all that tells events, so that none is missed.
fn start_notifications(context: &Context, pillars: &mut JoinSet<Result<&'static str, AppError>>) {
    if context.config.controllers.contains(&ControllerGroup::Notification) {
        let notifier = Notifier::new(context);
        pillars.spawn(async move { notifier.run().await.map(|()| "the notifier").map_err(AppError::from) });
    }
    if let Some(address) = &context.config.events_addr {
        let forwarder = Forwarder::new(context, address.clone());
        pillars.spawn(async move {
            forwarder.run().await;
            Ok("the forwarder of events")
        });
    }
}

/// Receives webhooks, if that is asked for; gives what has to be ready before the operator is.
async fn start_receiver(context: &Context, running: &mut Running) -> Result<receiver::Opening, AppError> {
    let Some(address) = context.config.receiver_listen else { return Ok(receiver::Opening::default()) };
    let listener = TcpListener::bind(address).await.map_err(|source| AppError::ReceiverListen { address, source })?;
    let (server, cache) = receiver::start(context, listener, &mut running.controllers);
    watch(context, &cache, &mut running.pillars);
    let opening = server.opening();
    running.pillars.spawn(async move {
        server.run().await;
        Ok("the server for webhooks")
    });
    tracing::info!(listen = %address, "webhooks are received");
    Ok(opening)
}

/// Connects, and waits for an API server that is not there yet.
async fn connect() -> Result<Client, AppError> {
    let config = kube::Config::infer().await.map_err(AppError::NoCluster)?;
    let url = config.cluster_url.clone();
    let client = Client::try_from(config).map_err(AppError::Client)?;
    let mut told = false;
    loop {
        match client.apiserver_version().await {
            Ok(version) => {
                tracing::info!(%url, version = version.git_version, "connected to the API server");
                return Ok(client);
            }
            Err(error) if !told => tracing::warn!(%url, %error, "the API server does not answer, trying again"),
            Err(_) => {}
        }
        told = true;
        tokio::time::sleep(API_SERVER_PAUSE).await;
    }
}

fn start_controllers(context: &Context, store: &Arc<ArtifactStore>, running: &mut Running) -> io::Result<()> {
    let wanted = &context.config.controllers;
    if wanted.contains(&ControllerGroup::Source) {
        source::start(context, store, &mut running.controllers)?;
    }
    if wanted.contains(&ControllerGroup::Kustomize) {
        sync::start(context, store, &mut running.controllers);
    }
    if wanted.contains(&ControllerGroup::Helm) {
        let cache = ReleaseCache::default();
        let controllers = &mut running.controllers;
        let server = release_controller::start(context, store, &cache, controllers)?;
        running.pillars.spawn(async move {
            server.run().await.map_err(|_| AppError::Ended("the API server for helm"))?;
            Ok("the API server for helm")
        });
        let (client, namespace) = (context.client.clone(), context.config.watch_namespace.clone());
        running.pillars.spawn(async move {
            cache.run(client, namespace.as_deref()).await;
            Ok("the watch of helm's releases")
        });
    }
    Ok(())
}

fn watch_everything(context: &Context, pillars: &mut JoinSet<Result<&'static str, AppError>>) {
    let caches = &context.caches;
    watch(context, &caches.helm_releases, pillars);
    watch(context, &caches.kustomizations, pillars);
    watch(context, &caches.git_repositories, pillars);
    watch(context, &caches.helm_repositories, pillars);
    watch(context, &caches.helm_charts, pillars);
    watch(context, &caches.oci_repositories, pillars);
    watch(context, &caches.buckets, pillars);
    watch(context, &caches.external_artifacts, pillars);
    let (references, secrets, config_maps) = (context.references.clone(), context.watched_api(), context.watched_api());
    pillars.spawn(async move { Err(references.drive(secrets, config_maps).await.into()) });
}

fn watch<K>(context: &Context, cache: &Cache<K>, pillars: &mut JoinSet<Result<&'static str, AppError>>)
where
    K: Watched + kube::Resource<Scope = kube::core::NamespaceResourceScope>,
{
    let (cache, api) = (cache.clone(), context.watched_api());
    pillars.spawn(async move { Err(cache.drive(api).await.into()) });
}

/// Makes the data directory and locks it: two operators would remove each other's files. The lock
/// goes with the process, however that ends.
fn take_data_dir(dir: &Path) -> Result<File, AppError> {
    let failed = |source| AppError::DataDir { dir: dir.to_owned(), source };
    make_private_dir(dir).map_err(failed)?;
    let mut options = File::options();
    let mut lock =
        options.read(true).write(true).create(true).truncate(false).open(dir.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let owner = io::read_to_string(&lock).unwrap_or_default();
            let process = owner.trim().parse::<u32>().map_or_else(|_| String::new(), |id| format!(" (process {id})"));
            return Err(AppError::DataDirInUse { dir: dir.to_owned(), process });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let noted = lock.set_len(0).and_then(|()| lock.write_all(std::process::id().to_string().as_bytes()));
    noted.map_err(failed)?;
    Ok(lock)
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // Found out now, not in the middle of the first release.
    tempfile::tempfile_in(dir).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_data_directory_is_private() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("a/b");
        make_private_dir(&dir).unwrap();
        assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();
        make_private_dir(&file).unwrap_err();
    }

    #[test]
    fn the_data_directory_has_one_user_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = take_data_dir(dir.path()).unwrap();
        let error = take_data_dir(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
        drop(first);
        take_data_dir(dir.path()).unwrap();
    }
}
