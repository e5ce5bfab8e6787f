//! Signatures over a body, compared in constant time. Pure.

use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

/// Whether `signature` (`sha256=<hex>`, also `sha1` and `sha512`) is that of the body.
pub fn is_signed(signature: &str, token: &[u8], body: &[u8]) -> bool {
    let Some((function, digits)) = signature.trim().split_once('=') else { return false };
    let Some(given) = unhex(digits) else { return false };
    match function {
        "sha1" => sha1(&given, token, body),
        "sha256" => keyed::<Hmac<Sha256>>(token).chain_update(body).verify_slice(&given).is_ok(),
        "sha512" => keyed::<Hmac<Sha512>>(token).chain_update(body).verify_slice(&given).is_ok(),
        _ => false,
    }
}

/// Whether `signature` (hex alone) is the SHA-1 signature of the body.
pub fn is_signed_by_sha1(signature: &str, token: &[u8], body: &[u8]) -> bool {
    unhex(signature.trim()).is_some_and(|given| sha1(&given, token, body))
}

/// Whether two secrets are the same. Their hashes are compared, so that the time that it takes
/// tells nothing about them, not even how long they are.
pub fn is_same(given: &[u8], token: &[u8]) -> bool {
    let expected = keyed::<Hmac<Sha256>>(token).chain_update(token).finalize();
    keyed::<Hmac<Sha256>>(token).chain_update(given).verify(&expected.into_bytes()).is_ok()
}

fn sha1(given: &[u8], token: &[u8], body: &[u8]) -> bool {
    keyed::<Hmac<Sha1>>(token).chain_update(body).verify_slice(given).is_ok()
}

fn keyed<M: hmac::KeyInit>(token: &[u8]) -> M {
    M::new_from_slice(token).expect("a key of any length will do")
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // `printf body | openssl dgst -sha256 -hmac token`, and so on.
    const SHA1: &str = "cc458c69d3c8f2a7dc68b3abf500c122b3b7454d";
    const SHA256: &str = "4d7872738ac3b68c82e09ccb63975592ac3278d7e2ff228ce76d8028de911b5c";
    const SHA512: &str = "ed07f0c8f6ab6ca3b876c0381aa0683a09900228dcfc363be116a9cc3b4d10a195f6244c838f28b118550442e1a1c8526cad2f5de0541fa198fce2f4f7b16eaa";

    #[test]
    fn signatures_are_those_of_openssl() {
        for (function, digits) in [("sha1", SHA1), ("sha256", SHA256), ("sha512", SHA512)] {
            assert!(is_signed(&format!("{function}={digits}"), b"token", b"body"), "{function}");
            assert!(is_signed(&format!("{function}={}", digits.to_uppercase()), b"token", b"body"), "{function}");
            assert!(!is_signed(&format!("{function}={digits}"), b"token", b"another body"), "{function}");
            assert!(!is_signed(&format!("{function}={digits}"), b"another token", b"body"), "{function}");
        }
        assert!(is_signed_by_sha1(SHA1, b"token", b"body"));
        assert!(!is_signed_by_sha1(SHA256, b"token", b"body"));
    }

    #[test]
    fn anything_else_is_no_signature() {
        let cut = format!("sha256={}", &SHA256[..62]);
        for bad in ["", "=", "sha256=", "sha256", "md5=00", &cut, SHA256, "sha256=zz", "sha256=ä", "sha1=0"] {
            assert!(!is_signed(bad, b"token", b"body"), "{bad}");
        }
    }

    #[test]
    fn only_the_same_secret_is_the_same() {
        assert!(is_same(b"token", b"token"));
        for other in [&b"toke"[..], b"token ", b"", b"Token"] {
            assert!(!is_same(other, b"token"));
        }
    }
}
