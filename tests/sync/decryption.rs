//! `spec.decryption`: what sops encrypted reaches the cluster in plain, and nothing else.

use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use fairlead_testbench::tools::tool;
use fairlead_testbench::wait_for;
use serde_json::{Value, json};

use crate::world::{PATIENCE, World};

/// A folder in which files are encrypted for one key.
struct Safe {
    folder: tempfile::TempDir,
    recipient: String,
    key: String,
}

impl Safe {
    fn new() -> Self {
        let output = Command::new(tool("age-keygen")).output().expect("age-keygen runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let (key, said) = (text(output.stdout), text(output.stderr));
        let recipient = said.trim().trim_start_matches("Public key: ").to_owned();
        Self { folder: tempfile::tempdir().expect("a directory"), recipient, key }
    }

    /// Encrypts a text as a file of that name, with more arguments for sops.
    fn encrypt(&self, name: &str, text: &str, args: &[&str]) -> String {
        let path: PathBuf = self.folder.path().join(name);
        std::fs::write(&path, text).expect("writes");
        let mut command = Command::new(tool("sops"));
        command.current_dir(self.folder.path()).args(["encrypt", "--age", &self.recipient]).args(args).arg(&path);
        let output = command.output().expect("sops runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let encrypted = String::from_utf8(output.stdout).expect("text");
        assert!(!encrypted.contains("hunter"), "{encrypted}");
        encrypted
    }

    fn manifest(&self, name: &str, more: &str) -> String {
        let text = format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n{more}");
        self.encrypt("manifest.yaml", &text, &["--encrypted-regex", "^(data|stringData)$"])
    }
}

/// Puts a Secret with one entry beside the Kustomization.
fn put_key(world: &World, entry: &str, content: &str) {
    world.bench.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: keys\n  namespace: {}\nstringData:\n  {entry}: {}\n",
        world.id,
        json!(content),
    ));
}

async fn secret(world: &World, name: &str) -> Value {
    let found = world.live("v1", "Secret", &world.id, name).await;
    let data = found.and_then(|found| found.data["data"].as_object().cloned()).unwrap_or_default();
    let decode = |value: &Value| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str().expect("text")).expect("base64");
        String::from_utf8(bytes).expect("text")
    };
    data.iter().map(|(key, value)| (key.clone(), decode(value).into())).collect::<serde_json::Map<_, _>>().into()
}

/// What is secret shows nowhere, and nothing of it is left in files.
fn shows_nothing(world: &World, message: &str) {
    for text in [message, &world.operator.log()] {
        assert!(!text.contains("hunter") && !text.contains("AGE-SECRET-KEY"), "{text}");
    }
    let builds = world.operator.data_dir().join("builds");
    assert_eq!(builds.read_dir().expect("the place for builds").count(), 0);
}

