//! The Kustomization controller.

use super::build::Builder;
use super::ceiling::Consent;
use super::course::Applied;
use super::decrypt::Decryptor;
use super::desired::Owner;
use super::finalize;
use super::history::ORIGIN_REVISION;
use super::identity::Entry;
use super::inventory::Inventory;
use super::material::Material;
use super::memory::{Input, Known, Memories, Memory};
use super::pass::{Done, Pass};
use super::source::{self, NotYet};
use super::status::{self, Ending, Facts};
use super::triggers;
use super::wait::{self, Look, Verdict};
use crate::api::annotation;
use crate::api::condition::{READY, reason};
use crate::api::event;
use crate::api::kustomize::v1::{Kustomization, KustomizationSpec, KustomizationStatus};
use crate::api::meta::Artifact;
use crate::api::unsupported;
use crate::controller::conditions::{self, FIELDS_NOT_ACTED_ON};
use crate::controller::{Context, DUE_AFTER, Reconciler, Requeue, dependencies, jittered, namespaced_name};
use crate::health::expressions::Checks;
use crate::kube_ext::cluster::{Cluster, Clusters};
use crate::source::store::ArtifactStore;
use crate::source::{foreign, lifecycle};
use crate::traces::Period;
use futures::stream::BoxStream;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The shortest pause between two looks at the health of applied objects.
const SHORTEST_POLL: Duration = Duration::from_millis(150);
/// The longest one.
const LONGEST_POLL: Duration = Duration::from_secs(2);
/// The pause while another Kustomization is asking the same cluster whether it answers.
const ASKED_BY_ANOTHER: Duration = Duration::from_secs(1);
/// No timeout is shorter.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Keeps the cluster as the folders of Kustomizations say.
pub struct KustomizationController {
    pub(super) context: Context,
    pub(super) clusters: Clusters,
    pub(super) memories: Memories,
    pub(super) store: Arc<ArtifactStore>,
}

impl KustomizationController {
    /// A controller that reads artifacts from `store`.
    pub fn new(context: Context, store: Arc<ArtifactStore>) -> Self {
        let settings = context.config.cluster_settings();
        let clusters = Clusters::new(context.client.clone(), settings, |_, _| (), |_, _| ());
        Self { context, clusters, memories: Memories::default(), store }
    }

    /// Kustomizations to look at because their source, a dependency or a variable changed.
    pub fn triggers(&self) -> BoxStream<'static, ObjectRef<Kustomization>> {
        triggers::triggers(&self.context)
    }
}

impl Reconciler for KustomizationController {
    type Object = Kustomization;

    async fn reconcile(&self, object: Arc<Kustomization>) -> Result<Requeue, kube::Error> {
        if object.metadata.deletion_timestamp.is_some() {
            return finalize::finalize(self, &object).await;
        }
        let object = self.context.add_finalizer(object.as_ref()).await?;
        if object.spec.suspend {
            return Ok(Requeue::OnChange);
        }
        let fields = must_not_be_ignored(&object.spec);
        if !fields.is_empty() {
            let message = format!(
                "nothing is applied: this version does not act on {}, and without it other objects would be applied, \
                 or elsewhere",
                fields.join(", ")
            );
            let ending = Ending::Stalled { reason: reason::NOT_ACTED_ON, message };
            return self.finish(&object, &ending, &Facts::default(), &Told::default()).await;
        }
        if let Some(message) = dependencies::invalid(&object.spec.depends_on) {
            let ending = Ending::Stalled { reason: reason::INVALID_CEL_EXPRESSION, message };
            return self.finish(&object, &ending, &Facts::default(), &Told::default()).await;
        }
        let checks = match Checks::read(&object.spec.health_check_exprs) {
            Ok(checks) => checks,
            Err(message) => {
                let ending = Ending::Stalled { reason: reason::INVALID_CEL_EXPRESSION, message };
                return self.finish(&object, &ending, &Facts::default(), &Told::default()).await;
            }
        };
        let source = source::source_id(&object);
        let (own, _) = namespaced_name(object.as_ref());
        if let Some(message) = self.context.denied(&own, source.kind.as_str(), &source.namespace, &source.name) {
            let ending = Ending::Stalled { reason: reason::ACCESS_DENIED, message };
            return self.finish(&object, &ending, &Facts::default(), &Told::default()).await;
        }
        match self.prerequisites(&object) {
            Ok(artifact) => match self.enter(&object).await? {
                Entry::Open(cluster) => {
                    let work = Work { artifact: &artifact, checks: &checks, cluster: &cluster };
                    Box::pin(self.pass(object, work)).await
                }
                Entry::Closed(ending) => {
                    let facts = Facts { artifact: Some(&artifact), ..Facts::default() };
                    self.finish(&object, &ending, &facts, &Told::default()).await
                }
                Entry::Later => Ok(Requeue::After(jittered(ASKED_BY_ANOTHER))),
            },
            Err(NotYet { reason, message }) => {
                let ending = Ending::Failed { reason, message };
                self.finish(&object, &ending, &Facts::default(), &Told::default()).await
            }
        }
    }
}

