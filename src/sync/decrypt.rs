//! Decryption by the sops binary. What is decrypted stays in memory, or in private files that are
//! gone after the build; keys reach sops by its environment and by private files alike.

use super::keys::Keys;
use super::manifest::Manifest;
use super::problem::{Place, Problem};
use crate::process::Command;
use crate::redact::Redactor;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// Annotation that leaves an object encrypted when its value is `disabled`.
const DECRYPT_KEY: &str = "kustomize.toolkit.fluxcd.io/decrypt";
/// Most of sops' words that a message keeps, in characters.
const LONGEST: usize = 220;

/// A format that sops knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Anything, in an envelope of JSON.
    Binary,
    /// Lines of `NAME=value`.
    Dotenv,
    /// Sections of `name = value`.
    Ini,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Format {
    const ALL: [Self; 5] = [Self::Json, Self::Yaml, Self::Dotenv, Self::Ini, Self::Binary];

    /// The format that a name stands for.
    pub fn of_name(name: &str) -> Self {
        let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
        match extension {
            _ if name.ends_with(".dockerconfigjson") => Self::Json,
            Some("json") => Self::Json,
            Some("yaml" | "yml") => Self::Yaml,
            Some("env") => Self::Dotenv,
            Some("ini") => Self::Ini,
            _ if name == ".env" => Self::Dotenv,
            _ => Self::Binary,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Dotenv => "dotenv",
            Self::Ini => "ini",
            Self::Json => "json",
            Self::Yaml => "yaml",
        }
    }

    /// Whether this is encrypted text of this format.
    pub fn marks(self, bytes: &[u8]) -> bool {
        let mark: &[u8] = match self {
            Self::Binary | Self::Json => b"\"mac\": \"ENC[",
            Self::Dotenv => b"sops_mac=ENC[",
            Self::Ini => b"[sops]",
            Self::Yaml => b"mac: ENC[",
        };
        bytes.windows(mark.len()).any(|window| window == mark)
    }
}

/// Why something is not decrypted, in words that hold no secret.
#[derive(Debug)]
pub struct Failure {
    reason: String,
    fix: &'static str,
}

impl Failure {
    /// Sops has not been asked, or gave no answer: another key or text would not help.
    pub fn unanswered(error: &dyn std::fmt::Display) -> Self {
        Self { reason: error.to_string(), fix: "" }
    }

    fn refused(reason: String) -> Self {
        Self { reason, fix: "add a key to the Secret of spec.decryption.secretRef, or encrypt it anew" }
    }
}

/// Decrypts with the keys of one Kustomization.
pub struct Decryptor<'a> {
    /// The sops binary.
    pub sops: &'a Path,
    /// Where private files are made.
    pub place: &'a Path,
    /// The keys.
    pub keys: &'a Keys,
    /// How long one call may take.
    pub timeout: Duration,
}

impl Decryptor<'_> {
    /// Decrypts a text.
    pub async fn text(&self, text: Vec<u8>, from: Format, to: Format) -> Result<Vec<u8>, Failure> {
        let unprepared = |error| Failure::unanswered(&format_args!("its keys cannot be prepared: {error}"));
        let home = self.keys.home(self.place).map_err(unprepared)?;
        let command = Command::new(self.sops)
            .args(["decrypt", "--ignore-mac", "--input-type", from.name(), "--output-type", to.name()])
            .current_dir(home.path())
            .timeout(self.timeout)
            .stdin(text);
        let output = Box::pin(self.keys.give(command, home.path()).run()).await;
        let output = output.map_err(|error| Failure::unanswered(&error))?;
        if output.success() { Ok(output.stdout) } else { Err(Failure::refused(words(&output.stderr, home.path()))) }
    }

    /// Decrypts what is encrypted of manifests; `redactor` learns what must not show.
    pub async fn manifests(&self, manifests: Vec<Manifest>, redactor: &mut Redactor) -> (Vec<Manifest>, Vec<Problem>) {
        let (mut good, mut problems) = (Vec::with_capacity(manifests.len()), Vec::new());
        for manifest in manifests.into_iter().flat_map(Manifest::flatten) {
            let result = if stays_encrypted(&manifest.object) {
                Ok(None)
            } else if is_encrypted(&manifest.object) {
                self.object(&manifest.object).await.map(Some)
            } else if manifest.object["kind"] == "Secret" {
                self.entries(&manifest.object).await
            } else {
                Ok(None)
            };
            match result {
                Ok(None) => good.push(manifest),
                Ok(Some(object)) => {
                    learn(redactor, &manifest.object, &object);
                    good.push(manifest.with_object(object));
                }
                Err(failure) => problems.push(undecrypted(manifest.place(""), failure).about(&manifest.id())),
            }
        }
        (good, problems)
    }

    async fn object(&self, object: &Value) -> Result<Value, Failure> {
        let text = self.text(object.to_string().into_bytes(), Format::Json, Format::Json).await?;
        serde_json::from_slice(&text).map_err(|_| Failure::unanswered(&"sops did not print JSON"))
    }

    /// Decrypts the entries of a Secret that are encrypted files; none if there are none.
    async fn entries(&self, object: &Value) -> Result<Option<Value>, Failure> {
        let mut changed = None;
        for (key, value) in object["data"].as_object().into_iter().flatten() {
            let Some(bytes) = value.as_str().and_then(|text| BASE64.decode(text).ok()) else { continue };
            let Some(from) = Format::ALL.into_iter().find(|format| format.marks(&bytes)) else { continue };
            let named = |failure: Failure| Failure { reason: format!("data.{key}: {}", failure.reason), ..failure };
            let text = self.text(bytes, from, Format::of_name(key)).await.map_err(named)?;
            let changed = changed.get_or_insert_with(|| object.clone());
            changed["data"][key] = BASE64.encode(text).into();
        }
        Ok(changed)
    }
}

