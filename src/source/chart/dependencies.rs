//! What a chart needs beside its own files, and which of it is missing. Pure.

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{ChartError, ChartFault, Content, Files, chart_yaml, read_text};
use crate::source::version::Version;
use crate::yaml;

/// A chart that another one needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// Its version: the one that was locked, or a range.
    #[serde(default)]
    pub version: String,
    /// Where it is.
    #[serde(default)]
    pub repository: String,
}

/// Where a dependency is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the same source, below the chart's own folder unless it climbs.
    Local(String),
    /// In a Helm repository.
    Repository(Url),
    /// In a registry.
    Registry(Url),
}

impl Dependency {
    /// Where to get it from; the error says why it cannot be had.
    pub fn origin(&self) -> Result<Origin, String> {
        let repository = self.repository.trim();
        if repository.is_empty() {
            return Err("it is not in the chart's charts/ folder, and names no repository to get it from".to_owned());
        }
        if let Some(path) = repository.strip_prefix("file://") {
            return Ok(Origin::Local(path.to_owned()));
        }
        let shown = crate::redact::redact(repository);
        if repository.starts_with('@') || repository.starts_with("alias:") {
            let why = "is a name that only a helm command line knows; write the repository's URL instead";
            return Err(format!("its repository '{shown}' {why}"));
        }
        let url = Url::parse(repository).map_err(|error| format!("its repository '{shown}' is not a URL: {error}"))?;
        match url.scheme() {
            "http" | "https" => Ok(Origin::Repository(url)),
            "oci" => Ok(Origin::Registry(url)),
            other => {
                Err(format!("its repository '{shown}' has the scheme '{other}', which is not a Helm repository's"))
            }
        }
    }
}

/// The dependencies of a chart that are not among its files: as locked, if there is a lock file.
pub fn missing(files: &Files) -> Result<Vec<Dependency>, ChartError> {
    // Charts of the older format keep them in files of their own.
    let (mut declared, mut lock) = (read(files, "Chart.yaml")?, "Chart.lock");
    if declared.is_none() {
        (declared, lock) = (read(files, "requirements.yaml")?, "requirements.lock");
    }
    let Some(declared) = declared else { return Ok(Vec::new()) };
    let is_missing = |dependency: &Dependency| !is_among(files, &dependency.name);
    let Some(locked) = read(files, lock)? else { return Ok(declared.into_iter().filter(is_missing).collect()) };
    let is_locked = |name: &str| locked.iter().any(|dependency| dependency.name == name);
    if let Some(forgotten) = declared.iter().find(|dependency| is_missing(dependency) && !is_locked(&dependency.name)) {
        let name = &forgotten.name;
        let why =
            format!("{lock} is out of date: it does not have '{name}'; run `helm dependency update` and commit it");
        return Err(ChartError::new(ChartFault::Dependency, why));
    }
    Ok(locked.into_iter().filter(is_missing).collect())
}

