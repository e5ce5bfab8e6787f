//! Charts: read from a directory or a package, checked, given another version or other default
//! values, and packaged reproducibly. No process is started.

pub mod dependencies;
pub mod provenance;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use self::dependencies::Dependency;
use super::archive::{self, ArchiveError, Content, read_bounded};
use super::helm_ignore::{HELM_IGNORE_FILE, HelmIgnore};
use super::version::Version;
use crate::api::condition::reason;
use crate::yaml;

/// The most that a chart may be, unpacked, in bytes; helm takes no more.
const MAX_CHART: u64 = 100 * 1024 * 1024;

/// The most that one of its files may be, in bytes; helm takes no more.
const MAX_FILE: u64 = 5 * 1024 * 1024;

/// Why there is no chart, in Flux's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChartFault {
    /// No chart where the spec says, or not a valid one.
    Reference,
    /// The package cannot be had.
    Pull,
    /// The package is not signed as the spec asks.
    Verification,
    /// The version cannot carry the metadata that the spec asks for.
    MetadataPatch,
    /// A values file is missing or not YAML.
    ValuesFiles,
    /// A dependency cannot be had.
    Dependency,
    /// The package cannot be made.
    Package,
}

impl ChartFault {
    /// The reason of the condition.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Reference => reason::INVALID_CHART_REFERENCE,
            Self::Pull => reason::CHART_PULL_ERROR,
            Self::Verification => reason::CHART_VERIFICATION_ERROR,
            Self::MetadataPatch => reason::METADATA_PATCH_ERROR,
            Self::ValuesFiles => reason::VALUES_FILES_ERROR,
            Self::Dependency => reason::DEPENDENCY_BUILD_ERROR,
            Self::Package => reason::CHART_PACKAGE_ERROR,
        }
    }

    /// Whether nothing but another spec or another revision of the source can help.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Reference | Self::MetadataPatch | Self::ValuesFiles)
    }

    /// Whether the chart was found, and making the package failed.
    pub fn is_build_failure(self) -> bool {
        let built = matches!(self, Self::MetadataPatch | Self::ValuesFiles | Self::Dependency | Self::Package);
        built || self == Self::Verification
    }

    fn summary(self) -> &'static str {
        match self {
            Self::Reference => "invalid chart reference",
            Self::Pull => "chart pull error",
            Self::Verification => "chart verification error",
            Self::MetadataPatch => "chart metadata patch error",
            Self::ValuesFiles => "values files merge error",
            Self::Dependency => "dependency build error",
            Self::Package => "chart package error",
        }
    }
}

/// Why there is no chart.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", fault.summary())]
pub struct ChartError {
    /// The kind of failure.
    pub fault: ChartFault,
    /// What is wrong, and where.
    pub message: String,
}

impl ChartError {
    /// An error of this kind.
    pub fn new(fault: ChartFault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into() }
    }
}

/// What is asked of a package beyond the chart itself.
#[derive(Clone, Debug, Default)]
pub struct Packaging {
    /// Build metadata for the version, e.g. a commit's first twelve digits.
    pub version_metadata: Option<String>,
    /// Files that replace the default values, merged in this order.
    pub values_files: Vec<String>,
    /// Whether a values file may be missing.
    pub ignore_missing_values_files: bool,
}

/// A chart as it is stored.
#[derive(Debug)]
pub struct Package {
    /// The chart's name.
    pub name: String,
    /// The chart's version, metadata included.
    pub version: String,
    /// The `.tgz`.
    pub bytes: Vec<u8>,
    /// Whether we packaged it, rather than take it as it was.
    pub packaged: bool,
    /// The values files that were merged.
    pub values_files: Vec<String>,
}

impl Package {
    /// What happened, as a condition's message.
    pub fn summary(&self) -> String {
        summary(&self.name, &self.version, self.packaged, &self.values_files)
    }
}

/// What happened, as a condition's message.
pub fn summary(name: &str, version: &str, packaged: bool, values_files: &[String]) -> String {
    let action = if packaged { "packaged" } else { "pulled" };
    let merged = if values_files.is_empty() {
        String::new()
    } else {
        format!(" and merged values files [{}]", values_files.join(" "))
    };
    format!("{action} '{name}' chart with version '{version}'{merged}")
}

