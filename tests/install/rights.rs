//! The least rights: nothing that the operator does is forbidden, and nothing is granted that it does not do.

use std::collections::BTreeSet;

use fairlead_testbench::{Helm, Request, wait_for};
use serde_json::{Value, json};

use crate::site::{PATIENCE, Site, chart, condition, is_ready, text};

/// Granted, not used here: group, resource, verb, and why it is granted all the same.
const UNUSED: &[(&str, &str, &str, &str)] = &[];

/// An account that may do everything in a namespace, as a tenant gives it to what he releases.
pub fn deployer(site: &Site, namespace: &str) {
    site.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployer", "namespace": namespace}}));
    let api = "rbac.authorization.k8s.io";
    site.apply(&json!({
        "apiVersion": format!("{api}/v1"), "kind": "RoleBinding", "metadata": {"name": "deployer", "namespace": namespace},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": namespace}],
    }));
}

fn source(kind: &str, namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    })
}

/// One of each kind. What cannot be fetched is looked at all the same, and its status is written.
fn one_of_each(site: &Site, namespace: &str) {
    let nowhere = "127.0.0.1:1";
    let timing = |mut spec: Value| {
        spec["interval"] = "1s".into();
        spec
    };
    let login = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": namespace},
        "stringData": {"token": "a token", "username": "me", "password": "x"}});
    let more = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more", "namespace": namespace},
        "data": {"values.yaml": "replicas: 0\n"}});
    let cluster = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cluster", "namespace": namespace},
    "data": {
        "provider": "generic", "address": site.bench.server(), "serviceAccountName": "deployer",
        "audiences": "https://kubernetes.default.svc",
        "ca.crt": std::fs::read_to_string(site.bench.folder().join("ca.crt")).expect("reads"),
    }});
    let elsewhere = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": "elsewhere", "namespace": namespace},
        "spec": {
            "interval": "10m", "prune": true, "path": "./elsewhere",
            "kubeConfig": {"configMapRef": {"name": "cluster"}},
            "sourceRef": {"kind": "GitRepository", "name": namespace},
        },
    });
    let receiver = json!({
        "apiVersion": "notification.toolkit.fluxcd.io/v1", "kind": "Receiver",
        // As one that Flux has looked after.
        "metadata": {"name": "hook", "namespace": namespace, "finalizers": ["finalizers.fluxcd.io"]},
        "spec": {"type": "generic", "secretRef": {"name": "login"}, "resources": [{"kind": "GitRepository", "name": "x"}]},
    });
    for object in [
        login,
        more,
        cluster,
        source(
            "HelmRepository",
            namespace,
            "charts",
            &timing(json!({"url": format!("http://{nowhere}"), "secretRef": {"name": "login"}})),
        ),
        source(
            "OCIRepository",
            namespace,
            "charts",
            &timing(json!({"url": format!("oci://{nowhere}/x"), "insecure": true, "serviceAccountName": "deployer"})),
        ),
        source(
            "Bucket",
            namespace,
            "charts",
            &timing(json!({"endpoint": nowhere, "bucketName": "x", "insecure": true})),
        ),
        elsewhere,
        receiver,
    ] {
        site.apply(&object);
    }
}

/// What the operator itself asked for, in its own name.
fn own_requests(site: &Site) -> Vec<Request> {
    let user = format!("system:serviceaccount:{}:fairlead", site.namespace);
    site.bench.requests().into_iter().filter(|request| request.user == user).collect()
}

/// What the rules of a role grant: group, resource, verb.
fn granted(role: &Value) -> BTreeSet<(String, String, String)> {
    let list =
        |rule: &Value, field: &str| -> Vec<String> { rule[field].as_array().into_iter().flatten().map(text).collect() };
    let mut found = BTreeSet::new();
    for rule in role["rules"].as_array().expect("rules") {
        for group in list(rule, "apiGroups") {
            for resource in list(rule, "resources") {
                found.extend(list(rule, "verbs").into_iter().map(|verb| (group.clone(), resource.clone(), verb)));
            }
        }
    }
    found
}

fn used(requests: &[Request]) -> BTreeSet<(String, String, String)> {
    let (impersonating, own): (Vec<_>, Vec<_>) = requests.iter().partition(|request| request.impersonated.is_some());
    let own = own.into_iter().flat_map(|request| {
        // A patch that makes an object needs both rights.
        let verb = (request.verb == "patch" && request.code == 201).then_some("create");
        let verbs = verb.into_iter().chain([request.verb.as_str()]);
        verbs.map(|verb| (request.group.clone(), request.resource.clone(), verb.to_owned()))
    });
    let accounts =
        impersonating.first().map(|_| (String::new(), "serviceaccounts".to_owned(), "impersonate".to_owned()));
    own.chain(accounts).collect()
}

