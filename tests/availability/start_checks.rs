//! What is in the way of a start is named, nothing is touched meanwhile, and the operator goes on by itself.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fairlead_testbench::{ApiFront, Helm, Operator, TestBench, User, wait_for};
use serde_json::json;

use crate::scene::{Scene, ready_says, says};

const WAITS: &str = "nothing is done before this is in order";

#[tokio::test]
async fn missing_definitions_are_named_and_waited_for() {
    let bench = TestBench::start().await;
    let mut operator = Operator::builder(Path::new(env!("CARGO_BIN_EXE_fairlead")), &bench).spawn();
    let words = [
        "HelmRelease (helm.toolkit.fluxcd.io/v2)",
        "Alert, Provider (notification.toolkit.fluxcd.io/v1beta3)",
        "Bucket, ExternalArtifact, GitRepository, HelmChart",
        "fairlead crds | kubectl apply --server-side --force-conflicts -f -",
    ];
    ready_says(&operator, 503, &words).await;
    let lines = operator.log_lines();
    assert!(lines.iter().take(5).any(|line| line["message"] == WAITS), "{lines:?}");
    bench.install_crds().await;
    operator.wait_until_ready().await;
    says(&operator, "is in order now", Duration::from_secs(1)).await;
}

fn role(scene: &Scene, rules: &serde_json::Value) {
    let rbac = "rbac.authorization.k8s.io";
    let version = format!("{rbac}/v1");
    scene
        .world
        .apply(&json!({"apiVersion": version, "kind": "Role", "metadata": {"name": "operator"}, "rules": rules}));
    scene.world.apply(&json!({
        "apiVersion": version, "kind": "RoleBinding", "metadata": {"name": "operator"},
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "operator"},
        "subjects": [{"apiGroup": rbac, "kind": "User", "name": "operator"}],
    }));
}

#[tokio::test]
async fn missing_rights_are_named_with_the_user_and_waited_for() {
    let scene = Scene::new("rights").await;
    let mut operator = scene.candidate().user(scene.world.bench, User::Operator).spawn();
    let namespace = &scene.world.namespace;
    let words = [
        "the user operator may not",
        &format!("list, watch, patch helmreleases.helm.toolkit.fluxcd.io in namespace {namespace}"),
        &format!("patch kustomizations.kustomize.toolkit.fluxcd.io/status in namespace {namespace}"),
        &format!("list, watch alerts.notification.toolkit.fluxcd.io in namespace {namespace}"),
        &format!("get, create, update leases.coordination.k8s.io in namespace {namespace}"),
    ];
    ready_says(&operator, 503, &words).await;
    let all = |groups: &[&str]| json!({"apiGroups": groups, "resources": ["*"], "verbs": ["*"]});
    let flux = ["helm", "source", "kustomize", "notification"].map(|group| format!("{group}.toolkit.fluxcd.io"));
    let flux = all(&flux.each_ref().map(String::as_str));
    role(&scene, &json!([flux, all(&[""])]));
    ready_says(&operator, 503, &["may not: get, create, update leases.coordination.k8s.io"]).await;
    assert_eq!(scene.lease(), serde_json::Value::Null);
    role(&scene, &json!([flux, all(&[""]), all(&["coordination.k8s.io"])]));
    operator.wait_until_ready().await;
}

pub fn put(script: &Path, text: &str) {
    std::fs::write(script, text).expect("write a script");
    std::fs::set_permissions(script, PermissionsExt::from_mode(0o755)).expect("make it executable");
}

