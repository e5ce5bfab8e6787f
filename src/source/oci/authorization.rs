//! What a registry wants to see before it answers: its challenge read, a token asked for. Pure but
//! for the one request to the token server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_auth::{ChallengeRef, parse_challenges};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, Method, Request};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use super::credentials::Login;

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token from a token server.
    Bearer {
        /// The token server.
        realm: Url,
        /// The name under which it knows the registry.
        service: Option<String>,
    },
}

impl Challenge {
    /// Reads the headers of an answer with status 401.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, String> {
        let mut schemes = Vec::new();
        for value in headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()) {
            for challenge in parse_challenges(value).map_err(|_| "it sent a challenge that cannot be read")? {
                if let Some(known) = Self::of(&challenge)? {
                    return Ok(known);
                }
                schemes.push(challenge.scheme.to_owned());
            }
        }
        if schemes.is_empty() {
            Err("it does not say how to log in".to_owned())
        } else {
            Err(format!("it asks for a login of the unknown kind '{}'", schemes.join(", ")))
        }
    }

    fn of(challenge: &ChallengeRef<'_>) -> Result<Option<Self>, String> {
        let parameter = |name: &str| {
            let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            return Ok(Some(Self::Basic));
        }
        if !challenge.scheme.eq_ignore_ascii_case("bearer") {
            return Ok(None);
        }
        let realm = parameter("realm").ok_or("its challenge names no token server")?;
        let realm = Url::parse(&realm).map_err(|error| format!("its token server '{realm}' is no URL: {error}"))?;
        Ok(Some(Self::Bearer { realm, service: parameter("service") }))
    }
}

/// The header that a login makes, for registries and token servers alike.
pub(super) fn basic(username: &str, password: &str) -> Option<HeaderValue> {
    let pair = Zeroizing::new(format!("{username}:{password}"));
    secret(&format!("Basic {}", STANDARD.encode(pair.as_bytes())))
}

/// The header that a token makes.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    secret(&format!("Bearer {token}"))
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The request for a token that may read a repository.
pub(super) fn token_request(
    client: &Client,
    realm: &Url,
    service: Option<&str>,
    scope: &str,
    login: Option<&Login>,
) -> reqwest::Result<Request> {
    let service = service.map(|service| ("service", service));
    if let Some(Login::Identity(token)) = login {
        let mut form = Serializer::new(String::new());
        form.extend_pairs([("grant_type", "refresh_token"), ("client_id", "fairlead"), ("scope", scope)]);
        form.extend_pairs(service);
        form.append_pair("refresh_token", token);
        let request = client.request(Method::POST, realm.clone());
        return request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.finish()).build();
    }
    let mut url = realm.clone();
    url.query_pairs_mut().extend_pairs(service).append_pair("scope", scope);
    let mut request = client.request(Method::GET, url);
    if let Some(Login::Password(username, password)) = login {
        request = request.basic_auth(username.as_str(), Some(password.as_str()));
    }
    request.build()
}

/// The token of a token server's answer.
pub(super) fn token_of(answer: &[u8]) -> Option<Zeroizing<String>> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<Zeroizing<String>>,
        access_token: Option<Zeroizing<String>>,
    }
    let Answer { token, access_token } = serde_json::from_slice(answer).ok()?;
    token.filter(|token| !token.is_empty()).or(access_token).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(challenges: &[&str]) -> Result<Challenge, String> {
        let mut headers = HeaderMap::new();
        for challenge in challenges {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(challenge).unwrap());
        }
        Challenge::read(&headers)
    }

    #[test]
    fn challenges_are_read() {
        let realm = Url::parse("https://ghcr.io/token").unwrap();
        let bearer = Challenge::Bearer { realm, service: Some("ghcr.io".to_owned()) };
        let text = r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:x:pull""#;
        assert_eq!(read(&[text]), Ok(bearer.clone()));
        assert_eq!(read(&["Negotiate", text]), Ok(bearer));
        assert_eq!(read(&[r#"Basic realm="x""#]), Ok(Challenge::Basic));
        for (bad, needle) in [
            (vec![], "does not say"),
            (vec!["Negotiate"], "'Negotiate'"),
            (vec!["Bearer service=\"x\""], "no token server"),
            (vec!["Bearer realm=\"x\""], "no URL"),
        ] {
            let error = read(&bad).unwrap_err();
            assert!(error.contains(needle), "{error}");
        }
    }

    #[test]
    fn tokens_are_asked_for_and_read() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::new();
        let realm = Url::parse("https://auth.io/token?x=1").unwrap();
        let secret = |text: &str| Zeroizing::new(text.to_owned());
        let login = Login::Password(secret("u"), secret("p"));
        let request = token_request(&client, &realm, Some("s"), "repository:a/b:pull", Some(&login)).unwrap();
        assert_eq!(request.url().query(), Some("x=1&service=s&scope=repository%3Aa%2Fb%3Apull"));
        assert!(request.headers().contains_key("authorization"));
        let request = token_request(&client, &realm, None, "a", Some(&Login::Identity(secret("t")))).unwrap();
        let body = request.body().and_then(reqwest::Body::as_bytes).unwrap();
        assert!(String::from_utf8_lossy(body).ends_with("scope=a&refresh_token=t"));
        assert_eq!(request.url().query(), Some("x=1"));
        assert_eq!(token_of(br#"{"token":"a"}"#).unwrap().as_str(), "a");
        assert_eq!(token_of(br#"{"access_token":"b","token":""}"#).unwrap().as_str(), "b");
        assert!(token_of(b"{}").is_none() && token_of(b"<html>").is_none());
    }
}
