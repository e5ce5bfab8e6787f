//! `spec.postBuild`: variables in manifests.

use fairlead_testbench::wait_for;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::world::{PATIENCE, World};

const MAP: &str = "production/map.yaml";

/// A `ConfigMap` with these lines of data.
fn map(world: &World, name: &str, data: &[&str]) -> String {
    let id = &world.id;
    let data = data.join("\n  ");
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: {id}\ndata:\n  {data}\n")
}

/// Puts a `ConfigMap` or `Secret` with one entry into the namespace of the Kustomization.
fn put(world: &World, kind: &str, name: &str, key: &str, value: &str) {
    let field = if kind == "Secret" { "stringData" } else { "data" };
    world.bench.apply(&format!(
        "apiVersion: v1\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: {}\n{field}:\n  {key}: {}\n",
        world.id,
        json!(value),
    ));
}

async fn data(world: &World, name: &str) -> Value {
    let found = world.live("v1", "ConfigMap", &world.id, name).await;
    found.map(|found| found.data["data"].clone()).unwrap_or_default()
}

async fn until(world: &World, name: &str, expected: Value) {
    wait_for(&format!("{name} to be {expected}"), PATIENCE, || async {
        let found = data(world, name).await;
        if found == expected { Ok(()) } else { Err(format!("{found}\n{}", world.operator.log())) }
    })
    .await;
}

#[tokio::test]
async fn variables_are_filled_in_and_their_changes_followed() {
    let world = World::new("vars", &[("README.md", Some("x"))]).await;
    let file = map(
        &world,
        "plain",
        &[
            "region: ${region:=eu}-${size^^}",
            "port: ${port}",
            "token: x${token:0:3}x",
            "literal: $${region}",
            "script: |\n    echo $HOME ${missing:-}.\n    echo ${size/s/l}",
        ],
    );
    let kept = map(&world, "kept", &["x: ${region}"])
        .replace("metadata:\n", "metadata:\n  labels: {kustomize.toolkit.fluxcd.io/substitute: disabled}\n");
    let noted = map(&world, "noted", &["x: ${region}"])
        .replace("metadata:\n", "metadata:\n  annotations: {kustomize.toolkit.fluxcd.io/substitute: disabled}\n");
    let built = map(&world, "built", &["x: ${region}"]);
    world.releases.commit(
        "Variables",
        &[
            (MAP, Some(&format!("{file}---\n{kept}---\n{noted}"))),
            ("production/over/kustomization.yaml", Some("resources: [built.yaml]\nnameSuffix: -${port}\n")),
            ("production/over/built.yaml", Some(&built)),
        ],
    );
    put(&world, "Secret", "token", "token", "hunter2-and-more");
    world.follow(&[
        "path: ./production",
        "prune: true",
        "postBuild:",
        "  substitute: {port: '8080', size: small}",
        "  substituteFrom:",
        "  - {kind: ConfigMap, name: cluster}",
        "  - {kind: Secret, name: token}",
        "  - {kind: ConfigMap, name: more, optional: true}",
    ]);

    // Without the ConfigMap nothing is applied; it is waited for, and its appearance wakes.
    let waiting = world.verdict().await;
    waiting.complains(&["spec.postBuild.substituteFrom[0]: ConfigMap ", "/cluster does not exist; waiting for it"]);
    assert_eq!(waiting.reason, "BuildFailed");
    put(&world, "ConfigMap", "cluster", "region", "us-1\n");
    let ready = world.verdict_of("apps", |status| status.last_applied_revision.is_some()).await;
    ready.is_ready();
    let expected = |region: &str| {
        json!({
            "region": format!("{region}-SMALL"), "port": "8080", "token": "xhunx", "literal": "${region}",
            "script": "echo $HOME .\necho lmall\n",
        })
    };
    assert_eq!(data(&world, "plain").await, expected("us-1"));
    for left_alone in ["kept", "noted"] {
        assert_eq!(data(&world, left_alone).await, json!({"x": "${region}"}));
    }
    assert_eq!(data(&world, "built-8080").await, json!({"x": "us-1"}));

    // An optional reference that appears wins over the earlier one, without any new commit.
    put(&world, "ConfigMap", "more", "region", "us-2");
    until(&world, "plain", expected("us-2")).await;
    put(&world, "ConfigMap", "more", "region", "us-3");
    until(&world, "plain", expected("us-3")).await;
    assert_eq!(data(&world, "kept").await, json!({"x": "${region}"}));

    // A mistake in one object is named with its line, and stops no other.
    let broken = map(&world, "plain", &["region: \"${region\"", "x: y"]);
    let other = map(&world, "other", &["x: ${region}"]);
    let verdict = world.push(&[(MAP, Some(&broken)), ("production/other.yaml", Some(&other))]).await;
    verdict.complains(&["production/map.yaml:7: ConfigMap/", "the expression `${region` has no closing brace"]);
    assert_eq!(verdict.reason, "BuildFailed");
    assert_eq!(data(&world, "other").await, json!({"x": "us-3"}));
    assert_eq!(data(&world, "kept").await, json!({"x": "${region}"}), "nothing is pruned meanwhile");
    world.push(&[(MAP, Some(&file))]).await.is_ready();
    assert_eq!(data(&world, "kept").await, Value::Null);

    // What the API server says of a value that came from a Secret does not show.
    let refused = format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  namespace: {}\nspec:\n  type: ${{token}}\n  ports: [{{port: 80}}]\n",
        world.id
    );
    let verdict = world.push(&[("production/web.yaml", Some(&refused))]).await;
    verdict.complains(&["production/web.yaml:7: Service/", "spec.type"]);
    assert!(!verdict.message.contains("hunter2"), "{}", verdict.message);
    assert!(!world.operator.log().contains("hunter2"));
    world.push(&[("production/web.yaml", None)]).await.is_ready();

    // A key that is no variable's name is refused; nothing changes.
    put(&world, "ConfigMap", "more", "values.yaml", "x");
    let verdict = world.verdict_saying("apps", "values.yaml").await;
    verdict.complains(&["/more: `values.yaml` is no name of a variable"]);
    let drop = Patch::Merge(
        json!({"spec": {"postBuild": {"substituteFrom": [], "substitute": null, "substituteStrategy": "Always"}}}),
    );
    world.kustomizations().patch("apps", &PatchParams::default(), &drop).await.unwrap();
    let verdict = world.verdict_saying("apps", "is not set").await;
    verdict.complains(&["production/other.yaml:7: ConfigMap/", "the variable `region` is not set and has no default"]);
    assert_eq!(verdict.reason, "BuildFailed");
    assert_eq!(data(&world, "other").await, json!({"x": "us-3"}), "what is applied stays");
}