/// What a pass has to tell besides its ending.
#[derive(Default)]
struct Told {
    changes: Vec<String>,
    took: Duration,
    /// How long ago everything was applied.
    since_full: Duration,
    /// Until the next look at what is waited for.
    pause: Duration,
}

/// What a pass works with.
#[derive(Clone, Copy)]
struct Work<'a> {
    artifact: &'a Artifact,
    checks: &'a Checks,
    cluster: &'a Cluster,
}

fn elapsed_since(instant: Option<Instant>) -> Duration {
    instant.map_or(Duration::ZERO, |instant| instant.elapsed())
}

/// What is waited for.
struct Health<'a> {
    inventory: &'a Inventory,
    memory: Memory,
}

impl KustomizationController {
    fn prerequisites(&self, object: &Kustomization) -> Result<Artifact, NotYet> {
        let artifact = source::artifact(&self.context.caches, object)?;
        source::check_dependencies(&self.context.caches, object, &artifact.revision)?;
        Ok(artifact)
    }

    async fn pass(&self, object: Arc<Kustomization>, work: Work<'_>) -> Result<Requeue, kube::Error> {
        let (started, since) = (Instant::now(), Timestamp::now());
        let artifact = work.artifact;
        let strict = self.context.config.build.strict_substitutions;
        let material = match Material::gather(&self.context.client, &object, strict).await {
            Ok(material) => material,
            Err(error) => {
                let ending = Ending::Failed { reason: reason::BUILD_FAILED, message: error.to_string() };
                let facts = Facts { artifact: Some(artifact), ..Facts::default() };
                return self.finish(&object, &ending, &facts, &Told::default()).await;
            }
        };
        let asked = self.context.wakes.last(object.as_ref());
        let input = Input::of(&object, asked, artifact, material.digest(), work.cluster);
        let memory = self.memories.get(&object).filter(|memory| memory.input == input);
        let object = if memory.is_none() { self.begin(&object, artifact).await? } else { object };
        let interval = object.spec.interval.to_std().mul_f64(DUE_AFTER);
        let full_at = memory.as_ref().and_then(|memory| memory.full_at);
        let full = full_at.is_none_or(|at| at.elapsed() >= interval);
        if let Some(memory) = memory.as_ref().filter(|memory| !full && memory.waiting_since.is_some()) {
            let inventory = self.memories.inventory(&object);
            let health = Health { inventory: &inventory, memory: memory.clone() };
            return self.check_health(&object, work, health, Told::default()).await;
        }
        let (waiting_since, gave_up) = memory.map_or((None, false), |memory| (memory.waiting_since, memory.gave_up));
        let known = self.memories.get(&object).map(Known::from).unwrap_or_default();
        self.note_begin(&object);
        let done = self.apply(&object, work, &material, &known, full).await;
        let period = Period::new(since, Timestamp::now());
        // Nothing is applied where nothing could be read.
        let full_at = if full && done.inventory.is_some() { Some(started) } else { full_at };
        let inventory = done.inventory.unwrap_or_else(|| self.memories.inventory(&object));
        let mut memory = Memory {
            input,
            full_at,
            digests: done.digests,
            held: done.held.or(known.held),
            digest: done.digest,
            redactor: done.redactor,
            waiting_since: None,
            awaited: Arc::new(wait::awaited(&object, &inventory, &done.exceptions)),
            gave_up,
            warnings: String::new(),
        };
        let waits = matches!(done.ending, Ending::Applied { .. }) && !memory.awaited.is_empty();
        let (releases, counts, ending) = (done.releases, done.counts, &done.ending);
        self.note_applied(&object, artifact, Applied { releases, period, counts, ending, waits });
        let told = Told {
            changes: done.changes,
            took: started.elapsed(),
            since_full: elapsed_since(full_at),
            ..Told::default()
        };
        if let Ending::Applied { warnings } = &done.ending
            && waits
        {
            memory.warnings.clone_from(warnings);
            // To apply everything anew is no reason to wait longer.
            memory.waiting_since = waiting_since.or(Some(started));
            let health = Health { inventory: &inventory, memory };
            return self.check_health(&object, work, health, told).await;
        }
        let digest = memory.digest.clone();
        self.memories.put(&object, memory);
        let facts = Facts {
            artifact: Some(artifact),
            inventory: Some(&inventory),
            checks_health: wait::is_asked_for(&object.spec),
            not_acted_on: &unsupported::kustomization(&object.spec),
            digest: digest.as_deref(),
            took: told.took,
        };
        self.finish(&object, &done.ending, &facts, &told).await
    }

