//! Certificates in Secrets under the older names of their keys: `caFile`, `certFile` and `keyFile`.

use fairlead::api::source::v1::{GitRepository, HelmChart, HelmRepository, OCIRepository};
use fairlead_testbench::pki::{Authority, Identity};
use fairlead_testbench::{ChartServer, GitServer, OciRegistry, fixture_chart, tarball};
use serde_json::{Value, json};

use crate::scene::{Kind, Scene};

const LAYER: &str = "application/vnd.cncf.flux.content.v1.tar+gzip";

/// What a server asks for and shows.
struct Door {
    authority: String,
    client: Identity,
}

impl Door {
    fn old(&self) -> Value {
        json!({"caFile": self.authority, "certFile": self.client.certificate, "keyFile": self.client.key})
    }

    /// Under both names, of which one set is of another authority.
    fn both(&self, new_is_right: bool) -> Value {
        let stranger = Authority::new();
        let other = Self { authority: stranger.certificate(), client: stranger.client() };
        let (new, old) = if new_is_right { (self, &other) } else { (&other, self) };
        let mut all = old.old();
        for (key, text) in
            [("ca.crt", &new.authority), ("tls.crt", &new.client.certificate), ("tls.key", &new.client.key)]
        {
            all[key] = json!(text);
        }
        all
    }
}

/// An object is let in by the older names, and by the newer ones where both are there.
async fn is_let_in<K: Kind>(scene: &Scene, name: &str, spec: &Value, secret: &str, door: &Door) {
    let kind = K::kind(&()).into_owned();
    scene.secret(secret, &door.both(false));
    scene.apply(&kind, name, spec);
    scene
        .until::<K>(name, "kept out", |seen| seen.condition("Ready").is_some_and(|(status, ..)| status == "False"))
        .await;
    // What is left out of `stringData` stays in a Secret.
    scene.bench.kubectl(&["delete", "secret", secret, "--namespace", &scene.namespace]);
    scene.secret(secret, &door.old());
    scene.ready::<K>(name).await;
    scene.delete::<K>(name).await;
    scene.secret(secret, &door.both(true));
    scene.apply(&kind, name, spec);
    scene.ready::<K>(name).await;
    scene.keeps_secret(&[door.client.key.lines().nth(1).expect("a key")]).await;
}

fn chart(repository: &str) -> Value {
    json!({"chart": "nodejs", "interval": "10m", "sourceRef": {"kind": "HelmRepository", "name": repository}})
}

async fn helm_repositories(scene: &Scene) {
    let charts = ChartServer::builder().mutual_tls().start();
    charts.publish(&fixture_chart("nodejs"), "1.0.0");
    let door = Door { authority: charts.authority(), client: charts.client() };
    for field in ["secretRef", "certSecretRef"] {
        let name = field.to_lowercase();
        let spec = json!({"url": charts.url(), "interval": "10m", field: {"name": name}});
        is_let_in::<HelmRepository>(scene, &name, &spec, &name, &door).await;
    }
    scene.apply("HelmChart", "one", &chart("secretref"));
    scene.ready_at::<HelmChart>("one", "1.0.0").await;
    // One set of certificates counts, and that is the one of the newer field.
    scene.secret("false", &json!({"caFile": Authority::new().certificate()}));
    let spec = json!({
        "url": charts.url(), "interval": "10m", "secretRef": {"name": "secretref"}, "certSecretRef": {"name": "false"},
    });
    scene.apply("HelmRepository", "two", &spec);
    scene.failed::<HelmRepository>("two", "FetchFailed", "cannot download").await;
}

async fn git_repositories(scene: &Scene) {
    let git = GitServer::builder().client_certificates().start();
    let app = git.repository("app");
    app.commit("One", &[("a", Some("1"))]);
    let door = Door { authority: git.authority(), client: git.client_identity() };
    let spec = json!({
        "url": git.url(&app), "interval": "10m", "ref": {"branch": "main"}, "secretRef": {"name": "git"},
    });
    is_let_in::<GitRepository>(scene, "git", &spec, "git", &door).await;
}

async fn registries(scene: &Scene) {
    let registry = OciRegistry::builder().mutual_tls().start().await;
    registry.push("app", "latest", &[(LAYER, tarball(&[("a.yaml", "a: 1\n")]))], &[]).await;
    registry.push_chart("charts", &fixture_chart("nodejs"), "1.0.0");
    let door = Door { authority: registry.authority().certificate(), client: registry.authority().client() };
    let spec = json!({"url": registry.url("app"), "interval": "10m", "certSecretRef": {"name": "oci"}});
    is_let_in::<OCIRepository>(scene, "oci", &spec, "oci", &door).await;
    for field in ["secretRef", "certSecretRef"] {
        let name = format!("oci-{}", field.to_lowercase());
        let spec = json!({"type": "oci", "url": registry.url("charts"), field: {"name": name}});
        scene.apply("HelmRepository", &name, &spec);
        is_let_in::<HelmChart>(scene, &name, &chart(&name), &name, &door).await;
    }
}

#[tokio::test]
async fn older_names_of_certificates_are_read_and_newer_ones_come_first() {
    let scene = Scene::start("oldkeys").await;
    tokio::join!(helm_repositories(&scene), git_repositories(&scene), registries(&scene));
}
