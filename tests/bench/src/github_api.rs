//! The parts of GitHub's API through which an app gets its tokens, and commits their statuses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::git_server::{KeyKind, SshKey};
use crate::http_server::{Auth, Control, HttpServer};
use crate::pki::Authority;

/// The installation that the app has.
const INSTALLATION: &str = "4711";

/// The owner of that installation.
const OWNER: &str = "bench-org";

/// A token of a person, who may set statuses.
pub const PERSONAL_TOKEN: &str = "ghp_token-of-a-person-of-the-bench";

/// A stand-in for GitHub's API with one app that is installed once.
#[derive(Debug)]
pub struct GitHubApi {
    http: HttpServer,
    control: Arc<Control>,
    state: Arc<App>,
    authority: Option<Authority>,
    private_key: String,
}

#[derive(Debug)]
struct App {
    public_key: Vec<u8>,
    lifetime: Mutex<Duration>,
    tokens: Mutex<Vec<String>>,
    /// Of each commit, the newest first.
    statuses: Mutex<BTreeMap<String, Vec<Value>>>,
}

impl GitHubApi {
    /// Serves HTTP, or HTTPS with a certificate that only [`GitHubApi::authority`] vouches for. Tokens live for an
    /// hour.
    ///
    /// # Panics
    /// When a port cannot be bound.
    pub fn start(tls: bool) -> Self {
        // GitHub gives out its keys in this very form.
        let private_key = SshKey::generate_pem(KeyKind::Rsa).private;
        let der = PrivateKeyDer::from_pem_slice(private_key.as_bytes()).expect("a PEM key");
        let pair = RsaKeyPair::from_der(der.secret_der()).expect("an RSA key");
        let state = Arc::new(App {
            public_key: pair.public_key().as_ref().to_vec(),
            lifetime: Mutex::new(Duration::from_hours(1)),
            tokens: Mutex::default(),
            statuses: Mutex::default(),
        });
        let router = Router::new()
            .route("/api/v3/app/installations/{id}/access_tokens", post(token))
            .route("/api/v3/orgs/{owner}/installation", get(no_organisation))
            .route("/api/v3/users/{owner}/installation", get(installation))
            .route("/api/v3/repos/{owner}/{name}/statuses/{commit}", post(set_status))
            .route("/api/v3/repos/{owner}/{name}/commits/{commit}/statuses", get(list_statuses))
            .with_state(Arc::clone(&state));
        let control = Arc::new(Control::default());
        let authority = tls.then(Authority::new);
        let http = HttpServer::start(router, Auth::None, authority.as_ref(), Arc::clone(&control));
        Self { http, control, state, authority, private_key }
    }

    /// The base URL of the API.
    pub fn url(&self) -> String {
        format!("{}/api/v3", self.http.url())
    }

    /// The Secret's data for the app, by installation or by its owner.
    ///
    /// # Panics
    /// Never: the data is an object.
    pub fn secret(&self, by_owner: bool) -> Value {
        let mut data = json!({"githubAppID": "12", "githubAppBaseURL": self.url()});
        let (key, value) =
            if by_owner { ("githubAppInstallationOwner", OWNER) } else { ("githubAppInstallationID", INSTALLATION) };
        data[key] = value.into();
        data["githubAppPrivateKey"] = self.private_key.clone().into();
        if let Some(authority) = &self.authority {
            data["ca.crt"] = authority.certificate().into();
        }
        data
    }

    /// How long the tokens live that are given out from now on.
    pub fn lifetime(&self, lifetime: Duration) {
        *self.state.lifetime.lock().unwrap_or_else(PoisonError::into_inner) = lifetime;
    }

