//! What was live in real folders. After each commit the healthy apps are at that commit, the
//! offender is named with its line and reason, nothing is gone, and the fixing commit heals.

use serde_json::json;

use crate::world::{Verdict, World};

const API: &str = "production/api.yaml";
const UI: &str = "production/ui.yaml";
const MARK: &str = "production/PLACEHOLDER";

/// Two apps in the folder: `ui` stays healthy, `api` is where the trouble is.
async fn two_apps(prefix: &str) -> World {
    let world = World::new(prefix, &[(MARK, Some(""))]).await;
    let (api, ui) = (world.app("api", "1.0.0"), world.app("ui", "1.0.0"));
    world.releases.commit("Two apps", &[(API, Some(&api)), (UI, Some(&ui))]);
    world.follow_production();
    world.verdict().await.is_ready();
    world
}

/// Pushes a broken `api.yaml` with a new `ui`, and then the fix. The broken commit names `texts`,
/// leaves `api` as it was, and takes `ui` along.
async fn break_and_fix(world: &World, number: u32, broken: &str, texts: &[&str]) -> Verdict {
    let before = world.tag("api").await;
    assert!(before.is_some(), "api is there before {number}");
    let bad_tag = format!("2.{number}.0");
    let verdict = world.push(&[(API, Some(broken)), (UI, Some(&world.app("ui", &bad_tag)))]).await;
    verdict.complains(texts);
    assert_eq!(world.tag("ui").await, Some(json!(bad_tag)), "ui follows commit {number}");
    assert_eq!(world.tag("api").await, before, "api stays as it was at commit {number}");
    assert!(world.namespace_exists("api").await, "nothing is pruned at commit {number}");
    let applied = verdict.status.last_applied_revision.as_deref();
    assert_ne!(applied, verdict.status.last_attempted_revision.as_deref());
    let good_tag = format!("3.{number}.0");
    world.push(&[(API, Some(&world.app("api", &good_tag)))]).await.is_ready();
    assert_eq!(world.tag("api").await, Some(json!(good_tag)), "commit {number} heals");
    verdict
}

#[tokio::test]
async fn files_that_are_not_manifests_stop_nothing_else() {
    let world = two_apps("unread").await;
    let good = world.app("api", "1.0.0");

    let template = format!("{good}    envAccountId: {{{{ IVAS_TEST_LABEL }}}}\n");
    let last = format!("{API}:{}: ", template.lines().count());
    let verdict = break_and_fix(&world, 1, &template, &[&last, "placeholder", "fill it in, or quote it"]).await;
    assert_eq!(verdict.reason, "BuildFailed");

    let conflict = format!("<<<<<<< HEAD\n{good}=======\n{good}>>>>>>> theirs\n");
    break_and_fix(&world, 2, &conflict, &["1 problem, ", &format!("{API}:1: a merge conflict was committed")]).await;

    break_and_fix(&world, 3, "", &[&format!("{API}:1: "), "kept while this lasts", "HelmRelease/"]).await;

    break_and_fix(&world, 4, "just words\n", &[&format!("{API}:1: plain text is no Kubernetes object")]).await;

    // The document that is whole counts: it has the tag of the last commit.
    let merged = world.app("api", "3.4.0").replacen("---\n", "", 1);
    let line = 1 + good.lines().position(|line| line == "---").unwrap();
    let texts = [&*format!("{API}:{line}: `apiVersion` is given twice, first on line 2"), "`---` line missing"];
    break_and_fix(&world, 5, &merged, &texts).await;

    // Two broken files at once, both named; the third goes on.
    let worker = world.app("worker", "1.0.0");
    world.push(&[("production/worker.yaml", Some(&worker))]).await.is_ready();
    let files = [(API, Some("a: [")), ("production/worker.yaml", Some("{{ X }}: 1\n"))];
    let ui = world.app("ui", "4.0.0");
    let verdict = world.push(&[files[0], files[1], (UI, Some(&ui))]).await;
    verdict.complains(&["2 problems", "production/api.yaml:", "production/worker.yaml:1:"]);
    assert_eq!(world.tag("ui").await, Some(json!("4.0.0")));
    assert_eq!(world.tag("worker").await, Some(json!("1.0.0")));

    // A file that goes while another is broken goes when that one is fixed.
    let verdict = world.push(&[("production/worker.yaml", None)]).await;
    verdict.complains(&["production/api.yaml:"]);
    assert!(world.namespace_exists("worker").await, "nothing is pruned while a file is broken");
    world.push(&[(API, Some(&good))]).await.is_ready();
    assert!(!world.namespace_exists("worker").await, "the removed app is pruned at last");
}

