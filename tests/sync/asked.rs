//! A webhook that is about a Kustomization asks for all of it, as `flux reconcile` does.

use fairlead_testbench::ports::free_port;
use fairlead_testbench::wait_for;

use crate::world::{PATIENCE, World, config_map};

#[tokio::test]
async fn a_webhook_takes_back_what_somebody_changed() {
    let address = format!("127.0.0.1:{}", free_port());
    let world = World::with_args("asked", &[("README.md", Some("x"))], &["--receiver-listen", &address]).await;
    let ns = world.id.clone();
    world.releases.commit("Map", &[("production/a.yaml", Some(&config_map(&ns, "a", "1")))]);
    world.follow_production();
    world.bench.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: token\n  namespace: {ns}\nstringData: {{token: some-token}}\n---\n\
         apiVersion: notification.toolkit.fluxcd.io/v1\nkind: Receiver\nmetadata:\n  name: hook\n  namespace: {ns}\n\
         spec:\n  type: generic\n  secretRef: {{name: token}}\n  resources: [{{kind: Kustomization, name: apps}}]\n"
    ));
    world.verdict().await.is_ready();
    let path = ["-n", &ns, "get", "receiver", "hook", "-o", "jsonpath={.status.webhookPath}"];
    let path = wait_for("the path of the receiver", PATIENCE, || async {
        let path = world.bench.kubectl(&path);
        if path.is_empty() { Err("none yet".to_owned()) } else { Ok(path) }
    })
    .await;

    world.bench.kubectl(&["-n", &ns, "patch", "configmap", "a", "--type=merge", "-p", r#"{"data":{"x":"hand"}}"#]);
    assert_eq!(world.value("a").await.as_deref(), Some("hand"));
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = client.post(format!("http://{address}{path}")).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    wait_for("the change to be taken back", PATIENCE, || async {
        let value = world.value("a").await;
        if value.as_deref() == Some("1") { Ok(()) } else { Err(format!("{value:?}")) }
    })
    .await;
}
