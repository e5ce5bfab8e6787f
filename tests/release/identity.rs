//! In whose name, in which cluster, and where helm's records of it are.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fairlead_testbench::{Helm, Operator, TestBench, User, fixture_chart, wait_for};
use serde_json::{Value, json};

use crate::world::{PATIENCE, World, is, message, reason};

/// What the chart `nodejs` needs of its account, without helm's records.
fn objects() -> Value {
    json!([
        {"apiGroups": [""], "resources": ["services", "serviceaccounts"], "verbs": ["*"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["*"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses"], "verbs": ["*"]},
    ])
}

fn records() -> Value {
    json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "create", "update", "delete"]}])
}

/// A role in the namespace of the release for the account `deployer`.
fn grant(world: &World, name: &str, rules: &Value) {
    grant_in(world, &world.namespace, name, rules);
}

fn grant_in(world: &World, namespace: &str, name: &str, rules: &Value) {
    let metadata = json!({"name": name, "namespace": namespace});
    let subject = json!({"kind": "ServiceAccount", "name": "deployer", "namespace": world.namespace});
    let api = "rbac.authorization.k8s.io";
    let version = format!("{api}/v1");
    world.apply(&json!({"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": rules}));
    world.apply(&json!({"apiVersion": version, "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": api, "kind": "Role", "name": name}, "subjects": [subject]}));
}

fn account(world: &World) {
    world.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployer"}}));
}

fn get_in(bench: &TestBench, namespace: &str, kind: &str, name: &str) -> Option<Value> {
    let found = bench.try_kubectl(&["get", kind, name, "--namespace", namespace, "--output=json"]);
    found.ok().map(|text| serde_json::from_str(&text).expect("kubectl prints JSON"))
}

/// Names of helm's records in a namespace.
fn records_in(bench: &TestBench, namespace: &str) -> Vec<String> {
    let args = ["get", "secrets", "--selector=owner=helm", "--namespace", namespace, "--output=name"];
    bench.kubectl(&args).lines().map(|line| line.trim_start_matches("secret/").to_owned()).collect()
}

async fn acts_as_its_account(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let operator = world.started(helm).await;
    let (namespace, spec) = (&world.namespace, json!({"serviceAccountName": "deployer", "values": {"port": 3001}}));
    world.apply(&world.release("ui", &spec));
    let nobody = format!("service account {namespace}/deployer does not exist");
    let object = world.says("ui", "Ready", "False", &nobody).await;
    assert_eq!(reason(&object, "Ready"), "StateError");

    // Without a right to helm's records the right that is missing is named.
    account(&world);
    let user = format!("system:serviceaccount:{namespace}:deployer");
    let object = world.says("ui", "Ready", "False", "is forbidden").await;
    for words in [user.as_str(), "\"secrets\"", "list", namespace] {
        assert!(message(&object, "Ready").contains(words), "{words}: {object}");
    }

    // Without a right to the objects it is helm that has no more than the account.
    grant(&world, "records", &records());
    world.annotate("ui", "reconcile.fluxcd.io/requestedAt=records");
    let object = world.says("ui", "Ready", "False", "Helm install failed").await;
    for words in [user.as_str(), "forbidden"] {
        assert!(message(&object, "Ready").contains(words), "{words}: {object}");
    }

    grant(&world, "objects", &objects());
    world.apply(&world.release("ui", &json!({"serviceAccountName": "deployer", "values": {"port": 3002}})));
    // A retry with the values before may come first.
    world.until("ui", "has its new port", |_| world.port("ui") == 3002).await;
    world.apply(&world.release("ui", &json!({"serviceAccountName": "deployer", "values": {"port": 3003}})));
    world.until("ui", "is upgraded", |_| world.port("ui") == 3003).await;
    world
        .until("ui", "becomes ready", |object| {
            is(object, "Ready", "True") && object["status"]["observedGeneration"] == object["metadata"]["generation"]
        })
        .await;
    let access = std::fs::read_dir(operator.data_dir().join("access")).expect("the folder is there");
    assert_eq!(access.count(), 0, "an access outlives its action");
    world.delete("helmrelease", "ui");
    world.gone("helmrelease", "ui").await;
    assert!(world.get("deployment", "ui").is_none());
    assert!(records_in(world.bench, namespace).is_empty());
}

#[tokio::test]
async fn a_release_has_the_rights_of_its_account_and_no_others_with_helm_3() {
    acts_as_its_account(Helm::V3, "account3").await;
}

