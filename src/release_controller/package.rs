//! What a packaged chart holds, as far as a release has to know before it is made.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::read::MultiGzDecoder;

use crate::release::inventory::{self, ReleasedObject};
use crate::source::archive::ArchiveError;
use crate::source::archive::entries::{Limits, content, visit};
use crate::yaml;

/// The most that a chart may unpack to, in bytes; helm takes no more.
const LARGEST_CHART: u64 = 100 << 20;

/// The longest file of a chart that is looked into; longer ones are data.
const LONGEST_FILE: u64 = 4 << 20;

/// Packages that are kept in mind.
const MOST: usize = 1024;

/// Why a packaged chart cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// It is not on disk.
    #[error("the packaged chart cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is not a gzipped tar archive, or larger than a chart may be.
    #[error("the packaged chart cannot be read: {0}")]
    Archive(#[from] ArchiveError),
    /// It has no `Chart.yaml` with a name and a version.
    #[error("the packaged chart has no Chart.yaml with a name and a version")]
    Nameless,
    /// Reading it was given up because the operator ends.
    #[error("reading the packaged chart was given up")]
    GivenUp,
}

/// What was found in a chart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Name in the chart's metadata.
    pub name: String,
    /// Version in the chart's metadata.
    pub version: String,
    /// The chart or one of its dependencies has hooks that run after the objects are made: these
    /// may need them ready, so that helm has to wait by itself.
    pub late_hooks: bool,
    /// The definitions in `crds/`.
    pub crds: Vec<ReleasedObject>,
}

/// What is known of packaged charts, by the digest of the package.
#[derive(Debug, Default)]
pub struct Packages(Mutex<HashMap<String, Arc<Package>>>);

impl Packages {
    /// Looks into the package at `path` unless it is known already.
    pub async fn look(&self, digest: &str, path: &Path) -> Result<Arc<Package>, PackageError> {
        if let Some(known) = self.locked().get(digest) {
            return Ok(known.clone());
        }
        let path = path.to_owned();
        let read = tokio::task::spawn_blocking(move || read(&path)).await;
        let found = Arc::new(read.map_err(|_| PackageError::GivenUp)??);
        let mut known = self.locked();
        // Each version of each chart that ever was: to read those in use once more costs little.
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(digest.to_owned(), found.clone());
        drop(known);
        Ok(found)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Package>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> Result<Package, PackageError> {
    let mut found = Package::default();
    visit(MultiGzDecoder::new(File::open(path)?), Limits::bytes(LARGEST_CHART), |path, entry| {
        let part = Part::of(&path.to_string_lossy());
        if entry.size() > LONGEST_FILE || part == Part::Other {
            return Ok(());
        }
        let bytes = content(entry)?;
        let text = String::from_utf8_lossy(&bytes);
        match part {
            Part::Metadata => (found.name, found.version) = metadata(&text),
            Part::Definitions => found.crds.extend(inventory::objects(&text)),
            Part::Template => found.late_hooks |= has_late_hook(&text),
            Part::Other => {}
        }
        Ok::<_, ArchiveError>(())
    })?;
    if found.name.is_empty() || found.version.is_empty() {
        return Err(PackageError::Nameless);
    }
    Ok(found)
}

/// What a file of a chart is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Metadata,
    Template,
    Definitions,
    Other,
}

impl Part {
    fn of(path: &str) -> Self {
        let path = path.strip_prefix("./").unwrap_or(path);
        match path.split_once('/') {
            Some((_, "Chart.yaml")) => Self::Metadata,
            Some(_) if path.contains("/templates/") => Self::Template,
            Some(_) if path.contains("/crds/") => Self::Definitions,
            _ => Self::Other,
        }
    }
}

fn metadata(text: &str) -> (String, String) {
    let metadata = yaml::parse(text).unwrap_or_default();
    let field = |name: &str| metadata.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    (field("name"), field("version"))
}

/// A template cannot be judged without rendering; naming such a hook is enough.
fn has_late_hook(template: &str) -> bool {
    template.contains("helm.sh/hook") && (template.contains("post-install") || template.contains("post-upgrade"))
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn package(files: &[(&str, &str)]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut archive = tar::Builder::new(GzEncoder::new(file.reopen().expect("opens"), Compression::fast()));
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            archive.append_data(&mut header, path, text.as_bytes()).expect("writes");
        }
        archive.into_inner().and_then(GzEncoder::finish).expect("writes");
        file
    }

    #[tokio::test]
    async fn hooks_and_definitions_are_found() {
        let crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.example.com}\n";
        let hook = "metadata:\n  annotations:\n    \"helm.sh/hook\": post-install,post-upgrade\n";
        let early = "metadata:\n  annotations: {helm.sh/hook: pre-install}\n";
        let packages = Packages::default();
        let chart = ("c/Chart.yaml", "name: c\nversion: 1.0.0+abc\ndescription: post-install helm.sh/hook\n");
        let full = package(&[chart, ("c/crds/a.yaml", crd), ("c/charts/d/templates/h.yaml", hook)]);
        let plain = package(&[chart, ("c/templates/h.yaml", early), ("c/README.md", hook)]);
        let found = packages.look("sha256:1", full.path()).await.expect("reads");
        assert!(found.late_hooks);
        assert_eq!((found.name.as_str(), found.version.as_str()), ("c", "1.0.0+abc"));
        assert_eq!(found.crds.iter().map(|crd| crd.name.as_str()).collect::<Vec<_>>(), ["things.example.com"]);
        let simple = packages.look("sha256:2", plain.path()).await.expect("reads");
        assert!(!simple.late_hooks && simple.crds.is_empty());
        assert_eq!(packages.look("sha256:1", plain.path()).await.expect("known by its digest"), found);
        let nameless = package(&[("c/charts/d/Chart.yaml", chart.1)]);
        assert!(matches!(packages.look("sha256:3", nameless.path()).await, Err(PackageError::Nameless)));
        assert!(matches!(packages.look("sha256:4", Path::new("/nowhere")).await, Err(PackageError::Unreadable(_))));
    }
}
