//! The requests that tell a service of an event. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use serde_json::Value;
use sha2::Sha256;
use url::Url;

use super::format::chat::{self, Chat};
use super::format::{alertmanager, google_chat, pager_duty, teams, webex};
use super::post::Post;
use super::settings::Settings;
use crate::api::event::Event;
use crate::api::notification::v1beta3::ProviderType;
use crate::source::digest::hex;

/// Who tells the event, with the generic types.
const COMPONENT: HeaderName = HeaderName::from_static("gotk-component");

/// The HMAC of the body.
const SIGNATURE: HeaderName = HeaderName::from_static("x-signature");

/// Slack's API, which says 200 to everything.
const SLACK_API: &str = "https://slack.com/api/chat.postMessage";

/// What has to be sent, in this order; an error says what is wrong with the settings.
pub fn requests(settings: &Settings, event: &Event) -> Result<Vec<Post>, String> {
    let url = address(settings)?;
    let (channel, username) = (settings.channel.as_deref(), settings.username.as_deref());
    let message = match settings.kind {
        ProviderType::Generic | ProviderType::GenericHmac => {
            return generic(settings, url, event).map(|post| vec![post]);
        }
        ProviderType::PagerDuty => return Ok(incidents(&url, &pager_duty::requests(event, channel))),
        ProviderType::Discord => {
            let message = chat::message(Chat::Discord, event, channel, username);
            return Ok(vec![json(at_slack(url), &message)]);
        }
        ProviderType::Slack => chat::message(Chat::Slack, event, channel, username),
        ProviderType::Rocket => chat::message(Chat::Rocket, event, channel, username),
        ProviderType::MsTeams => teams::message(event, url.host_str().unwrap_or_default()),
        ProviderType::GoogleChat => google_chat::message(event),
        ProviderType::Webex => webex::message(event, channel),
        ProviderType::Alertmanager => alertmanager::alerts(event),
        other => return Err(format!("notifications of the type '{other}' are not acted on yet")),
    };
    let mut post = json(url, &message);
    if let Some(login) = authorization(settings)? {
        post.headers.insert(AUTHORIZATION, login);
    }
    Ok(vec![post])
}

/// What is wrong although the service said that all is well.
pub fn check_answer(settings: &Settings, answer: &[u8]) -> Result<(), String> {
    let is_slack_api = settings.kind == ProviderType::Slack && settings.address.as_str() == SLACK_API;
    if is_slack_api { chat::check_answer(answer) } else { Ok(()) }
}

fn address(settings: &Settings) -> Result<Url, String> {
    let url = Url::parse(&settings.address).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.filter(Url::has_host).ok_or_else(|| "the address is not an http or https URL".to_owned())
}

fn generic(settings: &Settings, url: Url, event: &Event) -> Result<Post, String> {
    let body = serde_json::to_vec(event).map_err(|error| error.to_string())?;
    let mut post = Post::json(url, body);
    if let Ok(component) = HeaderValue::from_str(&event.reporting_controller) {
        post.headers.insert(COMPONENT, component);
    }
    for (name, value) in &settings.headers {
        post.headers.insert(name.clone(), value.clone());
    }
    if settings.kind == ProviderType::GenericHmac {
        let token = settings.token.as_ref().ok_or("the Secret has no 'token' to sign with")?;
        let mac = Hmac::<Sha256>::new_from_slice(token).expect("a key of any length will do").chain_update(&post.body);
        let signature = format!("sha256={}", hex(&mac.finalize().into_bytes()));
        let signature = HeaderValue::from_str(&signature).expect("letters and digits");
        post.headers.insert(SIGNATURE, signature);
    }
    Ok(post)
}

fn incidents(address: &Url, requests: &[(&'static str, Value)]) -> Vec<Post> {
    let at = |path: &str| {
        let mut url = address.clone();
        url.set_path(path);
        url.set_query(None);
        url
    };
    requests.iter().map(|(path, body)| json(at(path), body)).collect()
}

/// Discord reads Slack's messages there.
fn at_slack(mut url: Url) -> Url {
    if !url.path().ends_with("/slack")
        && let Ok(mut segments) = url.path_segments_mut()
    {
        segments.pop_if_empty().push("slack");
    }
    url
}

fn json(url: Url, body: &Value) -> Post {
    Post::json(url, body.to_string().into_bytes())
}

fn authorization(settings: &Settings) -> Result<Option<HeaderValue>, String> {
    let login = match (settings.kind, &settings.username, &settings.password) {
        (ProviderType::Alertmanager, Some(username), Some(password)) => {
            Some(format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.as_str()))))
        }
        (ProviderType::Alertmanager | ProviderType::Slack | ProviderType::Webex, _, _) => {
            settings.token.as_ref().and(settings.login()).map(|token| format!("Bearer {}", token.as_str()))
        }
        _ => None,
    };
    login.as_deref().map(secret_header).transpose()
}

