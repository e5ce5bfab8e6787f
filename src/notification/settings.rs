//! What a `Provider` and its Secrets ask for. Pure.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use k8s_openapi::ByteString;
use zeroize::Zeroizing;

use super::choose;
use crate::api::condition::reason;
use crate::api::notification::v1beta3::{ProviderSpec, ProviderType};
use crate::cel::Expression;
use crate::controller::conditions;
use crate::git::github_app::App;
use crate::proxy::{Kinds, Proxy};
use crate::redact::Redactor;
use crate::source::download::{SecretData, Tls, value};

/// What `spec.commitStatusExpr` is about.
pub const VARIABLES: [&str; 3] = ["event", "alert", "provider"];

/// The data of the Secrets that a provider names.
#[derive(Default)]
pub struct Secrets {
    /// Of `spec.secretRef`.
    pub own: Option<SecretData>,
    /// Of `spec.proxySecretRef`.
    pub proxy: Option<SecretData>,
    /// Of `spec.certSecretRef`.
    pub certificates: Option<SecretData>,
}

/// What a provider's notifications are made and sent with.
#[derive(Default)]
pub struct Settings {
    /// Which service it is.
    pub kind: ProviderType,
    /// URL of the service or repository.
    pub address: Zeroizing<String>,
    /// Channel, room or routing key.
    pub channel: Option<String>,
    /// Name to post under, or to log in with.
    pub username: Option<String>,
    /// To log in with.
    pub password: Option<Zeroizing<String>>,
    /// To log in or to sign with.
    pub token: Option<Zeroizing<Vec<u8>>>,
    /// More headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How the service is reached.
    pub proxy: Option<Proxy>,
    /// Whom to trust, and who to be.
    pub tls: Tls,
    /// A GitHub app that gives a token.
    pub app: Option<App>,
    /// Knows all that is secret here.
    pub redactor: Redactor,
}

impl Settings {
    /// Reads the spec and the Secrets; an error says what is wrong, without secrets.
    pub fn read(spec: &ProviderSpec, secrets: &Secrets) -> Result<Self, String> {
        let nothing = SecretData::new();
        let own = secrets.own.as_ref().unwrap_or(&nothing);
        let text = |key: &str| text(own, key);
        let address = text("address")?.or_else(|| spec.address.clone().map(Zeroizing::new));
        let address = address.filter(|address| !address.is_empty());
        let address = address.ok_or("there is no address: set spec.address, or the key 'address' of the Secret")?;
        let mut settings = Self {
            kind: spec.r#type,
            address,
            channel: spec.channel.clone().filter(|channel| !channel.is_empty()),
            username: text("username")?.map(|username| username.to_string()).or_else(|| spec.username.clone()),
            password: text("password")?,
            token: value(own, "token").map(|token| Zeroizing::new(token.to_vec())),
            headers: text("headers")?.map_or(Ok(Vec::new()), |text| headers(&text))?,
            proxy: proxy(spec, own, secrets.proxy.as_ref())?,
            ..Self::default()
        };
        let of_own = Some(own).filter(|own| choose::sets_commit_status(spec.r#type) && value(own, "ca.crt").is_some());
        if let Some(tls) = secrets.certificates.as_ref().or(of_own) {
            settings.tls = Tls::read(tls).map_err(|error| error.to_string())?;
        }
        if spec.r#type == ProviderType::GitHub && settings.token.is_none() && value(own, "githubAppID").is_some() {
            settings.app = Some(App::from_secret(own).map_err(|error| error.to_string())?);
        }
        settings.learn_secrets(secrets);
        Ok(settings)
    }

    /// The token, or the password where there is none, for a header.
    pub fn login(&self) -> Option<Zeroizing<String>> {
        let token = self.token.as_ref().and_then(|token| std::str::from_utf8(token).ok());
        let token = token.map(|token| Zeroizing::new(token.trim().to_owned()));
        token.or_else(|| self.password.clone()).filter(|login| !login.is_empty())
    }

    /// An address is a secret for many services, as a whole and from its path on.
    fn learn_secrets(&mut self, secrets: &Secrets) {
        let data = [&secrets.own, &secrets.proxy].into_iter().flatten().flatten();
        for (_, ByteString(bytes)) in data.filter(|(key, _)| key.as_str() != "username") {
            self.redactor.add(&String::from_utf8_lossy(bytes));
        }
        self.redactor.add(&self.address);
        if let Ok(url) = url::Url::parse(&self.address) {
            self.redactor.add(url.path());
            self.redactor.add(url.query().unwrap_or_default());
            self.redactor.add(url.password().unwrap_or_default());
        }
        for (_, header) in &self.headers {
            self.redactor.add(header.to_str().unwrap_or_default());
        }
        if let Some(proxy) = &self.proxy {
            self.redactor.add(&proxy.url());
        }
    }
}

fn text(data: &SecretData, key: &str) -> Result<Option<Zeroizing<String>>, String> {
    let text = value(data, key).map(std::str::from_utf8).transpose();
    let text = text.map_err(|_| format!("the value of '{key}' is not UTF-8 text"))?;
    Ok(text.map(|text| Zeroizing::new(text.trim().to_owned())))
}

/// Reads a YAML map of texts. An error does not repeat the values.
fn headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let bad = || "the value of 'headers' is not a YAML map of names and texts".to_owned();
    let pairs: BTreeMap<String, String> = serde_saphyr::from_str(text).map_err(|_| bad())?;
    let header = |(name, value): (String, String)| {
        let unusable = || format!("'headers': '{name}' is not a header that can be sent");
        let mut header = HeaderValue::from_str(&value).map_err(|_| unusable())?;
        header.set_sensitive(true);
        Ok((HeaderName::try_from(&name).map_err(|_| unusable())?, header))
    };
    pairs.into_iter().map(header).collect()
}

