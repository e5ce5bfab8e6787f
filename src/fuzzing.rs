//! Entry points for fuzzing: what strangers and tenants write, as bytes. Each returns normally for
//! every input; a panic, a hang or a broken promise is a finding.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use url::Url;

use crate::api::notification::v1::ReceiverType;
use crate::cel;
use crate::helm::storage;
use crate::openpgp::cleartext::Cleartext;
use crate::receiver::{authenticate, filter};
use crate::source::chart::Metadata;
use crate::source::chart::provenance::{Keys, Signed, digest_of};
use crate::source::{archive as tar, index};
use crate::sync::manifest::Manifest;
use crate::values::path::Reading;
use crate::values::{Content, FetchedReference, compose, merge::Origin};
use crate::yaml;

/// An entry point.
pub type Entry = fn(&[u8]);

/// All of them, by name.
pub const ENTRIES: [(&str, Entry); 7] = [
    ("manifest", manifest),
    ("index", index),
    ("archive", archive),
    ("provenance", provenance),
    ("release", release),
    ("values", values),
    ("webhook", webhook),
];

/// A file of a folder.
pub fn manifest(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for document in yaml::documents(&text) {
        let Ok(object) = document.result else { continue };
        for manifest in Manifest::read(Arc::from("file.yaml"), document.lines, object).flatten() {
            let _ = manifest.id();
            let _ = manifest.place_of_field("spec.template.spec.containers[0].image");
        }
    }
    assert_eq!(yaml::split(&text).concat(), text, "what was cut apart is not what it was");
}

/// The index of a repository, after a line with the chart and a line with the range that are looked for.
pub fn index(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(3, '\n');
    let (chart, range) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), parts.next().unwrap_or_default()).expect("write a temporary file");
    if index::check(file.path()).is_err() {
        return;
    }
    let Ok(found) = index::read(file.path(), chart) else { return };
    let _ = found.told_wrong();
    if let (Ok(entry), Ok(url)) = (found.find(range), Url::parse("https://charts.host/a?b=c")) {
        let _ = entry.url(&url);
    }
}

/// A tar. Its checksums are set right, so that what a change has hit is read at all.
pub fn archive(data: &[u8]) {
    let mut bytes = data.to_vec();
    for block in bytes.chunks_exact_mut(BLOCK).filter(|block| &block[257..262] == b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let into = dir.path().join("into");
    std::fs::create_dir(&into).expect("make a directory");
    let _ = tar::unpack(bytes.as_slice(), &into);
    assert_eq!(std::fs::read_dir(dir.path()).expect("read a directory").count(), 1, "a file is outside");
}

const BLOCK: usize = 512;

/// A key ring, and the provenance file of a chart.
pub fn provenance(data: &[u8]) {
    let begin = b"-----BEGIN PGP SIGNED MESSAGE-----";
    let start = data.windows(begin.len()).position(|bytes| bytes == begin).unwrap_or_default();
    let (ring, file) = data.split_at(start);
    let keys = Keys::from_secret(&BTreeMap::from([("ring".to_owned(), ByteString(ring.to_vec()))]));
    let chart = Metadata { name: "nodejs".to_owned(), version: "1.0.0".to_owned() };
    let _ = Signed::read(file, &chart, &keys, Timestamp::UNIX_EPOCH).and_then(|signed| signed.check("00"));
    let Ok(text) = Cleartext::read(std::str::from_utf8(file).unwrap_or_default()) else { return };
    let _ = digest_of(text.lines(), &chart);
    let escaped: Vec<_> = text.lines().iter().map(|line| format!("- {line}\n")).collect();
    let written = format!("-----BEGIN PGP SIGNED MESSAGE-----\n\n{}{}", escaped.concat(), text.signature);
    assert!(Cleartext::read(&written).as_ref() == Ok(&text), "what was written is not what is read");
}

/// A release's record: an even first byte is followed by what the Secret holds, an odd one by the JSON in it.
pub fn release(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let content = if kind % 2 == 0 { rest.to_vec() } else { packed(rest) };
    let secret = |data| Secret { data: Some(data), ..Secret::default() };
    let Ok(release) = storage::decode(&secret(BTreeMap::from([("release".to_owned(), ByteString(content))]))) else {
        return;
    };
    let (name, namespace, version) = (release.name(), release.namespace(), release.version());
    let _ = (name, namespace, version, release.status(), release.manifest(), release.config(), release.hooks());
    let again = storage::encode(&release).ok().and_then(|data| storage::decode(&secret(data)).ok());
    assert!(again.as_ref() == Some(&release), "what was written is not what is read");
}

fn packed(json: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let bytes = packed.write_all(json).and_then(|()| packed.finish()).unwrap_or_default();
    STANDARD.encode(bytes).into_bytes()
}

/// Two values references: a path and a value, a line each, then a mapping.
pub fn values(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(3, '\n').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    let (path, value, mapping) = (part(), part(), part());
    let origin = || Origin { kind: "Secret", namespace: "a".into(), name: "b".into(), key: "c".into() };
    for reading in [Reading::Typed, Reading::Literal] {
        let at_path = Content::AtPath { path: path.clone(), value: value.clone(), reading };
        let references = [Content::Mapping(mapping.clone()), at_path];
        let references = references.map(|content| FetchedReference { origin: origin(), content });
        let _ = compose(None, references.into());
    }
}

/// A request for a webhook: a byte that chooses the sender, headers a line each, an empty line, the body.
pub fn webhook(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let kind = SENDERS[usize::from(*kind) % SENDERS.len()];
    let end = rest.windows(2).position(|two| two == b"\n\n").unwrap_or(rest.len());
    let (head, body) = (&rest[..end], rest.get(end + 2..).unwrap_or_default());
    let headers: HeaderMap = head
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
        })
        .collect();
    let Ok(call) = authenticate::check(kind, b"token", &headers, body) else { return };
    let _ = call.is_among(&["push".to_owned()]);
    let filter = filter::read(Some(&"req.a.b == res.kind && req.list.all(x, x > 1)".to_owned()));
    if let (Ok(Some(filter)), Ok(payload)) = (filter, &call.payload) {
        let _ = filter::hold([&filter], &serde_json::json!({"kind": "a"}), &cel::Value::from(payload));
    }
}

const SENDERS: [ReceiverType; 13] = [
    ReceiverType::Generic,
    ReceiverType::GenericHmac,
    ReceiverType::GenericOidc,
    ReceiverType::Github,
    ReceiverType::Gitlab,
    ReceiverType::Bitbucket,
    ReceiverType::Harbor,
    ReceiverType::Dockerhub,
    ReceiverType::Quay,
    ReceiverType::Gcr,
    ReceiverType::Nexus,
    ReceiverType::Acr,
    ReceiverType::Cdevents,
];