    /// The tokens that were given out.
    pub fn tokens(&self) -> Vec<String> {
        self.state.tokens.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The address of the repository whose commits have statuses.
    pub fn repository(&self) -> String {
        format!("{}/{OWNER}/releases", self.http.url())
    }

    /// The statuses of a commit, the newest first.
    pub fn statuses(&self, commit: &str) -> Vec<Value> {
        self.state.statuses_of(commit)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.control.requests()
    }

    /// The token that will be given out next.
    pub fn next_token(&self) -> String {
        token_number(self.tokens().len())
    }
}

impl App {
    fn statuses_of(&self, commit: &str) -> Vec<Value> {
        let statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        statuses.get(commit).cloned().unwrap_or_default()
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        sent.is_some_and(|sent| sent == PERSONAL_TOKEN || tokens.iter().any(|token| token == sent))
    }
}

fn token_number(number: usize) -> String {
    format!("ghs_token-of-the-bench-{number}")
}

type Answer = (StatusCode, String);

fn refuse(status: StatusCode, message: &str) -> Answer {
    (status, json!({"message": message}).to_string())
}

async fn token(State(app): State<Arc<App>>, Path(id): Path<String>, headers: HeaderMap) -> Answer {
    if let Err(why) = check_login(&app, &headers) {
        return refuse(StatusCode::UNAUTHORIZED, why);
    }
    if id != INSTALLATION {
        return refuse(StatusCode::NOT_FOUND, "Not Found");
    }
    let mut tokens = app.tokens.lock().unwrap_or_else(PoisonError::into_inner);
    let token = token_number(tokens.len());
    tokens.push(token.clone());
    let lifetime = *app.lifetime.lock().unwrap_or_else(PoisonError::into_inner);
    let expires = Timestamp::from_second((Timestamp::now() + lifetime).as_second()).expect("a time");
    (StatusCode::CREATED, json!({"token": token, "expires_at": expires.to_string()}).to_string())
}

async fn no_organisation(State(app): State<Arc<App>>, headers: HeaderMap) -> Answer {
    match check_login(&app, &headers) {
        Ok(()) => refuse(StatusCode::NOT_FOUND, "Not Found"),
        Err(why) => refuse(StatusCode::UNAUTHORIZED, why),
    }
}

async fn installation(State(app): State<Arc<App>>, Path(owner): Path<String>, headers: HeaderMap) -> Answer {
    match check_login(&app, &headers) {
        Ok(()) if owner == OWNER => (StatusCode::OK, json!({"id": 4711}).to_string()),
        Ok(()) => refuse(StatusCode::NOT_FOUND, "Not Found"),
        Err(why) => refuse(StatusCode::UNAUTHORIZED, why),
    }
}

type CommitPath = Path<(String, String, String)>;

async fn set_status(
    State(app): State<Arc<App>>,
    Path((owner, _, commit)): CommitPath,
    headers: HeaderMap,
    body: String,
) -> Answer {
    if !app.knows(&headers) {
        return refuse(StatusCode::UNAUTHORIZED, "Bad credentials");
    }
    let status = serde_json::from_str::<Value>(&body).unwrap_or_default();
    let known = ["error", "failure", "pending", "success"];
    if owner != OWNER || commit.len() != 40 || !known.contains(&status["state"].as_str().unwrap_or_default()) {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "Validation Failed");
    }
    let mut statuses = app.statuses.lock().unwrap_or_else(PoisonError::into_inner);
    statuses.entry(commit).or_default().insert(0, status.clone());
    (StatusCode::CREATED, status.to_string())
}

async fn list_statuses(State(app): State<Arc<App>>, Path((.., commit)): CommitPath, headers: HeaderMap) -> Answer {
    if app.knows(&headers) {
        (StatusCode::OK, Value::Array(app.statuses_of(&commit)).to_string())
    } else {
        refuse(StatusCode::UNAUTHORIZED, "Bad credentials")
    }
}

/// An app logs in by a short-lived JSON Web Token that its private key signs.
fn check_login(app: &App, headers: &HeaderMap) -> Result<(), &'static str> {
    let jwt = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let jwt = jwt.ok_or("no bearer token")?;
    let (signed, signature) = jwt.rsplit_once('.').ok_or("no token")?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "no base64");
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &app.public_key);
    key.verify(signed.as_bytes(), &decode(signature)?).map_err(|_| "A JSON web token could not be decoded")?;
    let (head, claims) = signed.split_once('.').ok_or("no claims")?;
    let json = |part: &str| serde_json::from_slice::<Value>(&decode(part)?).map_err(|_| "no JSON");
    let (head, claims) = (json(head)?, json(claims)?);
    let time = |name: &str| claims[name].as_i64().unwrap_or_default();
    let now = Timestamp::now().as_second();
    let in_time = time("iat") <= now && time("exp") > now && time("exp") - time("iat") <= 600;
    let right = head["alg"] == "RS256" && claims["iss"] == "12" && in_time;
    if right { Ok(()) } else { Err("the token's claims are not as they should be") }
}
