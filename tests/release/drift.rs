//! Changes that others make to a release's objects: seen, told, undone, and no quarrel with helm.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fairlead_testbench::ports::free_port;
use fairlead_testbench::{Helm, wait_for};
use serde_json::{Value, json};

use crate::world::{PATIENCE, World, condition, is, message, reason};

fn detecting(mode: &str, additions: &Value) -> Value {
    let mut spec = json!({"driftDetection": {"mode": mode}, "values": {"env": {"COLOUR": "red", "SIZE": "small"}}});
    for (key, value) in additions.as_object().expect("an object") {
        spec[key] = value.clone();
    }
    spec
}

/// Changes an object as a person at a terminal does, and proves that the change is there.
fn patch(world: &World, kind: &str, name: &str, patch: &Value) {
    let patch = patch.to_string();
    let args =
        ["patch", kind, name, "--namespace", &world.namespace, "--type=json", "--field-manager=person", "--patch"];
    world.bench.kubectl(&[args.as_slice(), &[&patch]].concat());
}

fn replace(path: &str, value: &Value) -> Value {
    json!([{"op": "replace", "path": path, "value": value}])
}

/// Points the Service elsewhere.
fn divert(world: &World) {
    patch(world, "service", "ui", &replace("/spec/ports/0/targetPort", &json!(9999)));
}

fn target(world: &World) -> Value {
    world.get("service", "ui").expect("a service")["spec"]["ports"][0]["targetPort"].clone()
}

/// Asks for a pass and waits until it is over.
async fn look(world: &World, name: &str, request: &str) -> Value {
    world.annotate(name, &format!("reconcile.fluxcd.io/requestedAt={request}"));
    world.until(name, "has looked", |object| object["status"]["lastHandledReconcileAt"] == request).await
}

fn told(world: &World, reason: &str) -> Vec<String> {
    let events = world.events("ui").into_iter().filter(|(found, _)| found == reason);
    events.map(|(_, message)| message).collect()
}

/// The messages of the events of a reason, once there are as many.
async fn events(world: &World, reason: &str, count: usize) -> Vec<String> {
    wait_for(&format!("{count} events {reason}"), PATIENCE, || async {
        let found = told(world, reason);
        if found.len() == count { Ok(found) } else { Err(format!("{found:?}")) }
    })
    .await
}

