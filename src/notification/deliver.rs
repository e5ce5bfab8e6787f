//! Brings one event to one provider.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use reqwest::Client;
use serde_json::json;

use super::commit_status::{self, CommitStatus, Repository};
use super::post::{self, Post, send};
use super::requests::{check_answer, requests, secret_header};
use super::retry::NOTIFICATION;
use super::settings::{Secrets, Settings, VARIABLES};
use super::{choose, format};
use crate::api::condition::reason;
use crate::api::event::Event;
use crate::api::meta::LocalObjectReference;
use crate::api::notification::v1beta3::{Alert, Provider, ProviderType};
use crate::cel::{self, Expression};
use crate::controller::{Context, namespaced_name};
use crate::git::github_app::Tokens;
use crate::proxy::Proxy;
use crate::source::download::SecretData;

/// How long an answer may take when the provider does not say.
const TIMEOUT: Duration = Duration::from_secs(15);

/// GitLab's header for tokens.
const PRIVATE_TOKEN: HeaderName = HeaderName::from_static("private-token");

/// An event on its way to a provider.
#[derive(Clone, Debug)]
pub struct Job {
    /// What asks for it.
    pub alert: Arc<Alert>,
    /// Whom it goes to.
    pub provider: Arc<Provider>,
    /// The event, with the metadata that is sent.
    pub event: Event,
}

impl Job {
    /// The provider's type, as metrics name it.
    pub fn kind(&self) -> &'static str {
        self.provider.spec.r#type.as_str()
    }
}

/// What deliveries share.
pub struct Deliverer {
    context: Context,
    tokens: Tokens,
    /// For the providers that need no certificates and no proxy.
    plain: Client,
}

/// How a delivery ended.
enum Ending {
    Sent,
    /// There is nothing to say.
    Nothing,
    Failed(String),
}

impl Deliverer {
    /// Reads Secrets with the operator's own identity.
    pub fn new(context: Context) -> Result<Self, String> {
        let plain = post::client().build().map_err(|error| error.to_string())?;
        Ok(Self { context, tokens: Tokens::default(), plain })
    }

    /// Sends the event, and tells of a failure.
    pub async fn deliver(&self, job: &Job) {
        let (namespace, name) = namespaced_name(job.provider.as_ref());
        let object = format::object(&job.event);
        let outcome = match self.attempt(job).await {
            Ending::Sent => {
                tracing::debug!(namespace, provider = name, object, "a notification was sent");
                "sent"
            }
            Ending::Nothing => "nothing",
            Ending::Failed(why) => {
                let message = format!("failed to send notification for {object} to provider '{name}': {why}");
                self.context.reporter.warning(job.alert.as_ref(), reason::NOTIFICATION_DISPATCH_FAILED, &message, &[]);
                "failed"
            }
        };
        self.context.metrics.notification(job.kind(), outcome);
    }

    async fn attempt(&self, job: &Job) -> Ending {
        let secrets = match self.secrets(&job.provider).await {
            Ok(secrets) => secrets,
            Err(why) => return Ending::Failed(why),
        };
        let mut settings = match Settings::read(&job.provider.spec, &secrets) {
            Ok(settings) => settings,
            Err(why) => return Ending::Failed(why),
        };
        let tls = std::mem::take(&mut settings.tls);
        let client = if tls.is_empty() && settings.proxy.is_none() {
            Ok(self.plain.clone())
        } else {
            let proxy = settings.proxy.as_ref().map(Proxy::for_client);
            proxy.transpose().and_then(|proxy| {
                let builder = tls.secure(post::client());
                proxy.into_iter().fold(builder, reqwest::ClientBuilder::proxy).build()
            })
        };
        let sent = match client {
            Ok(client) if choose::sets_commit_status(settings.kind) => self.set_status(job, &settings, &client).await,
            Ok(client) => post_all(job, &settings, &client).await,
            Err(_) => Err("its certificates or its proxy cannot be used".to_owned()),
        };
        match sent {
            Ok(true) => Ending::Sent,
            Ok(false) => Ending::Nothing,
            Err(why) => Ending::Failed(settings.redactor.text(&why).into_owned()),
        }
    }

    async fn secrets(&self, provider: &Provider) -> Result<Secrets, String> {
        let spec = &provider.spec;
        let namespace = provider.namespace().unwrap_or_default();
        Ok(Secrets {
            own: self.secret(&namespace, "secretRef", spec.secret_ref.as_ref()).await?,
            proxy: self.secret(&namespace, "proxySecretRef", spec.proxy_secret_ref.as_ref()).await?,
            certificates: self.secret(&namespace, "certSecretRef", spec.cert_secret_ref.as_ref()).await?,
        })
    }