/// A header that no log shows.
pub fn secret_header(text: &str) -> Result<HeaderValue, String> {
    let mut header = HeaderValue::from_str(text).map_err(|_| "the token cannot be part of a header".to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::super::format::tests::failure;
    use super::*;
    use zeroize::Zeroizing;

    fn settings(kind: ProviderType, address: &str) -> Settings {
        Settings { kind, address: Zeroizing::new(address.to_owned()), ..Settings::default() }
    }

    fn header<'p>(post: &'p Post, name: &str) -> Option<&'p str> {
        post.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn a_generic_server_gets_the_event_with_a_signature() {
        let mut settings = settings(ProviderType::GenericHmac, "https://x/hook");
        requests(&settings, &failure()).map(drop).unwrap_err();
        settings.token = Some(Zeroizing::new(b"token".to_vec()));
        settings.headers = vec![(HeaderName::from_static("x-a"), HeaderValue::from_static("one"))];
        let post = &requests(&settings, &failure()).unwrap()[0];
        let sent: Event = serde_json::from_slice(&post.body).unwrap();
        assert_eq!(sent, failure());
        let signature = header(post, "X-Signature").unwrap();
        assert!(crate::receiver::is_signed(signature, b"token", &post.body), "{signature}");
        assert_eq!((header(post, "Gotk-Component"), header(post, "X-A")), (Some("fairlead"), Some("one")));
        assert_eq!(header(post, "Content-Type"), Some("application/json"));
        settings.kind = ProviderType::Generic;
        let post = &requests(&settings, &failure()).unwrap()[0];
        assert_eq!((header(post, "X-Signature"), header(post, "X-A")), (None, Some("one")));
    }

    #[test]
    fn each_service_is_asked_where_it_listens() {
        use ProviderType::{Alertmanager, Discord, MsTeams, PagerDuty, Slack, Webex};
        for (kind, address, expected) in [
            (Slack, "https://h/services/T?x=1", vec!["https://h/services/T?x=1"]),
            (Discord, "https://d/api/webhooks/1/t", vec!["https://d/api/webhooks/1/t/slack"]),
            (Discord, "https://d/api/webhooks/1/t/slack?wait=true", vec!["https://d/api/webhooks/1/t/slack?wait=true"]),
            (MsTeams, "https://t/w?sig=s", vec!["https://t/w?sig=s"]),
            (PagerDuty, "https://p/ignored?x", vec!["https://p/v2/enqueue"]),
            (Alertmanager, "http://a:9093/api/v2/alerts/", vec!["http://a:9093/api/v2/alerts/"]),
            (Webex, "https://w/v1/messages", vec!["https://w/v1/messages"]),
        ] {
            let posts = requests(&settings(kind, address), &failure()).unwrap();
            let urls: Vec<&str> = posts.iter().map(|post| post.url.as_str()).collect();
            assert_eq!(urls, expected, "{kind}");
        }
        for address in ["hunter2", "ftp://hunter2", "unix:/hunter2"] {
            let error = requests(&settings(Slack, address), &failure()).map(drop).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
        requests(&settings(ProviderType::Sentry, "https://s"), &failure()).map(drop).unwrap_err();
    }

    #[test]
    fn services_are_logged_in_to_as_they_ask_for() {
        use ProviderType::{Alertmanager, MsTeams, Slack, Webex};
        let (user, password, token) = (Some("u"), Some("p"), Some("t\n"));
        for (kind, username, password, token, expected) in [
            (Slack, None, None, token, Some("Bearer t")),
            (Slack, user, password, None, None),
            (Webex, None, None, token, Some("Bearer t")),
            (Alertmanager, None, None, token, Some("Bearer t")),
            (Alertmanager, user, password, token, Some("Basic dTpw")),
            (MsTeams, None, None, token, None),
        ] {
            let settings = Settings {
                username: username.map(str::to_owned),
                password: password.map(|password| Zeroizing::new(password.to_owned())),
                token: token.map(|token| Zeroizing::new(token.as_bytes().to_vec())),
                ..settings(kind, "https://x")
            };
            let post = &requests(&settings, &failure()).unwrap()[0];
            assert_eq!(header(post, "Authorization"), expected, "{kind}");
        }
    }

    #[test]
    fn only_the_answers_of_slack_s_api_are_read() {
        check_answer(&settings(ProviderType::Slack, SLACK_API), b"{\"ok\": false}").unwrap_err();
        check_answer(&settings(ProviderType::Slack, "https://hooks.slack.com/services/T"), b"ok").unwrap();
    }
}
