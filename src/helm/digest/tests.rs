//! Releases that helm 3 and helm 4 made of a chart that fills every field, with what Go's encoder
//! made of them: `../testdata/releases.json`.

use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::helm::storage::decode;
use crate::helm::summary::summary;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Observed {
    secret: Secret,
    observation: String,
    digest: String,
    config_digest: String,
}

fn recorded() -> Vec<Observed> {
    serde_json::from_str(include_str!("../testdata/releases.json")).expect("test data is JSON")
}

#[test]
fn releases_are_observed_as_in_flux() {
    let recorded = recorded();
    assert_eq!(recorded.len(), 8);
    for Observed { secret, observation: theirs, digest, config_digest } in recorded {
        let release = decode(&secret).expect("a release");
        assert_eq!(observation(&release), theirs);
        assert_eq!(observation_digest(&release), digest);
        let (key, summary) = summary(&secret).expect("a release");
        assert_eq!(*summary.config_digest, *config_digest);
        assert_eq!((key.name.as_str(), summary.version), (release.name(), release.version()));
    }
}

#[test]
fn times_lose_trailing_zeros() {
    let cases = [
        ("2026-11-23T11:00:00Z", "2026-11-23T11:00:00Z"),
        ("2026-11-23T11:00:00.1200Z", "2026-11-23T11:00:00.12Z"),
        ("2026-11-23T11:00:00.000+01:00", "2026-11-23T11:00:00+01:00"),
    ];
    for (stored, written) in cases {
        assert_eq!(without_trailing_zeros(stored), written);
    }
}

#[test]
fn an_empty_release_has_every_fixed_field() {
    let Value::Object(document) = json!({"name": "x", "hooks": [{"events": ["test"], "last_run": {"phase": ""}}]})
    else {
        unreachable!("the literal is a mapping");
    };
    assert_eq!(
        observation(&StoredRelease::from_document(document)),
        concat!(
            r#"{"name":"x","version":0,"info":{},"chartMetadata":{},"config":null,"manifest":"","#,
            r#""hooks":null,"namespace":""}"#,
            "\n"
        )
    );
}
