//! Applies the objects of a folder, stage by stage. One that is refused does not stop the others.

use super::desired::{Owner, prepare};
use super::inventory::ObjectId;
use super::manifest::Manifest;
use super::order::Stage;
use super::policy;
use super::problem::{Place, Problem};
use super::wait::Exceptions;
use super::write::Writer;
use crate::drift::ignore::IgnoreRules;
use crate::health::{self, Health};
use crate::kube_ext::apply::{Applied, Change, Conflict};
use crate::kube_ext::discovery::{ResolveError, Resolved, Resolver};
use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

/// Objects of one stage that are applied at the same time.
const CONCURRENCY: usize = 8;
/// How long a new CRD may take until the API server serves it.
const ESTABLISHING: Duration = Duration::from_secs(20);
/// Pause between two looks at a CRD.
const ESTABLISHING_STEP: Duration = Duration::from_millis(50);

/// Everything an apply needs besides the manifests.
pub struct Stages<'a> {
    /// The API server.
    pub client: &'a Client,
    /// Kinds.
    pub resolver: &'a Resolver,
    /// The Kustomization.
    pub owner: &'a Owner,
    /// `spec.targetNamespace`.
    pub target_namespace: Option<&'a str>,
    /// `spec.force`.
    pub force: bool,
    /// `spec.ignore`.
    pub ignore: &'a IgnoreRules,
}

/// What became of a folder's objects.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Every object that the folder states and whose kind is known, applied or not.
    pub stated: BTreeSet<ObjectId>,
    /// Objects that are as wanted.
    pub applied: BTreeMap<ObjectId, Done>,
    /// Objects that were refused, and what is odd about others.
    pub problems: Vec<Problem>,
    /// Objects whose health is another matter.
    pub exceptions: Exceptions,
}

/// An object that is as wanted.
#[derive(Debug)]
pub struct Done {
    /// Version of its API.
    pub version: String,
    /// What it took; `None` when its own labels keep us off it, or when it was not due.
    pub change: Option<Change>,
    /// The generation that the object has by that, where it was written.
    pub generation: Option<i64>,
    /// Fields that somebody else owned with another value until now.
    pub taken: Vec<Conflict>,
    /// Digest of the manifest; none when it has to be applied again all the same.
    pub digest: Option<u64>,
}

struct Task {
    id: ObjectId,
    manifest: Manifest,
    object: Value,
    digest: u64,
    resolved: Resolved,
}

