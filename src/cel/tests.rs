use proptest::prelude::*;
use serde_json::json;

use super::{Expression, fields};

fn object() -> serde_json::Value {
    json!({
        "kind": "Database", "metadata": {"generation": 3, "labels": {"app.kubernetes.io/name": "db"}},
        "spec": {"replicas": 3, "ratio": 0.5, "text": "grüße", "names": ["a", "b", "c"], "none": null, "on": true},
        "status": {"conditions": [
            {"type": "Synced", "status": "True", "at": "2026-01-02T03:04:05Z"},
            {"type": "Ready", "status": "False"},
        ]},
    })
}

fn evaluated(text: &str) -> Result<bool, String> {
    let expression = Expression::parse(text).map_err(|error| error.to_string())?;
    expression.holds(&fields(&object())).map_err(|error| error.to_string())
}

#[test]
fn what_holds() {
    for text in [
        "true",
        "!false && (true || false)",
        "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && -7 / 2 == -3 && 7 % 4 == 3",
        "-9223372036854775808 < 9223372036854775807 && 0x1F == 31 && 2u == 2 && 1.5e1 == 15",
        "1 < 1.5 && 2u > 1.5 && 9007199254740993 > 9007199254740992.0",
        "'a' + \"b\" == 'ab' && '''x\ny''' == 'x\\ny' && r'\\d' == '\\\\d' && b'a' == b'\\x61' && '\\u00fc' == 'ü'",
        "[1, 2] + [3] == [1, 2, 3] && {'a': 1, 'b': 2}.a == 1 && {1: 'x'}[1] == 'x'",
        "2 in [1, 2] && 'a' in {'a': 1} && !(3 in [1, 2])",
        "spec.replicas == 3 && spec['replicas'] == 3.0 && spec.ratio == 0.5 && spec.none == null",
        "metadata.labels['app.kubernetes.io/name'] == 'db' && metadata.labels.`app.kubernetes.io/name` == 'db'",
        "has(spec.replicas) && !has(spec.other) && has(spec.none)",
        "status.conditions.filter(e, e.type == 'Synced').all(e, e.status == 'True')",
        "status.conditions.exists(e, e.type == 'Ready' && e.status == 'False')",
        "status.conditions.exists_one(c, c.type == 'Ready') && !spec.names.exists_one(n, true)",
        "spec.names.map(n, n + n) == ['aa', 'bb', 'cc'] && spec.names.map(n, n != 'b', n) == ['a', 'c']",
        "{'x': 1, 'y': 2}.all(k, k in ['x', 'y'])",
        // A side that decides makes an error of the other one void.
        "true || spec.other && false || true",
        "spec.other || true",
        "!(spec.other && false)",
        "[1, 0].exists(n, 1 / n == 1) && ![0, 2].all(n, 4 / n == 1)",
        "spec.on ? spec.replicas == 3 : spec.other",
        "size(spec.text) == 5 && spec.text.size() == 5 && size(spec.names) == 3",
        "spec.text.startsWith('gr') && spec.text.endsWith('e') && spec.text.contains('ü') && spec.text.matches('^g.*e$')",
        "spec.text.charAt(2) == 'ü' && spec.text.substring(1, 3) == 'rü' && spec.text.indexOf('ß') == 3",
        "'a,b,c'.split(',') == spec.names && 'a,b,c'.split(',', 2) == ['a', 'b,c'] && 'ab'.split('') == ['a', 'b']",
        "spec.names.join('-') == 'a-b-c' && 'aXbX'.replace('X', '') == 'ab' && 'aXbX'.replace('X', '', 1) == 'abX'",
        "' x '.trim() == 'x' && 'aB'.lowerAscii() == 'ab' && 'aB'.upperAscii() == 'AB' && 'abc'.reverse() == 'cba'",
        "'abcab'.lastIndexOf('ab') == 3 && 'abcab'.lastIndexOf('ab', 2) == 0 && 'x'.indexOf('y') == -1",
        "'%s is %d, %.2f, %x'.format(['a', 1, 0.5, 255]) == 'a is 1, 0.50, ff' && strings.quote('a\"') == '\"a\\\\\"\"'",
        "int('42') == 42 && int(3.9) == 3 && uint('7') == 7u && double('1.5') == 1.5 && string(1) == '1' && bool('true')",
        "string(true) == 'true' && string(b'a') == 'a' && bytes('a') == b'a' && dyn(1) == 1 && string(2.0) == '2'",
        "type(1) == int && type('a') == string && type([]) == list && type(null) == null_type",
        "timestamp('2026-01-02T03:04:05Z') < timestamp('2026-01-03T00:00:00Z')",
        "timestamp(status.conditions[0].at) + duration('1h') == timestamp('2026-01-02T04:04:05Z')",
        "timestamp(status.conditions[0].at).getHours() == 3 && timestamp(0).getFullYear() == 1970",
        "timestamp(0).getHours('+02:00') == 2 && timestamp(0).getDayOfWeek() == 4 && duration('90m').getHours() == 1",
        "timestamp(90) - timestamp(30) == duration('1m') && string(duration('1m30.5s')) == '90.5s'",
        "base64.encode(b'ab') == 'YWI=' && base64.decode('YWI=') == b'ab' && base64.decode('YWI') == b'ab'",
        "sets.contains([1, 2], [2]) && sets.equivalent([1, 2, 1], [2, 1]) && !sets.intersects([1], [2])",
        "spec.?other.orValue(7) == 7 && spec.?replicas.orValue(7) == 3 && !spec.?other.?deep.hasValue()",
        "spec.names[?0].value() == 'a' && !spec.names[?9].hasValue() && optional.of(1).optMap(x, x + 1) == optional.of(2)",
        "[?optional.of(1), ?optional.none()] == [1] && {?'a': spec.?other} == {} && optional.none().or(optional.of(1)).value() == 1",
        "optional.ofNonZeroValue('') == optional.none() && has(spec.?other.deep) == false",
        "// a comment\n1 == 1",
        ".spec.replicas == 3",
    ] {
        assert_eq!(evaluated(text), Ok(true), "{text}");
    }
}