/// The main job, and everything else that the operator does by itself, in one namespace.
async fn at_work(site: &Site, namespace: &str) {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "there", "namespace": namespace}});
    let mut release = site.release(namespace, "ui", 3000);
    release["spec"]["chart"]["spec"]["sourceRef"] = json!({"kind": "GitRepository", "name": namespace});
    release["spec"]["valuesFrom"] = json!([{"kind": "ConfigMap", "name": "more"}]);
    let release = release.to_string();
    site.releases
        .commit("All", &[("production/ui.yaml", Some(&release)), ("elsewhere/map.yaml", Some(&map.to_string()))]);
    one_of_each(site, namespace);
    site.released(namespace, "ui", 1).await;
    for (kind, name) in [("kustomization", namespace), ("kustomization", "elsewhere"), ("receiver", "hook")] {
        site.until((namespace, kind, name), "is ready", is_ready).await;
    }
    for kind in ["helmrepository", "ocirepository", "bucket"] {
        site.until((namespace, kind, "charts"), "says why it is not ready", |object| {
            condition(object, "Ready").is_some_and(|ready| ready["status"] == "False")
        })
        .await;
    }
    // An event that is repeated is counted.
    for path in ["nowhere", "elsewhere", "nowhere"] {
        let patch = json!({"spec": {"path": format!("./{path}")}}).to_string();
        site.bench.kubectl(&[
            "patch",
            "kustomization",
            "elsewhere",
            "--namespace",
            namespace,
            "--type=merge",
            "--patch",
            &patch,
        ]);
        site.until((namespace, "kustomization", "elsewhere"), &format!("has looked for {path}"), |object| {
            condition(object, "Ready")
                .is_some_and(|ready| ready["observedGeneration"] == object["metadata"]["generation"])
                && is_ready(object) == (path == "elsewhere")
        })
        .await;
    }
    wait_for("an event to be counted", PATIENCE, || async {
        let events = site.bench.kubectl(&["get", "events", "--namespace", namespace, "--output=json"]);
        let events: Value = serde_json::from_str(&events).expect("kubectl prints JSON");
        let counted = |event: &Value| event["source"]["component"] == "fairlead" && event["count"].as_i64() > Some(1);
        events["items"].as_array().expect("a list").iter().any(counted).then_some(()).ok_or("none yet".to_owned())
    })
    .await;
    site.releases.commit("Less", &[("production/ui.yaml", None)]);
    site.gone(namespace, "helmrelease", "ui").await;
    for (kind, name) in [
        ("kustomization", "elsewhere"),
        ("helmrepository", "charts"),
        ("ocirepository", "charts"),
        ("bucket", "charts"),
        ("receiver", "hook"),
    ] {
        site.bench.kubectl(&["delete", kind, name, "--namespace", namespace, "--timeout=30s"]);
    }
}

fn judge(site: &Site, role: &Value) {
    let requests = own_requests(site);
    let forbidden: Vec<_> = requests.iter().filter(|request| request.code == 403).collect();
    assert!(forbidden.is_empty(), "forbidden: {forbidden:#?}");
    let excused = UNUSED
        .iter()
        .map(|(group, resource, verb, _)| ((*group).to_owned(), (*resource).to_owned(), (*verb).to_owned()));
    let unused: BTreeSet<_> = granted(role).difference(&used(&requests)).cloned().collect();
    assert_eq!(unused, excused.filter(|excused| granted(role).contains(excused)).collect(), "granted, and never used");
}

#[tokio::test]
async fn the_operator_has_the_least_rights_in_the_whole_cluster() {
    let site = Site::new("least").await;
    let namespace = site.namespace.clone();
    deployer(&site, &namespace);
    site.install(Helm::V4, &chart(), &["defaultServiceAccount=deployer", "receiver.enabled=true"]);
    // A kind that is new in this version.
    site.bench.delete_crds(&["receivers.notification.toolkit.fluxcd.io"]);
    let operator = site.operator(Helm::V4).await;
    at_work(&site, &namespace).await;
    let role = site.get("", "clusterrole", &format!("fairlead-{namespace}")).expect("there is a role");
    judge(&site, &role);
    site.leave(Helm::V4, &namespace).await;
    drop(operator);
}

#[tokio::test]
async fn a_tenant_s_operator_has_rights_in_one_namespace_only() {
    let site = Site::new("tenant-system").await;
    let tenant = site.bench.namespace("tenant").await;
    deployer(&site, &tenant);
    let watch = format!("watchNamespace={tenant}");
    let values = [&watch, "defaultServiceAccount=deployer", "noCrossNamespaceRefs=true", "receiver.enabled=true"];
    site.install(Helm::V4, &chart(), &values);
    let roles = site.bench.kubectl(&["get", "clusterroles,clusterrolebindings", "--output=name"]);
    assert!(!roles.contains(&site.namespace), "{roles}");
    let operator = site.operator(Helm::V4).await;
    at_work(&site, &tenant).await;
    let role = site.get(&tenant, "role", "fairlead").expect("there is a role");
    judge(&site, &role);
    site.leave(Helm::V4, &tenant).await;
    drop(operator);
}