    /// Says that work has begun, unless the object is ready: most passes take no second then.
    async fn begin(&self, object: &Arc<Kustomization>, artifact: &Artifact) -> Result<Arc<Kustomization>, kube::Error> {
        let conditions = object.status.as_ref().map_or(&[][..], |status| &status.conditions);
        if conditions::ready(conditions, object.metadata.generation) {
            return Ok(Arc::clone(object));
        }
        let begun = status::begun(object, &artifact.revision, Timestamp::now());
        self.context.put_status(object.as_ref(), begun).await
    }

    async fn apply(
        &self,
        object: &Kustomization,
        work: Work<'_>,
        material: &Material,
        known: &Known,
        full: bool,
    ) -> Done {
        let Work { artifact, cluster, .. } = work;
        let root = match foreign::directory(&self.store, &lifecycle::owner_of(object), artifact).await {
            Ok(root) => root,
            Err(error) => {
                let message = source::unread(object, &error);
                return Done::unread(Ending::Failed { reason: reason::ARTIFACT_FAILED, message }, &known.digests);
            }
        };
        let builds = self.context.config.builds();
        let pass = Pass {
            client: &cluster.client,
            resolver: &cluster.resolver,
            builder: Builder {
                kustomize: &self.context.config.kustomize,
                place: &builds,
                allow_remote_bases: self.context.config.build.allow_remote_bases,
                spec: &object.spec,
                decryptor: material.keys.as_ref().map(|keys| Decryptor {
                    sops: &self.context.config.build.sops,
                    place: &builds,
                    keys,
                    timeout: timeout(&object.spec),
                }),
                timeout: timeout(&object.spec),
            },
            owner: owner_of(object),
            spec: &object.spec,
            material,
            inventory: self.memories.inventory(object),
            ceiling: self.context.config.prune_ceiling,
            consent: Consent {
                revision: &artifact.revision,
                given_for: object.annotations().get(annotation::ALLOW_PRUNE).map(String::as_str),
            },
            held: known.held.as_ref(),
        };
        let done = Box::pin(pass.run(root, &known.digests, full)).await;
        Done { ending: self.explained(object, cluster, done.ending).await, ..done }
    }

