//! The status of a commit at GitHub, GitLab and Gitea: what it says, and how their APIs are asked.
//! Pure.

use serde_json::{Value, json};
use url::Url;

use super::format::reason_in_words;
use super::metadata;
use crate::api::condition::reason;
use crate::api::event::{Event, Severity};
use crate::api::notification::v1beta3::ProviderType;

/// Where github.com has its API.
const GITHUB_API: &str = "https://api.github.com";

/// Letters of a commit's name.
const SHA1_LETTERS: usize = 40;

/// What is said of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitStatus {
    /// The commit.
    pub commit: String,
    /// Tells it from other statuses of the same commit.
    pub context: String,
    /// In one word of the service.
    pub state: &'static str,
    /// In a few words.
    pub description: String,
}

/// Which repository it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    server: Url,
    path: String,
}

/// How a service is told of a status.
#[derive(Clone, Debug, PartialEq)]
pub struct Requests {
    /// Where the statuses of the commit are.
    pub list: Url,
    /// Where a new one is posted.
    pub create: Url,
    /// What is posted.
    pub body: Value,
}

/// The default name of a status: `kustomization/apps/0c9c2e41`.
pub fn default_context(event: &Event, provider_uid: &str) -> String {
    format!("{}/{}", super::format::name(event), provider_uid.split('-').next().unwrap_or_default()).to_lowercase()
}

/// What an event says of a commit; nothing when it names none, or only says that work is under way
/// and the service has no word for that.
pub fn of(kind: ProviderType, event: &Event, context: String) -> Option<CommitStatus> {
    let commit = commit(metadata::revision(event)?)?.to_owned();
    let state = match (kind, event.severity) {
        (ProviderType::Gitea, _) if event.reason == reason::PROGRESSING => "pending",
        _ if event.reason == reason::PROGRESSING => return None,
        (_, Severity::Info) => "success",
        (ProviderType::GitLab, Severity::Error) => "failed",
        (_, Severity::Error) => "failure",
    };
    Some(CommitStatus { commit, context, state, description: reason_in_words(event) })
}

/// The commit of a revision (`main@sha1:…`, `sha1:…`, `main/…`). A SHA-256 may as well be the
/// digest of something that is no commit.
fn commit(revision: &str) -> Option<&str> {
    let last = revision.rsplit(['@', '/']).next()?;
    let commit = last.strip_prefix("sha1:").unwrap_or(last);
    let is_sha1 = commit.len() == SHA1_LETTERS && commit.bytes().all(|letter| letter.is_ascii_hexdigit());
    is_sha1.then_some(commit)
}

impl Repository {
    /// Reads an address as git takes it: `https://host/owner/name`, `ssh://git@host/owner/name.git`
    /// or `git@host:owner/name.git`.
    pub fn parse(address: &str) -> Option<Self> {
        let address = address.trim();
        let (server, path) = if address.contains("://") {
            let url = Url::parse(address).ok()?;
            let server = match url.scheme() {
                "ssh" => format!("https://{}", url.host_str()?),
                "http" | "https" => url.origin().ascii_serialization(),
                _ => return None,
            };
            (server, url.path().to_owned())
        } else {
            let (host, path) = address.split_once(':')?;
            let host = host.rsplit('@').next()?;
            (format!("https://{host}"), path.to_owned())
        };
        let path = path.trim_matches('/').trim_end_matches(".git").to_owned();
        let server = Url::parse(&server).ok().filter(Url::has_host)?;
        (!path.is_empty()).then_some(Self { server, path })
    }

