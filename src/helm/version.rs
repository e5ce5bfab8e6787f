//! Which helm binary this is; flags differ between the majors.

use std::fmt;

/// Oldest helm that has every flag the operator needs.
pub const OLDEST: Version = Version { major: 3, minor: 18, patch: 0 };

/// First major that is not known to work.
const FIRST_UNKNOWN_MAJOR: u64 = 5;

/// A helm version, without its pre-release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 3 or 4.
    pub major: u64,
    /// Counts features.
    pub minor: u64,
    /// Counts fixes.
    pub patch: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Why a version cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// What the binary printed is no version.
    #[error("`helm version` printed {printed:?}, which is no version; is this helm?")]
    Unreadable {
        /// The first bytes of it.
        printed: String,
    },
    /// The binary lacks flags that are needed.
    #[error("helm {found} is too old; {OLDEST} or newer is needed")]
    TooOld {
        /// What the binary says it is.
        found: Version,
    },
    /// The binary is of a major that did not exist when this was written.
    #[error("helm {found} is newer than this version of fairlead knows; use helm 3 or 4")]
    TooNew {
        /// What the binary says it is.
        found: Version,
    },
}

/// Reads what `helm version --template '{{.Version}}'` printed, and accepts 3.18 up to 4.
pub fn parse(printed: &str) -> Result<Version, VersionError> {
    let found = read(printed.trim())
        .ok_or_else(|| VersionError::Unreadable { printed: crate::redact::bounded(printed.trim(), 80).into_owned() })?;
    if found < OLDEST {
        return Err(VersionError::TooOld { found });
    }
    if found.major >= FIRST_UNKNOWN_MAJOR {
        return Err(VersionError::TooNew { found });
    }
    Ok(found)
}

fn read(text: &str) -> Option<Version> {
    let version = semver::Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()?;
    Some(Version { major: version.major, minor: version.minor, patch: version.patch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_used() {
        let text = |printed| parse(printed).map(|v| v.to_string()).map_err(|e| e.to_string());
        assert_eq!(text("v3.18.0").unwrap(), "v3.18.0");
        assert_eq!(text("v3.22.0\n").unwrap(), "v3.22.0");
        assert_eq!(text("v4.3.1+gabc").unwrap(), "v4.3.1");
        assert!(text("v3.17.9").unwrap_err().contains("too old"));
        assert!(text("v2.17.0").unwrap_err().contains("too old"));
        assert!(text("v5.0.0").unwrap_err().contains("newer"));
        assert!(text("hello").unwrap_err().contains("is this helm"));
        assert!(text("").unwrap_err().contains("is this helm"));
    }
}
