//! Log lines: what their keys are, and that there are none when nothing happens.

use std::collections::BTreeSet;

use fairlead_testbench::wait_for;
use serde_json::{Value, json};

use crate::world::{PATIENCE, World, value};

/// All keys that `docs/observability.md` tells of.
fn documented() -> BTreeSet<String> {
    let path = fairlead_testbench::tools::workspace().join("docs/observability.md");
    let text = std::fs::read_to_string(path).expect("the page is in the repository");
    let table = text.split("## Logs").nth(1).expect("a part about logs");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('|'));
    rows.flat_map(|(keys, _)| keys.split('`').map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Waits until the controllers have passed three more times over objects of each kind.
async fn three_more_passes(world: &World) {
    let kinds = ["GitRepository", "HelmChart", "HelmRelease", "HelmRepository", "Kustomization"];
    let count = |metrics: &str, kind: &str| {
        let series = format!("gotk_reconcile_duration_seconds_count{{kind=\"{kind}\"}}");
        value(metrics, &[&series]).unwrap_or_default()
    };
    let before = world.operator.get("/metrics").await;
    wait_for("three more passes of each controller", PATIENCE, || async {
        let now = world.operator.get("/metrics").await;
        let lazy: Vec<_> = kinds.iter().filter(|kind| count(&now, kind) < count(&before, kind) + 3.0).collect();
        if lazy.is_empty() { Ok(()) } else { Err(format!("{lazy:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_pass_that_finds_nothing_to_do_writes_no_line() {
    let world = World::new("quiet", &json!({})).await;
    world.ready("True").await;
    three_more_passes(&world).await;
    let before = world.operator.log();
    three_more_passes(&world).await;
    let after = world.operator.log();
    assert_eq!(&after[before.len()..], "", "lines without news");

    let lines = world.operator.log_lines();
    assert_eq!(lines.len(), after.lines().count(), "each line is JSON:\n{after}");
    let known = documented();
    for line in &lines {
        let fields = line.as_object().expect("an object");
        for key in ["timestamp", "level", "message", "target"] {
            assert!(fields.get(key).is_some_and(Value::is_string), "{key}: {line}");
        }
        let unknown: Vec<_> = fields.keys().filter(|key| !known.contains(*key)).collect();
        assert!(unknown.is_empty(), "{unknown:?} are not in docs/observability.md: {line}");
        let named = ["kind", "namespace", "name"].map(|key| fields.get(key).is_some_and(Value::is_string));
        assert!(!named[2] || named.iter().all(|named| *named), "an object is named in full: {line}");
    }
    let tells =
        |reason: &str| lines.iter().any(|line| line["reason"] == reason && line["namespace"] == world.namespace);
    for reason in ["NewArtifact", "ReconciliationSucceeded", "InstallSucceeded"] {
        assert!(tells(reason), "no line with {reason}:\n{after}");
    }
}
