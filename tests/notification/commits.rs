//! The status of commits at a stand-in for GitHub.

use fairlead_testbench::github_api::{GitHubApi, PERSONAL_TOKEN};
use fairlead_testbench::{GitServer, WebhookServer, wait_for};
use serde_json::{Value, json};

use crate::scene::{PATIENCE, Scene, received, text};

const KUSTOMIZATION: &str = "kustomize.toolkit.fluxcd.io/v1";
const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: '1'}\n";

/// Waits for the status of a commit under a name.
async fn status(api: &GitHubApi, commit: &str, context: &str) -> Value {
    wait_for(&format!("{context} of {commit}"), PATIENCE, || async {
        let statuses = api.statuses(commit);
        let found = statuses.iter().find(|status| status["context"] == context).cloned();
        found.ok_or_else(|| format!("{statuses:?} {:?}", api.requests()))
    })
    .await
}

#[tokio::test]
async fn a_commit_shows_how_its_folder_went() {
    let scene = Scene::new("commits").await;
    let api = GitHubApi::start(false);
    scene.secret("person", &json!({"token": PERSONAL_TOKEN}));
    scene.provider("person", &json!({"type": "github", "address": api.repository(), "secretRef": {"name": "person"}}));
    scene.secret("app", &api.secret(false));
    let expression = "(event.involvedObject.kind + '/' + event.metadata.env + '/' + alert.metadata.name).lowerAscii()";
    let spec = json!({
        "type": "github", "address": api.repository(), "secretRef": {"name": "app"}, "commitStatusExpr": expression,
    });
    scene.provider("app", &spec);
    let chat = WebhookServer::start();
    scene.provider("chat", &json!({"type": "rocket", "address": chat.url()}));
    for name in ["person", "app", "chat"] {
        scene.alert(name, &["Kustomization", "GitRepository"], &json!({"eventMetadata": {"env": "prod"}}));
    }
    let git = GitServer::start();
    let releases = git.repository("releases");
    let good = releases.commit("One", &[("apps/a.yaml", Some(CONFIG_MAP))]);
    let operator = scene.operator("source,kustomize,notification", &[]).await;
    let spec = json!({"url": git.url(&releases), "interval": "1s", "ref": {"branch": "main"}});
    scene.repository(&json!({"name": "releases"}), &spec);
    let spec = json!({
        "interval": "1h", "retryInterval": "1h", "prune": true, "path": "./apps",
        "targetNamespace": scene.namespace, "sourceRef": {"kind": "GitRepository", "name": "releases"},
    });
    scene.apply(KUSTOMIZATION, "Kustomization", &json!({"name": "apps"}), &json!({"spec": spec}));

    let uid =
        scene.bench.kubectl(&["get", "provider", "person", "-n", &scene.namespace, "-o", "jsonpath={.metadata.uid}"]);
    let own = format!("kustomization/apps/{}", uid.split('-').next().expect("a uid"));
    for context in [own.as_str(), "kustomization/prod/app"] {
        let found = status(&api, &good, context).await;
        assert_eq!((text(&found["state"]), text(&found["description"])), ("success", "reconciliation succeeded"));
    }
    assert_eq!(api.tokens().len(), 1, "the app's token is kept");

    let bad = releases.commit("Two", &[("apps/b.yaml", Some("a: [1"))]);
    for context in [own.as_str(), "kustomization/prod/app"] {
        assert_eq!(text(&status(&api, &bad, context).await["state"]), "failure", "{context}");
    }
    // What was made, and what went wrong; not that a folder is as it should be.
    let told = received(&chat, 4).await;
    let told: Vec<String> =
        told.iter().map(|request| text(&request.json()["attachments"][0]["text"]).to_owned()).collect();
    assert!(told.iter().any(|message| message.contains("ConfigMap/")), "{told:?}");
    assert!(told.iter().any(|message| message.contains("b.yaml")), "{told:?}");
    assert!(!told.iter().any(|message| message.contains("Reconciliation finished")), "{told:?}");
    // Of each commit and name one status: nothing is said twice.
    assert_eq!((api.statuses(&good).len(), api.statuses(&bad).len()), (2, 2));
    scene.keeps_secret(&operator, &[PERSONAL_TOKEN, &api.tokens()[0]]).await;
}
