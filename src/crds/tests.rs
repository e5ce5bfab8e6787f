use std::{fmt::Write as _, fs, path::Path};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps, JSONSchemaPropsOrArray,
    JSONSchemaPropsOrBool,
};
use tempfile::tempdir;

use super::{CrdsError, all, check, write};

/// Set to write `crds/` anew instead of checking it.
const WRITE: &str = "FAIRLEAD_WRITE_CRDS";

/// kind, versions, short names, columns, CEL rules and defaults of the newest version.
const FACTS: &str = "\
Alert | v1beta3 |  | Age | 0 | eventSeverity=info
Bucket | v1 v1beta2 |  | Endpoint Age Ready Status | 7 | provider=generic status=- timeout=60s
ExternalArtifact | v1 | ea | Age Ready Status Source | 0 |
GitRepository | v1 v1beta2 | gitrepo | URL Age Ready Status | 1 | mode=HEAD status=- timeout=60s
HelmChart | v1 v1beta2 | hc | Chart Version Source Kind Source Name Age Ready Status | 1 | provider=cosign reconcileStrategy=ChartVersion status=- version=*
HelmRelease | v2 v2beta2 v2beta1 | hr | Age Ready Status | 5 | deletionPropagation=background provider=cosign reconcileStrategy=ChartVersion status=- version=*
HelmRepository | v1 v1beta2 | helmrepo | URL Age Ready Status | 0 | provider=generic status=-
Kustomization | v1 v1beta2 | ks | Age Ready Status | 2 | force=- optional=- status=-
OCIRepository | v1 v1beta2 | ocirepo | URL Ready Status Age | 0 | provider=cosign provider=generic status=- timeout=60s
Provider | v1beta3 |  | Age | 1 |
Receiver | v1 |  | Age Ready Status | 4 | interval=10m status=-
";

#[test]
fn the_definitions_on_disk_are_fresh() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    if std::env::var_os(WRITE).is_some() {
        write(&dir).unwrap();
    }
    check(&dir).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_structure_is_flux_s() {
    let mut facts: Vec<String> = all().iter().map(describe).collect();
    facts.sort();
    assert_eq!(facts.concat(), FACTS);
}

#[test]
fn only_the_newest_version_is_stored_and_every_older_one_warns() {
    for crd in all() {
        let (newest, older) = crd.spec.versions.split_first().unwrap();
        assert!(newest.storage && newest.served && newest.deprecated.is_none(), "{newest:?}");
        for version in older {
            assert!(!version.storage && version.served && version.deprecated == Some(true), "{}", version.name);
            let warning = version.deprecation_warning.as_ref().unwrap();
            assert!(warning.contains(&version.name) && warning.contains(&newest.name), "{warning}");
            assert_eq!(version.additional_printer_columns, newest.additional_printer_columns);
        }
    }
}

#[test]
fn every_definition_says_what_its_fields_are_for() {
    for crd in all() {
        for (name, schema) in properties(schema(&crd.spec.versions[0])) {
            assert!(name == "metadata" || schema.description.is_some(), "{}: {name}", crd.spec.names.kind);
        }
    }
}

#[test]
fn stale_files_are_named() {
    let dir = tempdir().unwrap();
    write(dir.path()).unwrap();
    check(dir.path()).unwrap();
    fs::write(dir.path().join("left.yaml"), "").unwrap();
    fs::write(dir.path().join("README"), "").unwrap();
    fs::remove_file(dir.path().join("source.toolkit.fluxcd.io_buckets.yaml")).unwrap();
    fs::write(dir.path().join("source.toolkit.fluxcd.io_helmcharts.yaml"), "---\n").unwrap();
    let error = check(dir.path()).unwrap_err();
    let expected = ["left.yaml", "source.toolkit.fluxcd.io_buckets.yaml", "source.toolkit.fluxcd.io_helmcharts.yaml"];
    assert!(matches!(&error, CrdsError::Stale { stale, .. } if stale == &expected), "{error}");

    write(dir.path()).unwrap();
    check(dir.path()).unwrap();
    assert!(!dir.path().join("left.yaml").exists());
}

fn describe(crd: &CustomResourceDefinition) -> String {
    let join = |names: Vec<&str>| names.join(" ");
    let newest = &crd.spec.versions[0];
    let versions = crd.spec.versions.iter().map(|version| version.name.as_str()).collect();
    let short = crd.spec.names.short_names.iter().flatten().map(String::as_str).collect();
    let columns = newest.additional_printer_columns.iter().flatten().map(|column| column.name.as_str()).collect();
    let fields = properties(schema(newest));
    let rules: usize = fields.iter().map(|(_, field)| field.x_kubernetes_validations.iter().flatten().count()).sum();
    let mut defaults: Vec<String> = fields
        .iter()
        .filter_map(|(name, field)| Some(format!("{name}={}", field.default.as_ref()?.0.as_str().unwrap_or("-"))))
        .collect();
    defaults.sort();
    let mut line = format!("{} | {}", crd.spec.names.kind, join(versions));
    write!(line, " | {} | {} | {rules} | {}", join(short), join(columns), defaults.join(" ")).unwrap();
    format!("{}\n", line.trim_end())
}

fn schema(version: &CustomResourceDefinitionVersion) -> &JSONSchemaProps {
    version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap()
}

/// Every property at any depth with its name.
fn properties(schema: &JSONSchemaProps) -> Vec<(&str, &JSONSchemaProps)> {
    let mut found = Vec::new();
    for (name, property) in schema.properties.iter().flatten() {
        found.push((name.as_str(), property));
        found.extend(properties(property));
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        found.extend(properties(items));
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        found.extend(properties(values));
    }
    found
}