impl Stages<'_> {
    /// Applies the manifests that `due` picks; the others count as done. Those that differ from
    /// `known` (object -> digest) go first, so that a change does not wait for what is unchanged.
    pub async fn run(
        &self,
        manifests: Vec<Manifest>,
        known: &BTreeMap<ObjectId, u64>,
        due: impl Fn(&ObjectId, u64) -> bool,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let (fresh, settled): (Vec<_>, Vec<_>) =
            manifests.into_iter().partition(|manifest| known.get(&manifest.id()) != Some(&digest(&manifest.object)));
        for wave in [fresh, settled] {
            let mut stages: BTreeMap<Stage, Vec<Manifest>> = BTreeMap::new();
            for manifest in wave {
                stages.entry(Stage::of(&manifest.id())).or_default().push(manifest);
            }
            for (stage, manifests) in stages {
                self.stage(stage, manifests, &due, &mut outcome).await;
            }
        }
        outcome
    }

    async fn stage(
        &self,
        stage: Stage,
        manifests: Vec<Manifest>,
        due: &impl Fn(&ObjectId, u64) -> bool,
        outcome: &mut Outcome,
    ) {
        let mut tasks = Vec::new();
        for manifest in manifests {
            match self.task(manifest, outcome).await {
                Ok(task) if !due(&task.id, task.digest) => {
                    if policy::step(&task.object, Some(&ObjectMeta::default())) == policy::Step::Leave {
                        outcome.exceptions.left_alone.insert(task.id.clone());
                    }
                    outcome.applied.insert(task.id.clone(), task.done(None));
                }
                Ok(task) => tasks.push(task),
                Err(problem) => outcome.problems.push(*problem),
            }
        }
        let mut results = futures::stream::iter(tasks)
            .map(|task| async move {
                let result = Box::pin(self.apply(&task)).await;
                (task, result)
            })
            .buffer_unordered(CONCURRENCY);
        let mut definitions = Vec::new();
        while let Some((task, result)) = results.next().await {
            match result {
                Ok(applied) => {
                    match &applied {
                        Some(applied) => {
                            outcome.problems.extend(odd(&task, applied));
                            if stage == Stage::Definitions {
                                definitions.push((task.id.clone(), task.manifest.place(""), applied.object.clone()));
                            }
                        }
                        // Whoever looks after it may have other ideas of its health.
                        None => {
                            outcome.exceptions.left_alone.insert(task.id.clone());
                        }
                    }
                    outcome.applied.insert(task.id.clone(), task.done(applied));
                }
                Err(problem) => outcome.problems.push(*problem),
            }
        }
        drop(results);
        for definition in definitions {
            self.establish(definition, outcome).await;
        }
    }

    /// Looks up the kind and makes the object; claims its identity, which only one manifest can.
    async fn task(&self, manifest: Manifest, outcome: &mut Outcome) -> Result<Task, Box<Problem>> {
        let stated = &mut outcome.stated;
        let mut id = manifest.id();
        let api_version = manifest.object["apiVersion"].as_str().unwrap_or_default();
        let resolved = match self.resolver.resolve(api_version, &id.kind).await {
            Ok(resolved) => resolved,
            Err(error) => {
                let problem = unresolved(manifest.place("/apiVersion"), &id, &error);
                if let Some(namespace) = self.target_namespace {
                    namespace.clone_into(&mut id.namespace);
                }
                stated.insert(id);
                return Err(Box::new(problem));
            }
        };
        let object = prepare(&manifest.object, resolved.namespaced, self.target_namespace, self.owner);
        let id = ObjectId::of(&object);
        if resolved.namespaced && id.namespace.is_empty() {
            stated.insert(id.clone());
            let problem = Problem::error(manifest.place("/metadata"), "`metadata.namespace` is missing").about(&id);
            return Err(Box::new(problem.fix("set it, or targetNamespace in the Kustomization")));
        }
        if !stated.insert(id.clone()) {
            let problem = Problem::error(manifest.place(""), "another manifest states the same object").about(&id);
            return Err(Box::new(problem.misnamed(Some(&id.namespace)).fix("remove one of the two, or rename it")));
        }
        if policy::step(&object, None) == policy::Step::Leave {
            outcome.exceptions.left_alone.insert(id.clone());
        }
        if id.kind == "Job" && object.pointer("/spec/ttlSecondsAfterFinished").is_some() {
            outcome.exceptions.vanishing.insert(id.clone());
        }
        let digest = digest(&manifest.object);
        Ok(Task { id, manifest, object, digest, resolved })
    }

    async fn apply(&self, task: &Task) -> Result<Option<Applied>, Box<Problem>> {
        let namespace = Some(task.id.namespace.as_str()).filter(|namespace| !namespace.is_empty());
        let writer = Writer { client: self.client, owner: self.owner, force: self.force, ignore: self.ignore };
        let written = writer.write(&task.resolved, namespace, &task.object).await;
        written.map_err(|error| {
            let place = error
                .field
                .as_deref()
                .map_or_else(|| task.manifest.place(""), |field| task.manifest.place_of_field(field));
            Box::new(Problem::refused(place, &task.id, &error))
        })
    }

    /// Waits until a new kind is served, so that its objects in the next stages find it.
    async fn establish(&self, (id, place, mut definition): (ObjectId, Place, Value), outcome: &mut Outcome) {
        let deadline = Instant::now() + ESTABLISHING;
        let trouble = loop {
            match health::assess(&definition) {
                Health::Current => break None,
                Health::Failed(why) => break Some(why),
                Health::InProgress(why) if Instant::now() > deadline => break Some(why),
                Health::InProgress(_) => {}
            }
            tokio::time::sleep(ESTABLISHING_STEP).await;
            match self.live(&definition, &id.name).await {
                Some(live) => definition = live,
                None => break Some("it is gone again".to_owned()),
            }
        };
        self.forget_kinds(&definition);
        if let Some(why) = trouble {
            let reason = format!("its kind is not served: {why}");
            outcome.problems.push(Problem::error(place, reason).about(&id));
            if let Some(done) = outcome.applied.get_mut(&id) {
                done.digest = None;
            }
        }
    }

    async fn live(&self, definition: &Value, name: &str) -> Option<Value> {
        let api_version = definition["apiVersion"].as_str()?;
        let kind = definition["kind"].as_str()?;
        let live = self.resolver.api(api_version, kind, None).await.ok()?.get(name).await.ok()?;
        serde_json::to_value(live).ok()
    }

    fn forget_kinds(&self, definition: &Value) {
        let group = definition.pointer("/spec/group").and_then(Value::as_str).unwrap_or_default();
        let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
        for version in versions.into_iter().flatten().filter_map(|version| version["name"].as_str()) {
            self.resolver.forget(&format!("{group}/{version}"));
        }
    }
}

impl Task {
    fn done(&self, applied: Option<Applied>) -> Done {
        Done {
            version: self.resolved.resource.version.clone(),
            change: applied.as_ref().map(|applied| applied.change),
            generation: applied.as_ref().and_then(|applied| applied.object["metadata"]["generation"].as_i64()),
            taken: applied.map(|applied| applied.taken).unwrap_or_default(),
            digest: Some(self.digest),
        }
    }
}

/// Digest of a manifest, to tell changed ones from others within one run of the operator.
pub fn digest(object: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    object.to_string().hash(&mut hasher);
    hasher.finish()
}

fn unresolved(place: Place, id: &ObjectId, error: &ResolveError) -> Problem {
    Problem::error(place, error.to_string()).about(id)
}

fn odd(task: &Task, applied: &Applied) -> Vec<Problem> {
    let kind = &task.id.kind;
    let unknown = applied.unknown_fields.iter().map(|field| {
        let reason = format!("`{field}` is no field of {kind} and was left out");
        Problem::error(task.manifest.place_of_field(field), reason).about(&task.id).warning()
    });
    unknown.collect()
}