#[tokio::test]
async fn a_release_has_the_rights_of_its_account_and_no_others_with_helm_4() {
    acts_as_its_account(Helm::V4, "account4").await;
}

#[tokio::test]
async fn the_default_account_is_for_those_that_name_none() {
    let world = World::new("default").await;
    let _operator = world.operator().args(["--default-service-account=deployer"]).start().await;
    account(&world);
    world.apply(&world.release("ui", &json!({})));
    world.says("ui", "Ready", "False", &format!("system:serviceaccount:{}:deployer", world.namespace)).await;
    grant(&world, "records", &records());
    grant(&world, "objects", &objects());
    world.annotate("ui", "reconcile.fluxcd.io/requestedAt=now");
    world.ready("ui", 1).await;
    // An account that is gone leaves nobody who could take the release down.
    world.delete("serviceaccount", "deployer");
    world.gone("serviceaccount", "deployer").await;
    world.delete("helmrelease", "ui");
    world.gone("helmrelease", "ui").await;
    assert!(world.get("deployment", "ui").is_some());
    assert!(world.get("helmchart", &format!("{}-ui", world.namespace)).is_none());
}

async fn keeps_records_elsewhere(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let (bench, own) = (world.bench, &world.namespace);
    let (web, other) = (bench.namespace("web").await, bench.namespace("records").await);
    let operator = world.started(helm).await;
    let spec = json!({"targetNamespace": web, "releaseName": "ui", "values": {"port": 3001}});
    world.apply(&world.release("ui", &spec));
    let object = world.ready("ui", 1).await;
    assert_eq!(object["status"]["storageNamespace"], *own);
    assert_eq!(object["status"]["history"][0]["namespace"], web);
    assert!(get_in(bench, &web, "deployment", "ui").is_some());
    assert_eq!(records_in(bench, own), ["sh.helm.release.v1.ui.v1"]);
    assert!(records_in(bench, &web).is_empty());

    // Found again by an object that knows nothing of it, and left as it is.
    world.apply(&world.release("ui", &json!({"suspend": true})));
    world.delete("helmrelease", "ui");
    world.gone("helmrelease", "ui").await;
    world.apply(&world.release("ui", &spec));
    world.ready("ui", 1).await;
    let runs = || operator.log_lines().iter().filter(|line| line["message"] == "running helm").count();
    assert_eq!(runs(), 1, "nothing had to be done");
    let upgraded = json!({"targetNamespace": web, "releaseName": "ui", "values": {"port": 3002}});
    world.apply(&world.release("ui", &upgraded));
    world.ready("ui", 2).await;
    assert_eq!(records_in(bench, own), ["sh.helm.release.v1.ui.v1", "sh.helm.release.v1.ui.v2"]);

    // As in Flux, records do not move: the release is made anew.
    let moved = json!({"targetNamespace": web, "releaseName": "ui", "storageNamespace": other});
    world.apply(&world.release("ui", &moved));
    let object = world.ready("ui", 1).await;
    assert_eq!(object["status"]["storageNamespace"], other);
    assert_eq!(records_in(bench, &other), ["sh.helm.release.v1.ui.v1"]);
    assert!(records_in(bench, own).is_empty() && records_in(bench, &web).is_empty());
    world.delete("helmrelease", "ui");
    world.gone("helmrelease", "ui").await;
    assert!(records_in(bench, &other).is_empty() && get_in(bench, &web, "deployment", "ui").is_none());
}

#[tokio::test]
async fn records_are_kept_and_found_where_flux_keeps_them_with_helm_3() {
    keeps_records_elsewhere(Helm::V3, "records3").await;
}

#[tokio::test]
async fn records_are_kept_and_found_where_flux_keeps_them_with_helm_4() {
    keeps_records_elsewhere(Helm::V4, "records4").await;
}

fn kubeconfig_secret(world: &World, kubeconfig: &str) {
    world.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "prod"},
        "data": {"value": STANDARD.encode(kubeconfig)}}));
}

