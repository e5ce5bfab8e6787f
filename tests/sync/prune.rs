//! What leaves the folder, and how much of it may go at once.

use fairlead_testbench::wait_for;
use kube::api::{DeleteParams, DynamicObject};
use std::time::{Duration, Instant};

use crate::world::{PATIENCE, World, config_map};

const FILES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

fn path(name: &str) -> String {
    format!("production/{name}.yaml")
}

impl World {
    /// Which of the maps are there.
    async fn maps(&self) -> String {
        let mut found = String::new();
        for name in FILES {
            if self.live("v1", "ConfigMap", &self.id, name).await.is_some() {
                found.push_str(name);
            }
        }
        found
    }
}

#[tokio::test]
async fn a_commit_that_most_objects_left_deletes_nothing_until_somebody_says_so() {
    let world = World::new("ceiling", &[("production/PLACEHOLDER", Some(""))]).await;
    let ns = world.id.clone();
    let map = |name: &str, value: &str| (path(name), config_map(&ns, name, value));
    let commit = |changes: &[(String, Option<String>)]| {
        let files: Vec<_> = changes.iter().map(|(path, text)| (path.as_str(), text.as_deref())).collect();
        world.releases.commit("Change", &files);
    };
    let all: Vec<_> = FILES.iter().map(|name| map(name, "1")).map(|(path, text)| (path, Some(text))).collect();
    commit(&all);
    world.follow_production();
    world.verdict().await.is_ready();
    assert_eq!(world.maps().await, "abcdefgh");

    // Six of eight leave, one changes, one is new.
    let mut most: Vec<_> = FILES[..6].iter().map(|name| (path(name), None)).collect();
    let (changed, new) = (map("h", "2"), map("new", "1"));
    most.extend([(changed.0, Some(changed.1)), (new.0, Some(new.1))]);
    let before = world.kustomizations().get("apps").await.unwrap().status.unwrap().last_applied_revision;
    commit(&most);
    let verdict = world.verdict().await;
    let revision = format!("main@sha1:{}", world.releases.head("main"));
    let named = format!("ConfigMap/{ns}/f");
    let words = ["6 of 8 objects left the folder", &named, &format!("fairlead.dev/allow-prune={revision}")];
    verdict.complains(&words);
    assert_eq!(verdict.reason, "PruneStopped");
    assert_eq!(verdict.status.last_applied_revision, before);
    assert_eq!(verdict.inventory().len(), 9, "what stays is not forgotten");
    assert_eq!(world.maps().await, "abcdefgh");
    assert_eq!(world.value("h").await.as_deref(), Some("2"), "everything else is applied");
    assert_eq!(world.value("new").await.as_deref(), Some("1"));
    world.said("Warning", "PruneStopped", &words).await;

    // Consent is for one revision, and that one is past.
    world.annotate("apps", &format!("fairlead.dev/allow-prune={revision}"));
    world.verdict_of("apps", |status| status.last_applied_revision.as_ref() == Some(&revision)).await.is_ready();
    assert_eq!(world.maps().await, "gh");
    commit(&all);
    world.verdict().await.is_ready();
    commit(&FILES[1..].iter().map(|name| (path(name), None)).collect::<Vec<_>>());
    world.verdict().await.complains(&["7 of 9 objects"]);

    // The commit that brings them back heals as well.
    commit(&all);
    world.verdict().await.is_ready();
    assert_eq!(world.maps().await, "abcdefgh");

    // Deleting the Kustomization is no accident of a commit.
    world.kustomizations().delete("apps", &DeleteParams::default()).await.unwrap();
    wait_for("everything to go", PATIENCE, || async {
        match world.maps().await {
            left if left.is_empty() => Ok(()),
            left => Err(left),
        }
    })
    .await;
}

#[tokio::test]
async fn the_ceiling_is_the_operator_s_and_what_moved_away_does_not_count() {
    let args = ["--prune-ceiling-percent=10", "--prune-ceiling-objects=1"];
    let world = World::with_args("moved", &[("production/PLACEHOLDER", Some(""))], &args).await;
    let ns = world.id.clone();
    let texts: Vec<_> = FILES.iter().map(|name| (path(name), config_map(&ns, name, "1"))).collect();
    let files: Vec<_> = texts.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    world.releases.commit("Maps", &files);
    world.follow_production();
    world.verdict().await.is_ready();
    world.push(&[(&path("a"), None)]).await.is_ready();
    world.push(&[(&path("b"), None), (&path("c"), None)]).await.complains(&["2 of 7 objects", "more than 10 %"]);
    assert_eq!(world.maps().await, "bcdefgh");

    // Another Kustomization takes them over: they have left this one.
    world.releases.commit("Move", &[("other/b.yaml", files[1].1), ("other/c.yaml", files[2].1)]);
    world.follow_as("other", &["path: other", "prune: true"]);
    let head = format!("main@sha1:{}", world.releases.head("main"));
    world.verdict_of("other", |status| status.last_applied_revision.as_ref() == Some(&head)).await.is_ready();
    let verdict = world.verdict_of("apps", |status| status.last_applied_revision.as_ref() == Some(&head)).await;
    assert_eq!(verdict.inventory().len(), 5);
    assert_eq!(world.maps().await, "bcdefgh");
}

/// What is left of a map: nothing, all of it, or something that is going.
fn state(map: Option<&DynamicObject>) -> &'static str {
    match map {
        None => "gone",
        Some(map) if map.metadata.deletion_timestamp.is_some() => "going",
        Some(_) => "there",
    }
}

