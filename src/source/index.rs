//! The index of a Helm repository: which charts it has, in which versions, and where. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::version::{Range, Version, VersionError};
use crate::yaml;

/// Why an index cannot be used or has no such chart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Not YAML or JSON.
    #[error("index.yaml: {0}")]
    Syntax(String),
    /// Not an index.
    #[error("index.yaml has no 'entries': the URL is not that of a Helm repository")]
    NoEntries,
    /// The repository has no chart of this name.
    #[error("no chart name found: the repository has no chart '{0}'")]
    NoChart(String),
    /// The repository has no version of the chart in the range.
    #[error("no '{chart}' chart with version matching '{range}' found")]
    NoVersion {
        /// The chart.
        chart: String,
        /// The range.
        range: String,
    },
    /// Not a version range.
    #[error("{0}")]
    Range(VersionError),
    /// The version has no URL to download it from.
    #[error("chart '{0}' has no downloadable URLs")]
    NoUrl(String),
    /// The URL of the version is not one.
    #[error("chart '{chart}' has the invalid URL '{url}'")]
    BadUrl {
        /// The chart.
        chart: String,
        /// The URL, without credentials.
        url: String,
    },
}

/// One version of a chart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// The chart's name.
    pub name: String,
    /// The version, as written.
    pub version: String,
    /// When it was made, as written.
    #[serde(default)]
    pub created: Option<String>,
    /// The SHA-256 of the package, with or without `sha256:` in front.
    #[serde(default)]
    pub digest: Option<String>,
    /// Where the package is, absolute or relative to the repository.
    #[serde(default)]
    pub urls: Vec<String>,
}

/// The charts of a repository. Entries that are not valid are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    entries: BTreeMap<String, Vec<Entry>>,
}

/// Reads `index.yaml`, or its JSON form, as JSON.
pub fn parse(text: &str) -> Result<Value, IndexError> {
    let index = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| IndexError::Syntax(error.to_string()))?
    } else {
        yaml::parse(text).map_err(|error| IndexError::Syntax(error.to_string()))?
    };
    if index.get("entries").is_some_and(|entries| entries.is_object() || entries.is_null()) {
        Ok(index)
    } else {
        Err(IndexError::NoEntries)
    }
}

impl Index {
    /// The charts of an index that [`parse`] read.
    pub fn from_json(index: &Value) -> Self {
        let charts = index.get("entries").and_then(Value::as_object).into_iter().flatten();
        let entries = charts.map(|(name, versions)| {
            let versions = versions.as_array().into_iter().flatten();
            let valid = versions.filter_map(|entry| Entry::deserialize(entry).ok());
            (name.clone(), valid.filter(|entry| Version::parse(&entry.version).is_ok()).collect())
        });
        Self { entries: entries.collect() }
    }

    /// The version of a chart to use: the exact one where the range is a version that exists,
    /// else the highest in the range, else, of equal ones, the youngest.
    pub fn find(&self, chart: &str, range: &str) -> Result<&Entry, IndexError> {
        let versions = self.entries.get(chart).ok_or_else(|| IndexError::NoChart(chart.to_owned()))?;
        if let Some(exact) = versions.iter().find(|entry| entry.version == range) {
            return Ok(exact);
        }
        let wanted = Range::parse(range).map_err(IndexError::Range)?;
        let matching = versions
            .iter()
            .filter_map(|entry| Some((Version::parse_full(&entry.version).ok()?, entry)))
            .filter(|(version, _)| wanted.contains(version));
        matching
            .max_by(|(a, left), (b, right)| a.cmp_precedence(b).then_with(|| created(left).cmp(&created(right))))
            .map(|(_, entry)| entry)
            .ok_or_else(|| IndexError::NoVersion { chart: chart.to_owned(), range: range.to_owned() })
    }
}

fn created(entry: &Entry) -> Option<jiff::Timestamp> {
    entry.created.as_deref()?.parse().ok()
}

