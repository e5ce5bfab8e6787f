//! Compared with what `fluxcd/pkg/chartutil` composed from the same input: `testdata/composed.json`.

use serde::Deserialize;
use serde_json::json;

use super::*;

#[derive(Deserialize)]
struct Composed {
    values: Option<Value>,
    references: Option<Vec<Given>>,
    #[serde(default)]
    result: Map<String, Value>,
    #[serde(default)]
    fails: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct Given {
    path: Option<String>,
    #[serde(default)]
    literal: bool,
    value: String,
}

fn origin() -> Origin {
    Origin { kind: "Secret", namespace: "dev".to_owned(), name: "s".to_owned(), key: "k".to_owned() }
}

fn fetched(given: Given) -> FetchedReference {
    let content = match given.path {
        None => Content::Mapping(given.value),
        Some(path) => Content::AtPath {
            path,
            value: given.value,
            reading: if given.literal { Reading::Literal } else { Reading::Typed },
        },
    };
    FetchedReference { origin: origin(), content }
}

#[test]
fn values_compose_as_in_flux() {
    let cases: Vec<Composed> =
        serde_json::from_str(include_str!("../testdata/composed.json")).expect("test data is JSON");
    assert!(cases.len() > 200);
    for case in cases {
        let given = case.references.unwrap_or_default();
        let result = compose(case.values.as_ref(), given.iter().cloned().map(fetched).collect());
        match result {
            Ok(values) => {
                assert!(!case.fails, "{:?} into {:?} fails in Flux", given, case.values);
                assert_eq!(values, case.result, "{:?} into {:?}", given, case.values);
            }
            Err(error) => assert!(case.fails, "{:?} into {:?}: {error}", given, case.values),
        }
    }
}

#[test]
fn the_highest_index_is_bounded() {
    let at = |path: &str| Given { path: Some(path.to_owned()), literal: false, value: "v".to_owned() };
    let list = compose(None, vec![fetched(at("a[65536]"))]).expect("the index is allowed");
    assert_eq!(list["a"].as_array().map(Vec::len), Some(65_537));
    assert!(compose(None, vec![fetched(at("a[65537]"))]).is_err());
}

#[test]
fn errors_name_the_place_and_never_the_content() {
    let mapping = |text: &str| vec![fetched(Given { path: None, literal: false, value: text.to_owned() })];
    let at_path = |path: &str, text: &str| {
        vec![fetched(Given { path: Some(path.to_owned()), literal: false, value: text.to_owned() })]
    };
    let cases = [
        (mapping("a: 1\nhunter2"), "Secret dev/s key k is not YAML: line 2"),
        (mapping("password: {{ hunter2 }}"), "Secret dev/s key k is not YAML: line 1"),
        (mapping("hunter2"), "Secret dev/s key k holds a scalar"),
        (mapping("- hunter2"), "Secret dev/s key k holds a list"),
        (at_path("a.b", "x,hunter2"), "Secret dev/s key k cannot be set at `targetPath` a.b: a part of it"),
        (at_path("own.b", "hunter2"), "Secret dev/s key k cannot be set at `targetPath` own.b: a key on"),
    ];
    for (references, beginning) in cases {
        let message = compose(Some(&json!({"own": 1})), references).map(|_| ()).expect_err(beginning).to_string();
        assert!(message.starts_with(beginning), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}