#[tokio::test]
async fn the_deletion_policy_decides_what_goes_with_a_kustomization() {
    let world = World::new("end", &[("README.md", Some("x"))]).await;
    let ns = world.id.clone();
    let cases = [
        ("mirror", "prune: false", "there"),
        ("orphan", "prune: true\n  deletionPolicy: Orphan", "there"),
        ("delete", "prune: false\n  deletionPolicy: Delete", "gone"),
        ("going", "prune: true\n  deletionPolicy: Delete", "going"),
        ("held", "prune: false\n  deletionPolicy: WaitForTermination", "going"),
        // As short as a timeout can be.
        ("late", "prune: false\n  deletionPolicy: WaitForTermination\n  timeout: 30s", "going"),
    ];
    let finalizer = |name: &str, finalizers: &str| {
        let metadata = format!("metadata:\n  finalizers: [{finalizers}]\n");
        config_map(&ns, name, "1").replacen("metadata:\n", &metadata, 1)
    };
    let file = |(name, _, end): &(&str, &str, &str)| {
        let held = if *end == "going" { "bench.fairlead.dev/hold" } else { "" };
        (format!("{name}/a.yaml"), finalizer(name, held))
    };
    let files: Vec<_> = cases.iter().map(file).collect();
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    world.releases.commit("Maps", &files);
    let api = world.kustomizations();
    for (name, spec, _) in cases {
        world.follow_as(name, &[&format!("path: {name}"), spec]);
    }
    for (name, ..) in cases {
        world.verdict_of(name, |status| status.last_applied_revision.is_some()).await.is_ready();
    }
    let began = Instant::now();
    for (name, ..) in cases {
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }
    let (api, world, ns) = (&api, &world, &*ns);
    let gone = |name: &'static str| async move {
        wait_for(&format!("{name} to go"), Duration::from_secs(90), || async move {
            match api.get_opt(name).await {
                Ok(None) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    };
    for name in ["mirror", "orphan", "delete", "going", "late"] {
        gone(name).await;
    }
    assert!(began.elapsed() > Duration::from_secs(28), "the wait is as long as the timeout");
    for (name, _, end) in cases {
        assert_eq!(state(world.live("v1", "ConfigMap", ns, name).await.as_ref()), end, "{name}");
    }

    // Its timeout is long: it is there for as long as its object is.
    let held = api.get("held").await.unwrap();
    assert!(held.metadata.deletion_timestamp.is_some());
    let release = r#"{"metadata":{"finalizers":null}}"#;
    for name in ["held", "going", "late"] {
        world.bench.kubectl(&["-n", ns, "patch", "configmap", name, "--type=merge", "-p", release]);
    }
    gone("held").await;
    assert_eq!(state(world.live("v1", "ConfigMap", ns, "held").await.as_ref()), "gone");
}

#[tokio::test]
async fn what_is_told_to_stay_stays() {
    let world = World::new("stay", &[("README.md", Some("x"))]).await;
    let ns = world.id.clone();
    let map = |name: &str| config_map(&ns, name, "1");
    let with = |name: &str, metadata: &str| map(name).replacen("metadata:\n", &format!("metadata:\n  {metadata}\n"), 1);
    let label = "labels: {kustomize.toolkit.fluxcd.io/prune: disabled}";
    let files = [
        ("suspended/a.yaml", map("suspended")),
        ("unpruned/a.yaml", map("unpruned")),
        ("unpruned/rest.yaml", map("rest")),
        ("pruned/paused.yaml", map("paused")),
        ("pruned/labelled.yaml", with("labelled", label)),
        ("pruned/gone.yaml", map("gone")),
        ("pruned/last.yaml", map("last")),
        ("pruned/local.yaml", map("local")),
    ];
    let first: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    world.releases.commit("First", &first);
    for (name, prune) in [("suspended", true), ("unpruned", false), ("pruned", true)] {
        world.follow_as(name, &[&format!("path: {name}"), &format!("prune: {prune}")]);
    }
    let applied = async |name: &str| {
        let head = format!("main@sha1:{}", world.releases.head("main"));
        let verdict = world.verdict_of(name, |status| status.last_applied_revision.as_ref() == Some(&head)).await;
        verdict.is_ready();
    };
    for name in ["suspended", "unpruned", "pruned"] {
        applied(name).await;
    }
    let kubectl = |args: &[&str]| world.bench.kubectl(&[&["-n", &ns][..], args].concat());
    kubectl(&["annotate", "configmap", "paused", "kustomize.toolkit.fluxcd.io/reconcile=disabled"]);
    kubectl(&["patch", "kustomization", "suspended", "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#]);
    // Returns when the Kustomization is gone.
    kubectl(&["delete", "kustomization", "suspended"]);

    // What is for tools beside the folder has left it, too, and its kind is nobody's business.
    let local = with("local", "annotations: {config.kubernetes.io/local-config: \"true\"}");
    let function = local.replace("apiVersion: v1\nkind: ConfigMap", "apiVersion: fn.example/v1\nkind: Function");
    let left = ["unpruned/a.yaml", "pruned/paused.yaml", "pruned/labelled.yaml", "pruned/gone.yaml"];
    let mut changes: Vec<_> = left.iter().map(|path| (*path, None)).collect();
    changes.extend([("pruned/local.yaml", Some(&*local)), ("pruned/function.yaml", Some(&*function))]);
    world.releases.commit("Leave", &changes);
    applied("unpruned").await;
    applied("pruned").await;
    for (name, end) in [
        ("suspended", "there"),
        ("unpruned", "there"),
        ("rest", "there"),
        ("paused", "there"),
        ("labelled", "there"),
        ("gone", "gone"),
        ("local", "gone"),
        ("last", "there"),
    ] {
        assert_eq!(state(world.live("v1", "ConfigMap", &ns, name).await.as_ref()), end, "{name}");
    }
}
