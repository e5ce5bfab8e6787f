//! Compared with what `fluxcd/pkg/chartutil` wrote for the same values: `testdata/encoded.json`.

use serde::Deserialize;

use super::*;
use crate::values::config_digest;

#[derive(Deserialize)]
struct Encoded {
    values: Map<String, Value>,
    yaml: String,
    digest: String,
}

#[test]
fn every_byte_is_as_go_writes_it() {
    let cases: Vec<Encoded> =
        serde_json::from_str(include_str!("../testdata/encoded.json")).expect("test data is JSON");
    assert!(cases.len() > 5);
    for Encoded { values, yaml, digest } in cases {
        if !values.is_empty() {
            for (ours, theirs) in encode(&values).lines().zip(yaml.lines()) {
                assert_eq!(ours, theirs);
            }
            assert_eq!(encode(&values), yaml);
        }
        assert_eq!(config_digest(&values), digest);
    }
}

#[test]
fn nothing_is_an_empty_mapping() {
    assert_eq!(encode(&Map::new()), "{}\n");
}

#[test]
fn long_lines_can_stay_whole() {
    let text = format!("{} {}", "a".repeat(90), "b".repeat(90));
    let values = Map::from_iter([("x".to_owned(), Value::from(text.clone()))]);
    assert_eq!(encode_unfolded(&values), format!("x: {text}\n"));
    assert_eq!(encode(&values).lines().count(), 2);
}