/// A chart's name and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The chart's name.
    pub name: String,
    /// The chart's version as written.
    pub version: String,
}

impl Metadata {
    /// The version with the metadata that is asked for.
    pub fn version_with(&self, metadata: Option<&str>) -> Result<String, ChartError> {
        let Some(metadata) = metadata else { return Ok(self.version.clone()) };
        let patched = Version::parse(&self.version).and_then(|version| version.with_build(metadata));
        patched.map_err(|error| ChartError::new(ChartFault::MetadataPatch, error.to_string()))
    }
}

/// Reads the `Chart.yaml` text.
fn read_metadata(text: &str) -> Result<(Metadata, Value), String> {
    let chart = yaml::parse(text).map_err(|error| format!("Chart.yaml: {error}"))?;
    let field = |key: &str| match chart.get(key) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        Some(Value::Number(number)) => Err(format!("Chart.yaml: {key} is the number {number}: put it in quotes")),
        Some(Value::Null | Value::String(_)) | None => Err(format!("Chart.yaml: {key} is missing")),
        Some(_) => Err(format!("Chart.yaml: {key} is not a text")),
    };
    let (name, version) = (field("name")?, field("version")?);
    if name.contains(['/', '\\']) || name.starts_with('.') {
        return Err(format!("Chart.yaml: name '{name}' is not a valid chart name"));
    }
    Version::parse(&version).map_err(|error| format!("Chart.yaml: version: {error}"))?;
    Ok((Metadata { name, version }, chart))
}

/// Where a chart of a source stands: its directory or its package.
pub fn locate(source: &Path, chart: &str) -> Result<PathBuf, ChartError> {
    let path = inside(source, chart)
        .ok_or_else(|| ChartError::new(ChartFault::Reference, format!("'{chart}' leads out of the source")))?;
    if path.exists() {
        Ok(path)
    } else {
        Err(ChartError::new(ChartFault::Reference, format!("no chart found at path '{chart}' of the source")))
    }
}

/// The path below the root, unless it climbs out of it. An absolute path starts at the root.
fn inside(root: &Path, path: &str) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => inside.push(name),
            Component::ParentDir if !inside.pop() => return None,
            _ => {}
        }
    }
    Some(root.join(inside))
}

/// The name and version of the chart at a path, without reading the rest of it.
pub fn metadata_at(path: &Path) -> Result<Metadata, ChartError> {
    let wrong = |message| ChartError::new(ChartFault::Reference, message);
    let text = if path.is_dir() {
        read_text(&path.join("Chart.yaml")).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => wrong("the directory has no Chart.yaml: it is not a chart".to_owned()),
            _ => wrong(format!("Chart.yaml: {error}")),
        })?
    } else {
        let file = fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
        let (_, files) = files_of_package(io::BufReader::new(file)).map_err(wrong)?;
        chart_yaml(&files).map_err(wrong)?
    };
    read_metadata(&text).map(|(metadata, _)| metadata).map_err(wrong)
}

/// The dependencies that the chart at a path does not have with it. A packaged chart is complete.
pub fn missing_dependencies(path: &Path) -> Result<Vec<Dependency>, ChartError> {
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let files = files_of_directory(path).map_err(|message| ChartError::new(ChartFault::Package, message))?;
    dependencies::missing(&files)
}

/// Packages the chart of a source tree. `path` is what [`locate`] gave, `source` its root, from
/// which values files are named. `more` are files to add: the dependencies that were missing.
pub fn package_local(
    source: &Path,
    path: &Path,
    packaging: &Packaging,
    more: BTreeMap<String, Vec<u8>>,
) -> Result<Package, ChartError> {
    let broken = |message| ChartError::new(ChartFault::Package, message);
    let is_directory = path.is_dir();
    let changes = packaging.version_metadata.is_some() || !packaging.values_files.is_empty();
    if !is_directory && !changes {
        let metadata = metadata_at(path)?;
        let bytes = read_bounded(path, MAX_CHART);
        let bytes = bytes.map_err(|error| ChartError::new(ChartFault::Pull, error.to_string()))?;
        return Ok(taken(metadata, bytes));
    }
    let mut files = if is_directory {
        files_of_directory(path).map_err(broken)?
    } else {
        let file = fs::File::open(path).map_err(|error| broken(error.to_string()))?;
        files_of_package(io::BufReader::new(file)).map_err(broken)?.1
    };
    let (values, used) = merge_values(packaging, |name| {
        let file = inside(source, name)?;
        Some(read_bounded(&file, MAX_FILE))
    })?;
    files.extend(more.into_iter().map(|(name, bytes)| (name, Content::Bytes(bytes))));
    finish(&mut files, packaging, values, used)
}

