//! What git says, read: refs, commits, and why a call failed. Pure.

use std::collections::BTreeMap;

use crate::redact::{bounded, redact};

/// Bytes of git's own words that an error carries.
const MESSAGE_LIMIT: usize = 400;

/// Why a git call failed, as far as it matters for what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The remote refused the credentials, or asks for some.
    Authentication,
    /// The SSH host key is unknown or not the known one.
    HostKey,
    /// The remote has no such repository, or hides it.
    NotFound,
    /// The remote has no such ref or commit.
    RefMissing,
    /// The commit has no such path.
    PathMissing,
    /// The remote does not hand out commits by their hash.
    Unadvertised,
    /// The remote is somewhere else.
    Redirect,
    /// The proxy refused.
    Proxy,
    /// The remote cannot be reached.
    Unreachable,
    /// The call did not end in time.
    TimedOut,
    /// The server's certificate is not trusted.
    Certificate,
    /// The mirror is damaged or locked by a process that is gone.
    Mirror,
    /// No space is left.
    DiskFull,
    /// Anything else, git itself missing included.
    Other,
}

/// A failed git call, its message free of secrets.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct GitError {
    /// What went wrong, in kind.
    pub cause: Cause,
    /// What went wrong, in words.
    pub message: String,
}

impl GitError {
    /// An error of this cause.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into() }
    }

    /// Reads git's standard error.
    pub fn from_stderr(code: i32, stderr: &str) -> Self {
        let cause = classify(stderr);
        let said = essence(stderr);
        let hint = match cause {
            Cause::Authentication => "authentication failed: ",
            Cause::HostKey => "the host key is not among the 'known_hosts' of the secret: ",
            Cause::NotFound => "repository not found (or not visible to these credentials): ",
            Cause::RefMissing => "no such reference: ",
            Cause::PathMissing => "the commit has no such path: ",
            Cause::Proxy => "the proxy refused: ",
            Cause::Unreachable => "the remote cannot be reached: ",
            Cause::Certificate => "the certificate of the remote is not trusted: ",
            _ => "",
        };
        let said = if said.is_empty() { format!("git ended with code {code}") } else { said };
        Self { cause, message: format!("{hint}{said}") }
    }
}

/// In order: the first cause one of whose phrases occurs is it.
const PHRASES: &[(Cause, &[&str])] = &[
    (Cause::DiskFull, &["no space left on device", "disk quota exceeded"]),
    (Cause::HostKey, &["host key verification failed", "remote host identification has changed"]),
    (
        Cause::Certificate,
        &[
            "certificate verification failed",
            "ssl certificate problem",
            "certificate verify failed",
            "unable to set private key",
            "could not load client cert",
        ],
    ),
    (Cause::Redirect, &["returned error: 301", "returned error: 302", "returned error: 307", "returned error: 308"]),
    (Cause::Proxy, &["http code 407 from proxy", "response 407", "returned error: 407", "from proxy after connect"]),
    (
        Cause::Authentication,
        &[
            "authentication failed",
            "could not read username",
            "could not read password",
            "permission denied",
            "invalid username or password",
            "incorrect passphrase",
            "error in libcrypto",
            "invalid format",
            "returned error: 401",
            "returned error: 403",
            "http 401",
            "http 403",
        ],
    ),
    (Cause::Unadvertised, &["unadvertised object", "remote error: want "]),
    (Cause::PathMissing, &["did not match any files"]),
    (Cause::RefMissing, &["couldn't find remote ref", "remote branch", "no such ref", "not our ref"]),
    (
        Cause::NotFound,
        &[
            "repository not found",
            "not found",
            "does not appear to be a git repository",
            "does not exist",
            "no such repository",
            "returned error: 404",
            "project you were looking for",
        ],
    ),
    (
        Cause::Unreachable,
        &[
            "could not resolve host",
            "could not resolve hostname",
            "failed to connect",
            "couldn't connect",
            "connection refused",
            "connection timed out",
            "connection reset",
            "connection closed",
            "no route to host",
            "network is unreachable",
            "operation timed out",
            "returned error: 5",
            "the remote end hung up",
            "early eof",
            "empty reply from server",
            "name or service not known",
            "temporary failure in name resolution",
        ],
    ),
    (
        Cause::Mirror,
        &[
            ".lock': file exists",
            "another git process",
            "bad object",
            "not a valid object",
            "not a git repository",
            "corrupt",
            "unable to read",
            "not a tree object",
            "missing blob",
            "missing tree",
            "bad config",
            "index-pack failed",
            "invalid index-pack output",
            "inflate",
            "shallow file has changed",
            "bad shallow",
            "failed to read object",
            "garbage at end of loose object",
            "did not receive expected object",
        ],
    ),
];

