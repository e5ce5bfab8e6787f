//! Brings `HelmRelease` objects into the cluster: resolve → observe → decide → act → report.
//!
//! ```text
//! reconcile ─► Pass ─► resolve   inputs: chart, values, dependencies      (or: waits, refuses)
//!                  └─► steps     observe ─► release::plan::decide ─► act ─┐
//!                        ▲                                                │ until nothing is due
//!                        └────────────────────────────────────────────────┘
//! ```
//!
//! A helm process holds one of a few slots; waiting for objects holds nothing.

mod action;
mod chart_ref;
mod clock;
mod cluster;
mod course;
mod delete;
mod drift;
mod fault;
mod identity;
mod journal;
mod leaving;
mod package;
mod pass;
mod remedy;
mod resolve;
mod sensitive;
mod settings;
mod steps;
mod storage;
mod test_run;
mod told;
mod triggers;
mod verify;
mod waiting;

use std::io;
use std::sync::Arc;

use futures::stream::BoxStream;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

use crate::api::FINALIZER;
use crate::api::helm::v2::HelmRelease;
use crate::controller::{Context, Reconciler, Requeue, run, wake};
use crate::helm::ReleaseCache;
use crate::helm::client::{self, Helm, HelmError, own_kubeconfig};
use crate::helm::endpoint::{Endpoint, Server};
use crate::source::store::ArtifactStore;
use chart_ref::Referred;
use clock::Clock;
use cluster::Clusters;
use drift::Drifts;
use journal::Journal;
pub use journal::JournalError;
use leaving::Leaving;
use package::Packages;
use pass::Pass;

/// Passes that may be under way: most of them wait for an answer of the API server, or for a slot.
const PASSES: u16 = 64;

/// `helm test` processes that may run: each only waits for pods, and holds no slot of a release.
const TESTS: usize = 32;

/// Reconciles every `HelmRelease`.
pub struct ReleaseController {
    context: Context,
    store: Arc<ArtifactStore>,
    helm: OnceCell<Helm>,
    slots: Arc<Semaphore>,
    test_slots: Arc<Semaphore>,
    clusters: Clusters,
    drifts: Drifts,
    leaving: Leaving,
    clock: Clock,
    journal: Journal,
    packages: Packages,
    referred: Referred,
}

impl ReleaseController {
    /// A controller over the releases that `cache` watches. The helm binary is looked at when it
    /// is first needed.
    pub fn new(
        context: Context,
        store: Arc<ArtifactStore>,
        cache: ReleaseCache,
        endpoint: Endpoint,
    ) -> Result<Self, JournalError> {
        Ok(Self {
            store,
            helm: OnceCell::new(),
            slots: Arc::new(Semaphore::new(usize::from(context.config.concurrent))),
            test_slots: Arc::new(Semaphore::new(TESTS)),
            clusters: Clusters::new(&context, cache, endpoint),
            drifts: Drifts::default(),
            leaving: Leaving::default(),
            clock: Clock::default(),
            journal: Journal::open(&context.config.data_dir.join("journal"))?,
            packages: Packages::default(),
            referred: Referred::default(),
            context,
        })
    }

    /// Helm, of a version that can be used. One that is put right later is found then.
    async fn helm_binary(&self) -> Result<&Helm, HelmError> {
        let config = &self.context.config;
        let find = || Helm::new(&config.helm, &config.data_dir, own_kubeconfig(), config.concurrent);
        self.helm.get_or_try_init(find).await
    }
}

impl Reconciler for ReleaseController {
    type Object = HelmRelease;

    async fn reconcile(&self, object: Arc<HelmRelease>) -> Result<Requeue, kube::Error> {
        self.clusters.own().tools.storage.ready().await;
        if object.metadata.deletion_timestamp.is_some() {
            if !object.finalizers().iter().any(|known| known == FINALIZER) {
                return Ok(Requeue::OnChange);
            }
            return Pass::new(self, object).delete().await;
        }
        let object = self.context.add_finalizer(object.as_ref()).await?;
        if object.spec.suspend {
            return Ok(Requeue::OnChange);
        }
        Pass::new(self, object).run().await
    }
}

/// Starts the controller on the cache of helm's releases, which somebody else drives, as somebody
/// else has to run the server that helm talks to.
pub fn start(
    context: &Context,
    store: &Arc<ArtifactStore>,
    cache: &ReleaseCache,
    controllers: &mut JoinSet<&'static str>,
) -> io::Result<Server> {
    let (endpoint, server) = Endpoint::open(&context.config.data_dir)?;
    // Whether or not helm is needed again: what is left of an action may be secret.
    client::sweep(&context.config.data_dir).map_err(io::Error::other)?;
    let controller = ReleaseController::new(context.clone(), Arc::clone(store), cache.clone(), endpoint);
    let controller = controller.map_err(io::Error::other)?;
    let storage = wake::stream_of(cache.changes());
    let triggers: BoxStream<'static, ObjectRef<HelmRelease>> = triggers::triggers(context, storage);
    let (context, releases) = (context.clone(), context.caches.helm_releases.clone());
    controllers.spawn(async move {
        run(context, releases, controller, triggers, PASSES).await;
        "the HelmRelease controller"
    });
    Ok(server)
}
