use super::*;
use proptest::prelude::*;
use serde_json::json;

fn error(text: &str) -> YamlError {
    parse(text).expect_err("an error")
}

#[test]
fn plain_scalars_mean_what_go_reads() {
    let table = [
        ("yes", json!(true)),
        ("On", json!(true)),
        ("y", json!(true)),
        ("n", json!(false)),
        ("OFF", json!(false)),
        ("yEs", json!("yEs")),
        ("'yes'", json!("yes")),
        ("\"on\"", json!("on")),
        ("~", json!(null)),
        ("74", json!(74)),
        ("+74", json!(74)),
        ("-7", json!(-7)),
        ("1_000", json!(1000)),
        ("010", json!(8)),
        ("0o10", json!(8)),
        ("0x1F", json!(31)),
        ("0b101", json!(5)),
        ("089", json!(89.0)),
        ("025.1", json!(25.1)),
        (".5", json!(0.5)),
        ("1.", json!(1.0)),
        ("1e3", json!(1000.0)),
        ("1.60782110667e+11", json!(160_782_110_667.0)),
        ("160782110667", json!(160_782_110_667_i64)),
        ("9223372036854775807", json!(i64::MAX)),
        ("18446744073709551615", json!(u64::MAX)),
        ("18446744073709551616", json!(18_446_744_073_709_551_616.0)),
        ("1e999", json!("1e999")),
        ("2024-01-02", json!("2024-01-02")),
        ("2024-01-02T03:04:05Z", json!("2024-01-02T03:04:05Z")),
        ("12:30:45", json!("12:30:45")),
        ("1.2.3", json!("1.2.3")),
        ("0xZZ", json!("0xZZ")),
        ("inf", json!("inf")),
        ("!!str 74", json!("74")),
        ("!!int '7'", json!(7)),
        ("!!float 7", json!(7.0)),
        ("!!binary aGk=", json!("hi")),
        ("!custom 7", json!("7")),
        ("! 7", json!("7")),
    ];
    for (text, expected) in table {
        let text = format!("a: {text}\n");
        assert_eq!(parse(&text), Ok(json!({"a": expected})), "{text}");
    }
    assert!(error("a: .inf").message.contains("quote it"));
    assert!(error("a: !!int x").message.contains("!!int"));
}

#[test]
fn keys_that_are_not_text_become_text() {
    assert_eq!(parse("8080: a\ny: b\n1.5: c\n"), Ok(json!({"8080": "a", "true": "b", "1.5": "c"})));
    assert!(error("? [a]\n: b\n").message.contains("must be text"));
}

#[test]
fn a_template_placeholder_is_named_with_its_line() {
    let error = error("a: 1\nenvAccountId: {{ IVAS_TEST_LABEL }}\n");
    assert_eq!(error.line, 2);
    assert!(error.message.contains("placeholder"), "{error}");
}

#[test]
fn a_missing_separator_is_named_with_both_lines() {
    let error = error("# two objects\napiVersion: v1\nkind: A\napiVersion: v1\nkind: B\n");
    assert_eq!((error.line, error.column), (4, 1));
    assert_eq!(
        error.message,
        "`apiVersion` is given twice, first on line 2; is a `---` line missing between two objects?"
    );
    let nested = self::error("a:\n  b: 1\n  'b': 2\n");
    assert_eq!(nested.message, "`b` is given twice, first on line 2");
}

#[test]
fn one_broken_document_does_not_take_the_others() {
    let text = "a: 1\n---\nb: [\n---\n# only a comment\n---\nc: {{ X }}\n--- # named\nd: 4\n...\n---\ne: 5";
    let found: Vec<_> = documents(text)
        .into_iter()
        .map(|document| (document.line, document.result.map_err(|error| error.line)))
        .collect();
    assert_eq!(
        found,
        [(1, Ok(json!({"a": 1}))), (3, Err(3)), (7, Err(7)), (9, Ok(json!({"d": 4}))), (12, Ok(json!({"e": 5}))),]
    );
}

#[test]
fn merge_conflicts_are_named_and_neither_side_is_read() {
    let text = "a: 1\n---\n<<<<<<< HEAD\nb: 1\n---\nb: 2\n=======\nb: 3\n>>>>>>> theirs\n---\nc: 1\n";
    let found: Vec<_> =
        documents(text).into_iter().map(|document| document.result.map_err(|error| error.line)).collect();
    assert_eq!(found, [Ok(json!({"a": 1})), Err(3), Ok(json!({"c": 1})),]);
    assert_eq!(documents("<<<<<<< HEAD\na: 1\n---\nb: 1\n").len(), 1);
}

