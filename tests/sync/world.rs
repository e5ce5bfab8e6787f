//! A releases repository, a cluster that follows it, and an operator between the two.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use fairlead::api::kustomize::v1::{Kustomization, KustomizationStatus};
use fairlead_testbench::{GitServer, Operator, Repository, TestBench, shared, wait_for};
use k8s_openapi::api::core::v1::Event;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};

/// How long anything may take here.
pub const PATIENCE: Duration = Duration::from_mins(1);

pub struct World {
    pub bench: &'static TestBench,
    pub client: Client,
    pub operator: Operator,
    /// Namespace of the source and the Kustomization; also an id that no other test has.
    pub id: String,
    pub releases: Repository,
    /// Serves the repository for as long as the test runs.
    git: GitServer,
}

/// A `ConfigMap` as a manifest; its only value is `x`.
pub fn config_map(namespace: &str, name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: {namespace}\ndata:\n  x: \"{value}\"\n"
    )
}

/// What the `Ready` condition says of a revision.
#[derive(Debug)]
pub struct Verdict {
    pub ready: String,
    pub reason: String,
    pub message: String,
    pub status: KustomizationStatus,
}

impl Verdict {
    #[track_caller]
    pub fn is_ready(&self) -> &Self {
        assert_eq!(self.ready, "True", "{self:#?}");
        self
    }

    /// Not ready, and every text is in the message.
    #[track_caller]
    pub fn complains(&self, texts: &[&str]) -> &Self {
        assert_eq!(self.ready, "False", "{self:#?}");
        self.mentions(texts)
    }

    #[track_caller]
    pub fn mentions(&self, texts: &[&str]) -> &Self {
        for text in texts {
            assert!(self.message.contains(text), "`{text}` is not in: {}", self.message);
        }
        self
    }

    pub fn inventory(&self) -> Vec<String> {
        let inventory = self.status.inventory.iter();
        inventory.flat_map(|inventory| inventory.entries.iter().map(|entry| entry.id.clone())).collect()
    }
}

impl World {
    /// A repository with these files, followed by an operator that runs only what is tested here.
    pub async fn new(prefix: &str, files: &[(&str, Option<&str>)]) -> Self {
        Self::with_args(prefix, files, &[]).await
    }

    /// Like [`World::new`], with more flags for the operator.
    pub async fn with_args(prefix: &str, files: &[(&str, Option<&str>)], args: &[&str]) -> Self {
        let bench = shared().await;
        bench.install_crds().await;
        let id = bench.namespace(prefix).await;
        let git = GitServer::start();
        let releases = git.repository("releases");
        let world = Self {
            bench,
            client: bench.client().await,
            operator: Operator::builder(Path::new(env!("CARGO_BIN_EXE_fairlead")), bench)
                .watch_namespace(&id)
                .args(["--controllers", "source,kustomize"])
                .args(args.iter().copied())
                .start()
                .await,
            releases,
            git,
            id,
        };
        world.releases.commit("First", files);
        let url = world.git.url(&world.releases);
        world.bench.apply(&format!(
            "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata:\n  name: releases\n  \
             namespace: {id}\nspec:\n  interval: 1s\n  url: {url}\n  ref: {{branch: main}}\n",
            id = world.id,
        ));
        world
    }

    /// Adds the Kustomization `apps` with more lines of spec.
    pub fn follow(&self, spec: &[&str]) {
        self.follow_as("apps", spec);
    }

    pub fn follow_as(&self, name: &str, spec: &[&str]) {
        let own = spec.iter().any(|line| line.starts_with("interval:"));
        let interval = (!own).then_some("interval: 10m");
        let more = interval.iter().chain(spec).copied().collect::<Vec<_>>().join("\n  ");
        self.bench.apply(&format!(
            "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata:\n  name: {name}\n  \
             namespace: {}\nspec:\n  sourceRef: {{kind: GitRepository, name: releases}}\n  {more}\n",
            self.id,
        ));
    }

    /// The production folder, pruned: what most tests follow.
    pub fn follow_production(&self) {
        self.follow(&["path: ./production", "prune: true"]);
    }

    pub fn kustomizations(&self) -> Api<Kustomization> {
        Api::namespaced(self.client.clone(), &self.id)
    }

    /// Commits, and waits until the Kustomization `apps` has judged that commit.
    pub async fn push(&self, files: &[(&str, Option<&str>)]) -> Verdict {
        let commit = self.releases.commit("Update from https://github.com/org/app/commit/1", files);
        self.verdict_on(&commit).await
    }

    /// Waits until the Kustomization `apps` has judged the newest commit.
    pub async fn verdict(&self) -> Verdict {
        self.verdict_on(&self.releases.head("main")).await
    }

    async fn verdict_on(&self, commit: &str) -> Verdict {
        self.verdict_of("apps", |status| {
            status.last_attempted_revision.as_deref() == Some(&format!("main@sha1:{commit}"))
        })
        .await
    }

