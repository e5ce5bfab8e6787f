//! Looks at the objects of a release and sets them right, by way of the API server.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use http::StatusCode;
use kube::api::{GetParams, Patch, PatchParams};
use kube::core::{DynamicObject, Request};
use kube::{Client, Resource as _};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::FIELD_MANAGER;
use super::additions::{additions, removal};
use super::compare::changes;
use super::ignore::{IgnoreRules, Pointer, carry_over, opts_out, remove};
use super::objects::{display, is_secret};
use super::overlay::overlay;
use super::report::{Drifted, Finding};
use crate::kube_ext::apply::{ApplyError, Manner, Refusal, apply_as};
use crate::kube_ext::discovery::{Resolved, Resolver};
use crate::kube_ext::field_set::is_of_object;

/// Objects of one release that are looked at at the same time.
const AT_ONCE: usize = 8;
/// Objects of all releases that are looked at at the same time: a dry run costs the API server as
/// much as a write, and runs its webhooks.
const IN_ALL: usize = 24;
/// Attempts at one object whose ignored fields change at the same time.
const ATTEMPTS: usize = 4;

/// Bounds the load of all looks together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bound(Arc<Semaphore>);

impl Default for Bound {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(IN_ALL)))
    }
}

/// The API server, with the identity that the release has.
pub struct Observer<'c> {
    /// Speaks with that identity.
    pub client: &'c Client,
    /// Knows the kinds of that API server.
    pub resolver: &'c Resolver,
    /// The bound that all releases share.
    pub bound: &'c Bound,
    /// What others add to an object is drift too.
    pub additions: bool,
}

/// What a look gave.
#[derive(Debug, Default)]
pub struct Look {
    /// Objects that are not as the release made them, in its order.
    pub drifted: Vec<Drifted>,
    /// Objects that could not be looked at, and why; unredacted.
    pub unseen: Vec<String>,
}

/// An object of a release with what is needed to speak about it to the API server.
struct Placed<'r> {
    object: Value,
    resolved: Resolved,
    namespace: Option<String>,
    ignored: Vec<&'r Pointer>,
}

