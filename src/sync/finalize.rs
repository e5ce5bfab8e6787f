//! The end of a Kustomization: its objects go, or stay, as its deletion policy says.

use super::garbage;
use super::identity::Exit;
use super::reconciler::{KustomizationController, owner_of, timeout};
use super::status::{self, Ending, Facts};
use crate::api::condition::reason;
use crate::api::kustomize::v1::{DeletionPolicy, Kustomization};
use crate::controller::Requeue;
use crate::source::lifecycle;
use crate::source::store::Owner;
use jiff::Timestamp;
use std::time::Duration;

/// Pause between two looks at objects that are going.
const STEP: Duration = Duration::from_secs(1);
/// Longest pause after a deletion was refused.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Whether the objects are deleted with the Kustomization; a suspended one touches nothing.
pub fn deletes_objects(object: &Kustomization) -> bool {
    !object.spec.suspend
        && match object.spec.deletion_policy.unwrap_or_default() {
            DeletionPolicy::MirrorPrune => object.spec.prune,
            DeletionPolicy::Delete | DeletionPolicy::WaitForTermination => true,
            DeletionPolicy::Orphan => false,
        }
}

pub(super) async fn finalize(
    controller: &KustomizationController,
    object: &Kustomization,
) -> Result<Requeue, kube::Error> {
    let inventory = controller.memories.inventory(object);
    if deletes_objects(object) && !inventory.is_empty() {
        let cluster = match controller.enter_to_leave(object).await? {
            Exit::Open(cluster) => cluster,
            Exit::Gone(why) => return let_go(controller, object, &why, inventory.len()).await,
            Exit::Closed(why) => return refused(controller, object, why).await,
        };
        let entries = inventory.entries();
        let collected = garbage::collect(&cluster.resolver, &owner_of(object), entries.clone()).await;
        if let Some((id, _, why)) = collected.failed.first() {
            let message = format!("{} objects cannot be deleted, first {id}: {why}", collected.failed.len());
            return refused(controller, object, message).await;
        }
        if object.spec.deletion_policy == Some(DeletionPolicy::WaitForTermination) {
            let left = garbage::remaining(&cluster.resolver, entries.into_iter()).await;
            if !left.is_empty() && !is_overdue(object, Timestamp::now()) {
                return Ok(Requeue::After(STEP));
            }
        }
        let gone = format!("deleted with {} of {} objects", collected.deleted.len(), inventory.len());
        controller.context.reporter.normal(object, reason::RECONCILIATION_SUCCEEDED, &gone, &[]);
    }
    end(controller, object).await
}

async fn end(controller: &KustomizationController, object: &Kustomization) -> Result<Requeue, kube::Error> {
    controller.memories.forget(object);
    // What was fetched for it from another operator.
    let owner = lifecycle::owner_of(object);
    if let Err(error) = controller.store.remove(&owner).await {
        let Owner { kind, namespace, name } = owner;
        tracing::warn!(kind, namespace, name, %error, "a fetched artifact stays behind");
    }
    controller.context.remove_finalizer(object).await?;
    Ok(Requeue::OnChange)
}

/// Nobody can delete the objects any more: they stay, rather than the Kustomization for ever.
async fn let_go(
    controller: &KustomizationController,
    object: &Kustomization,
    why: &str,
    objects: usize,
) -> Result<Requeue, kube::Error> {
    let message = format!("{why}: {objects} objects stay");
    controller.context.reporter.warning(object, reason::PRUNE_FAILED, &message, &[]);
    end(controller, object).await
}

async fn refused(
    controller: &KustomizationController,
    object: &Kustomization,
    message: String,
) -> Result<Requeue, kube::Error> {
    let ending = Ending::Failed { reason: reason::PRUNE_FAILED, message: message.clone() };
    let status = status::after(object, &ending, &Facts::default(), Timestamp::now());
    if status::is_news(object.status.as_ref(), &status) {
        controller.context.reporter.warning(object, reason::PRUNE_FAILED, &message, &[]);
    }
    controller.context.put_status(object, status).await?;
    Ok(Requeue::Backoff { max: LONGEST_PAUSE })
}

/// Whether `WaitForTermination` has waited for the timeout.
fn is_overdue(object: &Kustomization, now: Timestamp) -> bool {
    let timeout = jiff::SignedDuration::try_from(timeout(&object.spec)).unwrap_or(jiff::SignedDuration::MAX);
    let since = object.metadata.deletion_timestamp.as_ref().map_or(now, |time| time.0);
    now.duration_since(since) > timeout
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kustomize::v1::KustomizationSpec;

    #[test]
    fn the_policy_decides() {
        let table = [
            (None, true, false, true),
            (None, false, false, false),
            (Some(DeletionPolicy::MirrorPrune), true, false, true),
            (Some(DeletionPolicy::Delete), false, false, true),
            (Some(DeletionPolicy::WaitForTermination), false, false, true),
            (Some(DeletionPolicy::Orphan), true, false, false),
            (Some(DeletionPolicy::Delete), true, true, false),
        ];
        for (deletion_policy, prune, suspend, expected) in table {
            let spec = KustomizationSpec { prune, deletion_policy, suspend, ..KustomizationSpec::default() };
            assert_eq!(deletes_objects(&Kustomization::new("a", spec)), expected);
        }
    }
}
