//! The life of a folder: applied, followed, pruned, let go.

use fairlead::api::kustomize::v1::KustomizationStatus;
use fairlead_testbench::wait_for;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::world::{PATIENCE, World, config_map};

#[tokio::test]
async fn a_folder_is_applied_followed_pruned_and_let_go() {
    let world = World::new("life", &[("README.md", Some("x"))]).await;
    let ns = world.id.clone();
    let kept = config_map(&ns, "kept", "1")
        .replace("  name: kept", "  annotations: {kustomize.toolkit.fluxcd.io/prune: disabled}\n  name: kept");
    world.releases.commit(
        "Apps",
        &[
            ("production/a.yaml", Some(&config_map(&ns, "a", "1"))),
            ("production/deep/er/b.yml", Some(&config_map(&ns, "b", "1"))),
            ("production/kept.yaml", Some(&kept)),
            ("production/app.yaml", Some(&world.app("api", "1.0.0"))),
        ],
    );
    world.follow_production();
    let verdict = world.verdict().await;
    verdict.is_ready();
    let commit = world.releases.head("main");
    assert_eq!(verdict.message, format!("Applied revision: main@sha1:{commit}"));
    assert_eq!(verdict.reason, "ReconciliationSucceeded");
    assert_eq!(verdict.status.last_applied_revision, verdict.status.last_attempted_revision);
    assert_eq!(verdict.status.observed_generation, Some(1));
    let api = world.namespace_of("api");
    let mut expected = vec![
        format!("_{api}__Namespace"),
        format!("{api}_api-chart_source.toolkit.fluxcd.io_GitRepository"),
        format!("{api}_api_helm.toolkit.fluxcd.io_HelmRelease"),
        format!("{ns}_a__ConfigMap"),
        format!("{ns}_b__ConfigMap"),
        format!("{ns}_kept__ConfigMap"),
    ];
    expected.sort();
    assert_eq!(verdict.inventory(), expected);
    let map = world.live("v1", "ConfigMap", &ns, "a").await.unwrap();
    assert_eq!(map.metadata.labels.unwrap()["kustomize.toolkit.fluxcd.io/name"], "apps");
    assert_eq!(map.metadata.managed_fields.unwrap()[0].manager.as_deref(), Some("kustomize-controller"));

    // What leaves the folder goes, unless it says that it stays.
    let verdict = world
        .push(&[("production/deep/er/b.yml", None), ("production/kept.yaml", None), ("production/app.yaml", None)])
        .await;
    verdict.is_ready();
    assert_eq!(verdict.inventory(), [format!("{ns}_a__ConfigMap")]);
    assert_eq!(world.value("b").await, None);
    assert_eq!(world.value("kept").await.as_deref(), Some("1"));
    assert!(!world.namespace_exists("api").await);

    let wait = ["wait", "--for=condition=Ready", "--timeout=30s", "kustomization/apps", "gitrepository/releases"];
    world.bench.kubectl(&[&["-n", &ns][..], &wait].concat());

    // Suspended, it stays as it is; resumed, it follows.
    let suspend = |suspend| Patch::Merge(json!({"spec": {"suspend": suspend}}));
    let api = world.kustomizations();
    api.patch("apps", &PatchParams::default(), &suspend(true)).await.unwrap();
    world.releases.commit("Change", &[("production/a.yaml", Some(&config_map(&ns, "a", "2")))]);
    let fetched = world.releases.head("main");
    wait_for("the source to have the change", PATIENCE, || async {
        let source = world.live("source.toolkit.fluxcd.io/v1", "GitRepository", &ns, "releases").await.unwrap();
        let revision = source.data.pointer("/status/artifact/revision").cloned().unwrap_or_default();
        if revision == format!("main@sha1:{fetched}") { Ok(()) } else { Err(revision.to_string()) }
    })
    .await;
    assert_eq!(world.value("a").await.as_deref(), Some("1"));
    api.patch("apps", &PatchParams::default(), &suspend(false)).await.unwrap();
    world.verdict().await.is_ready();
    assert_eq!(world.value("a").await.as_deref(), Some("2"));

    // Somebody's change is taken back when a pass is asked for.
    world.bench.kubectl(&["-n", &ns, "patch", "configmap", "a", "--type=merge", "-p", r#"{"data":{"x":"mine"}}"#]);
    world.bench.kubectl(&["-n", &ns, "annotate", "kustomization", "apps", "reconcile.fluxcd.io/requestedAt=now"]);
    world.verdict_of("apps", |status| status.last_handled_reconcile_at.as_deref() == Some("now")).await.is_ready();
    assert_eq!(world.value("a").await.as_deref(), Some("2"));

    // Deleted, it takes its objects along.
    api.delete("apps", &DeleteParams::default()).await.unwrap();
    wait_for("the Kustomization to go", PATIENCE, || async {
        match api.get_opt("apps").await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(world.value("a").await, None);
    assert_eq!(world.value("kept").await.as_deref(), Some("1"), "it left the inventory before");
}

#[tokio::test]
async fn paths_namespaces_builds_and_orders() {
    let base = "resources: [a.yaml]\nnamePrefix: built-\n";
    let world = World::new("paths", &[("README.md", Some("x"))]).await;
    let ns = world.id.clone();
    let free = config_map("elsewhere", "free", "1");
    let crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: things.ID.example.com\nspec:\n  group: ID.example.com\n  scope: Namespaced\n  names: {kind: Thing, plural: things, singular: thing}\n  versions:\n  - name: v1\n    served: true\n    storage: true\n    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}\n".replace("ID", &ns);
    let thing = format!("apiVersion: {ns}.example.com/v1\nkind: Thing\nmetadata:\n  name: a\n  namespace: {ns}\n");
    world.releases.commit(
        "Everything",
        &[
            ("moved/free.yaml", Some(&free)),
            ("built/base/kustomization.yaml", Some(base)),
            ("built/base/a.yaml", Some(&config_map(&ns, "map", "1"))),
            ("ordered/a-thing.yaml", Some(&thing)),
            ("ordered/z-crd.yaml", Some(&crd)),
        ],
    );
    world.follow_as("moved", &["path: moved", "prune: true", &format!("targetNamespace: {ns}")]);
    world.follow_as("built", &["path: built", "prune: true"]);
    world.follow_as("ordered", &["path: ./ordered/", "prune: true"]);
    world
        .follow_as("after", &["path: moved", "prune: false", "targetNamespace: default", "dependsOn: [{name: built}]"]);
    world.follow_as("escape", &["path: ../../etc", "prune: true"]);
    world.follow_as("elsewhere", &["path: moved", "prune: true", "serviceAccountName: tenant"]);
    let head = format!("main@sha1:{}", world.releases.head("main"));
    let now = |status: &KustomizationStatus| status.last_attempted_revision.as_ref() == Some(&head);
    world.verdict_of("moved", now).await.is_ready();
    assert_eq!(world.value("free").await.as_deref(), Some("1"));
    world.verdict_of("built", now).await.is_ready();
    assert_eq!(world.value("built-map").await.as_deref(), Some("1"));
    world.verdict_of("ordered", now).await.is_ready();
    assert!(world.live(&format!("{ns}.example.com/v1"), "Thing", &ns, "a").await.is_some());
    world.verdict_of("after", |status| status.last_applied_revision.as_ref() == Some(&head)).await.is_ready();
    world.verdict_of("escape", now).await.complains(&["leads out of the source"]);
    world.verdict_of("elsewhere", |_| true).await.complains(&["tenant does not exist"]);

    // A build that fails prunes nothing and names its folder.
    world.releases.commit("Break", &[("built/base/kustomization.yaml", Some("resources: [b.yaml]\n"))]);
    let broken = format!("main@sha1:{}", world.releases.head("main"));
    let verdict = world.verdict_of("built", |status| status.last_attempted_revision.as_ref() == Some(&broken)).await;
    verdict.complains(&["built/base/kustomization.yaml:1: `b.yaml` is no file or folder of this source"]);
    assert_eq!(verdict.reason, "BuildFailed");
    assert_eq!(world.value("built-map").await.as_deref(), Some("1"));
}

/// An account and what refers to it, in a namespace that is not theirs in the end.
fn accounts(name: &str, with_account: bool) -> String {
    let subject = |name: &str| format!("- {{kind: ServiceAccount, name: {name}, namespace: elsewhere}}\n");
    let binding = |kind: &str, metadata: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{{metadata}}}\nroleRef: \
             {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}}\nsubjects:\n{}{}---\n",
            subject(name),
            subject("stranger"),
        )
    };
    let account = format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: elsewhere}}\n");
    format!(
        "{}{}{}",
        binding("RoleBinding", &format!("name: {name}, namespace: elsewhere")),
        binding("ClusterRoleBinding", &format!("name: {name}")),
        if with_account { account } else { String::new() },
    )
}

