//! Folders from other sources than git: applied, followed, and told by their revisions.

use fairlead::source::digest::sha256;
use fairlead_testbench::{ChartServer, OciRegistry, S3Server, tarball};
use serde_json::{Value, json};

use crate::world::{World, config_map};

const LAYER: &str = "application/vnd.cncf.flux.content.v1.tar+gzip";

impl World {
    fn put(&self, kind: &str, spec: &Value) {
        let metadata = json!({"name": "other", "namespace": self.id});
        let version = "source.toolkit.fluxcd.io/v1";
        let object = json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec});
        self.bench.apply(&object.to_string());
    }

    /// A Kustomization of the folder `deploy` in the source of this kind, of the kind's name.
    fn follow_kind(&self, kind: &str) -> String {
        let name = kind.to_lowercase();
        let spec = json!({
            "interval": "10m", "path": "./deploy", "prune": true, "sourceRef": {"kind": kind, "name": "other"},
        });
        let metadata = json!({"name": name, "namespace": self.id});
        let version = "kustomize.toolkit.fluxcd.io/v1";
        let object = json!({"apiVersion": version, "kind": "Kustomization", "metadata": metadata, "spec": spec});
        self.bench.apply(&object.to_string());
        name
    }

    /// The folder's only object is `<kind>-<new>` at this revision, and `<kind>-<old>` is gone.
    async fn has_applied(&self, kind: &str, revision: &str, (new, old): (&str, &str), origin: Option<&str>) {
        let name = kind.to_lowercase();
        let at = |found: Option<&str>| found == Some(revision);
        let applied = self.verdict_of(&name, |status| at(status.last_applied_revision.as_deref())).await;
        applied.is_ready();
        assert_eq!(applied.message, format!("Applied revision: {revision}"));
        let status = &applied.status;
        assert!(at(status.last_attempted_revision.as_deref()), "{status:?}");
        assert_eq!(status.last_applied_origin_revision.as_deref(), origin, "{kind}");
        assert_eq!(status.history[0].metadata.get("revision").map(String::as_str), Some(revision), "{kind}");
        assert_eq!(applied.inventory(), [format!("{}_{name}-{new}__ConfigMap", self.id)]);
        assert_eq!(self.value(&format!("{name}-{new}")).await.as_deref(), Some("1"), "{kind}");
        assert_eq!(self.value(&format!("{name}-{old}")).await, None, "{kind}");
    }

    fn manifest(&self, kind: &str, which: &str) -> String {
        config_map(&self.id, &format!("{}-{which}", kind.to_lowercase()), "1")
    }

    /// Says of the `ExternalArtifact` what another controller would.
    fn publish(&self, server: &ChartServer, revision: &str, archive: &[u8]) {
        let file = format!("{}.tar.gz", sha256(archive));
        server.replace(&file, archive);
        let artifact = json!({
            "path": format!("external/{file}"), "url": format!("{}/{file}", server.url()), "revision": revision,
            "digest": format!("sha256:{}", sha256(archive)), "lastUpdateTime": "2026-01-01T00:00:00Z",
            "size": archive.len(), "metadata": {"org.opencontainers.image.revision": format!("of {revision}")},
        });
        let patch = json!({"status": {"artifact": artifact}}).to_string();
        let args = ["-n", &self.id, "patch", "externalartifact", "other", "--subresource=status", "--type=merge", "-p"];
        self.bench.kubectl(&[&args[..], &[&patch]].concat());
    }
}

#[tokio::test]
async fn registries_buckets_and_other_controllers_artifacts_are_followed() {
    let world = World::new("sources", &[("README.md", Some("x"))]).await;
    let folder = |kind: &str, which: &str| tarball(&[("deploy/map.yaml", &world.manifest(kind, which))]);
    let (registry, store, server) = (OciRegistry::start().await, S3Server::start(), ChartServer::start());
    for kind in ["OCIRepository", "Bucket", "ExternalArtifact"] {
        let name = world.follow_kind(kind);
        let words = format!("Source '{kind}/{}/other' not found", world.id);
        let waiting = world.verdict_saying(&name, &words).await;
        assert_eq!((waiting.ready.as_str(), waiting.reason.as_str()), ("False", "ArtifactFailed"));
    }
    let kind = "OCIRepository";
    let origin = [("org.opencontainers.image.revision", "main@sha1:0123")];
    let first = registry.push("app", "latest", &[(LAYER, folder(kind, "one"))], &origin).await;
    world.put(kind, &json!({"url": registry.url("app"), "interval": "1s", "insecure": true}));
    world.has_applied(kind, &format!("latest@{first}"), ("one", "two"), Some("main@sha1:0123")).await;
    let second = registry.push("app", "latest", &[(LAYER, folder(kind, "two"))], &[]).await;
    world.has_applied(kind, &format!("latest@{second}"), ("two", "one"), None).await;
    // Pinned by its digest, a revision has no tag.
    let pinned = json!({"url": registry.url("app"), "interval": "1s", "insecure": true, "ref": {"digest": first}});
    world.put(kind, &pinned);
    world.has_applied(kind, &first, ("one", "two"), Some("main@sha1:0123")).await;

    let kind = "Bucket";
    let source =
        json!({"endpoint": store.endpoint(), "bucketName": store.bucket(), "insecure": true, "interval": "1s"});
    for (new, old) in [("one", "two"), ("two", "one")] {
        store.put("deploy/map.yaml", world.manifest(kind, new));
        world.put(kind, &source);
        let name = format!("bucket-{new}");
        world
            .verdict_of("bucket", |status| {
                status.inventory.iter().flat_map(|all| &all.entries).any(|entry| entry.id.contains(&name))
            })
            .await
            .is_ready();
        let live = world.live("source.toolkit.fluxcd.io/v1", kind, &world.id, "other").await.expect("a bucket");
        let revision = live.data["status"]["artifact"]["revision"].as_str().expect("a revision").to_owned();
        assert!(revision.starts_with("sha256:") && revision.len() == 71, "{revision}");
        world.has_applied(kind, &revision, (new, old), None).await;
    }

    let kind = "ExternalArtifact";
    world.put(kind, &json!({}));
    let waiting = world.verdict_saying("externalartifact", "has no artifact yet").await;
    assert_eq!(waiting.reason, "ArtifactFailed");
    for (revision, new, old) in [("v1", "one", "two"), ("v2@sha256:0123", "two", "one")] {
        world.publish(&server, revision, &folder(kind, new));
        world.has_applied(kind, revision, (new, old), Some(&format!("of {revision}"))).await;
    }
}