/// The kind of failure that git's standard error tells of.
pub fn classify(stderr: &str) -> Cause {
    let text = stderr.to_ascii_lowercase();
    PHRASES
        .iter()
        .find(|(_, phrases)| phrases.iter().any(|phrase| text.contains(phrase)))
        .map_or(Cause::Other, |(cause, _)| *cause)
}

/// The lines that say something, on one line: git's own complaint first, then the remote's.
fn essence(stderr: &str) -> String {
    let line = |prefix: &'static str| {
        stderr.lines().map(str::trim).filter_map(move |line| line.strip_prefix(prefix)).map(str::trim)
    };
    let mut told: Vec<&str> = line("fatal:").chain(line("error:")).chain(line("remote:")).collect();
    let first = stderr.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('@'));
    // What ssh says has no prefix and tells more than git's "could not read from remote repository".
    if let Some(first) = first.filter(|first| !["fatal:", "error:", "remote:"].iter().any(|p| first.starts_with(p))) {
        told.insert(0, first);
    }
    told.retain(|line| !line.is_empty() && !line.starts_with("Could not read from remote repository"));
    told.dedup();
    let joined = told.join("; ");
    bounded(&redact(&joined), MESSAGE_LIMIT).into_owned()
}

/// What a remote's refs point to, by full name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refs {
    commits: BTreeMap<String, String>,
    peeled: BTreeMap<String, String>,
}

impl Refs {
    /// The commit that a ref leads to, through an annotated tag where it is one.
    pub fn commit(&self, name: &str) -> Option<&str> {
        let name = name.strip_suffix("^{}").unwrap_or(name);
        self.peeled.get(name).or_else(|| self.commits.get(name)).map(String::as_str)
    }

    /// The tag object that a ref leads to, if it is an annotated tag.
    pub fn tag_object(&self, name: &str) -> Option<&str> {
        self.peeled.get(name).and(self.commits.get(name)).map(String::as_str)
    }

    /// Whether a ref leads to this commit or tag object.
    pub fn lead_to(&self, object: &str) -> bool {
        self.end_at(object) || self.peeled.values().any(|hash| hash == object)
    }

    /// Whether a ref ends there: the commit behind an annotated tag is no end, and servers that hand out ends only do
    /// not hand it out.
    pub fn end_at(&self, object: &str) -> bool {
        self.commits.values().any(|hash| hash == object)
    }

    /// The names of all tags, without `refs/tags/`.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.commits.keys().filter_map(|name| name.strip_prefix("refs/tags/"))
    }

    /// Whether the remote has no ref at all: an empty repository.
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }
}

/// Reads the output of `git ls-remote`; lines that are not a hash and a ref are skipped.
pub fn parse_refs(stdout: &[u8]) -> Refs {
    let mut refs = Refs::default();
    for line in String::from_utf8_lossy(stdout).lines() {
        let Some((hash, name)) = line.split_once('\t') else { continue };
        if !is_commit_hash(hash) {
            continue;
        }
        match name.strip_suffix("^{}") {
            Some(tag) => refs.peeled.insert(tag.to_owned(), hash.to_owned()),
            None => refs.commits.insert(name.to_owned(), hash.to_owned()),
        };
    }
    refs
}

