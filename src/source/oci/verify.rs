//! Signatures of artifacts: checked by the `cosign` binary before anything is fetched.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::super::download::{TlsTexts, value};
use super::super::lifecycle;
use super::super::proofs::Proof;
use super::access::RegistryAccess;
use super::cosign::{self, Answer, Connection, Signer};
use super::credentials::Login;
use super::reference::Digest;
use crate::api::meta::LocalObjectReference;
use crate::api::source::v1::{
    HelmChartVerification, OCIRepositoryVerification, OidcIdentityMatch, VerificationProvider,
};
use crate::controller::Context;
use crate::process::{Command, ProcessError};
use crate::proxy::Proxy;

/// How the name of a public key in a Secret ends.
const KEY_ENDING: &str = ".pub";
/// Name of a trusted root in a Secret.
const TRUSTED_ROOT: &str = "trusted_root.json";

/// The signature that an object asks for; Secrets are of its own namespace.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'o> {
    provider: VerificationProvider,
    /// Secret with public keys.
    keys: Option<&'o str>,
    /// Identities whose keyless signature will do.
    identities: &'o [OidcIdentityMatch],
    /// Secret with a trusted root.
    trusted_root: Option<&'o str>,
}

/// Why an artifact does not count as signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified {
    /// What is wrong, in words, without secrets.
    pub message: String,
    /// Whether nothing but another spec can help.
    pub terminal: bool,
}

fn name(reference: Option<&LocalObjectReference>) -> Option<&str> {
    reference.map(|reference| reference.name.as_str()).filter(|name| !name.is_empty())
}

impl<'o> From<&'o OCIRepositoryVerification> for Asked<'o> {
    fn from(verify: &'o OCIRepositoryVerification) -> Self {
        let OCIRepositoryVerification { provider, secret_ref, match_oidc_identity, trusted_root_secret_ref } = verify;
        let asked = Self::of(*provider, secret_ref.as_ref(), match_oidc_identity);
        Self { trusted_root: name(trusted_root_secret_ref.as_ref()), ..asked }
    }
}

impl<'o> From<&'o HelmChartVerification> for Asked<'o> {
    fn from(verify: &'o HelmChartVerification) -> Self {
        let HelmChartVerification { provider, secret_ref, match_oidc_identity } = verify;
        Self::of(*provider, secret_ref.as_ref(), match_oidc_identity)
    }
}

impl<'o> Asked<'o> {
    fn of(
        provider: VerificationProvider,
        keys: Option<&'o LocalObjectReference>,
        identities: &'o [OidcIdentityMatch],
    ) -> Self {
        Self { provider, keys: name(keys), identities, trusted_root: None }
    }

    /// The Secrets that it names.
    pub fn secrets(self) -> impl Iterator<Item = &'o str> {
        self.keys.into_iter().chain(self.trusted_root)
    }

    /// Why this cannot be acted on, whatever is signed.
    fn refusal(self) -> Option<&'static str> {
        if self.provider == VerificationProvider::Notation {
            return Some("signatures of notation are not acted on: sign with cosign, or remove 'spec.verify'");
        }
        let names_nobody = |identity: &OidcIdentityMatch| identity.issuer.is_empty() || identity.subject.is_empty();
        if self.keys.is_none() && (self.identities.is_empty() || self.identities.iter().any(names_nobody)) {
            return Some(
                "anybody can sign with some identity: name public keys by 'secretRef', or by 'matchOIDCIdentity' \
                 whose signature counts, with 'issuer' and 'subject'",
            );
        }
        None
    }

    fn failure(self, terminal: bool, why: &str) -> Unverified {
        let keyless = self.keys.is_none() && self.provider == VerificationProvider::Cosign;
        let provider = format!("{}{}", self.provider, if keyless { " keyless" } else { "" });
        let message = format!("failed to verify the signature using provider '{provider}': {why}");
        Unverified { message, terminal }
    }
}

/// What an object asks for, with what its Secrets hold.
pub struct Demand<'o> {
    asked: Asked<'o>,
    /// Public keys by their names.
    keys: Vec<(String, Vec<u8>)>,
    trusted_root: Option<Vec<u8>>,
}