/// Packages a chart that was downloaded: as it is, unless other values are asked for.
pub fn package_remote(bytes: Vec<u8>, packaging: &Packaging) -> Result<Package, ChartError> {
    let bad = |message| ChartError::new(ChartFault::Pull, format!("the downloaded package is no chart: {message}"));
    let (_, mut files) = files_of_package(bytes.as_slice()).map_err(bad)?;
    let metadata = chart_yaml(&files).and_then(|text| read_metadata(&text)).map_err(bad)?.0;
    if packaging.version_metadata.is_none() && packaging.values_files.is_empty() {
        return Ok(taken(metadata, bytes));
    }
    let (values, used) = merge_values(packaging, |name| {
        let name = name.strip_prefix("./").unwrap_or(name);
        match files.get(name)? {
            Content::Bytes(bytes) => Some(Ok(bytes.clone())),
            Content::File(file) => Some(read_bounded(file, MAX_FILE)),
        }
    })?;
    finish(&mut files, packaging, values, used)
}

fn taken(metadata: Metadata, bytes: Vec<u8>) -> Package {
    let Metadata { name, version } = metadata;
    Package { name, version, bytes, packaged: false, values_files: Vec::new() }
}

type Files = BTreeMap<String, Content>;

/// Writes version and values into the files and packs them.
fn finish(
    files: &mut Files,
    packaging: &Packaging,
    values: Option<Value>,
    values_files: Vec<String>,
) -> Result<Package, ChartError> {
    let broken = |message| ChartError::new(ChartFault::Package, message);
    let text = chart_yaml(files).map_err(|m| ChartError::new(ChartFault::Reference, m))?;
    let (metadata, chart) = read_metadata(&text).map_err(|m| ChartError::new(ChartFault::Reference, m))?;
    let version = metadata.version_with(packaging.version_metadata.as_deref())?;
    if version != metadata.version {
        let patched = patch_version(&text, chart, &version);
        files.insert("Chart.yaml".to_owned(), Content::Bytes(patched.into_bytes()));
    }
    if let Some(values) = values {
        // JSON is YAML, and every number and text in it stays what it is.
        files.insert("values.yaml".to_owned(), Content::Bytes(format!("{values:#}\n").into_bytes()));
    }
    check_sizes(files).map_err(broken)?;
    let prefixed: Files =
        files.iter().map(|(name, content)| (format!("{}/{name}", metadata.name), content.clone())).collect();
    let mut bytes = Vec::new();
    archive::pack_files(&prefixed, &mut bytes).map_err(|error| broken(error.to_string()))?;
    Ok(Package { name: metadata.name, version, bytes, packaged: true, values_files })
}

/// The text with another version; comments and order stay where the text is of the usual form.
fn patch_version(text: &str, mut chart: Value, version: &str) -> String {
    let line = text.lines().find(|line| line.starts_with("version:"));
    if let Some(line) = line {
        let patched = text.replacen(line, &format!("version: \"{version}\""), 1);
        let same = read_metadata(&patched).is_ok_and(|(metadata, _)| metadata.version == version);
        if same {
            return patched;
        }
    }
    chart["version"] = Value::String(version.to_owned());
    format!("{chart:#}\n")
}

fn chart_yaml(files: &Files) -> Result<String, String> {
    let content = files.get("Chart.yaml").ok_or("it has no Chart.yaml")?;
    let bytes = match content {
        Content::Bytes(bytes) => bytes.clone(),
        Content::File(path) => read_bounded(path, MAX_FILE).map_err(|error| format!("Chart.yaml: {error}"))?,
    };
    String::from_utf8(bytes).map_err(|_| "Chart.yaml is not UTF-8 text".to_owned())
}