/// Whether the text is a full SHA-1 in lower-case hexadecimal.
pub fn is_commit_hash(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// When a commit object was made, by its committer's clock: seconds since 1970.
pub fn commit_time(object: &[u8]) -> Option<i64> {
    let text = String::from_utf8_lossy(object);
    let committer = text.lines().take_while(|line| !line.is_empty()).find(|line| line.starts_with("committer "))?;
    // `committer Name <address> 1700000000 +0100`, and the name may hold anything but `>`.
    committer.rsplit_once("> ")?.1.split(' ').next()?.parse().ok()
}

/// The subject of a commit object: its message's first line, 50 characters at the most.
pub fn commit_subject(object: &[u8]) -> String {
    let text = String::from_utf8_lossy(object);
    let subject = text.split_once("\n\n").map_or("", |(_, message)| message).lines().next().unwrap_or_default();
    if subject.chars().count() > 50 {
        subject.chars().take(50).chain("...".chars()).collect()
    } else {
        subject.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "1111111111111111111111111111111111111111";
    const B: &str = "2222222222222222222222222222222222222222";

    #[test]
    fn refs_are_read_and_tags_peeled() {
        let text = format!("{A}\tHEAD\n{A}\trefs/heads/main\n{A}\trefs/tags/v1\n{B}\trefs/tags/v1^{{}}\nwarning: x\n");
        let refs = parse_refs(text.as_bytes());
        assert_eq!(refs.commit("refs/heads/main"), Some(A));
        assert_eq!(refs.commit("refs/tags/v1"), Some(B));
        assert_eq!(refs.commit("refs/tags/v1^{}"), Some(B));
        assert_eq!(refs.tag_object("refs/tags/v1"), Some(A));
        assert_eq!(refs.tag_object("refs/heads/main"), None);
        assert_eq!(refs.tags().collect::<Vec<_>>(), ["v1"]);
        assert!(parse_refs(b"").is_empty());
    }

    #[test]
    fn failures_are_told_apart() {
        // Recorded from git 2.39 and OpenSSH 9.2.
        for (stderr, cause) in [
            (
                "fatal: could not read Username for 'https://github.com': terminal prompts disabled",
                Cause::Authentication,
            ),
            ("fatal: Authentication failed for 'http://127.0.0.1:4/x.git/'", Cause::Authentication),
            (
                "git@host: Permission denied (publickey).\r\nfatal: Could not read from remote repository.",
                Cause::Authentication,
            ),
            (
                "No ED25519 host key is known for [127.0.0.1]:2 and you have requested strict checking.\r\nHost key verification failed.\r\nfatal: Could not read from remote repository.",
                Cause::HostKey,
            ),
            ("fatal: repository 'http://127.0.0.1:4/missing.git/' not found", Cause::NotFound),
            ("fatal: couldn't find remote ref refs/heads/gone", Cause::RefMissing),
            ("fatal: unable to access 'http://x.invalid/': Could not resolve host: x.invalid", Cause::Unreachable),
            (
                "fatal: unable to access 'http://127.0.0.1:1/x/': Failed to connect to 127.0.0.1 port 1 after 0 ms: Couldn't connect to server",
                Cause::Unreachable,
            ),
            (
                "fatal: unable to access 'https://127.0.0.1:4/': server certificate verification failed. CAfile: none CRLfile: none",
                Cause::Certificate,
            ),
            ("fatal: Unable to create '/d/x.git/shallow.lock': File exists.", Cause::Mirror),
            ("fatal: not a git repository: '/d/x.git'", Cause::Mirror),
            ("error: Server does not allow request for unadvertised object 1111", Cause::Unadvertised),
            ("fatal: remote error: want 1111 not valid", Cause::Unadvertised),
            ("fatal: remote error: upload-pack: not our ref 1111", Cause::RefMissing),
            ("fatal: unable to access 'https://h/x/': Received HTTP code 407 from proxy after CONNECT", Cause::Proxy),
            ("fatal: unable to access 'http://h/x/': The requested URL returned error: 407", Cause::Proxy),
            ("fatal: unable to access 'http://h/x/': The requested URL returned error: 301", Cause::Redirect),
            ("fatal: pathspec 'nope' did not match any files", Cause::PathMissing),
            ("fatal: write error: No space left on device", Cause::DiskFull),
            (
                "Load key \"/x/identity\": error in libcrypto\r\ngit@h: Permission denied (publickey).",
                Cause::Authentication,
            ),
            ("surprise", Cause::Other),
        ] {
            assert_eq!(classify(stderr), cause, "{stderr}");
        }
    }

    #[test]
    fn messages_are_one_line_without_secrets() {
        let error = GitError::from_stderr(
            128,
            "remote: nope\nfatal: unable to access 'https://u:hunter2@h/x': The requested URL returned error: 500\n",
        );
        assert_eq!(error.cause, Cause::Unreachable);
        assert!(!error.message.contains("hunter2") && !error.message.contains('\n'), "{error}");
        assert_eq!(GitError::from_stderr(1, "").message, "git ended with code 1");
    }

    #[test]
    fn the_committers_time_is_read() {
        let commit =
            "tree x\nauthor A <a@b> 1600000000 +0000\ncommitter B > C <b@c> 1700000000 -0730\n\ncommitter <x> 1";
        assert_eq!(commit_time(commit.as_bytes()), Some(1_700_000_000));
        assert_eq!(commit_time(b"tree x\n\ncommitter D <d@e> 1700000000 +0000"), None);
        assert_eq!(commit_time(b"committer D <d@e> soon +0000\n\n"), None);
    }

    #[test]
    fn subjects_are_cut() {
        assert_eq!(commit_subject(b"tree x\nauthor y\n\nFix it\n\nbody"), "Fix it");
        assert_eq!(
            commit_subject(format!("tree x\n\n{}", "x".repeat(60)).as_bytes()),
            format!("{}...", "x".repeat(50))
        );
        assert_eq!(commit_subject(b"tree x\n\n"), "");
    }
}