    /// Waits until a Kustomization has a verdict that fits.
    pub async fn verdict_of(&self, name: &str, fits: impl Fn(&KustomizationStatus) -> bool) -> Verdict {
        let api = self.kustomizations();
        let (api, fits) = (&api, &fits);
        wait_for(&format!("a verdict of {name}"), PATIENCE, || async move {
            let object = api.get(name).await.map_err(|error| error.to_string())?;
            let status = object.status.unwrap_or_default();
            let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").cloned();
            match ready {
                Some(ready) if ready.status != "Unknown" && fits(&status) => {
                    Ok(Verdict { ready: ready.status, reason: ready.reason, message: ready.message, status })
                }
                _ => Err(format!("{status:?}\n{}", self.operator.log())),
            }
        })
        .await
    }

    /// The verdict, once its message has these words.
    pub async fn verdict_saying(&self, name: &str, words: &str) -> Verdict {
        let says = |status: &KustomizationStatus| {
            status.conditions.iter().any(|found| found.type_ == "Ready" && found.message.contains(words))
        };
        self.verdict_of(name, says).await
    }

    /// A live object, if there is one.
    pub async fn live(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = if namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        };
        api.get_opt(name).await.expect("the API server answers")
    }

    /// `spec.values.image.tag` of an app's release; none without the release.
    pub async fn tag(&self, app: &str) -> Option<serde_json::Value> {
        let release = self.live("helm.toolkit.fluxcd.io/v2", "HelmRelease", &self.namespace_of(app), app).await?;
        release.data.pointer("/spec/values/image/tag").cloned()
    }

    /// The value of a [`config_map`] in the own namespace.
    pub async fn value(&self, name: &str) -> Option<String> {
        let map = self.live("v1", "ConfigMap", &self.id, name).await?;
        map.data.pointer("/data/x")?.as_str().map(str::to_owned)
    }

    /// Applies by the field manager of Flux's kustomize-controller, which is the operator's as well.
    pub fn apply_as_flux(&self, manifest: &str) {
        let mut child = self
            .bench
            .command("kubectl")
            .args(["apply", "--server-side", "--field-manager=kustomize-controller", "--filename=-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("start kubectl");
        child.stdin.take().expect("a pipe").write_all(manifest.as_bytes()).expect("write to kubectl");
        assert!(child.wait().expect("wait for kubectl").success(), "{manifest}");
    }

    /// Sets an annotation (`key=value`) of a Kustomization.
    pub fn annotate(&self, name: &str, annotation: &str) {
        self.bench.kubectl(&["-n", &self.id, "annotate", "--overwrite", "kustomization", name, annotation]);
    }

    /// Waits for an event of the Kustomization `apps` that has all these words.
    pub async fn said(&self, type_: &str, reason: &str, words: &[&str]) {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.id);
        let api = &api;
        wait_for(&format!("an event {reason}"), PATIENCE, || async move {
            let events = api.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let fits = |event: &&Event| {
                let message = event.message.as_deref().unwrap_or_default();
                (event.type_.as_deref(), event.reason.as_deref()) == (Some(type_), Some(reason))
                    && event.involved_object.name.as_deref() == Some("apps")
                    && words.iter().all(|word| message.contains(word))
            };
            if events.items.iter().any(|event| fits(&event)) { Ok(()) } else { Err(format!("{:?}", events.items)) }
        })
        .await;
    }

    pub async fn namespace_exists(&self, app: &str) -> bool {
        let namespace = self.live("v1", "Namespace", "", &self.namespace_of(app)).await;
        namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_none())
    }

    pub fn namespace_of(&self, app: &str) -> String {
        format!("{app}-{}", self.id)
    }

    /// The manifests of an app as a releases repository has them: namespace, chart source, release.
    pub fn app(&self, app: &str, tag: &str) -> String {
        let namespace = self.namespace_of(app);
        let id = &self.id;
        format!(
            "# {app}\n\
             apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {namespace}\n  labels:\n    sandboxId: \"{id}\"\n\
             ---\n\
             apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata:\n  name: {app}-chart\n  \
             namespace: {namespace}\nspec:\n  interval: 5m0s\n  url: https://example.com/org/{app}\n  \
             ref:\n    branch: main\n\
             ---\n\
             apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n  name: {app}\n  \
             namespace: {namespace}\nspec:\n  releaseName: {app}\n  interval: 2m0s\n  chart:\n    spec:\n      \
             chart: charts/nodejs\n      sourceRef:\n        kind: GitRepository\n        name: {app}-chart\n      \
             reconcileStrategy: Revision\n  values:\n    image:\n      \
             tag: {tag} # {{\"$imagepolicy\": \"{namespace}:{app}:tag\"}}\n"
        )
    }
}
