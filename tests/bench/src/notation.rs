//! Signatures of artifacts in registries, made by `notation` with a key on the disk.

use std::path::Path;
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CrlDistributionPoint, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use serde_json::json;
use tempfile::TempDir;

use crate::registry::OciRegistry;
use crate::tools::{run, tool};

/// A signer: a key, and a certificate for it by an authority that vouches for nobody else.
#[derive(Debug)]
pub struct NotationKey {
    organization: String,
    authority: String,
    folder: TempDir,
}

impl NotationKey {
    /// Makes one for somebody of this organization.
    ///
    /// # Panics
    /// When the random source or the disk fails.
    pub fn generate(organization: &str) -> Self {
        Self::make(organization, &[])
    }

    /// One whose certificate names a list of revoked ones.
    ///
    /// # Panics
    /// When the random source or the disk fails.
    pub fn with_revocation_list(organization: &str, url: &str) -> Self {
        Self::make(organization, &[url])
    }

    fn make(organization: &str, revocation_lists: &[&str]) -> Self {
        let mut root = named(organization, "authority");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = CertifiedIssuer::self_signed(root, new_key()).expect("sign a certificate");
        let mut signer = named(organization, "signer");
        signer.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        signer.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        signer.use_authority_key_identifier_extension = true;
        let list = |url: &&str| CrlDistributionPoint { uris: vec![(*url).to_owned()] };
        signer.crl_distribution_points = revocation_lists.iter().map(list).collect();
        let key = new_key();
        let certificate = signer.signed_by(&key, &root).expect("sign a certificate");

        let folder = tempfile::tempdir().expect("make a temporary folder");
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("write a file");
            path
        };
        let key = write("signer.key", key.serialize_pem());
        let chain = write("signer.crt", format!("{}{}", certificate.pem(), root.pem()));
        let known = json!({"default": "signer", "keys": [{"name": "signer", "keyPath": key, "certPath": chain}]});
        write("signingkeys.json", known.to_string());
        Self { organization: organization.to_owned(), authority: root.pem(), folder }
    }

    /// The certificate of the authority, PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The signer as trust policies name it.
    pub fn identity(&self) -> String {
        format!("x509.subject: C=US, ST=WA, O={}", self.organization)
    }

    /// Signs the artifact with this digest.
    ///
    /// # Panics
    /// When notation fails.
    pub fn sign(&self, registry: &OciRegistry, repository: &str, digest: &str) {
        let mut sign = notation(self.folder.path());
        sign.args(["sign", "--insecure-registry"]);
        run(sign.arg(format!("{}/{repository}@{digest}", registry.open_host())));
    }
}

fn named(organization: &str, name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    for (kind, value) in [
        (DnType::CountryName, "US"),
        (DnType::StateOrProvinceName, "WA"),
        (DnType::OrganizationName, organization),
        (DnType::CommonName, name),
    ] {
        params.distinguished_name.push(kind, value);
    }
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("make a key")
}

/// A call that knows nothing of the machine's user.
fn notation(folder: &Path) -> Command {
    let mut command = Command::new(tool("notation"));
    command.current_dir(folder).env("HOME", folder).env("DOCKER_CONFIG", folder).env("NOTATION_CONFIG", folder);
    command
}