impl<'o> Demand<'o> {
    /// Reads the Secrets.
    pub async fn read(context: &Context, namespace: &str, asked: Asked<'o>) -> Result<Self, Unverified> {
        if let Some(why) = asked.refusal() {
            return Err(asked.failure(true, why));
        }
        let secret = async |name: &str| {
            let data = lifecycle::secret_data(context, namespace, name).await;
            data.map_err(|failure| asked.failure(false, &failure.message))
        };
        let mut demand = Self { asked, keys: Vec::new(), trusted_root: None };
        if let Some(name) = asked.keys {
            let public = secret(name).await?.into_iter().filter(|(name, _)| name.ends_with(KEY_ENDING));
            demand.keys = public.map(|(name, key)| (name, key.0)).collect();
            if demand.keys.is_empty() {
                let why = format!("no public keys found in secret '{namespace}/{name}': none ends in '{KEY_ENDING}'");
                return Err(asked.failure(false, &why));
            }
        } else if let Some(name) = asked.trusted_root {
            let data = secret(name).await?;
            let missing = || {
                let why = format!(
                    "failed to read trusted root from secret '{namespace}/{name}': the key '{TRUSTED_ROOT}' is missing"
                );
                asked.failure(false, &why)
            };
            demand.trusted_root = Some(value(&data, TRUSTED_ROOT).ok_or_else(missing)?.to_vec());
        }
        Ok(demand)
    }

    /// Stands for the artifact with this digest once it is verified.
    pub fn proof(&self, repository: &str, digest: &Digest) -> Proof {
        let identities = if self.keys.is_empty() { self.asked.identities } else { &[] };
        let keys = self.keys.iter().flat_map(|(name, key)| [name.as_bytes(), key.as_slice()]);
        let identities =
            identities.iter().flat_map(|identity| [identity.issuer.as_bytes(), identity.subject.as_bytes()]);
        let kind: &[u8] = if self.keys.is_empty() { b"keyless" } else { b"keys" };
        let root = self.trusted_root.as_deref().unwrap_or_default();
        let named = [repository.as_bytes(), digest.as_str().as_bytes(), kind, root];
        Proof::of(named.into_iter().chain(keys).chain(identities))
    }

    /// Succeeds only if the artifact with this digest has a signature that is asked for. `dir` is
    /// only for this, and gone afterwards.
    pub async fn verify(
        &self,
        context: &Context,
        dir: TempDir,
        (access, digest): (&RegistryAccess, &Digest),
        timeout: Duration,
    ) -> Result<(), Unverified> {
        let failure = |why: &str| self.asked.failure(false, why);
        let place = Place::make(dir, access).map_err(|error| failure(&format!("cannot keep files: {error}")))?;
        let signers = self.signers(&place).map_err(|error| failure(&format!("cannot keep files: {error}")))?;
        let artifact = cosign::artifact(&access.repository, digest, access.insecure);
        let mut answers = Vec::new();
        for (name, signer) in &signers {
            let argv = cosign::argv(&artifact, signer, place.connection());
            match place.command(context, access).args(argv).timeout(timeout).run().await {
                Ok(output) if output.success() => return Ok(()),
                Ok(output) => answers.push((*name, Answer::read(output.code, &place.hidden(&output.stderr)))),
                // No other key can help.
                Err(error @ ProcessError::Missing { .. }) => return Err(failure(&error.to_string())),
                Err(error) => answers.push((*name, Answer::Broken(place.hidden(&error.to_string())))),
            }
        }
        Err(failure(&cosign::verdict(&artifact, &answers)))
    }

    fn signers<'s>(&'s self, place: &Place) -> io::Result<Vec<(&'s str, Signer<'s>)>> {
        if !self.keys.is_empty() {
            let keys = self.keys.iter().enumerate();
            let written = keys.map(|(index, (name, key))| {
                Ok((name.as_str(), Signer::Key(place.write(&format!("{index}{KEY_ENDING}"), key)?)))
            });
            return written.collect();
        }
        let root = self.trusted_root.as_ref().map(|root| place.write(TRUSTED_ROOT, root)).transpose()?;
        let signer = |identity: &'s OidcIdentityMatch| {
            let OidcIdentityMatch { issuer, subject } = identity;
            (subject.as_str(), Signer::Identity { issuer, subject, trusted_root: root.clone() })
        };
        Ok(self.asked.identities.iter().map(signer).collect())
    }
}

/// A directory, only for this user and this check, with the files that cosign reads.
struct Place {
    dir: TempDir,
    identity: Option<(PathBuf, PathBuf)>,
    insecure: bool,
    any_certificate: bool,
}

