//! A cluster that trusts the tokens of ours: a service account's token is the way in.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client, Config};
use serde_json::Value;

use super::{Description, Entry, RemoteError};

/// The operator's own token, in a pod.
const OWN_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How long a token is asked to be good for. A helm action may run for half of it.
const LIFETIME: Duration = Duration::from_hours(1);

/// What a description asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    address: String,
    authority: Option<String>,
    audiences: Vec<String>,
    account: Option<String>,
}

pub(super) async fn enter(
    client: &Client,
    description: &Description,
    default_account: Option<&str>,
) -> Result<Entry, RemoteError> {
    let wanted = wanted(description)?;
    let (namespace, account) = match wanted.account.as_deref().or(default_account) {
        Some(account) => (description.namespace.clone(), account.to_owned()),
        None => own_account().map_err(|why| description.unusable(&why))?,
    };
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(wanted.audiences),
            expiration_seconds: i64::try_from(LIFETIME.as_secs()).ok(),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &namespace);
    let granted = accounts.create_token_request(&account, &PostParams::default(), &request).await.map_err(|error| {
        description.unusable(&format!("there is no token for service account {namespace}/{account}: {error}"))
    })?;
    let status = granted.status.unwrap_or_default();
    let token = status.token.ok_or_else(|| description.unusable("the API server gave no token"))?;
    let left = status.expiration_timestamp.map(|until| until.0.duration_since(Timestamp::now()));
    let left = left.and_then(|left| Duration::try_from(left).ok()).unwrap_or(LIFETIME);
    let url = wanted.address.parse().map_err(|_| description.unusable("its address is no URL"))?;
    let mut config = Config::new(url);
    config.root_cert =
        wanted.authority.as_deref().map(certificates).transpose().map_err(|why| description.unusable(why))?;
    config.auth_info.token = Some(token.into());
    Ok(Entry { config, until: Some(Instant::now() + left / 2) })
}

fn wanted(description: &Description) -> Result<Wanted, RemoteError> {
    let provider = description.text("provider").unwrap_or_default();
    if provider != "generic" {
        if ["aws", "azure", "gcp"].contains(&provider) {
            let what = format!("asks for a login by the provider '{provider}'");
            return Err(RemoteError::Unsupported { place: description.place.clone(), what });
        }
        return Err(description.unusable(&format!("its provider '{provider}' is none of aws, azure, gcp and generic")));
    }
    let given = description.text("address").ok_or_else(|| description.unusable("it has no address"))?;
    let audiences = description.text("audiences").unwrap_or(given);
    Ok(Wanted {
        address: address(given).ok_or_else(|| description.unusable("its address is no https URL"))?,
        authority: description.text("ca.crt").map(str::to_owned),
        audiences: audiences.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect(),
        account: description.text("serviceAccountName").map(str::to_owned),
    })
}

/// An address may leave out the scheme; only https will do.
fn address(given: &str) -> Option<String> {
    let url = if given.starts_with("http") { given.to_owned() } else { format!("https://{given}") };
    let url = url::Url::parse(&url).ok().filter(|url| url.scheme() == "https")?;
    Some(format!("https://{}:{}", url.host_str()?, url.port_or_known_default()?))
}

/// The certificates in a PEM text, in DER.
fn certificates(text: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    let found: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(text.as_bytes()).map(|found| found.map(|der| der.to_vec())).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or("its ca.crt holds no certificate")
}

/// Namespace and name of the service account that the operator runs as.
fn own_account() -> Result<(String, String), String> {
    let token = std::fs::read_to_string(OWN_TOKEN)
        .map_err(|error| format!("it names no serviceAccountName, and the operator has none of its own: {error}"))?;
    subject(&token).ok_or_else(|| "the operator's own token names no service account".to_owned())
}

fn subject(token: &str) -> Option<(String, String)> {
    use base64::Engine as _;

    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let (namespace, name) = claims["sub"].as_str()?.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    Some((namespace.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::super::tests::description;
    use super::*;

    fn read(data: &[(&str, &str)]) -> Result<Wanted, String> {
        wanted(&description(Kind::Workload, data)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_generic_login_is_read_with_its_defaults() {
        let plain = read(&[("provider", "generic"), ("address", "Prod.example:6443")]).expect("good");
        let expected = Wanted {
            address: "https://prod.example:6443".to_owned(),
            authority: None,
            audiences: vec!["Prod.example:6443".to_owned()],
            account: None,
        };
        assert_eq!(plain, expected);
        let full = [
            ("provider", "generic"),
            ("address", "https://x"),
            ("audiences", "a\n b \n\n"),
            ("serviceAccountName", "me\n"),
        ];
        let full = read(&full).expect("good");
        assert_eq!((full.address.as_str(), full.account.as_deref()), ("https://x:443", Some("me")));
        assert_eq!(full.audiences, ["a", "b"]);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (data, words) in [
            (vec![("provider", "aws"), ("cluster", "arn:x")], "login by the provider 'aws': not supported"),
            (vec![("provider", "cloud")], "none of aws, azure, gcp and generic"),
            (vec![], "its provider ''"),
            (vec![("provider", "generic")], "no address"),
            (vec![("provider", "generic"), ("address", "http://x")], "no https URL"),
        ] {
            assert!(read(&data).is_err_and(|message| message.contains(words)), "{words}");
        }
        assert!(certificates("no PEM").is_err());
    }

    #[test]
    fn a_token_names_its_account() {
        use base64::Engine as _;
        let token = |claims: &str| {
            let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims);
            subject(&format!("head.{claims}.signature"))
        };
        let pair = ("flux-system".to_owned(), "fairlead".to_owned());
        assert_eq!(token(r#"{"sub":"system:serviceaccount:flux-system:fairlead"}"#), Some(pair));
        assert_eq!(token(r#"{"sub":"jane"}"#), None);
        assert_eq!(subject("no token"), None);
    }
}