#[tokio::test]
async fn objects_that_are_refused_stop_nothing_else() {
    let world = two_apps("refused").await;
    let good = world.app("api", "1.0.0");
    let namespace = world.namespace_of("api");
    let release = good.find("  name: api\n").unwrap();
    let rename = |name: &str| format!("{}  name: {name}\n{}", &good[..release], &good[release + 12..]);
    let line = good[..release].lines().count() + 1;

    for (number, name, reason) in [
        (1, "ui-comparisonSettings", "`S` is not among"),
        (2, "ui-marcellp-ui270-apidevelop-", "must not end with `-`"),
        (3, "ui-", "is an id missing?"),
        (4, "FILLED_IN_BY_CI", "`F` is not among"),
    ] {
        let object = format!("{API}:{line}: HelmRelease/{namespace}/{name}: metadata.name: `{name}` is no valid name");
        let verdict = break_and_fix(&world, number, &rename(name), &[&object, reason]).await;
        assert_eq!(verdict.reason, "ReconciliationFailed");
    }

    let number = good.replace("  labels:\n    sandboxId: ", "  labels:\n    sandboxId: 74\n    was: ");
    let text = format!("Namespace/{namespace}: metadata.labels.sandboxId: must be text, and is a number (quote it)");
    let verdict = world.push(&[(API, Some(&number))]).await;
    verdict.complains(&["1 problem, 5 of 6 objects", &format!("{API}:7: {text}")]);
    let empty = number.replace("sandboxId: 74", "sandboxId:");
    world.push(&[(API, Some(&empty))]).await.complains(&["sandboxId: must be text, and is empty"]);
    assert!(world.namespace_exists("api").await);
    world.push(&[(API, Some(&good))]).await.is_ready();

    // A value that the kind's own rules refuse, with the line of the field.
    let wrong = good.replace("interval: 2m0s", "interval: soon");
    let line = 1 + wrong.lines().position(|line| line.contains("interval: soon")).unwrap();
    let object = format!("{API}:{line}: HelmRelease/{namespace}/api: ");
    break_and_fix(&world, 5, &wrong, &[&object, "spec.interval"]).await;

    // A kind that nobody installed.
    let policy = format!(
        "{good}---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\nmetadata:\n  name: api\n  namespace: {namespace}\n"
    );
    let verdict = world.push(&[(API, Some(&policy))]).await;
    verdict.complains(&["ImagePolicy/", "the cluster has no kind ImagePolicy", "6 of 7 objects"]);
    world.push(&[(API, Some(&good))]).await.is_ready();
}