    async fn secret(
        &self,
        namespace: &str,
        field: &str,
        reference: Option<&LocalObjectReference>,
    ) -> Result<Option<SecretData>, String> {
        let Some(LocalObjectReference { name }) = reference else { return Ok(None) };
        let why = match self.context.api::<Secret>(namespace).get_opt(name).await {
            Ok(Some(secret)) => return Ok(Some(secret.data.unwrap_or_default())),
            Ok(None) => "it does not exist".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(format!("failed to get secret '{namespace}/{name}' of spec.{field}: {why}"))
    }

    /// Sets the status of the event's commit, unless it says this already; whether it was set.
    async fn set_status(&self, job: &Job, settings: &Settings, client: &Client) -> Result<bool, String> {
        let kind = settings.kind;
        let Some(status) = commit_status::of(kind, &job.event, context(job)?) else { return Ok(false) };
        let repository = Repository::parse(&settings.address);
        let requests = repository.and_then(|repository| repository.requests(kind, &status));
        let requests = requests.ok_or("the address is not that of a repository, such as https://host/owner/name")?;
        let headers = self.login(settings, timeout(job)).await?;
        let list = Post { method: Method::GET, url: requests.list, headers: headers.clone(), body: Vec::new() };
        let known =
            self.send(client, &list, job, settings).await.map_err(|why| format!("cannot list statuses: {why}"))?;
        if commit_status::is_known(kind, &known, &status) {
            return Ok(false);
        }
        let mut create = Post::json(requests.create, requests.body.to_string().into_bytes());
        create.headers.extend(headers);
        let CommitStatus { commit, .. } = &status;
        let created = self.send(client, &create, job, settings).await;
        created.map(|_| true).map_err(|why| format!("cannot set the status of commit {commit}: {why}"))
    }

    /// Sends a request; a token of an app that is refused is not used again.
    async fn send(&self, client: &Client, post: &Post, job: &Job, settings: &Settings) -> Result<Vec<u8>, String> {
        let sent = send(client, post, timeout(job), NOTIFICATION).await;
        if let (Err(post::PostError::Refused { status: 401, .. }), Some(app)) = (&sent, &settings.app) {
            self.tokens.forget(&app.digest());
        }
        sent.map_err(|error| error.to_string())
    }

    async fn login(&self, settings: &Settings, timeout: Duration) -> Result<HeaderMap, String> {
        let token = match &settings.app {
            Some(app) => {
                let token = self.tokens.get(app, settings.proxy.as_ref(), timeout).await;
                token.map_err(|error| error.to_string())?
            }
            None => settings.login().ok_or("the Secret of spec.secretRef has no 'token'")?,
        };
        let (header, value) = match settings.kind {
            ProviderType::GitLab => (PRIVATE_TOKEN, secret_header(&token)?),
            ProviderType::Gitea => (AUTHORIZATION, secret_header(&format!("token {}", token.as_str()))?),
            _ => (AUTHORIZATION, secret_header(&format!("Bearer {}", token.as_str()))?),
        };
        Ok([(header, value), (ACCEPT, HeaderValue::from_static("application/json"))].into_iter().collect())
    }
}

/// Sends each request that the service needs; whether there was any.
async fn post_all(job: &Job, settings: &Settings, client: &Client) -> Result<bool, String> {
    let posts = requests(settings, &job.event)?;
    for post in &posts {
        let answer = send(client, post, timeout(job), NOTIFICATION).await.map_err(|error| error.to_string())?;
        check_answer(settings, &answer)?;
    }
    Ok(!posts.is_empty())
}

fn timeout(job: &Job) -> Duration {
    job.provider.spec.timeout.map_or(TIMEOUT, crate::api::meta::Duration::to_std)
}

/// The name of the commit's status.
fn context(job: &Job) -> Result<String, String> {
    let Some(text) = &job.provider.spec.commit_status_expr else {
        return Ok(commit_status::default_context(&job.event, &job.provider.uid().unwrap_or_default()));
    };
    let bad = |error: cel::CelError| format!("spec.commitStatusExpr: {error}");
    let expression = Expression::giving_text(text, &VARIABLES).map_err(bad)?;
    let variables = json!({"event": job.event, "alert": job.alert.as_ref(), "provider": job.provider.as_ref()});
    expression.text(&cel::fields(&variables)).map_err(bad)
}
