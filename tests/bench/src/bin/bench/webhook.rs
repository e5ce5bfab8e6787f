//! How soon helm starts after a push that a signed webhook tells of.

use std::time::{Duration, SystemTime};

use fairlead_testbench::chart_server::hex;
use fairlead_testbench::objects::Cluster;
use fairlead_testbench::ports::free_port;
use fairlead_testbench::{TestBench, try_wait_for};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

use crate::latency::{HelmWatch, NAMESPACE, Scene, started};

const TOKEN: &str = "bench";
const BODY: &str = r#"{"ref": "refs/heads/main"}"#;

/// The operator's address for webhooks.
pub struct Hook {
    address: String,
}

impl Hook {
    /// A free one.
    pub fn new() -> Self {
        Self { address: format!("127.0.0.1:{}", free_port()) }
    }

    /// What the operator has to be started with.
    pub fn flags(&self) -> [&str; 2] {
        ["--receiver-listen", &self.address]
    }
}

/// Commits one by one, each with what it took from the webhook until helm was started.
pub async fn pushes(
    bench: &TestBench,
    scene: &Scene,
    watch: &HelmWatch,
    hook: &Hook,
    count: usize,
) -> Result<Vec<Duration>, String> {
    let url = format!("http://{}{}", hook.address, receiver(bench).await?);
    let client = reqwest::Client::builder().no_proxy().build().map_err(|error| error.to_string())?;
    let signature = signature()?;
    let mut samples = Vec::new();
    for index in 0..count {
        scene.commit(4000 + index);
        let since = SystemTime::now();
        let answer = client.post(&url).header("X-Signature", &signature).body(BODY).send().await;
        let status = answer.map_err(|error| error.to_string())?.status();
        if !status.is_success() {
            return Err(format!("the webhook was answered {status}"));
        }
        samples.push(started(watch, since).await?);
        scene.wait_ready("ui", i64::try_from(index).unwrap_or(0) + 2).await?;
    }
    Ok(samples)
}

fn signature() -> Result<String, String> {
    let mac = Hmac::<Sha256>::new_from_slice(TOKEN.as_bytes()).map_err(|error| error.to_string())?;
    let digest = mac.chain_update(BODY).finalize().into_bytes();
    Ok(format!("sha256={}", hex(&digest)))
}

/// Makes the receiver; gives its path.
async fn receiver(bench: &TestBench) -> Result<String, String> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "token", "namespace": NAMESPACE}, "stringData": {"token": TOKEN},
    });
    let receiver = json!({
        "apiVersion": "notification.toolkit.fluxcd.io/v1", "kind": "Receiver",
        "metadata": {"name": "push", "namespace": NAMESPACE},
        "spec": {
            "type": "generic-hmac", "secretRef": {"name": "token"},
            "resources": [{"kind": "GitRepository", "name": "releases"}],
        },
    });
    bench.apply(&format!("{secret}\n---\n{receiver}"));
    let cluster = Cluster::new(bench.client().await);
    let path = try_wait_for(Duration::from_mins(1), || async {
        let object = cluster.get("Receiver", NAMESPACE, "push").await?;
        object["status"]["webhookPath"].as_str().map(str::to_owned).ok_or("no path yet".to_owned())
    });
    path.await.map_err(|seen| format!("the receiver has no path: {seen}"))
}
