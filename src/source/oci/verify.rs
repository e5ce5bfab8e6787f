//! Signatures of artifacts: checked by the `cosign` or `notation` binary before anything is fetched.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::super::download::{SecretData, TlsTexts, value};
use super::super::lifecycle;
use super::super::proofs::Proof;
use super::access::RegistryAccess;
use super::cosign::{self, Answer, Connection, Signer};
use super::notation::{self, Trust};
use super::reference::Digest;
use crate::api::meta::LocalObjectReference;
use crate::api::source::v1::{
    HelmChartVerification, OCIRepositoryVerification, OidcIdentityMatch, VerificationProvider,
};
use crate::controller::Context;
use crate::process::ProcessError;
use place::Place;

mod place;

/// How the name of a public key in a Secret ends.
const KEY_ENDING: &str = ".pub";
/// Name of a trusted root in a Secret.
const TRUSTED_ROOT: &str = "trusted_root.json";

/// The signature that an object asks for; Secrets are of its own namespace.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'o> {
    provider: VerificationProvider,
    /// Secret with public keys, or with a trust policy and certificates.
    keys: Option<&'o str>,
    /// Identities whose keyless signature will do.
    identities: &'o [OidcIdentityMatch],
    /// Secret with a trusted root.
    trusted_root: Option<&'o str>,
}

/// What decides who is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted<'o> {
    /// The public keys of a Secret.
    Keys(&'o str),
    /// Identities, with the trusted root of a Secret.
    Identities(Option<&'o str>),
    /// The trust policy and the certificates of a Secret.
    Policy(&'o str),
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

    /// What decides who is trusted, or why nothing does, whatever is signed.
    fn wanted(self) -> Result<Wanted<'o>, &'static str> {
        let names_nobody = |identity: &OidcIdentityMatch| identity.issuer.is_empty() || identity.subject.is_empty();
        match (self.provider, self.keys) {
            (VerificationProvider::Cosign, Some(secret)) => Ok(Wanted::Keys(secret)),
            (VerificationProvider::Cosign, None)
                if self.identities.is_empty() || self.identities.iter().any(names_nobody) =>
            {
                Err("anybody can sign with some identity: name public keys by 'secretRef', or by 'matchOIDCIdentity' \
                     whose signature counts, with 'issuer' and 'subject'")
            }
            (VerificationProvider::Cosign, None) => Ok(Wanted::Identities(self.trusted_root)),
            (VerificationProvider::Notation, Some(secret)) => Ok(Wanted::Policy(secret)),
            (VerificationProvider::Notation, None) => Err("verification secret cannot be empty: name a Secret with \
                 'trustpolicy.json' and certificates by 'secretRef'"),
        }
    }

    fn failure(self, terminal: bool, why: &str) -> Unverified {
        let keyless = self.keys.is_none() && self.provider == VerificationProvider::Cosign;
        let provider = format!("{}{}", self.provider, if keyless { " keyless" } else { "" });
        let message = format!("failed to verify the signature using provider '{provider}': {why}");
        Unverified { message, terminal }
    }
}

/// Who is trusted, as the Secrets say.
enum Trusted {
    /// Whoever has the private half of one of these public keys, by their names.
    Keys(Vec<(String, Vec<u8>)>),
    /// Identities, by this trusted root, or by Sigstore's.
    Identities(Option<Vec<u8>>),
    /// Whom a trust policy says.
    Policy(Arc<Trust>),
}

/// What an object asks for, with what its Secrets hold.
pub struct Demand<'o> {
    asked: Asked<'o>,
    trusted: Trusted,
}

impl<'o> Demand<'o> {
    /// Reads the Secrets.
    pub async fn read(context: &Context, namespace: &str, asked: Asked<'o>) -> Result<Self, Unverified> {
        let wanted = asked.wanted().map_err(|why| asked.failure(true, why))?;
        let secret = async |name: &str| {
            let data = lifecycle::secret_data(context, namespace, name).await;
            data.map_err(|failure| asked.failure(false, &failure.message))
        };
        let trusted = match wanted {
            Wanted::Keys(name) => public_keys(&format!("{namespace}/{name}"), secret(name).await?),
            Wanted::Identities(Some(name)) => trusted_root(&format!("{namespace}/{name}"), &secret(name).await?),
            Wanted::Identities(None) => Ok(Trusted::Identities(None)),
            Wanted::Policy(name) => {
                let trust = Trust::read(&format!("{namespace}/{name}"), &secret(name).await?);
                trust.map(|trust| Trusted::Policy(Arc::new(trust))).map_err(|error| error.to_string())
            }
        };
        let trusted = trusted.map_err(|why| asked.failure(false, &why))?;
        Ok(Self { asked, trusted })
    }

    /// Stands for the artifact with this digest once it is verified.
    pub fn proof(&self, repository: &str, digest: &Digest) -> Proof {
        let named = [repository.as_bytes(), digest.as_str().as_bytes()].into_iter();
        match &self.trusted {
            Trusted::Keys(keys) => {
                let keys = keys.iter().flat_map(|(name, key)| [name.as_bytes(), key.as_slice()]);
                Proof::of(named.chain([b"keys".as_slice()]).chain(keys))
            }
            Trusted::Identities(root) => {
                let identities = self.asked.identities.iter();
                let identities = identities.flat_map(|who| [who.issuer.as_bytes(), who.subject.as_bytes()]);
                let root = root.as_deref().unwrap_or_default();
                Proof::of(named.chain([b"keyless".as_slice(), root]).chain(identities))
            }
            Trusted::Policy(trust) => Proof::of(named.chain([b"notation".as_slice()]).chain(trust.parts())),
        }
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
        let verified = match &self.trusted {
            Trusted::Keys(keys) => {
                by_signers(|place| key_signers(place, keys), context, dir, (access, digest), timeout).await
            }
            Trusted::Identities(root) => {
                let signers = |place: &Place| identity_signers(place, self.asked.identities, root.as_deref());
                by_signers(signers, context, dir, (access, digest), timeout).await
            }
            Trusted::Policy(trust) => by_policy(trust, context, dir, (access, digest), timeout).await,
        };
        verified.map_err(|why| self.asked.failure(false, &why))
    }
}

fn public_keys(secret: &str, data: SecretData) -> Result<Trusted, String> {
    let keys = data.into_iter().filter(|(name, _)| name.ends_with(KEY_ENDING));
    let keys: Vec<_> = keys.map(|(name, key)| (name, key.0)).collect();
    if keys.is_empty() {
        return Err(format!("no public keys found in secret '{secret}': none ends in '{KEY_ENDING}'"));
    }
    Ok(Trusted::Keys(keys))
}

fn trusted_root(secret: &str, data: &SecretData) -> Result<Trusted, String> {
    let missing = || format!("failed to read trusted root from secret '{secret}': the key '{TRUSTED_ROOT}' is missing");
    let root = value(data, TRUSTED_ROOT).ok_or_else(missing)?;
    Ok(Trusted::Identities(Some(root.to_vec())))
}

type Signers<'s> = Vec<(&'s str, Signer<'s>)>;

fn key_signers<'s>(place: &Place, keys: &'s [(String, Vec<u8>)]) -> io::Result<Signers<'s>> {
    let written = keys.iter().enumerate().map(|(index, (name, key))| {
        Ok((name.as_str(), Signer::Key(place.write(format!("{index}{KEY_ENDING}"), key)?)))
    });
    written.collect()
}

