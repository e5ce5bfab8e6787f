//! A release whose record no Secret can hold is told so, with the parts that are to blame.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fairlead_testbench::Helm;
use serde_json::json;

use crate::world::{World, is, message, reason};

/// Text that hardly can be compressed, the same each time.
fn noise(length: usize) -> String {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    STANDARD.encode(std::iter::repeat_with(next).take(length).collect::<Vec<u8>>())
}

fn publish(world: &World, name: &str, version: &str, files: &[(&str, &str)]) {
    let chart = tempfile::tempdir().expect("a folder");
    let metadata = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
    for (path, text) in [("Chart.yaml", metadata.as_str())].iter().chain(files) {
        let path = chart.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    world.charts.publish(chart.path(), version);
}

const SMALL: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n";

async fn is_foreseen_or_explained(helm: Helm, prefix: &str) {
    let world = World::new(prefix).await;
    let operator = world.started(helm).await;
    let dump = noise(900 << 10);
    publish(&world, "dumped", "1.0.0", &[("files/dump.txt", &dump), ("templates/all.yaml", SMALL)]);
    world.apply(&world.chart_release("dumped", "dumped", &json!({})));
    let object = world.says("dumped", "Ready", "False", "helm's record of the release needs at least").await;
    let said = message(&object, "Ready");
    assert!(said.contains("The largest parts are files/dump.txt (") && said.contains(".helmignore"), "{said}");
    assert_eq!(reason(&object, "Ready"), "InstallFailed");
    assert!(is(&object, "Stalled", "True") && !is(&object, "Reconciling", "True"), "{object}");
    assert!(world.history("dumped").is_empty());
    publish(&world, "dumped", "1.1.0", &[("templates/all.yaml", SMALL)]);
    world.until("dumped", "heals", |object| is(object, "Ready", "True")).await;

    let one = |name: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  text: {{{{ randAlphaNum 700000 }}}}\n"
        )
    };
    let both = format!("{}---\n{}", one("one"), one("two"));
    publish(&world, "rendered", "1.0.0", &[("templates/all.yaml", &both)]);
    world.apply(&world.chart_release("rendered", "rendered", &json!({})));
    let object = world.says("rendered", "Ready", "False", "what the templates render comes on top").await;
    assert!(message(&object, "Ready").contains("templates/all.yaml (") && is(&object, "Stalled", "True"), "{object}");
    assert!(!operator.log().contains(&dump[..64]), "contents show in the log");
}

#[tokio::test]
async fn a_record_that_no_secret_can_hold_is_foreseen_or_explained_with_helm_3() {
    is_foreseen_or_explained(Helm::V3, "large3").await;
}

#[tokio::test]
async fn a_record_that_no_secret_can_hold_is_foreseen_or_explained_with_helm_4() {
    is_foreseen_or_explained(Helm::V4, "large4").await;
}
