//! `configDigest`: the hash by which Flux and Fairlead tell whether values have changed.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::go_yaml;

/// `sha256:` and the hex hash of the values as go-yaml writes them; the hash of nothing for no
/// values. Null counts as no values.
pub fn config_digest(values: &Map<String, Value>) -> String {
    if values.is_empty() { digest(b"") } else { digest(go_yaml::encode(values).as_bytes()) }
}

/// `sha256:` and the hex hash of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
    }
    text
}
