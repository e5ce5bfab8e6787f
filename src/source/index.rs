//! The index of a Helm repository: which charts it has, in which versions, and where.
//!
//! An index may be tens of megabytes, so that it stays on disk: each look reads one chart's entries,
//! and one that is not valid costs that entry only.

mod json;
mod scan;

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

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
    /// It cannot be read from disk.
    #[error("index.yaml: cannot be read: {0}")]
    Unreadable(String),
    /// Not an index.
    #[error("index.yaml has no 'entries': the URL is not that of a Helm repository")]
    NoEntries,
    /// The repository has no chart of this name.
    #[error("no chart name found: the repository has no chart '{0}'")]
    NoChart(String),
    /// The repository has no version of the chart in the range.
    #[error("no '{chart}' chart with version matching '{range}' found{wrong}")]
    NoVersion {
        /// The chart.
        chart: String,
        /// The range.
        range: String,
        /// What is wrong with the entries that were left out, after a semicolon.
        wrong: String,
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
        /// The URL, without credentials and query.
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

/// The most that an index may be, in bytes, to be read as a whole: one of an unusual layout.
const MAX_WHOLE: u64 = 4 * 1024 * 1024;
/// The entries that a message names.
const MAX_NAMED: usize = 3;

/// The versions of one chart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chart {
    /// The chart.
    pub name: String,
    entries: Vec<Entry>,
    /// What is wrong with the entries that were left out, one each.
    pub wrong: Vec<String>,
}

