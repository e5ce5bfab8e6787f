//! What kustomize does to a folder: its own `kustomization.yaml`, and what the spec adds to it or
//! to plain files.

use serde_json::{Value, json};

use crate::world::World;
use fairlead_testbench::ChartServer;

fn map(world: &World, name: &str, value: &str) -> String {
    let id = &world.id;
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: {id}\ndata:\n  x: \"{value}\"\n")
}

fn deployment(world: &World, name: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  namespace: {}\nspec:\n  replicas: 0\n  \
         selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    \
         spec:\n      containers:\n      - {{name: app, image: \"nginx:1.0\"}}\n",
        world.id
    )
}

async fn live(world: &World, kind: &str, name: &str) -> Value {
    let version = if kind == "Deployment" { "apps/v1" } else { "v1" };
    let found = world.live(version, kind, &world.id, name).await;
    found.map(|found| serde_json::to_value(found).expect("JSON")).unwrap_or_default()
}

const ORIGIN: &str = "config.kubernetes.io/origin";
const TRANSFORMED: &str = "alpha.config.kubernetes.io/transformations";

/// Everything that the spec can ask of kustomize, for any folder.
const SPEC: [&str; 14] = [
    "prune: true",
    "namePrefix: pre-",
    "nameSuffix: -suf",
    "images: [{name: nginx, newName: registry/nginx, newTag: '2.0'}]",
    "commonMetadata: {labels: {team: a}, annotations: {by: us}}",
    "buildMetadata: [originAnnotations, transformerAnnotations]",
    "components: [../component, ../missing]",
    "ignoreMissingComponents: true",
    "patches:",
    "- target: {kind: ConfigMap, name: a}",
    "  patch: |-",
    "    - {op: add, path: /data/patched, value: 'yes'}",
    "- patch: |-",
    "    {apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: ID}, spec: {paused: true}}",
];

const COMPONENT: &str = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [extra.yaml]\n";

async fn is_built(world: &World, origin: &str) {
    let a = live(world, "ConfigMap", "pre-a-suf").await;
    assert_eq!(a["data"], json!({"x": "1", "patched": "yes"}));
    assert_eq!((&a["metadata"]["labels"]["team"], &a["metadata"]["annotations"]["by"]), (&json!("a"), &json!("us")));
    assert_eq!(a["metadata"]["annotations"][ORIGIN], format!("path: {origin}\n"));
    let transformed = a["metadata"]["annotations"][TRANSFORMED].as_str().expect("it was renamed");
    assert!(transformed.contains("configuredIn: kustomization.yaml"), "{transformed}");
    assert!(transformed.contains("kind: PrefixTransformer"), "{transformed}");
    assert!(!transformed.contains("manifests-"), "a place of the operator's own: {transformed}");
    let web = live(world, "Deployment", "pre-web-suf").await;
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], "registry/nginx:2.0");
    assert_eq!(web["spec"]["paused"], true);
    assert_eq!(live(world, "ConfigMap", "pre-extra-suf").await["data"]["x"], "3");
}

/// Asks for other notes of kustomize, and finds those and no others on what is there.
async fn notes_follow_the_spec(world: &World) {
    for (generation, options) in
        [(2, json!(["transformerAnnotations"])), (3, json!(["originAnnotations"])), (4, json!(null))]
    {
        let patch = json!({"spec": {"buildMetadata": options}}).to_string();
        world.bench.kubectl(&["-n", &world.id, "patch", "kustomization", "apps", "--type=merge", "-p", &patch]);
        world.verdict_of("apps", |status| status.observed_generation == Some(generation)).await.is_ready();
        let annotations = live(world, "ConfigMap", "pre-a-suf").await["metadata"]["annotations"].clone();
        for (key, option) in [(ORIGIN, "originAnnotations"), (TRANSFORMED, "transformerAnnotations")] {
            let wanted = options.as_array().is_some_and(|options| options.contains(&json!(option)));
            assert_eq!(annotations.get(key).is_some(), wanted, "{options}: {annotations}");
        }
        assert_eq!(annotations["by"], "us");
    }
}

