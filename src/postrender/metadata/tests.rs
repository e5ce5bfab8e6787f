use proptest::prelude::*;

use super::*;

fn wanted(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> CommonMetadata {
    let map = |all: &[(&str, &str)]| all.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    CommonMetadata { labels: map(labels), annotations: map(annotations) }
}

fn done(text: &str, wanted: &CommonMetadata) -> String {
    set(&Document::read(text), wanted).expect("a document").into_owned()
}

const HEAD: &str = "apiVersion: v1\nkind: ConfigMap\n";

#[test]
fn an_object_is_edited_where_its_metadata_stands() {
    let one = wanted(&[("team", "a")], &[]);
    let both = wanted(&[("a.b/c", "x"), ("team", "7")], &[("note", "two words")]);
    let cases: &[(&str, &CommonMetadata, &str)] = &[
        ("metadata:\n  name: a\n", &one, "metadata:\n  labels:\n    team: a\n  name: a\n"),
        (
            "metadata:\n  name: a\n  labels:\n    x: \"1\" # y\n",
            &one,
            "metadata:\n  name: a\n  labels:\n    team: a\n    x: \"1\" # y\n",
        ),
        (
            "metadata:\n    labels:\n            team: 'old' # why\n            z: on\n",
            &one,
            "metadata:\n    labels:\n            team: a # why\n            z: on\n",
        ),
        ("metadata:\n  labels:\n    team:\n    z: z\n", &one, "metadata:\n  labels:\n    team: \"a\"\n    z: z\n"),
        ("metadata:\n  labels:\n    team: ''\n", &one, "metadata:\n  labels:\n    team: a\n"),
        ("metadata:\n  labels: {}\n", &one, "metadata:\n  labels: {\"team\":\"a\"}\n"),
        ("metadata:\n  labels: # none\n  name: a\n", &one, "metadata:\n  labels: {\"team\":\"a\"} # none\n  name: a\n"),
        ("metadata:\n  labels: ~\n", &one, "metadata:\n  labels: {\"team\":\"a\"}\n"),
        ("metadata: {name: a}\n", &one, "metadata: {labels: {\"team\":\"a\"}, name: a}\n"),
        ("metadata: {labels: {team: b, z: w}}\n", &one, "metadata: {labels: {team: a, z: w}}\n"),
        ("metadata: {}\n", &one, "metadata: {labels: {\"team\":\"a\"}}\n"),
        ("metadata:\n", &one, "metadata: {\"labels\":{\"team\":\"a\"}}\n"),
        ("metadata:\n- odd\n", &wanted(&[], &[]), "metadata:\n- odd\n"),
        (
            "metadata:\n  name: a\n",
            &both,
            "metadata:\n  labels:\n    a.b/c: x\n    team: \"7\"\n  annotations:\n    note: \"two words\"\n  name: a\n",
        ),
    ];
    for (before, wanted, after) in cases {
        let (before, after) = (format!("---\n# Source: t\n{HEAD}{before}"), format!("---\n# Source: t\n{HEAD}{after}"));
        assert_eq!(done(&before, wanted), after);
    }
    assert_eq!(done(HEAD, &one), format!("metadata:\n  labels:\n    team: a\n{HEAD}"));
    assert_eq!(
        done(&format!("{{{}}}", "apiVersion: v1, kind: X"), &one),
        "{metadata: {\"labels\":{\"team\":\"a\"}}, apiVersion: v1, kind: X}"
    );
}

#[test]
fn all_other_bytes_stay() {
    let body = "metadata:\r\n  name: a\r\ndata:\n  big: 12345678901234567890123\n  octal: 010\n  float: 1.10\n  yes: yes\n  text: |+\n    a: b\n\n    ---x\n\n  folded: >-\n    a\n    b\n  \"q\": \"\\x41\\u263a\"\n  # end\n";
    let text = format!("{HEAD}{body}");
    let edited = done(&text, &wanted(&[("a", "b")], &[]));
    assert_eq!(edited.replace("labels:\n    a: b\n  ", ""), text);
}

#[test]
fn what_is_no_object_is_left_alone() {
    let one = wanted(&[("a", "b")], &[("c", "d")]);
    for text in [
        "",
        "# only a comment\n",
        "---\n",
        "---\n# a\n--- \n",
        "- a\n- b\n",
        "just text\n",
        "a: b\n",
        "kind: X\n",
        "apiVersion: ''\nkind: X\n",
        "null\n",
        "42",
    ] {
        assert_eq!(done(text, &one), text);
    }
}

#[test]
fn items_of_a_list_are_edited_and_the_list_is_not() {
    let one = wanted(&[("a", "b")], &[]);
    let item = |start: &str| format!("{start}apiVersion: v1\n  kind: ConfigMap\n  metadata:\n    name: x\n");
    let text = format!(
        "apiVersion: v1\nkind: List\nmetadata: {{}}\nitems:\n{}{}",
        item("- "),
        "- {apiVersion: v1, kind: X, metadata: {name: w}}\n"
    );
    let edited = done(&text, &one);
    let values: Value = yaml::parse(&edited).expect("reads");
    assert_eq!(values["metadata"], json!({}));
    assert_eq!(values["items"][0]["metadata"], json!({"labels": {"a": "b"}, "name": "x"}));
    assert_eq!(values["items"][1]["metadata"], json!({"labels": {"a": "b"}, "name": "w"}));
    assert!(edited.contains("  metadata:\n    labels:\n      a: b\n    name: x\n"), "{edited}");
    let named = "apiVersion: example.com/v1\nkind: AllowList\nmetadata: {name: x}\n";
    assert!(done(named, &one).contains("labels"), "a kind that is called a list has metadata of its own");
}

#[test]
fn what_cannot_be_edited_is_written_anew() {
    let one = wanted(&[("team", "a")], &[]);
    for (body, labels) in [
        ("metadata:\n  labels: &l\n    x: w\nother: *l\n", json!({"team": "a", "x": "w"})),
        ("base: &l {x: w}\nmetadata:\n  labels: *l\n", json!({"team": "a", "x": "w"})),
        ("base: &l {metadata: {labels: {x: w}}}\n<<: *l\n", json!({"team": "a", "x": "w"})),
        ("metadata:\n  labels:\n    team: !!str 7\n", json!({"team": "a"})),
        ("metadata:\n  labels:\n    team: &t b\n  name: *t\n", json!({"team": "a"})),
    ] {
        let text = format!("{HEAD}{body}");
        let (before, after) = (yaml::parse(&text).expect("reads"), yaml::parse(&done(&text, &one)).expect("reads"));
        assert_eq!(after["metadata"]["labels"], labels, "{body}");
        assert_eq!((&after["other"], &after["metadata"]["name"]), (&before["other"], &before["metadata"]["name"]));
    }
}

#[test]
fn what_our_reader_refuses_and_helm_takes_is_edited_all_the_same() {
    let twice = format!("{HEAD}metadata:\n  name: a\ndata: {{x: a, x: b}}\n");
    assert!(yaml::parse(&twice).is_err());
    assert!(done(&twice, &wanted(&[("a", "b")], &[])).contains("labels:\n    a: b\n"));
    assert!(set(&Document::read("a: [1\nb: 2\n"), &wanted(&[("a", "b")], &[])).is_err());
}

#[test]
fn texts_are_quoted_where_a_reader_could_take_them_for_something_else() {
    for text in
        ["on", "7", "1e3", "", "null", "a: b", "#a", "ä", "a\u{85}b\u{2028}", "\n", "0x1F", "*", "~", "2024-01-01"]
    {
        let quoted = quoted(text);
        assert!(quoted.starts_with('"') && quoted.is_ascii() || text == "ä", "{quoted}");
        assert_eq!(yaml::parse(&quoted), Ok(json!(text)));
    }
    assert_eq!((quoted("app.kubernetes.io/name"), quoted("v1.2")), ("app.kubernetes.io/name".into(), "v1.2".into()));
}

fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map("[a-c]|on|1", "\\PC{0,6}|[0-9]{1,3}|yes", 0..4)
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}|on|010|[ -~\n]{0,20}".prop_map(Value::from)
    ]
}

proptest! {
    #[test]
    fn only_labels_and_annotations_change(
        labels in proptest::option::of(texts()),
        annotations in proptest::option::of(texts()),
        data in proptest::collection::btree_map("[a-z]{1,3}", leaf(), 0..4),
        (new_labels, new_annotations) in (texts(), texts()),
        as_json in any::<bool>(),
    ) {
        let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": data});
        for (field, texts) in [("labels", &labels), ("annotations", &annotations)] {
            if let Some(texts) = texts {
                object["metadata"][field] = json!(texts);
            }
        }
        let text = match &object {
            Value::Object(entries) if !as_json => crate::values::go_yaml::encode(entries),
            other => flow(other),
        };
        prop_assume!(yaml::parse(&text).is_ok());
        let before = yaml::parse(&text).expect("reads");
        let wanted = CommonMetadata { labels: new_labels, annotations: new_annotations };
        let mut expected = before;
        put(&mut expected, &wanted);
        let document = Document::read(&text);
        let edited = set(&document, &wanted).expect("a document");
        prop_assert_eq!(yaml::parse(&edited), Ok(expected));
        prop_assert!(as_json || !edited.starts_with("---\n{"), "edited, not written anew: {}", edited);
    }
}
