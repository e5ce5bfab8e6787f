//! Everything that a keyless signature needs, for one test run and without a service: an authority that vouches for
//! identities, a log of its certificates, and a log of signatures. What they make is what Sigstore's own would make, so
//! that `cosign verify --trusted-root` has nothing to pass over.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::chart_server::hex;
use crate::registry::OciRegistry;
use crate::tools::{run, tool};

/// Media type of a signature with all that proves it.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// Type of what is signed.
const STATEMENT: &str = "application/vnd.in-toto+json";
/// The extension that names who knows the identity.
const ISSUER: &[u64] = &[1, 3, 6, 1, 4, 1, 57264, 1, 8];
/// The extension with the timestamps of logs of certificates.
const TIMESTAMPS: &[u64] = &[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
/// The name that the log of signatures signs with.
const LOG_NAME: &str = "rekor.bench.invalid";

/// A key that signs, P-256 with SHA-256.
#[derive(Debug)]
struct Key(KeyPair);

impl Key {
    fn generate() -> Self {
        Self(KeyPair::generate().expect("make a key"))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &self.0.serialize_der(), &random);
        key.expect("a P-256 key").sign(&random, message).expect("sign").as_ref().to_vec()
    }

    /// What a log is known by: the digest of its public key.
    fn id(&self) -> [u8; 32] {
        sha256(&self.0.subject_public_key_info())
    }
}

/// A Sigstore of one's own.
#[derive(Debug)]
pub struct Sigstore {
    authority: CertifiedIssuer<'static, KeyPair>,
    certificate_log: Key,
    signature_log: Key,
}

