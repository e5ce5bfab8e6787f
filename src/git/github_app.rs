//! GitHub apps: an app's private key gives a short-lived token for one of its installations.
//! Tokens are kept in memory only.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use reqwest::{Client, Method, StatusCode};
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use url::Url;
use zeroize::Zeroizing;

use super::auth::{AuthError, Data, Secret, Tls};
use super::http;
use crate::answer::{self, Unread};
use crate::cause;
use crate::proxy::Proxy;

/// The user that a token belongs to.
pub const USERNAME: &str = "x-access-token";

/// The API of github.com.
const API: &str = "https://api.github.com";

/// A token that lives shorter than this is not used any more: a fetch may take some minutes.
const LEAST_LIFE: SignedDuration = SignedDuration::from_mins(5);

/// How long a login of the app itself lives, and how far the clocks may differ.
const LOGIN_LIFE: i64 = 120;
const CLOCK_SKEW: i64 = 30;

/// Bytes of an answer that are read: they are a few hundred.
const MAX_ANSWER: usize = 256 * 1024;

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// The Secret has no data of an app.
    #[error("secretRef with github app data must be specified when provider is set to github")]
    NoApp,
    /// The Secret's data cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// The API did not give what was asked for.
    #[error("github app {app}: '{request}': {reason}")]
    Api {
        /// The app's id.
        app: String,
        /// What was asked.
        request: String,
        /// What came of it.
        reason: String,
    },
}

/// Which installation of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Installation {
    Id(u64),
    Owner(String),
}

/// An app, as a Secret describes it.
pub struct App {
    id: u64,
    installation: Installation,
    key: Secret,
    api: Url,
    tls: Tls,
}

