//! Sudden deaths and broken lines in a row, by chance but each time the same: never do two act on one release.

use std::time::{Duration, Instant};

use fairlead_testbench::{FaultProxy, Line, Operator};
use serde_json::Value;

use crate::scene::Scene;

/// How long trouble is made.
const LENGTH: Duration = Duration::from_secs(25);

/// Numbers by chance, the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

struct Side {
    operator: Operator,
    line: FaultProxy,
}

impl Side {
    /// Trouble that comes and goes, as long as it takes.
    async fn suffer(&mut self, chance: &mut Chance) {
        match chance.below(4) {
            0 | 1 => self.operator.respawn(),
            2 => {
                self.line.behave(Line::Cut);
                tokio::time::sleep(Duration::from_millis(500 + chance.below(4000))).await;
            }
            _ => {
                self.line.behave(Line::Hangs);
                tokio::time::sleep(Duration::from_secs(4 + chance.below(10))).await;
            }
        }
        self.line.behave(Line::Works);
        self.recover();
    }

    /// What a kubelet does.
    fn recover(&mut self) {
        if self.operator.ended().is_some() {
            self.operator.respawn();
        }
    }
}

/// The messages of the release's revisions, by helm's storage.
fn messages(scene: &Scene) -> Vec<u64> {
    let world = &scene.world;
    let revisions = world.history("ui").into_iter().map(|(version, _)| version.to_string());
    let message = |revision: String| {
        let args = ["get", "values", "ui", "--revision", &revision, "--namespace", &world.namespace, "--output=json"];
        let values: Value =
            serde_json::from_str(&world.bench.helm(fairlead_testbench::Helm::V4, &args)).expect("helm prints JSON");
        values["message"].as_str().expect("a text").parse().expect("a number")
    };
    revisions.map(message).collect()
}

#[tokio::test]
async fn in_a_storm_of_trouble_two_never_act_at_the_same_time() {
    let scene = Scene::new("storm").await;
    let world = &scene.world;
    let helm = scene.watched_helm();
    let mut chance = Chance(0x5eed_cafe);
    let mut sides = Vec::new();
    for _ in 0..2 {
        let line = FaultProxy::to(world.bench.server().trim_start_matches("https://"));
        let kubeconfig = world.bench.kubeconfig_via(&line);
        sides.push(Side { operator: scene.candidate().kubeconfig(&kubeconfig).helm_binary(&helm).spawn(), line });
    }
    let begun = Instant::now();
    let mut round = 0;
    while begun.elapsed() < LENGTH {
        round += 1;
        world.apply(&scene.slow(&round.to_string(), ["0s", "500ms", "2s"][usize::try_from(chance.below(3)).unwrap()]));
        tokio::time::sleep(Duration::from_millis(chance.below(3000))).await;
        let side = usize::try_from(chance.below(2)).unwrap();
        sides[side].suffer(&mut chance).await;
        sides[1 - side].recover();
    }
    for side in &mut sides {
        side.recover();
    }
    let wanted = round.to_string();
    world
        .until("ui", "is ready with the last change", |object| {
            crate::world::is(object, "Ready", "True")
                && object["status"]["observedGeneration"] == object["metadata"]["generation"]
                && object["spec"]["values"]["message"] == *wanted
        })
        .await;
    let notes = scene.notes();
    assert!(notes.iter().any(|note| note.starts_with("begin")), "helm was run");
    assert!(!notes.iter().any(|note| note.starts_with("overlap")), "{notes:?}");
    let messages = messages(&scene);
    assert!(messages.is_sorted_by(|one, next| one < next), "no change is released twice, or undone: {messages:?}");
    assert_eq!(messages.last(), Some(&round));
}