async fn is_undone_by_an_apply(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let operator = world.started(helm).await;
    let namespace = &world.namespace;
    world.apply(&world.release("ui", &detecting("enabled", &json!({}))));
    let object = world.says("ui", "Drifted", "False", "No drift detected against the cluster state").await;
    assert_eq!(reason(&object, "Drifted"), "NoDriftDetected");
    assert!(condition(&object, "FieldsNotActedOn").is_none(), "{object}");
    let before = object["status"]["history"].clone();
    let runs = || operator.log_lines().iter().filter(|line| line["message"] == "running helm").count();

    // One field is changed, one object is gone, one field is added that the chart leaves open.
    divert(&world);
    patch(
        &world,
        "service",
        "ui",
        &json!([{"op": "add", "path": "/metadata/annotations/person", "value": "was here"}]),
    );
    world.bench.kubectl(&["delete", "ingress", "ui", "--namespace", namespace]);
    look(&world, "ui", "one").await;
    let object = world.says("ui", "Drifted", "False", "has been corrected").await;
    assert_eq!(reason(&object, "Drifted"), "DriftCorrected");
    let said = message(&object, "Drifted");
    assert!(said.starts_with(&format!("Cluster state of release {namespace}/ui.v1 has been corrected:\n")), "{said}");
    assert!(
        said.contains(&format!("Service/{namespace}/ui configured\n  /spec/ports/0/targetPort: was 9999, is \"http\"")),
        "{said}"
    );
    assert!(said.contains(&format!("Ingress/{namespace}/ui created")), "{said}");
    assert!(!said.contains("Deployment") && !said.contains("person"), "{said}");
    assert_eq!(target(&world), "http");
    assert!(world.get("ingress", "ui").is_some());
    let service = world.get("service", "ui").expect("a service");
    assert_eq!(service["metadata"]["annotations"]["person"], "was here", "what others add is theirs");
    assert_eq!((reason(&object, "Ready"), is(&object, "Ready", "True")), ("InstallSucceeded", true));
    assert_eq!(world.history("ui"), [(1, "deployed".to_owned())], "no new revision");
    assert_eq!((&object["status"]["history"], runs()), (&before, 1));
    let detected = events(&world, "DriftDetected", 1).await.remove(0);
    assert!(detected.contains("ui changed (0 additions, 1 changes, 0 removals)"), "{detected}");
    assert!(detected.contains("/spec/ports/0/targetPort: is 9999, should be \"http\""), "{detected}");
    assert!(detected.contains(&format!("Ingress/{namespace}/ui removed")), "{detected}");
    events(&world, "DriftCorrected", 1).await;

    let object = look(&world, "ui", "two").await;
    assert_eq!(reason(&object, "Drifted"), "NoDriftDetected", "{object}");

    // What the chart no longer has goes with the next upgrade, corrected or not.
    patch(&world, "deployment", "ui", &replace("/spec/template/spec/containers/0/env/1/value", &json!("green")));
    look(&world, "ui", "three").await;
    let object = world.says("ui", "Drifted", "False", "/env/1/value: was \"green\", is \"red\"").await;
    assert!(is(&object, "Ready", "True"));
    let deployment = world.get("deployment", "ui").expect("a deployment");
    let managers = deployment["metadata"]["managedFields"].to_string();
    assert!(!managers.contains("fairlead") && !managers.contains("helm-controller"), "{managers}");
    let values = json!({"env": {"COLOUR": "blue"}, "port": 3001});
    world.apply(&world.release("ui", &detecting("enabled", &json!({"values": values}))));
    let object = world.ready("ui", 2).await;
    assert_eq!(reason(&object, "Ready"), "UpgradeSucceeded");
    let object = world.says("ui", "Drifted", "False", "No drift detected").await;
    assert!(is(&object, "Ready", "True"));
    let deployment = world.get("deployment", "ui").expect("a deployment");
    let env = &deployment["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(*env, json!([{"name": "PORT", "value": "3001"}, {"name": "COLOUR", "value": "blue"}]));
    assert_eq!(told(&world, "DriftDetected").len(), 2, "{:?}", told(&world, "DriftDetected"));
    assert_eq!(runs(), 2);
}

#[tokio::test]
async fn drift_is_undone_by_an_apply_and_the_next_upgrade_works_with_helm_3() {
    is_undone_by_an_apply(Helm::V3, "drift3").await;
}

#[tokio::test]
async fn drift_is_undone_by_an_apply_and_the_next_upgrade_works_with_helm_4() {
    is_undone_by_an_apply(Helm::V4, "drift4").await;
}

async fn additions_are_undone_where_asked(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let _operator = world.started(helm).await;
    let ignore = json!([{"paths": ["/metadata/annotations/theirs"], "target": {"kind": "Service"}}]);
    let spec = json!({"driftDetection": {"mode": "enabled", "ignore": ignore}});
    world.apply(&world.release("ui", &spec));
    world.says("ui", "Drifted", "False", "No drift detected").await;
    let add = |path: &str, value: Value| json!([{"op": "add", "path": path, "value": value}]);
    let containers = "/spec/template/spec/containers";
    patch(&world, "deployment", "ui", &add(&format!("{containers}/-"), json!({"name": "spy", "image": "spy"})));
    patch(&world, "deployment", "ui", &add(&format!("{containers}/0/env/-"), json!({"name": "DEBUG", "value": "yes"})));
    patch(&world, "service", "ui", &add("/metadata/annotations/person", json!("was here")));
    patch(&world, "service", "ui", &add("/metadata/annotations/theirs", json!("stays")));
    let object = look(&world, "ui", "one").await;
    assert_eq!(reason(&object, "Drifted"), "NoDriftDetected", "what the chart leaves open is no drift by default");

    world.annotate("ui", "fairlead.dev/drift-additions=enabled");
    look(&world, "ui", "two").await;
    let object = world.says("ui", "Drifted", "False", "has been corrected").await;
    let said = message(&object, "Drifted");
    for line in ["/0/env/1: was {", "/containers/1: was {", "/metadata/annotations/person: was \"was here\", is absent"]
    {
        assert!(said.contains(line), "{line} in {said}");
    }
    let deployment = world.get("deployment", "ui").expect("a deployment");
    let containers = deployment.pointer(containers).and_then(Value::as_array).expect("containers");
    assert_eq!(containers.len(), 1, "{containers:?}");
    assert_eq!(containers[0]["env"].as_array().map(Vec::len), Some(1), "{containers:?}");
    let annotations = world.get("service", "ui").expect("a service")["metadata"]["annotations"].clone();
    assert_eq!((&annotations["person"], &annotations["theirs"]), (&Value::Null, &json!("stays")));
    assert_eq!(world.history("ui"), [(1, "deployed".to_owned())], "no new revision");
    let object = look(&world, "ui", "three").await;
    assert_eq!(reason(&object, "Drifted"), "NoDriftDetected", "{object}");
}

#[tokio::test]
async fn additions_are_undone_where_asked_with_helm_3() {
    additions_are_undone_where_asked(Helm::V3, "added3").await;
}

#[tokio::test]
async fn additions_are_undone_where_asked_with_helm_4() {
    additions_are_undone_where_asked(Helm::V4, "added4").await;
}

async fn a_changed_key_is_set_right(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let _operator = world.started(helm).await;
    world.apply(&world.release("ui", &detecting("enabled", &json!({}))));
    world.says("ui", "Drifted", "False", "No drift").await;
    // To the API server this is another port, which somebody else owns.
    patch(&world, "service", "ui", &replace("/spec/ports/0/port", &json!(9999)));
    look(&world, "ui", "one").await;
    let object = world.says("ui", "Drifted", "False", "/spec/ports/0/port: was 9999, is 3000").await;
    assert!(is(&object, "Ready", "True"), "{object}");
    assert_eq!(world.port("ui"), 3000);
    let object = look(&world, "ui", "two").await;
    assert_eq!(reason(&object, "Drifted"), "NoDriftDetected", "{object}");
    // Nobody holds on to the old port when the chart has another one.
    world.apply(&world.release("ui", &detecting("enabled", &json!({"values": {"port": 3001}}))));
    world.ready("ui", 2).await;
    let service = world.get("service", "ui").expect("a service");
    assert_eq!(service["spec"]["ports"].as_array().map(Vec::len), Some(1), "{service}");
    assert_eq!(world.port("ui"), 3001);
}

#[tokio::test]
async fn a_changed_key_of_a_list_is_set_right_with_helm_3() {
    a_changed_key_is_set_right(Helm::V3, "key3").await;
}

#[tokio::test]
async fn a_changed_key_of_a_list_is_set_right_with_helm_4() {
    a_changed_key_is_set_right(Helm::V4, "key4").await;
}

async fn ignored_fields_stay(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let _operator = world.started(helm).await;
    let ignore = json!([{"paths": ["/spec/replicas"], "target": {"kind": "Deployment", "name": "u.*"}}]);
    let detection = json!({"mode": "enabled", "ignore": ignore});
    world.apply(&world.release("ui", &detecting("enabled", &json!({"driftDetection": detection}))));
    world.says("ui", "Drifted", "False", "No drift").await;

    world.bench.kubectl(&["scale", "deployment", "ui", "--replicas=3", "--namespace", &world.namespace]);
    let object = look(&world, "ui", "one").await;
    assert_eq!(reason(&object, "Drifted"), "NoDriftDetected", "{object}");

    // A correction of another field of the same object leaves it alone, too.
    patch(&world, "deployment", "ui", &replace("/spec/template/spec/containers/0/env/1/value", &json!("green")));
    look(&world, "ui", "two").await;
    let object = world.says("ui", "Drifted", "False", "has been corrected").await;
    assert!(!message(&object, "Drifted").contains("replicas"), "{object}");
    let deployment = world.get("deployment", "ui").expect("a deployment");
    assert_eq!(deployment["spec"]["replicas"], 3);

    // An object may opt out by itself.
    patch(
        &world,
        "service",
        "ui",
        &json!([
            {"op": "add", "path": "/metadata/annotations/helm.toolkit.fluxcd.io~1driftDetection", "value": "disabled"},
            {"op": "replace", "path": "/spec/ports/0/targetPort", "value": 9999},
        ]),
    );
    let object = look(&world, "ui", "three").await;
    assert_eq!(reason(&object, "Drifted"), "NoDriftDetected", "{object}");
    assert_eq!(target(&world), 9999);
}

#[tokio::test]
async fn ignored_fields_and_objects_stay_as_they_are_with_helm_3() {
    ignored_fields_stay(Helm::V3, "ignore3").await;
}

#[tokio::test]
async fn ignored_fields_and_objects_stay_as_they_are_with_helm_4() {
    ignored_fields_stay(Helm::V4, "ignore4").await;
}

#[tokio::test]
async fn a_warning_changes_nothing_and_is_given_once() {
    let world = World::new("warn").await;
    let operator = world.started(Helm::V4).await;
    world.apply(&world.release("ui", &detecting("warn", &json!({}))));
    world.says("ui", "Drifted", "False", "No drift").await;
    divert(&world);
    look(&world, "ui", "one").await;
    let object = world.says("ui", "Drifted", "True", "/spec/ports/0/targetPort: is 9999, should be \"http\"").await;
    assert_eq!((reason(&object, "Drifted"), is(&object, "Ready", "True")), ("DriftDetected", true));
    look(&world, "ui", "two").await;
    look(&world, "ui", "three").await;
    assert_eq!(target(&world), 9999);
    events(&world, "DriftDetected", 1).await;
    assert!(told(&world, "DriftCorrected").is_empty());
    let logged = operator.log_lines().iter().filter(|line| line["reason"] == "DriftDetected").count();
    assert_eq!(logged, 1);

    world.apply(&world.release("ui", &detecting("disabled", &json!({}))));
    world.until("ui", "says nothing of drift", |object| condition(object, "Drifted").is_none()).await;
    assert_eq!(target(&world), 9999);
    world.apply(&world.release("ui", &detecting("enabled", &json!({}))));
    world.says("ui", "Drifted", "False", "has been corrected").await;
    assert_eq!(target(&world), "http");
}

#[tokio::test]
async fn drift_is_looked_for_at_the_interval_without_a_process_or_a_write() {
    let world = World::new("every").await;
    let operator = world.started(Helm::V4).await;
    world.apply(&world.release("ui", &detecting("enabled", &json!({"interval": "1s"}))));
    let object = world.says("ui", "Drifted", "False", "No drift").await;
    let children = |metrics: &str| {
        let lines = metrics.lines().filter(|line| line.starts_with("fairlead_child_processes"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let first = operator.get("/metrics").await;
    divert(&world);
    world.says("ui", "Drifted", "False", "has been corrected").await;
    let clean = world.says("ui", "Drifted", "False", "No drift").await;
    assert_eq!(condition(&clean, "Ready"), condition(&object, "Ready"));
    world.bench.kubectl(&["delete", "deployment", "ui", "--namespace", &world.namespace]);
    wait_for("the deployment to come back", PATIENCE, || async {
        world.get("deployment", "ui").ok_or_else(|| "it is gone".to_owned())
    })
    .await;
    world.says("ui", "Drifted", "False", "No drift").await;
    assert_eq!(children(&operator.get("/metrics").await), children(&first));
}

#[tokio::test]
async fn what_cannot_be_looked_at_says_why_and_heals() {
    let world = World::new("unseen").await;
    let _operator = world.started(Helm::V4).await;
    world.apply(&world.release("ui", &detecting("enabled", &json!({}))));
    world.says("ui", "Drifted", "False", "No drift").await;
    // The same name with another selector, which nobody can change.
    let deployment = world.get("deployment", "ui").expect("a deployment");
    world.bench.kubectl(&["delete", "deployment", "ui", "--namespace", &world.namespace]);
    let mut other = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "ui"},
        "spec": deployment["spec"]});
    other["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] = json!("other");
    other["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] = json!("other");
    world.apply(&other);
    divert(&world);
    look(&world, "ui", "one").await;
    let object = world.until("ui", "is not ready", |object| is(object, "Ready", "False")).await;
    assert!(message(&object, "Ready").contains("is immutable"), "{object}");
    assert_eq!((reason(&object, "Ready"), is(&object, "Reconciling", "True")), ("StateError", true));
    assert_eq!(target(&world), "http", "what can be set right is");
    world.bench.kubectl(&["delete", "deployment", "ui", "--namespace", &world.namespace]);
    world.until("ui", "heals", |object| is(object, "Ready", "True") && is(object, "Drifted", "False")).await;
    assert_eq!(target(&world), "http");

    let ignore = json!([{"paths": ["spec/replicas"]}]);
    let detection = json!({"mode": "enabled", "ignore": ignore});
    world.apply(&world.release("ui", &detecting("enabled", &json!({"driftDetection": detection}))));
    let object = world.says("ui", "Stalled", "True", "`spec/replicas` is no JSON pointer").await;
    assert_eq!(reason(&object, "Ready"), "StateError");
    world.apply(
        &world.release("ui", &detecting("enabled", &json!({"driftDetection": {"mode": "enabled", "ignore": []}}))),
    );
    world.until("ui", "heals", |object| is(object, "Ready", "True") && condition(object, "Stalled").is_none()).await;
}

/// A chart of one template.
fn publish(world: &World, name: &str, template: &str) {
    let chart = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(chart.path().join("templates")).expect("a folder");
    let metadata = format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n");
    std::fs::write(chart.path().join("Chart.yaml"), metadata).expect("a file");
    std::fs::write(chart.path().join("templates/all.yaml"), template).expect("a file");
    world.charts.publish(chart.path(), "1.0.0");
}

#[tokio::test]
async fn what_cannot_be_corrected_says_why_and_heals() {
    let world = World::new("stuck").await;
    let _operator = world.started(Helm::V4).await;
    let elsewhere = world.bench.namespace("elsewhere").await;
    let maps = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: near\ndata: {a: b}\n---\n\
        apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: far\n  namespace: {{ .Values.elsewhere }}\ndata: {a: b}\n";
    publish(&world, "maps", maps);
    let spec = json!({"driftDetection": {"mode": "enabled"}, "values": {"elsewhere": elsewhere}});
    world.apply(&world.chart_release("ui", "maps", &spec));
    world.says("ui", "Drifted", "False", "No drift").await;
    world.bench.kubectl(&["delete", "namespace", &elsewhere]);
    world.bench.kubectl(&["delete", "configmap", "near", "--namespace", &world.namespace]);
    look(&world, "ui", "one").await;
    let object = world.until("ui", "is not ready", |object| is(object, "Ready", "False")).await;
    // By now another try may have said the same of what is left.
    assert!(message(&object, "Ready").contains(&format!("\nConfigMap/{elsewhere}/far: ")), "{object}");
    assert_eq!(reason(&object, "Ready"), "DriftCorrectionFailed");
    assert!(is(&object, "Drifted", "True") && is(&object, "Reconciling", "True"), "{object}");
    let start = format!(
        "Failed to partially correct cluster state of release {}/ui.v1:\nConfigMap/{elsewhere}/far: ",
        world.namespace
    );
    let end = format!("\n\nSuccessful corrections:\nConfigMap/{}/near created", world.namespace);
    wait_for("the event", PATIENCE, || async {
        let found = told(&world, "DriftCorrectionFailed");
        let partial = found.iter().find(|told| told.starts_with(&start) && told.ends_with(&end));
        partial.map(drop).ok_or_else(|| format!("{found:?}"))
    })
    .await;
    world.bench.create_namespace(&elsewhere).await;
    world.until("ui", "heals", |object| is(object, "Ready", "True") && is(object, "Drifted", "False")).await;
    assert_eq!(world.history("ui").len(), 1);
}

#[tokio::test]
async fn a_secret_s_drift_is_undone_and_its_values_show_nowhere() {
    const WANTED: &str = "canary-wanted-51c0";
    const FOUND: &str = "canary-found-93ab";
    let world = World::new("hush").await;
    let operator = world.started(Helm::V4).await;
    let secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {{ .Release.Name }}\nstringData:\n  token: {{ .Values.token | quote }}\n---\n\
        apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  line: \"token={{ .Values.token }}\"\n";
    publish(&world, "vault", secret);
    let more = json!({"driftDetection": {"mode": "enabled"}, "values": {"token": WANTED}});
    world.apply(&world.chart_release("ui", "vault", &more));
    world.says("ui", "Drifted", "False", "No drift").await;
    patch(&world, "secret", "ui", &replace("/data/token", &json!(STANDARD.encode(FOUND))));
    patch(&world, "configmap", "ui", &replace("/data/line", &json!("no token")));
    look(&world, "ui", "one").await;
    let object = world.says("ui", "Drifted", "False", "/data/token: changed").await;
    let said = message(&object, "Drifted");
    assert!(said.contains("/data/line: was \"no token\", is \"token=*****\""), "{said}");
    let token = world.get("secret", "ui").expect("a secret")["data"]["token"].clone();
    assert_eq!(token, STANDARD.encode(WANTED));
    events(&world, "DriftCorrected", 1).await;
    let status = object["status"].to_string();
    let events = world.bench.kubectl(&["get", "events", "--namespace", &world.namespace, "--output=json"]);
    for (place, text) in [("log", operator.log()), ("status", status), ("events", events)] {
        for canary in [WANTED, FOUND] {
            assert!(!text.contains(canary), "{canary} shows in the {place}");
            assert!(!text.contains(&STANDARD.encode(canary)), "{canary} shows encoded in the {place}");
        }
    }
}

#[tokio::test]
async fn a_webhook_asks_for_a_look() {
    let world = World::new("drifthook").await;
    let address = format!("127.0.0.1:{}", free_port());
    let _operator = world.operator().args(["--receiver-listen", &address]).start().await;
    world.apply(&world.release("ui", &detecting("enabled", &json!({}))));
    world.apply(
        &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": world.namespace},
        "stringData": {"token": "some-token"}}),
    );
    world.apply(&json!({
        "apiVersion": "notification.toolkit.fluxcd.io/v1", "kind": "Receiver",
        "metadata": {"name": "hook", "namespace": world.namespace},
        "spec": {"type": "generic", "secretRef": {"name": "token"}, "resources": [{"kind": "HelmRelease", "name": "ui"}]},
    }));
    world.says("ui", "Drifted", "False", "No drift").await;
    let path = wait_for("the path of the receiver", PATIENCE, || async {
        let receiver = world.get("receiver", "hook").unwrap_or_default();
        receiver["status"]["webhookPath"].as_str().map(str::to_owned).ok_or_else(|| receiver.to_string())
    })
    .await;
    divert(&world);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = client.post(format!("http://{address}{path}")).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    world.says("ui", "Drifted", "False", "has been corrected").await;
    assert_ne!(target(&world), json!(9999));
}