#[test]
fn texts_without_content_hold_no_document() {
    for text in ["", "\n\n", "# c\n", "---\n", "---\n# c\n---\n...\n", "\u{feff}", "%YAML 1.1\n"] {
        assert!(documents(text).is_empty(), "{text:?}");
        assert_eq!(parse(text), Ok(Value::Null));
    }
    assert_eq!(parse("%YAML 1.1\n---\na: 1\n"), Ok(json!({"a": 1})));
    assert_eq!(parse("just words\n"), Ok(json!("just words")));
    assert_eq!(error("a: 1\n---\nb: 1\n").line, 3);
}

#[test]
fn anchors_and_merge_keys() {
    let text = "base: &base {a: 1, b: 2}\nother: &other {b: 3, c: 4}\nx:\n  <<: [*base, *other]\n  a: 9\nw:\n  <<: *base\nz: *other\n";
    let value = parse(text).unwrap();
    assert_eq!(value["x"], json!({"a": 9, "b": 2, "c": 4}));
    assert_eq!(value["w"], json!({"a": 1, "b": 2}));
    assert_eq!(value["z"], json!({"b": 3, "c": 4}));
    assert_eq!(parse("'<<': 1\n"), Ok(json!({"<<": 1})));
    assert!(error("<<: 1\n").message.contains("needs a mapping"));
    assert_eq!(error("a: 1\nb: *nowhere\n").line, 2);
    assert!(parse("a: &a [*a]\n").is_err());
}

#[test]
fn aliases_cannot_explode_or_nest_without_bound() {
    let mut bomb = "l0: &l0 [a, a, a, a, a, a, a, a, a, a]\n".to_owned();
    for level in 1..12 {
        let item = format!("*l{}", level - 1);
        let items = [item.as_str(); 10].join(", ");
        bomb = format!("{bomb}l{level}: &l{level} [{items}]\n");
    }
    assert!(error(&bomb).message.contains("MiB"));

    let (open, close) = ("[".repeat(150), "]".repeat(150));
    let deep = format!("l0: &l0 {open}1{close}\nl1: {open}*l0{close}\n");
    assert!(error(&deep).message.contains("nested deeper"));
}

#[test]
fn every_field_knows_its_line() {
    let text = "---\n# header\nkind: A\nmetadata:\n  labels:\n    a/b: 1\nitems:\n- x\n- y: 2\n";
    let found = documents(text);
    let document = &found[0];
    let table = [
        ("", 3),
        ("/kind", 3),
        ("/metadata/labels/a~1b", 6),
        ("/metadata/name", 4),
        ("/items/1/y", 9),
        ("/nowhere", 3),
    ];
    for (pointer, line) in table {
        assert_eq!(document.lines.of(pointer), line, "{pointer}");
    }
}

#[test]
fn a_block_scalar_at_the_end_of_the_file_gets_no_line_feed() {
    assert_eq!(parse("a: |\n  text"), Ok(json!({"a": "text"})));
    assert_eq!(parse("a: |\n  text\n"), Ok(json!({"a": "text\n"})));
    assert_eq!(parse("a: |\r\n  text\r\n"), Ok(json!({"a": "text\n"})));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,12}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_reads_as_itself(value in any_json()) {
        prop_assert_eq!(parse(&value.to_string()), Ok(value));
    }

    #[test]
    fn nothing_panics(text in any::<String>(), yamlish in "[-a-c:{}\\[\\]&*<!|>#'\"% \n0-9.,?~]{0,60}") {
        documents(&text);
        documents(&yamlish);
    }

    #[test]
    fn errors_stay_within_the_file(text in "[-a-c:{}\\[\\]&*<!|>#'\"% \n0-9.,?~]{0,60}") {
        let last = text.lines().count() + 1;
        for document in documents(&text) {
            prop_assert!((1..=last).contains(&document.line));
            if let Err(error) = document.result {
                prop_assert!((1..=last).contains(&error.line));
            }
        }
    }
}

#[test]
fn no_depth_overflows_the_stack() {
    for text in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(100_000), "? ".repeat(100_000)] {
        let error = parse(&text).expect_err("too deep");
        // Brackets are counted by the parser as well, which looks ahead.
        let known = ["nested deeper than 200 levels", "recursion limit exceeded"];
        assert!(known.iter().any(|known| error.message.contains(known)), "{error}");
    }
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    assert!(parse(&deep).is_ok());
}