#[tokio::test]
async fn odd_but_valid_files_are_applied() {
    let world = two_apps("odd").await;
    let good = world.app("api", "1.0.0");
    let namespace = world.namespace_of("api");

    // Unknown fields are left out and named; the rest of their object counts.
    let unknown = good.replace("  releaseName: api\n", "  releasename: api\n").replace(
        &format!("  name: api\n  namespace: {namespace}\n"),
        &format!("  name: api\n  namespace: {namespace}\n  tags: [a]\n"),
    );
    let line = |text: &str| 1 + unknown.lines().position(|line| line.contains(text)).unwrap();
    let verdict = world.push(&[(API, Some(&unknown.replace("1.0.0", "1.1.0")))]).await;
    verdict.is_ready().mentions(&[
        &format!("{API}:{}: HelmRelease/{namespace}/api: `metadata.tags` is no field", line("tags:")),
        &format!("{API}:{}: HelmRelease/{namespace}/api: `spec.releasename` is no field", line("releasename:")),
    ]);
    assert_eq!(world.tag("api").await, Some(json!("1.1.0")));

    // Numbers that are meant as text, and what goes as it is: it is for others to judge.
    world.push(&[(API, Some(&world.app("api", "025.1")))]).await.is_ready();
    assert_eq!(world.tag("api").await, Some(json!(25.1)));
    world.push(&[(API, Some(&world.app("api", "160782110667")))]).await.is_ready();
    assert_eq!(world.tag("api").await, Some(json!(160_782_110_667_i64)));
    let both = good
        .replace("    branch: main\n", "    branch: STAGING_CHART_REF\n    commit: FILLED_IN_BY_CI\n")
        .replace("https://example.com/org/api", "https://github.com//worker");
    world.push(&[(API, Some(&both))]).await.is_ready();

    // Two API versions in one file, and a manifest without an extension.
    let old = good.split("---\n").nth(2).unwrap().replace("toolkit.fluxcd.io/v2", "toolkit.fluxcd.io/v2beta1");
    let second = old.replacen("  name: api\n", "  name: api-old\n", 1);
    let files = format!("{good}---\n{second}");
    world.push(&[(API, Some(&files)), ("production/stray", Some("a: ["))]).await.is_ready();
    let release = world.live("helm.toolkit.fluxcd.io/v2", "HelmRelease", &namespace, "api-old").await;
    assert!(release.is_some());

    // The same object in two files: the first file counts, whatever comes last.
    let twin = good.split("---\n").nth(2).unwrap().replace("1.0.0", "9.9.9");
    let file = "production/zz-copy.yaml";
    let verdict = world.push(&[(API, Some(&good)), (file, Some(&twin))]).await;
    verdict.complains(&[
        &format!("{file}:1: HelmRelease/{namespace}/api: "),
        "the same object stands in production/api.yaml:",
    ]);
    assert_eq!(world.tag("api").await, Some(json!("1.0.0")));
    world.push(&[(file, None), (UI, Some(&world.app("ui", "1.2.0")))]).await.is_ready();
    assert_eq!(world.tag("api").await, Some(json!("1.0.0")), "the kept one stays");
}

#[tokio::test]
async fn a_push_to_the_wrong_folder_is_reverted_without_a_trace() {
    let world = two_apps("wrong").await;
    let stray = world.app("staging", "1.0.0");
    world.push(&[("production/staging.yaml", Some(&stray))]).await.is_ready();
    assert!(world.namespace_exists("staging").await);
    world.push(&[("production/staging.yaml", None), ("staging/staging.yaml", Some(&stray))]).await.is_ready();
    assert!(!world.namespace_exists("staging").await);

    // A commit that changes nothing in the folder, and the same tree once more.
    let verdict = world.push(&[("staging-candidates/a.yaml", Some("a: 1\n"))]).await;
    verdict.is_ready();
    world.push(&[("staging-candidates/a.yaml", Some("a: 2\n"))]).await.is_ready();
    let verdict = world.push(&[("staging-candidates/a.yaml", Some("a: 1\n"))]).await;
    assert_eq!(verdict.inventory().len(), 6, "{verdict:#?}");

    // The whole folder is gone: that is no wish to delete everything.
    let verdict = world.push(&[(API, None), (UI, None), (MARK, None)]).await;
    verdict.complains(&["spec.path `./production` does not exist in this revision"]);
    assert_eq!(verdict.reason, "ArtifactFailed");
    assert!(world.namespace_exists("api").await && world.namespace_exists("ui").await);
}
