//! Starts the controllers of every kind of source.

use std::io;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::bucket::BucketController;
use super::git_repository::GitRepositoryController;
use super::helm_chart::HelmChartController;
use super::helm_repository::HelmRepositoryController;
use super::oci_repository::OciRepositoryController;
use super::store::ArtifactStore;
use crate::controller::{Context, run};

/// Passes over one kind that run at the same time, at the least: a slow remote holds one of them
/// for as long as its timeout, and the others must not wait for it.
const LEAST_CONCURRENCY: u16 = 8;

/// Opens the artifact store below the data directory.
pub fn open_store(context: &Context) -> io::Result<Arc<ArtifactStore>> {
    let root = context.config.data_dir.join("artifacts");
    let store = ArtifactStore::open(&root, context.config.artifact_url.clone())?;
    Ok(Arc::new(store.retaining(context.config.retention)))
}

/// Starts the controllers; each runs until the shutdown token is cancelled.
pub fn start(context: &Context, store: &Arc<ArtifactStore>, controllers: &mut JoinSet<&'static str>) -> io::Result<()> {
    let concurrency = context.config.concurrent.max(LEAST_CONCURRENCY);
    let caches = &context.caches;
    let git = GitRepositoryController::new(context.clone(), Arc::clone(store))?;
    let (ctx, cache, triggers) = (context.clone(), caches.git_repositories.clone(), git.triggers());
    controllers.spawn(async move {
        run(ctx, cache, git, triggers, concurrency).await;
        "the GitRepository controller"
    });
    let helm = HelmRepositoryController::new(context.clone(), Arc::clone(store));
    let (ctx, cache, triggers) = (context.clone(), caches.helm_repositories.clone(), helm.triggers());
    controllers.spawn(async move {
        run(ctx, cache, helm, triggers, concurrency).await;
        "the HelmRepository controller"
    });
    let charts = HelmChartController::new(context.clone(), Arc::clone(store));
    let (ctx, cache, triggers) = (context.clone(), caches.helm_charts.clone(), charts.triggers());
    controllers.spawn(async move {
        run(ctx, cache, charts, triggers, concurrency).await;
        "the HelmChart controller"
    });
    let oci = OciRepositoryController::new(context.clone(), Arc::clone(store));
    let (ctx, cache, triggers) = (context.clone(), caches.oci_repositories.clone(), oci.triggers());
    controllers.spawn(async move {
        run(ctx, cache, oci, triggers, concurrency).await;
        "the OCIRepository controller"
    });
    let buckets = BucketController::new(context.clone(), Arc::clone(store));
    let (ctx, cache, triggers) = (context.clone(), caches.buckets.clone(), buckets.triggers());
    controllers.spawn(async move {
        run(ctx, cache, buckets, triggers, concurrency).await;
        "the Bucket controller"
    });
    Ok(())
}
