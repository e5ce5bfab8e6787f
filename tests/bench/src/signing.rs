//! Keys that sign commits and tags.

use std::path::PathBuf;
use std::process::Command;

use pgp::composed::{ArmorOptions, DetachedSignature, KeyType, SecretKeyParamsBuilder, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::ser::Serialize as _;
use pgp::types::{KeyDetails as _, Password};

use crate::git_server::SshKey;
use crate::tools::run;

/// Somebody who signs.
pub trait Signer {
    /// A detached signature, armoured.
    fn sign(&self, payload: &[u8]) -> String;
}

/// A PGP key pair (Ed25519), as `gpg` would make it.
#[derive(Debug)]
pub struct PgpKey(SignedSecretKey);

impl PgpKey {
    /// Makes one.
    ///
    /// # Panics
    /// When the random source fails.
    pub fn generate() -> Self {
        let mut params = SecretKeyParamsBuilder::default();
        params.key_type(KeyType::Ed25519Legacy).can_certify(true).can_sign(true);
        params.primary_user_id("Bench <bench@example.org>".into());
        let params = params.build().expect("complete parameters");
        Self(params.generate(rand::thread_rng()).expect("make a key"))
    }

    /// The public key, armoured.
    ///
    /// # Panics
    /// Never: a fresh key can be written.
    pub fn public(&self) -> String {
        self.0.to_public_key().to_armored_string(ArmorOptions::default()).expect("write a key")
    }

    /// The public key as `gpg --export` writes it.
    ///
    /// # Panics
    /// Never: a fresh key can be written.
    pub fn public_binary(&self) -> Vec<u8> {
        self.0.to_public_key().to_bytes().expect("write a key")
    }

    /// The secret key as `gpg --export-secret-keys` writes it.
    ///
    /// # Panics
    /// Never: a fresh key can be written.
    pub fn secret_binary(&self) -> Vec<u8> {
        self.0.to_bytes().expect("write a key")
    }

    /// Its id: 16 hexadecimal digits.
    pub fn id(&self) -> String {
        self.0.primary_key.legacy_key_id().to_string().to_uppercase()
    }
}

impl Signer for PgpKey {
    fn sign(&self, payload: &[u8]) -> String {
        let (key, password) = (&self.0.primary_key, Password::empty());
        DetachedSignature::sign_binary_data(rand::thread_rng(), key, &password, HashAlgorithm::Sha256, payload)
            .and_then(|signature| signature.to_armored_string(ArmorOptions::default()))
            .expect("sign")
    }
}

impl Signer for SshKey {
    fn sign(&self, payload: &[u8]) -> String {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        let write = |name: &str, bytes: &[u8]| -> PathBuf {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("write a file");
            path
        };
        let (key, file) = (write("key", self.private.as_bytes()), write("payload", payload));
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&key, private).expect("keep a key private");
        run(Command::new("ssh-keygen").args(["-q", "-Y", "sign", "-n", "git", "-f"]).arg(&key).arg(&file));
        std::fs::read_to_string(file.with_extension("sig")).expect("read a signature")
    }
}
