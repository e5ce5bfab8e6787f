//! What an object says about its registry, with what its Secrets hold.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ServiceAccount;

use super::super::download::{SecretData, Tls};
use super::super::lifecycle;
use super::super::outcome::Failure;
use super::client::{Registry, Transport};
use super::credentials::{Keychain, Login};
use super::reference::Repository;
use crate::api::condition::{self, reason};
use crate::api::source::v1::RegistryProvider;
use crate::controller::Context;
use crate::proxy::{Kinds, Proxy};

/// The fields of an object that tell how its registry is reached; names are of its own namespace.
#[derive(Clone, Copy, Default)]
pub struct Fields<'o> {
    /// Whose login the registry uses.
    pub provider: RegistryProvider,
    /// Secret with a login.
    pub secret: Option<&'o str>,
    /// Service account whose pull secrets log in as well.
    pub service_account: Option<&'o str>,
    /// Secret with certificates.
    pub certificates: Option<&'o str>,
    /// Secret with a proxy.
    pub proxy: Option<&'o str>,
    /// Whether plain HTTP will do.
    pub insecure: bool,
}

/// How a repository is reached.
pub struct RegistryAccess {
    /// The repository.
    pub repository: Repository,
    /// Its login.
    pub login: Option<Login>,
    /// The data of the Secret with certificates.
    pub certificates: Option<SecretData>,
    /// The proxy.
    pub proxy: Option<Proxy>,
    /// Whether plain HTTP will do.
    pub insecure: bool,
    /// The service account's pull secrets: a change of one matters.
    pub pull_secrets: BTreeSet<String>,
}

impl RegistryAccess {
    /// Reads the Secrets.
    pub async fn read(
        context: &Context,
        namespace: &str,
        repository: Repository,
        fields: Fields<'_>,
    ) -> Result<Self, Failure> {
        let mut keychain = Keychain::default();
        if let Some(secret) = fields.secret {
            add(context, namespace, secret, &mut keychain).await?;
        }
        let mut pull_secrets = BTreeSet::new();
        if let Some(account) = fields.service_account {
            pull_secrets = pull_secrets_of(context, namespace, account).await?;
            for secret in &pull_secrets {
                add(context, namespace, secret, &mut keychain).await?;
            }
        }
        let login = keychain.login(&repository).cloned();
        if login.is_none() && fields.provider != RegistryProvider::Generic {
            let provider = fields.provider;
            let message = format!(
                "the login of the provider '{provider}' is not acted on yet; give a login in a docker-registry \
                 Secret by 'secretRef', and have it renewed where it expires"
            );
            let reason = reason::INVALID_PROVIDER_CONFIGURATION;
            return Err(Failure::terminal(condition::FETCH_FAILED, reason, message));
        }
        let certificates = match fields.certificates {
            Some(secret) => Some(lifecycle::secret_data(context, namespace, secret).await?),
            None => None,
        };
        let proxy = match fields.proxy {
            Some(secret) => {
                let data = lifecycle::secret_data(context, namespace, secret).await?;
                let wrong = |error| refused(&format!("failed to get proxy address: secret '{secret}': {error}"));
                Some(Proxy::from_secret(&data, Kinds::HttpAndSocks).map_err(wrong)?)
            }
            None => None,
        };
        Ok(Self { repository, login, certificates, proxy, insecure: fields.insecure, pull_secrets })
    }

    /// A client.
    pub fn connect(&self) -> Result<Registry, Failure> {
        let unusable = |error: &dyn std::fmt::Display| {
            refused(&format!("failed to generate transport for 'oci://{}': {error}", self.repository))
        };
        let tls = self.certificates.as_ref().map(Tls::read).transpose().map_err(|error| unusable(&error))?;
        let transport = Transport { tls: tls.unwrap_or_default(), proxy: self.proxy.clone(), insecure: self.insecure };
        Registry::new(self.repository.clone(), self.login.clone(), transport).map_err(|error| unusable(&error))
    }
}

async fn add(context: &Context, namespace: &str, secret: &str, keychain: &mut Keychain) -> Result<(), Failure> {
    let data = lifecycle::secret_data(context, namespace, secret).await?;
    keychain.add(secret, &data).map_err(|error| refused(&format!("failed to get credential: {error}")))
}

async fn pull_secrets_of(context: &Context, namespace: &str, account: &str) -> Result<BTreeSet<String>, Failure> {
    let why = match context.api::<ServiceAccount>(namespace).get_opt(account).await {
        Ok(Some(found)) => {
            return Ok(found.image_pull_secrets.into_iter().flatten().map(|secret| secret.name).collect());
        }
        Ok(None) => "it does not exist".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(refused(&format!("failed to get credential: service account '{namespace}/{account}': {why}")))
}

fn refused(message: &str) -> Failure {
    Failure::transient(condition::FETCH_FAILED, reason::AUTHENTICATION_FAILED, message)
}