fn identity_signers<'s>(
    place: &Place,
    identities: &'s [OidcIdentityMatch],
    root: Option<&[u8]>,
) -> io::Result<Signers<'s>> {
    let root = root.map(|root| place.write(TRUSTED_ROOT, root)).transpose()?;
    let signer = |identity: &'s OidcIdentityMatch| {
        let OidcIdentityMatch { issuer, subject } = identity;
        (subject.as_str(), Signer::Identity { issuer, subject, trusted_root: root.clone() })
    };
    Ok(identities.iter().map(signer).collect())
}

/// Asks cosign about one signer after the other.
async fn by_signers<'s>(
    signers: impl FnOnce(&Place) -> io::Result<Signers<'s>>,
    context: &Context,
    dir: TempDir,
    (access, digest): (&RegistryAccess, &Digest),
    timeout: Duration,
) -> Result<(), String> {
    let RegistryAccess { repository, insecure, .. } = access;
    let registry = cosign::registry(repository, *insecure);
    let place = Place::make(dir, access, &registry).map_err(|error| unkept(&error))?;
    let identity = client_identity(&place, access).map_err(|error| unkept(&error))?;
    let signers = signers(&place).map_err(|error| unkept(&error))?;
    let artifact = cosign::artifact(repository, digest, *insecure);
    let connection = Connection {
        identity: identity.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path())),
        insecure: *insecure,
        any_certificate: *insecure && tls(access).authority.is_none(),
    };
    let mut answers = Vec::new();
    for (name, signer) in &signers {
        // Cosign would try plain HTTP at private addresses without being told to.
        let command = place.command(&context.config.cosign, access, *insecure);
        let command = command.env("TUF_ROOT", context.config.data_dir.join("sigstore"));
        match command.args(cosign::argv(&artifact, signer, connection)).timeout(timeout).run().await {
            Ok(output) if output.success() => return Ok(()),
            Ok(output) => answers.push((*name, Answer::read(output.code, &place.hidden(&output.stderr)))),
            // No other key can help.
            Err(error @ ProcessError::Missing { .. }) => return Err(error.to_string()),
            Err(error) => answers.push((*name, Answer::Broken(place.hidden(&error.to_string())))),
        }
    }
    Err(cosign::verdict(&artifact, &answers))
}