    async fn check_health(
        &self,
        object: &Kustomization,
        work: Work<'_>,
        health: Health<'_>,
        mut told: Told,
    ) -> Result<Requeue, kube::Error> {
        let Health { inventory, mut memory } = health;
        let Work { artifact, checks, cluster } = work;
        let timeout = timeout(&object.spec);
        let waited = memory.waiting_since.map_or(Duration::ZERO, |since| since.elapsed());
        told.pause = (waited / 4).clamp(SHORTEST_POLL, LONGEST_POLL);
        let overdue = waited > timeout || memory.gave_up;
        let look = Look {
            client: &cluster.client,
            resolver: &cluster.resolver,
            checks,
            closely: false,
            redactor: &memory.redactor,
        };
        let mut verdict = look.at(&memory.awaited).await;
        if matches!(verdict, Verdict::Failed(_)) || (overdue && verdict != Verdict::Healthy) {
            verdict = Look { closely: true, ..look }.at(&memory.awaited).await;
        }
        if overdue {
            verdict = verdict.at_last(timeout);
        }
        let failed = |message| Ending::Failed { reason: reason::HEALTH_CHECK_FAILED, message };
        let ending = match verdict {
            Verdict::Healthy => Ending::Applied { warnings: std::mem::take(&mut memory.warnings) },
            Verdict::Failed(message) => failed(message),
            Verdict::Waiting(message) => Ending::Waiting { message },
        };
        self.note_waited(object, artifact, &ending);
        memory.gave_up = matches!(ending, Ending::Failed { .. });
        told.took = waited;
        told.since_full = elapsed_since(memory.full_at);
        let digest = memory.digest.clone();
        self.memories.put(object, memory);
        let facts = Facts {
            artifact: Some(artifact),
            inventory: Some(inventory),
            checks_health: true,
            not_acted_on: &unsupported::kustomization(&object.spec),
            digest: digest.as_deref(),
            took: waited,
        };
        self.finish(object, &ending, &facts, &told).await
    }

    /// Writes the status, tells what is new, and says when to look again.
    async fn finish(
        &self,
        object: &Kustomization,
        ending: &Ending,
        facts: &Facts<'_>,
        told: &Told,
    ) -> Result<Requeue, kube::Error> {
        let status = status::after(object, ending, facts, Timestamp::now());
        self.tell(object, &status, ending, facts, told);
        let written = self.context.put_status(object, status).await;
        if let Some(inventory) = facts.inventory {
            self.memories.wrote(object, inventory, written.is_ok());
        }
        if !matches!(ending, Ending::Waiting { .. }) {
            self.memories.end_wait(object);
        }
        written?;
        let spec = &object.spec;
        Ok(match ending {
            Ending::Applied { .. } => {
                let interval = spec.interval.to_std();
                // A pass may take longer than its interval.
                let shortest = interval.mul_f64(1.0 - DUE_AFTER);
                Requeue::After(jittered(interval).saturating_sub(told.since_full).max(shortest))
            }
            Ending::Waiting { .. } => Requeue::After(told.pause),
            Ending::Failed { .. } => Requeue::Backoff { max: spec.retry_interval.unwrap_or(spec.interval).to_std() },
            Ending::Stalled { .. } => Requeue::OnChange,
        })
    }

