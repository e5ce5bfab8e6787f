//! What labels and annotations of an object ask for, fields that cannot change, and fields that
//! others own.

use serde_json::json;

use crate::world::{World, config_map};

const FILE: &str = "production/a.yaml";

impl World {
    async fn uid(&self, kind: (&str, &str), name: &str) -> Option<String> {
        self.live(kind.0, kind.1, &self.id, name).await?.metadata.uid
    }

    /// Asks for a pass over everything, and waits for it.
    async fn again(&self, number: usize) {
        let request = format!("request-{number}");
        self.annotate("apps", &format!("reconcile.fluxcd.io/requestedAt={request}"));
        self.verdict_of("apps", |status| status.last_handled_reconcile_at.as_ref() == Some(&request)).await;
    }

    fn patch_map(&self, name: &str, patch: &str, more: &[&str]) {
        let args = ["-n", &self.id, "patch", "configmap", name, "--type=merge", "-p", patch];
        self.bench.kubectl(&[&args[..], more].concat());
    }

    async fn data(&self, name: &str) -> serde_json::Value {
        let map = self.live("v1", "ConfigMap", &self.id, name).await;
        map.and_then(|map| map.data.get("data").cloned()).unwrap_or_default()
    }
}

fn with(manifest: &str, annotation: &str) -> String {
    manifest.replacen("metadata:\n", &format!("metadata:\n  annotations: {{{annotation}}}\n"), 1)
}

#[tokio::test]
async fn a_field_that_cannot_change_needs_a_word_to_make_the_object_anew() {
    let world = World::new("force", &[("production/PLACEHOLDER", Some(""))]).await;
    let ns = world.id.clone();
    let sealed = |value: &str| format!("{}immutable: true\n", config_map(&ns, "sealed", value));
    let web = |app: &str, replicas: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  namespace: {ns}\nspec:\n  \
             replicas: {replicas}\n  selector: {{matchLabels: {{app: {app}}}}}\n  template:\n    metadata: {{labels: \
             {{app: {app}}}}}\n    spec:\n      containers: [{{name: web, image: web}}]\n"
        )
    };
    let other = |value: &str| config_map(&ns, "other", value);
    world.releases.commit("All", &[(FILE, Some(&sealed("1"))), ("production/web.yaml", Some(&web("one", "0")))]);
    world.follow_production();
    world.verdict().await.is_ready();
    let (map, deployment) = (("v1", "ConfigMap"), ("apps/v1", "Deployment"));
    let before = (world.uid(map, "sealed").await, world.uid(deployment, "web").await);

    let files = [
        (FILE, Some(sealed("2"))),
        ("production/web.yaml", Some(web("two", "0"))),
        ("production/o.yaml", Some(other("1"))),
    ];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_deref()));
    let verdict = world.push(&files).await;
    verdict.complains(&[
        &format!("{FILE}:6: ConfigMap/{ns}/sealed: data"),
        &format!("Deployment/{ns}/web: spec.selector"),
        "put it back, or set the annotation kustomize.toolkit.fluxcd.io/force: enabled",
    ]);
    assert_eq!((world.uid(map, "sealed").await, world.uid(deployment, "web").await), before);
    assert_eq!(world.value("other").await.as_deref(), Some("1"), "others go on");

    // Only the object that asks for it; and not while something else is wrong with it, too.
    let forced = with(&sealed("2"), "kustomize.toolkit.fluxcd.io/force: Enabled");
    let wrong = with(&web("two", "-1"), "kustomize.toolkit.fluxcd.io/force: Enabled");
    let verdict = world.push(&[(FILE, Some(&forced)), ("production/web.yaml", Some(&wrong))]).await;
    verdict.complains(&["1 problem, 2 of 3 objects", "spec.replicas"]);
    assert_eq!(world.value("sealed").await.as_deref(), Some("2"));
    assert_ne!(world.uid(map, "sealed").await, before.0);
    assert_eq!(world.uid(deployment, "web").await, before.1);
    world.said("Normal", "Progressing", &[&format!("ConfigMap/{ns}/sealed deleted and made anew")]).await;

    // The whole folder.
    world.push(&[("production/web.yaml", Some(&web("two", "0")))]).await.complains(&["spec.selector"]);
    world.bench.kubectl(&[
        "-n",
        &ns,
        "patch",
        "kustomization",
        "apps",
        "--type=merge",
        "-p",
        r#"{"spec":{"force":true}}"#,
    ]);
    world.verdict_of("apps", |status| status.observed_generation == Some(2)).await.is_ready();
    assert_ne!(world.uid(deployment, "web").await, before.1);

    // What is not ours is not deleted, whoever asks.
    let foreign = sealed("1").replace("name: sealed", "name: foreign");
    world.bench.apply(&foreign);
    let uid = world.uid(map, "foreign").await;
    let wanted = with(&foreign.replace("x: \"1\"", "x: \"2\""), "kustomize.toolkit.fluxcd.io/force: Enabled");
    world.push(&[("production/f.yaml", Some(&wanted))]).await.complains(&["ConfigMap/", "it is not made anew"]);
    assert_eq!(world.uid(map, "foreign").await, uid);
}

