//! Everything that was live in real folders, as one history of commits. None is mended before the
//! next one comes, and after each the healthy apps are at the newest commit.

use fairlead_testbench::wait_for;
use serde_json::json;

use crate::world::{PATIENCE, World, config_map};

const API: &str = "production/api.yaml";
const STRAY: &str = "production/stray.yaml";
const HEALTHY: [&str; 2] = ["pipeline", "ui"];

/// What is wrong at a commit: the broken app's file, another file, and what has to be said (nothing
/// when it is for others to judge).
struct Case {
    what: &'static str,
    api: String,
    stray: (&'static str, Option<String>),
    said: Vec<String>,
}

fn case(what: &'static str, api: impl Into<String>, said: &[&str]) -> Case {
    let said = said.iter().map(|text| (*text).to_owned()).collect();
    Case { what, api: api.into(), stray: (STRAY, None), said }
}

impl Case {
    fn with(self, path: &'static str, text: impl Into<String>) -> Self {
        Self { stray: (path, Some(text.into())), ..self }
    }
}

fn cases(world: &World) -> Vec<Case> {
    let good = world.app("api", "1.0.0");
    let release = good.split("---\n").nth(2).expect("a release").to_owned();
    let at = good.find("  name: api\n").expect("a name");
    let named = |name: &str| format!("{}  name: {name}\n{}", &good[..at], &good[at + 12..]);
    let values = |line: &str| good.replace("    image:\n", &format!("    {line}\n    image:\n"));
    let release_as = |name: &str| release.replacen("  name: api\n", &format!("  name: {name}\n"), 1);
    let at_line = |text: &str, needle: &str| {
        let line = text.lines().position(|line| line.contains(needle)).expect("a line") + 1;
        format!("{API}:{line}: ")
    };
    let label = |value: &str| good.replace("    sandboxId: ", &format!("    sandboxId: {value}\n    was: "));
    let fields = good.replace("  releaseName: api\n", "  releasename: api\n").replacen(
        "  name: api\n",
        "  tags: [a]\n  name: api\n",
        1,
    );
    let template = values("envAccountId: {{ IVAS_TEST_LABEL }}");
    let markers = format!("<<<<<<< HEAD\n{good}=======\n{good}>>>>>>> theirs\n");
    let merged = good.replacen("---\n", "", 1);
    let twice = good.replace("  interval: 2m0s\n", "  interval: 2m0s\n  interval: 3m0s\n");
    vec![
        // 1. What is no manifest.
        case("a template", template.clone(), &[&at_line(&template, "IVAS"), "placeholder"]),
        case("conflict markers", markers, &[&format!("{API}:1: a merge conflict was committed")]),
        case("an empty file", "", &[&format!("{API}:1: ")]),
        case("a scalar", "just words\n", &[&format!("{API}:1: plain text is no Kubernetes object")]),
        case("broken YAML", "a: [\n", &[&format!("{API}:")]),
        // 2. A missing separator.
        case("a missing ---", merged.clone(), &["`apiVersion` is given twice"]),
        case("a key given twice", twice.clone(), &["`interval` is given twice"]),
        // 3. The same object in two files.
        case("a copy", good.clone(), &[&format!("{STRAY}:1: "), "the same object stands in production/api.yaml:"])
            .with(STRAY, release.replace("1.0.0", "9.9.9")),
        // 4. Names and labels.
        case("an upper-case name", named("ui-comparisonSettings"), &["`ui-comparisonSettings` is no valid name"]),
        case("a name that ends in -", named("ui-marcellp-ui270-apidevelop-"), &["must not end with `-`"]),
        case("an empty id", named("ui-"), &["is an id missing?"]),
        case("no name", named(""), &["`metadata.name` is missing"]),
        case("a label that is a number", label("74"), &["metadata.labels.sandboxId: must be text, and is a number"]),
        case("a label without a value", label(""), &["metadata.labels.sandboxId: must be text, and is empty"]),
        // 5. Placeholders.
        case("a name for CI to fill in", named("FILLED_IN_BY_CI"), &["`FILLED_IN_BY_CI` is no valid name"]),
        case("a ref for CI to fill in", good.replace("branch: main", "branch: STAGING_CHART_REF"), &[]),
        case("a url without an owner", good.replace("example.com/org/api", "github.com//worker"), &[]),
        // 6. Unknown fields: left out and named.
        case("unknown fields", fields, &["`metadata.tags` is no field", "`spec.releasename` is no field"]),
        case("a value of the wrong type", good.replace("interval: 2m0s", "interval: soon"), &["spec.interval"]),
        // 7. Numbers that are meant as text.
        case("a tag that is a number", world.app("api", "025.1"), &[]),
        case("an account that is a number", values("accountId: 160782110667"), &[]),
        // 8. Odd, but no error.
        case(
            "branch and commit",
            good.replace("    branch: main\n", "    branch: main\n    commit: FILLED_IN_BY_CI\n"),
            &[],
        ),
        case("an older version", good.clone(), &[])
            .with(STRAY, release_as("api-old").replace("toolkit.fluxcd.io/v2", "toolkit.fluxcd.io/v2beta1")),
        case("a file without an extension", good.clone(), &[]).with("production/stray", "a: ["),
        case("a kind that nobody installed", good.clone(), &["the cluster has no kind ImagePolicy"]).with(
            STRAY,
            format!(
                "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\nmetadata:\n  name: a\n  namespace: {}\n",
                world.id
            ),
        ),
        case("a namespace that does not exist", good.clone(), &["add the Namespace to the folder"])
            .with(STRAY, release_as("lost").replace(&world.namespace_of("api"), "nowhere-at-all")),
        // 9. The wrong folder.
        case("the wrong folder", good.clone(), &[]).with("staging/api.yaml", world.app("api", "8.8.8")),
    ]
}

#[tokio::test]
async fn the_healthy_apps_are_at_the_newest_revision_after_every_bad_commit() {
    let world = World::new("replay", &[("production/PLACEHOLDER", Some(""))]).await;
    let healthy = |tag: &str| HEALTHY.map(|app| (format!("production/{app}.yaml"), world.app(app, tag)));
    let good = world.app("api", "1.0.0");
    let apps = healthy("1.0.0");
    let mut files: Vec<_> = apps.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    files.push((API, Some(&good)));
    world.releases.commit("Apps", &files);
    world.follow_production();
    world.verdict().await.is_ready();

    let mut stray: Option<&str> = None;
    for (number, case) in cases(&world).iter().enumerate() {
        let (what, tag) = (case.what, format!("2.{number}.0"));
        let apps = healthy(&tag);
        let mut files: Vec<_> = apps.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
        files.push((API, Some(&case.api)));
        files.extend(stray.filter(|path| *path != case.stray.0).map(|path| (path, None)));
        let (path, text) = &case.stray;
        if text.is_some() || stray == Some(path) {
            files.push((path, text.as_deref()));
        }
        stray = text.is_some().then_some(path);
        let verdict = world.push(&files).await;
        for said in &case.said {
            assert!(verdict.message.contains(said), "{what}: `{said}` is not in: {}", verdict.message);
        }
        if case.said.is_empty() {
            assert_eq!(verdict.ready, "True", "{what}: {verdict:#?}");
        }
        for app in HEALTHY {
            assert_eq!(world.tag(app).await, Some(json!(tag)), "{what}: {app} does not follow");
        }
        assert!(world.namespace_exists("api").await, "{what}: something is gone");
        assert!(world.tag("api").await.is_some(), "{what}: something is gone");
    }

    // And in the end all of it is as if nothing had been.
    let mended = world.push(&[(API, Some(&world.app("api", "3.0.0"))), ("production/PLACEHOLDER", Some(""))]).await;
    mended.is_ready();
    assert_eq!(world.tag("api").await, Some(json!("3.0.0")));
    assert_eq!(mended.status.last_applied_revision, mended.status.last_attempted_revision);
    assert_eq!(mended.inventory().len(), 9, "{:#?}", mended.inventory());
    assert!(mended.status.conditions.iter().all(|condition| condition.type_ != "Behind"));
}

#[tokio::test]
async fn the_same_again_changes_nothing_and_a_revert_goes_back() {
    let world = World::new("again", &[("production/PLACEHOLDER", Some(""))]).await;
    let (api, ui) = (world.app("api", "1.0.0"), world.app("ui", "1.0.0"));
    let map = config_map(&world.id, "map", "1");
    let files = [(API, Some(&*api)), ("production/ui.yaml", Some(&*ui)), ("production/map.yaml", Some(&*map))];
    world.releases.commit("Apps", &files);
    world.follow_production();
    world.verdict().await.is_ready();
    let world = &world;
    let release = |app: &'static str| async move {
        let live = world.live("helm.toolkit.fluxcd.io/v2", "HelmRelease", &world.namespace_of(app), app).await;
        live.expect("a release").metadata.generation
    };
    let written = || async move {
        let map = world.live("v1", "ConfigMap", &world.id, "map").await.expect("a map");
        (map.metadata.resource_version, release("api").await, release("ui").await)
    };
    let before = written().await;

