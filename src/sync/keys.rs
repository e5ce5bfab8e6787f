//! The keys of `spec.decryption`, and how sops gets them.

use crate::postrender::workplace::{private_dir, private_file};
use crate::process::Command;
use crate::values::fetch::Data;
use crate::yaml;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::Path;
use tempfile::TempDir;
use zeroize::Zeroizing;

/// Variables of the operator's own environment by which key services know it.
const INHERITED: [&str; 24] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_ENDPOINT_URL",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT",
    "VAULT_ADDR",
    "VAULT_TOKEN",
    "VAULT_CACERT",
    "VAULT_NAMESPACE",
];

/// Those that say where a key service is, not who asks.
const PLACES: [&str; 10] = [
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_ENDPOINT_URL",
    "AZURE_AUTHORITY_HOST",
    "GOOGLE_CLOUD_PROJECT",
    "VAULT_ADDR",
    "VAULT_CACERT",
    "VAULT_NAMESPACE",
];

/// Types of credentials of Google's that hold all that they need. Others may name a file or an address
/// to take a token from, which would be the operator's.
const GOOGLE_TYPES: [&str; 2] = ["service_account", "authorized_user"];

/// What a Secret of keys holds.
#[derive(Clone, Default)]
pub struct Keys {
    env: Vec<(&'static str, Zeroizing<String>)>,
    /// `OpenPGP` packets of secret keys.
    keyring: Zeroizing<Vec<u8>>,
}

impl Keys {
    /// Reads the entries of a Secret; an error names the entry that is wrong, never its content.
    pub fn read(data: &Data) -> Result<Self, String> {
        let mut keys = Self::default();
        let mut age = Zeroizing::new(String::new());
        for (name, bytes) in data {
            let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
            if !matches!(extension, Some("agekey" | "asc")) && !name.starts_with("sops.") {
                continue;
            }
            let text = std::str::from_utf8(bytes).map_err(|_| format!("the entry `{name}` is not UTF-8 text"))?;
            if extension == Some("agekey") {
                age.push_str(text.trim());
                age.push('\n');
            } else if extension == Some("asc") {
                let packets = dearmor(text).ok_or_else(|| {
                    format!("the entry `{name}` holds no OpenPGP private key between BEGIN and END lines")
                })?;
                keys.keyring.extend_from_slice(&packets);
            } else {
                keys.service(name, text)?;
            }
        }
        if !age.is_empty() {
            keys.env.push(("SOPS_AGE_KEY", age));
        }
        Ok(keys)
    }

