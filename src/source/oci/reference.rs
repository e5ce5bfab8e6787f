//! Names in a registry: repositories, tags, digests. Pure.

use std::fmt;

/// What an object's URL has to start with.
pub const SCHEME: &str = "oci://";

/// The host that `docker.io` stands for in the distribution API.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// Why a name cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not `oci://<host>/<path>`.
    #[error("URL must be in format 'oci://<domain>/<org>/<repo>'")]
    Scheme,
    /// The URL holds a user name or a password.
    #[error("URL must not contain credentials: give them in a Secret")]
    Credentials,
    /// The URL holds a tag or a digest.
    #[error("URL must not contain a {what}; remove '{text}'")]
    Version {
        /// `tag` or `digest`.
        what: &'static str,
        /// What to remove.
        text: String,
    },
    /// The host or the path holds something that none has.
    #[error("'{0}' cannot be a repository: only lower-case letters, digits and the separators '.', '_', '-' and '/'")]
    Repository(String),
    /// The host cannot be one.
    #[error("'{0}' cannot be the host of a registry")]
    Host(String),
    /// Not a tag.
    #[error("'{0}' cannot be a tag: letters, digits, '_', '.' and '-', 128 of them at the most")]
    Tag(String),
    /// Not a digest.
    #[error("'{0}' is not a digest of the form 'sha256:<64 hexadecimal digits>'")]
    Digest(String),
}

/// A repository of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repository {
    /// The host and perhaps port, as written.
    registry: String,
    path: String,
}

impl Repository {
    /// Reads `oci://<host>[:<port>]/<path>`.
    pub fn parse(url: &str) -> Result<Self, NameError> {
        let repository = Self::parse_parent(url)?;
        if repository.path.is_empty() { Err(NameError::Scheme) } else { Ok(repository) }
    }

    /// Reads `oci://<host>[:<port>][/<path>]`, below which repositories are; it need not be one itself.
    pub fn parse_parent(url: &str) -> Result<Self, NameError> {
        let rest = url.strip_prefix(SCHEME).ok_or(NameError::Scheme)?;
        let (registry, path) = rest.split_once('/').unwrap_or((rest, ""));
        if registry.contains('@') {
            return Err(NameError::Credentials);
        }
        let host_is_sound = url::Url::parse(&format!("https://{registry}"))
            .is_ok_and(|parsed| parsed.has_host() && parsed.path() == "/" && parsed.query().is_none());
        if !host_is_sound {
            return Err(NameError::Host(registry.to_owned()));
        }
        let path = path.trim_end_matches('/');
        for (sign, what) in [('@', "digest"), (':', "tag")] {
            if let Some(at) = path.find(sign) {
                return Err(NameError::Version { what, text: path[at..].to_owned() });
            }
        }
        let whole = Self { registry: registry.to_owned(), path: String::new() };
        if path.is_empty() { Ok(whole) } else { whole.below(path) }
    }

    /// The repository at a path below this one.
    pub fn below(&self, path: &str) -> Result<Self, NameError> {
        let path = path.trim_matches('/');
        let joined = if self.path.is_empty() { path.to_owned() } else { format!("{}/{path}", self.path) };
        if !joined.split('/').all(is_path_component) {
            return Err(NameError::Repository(joined));
        }
        Ok(Self { registry: self.registry.clone(), path: joined })
    }

    /// The host and perhaps port, as written: what credentials are kept under.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The host and perhaps port to connect to.
    pub fn host(&self) -> &str {
        if self.is_docker_hub() { DOCKER_HUB } else { &self.registry }
    }

    /// The host and perhaps port as other clients name it: in signatures, policies and docker configurations.
    pub fn client_name(&self) -> &str {
        if self.is_docker_hub() { "index.docker.io" } else { &self.registry }
    }

    /// The path, as the registry's API has it.
    pub fn path(&self) -> String {
        if self.is_docker_hub() && !self.path.contains('/') {
            return format!("library/{}", self.path);
        }
        self.path.clone()
    }

    /// Whether this is Docker Hub, whatever it is called.
    pub fn is_docker_hub(&self) -> bool {
        matches!(self.registry.as_str(), "docker.io" | "index.docker.io" | DOCKER_HUB)
    }
}

/// Without the scheme: `<host>/<path>`.
impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