async fn lives_in_another_cluster(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let remote = TestBench::start().await;
    remote.create_namespace(&world.namespace).await;
    let operator = world.started(helm).await;
    let namespace = world.namespace.clone();
    let spec = |port: i64| json!({"kubeConfig": {"secretRef": {"name": "prod"}}, "values": {"port": port}});
    world.apply(&world.release("ui", &spec(3001)));
    let missing = format!("KubeConfig Secret {namespace}/prod does not exist");
    let object = world.says("ui", "Ready", "False", &missing).await;
    assert_eq!(reason(&object, "Ready"), "RESTClientError");

    let kubeconfig = std::fs::read_to_string(remote.kubeconfig()).expect("reads");
    let mut program: Value = serde_json::from_str(&kubeconfig).expect("JSON");
    program["users"][0]["user"] = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "true"}});
    kubeconfig_secret(&world, &program.to_string());
    world.says("ui", "Ready", "False", "asks to run a program").await;

    kubeconfig_secret(&world, &kubeconfig);
    let seen = std::cell::RefCell::new(Vec::new());
    wait_for("the release to be ready", PATIENCE, || async {
        seen.borrow_mut().extend(operator.children().into_iter().map(|(_, line)| line));
        let object = world.get("helmrelease", "ui").ok_or("none")?;
        if is(&object, "Ready", "True") { Ok(()) } else { Err(object["status"].to_string()) }
    })
    .await;
    assert!(get_in(&remote, &namespace, "deployment", "ui").is_some());
    assert_eq!(records_in(&remote, &namespace), ["sh.helm.release.v1.ui.v1"]);
    assert!(world.get("deployment", "ui").is_none() && records_in(world.bench, &namespace).is_empty());
    world.apply(&world.release("ui", &spec(3002)));
    world.ready("ui", 2).await;
    is_shown_nowhere(&world, &operator, &User::Admin.token(), &seen.borrow());

    world.delete("helmrelease", "ui");
    world.gone("helmrelease", "ui").await;
    assert!(get_in(&remote, &namespace, "deployment", "ui").is_none());

    // A cluster that is gone for good, with the Secret that led there.
    world.apply(&world.release("ui", &spec(3001)));
    world.ready("ui", 1).await;
    drop(remote);
    world.delete("helmrelease", "ui");
    world.says("ui", "Ready", "False", &format!("delete Secret {namespace}/prod to let the release go")).await;
    world.delete("secret", "prod");
    world.gone("helmrelease", "ui").await;
}

#[tokio::test]
async fn a_release_lives_in_another_cluster_with_helm_3() {
    lives_in_another_cluster(Helm::V3, "remote3").await;
}

#[tokio::test]
async fn a_release_lives_in_another_cluster_with_helm_4() {
    lives_in_another_cluster(Helm::V4, "remote4").await;
}

fn is_shown_nowhere(world: &World, operator: &Operator, secret: &str, arguments: &[String]) {
    let kinds = "helmreleases,helmcharts,events";
    let objects = world.bench.kubectl(&["get", kinds, "--namespace", &world.namespace, "--output=json"]);
    for (place, text) in [("log", operator.log()), ("objects", objects), ("arguments", arguments.join("\n"))] {
        assert!(!text.contains(secret), "the token shows in {place}");
    }
    for entry in crate::survival::walk(&operator.data_dir()) {
        let bytes = std::fs::read(&entry).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&bytes).contains(secret), "the token is in {}", entry.display());
    }
}

#[tokio::test]
async fn a_cluster_that_trusts_our_tokens_needs_no_secret() {
    let world = World::new("workload").await;
    let _operator = world.operator().start().await;
    let (namespace, bench) = (&world.namespace, world.bench);
    let config_map = |provider: &str, authority: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "prod"}, "data": {
            "provider": provider, "address": bench.server(), "ca.crt": authority, "serviceAccountName": "deployer",
            "audiences": "https://kubernetes.default.svc",
        }})
    };
    world.apply(&config_map("aws", ""));
    world.apply(&world.release("ui", &json!({"kubeConfig": {"configMapRef": {"name": "prod"}}})));
    let object = world.says("ui", "Stalled", "True", "a login by the provider 'aws'").await;
    assert_eq!(reason(&object, "Stalled"), "Unsupported");
    account(&world);
    let authority = std::fs::read_to_string(bench.folder().join("ca.crt")).expect("reads");
    world.apply(&config_map("generic", &authority));
    let user = format!("system:serviceaccount:{namespace}:deployer");
    world.says("ui", "Ready", "False", &user).await;
    grant(&world, "records", &records());
    grant(&world, "objects", &objects());
    world.annotate("ui", "reconcile.fluxcd.io/requestedAt=now");
    world.ready("ui", 1).await;
    assert!(world.get("deployment", "ui").is_some());
}