/// Asks notation.
async fn by_policy(
    trust: &Arc<Trust>,
    context: &Context,
    dir: TempDir,
    (access, digest): (&RegistryAccess, &Digest),
    timeout: Duration,
) -> Result<(), String> {
    let RegistryAccess { repository, insecure, .. } = access;
    if let Some(why) = notation::hindrance(repository, *insecure, tls(access).certificate.is_some()) {
        return Err(why);
    }
    let place = Place::make(dir, access, repository.client_name()).map_err(|error| unkept(&error))?;
    let (trust, scope) = (Arc::clone(trust), notation::scope(repository));
    // They may be very many.
    let writing = tokio::task::spawn_blocking(move || {
        for (path, bytes) in trust.files(&scope).map_err(|error| error.to_string())? {
            place.write(path, bytes).map_err(|error| unkept(&error))?;
        }
        Ok::<_, String>(place)
    });
    let place = writing.await.map_err(|died| died.to_string())??;
    let artifact = notation::artifact(repository, digest);
    // What tells of revoked certificates is asked over plain HTTP, wherever the registry is.
    let command = place.command(&context.config.notation, access, true).env("NOTATION_CONFIG", place.path());
    match command.args(notation::argv(&artifact, *insecure)).timeout(timeout).run().await {
        Ok(output) if output.success() => Ok(()),
        Ok(output) => Err(notation::verdict(&artifact, &place.hidden(&output.stderr))),
        Err(error) => Err(place.hidden(&error.to_string())),
    }
}

fn tls(access: &RegistryAccess) -> TlsTexts<'_> {
    access.certificates.as_ref().map(TlsTexts::of).unwrap_or_default()
}

/// Files with the certificate to show to the registry and its key.
fn client_identity(place: &Place, access: &RegistryAccess) -> io::Result<Option<(PathBuf, PathBuf)>> {
    let texts = tls(access);
    match (texts.certificate, texts.key) {
        (Some(certificate), Some(key)) => {
            Ok(Some((place.write("tls.crt", certificate)?, place.write("tls.key", key)?)))
        }
        _ => Ok(None),
    }
}

fn unkept(error: &io::Error) -> String {
    format!("cannot keep files: {error}")
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
            (json!({"provider": "notation", "secretRef": {"name": "keys"}}), None),
            (json!({"provider": "notation"}), Some("verification secret cannot be empty")),
            (json!({"provider": "notation", "matchOIDCIdentity": who}), Some("verification secret cannot be empty")),
        ] {
            let verify = asked(verify);
            let refusal = Asked::from(&verify).wanted().err();
            assert_eq!(refusal.is_some(), expected.is_some(), "{refusal:?}");
            assert!(refusal.is_none_or(|why| why.contains(expected.unwrap())), "{refusal:?}");
        }
    }

    #[test]
    fn a_proof_stands_for_the_trusted_and_the_artifact() {
        let verify = asked(serde_json::json!({"provider": "cosign", "secretRef": {"name": "keys"}}));
        let demand = |trusted: Trusted| Demand { asked: Asked::from(&verify), trusted };
        let keys = |keys: &[(&str, &str)]| {
            Trusted::Keys(keys.iter().map(|(name, key)| ((*name).to_owned(), key.as_bytes().to_vec())).collect())
        };
        let policy = |level: &str, certificate: &str| {
            let policy = format!(r#"{{"trustPolicies": [{{"signatureVerification": {{"level": "{level}"}}}}]}}"#);
            let data = [("a.crt", certificate), (notation::TRUST_POLICY, policy.as_str())];
            let data = data.map(|(name, text)| (name.to_owned(), k8s_openapi::ByteString(text.as_bytes().to_vec())));
            let trust = Trust::read("apps/trust", &data.into()).map_err(|error| error.to_string());
            Trusted::Policy(Arc::new(trust.unwrap()))
        };
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let all = [
            demand(keys(&[("a.pub", "A")])).proof("r", &one),
            demand(keys(&[("a.pub", "A")])).proof("r", &other),
            demand(keys(&[("a.pub", "A")])).proof("s", &one),
            demand(keys(&[("a.pub", "B")])).proof("r", &one),
            demand(Trusted::Identities(None)).proof("r", &one),
            demand(policy("strict", "A")).proof("r", &one),
            demand(policy("strict", "A")).proof("r", &other),
            demand(policy("strict", "B")).proof("r", &one),
            demand(policy("permissive", "A")).proof("r", &one),
        ];
        assert_eq!(demand(keys(&[("a.pub", "A")])).proof("r", &one), all[0]);
        assert_eq!(demand(policy("strict", "A")).proof("r", &one), all[5]);
        for (index, proof) in all.iter().enumerate() {
            assert!(!all[..index].contains(proof), "{index}");
        }
    }
}