/// The `dependencies` of a file, if it is there and has any.
fn read(files: &Files, name: &str) -> Result<Option<Vec<Dependency>>, ChartError> {
    let wrong = |why: String| ChartError::new(ChartFault::Dependency, format!("{name}: {why}"));
    let text = match files.get(name) {
        None => return Ok(None),
        Some(Content::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        Some(Content::File(path)) => read_text(path).map_err(|error| wrong(error.to_string()))?,
    };
    let mut value = yaml::parse(&text).map_err(|error| wrong(error.to_string()))?;
    match value.get_mut("dependencies").map(Value::take) {
        None | Some(Value::Null) => Ok(None),
        Some(list) => Deserialize::deserialize(list).map(Some).map_err(|error| wrong(format!("dependencies: {error}"))),
    }
}

/// Whether there is a chart of this name in `charts/`: in a folder, or packaged.
fn is_among(files: &Files, name: &str) -> bool {
    files.keys().filter_map(|file| file.strip_prefix("charts/")).any(|file| {
        let packaged = file.strip_suffix(".tgz").and_then(|file| file.strip_prefix(name)?.strip_prefix('-'));
        match file.split_once('/') {
            None => packaged.is_some_and(|version| Version::parse(version).is_ok()),
            Some((folder, "Chart.yaml")) => folder == name || is_named(files, folder, name),
            Some(_) => false,
        }
    })
}

/// A folder may have another name than the chart in it.
fn is_named(files: &Files, folder: &str, name: &str) -> bool {
    let chart = files.get(&format!("charts/{folder}/Chart.yaml")).cloned();
    let text = chart.and_then(|chart| chart_yaml(&Files::from([("Chart.yaml".to_owned(), chart)])).ok());
    let chart = text.and_then(|text| yaml::parse(&text).ok());
    chart.is_some_and(|chart| chart["name"] == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> Files {
        files.iter().map(|(name, text)| ((*name).to_owned(), Content::Bytes(text.as_bytes().to_vec()))).collect()
    }

    const CHART: &str = "name: x\nversion: 1.0.0\ndependencies:\n- {name: redis, version: 1.x, repository: https://r}\n- \
                         {name: lib, version: ^2, repository: 'file://../lib', alias: other}\n";

    fn missing_of(more: &[(&str, &str)]) -> Vec<(String, String)> {
        let found = missing(&files(&[&[("Chart.yaml", CHART)][..], more].concat())).unwrap();
        found.into_iter().map(|dependency| (dependency.name, dependency.version)).collect()
    }

    fn pair(name: &str, version: &str) -> (String, String) {
        (name.to_owned(), version.to_owned())
    }

    #[test]
    fn what_is_not_in_the_charts_folder_is_missing() {
        assert_eq!(missing_of(&[]), [pair("redis", "1.x"), pair("lib", "^2")]);
        for there in [
            ("charts/redis-1.2.3.tgz", ""),
            ("charts/redis/Chart.yaml", "name: redis\n"),
            ("charts/cache/Chart.yaml", "name: redis\n"),
        ] {
            assert_eq!(missing_of(&[there]), [pair("lib", "^2")], "{there:?}");
        }
        for other in [("charts/redis-cluster-1.2.3.tgz", ""), ("charts/redis/README.md", "")] {
            assert_eq!(missing_of(&[other]).len(), 2, "{other:?}");
        }
    }

    #[test]
    fn a_lock_decides_the_versions() {
        let lock = "dependencies:\n- {name: redis, version: 1.2.3, repository: https://r}\ndigest: sha256:0\n";
        let there = ("charts/lib/Chart.yaml", "name: lib\n");
        assert_eq!(missing_of(&[("Chart.lock", lock), there]), [pair("redis", "1.2.3")]);
        let without = missing(&files(&[("Chart.yaml", CHART), ("Chart.lock", lock)])).unwrap_err().to_string();
        assert!(without.contains("Chart.lock is out of date: it does not have 'lib'"), "{without}");
        let older = [
            ("Chart.yaml", "apiVersion: v1\nname: x\nversion: 1.0.0\n"),
            ("requirements.yaml", "dependencies:\n- {name: redis, version: 1.x}\n"),
            ("requirements.lock", lock),
        ];
        assert_eq!(missing(&files(&older)).unwrap()[0].version, "1.2.3");
        assert!(missing(&files(&older[..1])).unwrap().is_empty());
    }

    #[test]
    fn a_wrong_list_is_named() {
        let error = missing(&files(&[("Chart.yaml", "dependencies: {name: redis}\n")])).unwrap_err();
        assert_eq!(error.fault, ChartFault::Dependency);
        assert!(error.to_string().contains("Chart.yaml: dependencies:"), "{error}");
    }

    #[test]
    fn origins_are_told_apart() {
        let origin =
            |repository: &str| Dependency { repository: repository.to_owned(), ..Dependency::default() }.origin();
        assert_eq!(origin("file://../lib"), Ok(Origin::Local("../lib".to_owned())));
        assert!(matches!(origin("https://charts.example.com"), Ok(Origin::Repository(_))));
        assert!(matches!(origin("oci://registry.example.com"), Ok(Origin::Registry(_))));
        for (repository, needle) in [
            ("", "names no repository"),
            ("@stable", "only a helm command line knows"),
            ("alias:stable", "only a helm command line knows"),
            ("ftp://example.com", "'ftp'"),
            ("charts", "is not a URL"),
        ] {
            let error = origin(repository).unwrap_err();
            assert!(error.contains(needle), "{repository}: {error}");
        }
    }
}