#[tokio::test]
async fn references_follow_what_moves_to_the_target_namespace() {
    let world = World::new("follow", &[("README.md", Some("x"))]).await;
    let ns = world.id.clone();
    let (plain, built) = (format!("plain-{ns}"), format!("built-{ns}"));
    let service = format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: hook, namespace: elsewhere}}\nspec: {{ports: [{{port: 443}}]}}\n\
         ---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {{name: \
         {plain}}}\nwebhooks:\n- name: hook.example.com\n  failurePolicy: Ignore\n  sideEffects: None\n  \
         admissionReviewVersions: [v1]\n  rules: [{{apiGroups: [{ns}.example.com], apiVersions: [v1], operations: \
         [CREATE], resources: [things]}}]\n  clientConfig: {{service: {{name: hook, namespace: elsewhere}}}}\n"
    );
    let without = format!("{}{service}", accounts(&plain, false));
    world.releases.commit(
        "Accounts",
        &[
            ("plain/all.yaml", Some(&without)),
            ("built/kustomization.yaml", Some("namespace: other\nresources: [all.yaml]\n")),
            ("built/all.yaml", Some(&accounts(&built, true))),
        ],
    );
    let target = format!("targetNamespace: {ns}");
    world.follow_as("apps", &["path: plain", "prune: true", &target]);
    world.follow_as("built", &["path: built", "prune: true", &target]);
    world.verdict().await.is_ready();
    world.verdict_of("built", |status| status.last_applied_revision.is_some()).await.is_ready();
    let (world, ns) = (&world, &*ns);
    let subjects = |kind: &'static str, name: String| async move {
        let namespace = if kind == "RoleBinding" { ns } else { "" };
        let live = world.live("rbac.authorization.k8s.io/v1", kind, namespace, &name).await.expect("a binding");
        let subjects = live.data["subjects"].as_array().expect("subjects").iter();
        subjects.map(|subject| subject["namespace"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    for kind in ["RoleBinding", "ClusterRoleBinding"] {
        assert_eq!(subjects(kind, plain.clone()).await, ["elsewhere", "elsewhere"], "{kind}: no such account moves");
        assert_eq!(subjects(kind, built.clone()).await, [ns, "elsewhere"], "{kind}");
    }
    let hook = world.live("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "", &plain).await;
    let hook = hook.expect("a configuration").data;
    assert_eq!(hook.pointer("/webhooks/0/clientConfig/service/namespace"), Some(&json!(ns)));

    // The account comes later: what refers to it has not changed in its file, and follows all the same.
    let with = format!("{}{service}", accounts(&plain, true));
    world.push(&[("plain/all.yaml", Some(&with))]).await.is_ready();
    for kind in ["RoleBinding", "ClusterRoleBinding"] {
        assert_eq!(subjects(kind, plain.clone()).await, [ns, "elsewhere"], "{kind}");
    }
    assert!(world.live("v1", "ServiceAccount", ns, &plain).await.is_some());
}