#[tokio::test]
async fn labels_and_annotations_say_how_an_object_is_treated() {
    let world = World::new("policy", &[("production/PLACEHOLDER", Some(""))]).await;
    let ns = world.id.clone();
    let plain = |name: &str, value: &str| config_map(&ns, name, value);
    let all = |value: &str| {
        [
            plain("plain", value),
            with(&plain("merge", value), "kustomize.toolkit.fluxcd.io/ssa: Merge"),
            with(&plain("once", value), "kustomize.toolkit.fluxcd.io/ssa: IfNotPresent"),
            with(&plain("never", value), "kustomize.toolkit.fluxcd.io/ssa: Ignore"),
            plain("paused", value),
        ]
        .join("---\n")
    };
    world.releases.commit("All", &[(FILE, Some(&all("1")))]);
    world.follow_production();
    world.verdict().await.is_ready();
    assert_eq!(world.value("never").await, None);

    // By hand: what the folder does not state goes, or stays where it says so.
    for name in ["plain", "merge", "once"] {
        world.patch_map(name, r#"{"data":{"x":"hand","y":"hand"}}"#, &[]);
    }
    world.patch_map("plain", r#"{"data":{"z":"kept"}}"#, &["--field-manager=flux-client-side-apply"]);
    world.bench.kubectl(&[
        "-n",
        &ns,
        "annotate",
        "configmap",
        "paused",
        "kustomize.toolkit.fluxcd.io/reconcile=disabled",
    ]);
    world.patch_map("paused", r#"{"data":{"x":"hand"}}"#, &[]);
    world.again(1).await;
    assert_eq!(world.data("plain").await, json!({"x": "1", "z": "kept"}));
    assert_eq!(world.data("merge").await, json!({"x": "1", "y": "hand"}));
    assert_eq!(world.data("once").await, json!({"x": "hand", "y": "hand"}));
    assert_eq!(world.data("paused").await, json!({"x": "hand"}));
    let verdict = world.push(&[(FILE, Some(&all("2")))]).await;
    assert_eq!(verdict.is_ready().inventory().len(), 5);
    assert_eq!(world.data("paused").await, json!({"x": "hand"}), "a new commit does not change it either");
    assert_eq!(world.data("plain").await, json!({"x": "2", "z": "kept"}));

    // The folder has the last word.
    let enabled = with(&plain("paused", "3"), "kustomize.toolkit.fluxcd.io/reconcile: enabled");
    world.push(&[(FILE, Some(&enabled))]).await.is_ready();
    assert_eq!(world.data("paused").await, json!({"x": "3"}));
    assert_eq!(world.value("plain").await, None);
}

#[tokio::test]
async fn who_owned_a_field_is_told_when_it_is_taken_over() {
    let world = World::new("owner", &[(FILE, Some(""))]).await;
    let ns = world.id.clone();
    world.releases.commit("All", &[(FILE, Some(&config_map(&ns, "a", "1")))]);
    world.follow_production();
    world.verdict().await.is_ready();
    let theirs = config_map(&ns, "a", "2");
    world.bench.apply(&theirs);
    assert_eq!(world.value("a").await.as_deref(), Some("2"));
    world.again(1).await;
    assert_eq!(world.value("a").await.as_deref(), Some("1"));
    let words = [&*format!("ConfigMap/{ns}/a configured (took over data.x from bench)")];
    world.said("Normal", "Progressing", &words).await;
}

#[tokio::test]
async fn ignored_fields_are_left_to_those_who_change_them() {
    let world = World::new("ignore", &[("production/PLACEHOLDER", Some(""))]).await;
    let ns = world.id.clone();
    let shared = |value: &str| {
        let data = "  scaled: \"1\"\n  applied: \"1\"\n";
        format!("{}{data}---\n{}{data}", config_map(&ns, "shared", value), config_map(&ns, "strict", value))
    };
    world.releases.commit("All", &[(FILE, Some(&shared("1")))]);
    let rule = "ignore: [{paths: [/data/scaled, /data/applied], target: {kind: ConfigMap, name: shared}}]";
    world.follow(&["path: ./production", "prune: true", rule]);
    world.verdict().await.is_ready();
    let as_stated = json!({"x": "1", "scaled": "1", "applied": "1"});
    assert_eq!(world.data("shared").await, as_stated, "what is new is made as it is stated");

    for map in ["shared", "strict"] {
        world.patch_map(map, r#"{"data":{"scaled":"5"}}"#, &["--field-manager=autoscaler"]);
        let manifest = config_map(&ns, map, "").replace("x: \"\"", "applied: \"9\"");
        world.bench.apply(&manifest);
    }
    world.again(1).await;
    assert_eq!(world.data("shared").await, json!({"x": "1", "scaled": "5", "applied": "9"}));
    assert_eq!(world.data("strict").await, as_stated, "the rule is for the other object");

    world.push(&[(FILE, Some(&shared("2")))]).await.is_ready();
    assert_eq!(world.data("shared").await, json!({"x": "2", "scaled": "5", "applied": "9"}));
    let live = world.live("v1", "ConfigMap", &ns, "shared").await.expect("it is there");
    let entries = live.metadata.managed_fields.unwrap_or_default();
    let ours = entries.iter().find(|entry| entry.manager.as_deref() == Some("kustomize-controller")).expect("an entry");
    let ours = &ours.fields_v1.as_ref().expect("fields").0["f:data"];
    assert!(ours.get("f:scaled").is_some(), "nobody else would keep it: {ours}");
    assert!(ours.get("f:applied").is_none(), "it is its other owner's alone: {ours}");

    let patch = r#"{"spec":{"ignore":[{"paths":["data/scaled"]}]}}"#;
    world.bench.kubectl(&["-n", &ns, "patch", "kustomization", "apps", "--type=merge", "-p", patch]);
    let verdict = world.verdict_of("apps", |status| status.observed_generation == Some(2)).await;
    verdict.complains(&["spec.ignore[0].paths: `data/scaled` is no JSON pointer"]);
}