    fn tell(
        &self,
        object: &Kustomization,
        status: &KustomizationStatus,
        ending: &Ending,
        facts: &Facts<'_>,
        told: &Told,
    ) {
        let reporter = &self.context.reporter;
        let elapsed = format!("{:.3}s", told.took.as_secs_f64());
        let about = &about(facts.artifact, &elapsed);
        if !told.changes.is_empty() {
            reporter.normal(object, reason::PROGRESSING, &told.changes.join("\n"), about);
        }
        let message = |type_| {
            let condition = |status: &KustomizationStatus| {
                conditions::get(&status.conditions, type_).map(|condition| condition.message.clone())
            };
            (object.status.as_ref().and_then(condition), condition(status))
        };
        if let (before, Some(now)) = message(FIELDS_NOT_ACTED_ON)
            && before.as_ref() != Some(&now)
        {
            reporter.warning(object, reason::NOT_ACTED_ON, &now, about);
        }
        if !status::is_news(object.status.as_ref(), status) && told.changes.is_empty() {
            return;
        }
        match ending {
            Ending::Applied { warnings } => {
                let next = jiff_text(object.spec.interval.to_std());
                let text = format!("Reconciliation finished in {elapsed}, next run in {next}");
                let about_commit = [about.as_slice(), &[(event::COMMIT_STATUS, event::UPDATE)]].concat();
                reporter.normal(object, reason::RECONCILIATION_SUCCEEDED, &text, &about_commit);
                if !warnings.is_empty() && message(READY).0 != message(READY).1 {
                    reporter.warning(object, reason::RECONCILIATION_SUCCEEDED, warnings, about);
                }
            }
            Ending::Waiting { .. } => {}
            Ending::Failed { reason, message } | Ending::Stalled { reason, message } => {
                reporter.warning(object, reason, message, about);
            }
        }
    }
}

/// What events say beside their message.
fn about<'f>(artifact: Option<&'f Artifact>, elapsed: &'f str) -> Vec<(&'static str, &'f str)> {
    let Some(artifact) = artifact.filter(|artifact| !artifact.revision.is_empty()) else { return Vec::new() };
    let origin = artifact.metadata.get(ORIGIN_REVISION).map(|origin| (event::ORIGIN_REVISION, origin.as_str()));
    [("revision", artifact.revision.as_str()), ("elapsed", elapsed)].into_iter().chain(origin).collect()
}

/// Fields without which other objects would be applied.
fn must_not_be_ignored(spec: &KustomizationSpec) -> Vec<&'static str> {
    let set = [("spec.decryption.serviceAccountName", decrypts_as_account(spec))];
    set.into_iter().filter(|(_, set)| *set).map(|(field, _)| field).collect()
}

/// Whether a key service is to be asked in the name of an account.
fn decrypts_as_account(spec: &KustomizationSpec) -> bool {
    spec.decryption.as_ref().is_some_and(|decryption| decryption.service_account_name.is_some())
}

/// `spec.timeout`, or a little less than the interval; never under half a minute.
pub(super) fn timeout(spec: &KustomizationSpec) -> Duration {
    let default = spec.interval.to_std().saturating_sub(SHORTEST_TIMEOUT);
    spec.timeout.map_or(default, crate::api::meta::Duration::to_std).max(SHORTEST_TIMEOUT)
}

pub(super) fn owner_of(object: &Kustomization) -> Owner {
    let (namespace, name) = namespaced_name(object);
    Owner { namespace, name }
}

fn jiff_text(duration: Duration) -> String {
    crate::api::meta::Duration::from(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::meta::Duration as Span;

    #[test]
    fn timeouts_follow_flux() {
        let table = [(600, None, 570), (40, None, 30), (60, Some(5), 30), (60, Some(300), 300)];
        for (interval, timeout_, expected) in table {
            let spec = KustomizationSpec {
                interval: Span::from_secs(interval),
                timeout: timeout_.map(Span::from_secs),
                ..KustomizationSpec::default()
            };
            assert_eq!(timeout(&spec), Duration::from_secs(expected));
        }
    }

    #[test]
    fn an_apply_of_other_objects_is_refused() {
        let mut spec = KustomizationSpec::default();
        assert!(must_not_be_ignored(&spec).is_empty());
        spec.decryption = Some(crate::api::kustomize::v1::Decryption::default());
        assert!(must_not_be_ignored(&spec).is_empty());
        spec.decryption.as_mut().unwrap().service_account_name = Some("sops".to_owned());
        assert_eq!(must_not_be_ignored(&spec), ["spec.decryption.serviceAccountName"]);
        let empty = serde_json::json!({"provider": "sops", "serviceAccountName": ""});
        spec.decryption = Some(serde_json::from_value(empty).unwrap());
        assert!(must_not_be_ignored(&spec).is_empty());
    }
}
