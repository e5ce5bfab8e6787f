//! Where a remote has moved to. Git follows a redirect by itself, but it would take the
//! credentials along to any other host; so with credentials it is told not to.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, LOCATION};
use url::Url;

use super::http;
use super::output::{Cause, GitError};
use super::remote::Remote;
use crate::cause;

/// What git asks first.
const FIRST: &str = "/info/refs";

/// The URL that a remote at `url` sends to, if that is at the same scheme, host and port.
pub(super) async fn target(remote: &Remote, url: &str, timeout: Duration) -> Result<String, GitError> {
    let shown = crate::redact::redact(url);
    let failed = |why: String| GitError::new(Cause::Redirect, format!("'{shown}' redirects to another place{why}"));
    let place =
        ask(remote, url, timeout).await.map_err(|why| failed(format!(", which could not be found out: {why}")))?;
    let moved = moved(url, &place).ok_or_else(|| failed(" that is no git repository".to_owned()))?;
    if Remote::new(&moved, super::Credential::default()).is_ok_and(|other| other.origin() == remote.origin()) {
        return Ok(moved);
    }
    let moved = crate::redact::redact(&moved).into_owned();
    let message =
        format!("'{shown}' redirects to '{moved}', where the credentials of this one are not sent: set spec.url to it");
    Err(GitError::new(Cause::Redirect, message))
}

async fn ask(remote: &Remote, url: &str, timeout: Duration) -> Result<String, String> {
    let client = http::client(remote.credential().tls(), remote.proxy(), timeout)?;
    let mut request = client.get(format!("{}{FIRST}?service=git-upload-pack", url.trim_end_matches('/')));
    if let Some(authorization) = remote.credential().authorization() {
        request = request.header(AUTHORIZATION, authorization.as_str());
    }
    let response = request.send().await.map_err(|error| cause::of_request(&error))?;
    let place = response.headers().get(LOCATION).and_then(|place| place.to_str().ok());
    place.map(str::to_owned).ok_or_else(|| format!("it answered {}", response.status().as_u16()))
}

/// The repository's URL in what answered the first question.
fn moved(url: &str, place: &str) -> Option<String> {
    let place = Url::parse(url).ok()?.join(place).ok()?;
    let path = place.path().strip_suffix(FIRST)?.to_owned();
    let mut moved = place;
    moved.set_query(None);
    moved.set_path(&path);
    Some(moved.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_the_repository_is_read_off_the_answer() {
        for (place, expected) in [
            ("https://h/new.git/info/refs?service=git-upload-pack", Some("https://h/new.git")),
            ("/org/new/info/refs?service=git-upload-pack", Some("https://h/org/new")),
            ("https://other/x/info/refs", Some("https://other/x")),
            ("https://h/login?next=/info/refs", None),
        ] {
            assert_eq!(moved("https://h/old.git", place).as_deref(), expected, "{place}");
        }
    }
}
