//! Signatures of commits and tags: taken out of the object, and checked against trusted keys. Pure.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use k8s_openapi::ByteString;

use crate::openpgp::{KeyRing, Refused};

mod ssh;

/// Suffix of the keys of a Secret that hold SSH public keys; all others hold PGP key rings.
const SSH_SUFFIX: &str = ".sshpub";

/// Why a signature is not good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is none.
    #[error("it is not signed")]
    Unsigned,
    /// One that is neither PGP's nor SSH's.
    #[error("its signature is of the format {0}; PGP and SSH signatures can be verified")]
    Format(Format),
    /// A signature that cannot be read.
    #[error("its {0} signature cannot be read: {1}")]
    Unreadable(Format, String),
    /// The Secret has no key of the signature's kind.
    #[error("it has a signature of the format {format}, and the secret has no {format} public key{}", and(problems))]
    NoKeys {
        /// The format.
        format: Format,
        /// Keys of the Secret that could not be read, and why.
        problems: Vec<String>,
    },
    /// None of the keys made it.
    #[error("unable to verify payload with any of the given {format} keys: {}", reasons.join("; "))]
    NoMatch {
        /// The format.
        format: Format,
        /// What speaks against it, key by key.
        reasons: Vec<String>,
    },
}

fn and(problems: &[String]) -> String {
    if problems.is_empty() { String::new() } else { format!(" ({})", problems.join("; ")) }
}

/// Format of a signature, as git tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// PGP, detached.
    Pgp,
    /// SSH.
    Ssh,
    /// S/MIME.
    X509,
    /// None of these.
    Unknown,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pgp => "openpgp",
            Self::Ssh => "ssh",
            Self::X509 => "x509",
            Self::Unknown => "unknown",
        })
    }
}

const ARMOURS: [(&str, Format); 4] = [
    ("-----BEGIN PGP SIGNATURE-----", Format::Pgp),
    ("-----BEGIN SSH SIGNATURE-----", Format::Ssh),
    ("-----BEGIN SIGNED MESSAGE-----", Format::X509),
    ("-----BEGIN PGP MESSAGE-----", Format::Unknown),
];

fn format_of(armour: &str) -> Option<Format> {
    ARMOURS.iter().find(|(start, _)| armour.starts_with(start)).map(|(_, format)| *format)
}

/// An object without its signature, and the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    payload: Vec<u8>,
    signature: Option<String>,
}

/// What a line of a commit's header belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    Plain,
    Signature,
    /// A repository that knows two kinds of hashes has a signature for each.
    OtherSignature,
}

impl Header {
    fn of(line: &[u8]) -> Self {
        if line.starts_with(b"gpgsig ") {
            Self::Signature
        } else if line.starts_with(b"gpgsig-sha256 ") {
            Self::OtherSignature
        } else {
            Self::Plain
        }
    }
}

impl Signed {
    /// Takes a commit object apart: the signature stands in a header.
    pub fn commit(object: &[u8]) -> Self {
        let mut payload = Vec::with_capacity(object.len());
        let mut signature = String::new();
        let mut header = Header::Plain;
        let mut lines = object.split_inclusive(|byte| *byte == b'\n');
        for line in lines.by_ref() {
            let value = match line.strip_prefix(b" ") {
                Some(continued) if header != Header::Plain => continued,
                _ => {
                    header = Header::of(line);
                    line.strip_prefix(b"gpgsig ").unwrap_or(line)
                }
            };
            match header {
                Header::Signature => signature.push_str(&String::from_utf8_lossy(value)),
                Header::OtherSignature => {}
                Header::Plain => payload.extend_from_slice(line),
            }
            if line == b"\n" {
                break;
            }
        }
        lines.for_each(|line| payload.extend_from_slice(line));
        Self { payload, signature: (!signature.is_empty()).then_some(signature) }
    }

    /// Takes a tag object apart: the signature stands at the end.
    pub fn tag(object: &[u8]) -> Self {
        let mut start = None;
        let mut at = 0;
        for line in object.split_inclusive(|byte| *byte == b'\n') {
            if format_of(&String::from_utf8_lossy(line)).is_some() {
                start = Some(at);
            }
            at += line.len();
        }
        let (payload, signature) = object.split_at(start.unwrap_or(object.len()));
        let signature = start.map(|_| String::from_utf8_lossy(signature).into_owned());
        Self { payload: payload.to_vec(), signature }
    }

    /// Whether there is a signature at all.
    pub fn is_signed(&self) -> bool {
        self.signature.is_some()
    }
}

/// A field of an object's header, e.g. what a tag points at.
pub fn header<'o>(object: &'o [u8], field: &str) -> Option<&'o str> {
    let lines = object.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
    let mut values = lines.filter_map(|line| std::str::from_utf8(line).ok()?.split_once(' '));
    values.find(|(name, _)| *name == field).map(|(_, value)| value)
}

/// Public keys of those whose signatures count.
#[derive(Default)]
pub struct TrustedKeys {
    pgp: KeyRing,
    ssh: Vec<ssh::Key>,
    problems: Vec<String>,
}

impl TrustedKeys {
    /// Reads a Secret: `*.sshpub` holds lines of an `authorized_keys` file, every other key a PGP
    /// key ring. What cannot be read is told when it is missed.
    pub fn from_secret(data: &BTreeMap<String, ByteString>) -> Self {
        let mut trusted = Self::default();
        for (name, ByteString(bytes)) in data {
            let read = if name.ends_with(SSH_SUFFIX) {
                ssh::read_keys(&String::from_utf8_lossy(bytes)).map(|keys| trusted.ssh.extend(keys))
            } else {
                trusted.pgp.add(bytes)
            };
            if let Err(problem) = read {
                trusted.problems.push(format!("'{name}': {problem}"));
            }
        }
        trusted
    }

    /// Checks an object's signature; gives the name of the key that made it: PGP's key id, or the
    /// fingerprint of an SSH key.
    pub fn verify(&self, object: &Signed, now: Timestamp) -> Result<String, SignatureError> {
        let signature = object.signature.as_deref().ok_or(SignatureError::Unsigned)?.trim();
        let format = format_of(signature).unwrap_or(Format::Unknown);
        let no_keys = || SignatureError::NoKeys { format, problems: self.problems.clone() };
        let checked = match format {
            Format::Pgp if self.pgp.is_empty() => return Err(no_keys()),
            Format::Ssh if self.ssh.is_empty() => return Err(no_keys()),
            Format::Pgp => self.pgp.verify(signature, &object.payload, now),
            Format::Ssh => ssh::verify(&self.ssh, signature, &object.payload),
            Format::X509 | Format::Unknown => return Err(SignatureError::Format(format)),
        };
        checked.map_err(|error| match error {
            Refused::Unreadable(why) => SignatureError::Unreadable(format, why),
            Refused::Keys(mut reasons) => {
                reasons.extend(self.problems.iter().cloned());
                SignatureError::NoMatch { format, reasons }
            }
        })
    }
}

#[cfg(test)]
mod tests;
