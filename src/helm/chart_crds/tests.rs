use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::*;

fn package(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, *bytes).expect("writes to memory");
    }
    archive.into_inner().and_then(GzEncoder::finish).expect("writes to memory")
}

fn crd(name: &str) -> String {
    format!("apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: {name}}}\n")
}

fn names(package: &[u8], values: &Value) -> Vec<String> {
    let values = values.as_object().expect("a mapping");
    let found = definitions(package, values).expect("a chart");
    found.iter().filter_map(|crd| crd["metadata"]["name"].as_str()).map(str::to_owned).collect()
}

#[test]
fn definitions_come_from_crds_only() {
    let two = format!("{}---\nkind: Secret\napiVersion: v1\n---\n{}", crd("a"), crd("b"));
    let app = package(&[
        ("app/Chart.yaml", b"name: app"),
        ("app/crds/two.yaml", two.as_bytes()),
        ("app/crds/deep/c.yml", crd("c").as_bytes()),
        ("app/crds/README.md", crd("no").as_bytes()),
        ("app/templates/crd.yaml", crd("no").as_bytes()),
    ]);
    assert_eq!(names(&app, &json!({})), ["c", "a", "b"]);
}

#[test]
fn charts_inside_count_while_enabled() {
    let packed = package(&[("packed/Chart.yaml", b"name: packed"), ("packed/crds/p.yaml", crd("p").as_bytes())]);
    let chart = b"dependencies: [{name: folder, condition: 'x.enabled,folder.enabled', tags: [front]}, {name: packed, tags: [back, more]}]";
    let app = package(&[
        ("app/Chart.yaml", chart),
        ("app/values.yaml", b"folder: {enabled: true}"),
        ("app/charts/folder/crds/f.yaml", crd("f").as_bytes()),
        ("app/charts/packed-1.0.0.tgz", &packed),
        ("app/charts/undeclared/crds/u.yaml", crd("u").as_bytes()),
    ]);
    let cases: [(Value, &[&str]); 6] = [
        (json!({}), &["f", "p", "u"]),
        (json!({"folder": {"enabled": false}}), &["p", "u"]),
        (json!({"x": {"enabled": false}}), &["p", "u"]),
        (json!({"tags": {"front": false}}), &["f", "p", "u"]),
        (json!({"tags": {"back": false}}), &["f", "u"]),
        (json!({"tags": {"back": false, "more": true}}), &["f", "p", "u"]),
    ];
    for (values, expected) in cases {
        assert_eq!(names(&app, &values), expected, "{values}");
    }
}

#[test]
fn a_broken_file_is_named() {
    let app = package(&[("app/crds/a.yaml", b"kind: X\n---\na: b: c\n")]);
    let message = definitions(app.as_slice(), &Map::new()).expect_err("is broken").to_string();
    assert!(message.starts_with("crds/a.yaml:3: "), "{message}");
    assert!(definitions(&b"no gzip"[..], &Map::new()).is_err());
}
