//! Digests as text. Pure.

use std::fmt;

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The SHA-256 of some bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// What a digest is made with. Ours are SHA-256; other operators may be told to use another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// BLAKE3.
    Blake3,
}

impl Algorithm {
    const ALL: [Self; 4] = [Self::Sha256, Self::Sha384, Self::Sha512, Self::Blake3];

    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Blake3 => "blake3",
        }
    }

    fn hex_length(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 64,
            Self::Sha384 => 96,
            Self::Sha512 => 128,
        }
    }

    /// Starts one.
    pub fn hasher(self) -> Hasher {
        match self {
            Self::Sha256 => Hasher::Sha256(Sha256::new()),
            Self::Sha384 => Hasher::Sha384(Sha384::new()),
            Self::Sha512 => Hasher::Sha512(Sha512::new()),
            Self::Blake3 => Hasher::Blake3(Box::default()),
        }
    }

    /// The digest of some bytes.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }
}

/// A digest in the making.
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-384.
    Sha384(Sha384),
    /// SHA-512.
    Sha512(Sha512),
    /// BLAKE3.
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha384(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => drop(hasher.update(bytes)),
        }
    }

    /// The digest of all bytes.
    pub fn finish(self) -> Digest {
        let (algorithm, hex) = match self {
            Self::Sha256(hasher) => (Algorithm::Sha256, hex(&hasher.finalize())),
            Self::Sha384(hasher) => (Algorithm::Sha384, hex(&hasher.finalize())),
            Self::Sha512(hasher) => (Algorithm::Sha512, hex(&hasher.finalize())),
            Self::Blake3(hasher) => (Algorithm::Blake3, hex(hasher.finalize().as_bytes())),
        };
        Digest { algorithm, hex }
    }
}

/// A digest, shown as `<algorithm>:<hexadecimal>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

impl Digest {
    /// Reads one.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, hex) = text.split_once(':')?;
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)?;
        Self::of(algorithm, hex)
    }

    fn of(algorithm: Algorithm, hex: &str) -> Option<Self> {
        let is_one = hex.len() == algorithm.hex_length() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_one.then(|| Self { algorithm, hex: hex.to_owned() })
    }

    /// What it is made with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// A name for a file: that of the most usual algorithm is the hexadecimal alone.
    pub fn file_name(&self) -> String {
        match self.algorithm {
            Algorithm::Sha256 => self.hex.clone(),
            other => format!("{}-{}", other.name(), self.hex),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_known() {
        assert_eq!(sha256(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (algorithm, known) in [
            (Algorithm::Sha256, "sha256:e3b0c442"),
            (Algorithm::Sha384, "sha384:38b060a7"),
            (Algorithm::Sha512, "sha512:cf83e135"),
            (Algorithm::Blake3, "blake3:af1349b9"),
        ] {
            let digest = algorithm.digest(b"");
            assert!(digest.to_string().starts_with(known), "{digest}");
            assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        }
    }

    #[test]
    fn what_is_no_digest_is_not_read() {
        for text in
            ["", "e3b0", "sha256:e3b0", &format!("md5:{}", "0".repeat(64)), &format!("sha512:{}", "0".repeat(64))]
        {
            assert_eq!(Digest::parse(text), None, "{text}");
        }
        assert_eq!(Digest::parse(&format!("sha256:{}", "../".repeat(21) + "x")), None);
    }
}
