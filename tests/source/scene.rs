//! A namespace of one's own with an operator that runs the source controllers in it.

use std::fmt::Debug;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use fairlead::api::meta::{Artifact, Condition};
use fairlead_testbench::{Operator, TestBench, shared, wait_for};
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(40);

const FAIRLEAD: &str = env!("CARGO_BIN_EXE_fairlead");

/// Runs the operator with its data directory on a disk that only it sees; needs user namespaces.
const ON_A_DISK: &str = r#"#!/bin/sh
exec unshare --user --map-root-user --mount sh -c '
    mkdir -p "$FAIRLEAD_DATA_DIR" && mount -t tmpfs -o size=@size@m tmpfs "$FAIRLEAD_DATA_DIR" || exit 9
    exec "$@"' sh "@fairlead@" "$@"
"#;

pub struct Scene {
    pub bench: &'static TestBench,
    pub namespace: String,
    pub operator: Operator,
    pub client: Client,
}

/// The status of any source, as far as tests look at it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub conditions: Vec<Condition>,
    pub artifact: Option<Artifact>,
    pub observed_generation: Option<i64>,
    pub generation: Option<i64>,
    pub status: Value,
}

impl Seen {
    /// Status, reason and message of a condition.
    pub fn condition(&self, type_: &str) -> Option<(&str, &str, &str)> {
        let found = self.conditions.iter().find(|condition| condition.type_ == type_)?;
        Some((&found.status, &found.reason, &found.message))
    }

    pub fn revision(&self) -> &str {
        self.artifact.as_ref().map_or("", |artifact| &artifact.revision)
    }

    fn is_ready(&self) -> bool {
        self.observed_generation == self.generation
            && self.condition("Ready").is_some_and(|(status, _, _)| status == "True")
    }
}

/// What a typed object must be to be looked at.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + serde::Serialize
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + serde::Serialize
{
}

impl Scene {
    pub async fn start(prefix: &str) -> Self {
        Self::launch(prefix, "source", &[]).await
    }

    /// With more flags for the operator.
    pub async fn start_with(prefix: &str, flags: &[&str]) -> Self {
        Self::launch(prefix, "source", flags).await
    }

    /// With these groups of controllers.
    pub async fn running(prefix: &str, controllers: &str) -> Self {
        Self::launch(prefix, controllers, &[]).await
    }

    /// With these variables in the operator's environment.
    pub async fn start_in(prefix: &str, env: &[(&str, &str)]) -> Self {
        Self::launch_as(Path::new(FAIRLEAD), prefix, "source", (&[], env)).await
    }

    /// With a data directory on a disk of its own, of so many MiB.
    pub async fn on_a_disk_of(prefix: &str, size: u32) -> Self {
        let script = ON_A_DISK.replace("@size@", &size.to_string()).replace("@fairlead@", FAIRLEAD);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("on-a-disk");
        std::fs::write(&file, script).expect("write a script");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("make it a program");
        Self::launch_as(&file, prefix, "source", (&[], &[])).await
    }

    async fn launch(prefix: &str, controllers: &str, flags: &[&str]) -> Self {
        Self::launch_as(Path::new(FAIRLEAD), prefix, controllers, (flags, &[])).await
    }

    async fn launch_as(
        program: &Path,
        prefix: &str,
        controllers: &str,
        (flags, env): (&[&str], &[(&str, &str)]),
    ) -> Self {
        let bench = shared().await;
        bench.install_crds().await;
        let namespace = bench.namespace(prefix).await;
        let builder = Operator::builder(program, bench)
            .watch_namespace(&namespace)
            .args(["--controllers", controllers])
            .args(flags.iter().copied());
        let operator = env.iter().fold(builder, |builder, (name, value)| builder.env(name, *value)).start().await;
        Self { client: bench.client().await, bench, namespace, operator }
    }

    pub fn api<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Applies an object of the source API; `spec` is all it needs.
    pub fn apply(&self, kind: &str, name: &str, spec: &Value) {
        self.apply_of("source.toolkit.fluxcd.io/v1", kind, name, spec);
    }

    /// Applies an object of another API.
    pub fn apply_of(&self, version: &str, kind: &str, name: &str, spec: &Value) {
        self.bench.apply(
            &json!({
                "apiVersion": version,
                "kind": kind,
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": spec,
            })
            .to_string(),
        );
    }

