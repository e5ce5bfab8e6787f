//! What a wait goes by, and what is told of a hook that failed.

use serde_json::Value;

use super::pass::Pass;
use super::resolve::Inputs;
use crate::api::helm::v2::WaitStrategyName;
use crate::health::rules::Rules;
use crate::redact::Redactor;
use crate::release::inventory::failed_hook;
use crate::release::observed::{Action, Target};

impl Pass<'_> {
    /// The rules that the objects of a revision are judged by.
    pub(super) fn rules<'i>(&self, inputs: &'i Inputs, action: Action) -> Rules<'i> {
        let strategy = self.object.spec.wait_strategy.as_ref().map(|strategy| strategy.name);
        Rules {
            checks: &inputs.checks,
            legacy: strategy == Some(WaitStrategyName::Legacy),
            jobs: self.waits_for_jobs(action),
        }
    }

    /// What became of the hook that failed in a revision: the trouble of its pods, in words.
    pub(super) async fn hook_trouble(&self, target: &Target, version: i64, redactor: &Redactor) -> Option<String> {
        // An explanation is worth no more than that: whatever fails here is passed over.
        let stored = self.cluster.tools.storage.stored(target, version).await.ok()??;
        let hook = failed_hook(stored.hooks())?;
        let verifier = &self.cluster.tools.verifier;
        let live: Value = verifier.live(&target.namespace, &hook).await.ok()??;
        let why = verifier.why(&live, redactor).await?;
        let namespace = hook.namespace.as_deref().unwrap_or(&target.namespace);
        Some(format!("hook {}: {why}", hook.display(namespace)))
    }
}
