//! How large helm's record of a release will be, as far as that is known before helm is started.
//!
//! Helm keeps a release as JSON (the chart's files, its default values, the values given, the
//! rendered objects), compressed, in one Secret, which the API server takes up to [`LIMIT`]. What
//! the templates will render is not known here, so the estimate is a lower bound: what is found too
//! large is too large.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};

use crate::source::archive;
use crate::yaml;

/// Bytes that the data of a Secret may have (`MaxSecretSize` of Kubernetes).
pub const LIMIT: u64 = 1 << 20;

/// A package and values that are smaller than this together cannot make a record that is too large
/// by themselves: what is compressed in one is as small in the other.
const HARMLESS: u64 = LIMIT / 4;

/// Bytes of a chart that are looked at; helm takes no more than 100 MiB.
const LARGEST_CHART: u64 = 100 << 20;

/// Parts that are named.
const NAMED: usize = 3;

/// What is known of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSize {
    /// Bytes that it takes at least.
    pub at_least: u64,
    /// Its parts with the bytes that each takes by itself, the largest first.
    pub parts: Vec<(String, u64)>,
}

impl RecordSize {
    /// Whether no Secret can hold it.
    pub fn is_too_large(&self) -> bool {
        self.at_least > LIMIT
    }

    /// What is wrong and what helps.
    pub fn explanation(&self) -> String {
        let known = if self.is_too_large() { "" } else { ", and what the templates render comes on top" };
        let parts: Vec<String> =
            self.parts.iter().take(NAMED).map(|(name, size)| format!("{name} ({})", kib(*size))).collect();
        format!(
            "helm's record of the release needs at least {}{known}; a Secret holds {}. The largest parts are {}: keep \
             files that no template needs out of the chart (.helmignore), and large data out of values and templates",
            kib(self.at_least),
            kib(LIMIT),
            parts.join(", ")
        )
    }
}

fn kib(bytes: u64) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}

/// Looks at a packaged chart and the values for it; `None` when both are too small to matter, or
/// the package cannot be read, which helm will say.
pub fn look(package: &Path, values: &Map<String, Value>) -> Option<RecordSize> {
    let package_size = package.metadata().ok()?.len();
    if package_size + serde_json::to_vec(values).ok()?.len() as u64 <= HARMLESS {
        return None;
    }
    estimate(package, values)
}

/// As [`look`], of any size.
pub fn estimate(package: &Path, values: &Map<String, Value>) -> Option<RecordSize> {
    let files = archive::read_files(File::open(package).ok()?, LARGEST_CHART).ok()?;
    record_size(&files, values).ok()
}

/// The size of the record of a chart with these files, by their path in the package.
fn record_size(files: &BTreeMap<String, Vec<u8>>, values: &Map<String, Value>) -> io::Result<RecordSize> {
    let mut parts = vec![("the release's values".to_owned(), Value::Object(values.clone()))];
    parts.extend(files.iter().filter_map(|(path, bytes)| {
        let (_, path) = path.split_once('/')?;
        Some((path.to_owned(), stored(path, bytes)?))
    }));
    let whole: Vec<&Value> = parts.iter().map(|(_, stored)| stored).collect();
    let at_least = packed(&json!(whole))?;
    let mut sizes =
        parts.into_iter().map(|(name, stored)| Ok((name, packed(&stored)?))).collect::<io::Result<Vec<_>>>()?;
    sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    Ok(RecordSize { at_least, parts: sizes })
}

/// How a file of a chart is in the record; dependencies are not.
fn stored(path: &str, bytes: &[u8]) -> Option<Value> {
    match path {
        "Chart.yaml" | "Chart.lock" => None,
        _ if path.starts_with("charts/") => None,
        "values.yaml" => yaml::parse(&String::from_utf8_lossy(bytes)).ok(),
        _ => Some(json!({"name": path, "data": STANDARD.encode(bytes)})),
    }
}

/// The bytes that JSON takes in the Secret.
fn packed(json: &Value) -> io::Result<u64> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(json.to_string().as_bytes())?;
    let compressed = encoder.finish()?.len() as u64;
    Ok(compressed.div_ceil(3) * 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that cannot be compressed, the same each time.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    fn size(files: &[(&str, Vec<u8>)]) -> RecordSize {
        let files = files.iter().map(|(path, bytes)| (format!("ui/{path}"), bytes.clone())).collect();
        record_size(&files, &Map::new()).unwrap()
    }

    #[test]
    fn what_helm_keeps_counts_and_what_it_drops_does_not() {
        let kib = 1 << 10;
        let table = [
            ("files/dump.bin", noise(900 * kib), true),
            ("templates/big.yaml", noise(900 * kib), true),
            ("crds/big.yaml", noise(900 * kib), true),
            ("files/zeros.bin", vec![0; 5000 * kib], false),
            ("charts/inner/files/dump.bin", noise(900 * kib), false),
            ("files/dump.bin", noise(700 * kib), false),
        ];
        for (path, bytes, too_large) in table {
            assert_eq!(size(&[(path, bytes)]).is_too_large(), too_large, "{path}");
        }
    }

    #[test]
    fn defaults_and_values_count() {
        let text = STANDARD.encode(noise(900 << 10));
        let defaults = size(&[("values.yaml", format!("blob: {text}\n").into_bytes())]);
        assert!(defaults.is_too_large());
        assert_eq!(defaults.parts[0].0, "values.yaml");
        let values = Map::from_iter([("blob".to_owned(), text.into())]);
        let given = record_size(&BTreeMap::new(), &values).unwrap();
        assert!(given.is_too_large());
        assert_eq!(given.parts[0].0, "the release's values");
    }

    #[test]
    fn the_largest_parts_are_named() {
        let kib = 1 << 10;
        let files = ["c", "a", "d", "b"].into_iter().zip([300, 500, 100, 400]);
        let files: Vec<(String, Vec<u8>)> =
            files.map(|(name, size)| (format!("files/{name}"), noise(size * kib))).collect();
        let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
        let said = size(&files).explanation();
        let named = |name: &str| said.find(&format!("files/{name} ("));
        assert!(named("a") < named("b") && named("b") < named("c") && named("d").is_none(), "{said}");
        assert!(said.contains("a Secret holds 1024 KiB") && said.contains(".helmignore"), "{said}");
        assert!(!said.contains("on top"), "{said}");
        assert!(size(&[("files/a", noise(kib))]).explanation().contains("what the templates render comes on top"));
    }

    #[test]
    fn small_charts_are_not_looked_into() {
        let dir = tempfile::tempdir().unwrap();
        let package = dir.path().join("ui.tgz");
        std::fs::write(&package, "no archive").unwrap();
        assert_eq!(look(&package, &Map::new()), None);
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let bytes = noise(900 << 10);
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, "ui/files/dump.bin", bytes.as_slice()).unwrap();
        std::fs::write(&package, archive.into_inner().unwrap().finish().unwrap()).unwrap();
        assert!(look(&package, &Map::new()).unwrap().is_too_large());
    }
}