#[test]
fn what_cannot_be_read_names_the_place() {
    let nested = format!("{}1{} == 1", "(".repeat(200), ")".repeat(200));
    let long = format!("'{}' == ''", "x".repeat(40_000));
    let chain = vec!["true"; 200].join(" && ");
    for (text, said) in [
        ("", "column 1: expected an expression, found the end"),
        ("status.", "column 8: expected a field, found the end"),
        ("a = b", "column 3: '=' is no operator"),
        ("a ==", "column 5: expected an expression, found the end"),
        ("a b", "column 3: expected an operator or the end, found 'b'"),
        ("(1 == 1", "column 8: expected ')', found the end"),
        ("true &&\n  'x", "line 2, column 3: a text does not end"),
        ("'ü' == #", "column 8: unexpected character '#'"),
        ("ü == 1", "column 1: unexpected character 'ü'"),
        ("'\\q' == ''", "column 2: not an escape sequence"),
        ("'\\u+123' == ''", "column 2: not an escape sequence"),
        ("99999999999999999999 == 1", "column 1: not a number that fits 64 bits"),
        ("9223372036854775808 == 1", "column 1: not a number that fits 64 bits"),
        ("foo(1)", "column 1: there is no function 'foo'"),
        ("a.startsWith()", "column 3: 'startsWith' cannot be called on a value with 0 argument(s)"),
        ("a.exists(e)", "column 3: 'exists' cannot be called on a value with 1 argument(s)"),
        ("a.all(e.f, true)", "column 9: the first argument of a macro has to be a plain name"),
        ("has(status)", "column 1: has() takes one field"),
        ("for == 1", "column 1: 'for' is a reserved word"),
        (nested.as_str(), "column 121: more than 120 levels"),
        (long.as_str(), "column 1: longer than 32768 bytes"),
        (chain.as_str(), "more than 120 levels"),
    ] {
        let error = Expression::parse(text).expect_err(text).to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn what_has_no_result_names_the_place() {
    let twice = format!("optional.of([1]){} == optional.none()", ".optMap(x, [x, x])".repeat(60));
    let tens = |inner: &str, name: &str| format!("[0,1,2,3,4,5,6,7,8,9].all({name}, {inner})");
    let many =
        ["a", "b", "c", "d", "e", "f", "g"].into_iter().fold("true".to_owned(), |inner, name| tens(&inner, name));
    let deep = format!("{0} == {0}", twice.split(" == ").next().unwrap_or_default());
    for (text, said) in [
        ("spec.other == 1", "column 6: no such key: 'other'"),
        ("nothing.phase == 1", "column 1: no such attribute: nothing"),
        ("spec.replicas.x == 1", "column 15: int has no field 'x'"),
        ("spec.names[3] == 'd'", "column 11: index out of bounds, the list has 3 items"),
        ("spec.replicas", "column 6: gives int, not bool"),
        ("1 / 0 == 1", "column 3: division by zero"),
        ("9223372036854775807 + 1 > 0", "column 21: the result does not fit 64 bits"),
        ("1 + 'a' == 2", "column 3: no such overload: '+' with (int, string)"),
        ("1 < 'a'", "column 3: no such overload: '<' with (int, string)"),
        ("1 && true", "column 3: no such overload: '&&' with (int)"),
        ("size(1) == 1", "column 1: no such overload: 'size' with (int)"),
        ("spec.text.matches('(')", "column 11: not a regular expression"),
        ("spec.text.matches('(x{1000}){1000}')", "column 11: not a regular expression, or a too large one"),
        ("int('x') == 1", "column 1: the text is no whole number"),
        ("int(1e30) == 1", "column 1: the value is out of the range of int"),
        ("'x'.substring(2, 1) == ''", "column 5: position 2 is outside of the text"),
        ("timestamp('soon') == timestamp(0)", "column 1: the text is no RFC 3339 time"),
        ("timestamp(0).getHours('Nowhere/City') == 1", "there is no time zone 'Nowhere/City'"),
        ("{'a': 1, 'a': 2} == {}", "a key stands twice in a map"),
        ("'%d'.format([]) == ''", "more verbs than values"),
        ("'%.999f'.format([1.0]) == ''", "not a precision"),
        (many.as_str(), "takes more than 1000000 steps"),
        (deep.as_str(), "takes more than 1000000 steps"),
    ] {
        let error = evaluated(text).expect_err(text);
        assert!(error.contains(said), "{text}: {error}");
    }
    let longer = format!("'{0}'.replace('', '{0}') == ''", "x".repeat(10_000));
    assert!(evaluated(&longer).expect_err("too long").contains("a text of more than"), "{longer}");
}

#[test]
fn a_condition_knows_its_variables_and_gives_true_or_false() {
    let read = |text: &str| Expression::condition(text, &["self", "dep"]).map(drop).map_err(|error| error.to_string());
    for text in [
        "dep.metadata.generation == self.metadata.generation",
        "dep.status.conditions.exists(c, c.type == 'Ready')",
        "self.spec.suspend",
        "type(dep) == map",
        "has(dep.status) ? dep.status.ok : false",
        "dep.?status.?phase.orValue('') == 'x'",
    ] {
        assert_eq!(read(text), Ok(()), "{text}");
    }
    for (text, said) in [
        ("dep.x == other.x", "column 10: undeclared reference to 'other'"),
        ("dep.all(x, true) && x", "column 21: undeclared reference to 'x'"),
        ("'ready'", "column 1: gives string, and has to give bool"),
        ("dep.status.size()", "gives int, and has to give bool"),
        ("self.a + self.b", "gives a sum, and has to give bool"),
        ("dep.x ? 1 : 2", "gives int, and has to give bool"),
    ] {
        let error = read(text).expect_err(text);
        assert!(error.contains(said), "{text}: {error}");
    }
}

fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "spec",
        "status",
        ".",
        ".?",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        ",",
        ":",
        "?",
        "&&",
        "||",
        "!",
        "-",
        "+",
        "*",
        "/",
        "%",
        "==",
        "<",
        "in",
        "1",
        "0",
        "2u",
        "1.5",
        "'a'",
        "b'x'",
        "null",
        "true",
        "e",
        "all",
        "map",
        "filter",
        "size",
        "exists",
        "optMap",
        "names",
        "replicas",
        "matches",
        "split",
        "substring",
        "has",
        "timestamp",
        "duration",
        "'1h'",
        "9223372036854775807",
        "-9223372036854775808",
        "\\",
        "'",
        "\"",
        "`",
        "ü",
        "//",
        "\n",
    ]);
    prop::collection::vec(word, 0..24).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn every_text_ends_in_an_answer(text in prop_oneof![words(), any::<String>()]) {
        let _ = evaluated(&text);
    }

    #[test]
    fn text_functions_take_any_number(text in ".{0,8}", other in ".{0,3}", one in -3_i64..12, two in -3_i64..12) {
        let variables = fields(&json!({"t": text, "o": other, "a": one, "b": two}));
        for call in ["t.substring(a, b)", "t.substring(a)", "t.charAt(a)", "t.indexOf(o, a)", "t.lastIndexOf(o, a)",
            "t.split(o, a)", "t.replace(o, t, a)", "t.replace(o, t)", "[t, o].join(t)"] {
            let expression = Expression::parse(&format!("{call} == ''")).expect("it can be read");
            let _ = expression.holds(&variables);
        }
    }
}
