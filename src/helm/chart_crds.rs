//! Which definitions a packaged chart brings in its `crds/` folders, purely.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};

use crate::source::archive::ArchiveError;
use crate::source::archive::entries::{Budget, Limits, content, visit};
use crate::yaml;

/// The most that a chart may unpack to, in bytes; and the most that is kept in memory of it and of the packages inside.
const CHART_LIMIT: u64 = 100 * 1024 * 1024;

/// Deepest nesting of charts in charts.
const DEEPEST: usize = 8;

/// Why the definitions of a chart cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ChartCrdsError {
    /// The package is not a gzipped tar archive, or not on disk.
    #[error("the chart package cannot be read: {0}")]
    Package(#[from] io::Error),
    /// The package is damaged, or larger than a chart may be.
    #[error("the chart package cannot be read: {0}")]
    Archive(#[from] ArchiveError),
    /// A file in `crds/` is not YAML.
    #[error("{file}:{line}: {message}")]
    NotYaml {
        /// Path in the package.
        file: String,
        /// Line of the error, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
}

/// Files of a chart by their path below its folder.
type Files = BTreeMap<String, Vec<u8>>;

/// The `CustomResourceDefinition`s in the `crds/` folders of a chart package and of the charts
/// inside that these values leave enabled. Other kinds there are left out, as in Flux.
pub fn definitions(package: impl Read, values: &Map<String, Value>) -> Result<Vec<Value>, ChartCrdsError> {
    let mut found = Vec::new();
    let mut budget = Budget::new(CHART_LIMIT);
    let files = unpack(package, &mut budget)?;
    collect(&files, &Value::Object(values.clone()), DEEPEST, (&mut budget, &mut found))?;
    Ok(found)
}

/// What matters of a package, without the chart's own folder in the paths.
fn unpack(package: impl Read, budget: &mut Budget) -> Result<Files, ArchiveError> {
    let mut files = Files::new();
    visit(MultiGzDecoder::new(package), Limits::bytes(CHART_LIMIT), |path, entry| {
        let path = path.to_string_lossy();
        if let Some((_, path)) = path.split_once('/').filter(|(_, path)| matters(path)) {
            budget.spend(entry.size())?;
            files.insert(path.to_owned(), content(entry)?);
        }
        Ok::<_, ArchiveError>(())
    })?;
    Ok(files)
}

fn matters(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    matches!(name, "Chart.yaml" | "values.yaml" | "requirements.yaml")
        || path.split('/').any(|folder| folder == "crds")
        || (path.starts_with("charts/") && is_package(path))
}

fn is_package(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "tgz")
}

fn collect(
    files: &Files,
    values: &Value,
    depth: usize,
    (budget, found): (&mut Budget, &mut Vec<Value>),
) -> Result<(), ChartCrdsError> {
    for (path, bytes) in files.range("crds/".to_owned()..).take_while(|(path, _)| path.starts_with("crds/")) {
        if [".yaml", ".yml", ".json"].iter().any(|ending| path.ends_with(ending)) {
            read_definitions(path, &String::from_utf8_lossy(bytes), found)?;
        }
    }
    if depth == 0 {
        return Ok(());
    }
    let values = over(&parsed(files, "values.yaml"), values);
    let dependencies = dependencies(files);
    for (folder, inner) in inner_charts(files, budget)? {
        let declared: Vec<&Value> = dependencies.iter().filter(|dependency| dependency["name"] == *folder).collect();
        let names = declared
            .iter()
            .filter(|dependency| is_enabled(dependency, &values))
            .map(|dependency| dependency["alias"].as_str().filter(|alias| !alias.is_empty()).unwrap_or(&folder));
        // A chart that lies in `charts/` without being declared always counts.
        let scope = if declared.is_empty() { Some(folder.as_str()) } else { names.into_iter().next() };
        if let Some(scope) = scope {
            collect(&inner, &values[scope], depth - 1, (&mut *budget, &mut *found))?;
        }
    }
    Ok(())
}

fn read_definitions(path: &str, text: &str, found: &mut Vec<Value>) -> Result<(), ChartCrdsError> {
    for document in yaml::documents(text) {
        let object = document.result.map_err(|error| ChartCrdsError::NotYaml {
            file: path.to_owned(),
            line: error.line,
            message: error.message,
        })?;
        let group = object["apiVersion"].as_str().and_then(|version| version.split_once('/'));
        if object["kind"] == "CustomResourceDefinition"
            && group.is_some_and(|(group, _)| group == "apiextensions.k8s.io")
        {
            found.push(object);
        }
    }
    Ok(())
}

/// The charts in `charts/`, by their name: folders and packages alike.
fn inner_charts(files: &Files, budget: &mut Budget) -> Result<BTreeMap<String, Files>, ArchiveError> {
    let mut charts: BTreeMap<String, Files> = BTreeMap::new();
    for (path, bytes) in files.iter().filter_map(|(path, bytes)| Some((path.strip_prefix("charts/")?, bytes))) {
        if let Some((folder, below)) = path.split_once('/') {
            charts.entry(folder.to_owned()).or_default().insert(below.to_owned(), bytes.clone());
        } else if is_package(path) {
            let inner = unpack(bytes.as_slice(), budget)?;
            if let Some(name) = parsed(&inner, "Chart.yaml")["name"].as_str() {
                charts.insert(name.to_owned(), inner);
            }
        }
    }
    Ok(charts)
}

/// A YAML file of the chart; null when it is missing or wrong, which helm says better.
fn parsed(files: &Files, path: &str) -> Value {
    let text = files.get(path).map(|bytes| String::from_utf8_lossy(bytes));
    text.and_then(|text| yaml::parse(&text).ok()).unwrap_or_default()
}

fn dependencies(files: &Files) -> Vec<Value> {
    let declared = ["Chart.yaml", "requirements.yaml"].map(|file| parsed(files, file)["dependencies"].take());
    declared.into_iter().find_map(|list| list.as_array().cloned()).unwrap_or_default()
}

/// The first path of the condition that holds a boolean decides, then the tags.
fn is_enabled(dependency: &Value, values: &Value) -> bool {
    let condition = dependency["condition"].as_str().unwrap_or_default();
    let decided = condition
        .split(',')
        .find_map(|path| path.trim().split('.').try_fold(values, |inner, key| inner.get(key))?.as_bool());
    decided.unwrap_or_else(|| {
        let tags = dependency["tags"].as_array().map_or(&[][..], Vec::as_slice);
        let mut set = tags.iter().filter_map(|tag| values["tags"].get(tag.as_str()?)?.as_bool()).peekable();
        set.peek().is_none() || set.any(|enabled| enabled)
    })
}

/// The upper value over the lower one; mappings merge.
fn over(lower: &Value, upper: &Value) -> Value {
    match (lower, upper) {
        (Value::Object(lower), Value::Object(upper)) => {
            let mut merged = lower.clone();
            for (key, value) in upper {
                let value = lower.get(key).map_or_else(|| value.clone(), |below| over(below, value));
                merged.insert(key.clone(), value);
            }
            Value::Object(merged)
        }
        (lower, Value::Null) => lower.clone(),
        (_, upper) => upper.clone(),
    }
}

#[cfg(test)]
#[path = "chart_crds/tests.rs"]
mod tests;