impl Observer<'_> {
    /// Looks at each of a release's objects. Those without a namespace live in the given one.
    pub async fn look(&self, namespace: &str, objects: Vec<Value>, rules: &IgnoreRules) -> Look {
        // Boxed, or the compiler cannot prove that futures borrowing each object are Send.
        let looks: Vec<_> =
            objects.into_iter().map(|object| Box::pin(self.look_at(namespace, object, rules))).collect();
        let found: Vec<_> = stream::iter(looks).buffered(AT_ONCE).collect().await;
        let mut look = Look::default();
        for one in found {
            match one {
                Ok(drifted) => look.drifted.extend(drifted),
                Err(why) => look.unseen.push(why),
            }
        }
        look
    }

    async fn look_at(&self, namespace: &str, object: Value, rules: &IgnoreRules) -> Result<Option<Drifted>, String> {
        if opts_out(&object) {
            return Ok(None);
        }
        let placed = self.place(namespace, object, rules).await?;
        if placed.ignored.iter().any(|pointer| pointer.is_empty()) {
            return Ok(None);
        }
        let _slot = self.bound.0.acquire().await.expect("the semaphore is never closed");
        let Some(mut live) = self.live(&placed).await? else {
            return Ok(Some(Drifted { object: placed.object, finding: Finding::Gone }));
        };
        if opts_out(&live) {
            return Ok(None);
        }
        let mut manifest = placed.object.clone();
        carry_over(&mut manifest, &live, &placed.ignored);
        let mut wanted = match self.apply(&placed, manifest.clone(), true).await {
            Ok(wanted) => wanted,
            Err(error) => self.overlay(&placed, &live, &manifest, true, &error).await?,
        };
        let added = if self.additions { additions(&live, &placed.ignored) } else { Vec::new() };
        remove(&mut live, &mut wanted, &placed.ignored);
        let mut fields = changes(&live, &wanted);
        let known: Vec<String> = fields.iter().map(|field| field.pointer.clone()).collect();
        fields.extend(added.into_iter().filter(|field| !known.contains(&field.pointer)));
        let finding = Finding::Changed(fields.clone());
        Ok((!fields.is_empty()).then_some(Drifted { object: placed.object, finding }))
    }

    /// Makes an object what the release made it, except for its ignored fields.
    pub async fn correct(&self, drifted: &Drifted, rules: &IgnoreRules) -> Result<(), String> {
        let placed = self.place("", drifted.object.clone(), rules).await?;
        self.restore(&placed).await?;
        if self.additions { self.take_away(&placed).await } else { Ok(()) }
    }

    /// Removes what others added.
    async fn take_away(&self, placed: &Placed<'_>) -> Result<(), String> {
        for attempt in 1.. {
            let Some(live) = self.live(placed).await? else { break };
            let added = additions(&live, &placed.ignored);
            if added.is_empty() {
                break;
            }
            match self.patch(placed, removal(&live, &added)).await {
                // Also when somebody else wrote meanwhile: what to remove is looked up again.
                Err(kube::Error::Api(status))
                    if status.code == StatusCode::UNPROCESSABLE_ENTITY && attempt < ATTEMPTS => {}
                result => return result.map_err(|error| placed.failed(&error)),
            }
        }
        Ok(())
    }

    /// Sets right what the manifest says.
    async fn restore(&self, placed: &Placed<'_>) -> Result<(), String> {
        let mut attempt = 1;
        let mut overlaid = false;
        loop {
            let manifest = self.correction(placed).await?;
            match self.apply(placed, manifest.clone(), false).await {
                // Somebody else wrote between the look and the correction.
                Err(error) if error.refusal == Refusal::Conflict && attempt < ATTEMPTS => attempt += 1,
                // What no apply can do is done, then.
                Err(_) if overlaid => return Ok(()),
                Err(error) => {
                    let live = self.live(placed).await?.ok_or_else(|| placed.says(&error))?;
                    self.overlay(placed, &live, &manifest, false, &error).await?;
                    overlaid = true;
                }
                Ok(stored) if overlaid => return self.own_once(placed, &stored).await,
                Ok(_) => return Ok(()),
            }
        }
    }

    /// Tries, or does, by a merge patch what an apply was refused for. The apply's refusal says
    /// more than that of the patch.
    async fn overlay(
        &self,
        placed: &Placed<'_>,
        live: &Value,
        manifest: &Value,
        dry_run: bool,
        refused: &ApplyError,
    ) -> Result<Value, String> {
        if refused.refusal != Refusal::Invalid {
            return Err(placed.says(refused));
        }
        let parameters =
            PatchParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(overlay(live, manifest));
        let request = Request::new(placed.path()).patch(placed.name(), &parameters, &patch);
        let request = request.map_err(|_| placed.says(refused))?;
        self.client.request(request).await.map_err(|_| placed.says(refused))
    }

    /// After a merge patch and an apply helm is noted twice as the owner of what the patch changed.
    /// The next server-side upgrade could not give that up.
    async fn own_once(&self, placed: &Placed<'_>, stored: &Value) -> Result<(), String> {
        let entries = stored.pointer("/metadata/managedFields").and_then(Value::as_array);
        let of_patch = |entry: &Value| {
            entry["manager"] == FIELD_MANAGER
                && entry["operation"] == "Update"
                && is_of_object(entry["subresource"].as_str())
        };
        let Some(position) = entries.and_then(|entries| entries.iter().position(of_patch)) else {
            return Ok(());
        };
        let entry = format!("/metadata/managedFields/{position}");
        let patch = json!([
            {"op": "test", "path": format!("{entry}/manager"), "value": FIELD_MANAGER},
            {"op": "test", "path": format!("{entry}/operation"), "value": "Update"},
            {"op": "remove", "path": entry},
        ]);
        let patch = serde_json::from_value(patch).expect("it is a patch");
        self.patch(placed, patch).await.map_err(|error| placed.failed(&error))
    }

    async fn patch(&self, placed: &Placed<'_>, patch: json_patch::Patch) -> Result<(), kube::Error> {
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let request = Request::new(placed.path()).patch(placed.name(), &parameters, &Patch::Json::<()>(patch));
        let request = request.map_err(kube::Error::BuildRequest)?;
        self.client.request::<Value>(request).await.map(drop)
    }

    /// What to apply. With ignored fields it is bound to the version that these were read from, so
    /// that an autoscaler's newer word is not taken back.
    async fn correction(&self, placed: &Placed<'_>) -> Result<Value, String> {
        let mut manifest = placed.object.clone();
        if placed.ignored.is_empty() {
            return Ok(manifest);
        }
        if let Some(live) = self.live(placed).await? {
            carry_over(&mut manifest, &live, &placed.ignored);
            manifest["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
        }
        Ok(manifest)
    }

    async fn place<'r>(&self, namespace: &str, object: Value, rules: &'r IgnoreRules) -> Result<Placed<'r>, String> {
        let mut object = object;
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let resolved = self.resolver.resolve(text("apiVersion"), text("kind")).await;
        let resolved = resolved.map_err(|error| format!("{}: {}", display(&object), with_source(&error)))?;
        let given = object["metadata"]["namespace"].as_str().filter(|given| !given.is_empty()).unwrap_or(namespace);
        let namespace = resolved.namespaced.then(|| given.to_owned());
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("namespace");
            metadata.extend(namespace.clone().map(|namespace| ("namespace".to_owned(), namespace.into())));
        }
        let ignored = rules.of(&object);
        Ok(Placed { object, resolved, namespace, ignored })
    }

    async fn live(&self, placed: &Placed<'_>) -> Result<Option<Value>, String> {
        let request = Request::new(placed.path()).get(placed.name(), &GetParams::default());
        match self.client.request::<Value>(request.map_err(|error| placed.failed(&error))?).await {
            Ok(live) => Ok(Some(live)),
            Err(kube::Error::Api(status)) if status.code == StatusCode::NOT_FOUND => Ok(None),
            Err(error) => Err(placed.failed(&error)),
        }
    }

    async fn apply(&self, placed: &Placed<'_>, manifest: Value, dry_run: bool) -> Result<Value, ApplyError> {
        let manner = Manner { manager: FIELD_MANAGER, dry_run };
        let namespace = placed.namespace.as_deref();
        let applied = apply_as(manner, self.client, &placed.resolved, namespace, manifest).await?;
        Ok(applied.object)
    }
}

impl Placed<'_> {
    /// Where objects of its kind are.
    fn path(&self) -> String {
        DynamicObject::url_path(&self.resolved.resource, self.namespace.as_deref())
    }

    fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    fn failed(&self, error: &dyn std::error::Error) -> String {
        let name = display(&self.object);
        if is_secret(&self.object) { format!("{name}: the API server refused it") } else { format!("{name}: {error}") }
    }

    /// A refusal in words; the API server's own may quote the data of a Secret.
    fn says(&self, error: &ApplyError) -> String {
        let name = display(&self.object);
        if is_secret(&self.object) {
            let field = error.field.as_deref().unwrap_or("it");
            return format!("{name}: the API server refused {field} ({:?})", error.refusal);
        }
        // What else can be refused depends on rights and places that are not ours to advise on.
        let fix = if error.refusal == Refusal::Immutable { error.fix() } else { "" };
        if fix.is_empty() { format!("{name}: {error}") } else { format!("{name}: {error}; {fix}") }
    }
}

fn with_source(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