impl Sigstore {
    /// Makes one.
    ///
    /// # Panics
    /// When the random source fails.
    pub fn generate() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "fairlead test identities");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("make a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("sign a certificate");
        Self { authority, certificate_log: Key::generate(), signature_log: Key::generate() }
    }

    /// What a verifier has to trust, as `cosign trusted-root create` writes it.
    ///
    /// # Panics
    /// When cosign fails.
    pub fn trusted_root(&self) -> String {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        for (name, text) in [
            ("authority.pem", self.authority.pem()),
            ("certificates.pub", self.certificate_log.0.public_key_pem()),
            ("signatures.pub", self.signature_log.0.public_key_pem()),
        ] {
            std::fs::write(folder.path().join(name), text).expect("write a file");
        }
        let log =
            |file: &str, host: &str| format!("url=https://{host},public-key={file},start-time=2020-01-01T00:00:00Z");
        let mut create = Command::new(tool("cosign"));
        create.current_dir(folder.path()).env("HOME", folder.path()).args([
            "trusted-root",
            "create",
            "--out=root.json",
        ]);
        create.arg("--fulcio=url=https://fulcio.bench.invalid,certificate-chain=authority.pem");
        create.arg(format!("--ctfe={}", log("certificates.pub", "ctfe.bench.invalid")));
        create.arg(format!("--rekor={}", log("signatures.pub", LOG_NAME)));
        run(&mut create);
        std::fs::read_to_string(folder.path().join("root.json")).expect("read a trusted root")
    }

    /// Signs the artifact with this digest as somebody with this mail address, whom `issuer` knows.
    ///
    /// # Panics
    /// When the registry does not take it.
    pub async fn sign(&self, registry: &OciRegistry, repository: &str, digest: &str, issuer: &str, subject: &str) {
        let key = Key::generate();
        let certificate = self.certify(&key, issuer, subject);
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1", "predicate": {},
            "predicateType": "https://sigstore.dev/cosign/sign/v1",
            "subject": [{"digest": {"sha256": digest.trim_start_matches("sha256:")}}],
        })
        .to_string();
        let signed = format!("DSSEv1 {} {STATEMENT} {} {statement}", STATEMENT.len(), statement.len());
        let signature = BASE64.encode(key.sign(signed.as_bytes()));
        let envelope = json!({
            "payload": BASE64.encode(&statement), "payloadType": STATEMENT, "signatures": [{"sig": signature}],
        });
        let bundle = json!({
            "mediaType": BUNDLE,
            "dsseEnvelope": envelope,
            "verificationMaterial": {
                "certificate": {"rawBytes": BASE64.encode(&certificate)},
                "tlogEntries": [self.log(&certificate, &statement, &envelope, &signature)],
            },
        });
        registry.attach(repository, digest, BUNDLE, bundle.to_string().as_bytes()).await;
    }

    /// A certificate for a key, with the word of the log that it is known there.
    fn certify(&self, key: &Key, issuer: &str, subject: &str) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from(1_u64));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        params.use_authority_key_identifier_extension = true;
        let subject = subject.try_into().expect("a mail address is ASCII");
        params.subject_alt_names = vec![SanType::Rfc822Name(subject)];
        params.custom_extensions = vec![CustomExtension::from_oid_content(ISSUER, der(0x0c, issuer.as_bytes()))];
        let issue = |params: &CertificateParams| {
            params.signed_by(&key.0, &self.authority).expect("sign a certificate").der().to_vec()
        };
        let unlogged = issue(&params);
        let list = self.log_certificate(to_be_signed(&unlogged));
        params.custom_extensions.push(CustomExtension::from_oid_content(TIMESTAMPS, der(0x04, &list)));
        issue(&params)
    }

    /// The list of timestamps for a certificate that has none yet (RFC 6962).
    fn log_certificate(&self, certificate: &[u8]) -> Vec<u8> {
        let milliseconds = (now() * 1000).to_be_bytes();
        let authority = sha256(&self.authority.key().subject_public_key_info());
        let length = u32::try_from(certificate.len()).expect("a certificate is small").to_be_bytes();
        // Version, kind of signature; time; kind of entry; no extensions at the end.
        let signed = [&[0, 0][..], &milliseconds, &[0, 1], &authority, &length[1..], certificate, &[0, 0]].concat();
        let signature = self.certificate_log.sign(&signed);
        let id = self.certificate_log.id();
        // SHA-256 and ECDSA.
        let timestamp = [&[0][..], &id, &milliseconds, &[0, 0, 4, 3], &two_bytes(signature.len()), &signature].concat();
        let entry = [&two_bytes(timestamp.len())[..], &timestamp].concat();
        [&two_bytes(entry.len())[..], &entry].concat()
    }

    /// The entry of the log of signatures, the only one that it has.
    fn log(&self, certificate: &[u8], statement: &str, envelope: &Value, signature: &str) -> Value {
        let hash = |text: &str| json!({"algorithm": "sha256", "value": hex(&sha256(text.as_bytes()))});
        let certificate = pem(certificate);
        // With its keys in order, as here, this is the canonical form that the log signs.
        let body = json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {
            "envelopeHash": hash(&envelope.to_string()), "payloadHash": hash(statement),
            "signatures": [{"signature": signature, "verifier": BASE64.encode(certificate)}],
        }})
        .to_string();
        let (id, time) = (self.signature_log.id(), now());
        let promise =
            json!({"body": BASE64.encode(&body), "integratedTime": time, "logID": hex(&id), "logIndex": 0}).to_string();
        let root = sha256(&[&[0], body.as_bytes()].concat());
        // The number after the name tells the older kind of log, whose entries bear their time.
        let head = format!("{LOG_NAME} - 1\n1\n{}\n", BASE64.encode(root));
        let mark = BASE64.encode([&id[..4], &self.signature_log.sign(head.as_bytes())].concat());
        json!({
            "logIndex": "0", "logId": {"keyId": BASE64.encode(id)}, "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": time.to_string(), "canonicalizedBody": BASE64.encode(&body),
            "inclusionPromise": {"signedEntryTimestamp": BASE64.encode(self.signature_log.sign(promise.as_bytes()))},
            "inclusionProof": {
                "logIndex": "0", "treeSize": "1", "hashes": [], "rootHash": BASE64.encode(root),
                "checkpoint": {"envelope": format!("{head}\n\u{2014} {LOG_NAME} {mark}\n")},
            },
        })
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn two_bytes(length: usize) -> [u8; 2] {
    u16::try_from(length).expect("short").to_be_bytes()
}

/// A value in DER.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).ok().filter(|length| *length < 0x80);
    match length {
        Some(length) => [&[tag, length], content].concat(),
        None => [&[tag, 0x82], &two_bytes(content.len())[..], content].concat(),
    }
}

/// The part of a certificate that is signed: the first value in it.
fn to_be_signed(certificate: &[u8]) -> &[u8] {
    let (header, _) = lengths(certificate);
    let inner = &certificate[header..];
    let (header, content) = lengths(inner);
    &inner[..header + content]
}

/// Lengths of the header and of the content of a value in DER.
fn lengths(value: &[u8]) -> (usize, usize) {
    let first = usize::from(value[1]);
    if first < 0x80 {
        return (2, first);
    }
    let count = first & 0x7f;
    let length = value[2..2 + count].iter().fold(0, |length, byte| (length << 8) | usize::from(*byte));
    (2 + count, length)
}

fn pem(certificate: &[u8]) -> String {
    let text = BASE64.encode(certificate);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
