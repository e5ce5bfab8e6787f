//! How a `GitRepository` gets at its remote: the Secret's credentials, a provider's token, a proxy.

use std::time::Duration;

use kube::ResourceExt as _;

use super::lifecycle;
use super::outcome::Failure;
use crate::api::condition::{self, reason};
use crate::api::source::v1::{GitProvider, GitRepository, GitRepositorySpec};
use crate::controller::Context;
use crate::git::github_app::{App, AppError, Tokens, USERNAME};
use crate::git::remote::{Transport, parse_url};
use crate::git::{Credential, Remote, RemoteError};
use crate::proxy::{Kinds, Proxy};

/// The key of a Secret that shows it to be one of a GitHub app.
const APP_KEY: &str = "githubAppID";

/// Makes the way to remotes; keeps the tokens of GitHub apps.
#[derive(Default)]
pub struct Accesses {
    tokens: Tokens,
}

/// The way to an object's remote.
pub struct Access {
    /// The remote.
    pub remote: Remote,
    /// What gave out its token.
    issuer: Option<[u8; 32]>,
}

fn invalid_url(error: &RemoteError) -> Failure {
    Failure::terminal(condition::FETCH_FAILED, reason::URL_INVALID, error.to_string())
}

fn unauthenticated(message: String) -> Failure {
    Failure::transient(condition::FETCH_FAILED, reason::AUTHENTICATION_FAILED, message)
}

fn wrong_secret(message: String) -> Failure {
    Failure::transient(condition::FETCH_FAILED, reason::INVALID_PROVIDER_CONFIGURATION, message)
}

fn wrong_provider(message: &str) -> Failure {
    Failure::terminal(condition::FETCH_FAILED, reason::INVALID_PROVIDER_CONFIGURATION, message)
}

impl Accesses {
    /// The way to an object's remote, as its spec and its Secrets have it now.
    pub async fn of(&self, context: &Context, object: &GitRepository, timeout: Duration) -> Result<Access, Failure> {
        let spec = &object.spec;
        let provider = spec.provider.unwrap_or_default();
        refuse_clouds(spec, provider)?;
        let (url, transport) = parse_url(&spec.url).map_err(|error| invalid_url(&error))?;
        let proxy = proxy(context, object, transport).await?;
        let namespace = object.namespace().unwrap_or_default();
        let is_app = provider == GitProvider::Github;
        let data = match &spec.secret_ref {
            Some(secret) => Some(lifecycle::secret_data(context, &namespace, &secret.name).await?),
            None if is_app => return Err(wrong_provider(&AppError::NoApp.to_string())),
            None => None,
        };
        if is_app && transport == Transport::Ssh {
            return Err(wrong_provider("the provider 'github' logs in over https: use an https url"));
        }
        let wrong = |error| unauthenticated(format!("failed to configure authentication options: {error}"));
        let mut issuer = None;
        let credential = if let (Some(data), Some(secret)) = (&data, &spec.secret_ref) {
            if !is_app && data.contains_key(APP_KEY) {
                let secret = &secret.name;
                let message =
                    format!("secretRef '{namespace}/{secret}' has github app data but provider is not set to github");
                return Err(wrong_secret(message));
            }
            let credential = Credential::from_secret((&url, transport), data);
            let mut credential = credential.map_err(|error| wrong(error.to_string()))?;
            if is_app {
                let app = App::from_secret(data).map_err(|error| wrong_secret(error.to_string()))?;
                let token = self.tokens.get(&app, proxy.as_ref(), timeout).await;
                let token = token.map_err(|error| wrong(error.to_string()))?;
                credential = credential.with_token(app.digest(), USERNAME, &token);
                issuer = Some(app.digest());
            }
            credential
        } else {
            Credential::none(transport).map_err(|error| wrong(error.to_string()))?
        };
        let remote = Remote::new(&spec.url, credential).map_err(|error| invalid_url(&error))?.behind(proxy);
        Ok(Access { remote, issuer })
    }

    /// Tells that a pass failed: a token that was refused is not used again.
    pub fn refused(&self, access: &Access, failure: &Failure) {
        if let Some(issuer) = access.issuer.filter(|_| failure.reason == reason::AUTHENTICATION_FAILED) {
            self.tokens.forget(&issuer);
        }
    }
}

fn refuse_clouds(spec: &GitRepositorySpec, provider: GitProvider) -> Result<(), Failure> {
    let instead = match provider {
        GitProvider::Generic | GitProvider::Github => return Ok(()),
        GitProvider::Aws => "'username' and 'password' (HTTPS Git credentials for CodeCommit of an IAM user)",
        GitProvider::Azure => "'username' and 'password' (a personal access token for Azure DevOps)",
    };
    let account = spec.service_account_name.as_ref().map_or("", |_| " and 'serviceAccountName'");
    Err(wrong_provider(&format!(
        "the provider '{provider}' logs in with the identity of a cloud's workload, which is not acted on yet: \
         leave out 'provider'{account}, and set 'secretRef' to a secret with {instead}"
    )))
}

async fn proxy(context: &Context, object: &GitRepository, transport: Transport) -> Result<Option<Proxy>, Failure> {
    let Some(secret) = &object.spec.proxy_secret_ref else { return Ok(None) };
    let namespace = object.namespace().unwrap_or_default();
    let failed = |why: String| unauthenticated(format!("failed to configure proxy options: {why}"));
    let data = lifecycle::secret_data(context, &namespace, &secret.name).await;
    let data = data.map_err(|failure| failed(failure.message))?;
    let kinds = if transport == Transport::Ssh { Kinds::Socks } else { Kinds::HttpAndSocks };
    Proxy::from_secret(&data, kinds)
        .map(Some)
        .map_err(|error| failed(format!("secret '{namespace}/{}': {error}", secret.name)))
}