fn is_path_component(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text.chars().all(|c| alphanumeric(c) || matches!(c, '.' | '_' | '-'))
}

/// The digest of a manifest or a layer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Digest(String);

impl Digest {
    /// Reads `sha256:<hex>`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        let sound = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if sound { Ok(Self(text.to_owned())) } else { Err(NameError::Digest(text.to_owned())) }
    }

    /// Of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", super::super::digest::sha256(bytes)))
    }

    /// `sha256:<hex>`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hexadecimal digits.
    pub fn hex(&self) -> &str {
        self.0.trim_start_matches("sha256:")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One artifact of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// What a tag names at the time.
    Tag(String),
    /// The one with this digest.
    Digest(Digest),
}

impl Reference {
    /// What a tag names.
    pub fn tag(text: &str) -> Result<Self, NameError> {
        let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let sound =
            text.len() <= 128 && text.starts_with(first) && text.chars().all(|c| first(c) || matches!(c, '.' | '-'));
        if sound { Ok(Self::Tag(text.to_owned())) } else { Err(NameError::Tag(text.to_owned())) }
    }

    /// As the registry's API has it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Tag(tag) => tag,
            Self::Digest(digest) => digest.as_str(),
        }
    }

    /// The name of the state it stands for, once its digest is known.
    pub fn revision(&self, digest: &Digest) -> String {
        match self {
            Self::Tag(tag) => format!("{tag}@{digest}"),
            Self::Digest(digest) => digest.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_read() {
        for (url, host, path) in [
            ("oci://ghcr.io/stefanprodan/manifests/podinfo", "ghcr.io", "stefanprodan/manifests/podinfo"),
            ("oci://127.0.0.1:5000/a_b/c-d.e", "127.0.0.1:5000", "a_b/c-d.e"),
            ("oci://docker.io/nginx", "registry-1.docker.io", "library/nginx"),
            ("oci://docker.io/bitnamicharts/nginx/", "registry-1.docker.io", "bitnamicharts/nginx"),
            ("oci://[::1]:5000/x", "[::1]:5000", "x"),
        ] {
            let repository = Repository::parse(url).unwrap();
            assert_eq!((repository.host(), repository.path().as_str()), (host, path));
        }
    }

    #[test]
    fn what_is_no_repository_says_why() {
        for (url, needle) in [
            ("https://ghcr.io/x", "oci://<domain>"),
            ("oci://ghcr.io", "oci://<domain>"),
            ("oci://ann:pw@ghcr.io/x", "credentials"),
            ("oci://ghcr.io/x:1.0.0", "remove ':1.0.0'"),
            ("oci://ghcr.io/x@sha256:aa", "must not contain a digest"),
            ("oci://ghcr.io/Upper", "lower-case"),
            ("oci://ghcr.io/a//b", "lower-case"),
            ("oci://ghcr.io/../b", "lower-case"),
            ("oci://gh cr.io/b", "host"),
            ("oci:///b", "host"),
        ] {
            let error = Repository::parse(url).unwrap_err().to_string();
            assert!(error.contains(needle) && !error.contains("pw"), "{url}: {error}");
        }
    }

    #[test]
    fn charts_stand_below_their_repository() {
        let charts = Repository::parse("oci://ghcr.io/org/charts").unwrap();
        assert_eq!(charts.below("podinfo").unwrap().to_string(), "ghcr.io/org/charts/podinfo");
        assert!(charts.below("../secret").is_err());
        for whole in ["oci://ghcr.io", "oci://ghcr.io/"] {
            assert_eq!(
                Repository::parse_parent(whole).unwrap().below("podinfo").unwrap().to_string(),
                "ghcr.io/podinfo"
            );
        }
    }

    #[test]
    fn tags_and_digests_are_checked() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(Digest::parse(&digest).unwrap().hex(), "a".repeat(64));
        for bad in ["", "sha256:aa", &"a".repeat(64), &format!("sha256:{}", "g".repeat(64))] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Reference::tag("1.0.0_x").unwrap().revision(&Digest(digest.clone())), format!("1.0.0_x@{digest}"));
        for bad in ["", "-a", "a/b", "a+b", "a:b", &"a".repeat(129)] {
            assert!(Reference::tag(bad).is_err(), "{bad}");
        }
    }
}