    /// Credentials of a key service.
    fn service(&mut self, name: &str, text: &str) -> Result<(), String> {
        let names: &[(&str, &'static str)] = match name {
            "sops.vault-token" => {
                self.env.push(("VAULT_TOKEN", Zeroizing::new(text.trim().to_owned())));
                return Ok(());
            }
            "sops.gcp-kms" => {
                self.env.push(("GOOGLE_CREDENTIALS", google(name, text.trim())?));
                return Ok(());
            }
            "sops.aws-kms" => &[
                ("aws_access_key_id", "AWS_ACCESS_KEY_ID"),
                ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"),
                ("aws_session_token", "AWS_SESSION_TOKEN"),
            ],
            "sops.azure-kv" => &[
                ("tenantId", "AZURE_TENANT_ID"),
                ("clientId", "AZURE_CLIENT_ID"),
                ("clientSecret", "AZURE_CLIENT_SECRET"),
                ("authorityHost", "AZURE_AUTHORITY_HOST"),
            ],
            _ => return Ok(()),
        };
        let value = yaml::parse(text).map_err(|error| format!("the entry `{name}` cannot be read: {error}"))?;
        if name == "sops.azure-kv" && value.get("clientCertificate").is_some() {
            return Err(format!(
                "the entry `{name}` has a clientCertificate, which is not supported: use a clientSecret"
            ));
        }
        for (field, variable) in names {
            if let Some(text) = value[*field].as_str() {
                self.env.push((variable, Zeroizing::new(text.to_owned())));
            }
        }
        Ok(())
    }

    /// A private home directory with the keyring; gone when dropped. Sops finds nothing of the
    /// operator's own home in it.
    pub fn home(&self, place: &Path) -> io::Result<TempDir> {
        let home = private_dir(place)?;
        if !self.keyring.is_empty() {
            // The form that sops reads by itself, without gpg.
            private_file(&home.path().join("secring.gpg"), &self.keyring)?;
        }
        Ok(home)
    }

    /// Whether a variable of the operator's counts. Its own credentials are not mixed with those of the
    /// Secret: an address in there must not be told who the operator is.
    fn inherits(&self, variable: &str) -> bool {
        let service = |variable: &str| variable.split('_').next().map(str::to_owned);
        PLACES.contains(&variable) || !self.env.iter().any(|(given, _)| service(given) == service(variable))
    }

    /// Hands the keys to a call of sops; what it says of them is blanked out.
    pub fn give(&self, mut command: Command, home: &Path) -> Command {
        for name in INHERITED.into_iter().filter(|name| self.inherits(name)) {
            if let Some(value) = std::env::var_os(name) {
                command = command.env(name, value);
            }
        }
        for (name, value) in &self.env {
            command = command.env(name, value.as_str()).redact(value);
        }
        command.env("HOME", home).env("XDG_CONFIG_HOME", home).env("GNUPGHOME", home)
    }
}

/// Credentials of Google's. Sops would take anything that is no JSON for the path of a file, which would be
/// one of the operator's.
fn google(entry: &str, text: &str) -> Result<Zeroizing<String>, String> {
    let parsed: Value = serde_json::from_str(text).unwrap_or_default();
    match parsed["type"].as_str() {
        Some(kind) if GOOGLE_TYPES.contains(&kind) => Ok(Zeroizing::new(text.to_owned())),
        _ => Err(format!(
            "the entry `{entry}` must be JSON with a `type` that is one of {}; without the entry the operator's own \
             identity counts",
            GOOGLE_TYPES.join(", ")
        )),
    }
}

impl Hash for Keys {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.env.iter().for_each(|(name, value)| (name, value.as_str()).hash(state));
        self.keyring.hash(state);
    }
}

/// The packets of armored private keys.
fn dearmor(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    const BEGIN: &str = "-----BEGIN PGP PRIVATE KEY BLOCK-----";
    let mut packets = Zeroizing::new(Vec::new());
    for block in text.split(BEGIN).skip(1) {
        let (block, _) = block.split_once("-----END PGP PRIVATE KEY BLOCK-----")?;
        // Headers end with an empty line; the checksum begins with `=`.
        let lines = block.lines().skip(1).map(str::trim);
        let body = lines.skip_while(|line| line.contains(": ")).filter(|line| !line.is_empty());
        let body: Zeroizing<String> = Zeroizing::new(body.take_while(|line| !line.starts_with('=')).collect());
        packets.extend_from_slice(&BASE64.decode(body.as_bytes()).ok()?);
    }
    (!packets.is_empty()).then_some(packets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(entries: &[(&str, &str)]) -> Data {
        entries.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn entries_become_what_sops_reads() {
        let armored = "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 1\n\naGVs\nbG8=\n=abcd\n-----END PGP PRIVATE KEY BLOCK-----\n";
        let keys = Keys::read(&data(&[
            ("a.agekey", "# c\nAGE-SECRET-KEY-1\n"),
            ("b.agekey", "AGE-SECRET-KEY-2"),
            ("c.asc", &format!("{armored}{armored}")),
            ("sops.vault-token", " token\n"),
            ("sops.aws-kms", "aws_access_key_id: id\naws_secret_access_key: key\n"),
            ("sops.azure-kv", "tenantId: t\nclientId: c\nclientSecret: s\n"),
            ("sops.gcp-kms", "{\"type\": \"service_account\"}\n"),
            ("other", "x"),
        ]))
        .unwrap_or_else(|error| panic!("{error}"));
        let env: Vec<_> = keys.env.iter().map(|(name, value)| format!("{name}={}", value.as_str())).collect();
        let expected = [
            "AWS_ACCESS_KEY_ID=id",
            "AWS_SECRET_ACCESS_KEY=key",
            "AZURE_TENANT_ID=t",
            "AZURE_CLIENT_ID=c",
            "AZURE_CLIENT_SECRET=s",
            "GOOGLE_CREDENTIALS={\"type\": \"service_account\"}",
            "VAULT_TOKEN=token",
            "SOPS_AGE_KEY=# c\nAGE-SECRET-KEY-1\nAGE-SECRET-KEY-2\n",
        ];
        assert_eq!(env, expected);
        assert_eq!(keys.keyring.as_slice(), b"hellohello");
        let place = tempfile::tempdir().expect("a directory");
        let home = keys.home(place.path()).expect("a home");
        assert_eq!(std::fs::read(home.path().join("secring.gpg")).expect("a keyring"), b"hellohello");
    }

    #[test]
    fn credentials_of_a_secret_are_not_mixed_with_the_operator_s() {
        let inherited = |entries: &[(&str, &str)]| {
            let keys = Keys::read(&data(entries)).unwrap_or_else(|error| panic!("{error}"));
            INHERITED.into_iter().filter(|name| keys.inherits(name)).collect::<Vec<_>>()
        };
        assert!(PLACES.iter().all(|place| INHERITED.contains(place)));
        assert_eq!(inherited(&[("a.agekey", "AGE-SECRET-KEY-1")]), INHERITED);
        let without = |service: &str| {
            let counts = |name: &&str| !name.starts_with(service) || PLACES.contains(name);
            INHERITED.into_iter().filter(counts).collect::<Vec<_>>()
        };
        assert_eq!(inherited(&[("sops.azure-kv", "authorityHost: https://elsewhere")]), without("AZURE_"));
        assert_eq!(inherited(&[("sops.aws-kms", "aws_session_token: x")]), without("AWS_"));
        assert_eq!(inherited(&[("sops.gcp-kms", r#"{"type": "authorized_user"}"#)]), without("GOOGLE_"));
        assert!(!without("AZURE_").contains(&"AZURE_FEDERATED_TOKEN_FILE"));
    }

    #[test]
    fn bad_entries_are_named_and_not_shown() {
        let error = |name: &str, text: &str| Keys::read(&data(&[(name, text)])).err().expect("an error");
        for (name, text) in [
            ("a.asc", "hunter2"),
            ("a.asc", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nhunter2"),
            ("sops.aws-kms", "a: [hunter2"),
            ("sops.azure-kv", "clientCertificate: hunter2"),
            ("sops.gcp-kms", "/var/run/secrets/hunter2.json"),
            ("sops.gcp-kms", "\"/var/run/secrets/hunter2.json\""),
            ("sops.gcp-kms", r#"{"type": "external_account", "credential_source": {"file": "/hunter2"}}"#),
            ("sops.gcp-kms", "{\"private_key\": \"hunter2\"}"),
        ] {
            let said = error(name, text);
            assert!(said.contains(&format!("`{name}`")) && !said.contains("hunter2"), "{said}");
        }
    }
}