fn proxy(spec: &ProviderSpec, own: &SecretData, proxy: Option<&SecretData>) -> Result<Option<Proxy>, String> {
    if let Some(data) = proxy {
        return Proxy::from_secret(data, Kinds::HttpAndSocks)
            .map(Some)
            .map_err(|error| format!("spec.proxySecretRef: {error}"));
    }
    let older = value(own, "proxy").or(spec.proxy.as_deref().map(str::as_bytes));
    let Some(address) = older else { return Ok(None) };
    let data = [("address".to_owned(), ByteString(address.to_vec()))].into();
    Proxy::from_secret(&data, Kinds::HttpAndSocks).map(Some).map_err(|error| format!("the proxy: {error}"))
}

/// What a provider asks for in vain, with the reason of the event that tells it.
pub fn problems(spec: &ProviderSpec) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    if !choose::is_supported(spec.r#type) {
        let message = format!("notifications of the type '{}' are not acted on yet: nothing is sent", spec.r#type);
        problems.push((reason::NOT_ACTED_ON, message));
    }
    if spec.service_account_name.is_some() {
        problems.push((reason::NOT_ACTED_ON, conditions::not_acted_on_message(&["spec.serviceAccountName"])));
    }
    let expression = spec.commit_status_expr.as_ref().map(|text| Expression::giving_text(text, &VARIABLES));
    if let Some(Err(error)) = expression {
        problems.push((reason::INVALID_CONFIG, format!("spec.commitStatusExpr: {error}")));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn data(pairs: &[(&str, &str)]) -> SecretData {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec()))).collect()
    }

    fn spec(patch: &Value) -> ProviderSpec {
        let mut spec = json!({"type": "slack", "address": "https://spec/hook"});
        for (key, value) in patch.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn a_secret_comes_before_the_spec() {
        let spec = spec(&json!({"username": "of-spec", "channel": "c", "proxy": "http://of-spec"}));
        let plain = Settings::read(&spec, &Secrets::default()).unwrap();
        assert_eq!((plain.address.as_str(), plain.username.as_deref()), ("https://spec/hook", Some("of-spec")));
        assert_eq!(plain.proxy.as_ref().unwrap().url().as_str(), "http://of-spec/");
        assert!(plain.login().is_none() && plain.headers.is_empty());

        let own = [
            ("address", "https://secret/hook\n"),
            ("username", "of-secret"),
            ("token", "t0ken\n"),
            ("headers", "X-A: one\nx-b: 'two'\n"),
            ("proxy", "http://of-secret"),
        ];
        let secrets = Secrets { own: Some(data(&own)), ..Secrets::default() };
        let read = Settings::read(&spec, &secrets).unwrap();
        assert_eq!((read.address.as_str(), read.username.as_deref()), ("https://secret/hook", Some("of-secret")));
        assert_eq!(read.login().unwrap().as_str(), "t0ken");
        assert_eq!(read.token.as_ref().unwrap().as_slice(), b"t0ken\n");
        assert_eq!(read.proxy.as_ref().unwrap().url().as_str(), "http://of-secret/");
        let headers = read.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        assert_eq!(headers.collect::<Vec<_>>(), [("x-a", "one"), ("x-b", "two")]);

        let proxy = Some(data(&[("address", "http://best"), ("username", "u"), ("password", "p")]));
        let read = Settings::read(&spec, &Secrets { proxy, ..secrets }).unwrap();
        assert_eq!(read.proxy.unwrap().url().as_str(), "http://u:p@best/");
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets() {
        for (patch, own, needle) in [
            (json!({"address": ""}), vec![], "set spec.address"),
            (json!({}), vec![("headers", "hunter2")], "not a YAML map"),
            (json!({}), vec![("headers", "'a b': hunter2")], "'a b'"),
            (json!({}), vec![("headers", "a: \"hunter2\\n\"")], "'a'"),
            (json!({}), vec![("proxy", "hunter2")], "the proxy: "),
            (json!({"type": "github"}), vec![("githubAppID", "hunter2")], "'githubAppID' is not a number"),
        ] {
            let secrets = Secrets { own: Some(data(&own)), ..Secrets::default() };
            let error = Settings::read(&spec(&patch), &secrets).map(drop).unwrap_err();
            assert!(error.contains(needle) && !error.contains("hunter2"), "{error}");
        }
        let certificates = Some(data(&[("tls.crt", "hunter2")]));
        let error = Settings::read(&spec(&json!({})), &Secrets { certificates, ..Secrets::default() });
        assert!(error.map(drop).unwrap_err().contains("'tls.key'"));
    }

    #[test]
    fn an_address_is_a_secret_from_its_path_on() {
        let own = Some(data(&[("address", "https://hooks.slack.com/services/T0/B0/hunter2"), ("token", "t0ken")]));
        let settings = Settings::read(&spec(&json!({})), &Secrets { own, ..Secrets::default() }).unwrap();
        let told = "no /services/T0/B0/hunter2 at https://hooks.slack.com/services/T0/B0/hunter2 for t0ken";
        assert_eq!(settings.redactor.text(told), "no ***** at ***** for *****");
    }

    #[test]
    fn what_is_asked_for_in_vain_is_named() {
        for (patch, expected) in [
            (json!({}), vec![]),
            (json!({"type": "sentry"}), vec!["'sentry' are not acted on"]),
            (json!({"type": "azuredevops", "serviceAccountName": "x"}), vec!["azuredevops", "spec.serviceAccountName"]),
            (json!({"type": "github", "commitStatusExpr": "event.reason"}), vec![]),
            (json!({"type": "github", "commitStatusExpr": "event."}), vec!["spec.commitStatusExpr: "]),
            (json!({"type": "github", "commitStatusExpr": "events.reason"}), vec!["'events'"]),
            (json!({"type": "github", "commitStatusExpr": "size(event)"}), vec!["gives int"]),
        ] {
            let problems = problems(&spec(&patch));
            assert_eq!(problems.len(), expected.len(), "{problems:?}");
            assert!(problems.iter().zip(expected).all(|((_, told), needle)| told.contains(needle)), "{problems:?}");
        }
    }
}