    pub fn secret(&self, name: &str, data: &Value) {
        self.bench.apply(
            &json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": self.namespace},
                "stringData": data,
            })
            .to_string(),
        );
    }

    pub async fn see<K: Kind>(&self, name: &str) -> Seen {
        let object = self.api::<K>().get(name).await.expect("read the object");
        let value = serde_json::to_value(&object).expect("an object is JSON");
        let status = value.get("status").cloned().unwrap_or_default();
        let part = |key: &str| status.get(key).cloned().unwrap_or_default();
        Seen {
            conditions: serde_json::from_value(part("conditions")).unwrap_or_default(),
            artifact: serde_json::from_value(part("artifact")).ok(),
            observed_generation: part("observedGeneration").as_i64(),
            generation: object.meta().generation,
            status,
        }
    }

    /// Waits until the object looks as wanted.
    pub async fn until<K: Kind>(&self, name: &str, what: &str, wanted: impl Fn(&Seen) -> bool) -> Seen {
        wait_for(&format!("{name}: {what}"), PATIENCE, || async {
            let seen = self.see::<K>(name).await;
            if wanted(&seen) { Ok(seen) } else { Err(seen.status.to_string()) }
        })
        .await
    }

    pub async fn ready<K: Kind>(&self, name: &str) -> Seen {
        self.until::<K>(name, "Ready", Seen::is_ready).await
    }

    /// Waits until the object is Ready at a revision.
    pub async fn ready_at<K: Kind>(&self, name: &str, revision: &str) -> Seen {
        self.until::<K>(name, revision, |seen| seen.is_ready() && seen.revision() == revision).await
    }

    /// Waits until a condition is True with a message that holds `needle`.
    pub async fn failed<K: Kind>(&self, name: &str, condition: &str, needle: &str) -> Seen {
        self.until::<K>(name, &format!("{condition} with '{needle}'"), |seen| {
            seen.condition(condition).is_some_and(|(status, _, message)| status == "True" && message.contains(needle))
        })
        .await
    }

    pub async fn annotate<K: Kind>(&self, name: &str, key: &str, value: &str) {
        let patch = json!({"metadata": {"annotations": {key: value}}});
        self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("annotate");
    }

    pub async fn delete<K: Kind>(&self, name: &str) {
        self.api::<K>().delete(name, &DeleteParams::default()).await.expect("delete");
        wait_for(&format!("{name} gone"), PATIENCE, || async {
            match self.api::<K>().get_opt(name).await {
                Ok(None) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    /// Waits for an event about an object.
    pub async fn event(&self, name: &str, reason: &str) -> Event {
        let events: Api<Event> = self.api();
        wait_for(&format!("event {reason} of {name}"), PATIENCE, || async {
            let all = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?.items;
            let found = all.iter().find(|event| {
                event.involved_object.name.as_deref() == Some(name) && event.reason.as_deref() == Some(reason)
            });
            let seen = || all.iter().map(|event| format!("{:?} {:?}", event.reason, event.message)).collect::<Vec<_>>();
            found.cloned().ok_or_else(|| format!("{:?}", seen()))
        })
        .await
    }

    /// The files of an artifact as any consumer gets them: over HTTP, unpacked.
    pub async fn files(&self, artifact: &Artifact) -> std::collections::BTreeMap<String, String> {
        let bytes = self.download(artifact).await;
        assert_eq!(artifact.digest, format!("sha256:{}", fairlead::source::digest::sha256(&bytes)));
        let files = fairlead::source::archive::read_files(bytes.as_slice(), 1 << 24).expect("unpack the artifact");
        files.into_iter().map(|(name, bytes)| (name, String::from_utf8_lossy(&bytes).into_owned())).collect()
    }

    pub async fn download(&self, artifact: &Artifact) -> Vec<u8> {
        let response = reqwest::get(&artifact.url).await.expect("ask for the artifact");
        assert_eq!(response.status(), 200, "{}", artifact.url);
        response.bytes().await.expect("read the artifact").to_vec()
    }

    /// No output of the operator holds any of these.
    pub async fn keeps_secret(&self, secrets: &[&str]) {
        let statuses = self.bench.kubectl(&[
            "get",
            "gitrepositories,helmrepositories,helmcharts,ocirepositories,buckets,events",
            "-n",
            &self.namespace,
            "-o",
            "json",
        ]);
        let specs_aside: Value = serde_json::from_str(&statuses).expect("kubectl prints JSON");
        let told: Vec<String> = specs_aside["items"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|item| format!("{} {}", item["status"], item["message"]))
            .collect();
        let metrics = self.operator.get("/metrics").await;
        for secret in secrets {
            assert!(!self.operator.log().contains(secret), "the log tells a secret");
            assert!(!told.join("\n").contains(secret), "a status or an event tells a secret");
            assert!(!metrics.contains(secret), "a metric tells a secret");
        }
    }
}
