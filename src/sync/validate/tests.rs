use super::*;
use crate::sync::problem::Hold;
use crate::yaml;
use proptest::prelude::*;

fn manifests(file: &str, text: &str) -> Vec<Manifest> {
    yaml::documents(text)
        .into_iter()
        .map(|document| Manifest::read(file.into(), document.lines, document.result.unwrap()))
        .collect()
}

fn judge(text: &str) -> (Vec<String>, Vec<String>) {
    let (valid, problems) = validate(manifests("p/a.yaml", text));
    let valid = valid.iter().map(|manifest| manifest.id().to_string()).collect();
    (valid, problems.iter().map(ToString::to_string).collect())
}

/// One complaint, and nothing to apply.
fn complaint(text: &str) -> String {
    let (valid, problems) = judge(text);
    assert_eq!((valid.len(), problems.len()), (0, 1), "{problems:?}");
    problems.into_iter().next().unwrap()
}

#[test]
fn documents_that_are_no_objects() {
    let table = [
        ("just words\n", "p/a.yaml:1: plain text is no Kubernetes object"),
        ("- a\n", "p/a.yaml:1: a list is no Kubernetes object"),
        ("apiVersion: v1\nmetadata: {name: a}\n", "p/a.yaml:1: `kind` is missing"),
        ("kind: A\nmetadata: {name: a}\n", "p/a.yaml:1: `apiVersion` is missing"),
        ("apiVersion: v1\nkind: A\n", "p/a.yaml:1: `metadata.name` is missing"),
        ("apiVersion: v1\nkind: A\nmetadata:\n  name:\n", "p/a.yaml:4: `metadata.name` is missing"),
        (
            "apiVersion: v1\nkind: A\nmetadata:\n  name: 74\n",
            "p/a.yaml:4: `metadata.name` must be text, and is a number; quote it",
        ),
        (
            "apiVersion: v1\nkind: A\nmetadata:\n  generateName: a-\n",
            "p/a.yaml:3: `metadata.name` is missing (generateName cannot be used here: give the object a name)",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(complaint(text), expected);
        let (_, problems) = validate(manifests("a", text));
        assert_eq!(problems[0].hold, Hold::Everything);
    }
}

#[test]
fn names_from_real_folders() {
    let release = |name: &str| {
        format!(
            "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n  name: {name}\n  namespace: ns\n"
        )
    };
    let table = [
        ("ui-comparisonSettings", "`S` is not among a-z, 0-9, `-` and `.`"),
        ("ui-marcellp-ui270-apidevelop-", "must not end with `-`"),
        ("ui-", "must not end with `-` (is an id missing?)"),
        ("-ui", "must begin with a letter or a digit"),
        ("FILLED_IN_BY_CI", "`F` is not among"),
        ("a..b", "a part of it is empty"),
    ];
    for (name, expected) in table {
        let text = complaint(&release(name));
        let start = format!("p/a.yaml:4: HelmRelease/ns/{name}: metadata.name: `{name}` is no valid name: ");
        assert!(text.starts_with(&start), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(judge(&release("ui-1.a")).1, [""; 0]);
    assert!(complaint(&release(&"a".repeat(254))).contains("longer than 253"));
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a.b\n";
    assert!(complaint(namespace).contains("`.` is not among a-z, 0-9 and `-`"));
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: system:X\n";
    assert_eq!(judge(role).0, ["ClusterRole/system:X"]);
    let misplaced = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  namespace: ui-\n";
    assert!(complaint(misplaced).starts_with("p/a.yaml:5: ConfigMap/ui-/a: metadata.namespace: `ui-`"));
}

#[test]
fn a_broken_name_holds_its_kind() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: A\n  namespace: ns\n";
    let (_, problems) = validate(manifests("a", text));
    let hold = Hold::Kind { group: String::new(), kind: "ConfigMap".to_owned(), namespace: Some("ns".to_owned()) };
    assert_eq!(problems[0].hold, hold);
}

#[test]
fn labels_must_be_text() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  labels:\n    sandboxId: 74\n    x/y:\n    ok: \"74\"\n---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: b\n";
    let (valid, problems) = judge(text);
    assert_eq!(valid, ["Namespace/b"]);
    assert_eq!(
        problems,
        [
            "p/a.yaml:6: Namespace/a: metadata.labels.sandboxId: must be text, and is a number (quote it)",
            "p/a.yaml:7: Namespace/a: metadata.labels.x/y: must be text, and is empty (give it a value, or remove it)",
        ]
    );
}

#[test]
fn a_secrets_values_are_not_repeated() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\nstringData:\n  pin: 123456\n";
    let shown = complaint(text);
    assert_eq!(shown, "p/a.yaml:6: Secret/a: stringData.pin: must be text, and is a number (quote it)");
}

#[test]
fn of_two_manifests_for_one_object_the_first_is_kept() {
    let object = |data: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, namespace: b}}\ndata: {{x: {data}}}\n")
    };
    let mut all = manifests("p/a.yaml", &object("one"));
    all.extend(manifests("p/b.yaml", &format!("# note\n{}", object("two"))));
    all.extend(manifests("p/c.yaml", &object("one")));
    let (valid, problems) = validate(all);
    assert_eq!(valid.len(), 1);
    assert_eq!(valid[0].object["data"]["x"], "one");
    assert_eq!(
        problems[0].to_string(),
        "p/b.yaml:2: ConfigMap/b/a: the same object stands in p/a.yaml:1, which is the one that is applied \
         (remove one of the two, or rename it)"
    );
    assert_eq!(problems[1].severity, super::super::problem::Severity::Warning);
}

#[test]
fn two_api_versions_of_one_object_are_the_same_object() {
    let release = |version: &str, name: &str| {
        format!(
            "---\napiVersion: helm.toolkit.fluxcd.io/{version}\nkind: HelmRelease\nmetadata: {{name: {name}, namespace: ns}}\n"
        )
    };
    let text = release("v2beta1", "a") + &release("v2", "b") + &release("v2", "a");
    let (valid, problems) = judge(&text);
    assert_eq!(valid, ["HelmRelease/ns/a", "HelmRelease/ns/b"]);
    assert_eq!(problems.len(), 1);
}

#[test]
fn files_for_kustomize_are_passed_over() {
    let text = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Component\n";
    assert_eq!(judge(text), (Vec::new(), Vec::new()));
}

proptest! {
    #[test]
    fn nothing_panics_and_nothing_is_lost(text in "(apiVersion: v1\n|kind: A\n|metadata: \\{name: [a-zA-Z-]{0,3}\\}\n|---\n|x\n|- 1\n){0,12}") {
        let read: Vec<_> = yaml::documents(&text)
            .into_iter()
            .filter_map(|document| Some(Manifest::read("a".into(), document.lines, document.result.ok()?)))
            .collect();
        let count = read.len();
        let (valid, problems) = validate(read);
        prop_assert!(valid.len() + problems.len() >= count);
    }
}