impl App {
    /// Reads `githubAppID`, `githubAppInstallationID` or `githubAppInstallationOwner`,
    /// `githubAppPrivateKey`, and, for a server of one's own, `githubAppBaseURL`, `ca.crt`,
    /// `tls.crt` and `tls.key`.
    pub fn from_secret(data: &BTreeMap<String, ByteString>) -> Result<Self, AppError> {
        let data = Data(data);
        let invalid = |message: &str| AppError::Invalid(message.to_owned());
        let get = |key| data.get(key).map_err(|error: AuthError| AppError::Invalid(error.to_string()));
        let number = |key: &'static str| {
            let number = get(key)?.map(|text| text.trim().parse::<u64>());
            number.transpose().map_err(|_| AppError::Invalid(format!("'{key}' is not a number")))
        };
        let id = number("githubAppID")?.ok_or(AppError::NoApp)?;
        let installation = match (number("githubAppInstallationID")?, get("githubAppInstallationOwner")?) {
            (Some(id), None) => Installation::Id(id),
            (None, Some(owner)) => Installation::Owner(owner.trim().to_owned()),
            _ => {
                return Err(invalid(
                    "exactly one of 'githubAppInstallationID' and 'githubAppInstallationOwner' must be given",
                ));
            }
        };
        let key = get("githubAppPrivateKey")?.ok_or_else(|| invalid("'githubAppPrivateKey' is required"))?;
        let api = get("githubAppBaseURL")?;
        let api = Url::parse(api.as_deref().map_or(API, |url| url.trim().trim_end_matches('/')))
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| invalid("'githubAppBaseURL' is not an http or https URL"))?;
        let tls = data.tls().map_err(|error| AppError::Invalid(error.to_string()))?;
        Ok(Self { id, installation, key, api, tls })
    }

    /// Stands for the app and the installation, however often the token changes.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let installation = format!("{:?}", self.installation);
        for part in [self.id.to_string().as_str(), &installation, &self.key, self.api.as_str()] {
            hasher.update(part.len().to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }

    /// What the app itself logs in with: a JSON Web Token that its key signs.
    fn login(&self, now: Timestamp) -> Result<Secret, AppError> {
        let bad_key = || AppError::Invalid("could not parse 'githubAppPrivateKey': it is no RSA key in PEM".to_owned());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|_| bad_key())?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|_| bad_key())?;
        let signer = key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).ok_or_else(bad_key)?;
        let issued = now.as_second() - CLOCK_SKEW;
        let claims = serde_json::json!({"iat": issued, "exp": issued + LOGIN_LIFE, "iss": self.id.to_string()});
        let encode = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let token = format!("{}.{}", encode(r#"{"alg":"RS256","typ":"JWT"}"#), encode(&claims.to_string()));
        let signature = signer.sign(token.as_bytes()).map_err(|_| bad_key())?;
        Ok(Zeroizing::new(format!("{token}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }

    async fn new_token(&self, proxy: Option<&Proxy>, timeout: Duration) -> Result<Token, AppError> {
        let client = http::client(&self.tls, proxy, timeout).map_err(AppError::Invalid)?;
        let login = self.login(Timestamp::now())?;
        let installation = match &self.installation {
            Installation::Id(id) => *id,
            Installation::Owner(owner) => self.find(&client, &login, owner).await?,
        };
        let path = format!("app/installations/{installation}/access_tokens");
        let answer: Granted = self.ask(&client, &login, (Method::POST, &path)).await?;
        Ok(Token { value: Zeroizing::new(answer.token), expires: answer.expires_at })
    }

    /// The installation at an organisation, or else at a user, of that name.
    async fn find(&self, client: &Client, login: &Secret, owner: &str) -> Result<u64, AppError> {
        let mut told = None;
        for kind in ["orgs", "users"] {
            let path = format!("{kind}/{owner}/installation");
            match self.ask::<Found>(client, login, (Method::GET, &path)).await {
                Ok(found) => return Ok(found.id),
                Err(error) => told = Some(error),
            }
        }
        Err(told.unwrap_or(AppError::NoApp))
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        client: &Client,
        login: &Secret,
        (method, path): (Method, &str),
    ) -> Result<T, AppError> {
        let mut url = self.api.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        let request = format!("{method} {}", crate::redact::redact(url.as_str()));
        let failed = |reason: String| AppError::Api { app: self.id.to_string(), request: request.clone(), reason };
        let sent = client
            .request(method, url)
            .bearer_auth(login.as_str())
            .header("Accept", "application/vnd.github+json")
            .send()
            .await;
        let response = sent.map_err(|error| failed(cause::of_request(&error)))?;
        let status = response.status();
        let bytes = Zeroizing::new(answer::read(response, MAX_ANSWER).await.map_err(|unread| {
            failed(match unread {
                Unread::Broken(error) => cause::of_request(&error),
                Unread::TooLarge => format!("the answer is larger than {MAX_ANSWER} bytes"),
            })
        })?);
        if status != StatusCode::OK && status != StatusCode::CREATED {
            let message = serde_json::from_slice::<Complaint>(&bytes).unwrap_or_default().message;
            return Err(failed(format!("answered {}: {message}", status.as_u16())));
        }
        serde_json::from_slice(&bytes).map_err(|_| failed("the answer is not the one of GitHub's API".to_owned()))
    }
}

#[derive(Deserialize)]
struct Granted {
    token: String,
    expires_at: Timestamp,
}

#[derive(Deserialize)]
struct Found {
    id: u64,
}

#[derive(Default, Deserialize)]
struct Complaint {
    message: String,
}

#[derive(Clone)]
struct Token {
    value: Secret,
    expires: Timestamp,
}

/// One app's token, held by whoever asks for a new one.
type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

/// Tokens of all apps, each used until shortly before it expires.
#[derive(Default)]
pub struct Tokens(Mutex<HashMap<[u8; 32], Slot>>);

impl Tokens {
    /// The app's token.
    pub async fn get(&self, app: &App, proxy: Option<&Proxy>, timeout: Duration) -> Result<Secret, AppError> {
        let slot = Arc::clone(self.slots().entry(app.digest()).or_default());
        let mut slot = slot.lock().await;
        let now = Timestamp::now();
        if let Some(known) = slot.as_ref().filter(|known| now.duration_until(known.expires) > LEAST_LIFE) {
            return Ok(known.value.clone());
        }
        let token = app.new_token(proxy, timeout).await?;
        let value = token.value.clone();
        *slot = Some(token);
        Ok(value)
    }

    /// Forgets a token that was refused.
    pub fn forget(&self, app: &[u8; 32]) {
        self.slots().remove(app);
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Slot>> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A key that was replaced is never asked for again.
        slots.retain(|_, slot| {
            slot.try_lock().map_or(true, |token| token.as_ref().is_none_or(|token| Timestamp::now() < token.expires))
        });
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<App, AppError> {
        App::from_secret(&pairs.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec()))).collect())
    }

    #[test]
    fn incomplete_data_says_what_is_missing() {
        let (id, at, key) =
            (("githubAppID", "1"), ("githubAppInstallationID", "2"), ("githubAppPrivateKey", "hunter2"));
        let owner = ("githubAppInstallationOwner", "org");
        for (pairs, needle) in [
            (vec![at, key], "github app data must be specified"),
            (vec![("githubAppID", "x"), at, key], "'githubAppID' is not a number"),
            (vec![id, key], "exactly one of"),
            (vec![id, at, owner, key], "exactly one of"),
            (vec![id, at], "'githubAppPrivateKey' is required"),
            (vec![id, at, key, ("githubAppBaseURL", "ftp://x")], "'githubAppBaseURL'"),
            (vec![id, at, key, ("tls.crt", "C")], "'tls.key'"),
        ] {
            let error = read(&pairs).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(needle), "{error}");
        }
        let app = read(&[id, owner, key, ("githubAppBaseURL", "https://ghe.example/api/v3/")]).unwrap();
        assert_eq!(app.api.as_str(), "https://ghe.example/api/v3");
        assert_eq!(app.installation, Installation::Owner("org".to_owned()));
        let error = app.login(Timestamp::now()).unwrap_err().to_string();
        assert!(error.contains("no RSA key") && !error.contains("hunter2"), "{error}");
        assert_ne!(app.digest(), read(&[id, at, key]).unwrap().digest());
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_not_read_to_it() {
        use axum::body::{Body, Bytes};
        use futures::{StreamExt as _, stream};
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let long = || async {
            let chunk = Bytes::from(vec![b' '; 64 << 10]);
            Body::from_stream(stream::repeat(chunk).take(1024).map(Ok::<_, std::io::Error>))
        };
        let routes = axum::Router::new().fallback(long);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let app = read(&[
            ("githubAppID", "1"),
            ("githubAppInstallationOwner", "org"),
            ("githubAppPrivateKey", "hunter2"),
            ("githubAppBaseURL", &base),
        ]);
        let client = Client::builder().no_proxy().build().unwrap();
        let error = app.unwrap().find(&client, &Secret::default(), "org").await.unwrap_err();
        assert!(error.to_string().ends_with("the answer is larger than 262144 bytes"), "{error}");
    }
}
