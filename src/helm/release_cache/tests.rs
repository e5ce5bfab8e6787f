use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use serde_json::json;

use super::*;
use crate::helm::ReleaseStatus;

fn secret(name: &str, version: i64, status: &str) -> Secret {
    let release = json!({"name": name, "version": version, "info": {"status": status}});
    broken(&format!("sh.helm.release.v1.{name}.v{version}"), &STANDARD.encode(release.to_string()))
}

fn broken(name: &str, data: &str) -> Secret {
    let mut secret = Secret::default();
    secret.metadata.namespace = Some("dev".to_owned());
    secret.metadata.name = Some(name.to_owned());
    secret.data = Some(BTreeMap::from([("release".to_owned(), ByteString(data.as_bytes().to_vec()))]));
    secret
}

fn list(cache: &ReleaseCache, secrets: Vec<Secret>) {
    cache.handle(Event::Init);
    for secret in secrets {
        cache.handle(Event::InitApply(secret));
    }
    cache.handle(Event::InitDone);
}

fn versions(cache: &ReleaseCache, name: &str) -> Vec<(i64, ReleaseStatus)> {
    cache.get("dev", name).iter().map(|summary| (summary.version, summary.status)).collect()
}

fn drain(changes: &mut UnboundedReceiver<ReleaseKey>) -> Vec<String> {
    std::iter::from_fn(|| changes.try_recv().ok()).map(|key| key.name).collect()
}

#[test]
fn revisions_are_newest_first_and_ready_after_the_list() {
    let cache = ReleaseCache::default();
    assert!(!cache.is_ready());
    list(&cache, vec![secret("app", 2, "deployed"), secret("app", 10, "failed"), secret("app", 1, "superseded")]);
    assert!(cache.is_ready());
    let expected = [(10, ReleaseStatus::Failed), (2, ReleaseStatus::Deployed), (1, ReleaseStatus::Superseded)];
    assert_eq!(versions(&cache, "app"), expected);
    assert!(cache.get("dev", "other").is_empty());
}

#[test]
fn a_change_names_its_release_once() {
    let cache = ReleaseCache::default();
    let mut changes = cache.changes();
    cache.handle(Event::Apply(secret("app", 1, "pending-install")));
    cache.handle(Event::Apply(secret("app", 1, "pending-install")));
    cache.handle(Event::Apply(secret("app", 1, "deployed")));
    cache.handle(Event::Delete(secret("app", 1, "deployed")));
    assert_eq!(drain(&mut changes), ["app", "app", "app"]);
    assert!(cache.get("dev", "app").is_empty());
}

#[test]
fn a_new_list_forgets_what_went_meanwhile() {
    let cache = ReleaseCache::default();
    list(&cache, vec![secret("gone", 1, "deployed"), secret("stays", 1, "deployed")]);
    let mut changes = cache.changes();
    list(&cache, vec![secret("stays", 1, "deployed"), secret("new", 1, "deployed")]);
    assert_eq!(drain(&mut changes), ["new", "gone"]);
    assert!(cache.get("dev", "gone").is_empty());
}

#[test]
fn an_unreadable_secret_is_left_alone_until_it_heals() {
    let cache = ReleaseCache::default();
    list(&cache, vec![broken("sh.helm.release.v1.app.v1", "%%"), secret("other", 1, "deployed")]);
    assert!(cache.is_ready());
    assert!(cache.get("dev", "app").is_empty());
    assert_eq!(cache.lock().unreadable.len(), 1);
    cache.handle(Event::Apply(secret("app", 1, "deployed")));
    assert_eq!(versions(&cache, "app").len(), 1);
    assert!(cache.lock().unreadable.is_empty());
}
