//! Compared with what `fluxcd/pkg/envsubst` makes of the same texts: `testdata/substituted.json`.

use super::*;
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    variables: BTreeMap<String, String>,
    texts: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    #[serde(default)]
    strict: bool,
    result: Option<String>,
}

pub(in crate::sync) fn variables<'v>(values: impl IntoIterator<Item = (&'v str, &'v str)>) -> Variables {
    let variable = |text: &str| Variable { text: text.to_owned(), secret: false };
    let values = values.into_iter().map(|(name, text)| (name.to_owned(), variable(text))).collect();
    Variables { values, strict: false }
}

fn text(text: &str, variables: &Variables) -> Result<String, SubstituteError> {
    substitute(text, variables).map(|found| found.text)
}

/// What we do on purpose where Flux refuses, or does nothing.
fn ours(text: &str) -> Option<&'static str> {
    Some(match text {
        // Its documentation promises this one, its parser does not know it.
        "${word-x y}x" => "abcABC123ABCabcx",
        // A class cannot be turned round, so that Flux never finds it at the end.
        _ => return None,
    })
}

#[test]
fn everything_is_as_flux_does_it() {
    let golden: Golden = serde_json::from_str(include_str!("../testdata/substituted.json")).unwrap();
    assert!(golden.texts.len() > 150);
    let mut variables = variables(golden.variables.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let mut wrong = Vec::new();
    for case in golden.texts {
        variables.strict = case.strict;
        let expected = ours(&case.text).map(str::to_owned).or(case.result);
        let found = text(&case.text, &variables);
        if found.as_ref().ok() != expected.as_ref() {
            wrong.push(format!("{:?}: {found:?}, and not {expected:?}", case.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn where_flux_counts_bytes_we_count_characters() {
    let variables = variables([("x", "äöü€"), ("f", "a.b[1]")]);
    let table = [
        ("${#x}", "4"),
        ("${x:1:2}", "öü"),
        ("${x#?}", "öü€"),
        ("${x%?}", "äöü"),
        ("${x^}", "Äöü€"),
        ("${x^^}", "ÄÖÜ€"),
        ("${x%[ü-€]}", "äöü"),
        ("${f%[[]*}", "a.b"),
        ("${f%\\[*}", "a.b"),
    ];
    for (expression, expected) in table {
        assert_eq!(text(expression, &variables).as_deref(), Ok(expected), "{expression}");
    }
}

#[test]
fn errors_name_the_variable_and_no_value() {
    let mut variables = variables([("set", "hunter2"), ("big", &"x".repeat(1 << 20))]);
    variables.strict = true;
    let nested = format!("{}{}", "${a:=".repeat(21), "}".repeat(21));
    let large = "${big//x/${big}}";
    let table = [
        ("a ${} b", "a `${` is not followed by the name of a variable"),
        ("${set", "the expression `${set` has no closing brace"),
        ("${set!}", "the expression `${set…` is none that substitution knows"),
        ("${set:=${other%}}", "the expression `${other…` is none that substitution knows"),
        ("${unset}", "the variable `unset` is not set and has no default"),
        ("${unset^^}", "the variable `unset` is not set and has no default"),
        (nested.as_str(), "expressions nest deeper than 20 levels"),
        (large, "substitution makes more than 8 MiB of text"),
    ];
    for (expression, message) in table {
        assert_eq!(text(expression, &variables).unwrap_err().to_string(), message, "{expression}");
    }
    let many = "${big}".repeat(9);
    assert_eq!(text(&many, &variables), Err(SubstituteError::TooLarge(8)));
    assert_eq!(text(&format!("${{unset:={many}}}"), &variables), Err(SubstituteError::TooLarge(8)));
}

#[test]
fn what_secrets_become_is_known() {
    let mut variables = variables([("open", "public")]);
    let secret = Variable { text: "hunter2".to_owned(), secret: true };
    variables.values.insert("password".to_owned(), secret);
    let found = substitute("${open} ${password} ${password^^} ${missing:=${password:0:6}}", &variables).unwrap();
    assert_eq!(found.text, "public hunter2 HUNTER2 hunter");
    assert_eq!(found.secrets.iter().map(String::as_str).collect::<Vec<_>>(), ["HUNTER2", "hunter", "hunter2"]);
}

#[test]
fn names_are_those_of_a_shell() {
    for name in ["a", "_", "A1_b"] {
        assert!(is_name(name), "{name}");
    }
    for name in ["", "1a", "a-b", "values.yaml", "ä"] {
        assert!(!is_name(name), "{name}");
    }
}

/// Texts in which expressions are likely.
fn template() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("${".to_owned()),
        Just("}".to_owned()),
        Just("$$".to_owned()),
        "[a-c$:/#%^,=*?\\[\\]\\\\{}~ -]{0,4}",
        Just("a".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nothing_panics(template in template(), a in any::<String>(), b in "[a-c*?\\[\\]\\\\/0-9-]{0,6}", strict: bool) {
        let mut variables = variables([("a", a.as_str()), ("b", b.as_str())]);
        variables.strict = strict;
        let _ = substitute(&template, &variables);
    }

    #[test]
    fn text_without_a_dollar_sign_stays(template in "[^$]*", a in any::<String>()) {
        prop_assert!(!concerns(&template));
        prop_assert_eq!(text(&template, &variables([("a", a.as_str())])), Ok(template));
    }

    #[test]
    fn escaped_text_stays_what_it_was(template in any::<String>()) {
        let escaped = template.replace('$', "$$");
        prop_assert_eq!(text(&escaped, &Variables::default()), Ok(template));
    }
}