#[tokio::test]
async fn programs_that_cannot_be_used_are_named_and_waited_for() {
    let scene = Scene::new("programs").await;
    let program = |name: &str| scene.folder.path().join(name);
    let (helm, git, kustomize) = (program("helm"), program("git"), program("kustomize"));
    put(&git, "#!/bin/sh\necho no git here\n");
    put(&kustomize, "#!/bin/sh\necho v4.5.7\n");
    let flags = |flag: &'static str, path: &PathBuf| [flag.into(), path.clone().into_os_string()];
    let operator = scene.world.operator().helm_binary(&helm).args(flags("--git", &git));
    let mut operator = operator.args(flags("--kustomize", &kustomize)).spawn();
    let missing = format!("--helm: {}", helm.display());
    let words = [
        missing.as_str(),
        "No such file",
        "\"no git here\", which is no version",
        "it is v4.5.7; a version 5.x is needed",
    ];
    ready_says(&operator, 503, &words).await;
    put(&kustomize, "#!/bin/sh\necho v5.8.1\n");
    put(&git, "#!/bin/sh\necho git version 2.39.5\n");
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fake-helm/too-old");
    std::os::unix::fs::symlink(old, &helm).expect("a link");
    ready_says(&operator, 503, &["helm v3.2.1 is too old"]).await;
    std::fs::remove_file(&helm).expect("remove a link");
    std::os::unix::fs::symlink(Helm::V3.path(), &helm).expect("a link");
    operator.wait_until_ready().await;
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_is_named_and_waited_for() {
    let scene = Scene::new("noapi").await;
    let line = fairlead_testbench::FaultProxy::to(scene.world.bench.server().trim_start_matches("https://"));
    line.behave(fairlead_testbench::Line::Cut);
    let operator = scene.world.operator().kubeconfig(&scene.world.bench.kubeconfig_via(&line));
    let mut operator = operator.spawn();
    ready_says(&operator, 503, &["the API server: it does not answer"]).await;
    line.behave(fairlead_testbench::Line::Works);
    operator.wait_until_ready().await;
}

/// The requests of a line that change anything; questions about one's own rights are asked by POST too.
fn changes(requests: &[String]) -> Vec<&String> {
    let only_asks = |request: &&String| {
        request.starts_with("GET ")
            || ["selfsubjectaccessreviews", "selfsubjectreviews"].iter().any(|question| request.contains(question))
    };
    requests.iter().filter(|request| !only_asks(request)).collect()
}

#[tokio::test]
async fn an_api_server_that_is_too_old_is_named_and_its_upgrade_waited_for() {
    let scene = Scene::new("oldapi").await;
    scene.world.apply(&scene.world.release("ui", &json!({"values": {"replicas": 0}})));
    let front = ApiFront::of(scene.world.bench);
    front.claims(Some(("1", "28+")));
    let mut operator = scene.candidate().kubeconfig(front.kubeconfig()).spawn();
    let words = "it is Kubernetes 1.28; upgrade the cluster: 1.29 or newer is needed";
    ready_says(&operator, 503, &["the API server: ", words]).await;
    let lines = operator.log_lines();
    let told = |line: &serde_json::Value| line["message"] == WAITS && line["why"] == words;
    assert!(lines.iter().take(5).any(told), "{lines:?}");
    // More than one look: what the first one did not touch, the next ones might.
    asked_again(&front, "/version").await;
    let requests = front.requests();
    assert!(changes(&requests).is_empty(), "{requests:?}");
    assert!(requests.iter().all(|request| !request.contains("watch=true")), "{requests:?}");
    assert_eq!(scene.lease(), serde_json::Value::Null);
    assert!(scene.world.history("ui").is_empty());
    front.claims(None);
    operator.wait_until_ready().await;
    says(&operator, "is in order now", Duration::from_secs(1)).await;
    scene.world.ready("ui", 1).await;
}

/// Waits for another look at a path.
async fn asked_again(front: &ApiFront, path: &str) {
    let count = || front.requests().iter().filter(|request| request.ends_with(path)).count();
    let before = count();
    wait_for(&format!("another request for {path}"), Duration::from_secs(20), || async {
        if count() > before { Ok(()) } else { Err(format!("{before} until now")) }
    })
    .await;
}