#[tokio::test]
async fn a_plain_folder_is_patched_and_a_broken_file_in_it_is_named() {
    let world = World::new("layer", &[("README.md", Some("x"))]).await;
    let (a, web, extra) = (map(&world, "a", "1"), deployment(&world, "web"), map(&world, "extra", "3"));
    world.releases.commit(
        "Everything",
        &[
            ("production/sub/a.yaml", Some(&a)),
            ("production/web.yaml", Some(&web)),
            ("production/over/kustomization.yaml", Some("resources: [b.yaml]\nnamePrefix: inner-\n")),
            ("production/over/b.yaml", Some(&map(&world, "b", "2"))),
            ("component/kustomization.yaml", Some(COMPONENT)),
            ("component/extra.yaml", Some(&extra)),
        ],
    );
    let spec = SPEC.map(|line| line.replace("ID", &world.id));
    let lines: Vec<_> = ["path: ./production"].into_iter().chain(spec.iter().map(String::as_str)).collect();
    world.follow(&lines);
    world.verdict().await.is_ready();
    is_built(&world, "sub/a.yaml").await;
    assert_eq!(live(&world, "ConfigMap", "pre-inner-b-suf").await["data"]["x"], "2");
    notes_follow_the_spec(&world).await;

    // One broken file: named with its line, nothing goes, everything else follows.
    let files = [("production/sub/a.yaml", Some("a: 1\nb: {{ X }}\n")), ("component/extra.yaml", Some("---\n"))];
    let verdict =
        world.push(&[files[0], ("production/web.yaml", Some(&web.replace("replicas: 0", "replicas: 1")))]).await;
    verdict.complains(&["production/sub/a.yaml:2: ", "placeholder"]);
    assert_eq!(verdict.reason, "BuildFailed");
    assert_eq!(live(&world, "Deployment", "pre-web-suf").await["spec"]["replicas"], 1);
    assert_eq!(live(&world, "ConfigMap", "pre-a-suf").await["data"]["patched"], "yes", "nothing is pruned");

    // An object that the API server refuses is named with the line of its file.
    let refused = a.replace("name: a", "name: A_b");
    let verdict = world.push(&[("production/sub/a.yaml", Some(&refused))]).await;
    verdict.complains(&["production/sub/a.yaml:4: ConfigMap/", "pre-A_b-suf"]);

    // A patch that fits nothing fails the build, and prunes nothing.
    world.push(&[("production/sub/a.yaml", Some(&a))]).await.is_ready();
    let verdict = world.push(&[("production/web.yaml", None)]).await;
    verdict.complains(&["production: kustomize build failed", "no matches for Id"]);
    assert_ne!(live(&world, "Deployment", "pre-web-suf").await, Value::Null);
    assert!(!verdict.message.contains("builds/"), "{}", verdict.message);
    let data = world.operator.data_dir().join("builds");
    assert_eq!(data.read_dir().expect("the place for builds").count(), 0, "no copy is left");
}

#[tokio::test]
async fn a_kustomization_is_extended_and_stays_within_its_source() {
    let world = World::new("merge", &[("README.md", Some("x"))]).await;
    let own = "resources: [a.yaml, web.yaml]\nnamePrefix: own-\nimages: [{name: nginx, newTag: '1.5'}]\n\
               configMapGenerator: [{name: shared, namespace: ID, files: [../shared.txt], options: {disableNameSuffixHash: true}}]\n"
        .replace("ID", &world.id);
    world.releases.commit(
        "Everything",
        &[
            ("production/kustomization.yaml", Some(&own)),
            ("production/a.yaml", Some(&map(&world, "a", "1"))),
            ("production/web.yaml", Some(&deployment(&world, "web"))),
            ("shared.txt", Some("shared")),
            ("component/kustomization.yaml", Some(COMPONENT)),
            ("component/extra.yaml", Some(&map(&world, "extra", "3"))),
        ],
    );
    let spec = SPEC.map(|line| line.replace("ID", &world.id));
    let lines: Vec<_> = ["path: ./production"].into_iter().chain(spec.iter().map(String::as_str)).collect();
    world.follow(&lines);
    world.verdict().await.is_ready();
    is_built(&world, "a.yaml").await;
    assert_eq!(live(&world, "ConfigMap", "pre-shared-suf").await["data"]["shared.txt"], "shared");
    notes_follow_the_spec(&world).await;

    // What leads out of the source, or is not in it, is refused with its line; nothing is pruned.
    for (entry, reason) in [
        ("https://example.com/x.yaml", "is remote: put it into the source, or run the operator with --allow-remote"),
        ("github.com/org/repo?ref=v1", "is remote"),
        ("../../../..", "leads out of the source"),
        ("/etc/hostname", "leads out of the source"),
        ("gone.yaml", "is no file or folder of this source"),
    ] {
        let broken = format!("resources:\n- a.yaml\n- {entry}\n");
        let verdict = world.push(&[("production/kustomization.yaml", Some(&broken))]).await;
        verdict.complains(&[&format!("production/kustomization.yaml:3: `{entry}` {reason}")]);
        assert_eq!(verdict.reason, "BuildFailed");
        assert_ne!(live(&world, "Deployment", "pre-web-suf").await, Value::Null);
    }
    world.push(&[("production/kustomization.yaml", Some(&own))]).await.is_ready();

    let missing = "components: [../missing]";
    world.follow_as("missing", &["path: ./production", "prune: true", missing]);
    let verdict = world.verdict_of("missing", |_| true).await;
    let words = "spec.components[0]: `../missing` does not exist in this revision; with ignoreMissingComponents";
    assert_eq!(verdict.complains(&[words]).reason, "BuildFailed");

    let remote = "components: ['https://example.com/c']";
    world.follow_as("remote", &["path: ./production", "prune: true", remote]);
    let verdict = world.verdict_of("remote", |_| true).await;
    verdict.complains(&["spec.components[0]: `https://example.com/c` must be a path within the source"]);
}