    /// How the service is told; none when the address has not the form that the service needs.
    pub fn requests(&self, kind: ProviderType, status: &CommitStatus) -> Option<Requests> {
        let CommitStatus { commit, context, state, description } = status;
        if kind == ProviderType::GitLab {
            let of_project = |rest: &[&str]| {
                at(&self.server, &[["api", "v4", "projects", self.path.as_str()].as_slice(), rest].concat())
            };
            let mut list = of_project(&["repository", "commits", commit, "statuses"])?;
            list.query_pairs_mut().append_pair("name", context);
            let create = of_project(&["statuses", commit])?;
            return Some(Requests {
                list,
                create,
                body: json!({"state": state, "name": context, "description": description}),
            });
        }
        let (owner, name) = self.path.split_once('/').filter(|(_, name)| !name.contains('/'))?;
        let body = json!({"state": state, "context": context, "description": description});
        let gitea = kind == ProviderType::Gitea;
        let api: &[&str] = match self.server.host_str() {
            _ if gitea => &["api", "v1"],
            Some("github.com") => &[],
            _ => &["api", "v3"],
        };
        let server = if api.is_empty() { Url::parse(GITHUB_API).ok()? } else { self.server.clone() };
        let of_repository = |rest: &[&str]| at(&server, &[api, &["repos", owner, name], rest].concat());
        let create = of_repository(&["statuses", commit])?;
        let mut list = if gitea { create.clone() } else { of_repository(&["commits", commit, "statuses"])? };
        list.query_pairs_mut().append_pair(if gitea { "limit" } else { "per_page" }, "50");
        Some(Requests { list, create, body })
    }
}

fn at(server: &Url, segments: &[&str]) -> Option<Url> {
    let mut url = server.clone();
    url.path_segments_mut().ok()?.pop_if_empty().extend(segments);
    Some(url)
}