/// Checks that a file is an index.
pub fn check(file: &Path) -> Result<(), IndexError> {
    match read(file, "") {
        Ok(_) | Err(IndexError::NoChart(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Reads the entries of a chart from an index, in YAML or JSON.
pub fn read(file: &Path, chart: &str) -> Result<Chart, IndexError> {
    let absent = || IndexError::NoChart(chart.to_owned());
    let mut reader = BufReader::with_capacity(128 * 1024, File::open(file).map_err(|error| unreadable(&error))?);
    if is_json(&mut reader).map_err(|error| unreadable(&error))? {
        let found = json::chart(reader, chart).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => IndexError::NoEntries,
            _ => IndexError::Syntax(error.to_string()),
        })?;
        let value = match found {
            json::Found::NoEntries => return Err(IndexError::NoEntries),
            json::Found::NoChart => return Err(absent()),
            json::Found::Entries(entries) => entries,
        };
        let mut found = Chart { name: chart.to_owned(), ..Chart::default() };
        found.add_all(value);
        return Ok(found);
    }
    let mut found = Chart { name: chart.to_owned(), ..Chart::default() };
    let mut is_sound = true;
    let scanned = scan::scan(reader, chart, |chunk| is_sound &= found.add_chunk(&chunk));
    match scanned.map_err(|error| unreadable(&error))? {
        scan::Scan::Found if is_sound => Ok(found),
        scan::Scan::Absent => Err(absent()),
        // It may be an alias to something elsewhere in the file that makes a part unreadable.
        scan::Scan::Found => whole(file, chart).or(Ok(found)),
        scan::Scan::Unusual => whole(file, chart),
    }
}

/// Reads an index of an unusual layout, if it is not too large for that.
fn whole(file: &Path, chart: &str) -> Result<Chart, IndexError> {
    if file.metadata().map_err(|error| unreadable(&error))?.len() > MAX_WHOLE {
        return Err(IndexError::NoEntries);
    }
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(&error))?;
    let mut index = yaml::parse(&text).map_err(|error| IndexError::Syntax(error.to_string()))?;
    let versions = match index.get_mut("entries") {
        Some(Value::Object(entries)) => entries.remove(chart),
        Some(Value::Null) => None,
        _ => return Err(IndexError::NoEntries),
    };
    let mut found = Chart { name: chart.to_owned(), ..Chart::default() };
    found.add_all(versions.ok_or_else(|| IndexError::NoChart(chart.to_owned()))?);
    Ok(found)
}

fn is_json(reader: &mut BufReader<File>) -> io::Result<bool> {
    let start = reader.fill_buf()?;
    Ok(start.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{'))
}

fn unreadable(error: &io::Error) -> IndexError {
    match error.kind() {
        io::ErrorKind::InvalidData => IndexError::Syntax("it is not UTF-8 text".to_owned()),
        _ => IndexError::Unreadable(error.to_string()),
    }
}

impl Chart {
    /// Takes the entries of a part of the text; false when that is not YAML by itself.
    fn add_chunk(&mut self, chunk: &scan::Chunk) -> bool {
        let at = |line: usize, why: &str| format!("line {}: {why}", chunk.line - 1 + line);
        let Some(text) = &chunk.text else {
            let limit = scan::LONGEST_ENTRY;
            self.wrong.push(at(1, &format!("the entry is longer than {limit} bytes")));
            return true;
        };
        match yaml::parse(text) {
            Ok(Value::Array(entries)) => {
                for entry in entries {
                    self.add(entry, |why| at(1, why));
                }
                true
            }
            Ok(Value::Object(mut chart)) => {
                if let Some((_, entries)) = chart.iter_mut().next() {
                    self.add_all(entries.take());
                }
                true
            }
            Ok(_) => false,
            Err(error) => {
                self.wrong.push(at(error.line, &error.message));
                false
            }
        }
    }

    fn add_all(&mut self, entries: Value) {
        match entries {
            Value::Array(entries) => {
                for (number, entry) in entries.into_iter().enumerate() {
                    self.add(entry, |why| format!("entry {}: {why}", number + 1));
                }
            }
            Value::Null => {}
            _ => self.wrong.push("the entries are not a list".to_owned()),
        }
    }

    fn add(&mut self, entry: Value, named: impl Fn(&str) -> String) {
        let entry = Entry::deserialize(entry).map_err(|error| error.to_string());
        let valid = entry.and_then(|entry| match Version::parse(&entry.version) {
            Ok(_) => Ok(entry),
            Err(error) => Err(error.to_string()),
        });
        match valid {
            Ok(entry) => self.entries.push(entry),
            Err(why) => self.wrong.push(named(&why)),
        }
    }

    /// The version of the chart to use: the exact one where the range is a version that exists,
    /// else the highest in the range, else, of equal ones, the youngest.
    pub fn find(&self, range: &str) -> Result<&Entry, IndexError> {
        if let Some(exact) = self.entries.iter().find(|entry| entry.version == range) {
            return Ok(exact);
        }
        let wanted = Range::parse(range).map_err(IndexError::Range)?;
        let matching = self
            .entries
            .iter()
            .filter_map(|entry| Some((Version::parse_full(&entry.version).ok()?, entry)))
            .filter(|(version, _)| wanted.contains(version));
        matching
            .max_by(|(a, left), (b, right)| a.cmp_precedence(b).then_with(|| created(left).cmp(&created(right))))
            .map(|(_, entry)| entry)
            .ok_or_else(|| IndexError::NoVersion {
                chart: self.name.clone(),
                range: range.to_owned(),
                wrong: self.told_wrong().map_or_else(String::new, |wrong| format!("; {wrong}")),
            })
    }

    /// What is wrong with the entries that were left out, in one sentence.
    pub fn told_wrong(&self) -> Option<String> {
        let count = self.wrong.len();
        let named = self.wrong.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if count > MAX_NAMED { ", …" } else { "" };
        let are = if count == 1 { "is" } else { "are" };
        (count > 0).then(|| format!("{count} of its entries {are} not valid: {named}{more}"))
    }
}

fn created(entry: &Entry) -> Option<jiff::Timestamp> {
    entry.created.as_deref()?.parse().ok()
}

impl Entry {
    /// Where to download it from.
    pub fn url(&self, repository: &Url) -> Result<Url, IndexError> {
        let first = self.urls.first().ok_or_else(|| IndexError::NoUrl(self.name.clone()))?;
        let bad = || IndexError::BadUrl { chart: self.name.clone(), url: crate::redact::place(first).into_owned() };
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
mod tests;