#[tokio::test]
async fn what_is_in_another_namespace_can_be_denied() {
    let world = World::new("tenant").await;
    let _operator = world.operator().args(["--no-cross-namespace-refs"]).start().await;
    let mut release = world.release("ui", &json!({}));
    release["spec"]["chart"]["spec"]["sourceRef"]["namespace"] = json!("flux-system");
    world.apply(&release);
    let denied = format!("cannot access HelmChart flux-system/{}-ui", world.namespace);
    let object = world.says("ui", "Stalled", "True", &denied).await;
    assert_eq!((reason(&object, "Ready"), reason(&object, "Stalled")), ("AccessDenied", "AccessDenied"));
    world.apply(&json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": "all"},
        "spec": {"interval": "1m", "prune": false,
            "sourceRef": {"kind": "GitRepository", "name": "all", "namespace": "flux-system"}},
    }));
    wait_for("the folder to be denied", PATIENCE, || async {
        let object = world.get("kustomization", "all").ok_or("none")?;
        let said = message(&object, "Stalled").contains("cannot access GitRepository flux-system/all");
        if said { Ok(()) } else { Err(object["status"].to_string()) }
    })
    .await;
    world.apply(&world.release("ui", &json!({})));
    world.ready("ui", 1).await;
}

#[tokio::test]
async fn an_account_is_that_of_the_other_cluster_and_definitions_need_rights_too() {
    let world = World::new("both").await;
    let _operator = world.operator().start().await;
    let (namespace, bench) = (&world.namespace, world.bench);
    // The same cluster under another name: what counts is who acts there.
    kubeconfig_secret(&world, &std::fs::read_to_string(bench.kubeconfig()).expect("reads"));
    account(&world);
    grant(&world, "records", &records());
    world.charts.publish(&fixture_chart("everything"), "1.0.0");
    let spec = json!({"serviceAccountName": "deployer", "kubeConfig": {"secretRef": {"name": "prod"}}});
    world.apply(&world.chart_release("all", "everything", &spec));
    let object = world.says("all", "Ready", "False", "customresourcedefinitions").await;
    let user = format!("system:serviceaccount:{namespace}:deployer");
    assert!(message(&object, "Ready").contains(&user), "{object}");
    assert!(records_in(bench, namespace).is_empty(), "helm ran without its definitions");

    grant(&world, "objects", &objects());
    world.apply(&world.release("ui", &spec));
    world.ready("ui", 1).await;
    // Its records are looked for in that cluster, although it is this one: both see the same.
    assert_eq!(records_in(bench, namespace), ["sh.helm.release.v1.ui.v1"]);
}

/// What dies with the operator takes its access along; what it left is found and put right by the
/// same account, at the same place.
#[tokio::test]
async fn a_sudden_death_in_another_name_costs_no_second_revision() {
    let world = World::new("heir").await;
    let mut operator = world.started(Helm::V4).await;
    account(&world);
    let other = world.bench.namespace("heirs").await;
    let binding = [
        "create",
        "clusterrolebinding",
        &world.namespace,
        "--clusterrole=cluster-admin",
        &format!("--serviceaccount={}:deployer", world.namespace),
    ];
    world.bench.kubectl(&binding);
    for (number, delay) in [60_u64, 150, 300, 550].into_iter().enumerate() {
        let name = format!("ui-{number}");
        let spec = |port: i64| json!({"serviceAccountName": "deployer", "targetNamespace": other, "releaseName": name, "values": {"port": port}});
        for (version, port) in [(1, 3000), (2, 3001)] {
            world.apply(&world.release(&name, &spec(port)));
            tokio::time::sleep(Duration::from_millis(delay)).await;
            operator.restart().await;
            world.ready(&name, version).await;
            assert_eq!(i64::try_from(world.history(&name).len()), Ok(version), "killed after {delay} ms");
        }
        let service = get_in(world.bench, &other, "service", &name).expect("it is there");
        assert_eq!(service["spec"]["ports"][0]["port"], 3001);
    }
    assert!(records_in(world.bench, &other).is_empty());
}

/// Kubernetes deletes accounts, roles and objects of a namespace in any order.
#[tokio::test]
async fn a_namespace_that_goes_is_not_held_back() {
    let world = World::new("going").await;
    let _operator = world.operator().start().await;
    account(&world);
    grant(&world, "records", &records());
    grant(&world, "objects", &objects());
    world.apply(&world.release("ui", &json!({"serviceAccountName": "deployer"})));
    world.ready("ui", 1).await;
    world.bench.kubectl(&["delete", "namespace", &world.namespace, "--wait=false"]);
    wait_for("the namespace to be gone", PATIENCE, || async {
        let found = world.bench.try_kubectl(&["get", "namespace", &world.namespace, "--output=jsonpath={.status}"]);
        found.map_or(Ok(()), Err)
    })
    .await;
}