#[tokio::test]
async fn remote_files_and_missing_variables_are_matters_of_two_flags() {
    let flags = ["--allow-remote-bases", "--strict-substitutions=false"];
    let world = World::with_args("flags", &[("README.md", Some("x"))], &flags).await;
    let elsewhere = ChartServer::start();
    elsewhere.replace("remote.yaml", map(&world, "remote", "7").as_bytes());
    let own = format!("resources:\n- a.yaml\n- {}/remote.yaml\n", elsewhere.url());
    let variable = |name: &str| map(&world, "a", &format!("${{{name}}}"));
    let files = [("production/kustomization.yaml", own), ("production/a.yaml", variable("known"))];
    world.releases.commit("Remote", &files.each_ref().map(|(path, text)| (*path, Some(text.as_str()))));
    world.follow(&["path: ./production", "prune: true", "postBuild: {substitute: {known: here}}"]);
    world.verdict().await.is_ready();
    assert_eq!(world.value("remote").await.as_deref(), Some("7"));
    assert_eq!(world.value("a").await.as_deref(), Some("here"));

    world.push(&[("production/a.yaml", Some(&variable("unknown")))]).await.is_ready();
    assert_eq!(world.value("a").await.as_deref(), Some(""));
}

#[tokio::test]
async fn files_follow_the_names_that_a_folder_beside_them_makes() {
    let world = World::new("names", &[("README.md", Some("x"))]).await;
    let id = &world.id;
    let web = deployment(&world, "web").replace(
        "image: \"nginx:1.0\"",
        "image: \"nginx:1.0\", envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: login}}]",
    );
    let settings = |value: &str| {
        format!(
            "namespace: {id}\nconfigMapGenerator: [{{name: settings, literals: [x={value}]}}]\n\
             resources: [login.yaml]\nnameSuffix: -own\n"
        )
    };
    let login =
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: login, namespace: {id}}}\nstringData: {{a: b}}\n");
    world.releases.commit(
        "Everything",
        &[
            ("production/web.yaml", Some(&web)),
            ("production/settings/kustomization.yaml", Some(&settings("1"))),
            ("production/settings/login.yaml", Some(&login)),
        ],
    );
    world.follow(&["path: ./production", "prune: true"]);
    world.verdict().await.is_ready();
    let referred = async || {
        let web = live(&world, "Deployment", "web").await;
        let from = web["spec"]["template"]["spec"]["containers"][0]["envFrom"].clone();
        let name = |index: usize, field: &str| from[index][field]["name"].as_str().expect("a name").to_owned();
        (name(0, "configMapRef"), name(1, "secretRef"))
    };
    let (first, secret) = referred().await;
    assert!(first.starts_with("settings-own-") && secret == "login-own", "{first} {secret}");
    assert_eq!(live(&world, "ConfigMap", &first).await["data"]["x"], "1");

    world.push(&[("production/settings/kustomization.yaml", Some(&settings("2")))]).await.is_ready();
    let (second, _) = referred().await;
    assert_ne!(first, second);
    assert_eq!(live(&world, "ConfigMap", &second).await["data"]["x"], "2");
    assert_eq!(live(&world, "ConfigMap", &first).await, Value::Null, "the one before is pruned");

    // Each is named by its own file, and one that cannot be built does not stop the others.
    let refused = login.replace("name: login,", "name: Log_in,");
    let verdict = world.push(&[("production/settings/login.yaml", Some(&refused))]).await;
    verdict.complains(&["production/settings/kustomization.yaml: Secret/", "Log_in-own"]);
    let broken = settings("3").replace("login.yaml", "missing.yaml");
    let more = map(&world, "more", "1");
    let files = [("production/settings/kustomization.yaml", Some(&*broken)), ("production/more.yaml", Some(&*more))];
    let verdict = world.push(&files).await;
    verdict.complains(&[
        "production/settings/kustomization.yaml",
        "missing.yaml",
        "production/web.yaml:1: Deployment/",
    ]);
    assert_eq!(live(&world, "ConfigMap", "more").await["data"]["x"], "1");
    assert_eq!(referred().await.0, second, "it stays as it is");
    assert_ne!(live(&world, "ConfigMap", &second).await, Value::Null, "nothing is pruned");

    // What cannot be one build is built apart: two maps of one name, that get others only at its end.
    let same =
        format!("namespace: {id}\nconfigMapGenerator: [{{name: settings, literals: [x=other]}}]\nnameSuffix: -own\n");
    let files = [
        ("production/settings/kustomization.yaml", Some(&*settings("4"))),
        ("production/settings/login.yaml", Some(&*login)),
        ("production/same/kustomization.yaml", Some(&*same)),
    ];
    world.push(&files).await.is_ready().mentions(&["are not followed"]);
}
