//! From the path of a request to the receiver that it is for.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use zeroize::Zeroizing;

use super::bucket::Bucket;
use super::target::Target;
use crate::api::notification::v1::ReceiverType;
use crate::cel::Expression;
use crate::source::digest;

/// Namespace and name of a receiver.
pub type Key = (String, String);

/// A receiver that takes requests.
pub struct Route {
    /// Who it is.
    pub key: Key,
    /// Its type.
    pub kind: ReceiverType,
    /// What the sender proves to know.
    pub token: Zeroizing<Vec<u8>>,
    /// Events to act on.
    pub events: Vec<String>,
    /// Objects that it is about.
    pub targets: Vec<Target>,
    /// The filter for all of them.
    pub filter: Option<Expression>,
    /// How often it may be called.
    pub rate: Bucket,
}

/// All routes. Cheap to clone.
#[derive(Clone)]
pub struct Routes {
    table: Arc<Mutex<Table>>,
    passed: Arc<watch::Sender<HashSet<Key>>>,
}

#[derive(Default)]
struct Table {
    routes: HashMap<String, Arc<Route>>,
    paths: HashMap<Key, String>,
}

/// The path of a receiver's webhook, as Flux makes it.
pub fn path(token: &[u8], key: &Key) -> String {
    let (namespace, name) = key;
    let salted = Zeroizing::new([token, name.as_bytes(), namespace.as_bytes()].concat());
    format!("/hook/{}", digest::sha256(&salted))
}

impl Default for Routes {
    fn default() -> Self {
        Self { table: Arc::default(), passed: Arc::new(watch::Sender::new(HashSet::new())) }
    }
}

impl Routes {
    /// Opens a route at a path, in place of the receiver's former one. The receiver that has the
    /// path already keeps it and is the error: names and tokens that follow one another can read
    /// the same.
    pub fn open(&self, path: &str, route: Route) -> Result<(), Key> {
        let mut table = self.locked();
        if let Some(other) = table.routes.get(path).filter(|other| other.key != route.key) {
            return Err(other.key.clone());
        }
        let key = route.key.clone();
        if let Some(former) = table.paths.insert(key, path.to_owned()).filter(|former| former != path) {
            table.routes.remove(&former);
        }
        table.routes.insert(path.to_owned(), Arc::new(route));
        Ok(())
    }

    /// Closes a receiver's route, if it has one.
    pub fn close(&self, key: &Key) {
        let mut table = self.locked();
        if let Some(path) = table.paths.remove(key) {
            table.routes.remove(&path);
        }
    }

    /// The route at a path.
    pub fn at(&self, path: &str) -> Option<Arc<Route>> {
        self.locked().routes.get(path).cloned()
    }

    /// Tells that a receiver was looked at.
    pub fn passed(&self, key: &Key) {
        self.passed.send_if_modified(|passed| passed.insert(key.clone()));
    }

    /// Waits until all of these were looked at.
    pub async fn all_passed(&self, keys: &[Key]) {
        let mut passed = self.passed.subscribe();
        // The sender lives in this very object, so this cannot fail.
        let _ = passed.wait_for(|passed| keys.iter().all(|key| passed.contains(key))).await;
    }

    fn locked(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::bucket::Rate;

    fn key(namespace: &str, name: &str) -> Key {
        (namespace.to_owned(), name.to_owned())
    }

    fn route(key: &Key) -> Route {
        Route {
            key: key.clone(),
            kind: ReceiverType::Generic,
            token: Zeroizing::new(b"token".to_vec()),
            events: Vec::new(),
            targets: Vec::new(),
            filter: None,
            rate: Bucket::new(Rate { burst: 1, per_second: 1 }),
        }
    }

    #[test]
    fn the_path_is_the_hash_of_token_name_and_namespace() {
        // `printf tokengithub-receiverflux-system | sha256sum`
        let expected = "8ed710969b945c0dc10d6d0b5084e120ec2228353d1fe42d56be5ba88500e684";
        assert_eq!(path(b"token", &key("flux-system", "github-receiver")), format!("/hook/{expected}"));
    }

    #[test]
    fn a_path_belongs_to_one_receiver_and_moves_with_its_token() {
        let routes = Routes::default();
        let (one, two) = (key("c", "ab"), key("bc", "a"));
        assert_eq!(path(b"t", &one), path(b"t", &two));
        routes.open("/hook/1", route(&one)).expect("a free path");
        assert_eq!(routes.open("/hook/1", route(&two)), Err(one.clone()));
        routes.open("/hook/2", route(&one)).expect("a free path");
        assert!(routes.at("/hook/1").is_none() && routes.at("/hook/2").is_some());
        routes.close(&two);
        assert!(routes.at("/hook/2").is_some());
        routes.close(&one);
        assert!(routes.at("/hook/2").is_none());
    }
}