    // The same tree under another commit, which takes the place of the first.
    let first = world.releases.head("main");
    let same = world.releases.rewrite("main", "The same again", &[]);
    assert_ne!(first, same);
    let verdict = world.verdict().await;
    verdict.is_ready();
    assert_eq!(verdict.status.last_applied_revision, Some(format!("main@sha1:{same}")));
    assert_eq!(written().await, before, "nothing is written");

    // A bad tag, and the commit that takes it back: the other app is not touched by either.
    world.push(&[(API, Some(&world.app("api", "6.6.6")))]).await.is_ready();
    assert_eq!(world.tag("api").await, Some(json!("6.6.6")));
    world.push(&[(API, Some(&api))]).await.is_ready();
    assert_eq!(world.tag("api").await, Some(json!("1.0.0")));
    let after = written().await;
    assert_eq!((&after.0, after.2), (&before.0, before.2));

    // A file that a commit removed by mistake comes back with the next one.
    world.push(&[(API, None)]).await.is_ready();
    assert_eq!(world.tag("api").await, None);
    wait_for("the namespace to be gone", PATIENCE, || async {
        let namespace = world.live("v1", "Namespace", "", &world.namespace_of("api")).await;
        if namespace.is_none() { Ok(()) } else { Err(format!("{namespace:?}")) }
    })
    .await;
    world.push(&[(API, Some(&api))]).await.is_ready();
    assert_eq!(world.tag("api").await, Some(json!("1.0.0")));
}
