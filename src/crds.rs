//! The custom resource definitions, made from the wire types.
//!
//! The newest version of each kind is what Flux 2.9 defines, with descriptions of our own. Older
//! versions are served beside it, see `older`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::api::kinds;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

pub mod install;
mod older;

/// Why the definitions on disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CrdsError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// Files differ from what the wire types give.
    #[error("stale: {}; run `fairlead crds --write {}`", stale.join(", "), dir.display())]
    Stale {
        /// The folder.
        dir: PathBuf,
        /// Names of the files that are missing, different or left over.
        stale: Vec<String>,
    },
}

/// All definitions, ordered by group and name.
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut crds: Vec<_> = kinds::all().into_iter().map(|kind| (kind.definition)()).collect();
    for crd in &mut crds {
        crd.spec.names.list_kind = Some(format!("{}List", crd.spec.names.kind));
        for version in &mut crd.spec.versions {
            if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
                complete_root(schema);
                normalise(schema);
            }
        }
        older::add_versions(crd);
    }
    crds
}

/// All definitions as one YAML stream.
pub fn yaml() -> String {
    files().into_iter().map(|(_, content)| content).collect()
}

/// File name and content of each definition.
pub fn files() -> Vec<(String, String)> {
    all()
        .iter()
        .map(|crd| {
            let name = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
            (name, format!("---\n{}", document(crd)))
        })
        .collect()
}

/// Writes each definition to its file in `dir`, which is made if need be, and removes definitions
/// that are no longer there.
pub fn write(dir: &Path) -> Result<(), CrdsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CrdsError::File { path, source }
    };
    fs::create_dir_all(dir).map_err(failed(dir))?;
    for name in left_over(dir)? {
        let path = dir.join(name);
        fs::remove_file(&path).map_err(failed(&path))?;
    }
    for (name, content) in files() {
        let path = dir.join(name);
        fs::write(&path, content).map_err(failed(&path))?;
    }
    Ok(())
}

/// Checks that `dir` holds exactly the definitions that the wire types give.
pub fn check(dir: &Path) -> Result<(), CrdsError> {
    let mut stale = left_over(dir)?;
    for (name, content) in files() {
        if fs::read_to_string(dir.join(&name)).ok().as_ref() != Some(&content) {
            stale.push(name);
        }
    }
    if stale.is_empty() { Ok(()) } else { Err(CrdsError::Stale { dir: dir.to_owned(), stale }) }
}

/// Names of the YAML files in `dir` that are no definition of ours.
fn left_over(dir: &Path) -> Result<Vec<String>, CrdsError> {
    let failed = |source| CrdsError::File { path: dir.to_owned(), source };
    let ours: Vec<String> = files().into_iter().map(|(name, _)| name).collect();
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|extension| extension == "yaml") && !ours.contains(&name) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn document(crd: &CustomResourceDefinition) -> String {
    serde_saphyr::to_string(crd).expect("a definition is plain data")
}

/// Describes the fields that every object has, and asks for none of them: Flux does not either.
fn complete_root(schema: &mut JSONSchemaProps) {
    let described = |type_: &str, description: Option<&str>| JSONSchemaProps {
        type_: Some(type_.to_owned()),
        description: description.map(str::to_owned),
        ..JSONSchemaProps::default()
    };
    let properties = schema.properties.get_or_insert_default();
    let api_version = described("string", Some("Group and version that the object is written in."));
    properties.insert("apiVersion".to_owned(), api_version);
    properties.insert("kind".to_owned(), described("string", Some("Kind of the object.")));
    properties.insert("metadata".to_owned(), described("object", None));
    schema.required = None;
}

/// Brings a derived schema into the form that Flux's have: no field takes null, and a description
/// is one paragraph.
fn normalise(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.title = None;
    schema.description = schema.description.take().map(|text| text.replace('\n', " "));
    if let Some(values) = &mut schema.enum_ {
        values.retain(|value| !value.0.is_null());
    }
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        normalise(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        normalise(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        normalise(values);
    }
}

#[cfg(test)]
mod tests;
