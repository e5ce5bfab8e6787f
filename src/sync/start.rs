//! Starts the Kustomization controller.

use super::build::mirror;
use super::reconciler::KustomizationController;
use crate::controller::{Context, run};
use crate::source::store::ArtifactStore;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Starts the controller; it runs until the shutdown token is cancelled.
pub fn start(context: &Context, store: &Arc<ArtifactStore>, controllers: &mut JoinSet<&'static str>) {
    let builds = context.config.builds();
    if let Err(error) = mirror::prepare(&builds) {
        // Builds that need the place say so; all others go on.
        tracing::error!(place = %builds.display(), %error, "the place for builds cannot be made");
    }
    let controller = KustomizationController::new(context.clone(), Arc::clone(store));
    let (ctx, cache, triggers) = (context.clone(), context.caches.kustomizations.clone(), controller.triggers());
    let concurrency = context.config.concurrent;
    controllers.spawn(async move {
        run(ctx, cache, controller, triggers, concurrency).await;
        "the Kustomization controller"
    });
}