/// Whether the commit's newest status of that name says this already.
pub fn is_known(kind: ProviderType, statuses: &[u8], status: &CommitStatus) -> bool {
    let Ok(statuses) = serde_json::from_slice::<Vec<Value>>(statuses) else { return false };
    let (name, state) = match kind {
        ProviderType::GitLab => ("name", "status"),
        ProviderType::Gitea => ("context", "status"),
        _ => ("context", "state"),
    };
    let newest = statuses.iter().find(|known| known[name] == status.context.as_str());
    newest.is_some_and(|known| known[state] == status.state && known["description"] == status.description.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::format::tests::failure;
    use super::*;
    use ProviderType::{GitHub, GitLab, Gitea};

    const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

    fn event(revision: &str, severity: Severity, reason: &str) -> Event {
        let metadata = [("revision".to_owned(), revision.to_owned())].into();
        Event { severity, reason: reason.to_owned(), metadata, ..failure() }
    }

    #[test]
    fn only_a_revision_of_a_commit_has_a_status() {
        for (revision, expected) in [
            (format!("main@sha1:{SHA}"), true),
            (format!("sha1:{SHA}"), true),
            (format!("refs/pull/1/head@sha1:{SHA}"), true),
            (format!("main/{SHA}"), true),
            (SHA.to_owned(), true),
            (format!("latest@sha256:{SHA}{}", &SHA[..24]), false),
            ("1.0.0+0123".to_owned(), false),
            (format!("main@sha1:{}", &SHA[1..]), false),
        ] {
            let found = of(GitHub, &event(&revision, Severity::Info, "Succeeded"), String::new());
            assert_eq!(found.map(|status| status.commit), expected.then(|| SHA.to_owned()), "{revision}");
        }
        assert_eq!(of(GitHub, &Event { metadata: [].into(), ..failure() }, String::new()), None);
    }

    #[test]
    fn each_service_has_its_own_words() {
        let revision = format!("main@sha1:{SHA}");
        for (kind, severity, reason, expected) in [
            (GitHub, Severity::Info, "ReconciliationSucceeded", Some("success")),
            (GitHub, Severity::Error, "BuildFailed", Some("failure")),
            (GitHub, Severity::Info, "Progressing", None),
            (GitLab, Severity::Error, "BuildFailed", Some("failed")),
            (GitLab, Severity::Info, "Progressing", None),
            (Gitea, Severity::Error, "BuildFailed", Some("failure")),
            (Gitea, Severity::Info, "Progressing", Some("pending")),
        ] {
            let found = of(kind, &event(&revision, severity, reason), String::new());
            assert_eq!(found.map(|status| status.state), expected, "{kind} {reason}");
        }
        let status = of(GitHub, &event(&revision, Severity::Error, "BuildFailed"), "c".to_owned()).unwrap();
        assert_eq!(status.description, "build failed");
        assert_eq!(default_context(&failure(), "0C9c2e41-ddcf-4743"), "helmrelease/ui/0c9c2e41");
    }

    #[test]
    fn addresses_lead_to_the_api_of_each_service() {
        let status = of(GitHub, &event(SHA, Severity::Info, "Ok"), "a/b".to_owned()).unwrap();
        let create = |kind, address: &str| {
            let requests = Repository::parse(address)?.requests(kind, &status)?;
            Some(requests.create.to_string().replace(SHA, "SHA"))
        };
        let github = "https://api.github.com/repos/org/repo/statuses/SHA";
        let enterprise = "https://git.corp:8443/api/v3/repos/org/repo/statuses/SHA";
        let gitea = "http://gitea/api/v1/repos/org/repo/statuses/SHA";
        let gitlab = "https://gitlab.com/api/v4/projects/1234/statuses/SHA";
        let nested = "https://gitlab.com/api/v4/projects/a%2Fb%2Fc/statuses/SHA";
        for (kind, address, expected) in [
            (GitHub, "https://github.com/org/repo", Some(github)),
            (GitHub, "https://github.com/org/repo.git/", Some(github)),
            (GitHub, "ssh://git@github.com:22/org/repo", Some(github)),
            (GitHub, "git@github.com:org/repo.git", Some(github)),
            (GitHub, "https://user:hunter2@git.corp:8443/org/repo", Some(enterprise)),
            (GitHub, "https://github.com/org", None),
            (GitHub, "https://github.com/org/a/b", None),
            (GitHub, "org/repo", None),
            (Gitea, "http://gitea/org/repo", Some(gitea)),
            (GitLab, "https://gitlab.com/1234", Some(gitlab)),
            (GitLab, "https://gitlab.com/a/b/c", Some(nested)),
            (GitLab, "ftp://gitlab.com/a", None),
        ] {
            assert_eq!(create(kind, address).as_deref(), expected, "{address}");
        }
        let lists = [(GitHub, "https://x/o/r"), (GitLab, "https://x/o/r"), (Gitea, "https://x/o/r")];
        let lists = lists.map(|(kind, address)| {
            Repository::parse(address).unwrap().requests(kind, &status).unwrap().list.to_string().replace(SHA, "SHA")
        });
        let expected = [
            "https://x/api/v3/repos/o/r/commits/SHA/statuses?per_page=50",
            "https://x/api/v4/projects/o%2Fr/repository/commits/SHA/statuses?name=a%2Fb",
            "https://x/api/v1/repos/o/r/statuses/SHA?limit=50",
        ];
        assert_eq!(lists, expected);
    }

    #[test]
    fn a_status_that_the_newest_one_repeats_is_known() {
        let status = of(GitHub, &event(SHA, Severity::Info, "Ok"), "mine".to_owned()).unwrap();
        let known = |kind, list: Value| is_known(kind, list.to_string().as_bytes(), &status);
        let of = |context: &str, state: &str| json!({"context": context, "state": state, "description": "ok"});
        assert!(known(GitHub, json!([of("other", "failure"), of("mine", "success"), of("mine", "failure")])));
        assert!(!known(GitHub, json!([of("mine", "failure"), of("mine", "success")])));
        assert!(!known(GitHub, json!([])));
        assert!(known(Gitea, json!([{"context": "mine", "status": "success", "description": "ok"}])));
        assert!(known(GitLab, json!([{"name": "mine", "status": "success", "description": "ok"}])));
        assert!(!is_known(GitHub, b"<html>", &status));
    }
}