#[tokio::test]
async fn what_is_encrypted_is_applied_in_plain() {
    let (world, safe, other) = (World::new("sops", &[("README.md", Some("x"))]).await, Safe::new(), Safe::new());
    let plain = safe.manifest("plain", "stringData:\n  password: hunter2-plain ${missing}\n");
    let kustomization = "resources: [built.yaml, patched.yaml]\npatches: [{path: patch.yaml}]\nsecretGenerator:\n- name: files\n  files: \
                         [token=token.enc, config.json=config.enc]\n  options: {disableNameSuffixHash: true}\n- name: envs\n  \
                         envs: [env.enc]\n  options: {disableNameSuffixHash: true}\n";
    let patch = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: patched\nstringData:\n  more: hunter2-patch\n";
    let patched = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: patched\n";
    let files = [
        ("production/plain.yaml", plain.clone()),
        (
            "production/map.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: map\ndata: {x: \"1\"}\n".to_owned(),
        ),
        ("production/over/kustomization.yaml", kustomization.to_owned()),
        ("production/over/built.yaml", safe.manifest("built", "data:\n  password: aHVudGVyMi1idWlsdA==\n")),
        ("production/over/patched.yaml", patched.to_owned()),
        ("production/over/patch.yaml", safe.encrypt("patch.yaml", patch, &[])),
        ("production/over/token.enc", safe.encrypt("token.txt", "hunter2-token", &[])),
        ("production/over/config.enc", safe.encrypt("config.json", "{\"x\": \"hunter2-json\"}", &[])),
        ("production/over/env.enc", safe.encrypt("a.env", "TOKEN=hunter2-env\n", &[])),
    ];
    let commit: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    world.releases.commit("Everything", &commit);
    let target = format!("targetNamespace: {}", world.id);
    let decryption = "decryption: {provider: sops, secretRef: {name: keys}}";
    world.follow(&["path: ./production", "prune: true", &target, decryption]);

    // Without the key nothing is applied; with the wrong one, what is plain is.
    let waiting = world.verdict().await;
    waiting.complains(&["spec.decryption.secretRef: Secret ", "/keys does not exist; waiting for it"]);
    put_key(&world, "a.agekey", &other.key);
    let wrong = world.verdict_saying("apps", "decrypted").await;
    wrong.complains(&[
        "production/plain.yaml:1: Secret/plain: cannot be decrypted: no key fits",
        &safe.recipient,
        "(add a key to the Secret of spec.decryption.secretRef",
    ]);
    assert_eq!(wrong.reason, "BuildFailed");
    assert!(world.live("v1", "ConfigMap", &world.id, "map").await.is_some());
    assert_eq!(secret(&world, "plain").await, json!({}));
    shows_nothing(&world, &wrong.message);

    // The right one wakes the Kustomization.
    put_key(&world, "a.agekey", &format!("{}\n{}", other.key, safe.key));
    world.verdict_of("apps", |status| status.last_applied_revision.is_some()).await.is_ready();
    assert_eq!(secret(&world, "plain").await, json!({"password": "hunter2-plain ${missing}"}));
    assert_eq!(secret(&world, "built").await, json!({"password": "hunter2-built"}));
    assert_eq!(secret(&world, "patched").await, json!({"more": "hunter2-patch"}));
    let files = secret(&world, "files").await;
    assert_eq!(files["token"], "hunter2-token");
    assert_eq!(files["config.json"].as_str().map(|text| text.contains("hunter2-json")), Some(true));
    assert_eq!(secret(&world, "envs").await, json!({"TOKEN": "hunter2-env"}));
    let live = world.live("v1", "Secret", &world.id, "plain").await.expect("it is there");
    assert!(live.data.get("sops").is_none());
    shows_nothing(&world, "");

    // One that is encrypted for somebody else is named, and stops no other; nothing is pruned.
    let strange = other.manifest("plain", "stringData:\n  password: hunter3\n");
    put_key(&world, "a.agekey", &safe.key);
    let verdict = world.push(&[("production/plain.yaml", Some(&strange)), ("production/map.yaml", None)]).await;
    verdict.complains(&["production/plain.yaml:1: Secret/", "plain: cannot be decrypted", &other.recipient]);
    assert_eq!(secret(&world, "plain").await, json!({"password": "hunter2-plain ${missing}"}));
    assert!(world.live("v1", "ConfigMap", &world.id, "map").await.is_some());

    // A broken build of decrypted files does not show them.
    let bad = safe.encrypt("patch.yaml", &patch.replace("name: patched", "name: nowhere"), &[]);
    let over = ("production/over/patch.yaml", Some(bad.as_str()));
    let verdict = world.push(&[("production/plain.yaml", Some(&plain)), over]).await;
    verdict.complains(&["production/over/kustomization.yaml: kustomize build failed"]);
    shows_nothing(&world, &verdict.message);

    // What is encrypted is not applied as it is: no Secret, and nothing else that sops' own field does not fit.
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ciphered\ndata:\n  x: hunter2-map\n";
    let map = safe.encrypt("manifest.yaml", map, &["--encrypted-regex", "^data$"]);
    let noted = map.lines().position(|one| one == "sops:").expect("what sops notes") + 1;
    let stays = "metadata:\n    annotations: {kustomize.toolkit.fluxcd.io/decrypt: disabled}\n";
    let stays = plain.replacen("metadata:\n", stays, 1).replace("name: plain", "name: stays");
    let beside = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: beside, namespace: {}}}\n", world.id);
    let files = [
        ("without/map.yaml", Some(map.as_str())),
        ("without/secret.yaml", Some(&plain)),
        ("without/stays.yaml", Some(&stays)),
        ("without/beside.yaml", Some(&beside)),
    ];
    world.releases.commit("Encrypted", &files);
    world.follow_as("without", &["path: ./without", "prune: true", &target]);
    let verdict = world.verdict_saying("without", "1 of 4 objects applied").await;
    verdict.complains(&[
        "Secret/plain: the Secret is encrypted by sops",
        "(set spec.decryption)",
        &format!("without/map.yaml:{noted}: ConfigMap/{}/ciphered: the object is encrypted by sops", world.id),
        "(set spec.decryption of the Kustomization, and no annotation",
        &format!("Secret/{}/stays: the object is encrypted", world.id),
    ]);
    for (kind, name) in [("ConfigMap", "ciphered"), ("Secret", "stays")] {
        assert!(world.live("v1", kind, &world.id, name).await.is_none(), "{kind} {name}");
    }
}

#[tokio::test]
async fn a_pgp_key_needs_no_gpg() {
    let world = World::new("pgp", &[("production/a.yaml", Some(include_str!("../fixtures/sops/pgp.yaml")))]).await;
    put_key(&world, "test.asc", include_str!("../fixtures/sops/pgp.asc"));
    let target = format!("targetNamespace: {}", world.id);
    let decryption = "decryption: {provider: sops, secretRef: {name: keys}}";
    world.follow(&["path: ./production", "prune: true", &target, decryption]);
    world.verdict().await.is_ready();
    assert_eq!(secret(&world, "by-pgp").await, json!({"password": "hunter2-by-pgp"}));

    let account = "decryption: {provider: sops, serviceAccountName: sops}";
    world.follow_as("cloud", &["path: ./production", "prune: true", &target, account]);
    world.verdict_of("cloud", |_| true).await.complains(&["nothing is applied", "spec.decryption.serviceAccountName"]);
    wait_for("nothing to be left", PATIENCE, || async {
        let left = world.operator.data_dir().join("builds").read_dir().expect("the place for builds").count();
        if left == 0 { Ok(()) } else { Err(left.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn without_sops_it_is_said_how_to_get_it() {
    let safe = Safe::new();
    let encrypted = safe.manifest("plain", "stringData:\n  password: hunter2-plain\n");
    let files = [("production/plain.yaml", Some(encrypted.as_str()))];
    let world = World::with_args("nosops", &files, &["--sops", "/nowhere/sops"]).await;
    put_key(&world, "a.agekey", &safe.key);
    let decryption = "decryption: {provider: sops, secretRef: {name: keys}}";
    world.follow(&["path: ./production", "prune: true", &format!("targetNamespace: {}", world.id), decryption]);
    let verdict = world.verdict_saying("apps", "decrypted").await;
    verdict.complains(&["production/plain.yaml", "cannot start /nowhere/sops: ", "install it or name its path"]);
    assert!(!format!("{:?}", verdict.status).contains("encrypt it anew"));
    shows_nothing(&world, "");
}