impl Entry {
    /// Where to download it from.
    pub fn url(&self, repository: &Url) -> Result<Url, IndexError> {
        let first = self.urls.first().ok_or_else(|| IndexError::NoUrl(self.name.clone()))?;
        let bad = || IndexError::BadUrl { chart: self.name.clone(), url: crate::redact::redact(first).into_owned() };
        if let Ok(absolute) = Url::parse(first) {
            return if matches!(absolute.scheme(), "http" | "https") { Ok(absolute) } else { Err(bad()) };
        }
        let mut resolved = with_slash(repository).join(first).map_err(|_| bad())?;
        // Some repositories carry a token in the query of their URL.
        if resolved.query().is_none() {
            resolved.set_query(repository.query());
        }
        Ok(resolved)
    }
}

/// The URL of a repository's index.
pub fn index_url(repository: &Url) -> Url {
    let mut url = with_slash(repository);
    let path = format!("{}index.yaml", url.path());
    url.set_path(&path);
    url
}

fn with_slash(repository: &Url) -> Url {
    let mut base = repository.clone();
    if !base.path().ends_with('/') {
        let path = format!("{}/", base.path());
        base.set_path(&path);
    }
    base
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = r"
apiVersion: v1
entries:
  nginx:
  - {name: nginx, version: 1.0.0, created: 2020-01-01T00:00:00Z, digest: aa, urls: [nginx-1.0.0.tgz]}
  - {name: nginx, version: 1.2.0+b1, created: 2021-01-01T00:00:00Z, urls: [https://cdn.example.com/nginx-1.2.0.tgz]}
  - {name: nginx, version: 1.2.0+b2, created: 2022-01-01T00:00:00Z, urls: []}
  - {name: nginx, version: 2.0.0-rc.1, urls: [x]}
  - {name: nginx, version: not-a-version}
  - just a text
  - {version: 9.0.0}
  empty: []
generated: 2022-01-01T00:00:00Z
";

    fn index() -> Index {
        Index::from_json(&parse(INDEX).unwrap())
    }

    #[test]
    fn versions_are_found_by_range() {
        let index = index();
        for (range, version) in [
            ("", "1.2.0+b2"),
            ("*", "1.2.0+b2"),
            ("1.0.0", "1.0.0"),
            ("1.2.0+b1", "1.2.0+b1"),
            ("~1.0", "1.0.0"),
            (">=2.0.0-0", "2.0.0-rc.1"),
        ] {
            assert_eq!(index.find("nginx", range).unwrap().version, version, "{range:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let index = index();
        assert!(index.find("none", "*").unwrap_err().to_string().contains("'none'"));
        let missing = index.find("nginx", "9.*").unwrap_err().to_string();
        assert_eq!(missing, "no 'nginx' chart with version matching '9.*' found");
        assert!(matches!(index.find("nginx", "nonsense"), Err(IndexError::Range(_))));
        assert!(index.find("empty", "*").is_err());
        assert!(matches!(parse("a: [\n"), Err(IndexError::Syntax(_))));
        assert_eq!(parse("<html></html>"), Err(IndexError::NoEntries));
        assert_eq!(parse("{}"), Err(IndexError::NoEntries));
    }

    #[test]
    fn urls_are_relative_to_the_repository() {
        let index = index();
        let entry = |range: &str| index.find("nginx", range).unwrap();
        for repository in ["https://example.com/charts", "https://example.com/charts/"] {
            let repository = Url::parse(repository).unwrap();
            assert_eq!(entry("1.0.0").url(&repository).unwrap().as_str(), "https://example.com/charts/nginx-1.0.0.tgz");
            assert_eq!(index_url(&repository).as_str(), "https://example.com/charts/index.yaml");
        }
        let repository = Url::parse("https://example.com/charts?token=x").unwrap();
        assert_eq!(index_url(&repository).as_str(), "https://example.com/charts/index.yaml?token=x");
        assert_eq!(entry("1.0.0").url(&repository).unwrap().query(), Some("token=x"));
        assert_eq!(entry("1.2.0+b1").url(&repository).unwrap().host_str(), Some("cdn.example.com"));
        assert!(matches!(entry("*").url(&repository), Err(IndexError::NoUrl(_))));
    }
}