/// The files of a package below its top directory, and that directory's name.
fn files_of_package(stream: impl io::Read) -> Result<(String, Files), String> {
    let files = archive::read_files(stream, MAX_CHART).map_err(|error: ArchiveError| error.to_string())?;
    let top = files.keys().find_map(|name| name.strip_suffix("/Chart.yaml").filter(|top| !top.contains('/')));
    let top = top.ok_or("it has no Chart.yaml")?.to_owned();
    let prefix = format!("{top}/");
    let below = files.into_iter().filter_map(|(name, bytes)| {
        let name = name.strip_prefix(&prefix)?.to_owned();
        Some((name, Content::Bytes(bytes)))
    });
    let below: Files = below.collect();
    check_sizes(&below)?;
    Ok((top, below))
}

/// Refuses what helm will not take, so that whoever wrote the chart is told, and not who releases it.
fn check_sizes(files: &Files) -> Result<(), String> {
    let mut left = MAX_CHART;
    for (name, content) in files {
        let size = match content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File(path) => fs::metadata(path).map_err(|error| format!("{name}: {error}"))?.len(),
        };
        if size > MAX_FILE {
            return Err(format!(
                "the file '{name}' is larger than {MAX_FILE} bytes, the most that helm takes: keep it out of the chart \
                 ({HELM_IGNORE_FILE})"
            ));
        }
        left = left.checked_sub(size).ok_or_else(|| {
            format!(
                "the chart's files are larger than {MAX_CHART} bytes together, the most that helm takes: keep what no \
                 template needs out of the chart ({HELM_IGNORE_FILE})"
            )
        })?;
    }
    Ok(())
}

fn read_text(file: &Path) -> io::Result<String> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text");
    String::from_utf8(read_bounded(file, MAX_FILE)?).map_err(not_text)
}

/// The files of a chart's directory, without what its `.helmignore` names.
fn files_of_directory(dir: &Path) -> Result<Files, String> {
    let rules = match read_text(&dir.join(HELM_IGNORE_FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("{HELM_IGNORE_FILE}: {error}")),
    };
    let mut files = Files::new();
    collect(dir, "", &HelmIgnore::parse(&rules)?, &mut files)?;
    Ok(files)
}

fn collect(dir: &Path, below: &str, ignore: &HelmIgnore, files: &mut Files) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", if below.is_empty() { "." } else { below });
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if ignore.ignores(&path, kind.is_dir()) {
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), &path, ignore, files)?;
        } else if kind.is_file() {
            files.insert(path, Content::File(entry.path()));
        }
    }
    Ok(())
}

/// The values files merged, and which of them there were. None when none is asked for.
fn merge_values(
    packaging: &Packaging,
    read: impl Fn(&str) -> Option<io::Result<Vec<u8>>>,
) -> Result<(Option<Value>, Vec<String>), ChartError> {
    let wrong = |message| ChartError::new(ChartFault::ValuesFiles, message);
    if packaging.values_files.is_empty() {
        return Ok((None, Vec::new()));
    }
    let mut merged = Value::Object(Map::new());
    let mut used = Vec::new();
    for name in &packaging.values_files {
        let bytes = match read(name) {
            Some(Ok(bytes)) => bytes,
            Some(Err(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Err(wrong(format!("'{name}': {error}")));
            }
            None | Some(Err(_)) if packaging.ignore_missing_values_files => continue,
            None | Some(Err(_)) => return Err(wrong(format!("no values file found at path '{name}'"))),
        };
        let text = String::from_utf8(bytes).map_err(|_| wrong(format!("'{name}' is not UTF-8 text")))?;
        match yaml::parse(&text).map_err(|error| wrong(format!("'{name}': {error}")))? {
            Value::Null => {}
            values @ Value::Object(_) => merge(&mut merged, values),
            _ => return Err(wrong(format!("'{name}' is not a mapping"))),
        }
        used.push(name.clone());
    }
    Ok((Some(merged), used))
}

/// Mappings merge key by key, everything else is replaced.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

#[cfg(test)]
mod tests;