impl Place {
    fn make(dir: TempDir, access: &RegistryAccess) -> io::Result<Self> {
        let insecure = access.insecure;
        let texts = access.certificates.as_ref().map(TlsTexts::of).unwrap_or_default();
        let any_certificate = insecure && texts.authority.is_none();
        let mut place = Self { dir, identity: None, insecure, any_certificate };
        let login = cosign::docker_config(&access.repository, insecure, access.login.as_ref());
        place.write("config.json", login.as_bytes())?;
        fs::create_dir(place.authorities())?;
        if let Some(authority) = texts.authority {
            place.write("authorities/ca.crt", authority)?;
        }
        if let (Some(certificate), Some(key)) = (texts.certificate, texts.key) {
            place.identity = Some((place.write("tls.crt", certificate)?, place.write("tls.key", key)?));
        }
        Ok(place)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = self.dir.path().join(name);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(bytes).map(|()| path)
    }

    fn authorities(&self) -> PathBuf {
        self.dir.path().join("authorities")
    }

    fn connection(&self) -> Connection<'_> {
        Connection {
            identity: self.identity.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path())),
            insecure: self.insecure,
            any_certificate: self.any_certificate,
        }
    }

    /// A call in the home of nobody: nothing that the operator's user has is read.
    fn command(&self, context: &Context, access: &RegistryAccess) -> Command {
        let inherited = std::env::var_os("SSL_CERT_DIR");
        let mut command = Command::new(&context.config.cosign)
            .current_dir(self.dir.path())
            .env("HOME", self.dir.path())
            .env("DOCKER_CONFIG", self.dir.path())
            .env("SSL_CERT_DIR", cosign::authority_directories(&self.authorities(), inherited.as_deref()))
            .env("TUF_ROOT", context.config.data_dir.join("sigstore"));
        for (name, value) in cosign::proxies(access.proxy.as_ref(), self.insecure) {
            command = command.env(name, value.as_str());
        }
        let password = access.login.as_ref().map(|login| match login {
            Login::Password(_, secret) | Login::Identity(secret) | Login::Bearer(secret) => secret.as_str(),
        });
        let proxy = access.proxy.as_ref().and_then(Proxy::password);
        let secrets = password.into_iter().chain(proxy.as_ref().map(|password| password.as_str()));
        secrets.fold(command, Command::redact)
    }

    /// The text without the path of this directory, which is another one each time.
    fn hidden(&self, text: &str) -> String {
        text.replace(&*self.dir.path().to_string_lossy(), "~")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(verify: serde_json::Value) -> OCIRepositoryVerification {
        serde_json::from_value(verify).unwrap()
    }

    #[test]
    fn somebody_has_to_be_named_whose_signature_counts() {
        use serde_json::json;
        let who = json!([{"issuer": "^https://i$", "subject": "^s$"}]);
        for (verify, expected) in [
            (json!({"provider": "cosign", "secretRef": {"name": "keys"}}), None),
            (json!({"provider": "cosign", "matchOIDCIdentity": who}), None),
            (json!({"provider": "cosign"}), Some("anybody can sign")),
            (json!({"provider": "cosign", "secretRef": {"name": ""}}), Some("anybody can sign")),
            (json!({"provider": "cosign", "matchOIDCIdentity": [{"issuer": "", "subject": "s"}]}), Some("anybody can")),
            (json!({"provider": "notation", "secretRef": {"name": "keys"}}), Some("notation are not acted on")),
        ] {
            let verify = asked(verify);
            let refusal = Asked::from(&verify).refusal();
            assert_eq!(refusal.is_some(), expected.is_some(), "{refusal:?}");
            assert!(refusal.is_none_or(|why| why.contains(expected.unwrap())), "{refusal:?}");
        }
    }

    #[test]
    fn a_proof_stands_for_the_keys_and_the_artifact() {
        let verify = asked(serde_json::json!({"provider": "cosign", "secretRef": {"name": "keys"}}));
        let demand = |keys: &[(&str, &str)]| Demand {
            asked: Asked::from(&verify),
            keys: keys.iter().map(|(name, key)| ((*name).to_owned(), key.as_bytes().to_vec())).collect(),
            trusted_root: None,
        };
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let proof = demand(&[("a.pub", "A")]).proof("r", &one);
        assert_eq!(demand(&[("a.pub", "A")]).proof("r", &one), proof);
        assert_ne!(demand(&[("a.pub", "A")]).proof("r", &other), proof);
        assert_ne!(demand(&[("a.pub", "B")]).proof("r", &one), proof);
        assert_ne!(demand(&[]).proof("r", &one), proof);
    }
}
