//! The name that helm knows a release by.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// The longest name that helm accepts.
const LONGEST: usize = 53;
/// Characters of the hash that ends a shortened name.
const HASH: usize = 12;

/// The release's name: as given, else the object's name behind its target namespace; shortened as
/// Flux does where helm would refuse it.
pub fn release_name(given: Option<&str>, target_namespace: Option<&str>, object: &str) -> String {
    let name = match (given, target_namespace) {
        (Some(given), _) => given.to_owned(),
        (None, Some(namespace)) => format!("{namespace}-{object}"),
        (None, None) => object.to_owned(),
    };
    shortened(name)
}

fn shortened(name: String) -> String {
    if name.len() <= LONGEST {
        return name;
    }
    let hash = Sha256::digest(name.as_bytes());
    let kept = name.floor_char_boundary(LONGEST - HASH - 1);
    let mut short = format!("{}-", &name[..kept]);
    for byte in hash.iter().take(HASH / 2) {
        let _ = write!(short, "{byte:02x}");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_flux() {
        assert_eq!(release_name(None, None, "ui"), "ui");
        assert_eq!(release_name(None, Some("apps"), "ui"), "apps-ui");
        assert_eq!(release_name(Some("web"), Some("apps"), "ui"), "web");
        // printf %s aaa… (60 times) | sha256sum
        let long = release_name(None, None, &"a".repeat(60));
        assert_eq!(long, format!("{}-11ee391211c6", "a".repeat(40)));
        assert_eq!(release_name(None, None, &"a".repeat(53)), "a".repeat(53));
    }
}
