//! Releases that wait for each other, by readiness or by an expression.

use fairlead_testbench::Helm;
use serde_json::json;

use crate::world::{World, message, reason};

#[tokio::test]
async fn an_expression_decides_when_a_dependency_counts_as_ready() {
    let world = World::new("expr").await;
    let _operator = world.started(Helm::V4).await;
    let namespace = &world.namespace;
    world.apply(&world.release("back", &json!({"values": {"port": 3001}})));
    world.ready("back", 1).await;
    let lockstep = "dep.spec.values.port == self.spec.values.port && \
        dep.status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True') && \
        dep.metadata.generation == dep.status.observedGeneration";
    let front = json!({"values": {"port": 3002}, "dependsOn": [{"name": "back", "readyExpr": lockstep}]});
    world.apply(&world.release("front", &front));
    let words = format!("dependency '{namespace}/back' is not ready according to readyExpr eval");
    let object = world.says("front", "Ready", "False", &words).await;
    assert_eq!(reason(&object, "Ready"), "DependencyNotReady");
    assert!(world.history("front").is_empty());
    // Nothing but the change of the dependency wakes it: its own interval is ten minutes.
    world.apply(&world.release("back", &json!({"values": {"port": 3002}})));
    world.ready("front", 1).await;
    assert_eq!(world.history("back").len(), 2);
}

#[tokio::test]
async fn a_bad_expression_stalls_and_names_its_place() {
    let world = World::new("badexpr").await;
    let _operator = world.started(Helm::V4).await;
    let with = |expression: &str| {
        world.release(
            "ui",
            &json!({"dependsOn": [{"name": "ui", "readyExpr": "true"}, {"name": "ui", "readyExpr": expression}]}),
        )
    };
    world.apply(&with("dep.status. == 'x'"));
    let object = world.says("ui", "Stalled", "True", "spec.dependsOn[1].readyExpr: column 13").await;
    assert_eq!(
        (reason(&object, "Stalled"), reason(&object, "Ready")),
        ("InvalidCELExpression", "InvalidCELExpression")
    );
    assert!(message(&object, "Ready").starts_with("Reconciliation failed terminally due to configuration error"));
    world
        .until("ui", "counts as observed", |object| {
            object["status"]["observedGeneration"] == object["metadata"]["generation"]
        })
        .await;
    assert!(world.events("ui").iter().any(|(reason, _)| reason == "InvalidCELExpression"));
    world.apply(&with("dep.metadata.name == 'ui'"));
    world.ready("ui", 1).await;
}
