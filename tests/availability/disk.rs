//! A data directory that cannot be written to, at the start and in the middle of work, on a real disk.

use std::path::PathBuf;
use std::time::Duration;

use fairlead_testbench::{Operator, OperatorBuilder, wait_for};
use serde_json::json;

use crate::scene::{Scene, ready_says, said_at, says};
use crate::start_checks::put;
use crate::world::PATIENCE;

/// MiB; the filler is larger.
const SIZE: &str = "24";

/// The disk that an operator works on.
struct Disk {
    orders: PathBuf,
}

impl Disk {
    /// An operator on a disk that is good, unless it is like this from the first moment on.
    fn under(scene: &Scene, first: Option<&str>) -> (Self, OperatorBuilder) {
        let (orders, script) = (scene.folder.path().to_owned(), scene.folder.path().join("on-a-disk"));
        let text = include_str!("../fixtures/on-a-disk.sh")
            .replace("@orders@", &orders.display().to_string())
            .replace("@size@", SIZE)
            .replace("@fairlead@", env!("CARGO_BIN_EXE_fairlead"));
        put(&script, &text);
        if let Some(first) = first {
            std::fs::write(orders.join("order"), format!("{first}\n")).expect("write an order");
        }
        let operator = Operator::builder(&script, scene.world.bench).watch_namespace(&scene.world.namespace);
        (Self { orders }, operator)
    }

    /// Waits until the disk is like this.
    async fn becomes(&self, order: &str) {
        let partial = self.orders.join("partial");
        std::fs::write(&partial, format!("{order}\n")).expect("write an order");
        std::fs::rename(&partial, self.orders.join("order")).expect("give an order");
        wait_for(&format!("the disk to be {order}"), Duration::from_secs(20), || async {
            let done = std::fs::read_to_string(self.orders.join("done")).unwrap_or_default();
            if done.trim() == order { Ok(()) } else { Err(done) }
        })
        .await;
    }
}

/// What a disk does, and how the operating system calls it.
const TROUBLES: [(&str, &str, &str); 2] =
    [("full", "room", "No space left on device"), ("read-only", "writable", "Read-only file system")];

async fn waits_at_the_start((bad, good, words): (&str, &str, &str)) {
    let scene = Scene::new(&format!("start-{bad}")).await;
    let (disk, operator) = Disk::under(&scene, Some(bad));
    let mut operator = operator.spawn();
    let remedy = "free some space, or give it a volume that can be written";
    ready_says(&operator, 503, &["--data-dir: ", words, remedy]).await;
    let first = operator.log_lines().into_iter().next().expect("a line");
    assert!(first["part"] == "--data-dir" && first["why"].as_str().is_some_and(|why| why.contains(words)), "{first}");
    disk.becomes(good).await;
    operator.wait_until_ready().await;
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_to_is_named_and_waited_for() {
    let [full, read_only] = TROUBLES;
    tokio::join!(waits_at_the_start(full), waits_at_the_start(read_only));
}

async fn heals_in_the_middle_of_work((bad, good, words): (&str, &str, &str)) {
    let scene = Scene::new(&format!("work-{bad}")).await;
    let world = &scene.world;
    let (disk, operator) = Disk::under(&scene, None);
    let operator = operator.start().await;
    world.apply(&scene.slow("one", "100ms"));
    world.apply(&world.release("quiet", &json!({"values": {"replicas": 0}})));
    world.ready("ui", 1).await;
    world.ready("quiet", 1).await;
    // One helm is under way when it happens, one begins afterwards, and one chart has to be fetched.
    world.apply(&scene.slow("two", "3s"));
    scene.revision_is(2, "pending-upgrade").await;
    disk.becomes(bad).await;
    world.apply(&world.release("quiet", &json!({"values": {"replicas": 0, "port": 6002}})));
    world.apply(&world.release("later", &json!({"values": {"replicas": 0}, "chart": {"spec": {
        "chart": "slow", "version": "*", "interval": "1s", "sourceRef": {"kind": "HelmRepository", "name": "charts"},
    }}})));
    ready_says(&operator, 200, &["ok: --data-dir ", words, "free some space"]).await;
    assert!(said_at(&operator, "what needs the disk waits").is_some());
    wait_for("the release to say why it waits", PATIENCE, || async {
        let events = world.events("quiet");
        if events.iter().any(|(_, said)| said.contains(words)) { Ok(()) } else { Err(format!("{events:?}")) }
    })
    .await;
    assert_eq!(operator.try_get("/healthz").await, Ok((200, "ok\n".to_owned())));
    disk.becomes(good).await;
    says(&operator, "is in order now", PATIENCE).await;
    ready_says(&operator, 200, &["ok\n"]).await;
    world.ready("quiet", 2).await;
    world.ready("later", 1).await;
    world.ready("ui", 2).await;
    let whole = |name: &str| (name.to_owned(), world.history(name));
    let two = || vec![(1, "superseded".to_owned()), (2, "deployed".to_owned())];
    assert_eq!([whole("ui"), whole("quiet")], [("ui".to_owned(), two()), ("quiet".to_owned(), two())]);
    assert_eq!(world.history("later"), [(1, "deployed".to_owned())]);
}

/// Both at once: most of the time is spent waiting.
#[tokio::test]
async fn a_disk_that_cannot_be_written_to_any_more_holds_up_what_needs_it_and_no_more() {
    let [full, read_only] = TROUBLES;
    tokio::join!(heals_in_the_middle_of_work(full), heals_in_the_middle_of_work(read_only));
}