/// A file or object that cannot be decrypted.
pub fn undecrypted(place: Place, Failure { reason, fix }: Failure) -> Problem {
    Problem::unreadable(place, format!("cannot be decrypted: {reason}")).fix(fix)
}

/// Whether an object is one that sops has encrypted.
pub fn is_encrypted(object: &Value) -> bool {
    object.pointer("/sops/mac").and_then(Value::as_str).is_some_and(|mac| !mac.is_empty())
}

/// Whether an object says that it is not to be decrypted.
pub fn stays_encrypted(object: &Value) -> bool {
    let value = object["metadata"]["annotations"][DECRYPT_KEY].as_str();
    value.is_some_and(|value| value.eq_ignore_ascii_case("disabled"))
}

/// Adds every text that decryption has changed, and what it stands for in base64.
fn learn(redactor: &mut Redactor, before: &Value, after: &Value) {
    match after {
        Value::Object(entries) => entries.iter().for_each(|(key, value)| learn(redactor, &before[key.as_str()], value)),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| learn(redactor, &before[index], item)),
        Value::String(text) if before != after => {
            redactor.add(text);
            // What the API server stores of `stringData`.
            redactor.add(&BASE64.encode(text));
            if let Some(text) = BASE64.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
                learn_text(redactor, &text);
            }
        }
        Value::Number(number) if before != after => redactor.add(&number.to_string()),
        _ => {}
    }
}

/// Adds the lines of a decrypted file, and the values in them.
pub fn learn_text(redactor: &mut Redactor, text: &str) {
    redactor.add(text);
    for line in text.lines() {
        if let Some((_, value)) = line.split_once(['=', ':']) {
            redactor.add(value.trim_matches([' ', '"', '\'', ',']));
        }
    }
}

/// What sops says, in one line and without its advice.
fn words(stderr: &str, home: &Path) -> String {
    let said = stderr.split("Recovery failed because").next().unwrap_or(stderr);
    // Sops quotes a value that is plain where it should not be.
    let said = match (said.split_once("Input string "), said.rsplit_once(" does not match")) {
        (Some((before, _)), Some((_, after))) => format!("{before}a value is not encrypted: it does not match{after}"),
        _ => said.to_owned(),
    };
    let said = said.replace(&*home.to_string_lossy(), "~").replace("| ", " ");
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let line =
        line.replace("Failed to get the data key required to decrypt the SOPS file. Group 0: FAILED", "no key fits:");
    // The places where sops looks are none that a person can reach.
    let line = line.split(" Did not find keys in locations").next().unwrap_or(&line);
    let mut short: String = line.chars().take(LONGEST).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn formats_are_told_by_name_and_mark() {
        let table = [
            ("a.json", Format::Json),
            (".dockerconfigjson", Format::Json),
            ("a.yml", Format::Yaml),
            ("x/.env", Format::Binary),
            (".env", Format::Dotenv),
            ("a.env", Format::Dotenv),
            ("a.ini", Format::Ini),
            ("token", Format::Binary),
        ];
        for (name, format) in table {
            assert_eq!(Format::of_name(name), format, "{name}");
        }
        assert!(Format::Yaml.marks(b"a: 1\nsops:\n    mac: ENC[AES") && !Format::Yaml.marks(b"mac: x"));
        assert!(Format::Binary.marks(b"{\n\t\"sops\": {\"mac\": \"ENC[x"));
    }

    #[test]
    fn objects_say_whether_they_are_encrypted() {
        assert!(is_encrypted(&json!({"sops": {"mac": "ENC[x]"}})));
        for plain in [json!({"sops": {}}), json!({"sops": {"mac": ""}}), json!({"a": 1}), json!("x")] {
            assert!(!is_encrypted(&plain), "{plain}");
        }
        assert!(stays_encrypted(&json!({"metadata": {"annotations": {DECRYPT_KEY: "Disabled"}}})));
    }

    #[test]
    fn what_was_decrypted_is_blanked_out() {
        let mut redactor = Redactor::default();
        let before = json!({"kind": "Secret", "stringData": {"a": "ENC[1]", "n": "ENC[2]"}, "data": {"b": "ENC[3]"}});
        let encoded = BASE64.encode("TOKEN=hunter4-and-more");
        let after = json!({"kind": "Secret", "stringData": {"a": "hunter2", "n": 777_777}, "data": {"b": encoded}});
        learn(&mut redactor, &before, &after);
        let text = format!("Secret hunter2 777777 {encoded} hunter4-and-more");
        assert_eq!(redactor.text(&text), "Secret ***** ***** ***** *****");
    }

    #[test]
    fn sops_is_quoted_in_one_line() {
        let said = "Failed to get the data key required to decrypt the SOPS file.\n\nGroup 0: FAILED\n  age1x: FAILED\n    - | no \
                    identity in\n      | /tmp/home/keys.txt. Did not\n      | find keys in locations 'X'\n\nRecovery failed because no master key\n";
        assert_eq!(words(said, Path::new("/tmp/home")), "no key fits: age1x: FAILED - no identity in ~/keys.txt.");
        let plain =
            "Error walking tree: Could not decrypt value: Input string hunter2\nx does not match sops' data format";
        assert_eq!(
            words(plain, Path::new("/x")),
            "Error walking tree: Could not decrypt value: a value is not encrypted: it does not match sops' data format"
        );
        assert!(words(&"x".repeat(1000), Path::new("/x")).chars().count() <= LONGEST + 1);
    }
}
