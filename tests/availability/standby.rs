//! What those do that do not lead: pass requests on, or say why they do not work.

use std::time::Duration;

use fairlead_testbench::wait_for;
use serde_json::{Value, json};

use crate::scene::{LEADS, Scene, TAKE_OVER, ready_says, says};
use crate::world::PATIENCE;

fn identity(lease: &Value) -> String {
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_standby_passes_requests_for_artifacts_and_webhooks_on() {
    let scene = Scene::new("pass").await;
    let world = &scene.world;
    let hooks = || format!("127.0.0.1:{}", fairlead_testbench::ports::free_port());
    let (to_first, to_second) = (hooks(), hooks());
    let first = scene.candidate().args(["--receiver-listen", to_first.as_str()]).start().await;
    says(&first, LEADS, Duration::from_secs(5)).await;
    let second = scene.candidate().args(["--receiver-listen", to_second.as_str()]).start().await;
    ready_says(&second, 200, &["stands by", &identity(&scene.lease())]).await;
    world.apply(&scene.slow("one", "100ms"));
    world.ready("ui", 1).await;

    let path = world.get("helmrepository", "charts").expect("it exists")["status"]["artifact"]["path"].clone();
    let path = format!("/{}", path.as_str().expect("a path"));
    let (of_first, of_second) = (first.try_get(&path).await, second.try_get(&path).await);
    assert_eq!(of_first.as_ref().map(|(status, _)| *status), Ok(200));
    assert_eq!(of_first, of_second);
    assert_eq!(second.try_get("/helmrepository/a/b/c").await.map(|(status, _)| status), Ok(404));

    world.apply(
        &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "data": {"token": "dDBw"}}),
    );
    world.apply(&json!({
        "apiVersion": "notification.toolkit.fluxcd.io/v1", "kind": "Receiver", "metadata": {"name": "hook"},
        "spec": {"type": "generic", "secretRef": {"name": "token"},
            "resources": [{"kind": "HelmRepository", "name": "charts"}]},
    }));
    let path = wait_for("the receiver's path", PATIENCE, || async {
        let object = world.get("receiver", "hook").ok_or("none")?;
        object["status"]["webhookPath"].as_str().map(str::to_owned).ok_or_else(|| object["status"].to_string())
    })
    .await;
    let answer = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = answer.post(format!("http://{to_second}{path}")).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    says(&first, "handled a webhook", PATIENCE).await;
    assert!(!second.log().contains("handled a webhook"));
}

#[tokio::test]
async fn a_second_operator_by_mistake_says_who_works_already() {
    let scene = Scene::new("mistake").await;
    let single = || scene.world.operator().env("POD_NAMESPACE", scene.world.namespace.as_str());
    let mut first = single().start().await;
    let mut second = single().spawn();
    ready_says(&second, 503, &["--leader-elect", &identity(&scene.lease())]).await;
    scene.world.apply(&scene.slow("one", "100ms"));
    scene.world.ready("ui", 1).await;
    assert!(!second.log().contains("running helm"));
    first.kill();
    says(&second, LEADS, TAKE_OVER).await;
    second.wait_until_ready().await;
}