#[tokio::test]
async fn a_cluster_that_hangs_holds_nobody_up() {
    let world = World::new("hang").await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("bound");
    let _operator = world.operator().args(["--insecure-kubeconfig-tls"]).start().await;
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "prod",
        "clusters": [{"name": "prod", "cluster": {"server": format!("http://{address}")}}],
        "contexts": [{"name": "prod", "context": {"cluster": "prod", "user": "nobody"}}], "users": [],
    });
    kubeconfig_secret(&world, &kubeconfig.to_string());
    // More than there can be passes under way.
    let spec = json!({"kubeConfig": {"secretRef": {"name": "prod"}}});
    let lost: Vec<String> = (0..70).map(|n| world.release(&format!("lost-{n}"), &spec).to_string()).collect();
    world.bench.apply(&lost.join("\n---\n"));
    world.says("lost-0", "Ready", "False", &format!("the cluster of Secret {}/prod:", world.namespace)).await;
    let since = Instant::now();
    world.apply(&world.release("well", &json!({})));
    world.ready("well", 1).await;
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    for number in [33, 69] {
        world.says(&format!("lost-{number}"), "Ready", "False", "it does not answer within").await;
    }
    drop(silent);
}

/// Hooks, tests, a rollback and drift, with the rights of an account and records in another place.
async fn takes_every_step_as_its_account(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let other = world.bench.namespace("steps").await;
    let _operator = world.started(helm).await;
    world.charts.publish(&fixture_chart("hooks"), "1.0.0");
    account(&world);
    grant(&world, "records", &records());
    let objects = json!([
        {"apiGroups": [""], "resources": ["configmaps", "pods", "pods/log"], "verbs": ["*"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["*"]},
    ]);
    grant_in(&world, &other, "objects", &objects);
    let release = |test_fault: &str| {
        let spec = json!({
            "serviceAccountName": "deployer", "targetNamespace": other, "releaseName": "app",
            "test": {"enable": true}, "driftDetection": {"mode": "enabled"},
            "upgrade": {"remediation": {"remediateLastFailure": true}},
            "values": {"message": "wanted", "testFault": test_fault},
        });
        world.chart_release("app", "hooks", &spec)
    };
    world.apply(&release(""));
    let object = world.ready("app", 1).await;
    assert_eq!(reason(&object, "TestSuccess"), "TestSucceeded", "{object}");

    let said = || get_in(world.bench, &other, "configmap", "app").map(|object| object["data"]["message"].clone());
    let drift = ["patch", "configmap", "app", "--namespace", &other, "--patch", r#"{"data": {"message": "drifted"}}"#];
    world.bench.kubectl(&["delete", "rolebinding", "objects", "--namespace", &other]);
    world.bench.kubectl(&drift);
    world.annotate("app", "reconcile.fluxcd.io/requestedAt=without");
    let user = format!("system:serviceaccount:{}:deployer", world.namespace);
    wait_for("the missing right to be named", PATIENCE, || async {
        let status = world.get("helmrelease", "app").ok_or("none")?["status"].to_string();
        if status.contains(&user) && status.contains("forbidden") { Ok(()) } else { Err(status) }
    })
    .await;
    assert_eq!(said(), Some(json!("drifted")));
    grant_in(&world, &other, "objects", &objects);
    world.annotate("app", "reconcile.fluxcd.io/requestedAt=with");
    wait_for("the drift to be undone", PATIENCE, || async {
        let found = said();
        if found == Some(json!("wanted")) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;

    world.apply(&release("test-fails"));
    let object = world.says("app", "Stalled", "True", "Failed to upgrade after 1 attempt(s)").await;
    assert_eq!(reason(&object, "Ready"), "RollbackSucceeded", "{object}");
    let kept: Vec<String> = (1..=3).map(|version| format!("sh.helm.release.v1.app.v{version}")).collect();
    assert_eq!(records_in(world.bench, &world.namespace), kept);
    assert!(records_in(world.bench, &other).is_empty());
    world.delete("helmrelease", "app");
    world.gone("helmrelease", "app").await;
    assert_eq!(said(), None);
}

#[tokio::test]
async fn every_step_is_taken_as_the_account_with_helm_3() {
    takes_every_step_as_its_account(Helm::V3, "steps3").await;
}

#[tokio::test]
async fn every_step_is_taken_as_the_account_with_helm_4() {
    takes_every_step_as_its_account(Helm::V4, "steps4").await;
}
