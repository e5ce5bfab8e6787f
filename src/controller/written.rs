//! What this process wrote last, for as long as the watch has not caught up with it.

use std::any::{Any, type_name};
use std::collections::hash_map::{Entry, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Resource;

use super::{Cache, Watched, namespaced_name};

type Key = (&'static str, String, String);
type Objects = HashMap<Key, Arc<dyn Any + Send + Sync>>;

/// The objects as last written. Cheap to clone.
#[derive(Clone, Default)]
pub struct Written(Arc<Mutex<Objects>>);

impl Written {
    /// Keeps an object as the API server stored it.
    pub fn keep<K: Watched>(&self, stored: Arc<K>) {
        self.locked().insert(key(stored.as_ref()), stored);
    }

    /// The newest known state of an object that a pass was asked for.
    pub fn freshest<K: Watched>(&self, asked: Arc<K>, cache: &Cache<K>) -> Arc<K> {
        // Before the cache is read: what is not kept any more is in the cache by now, while the
        // object at hand may have been taken out of it earlier than that.
        let written = self.locked().get(&key(asked.as_ref())).cloned();
        let (namespace, name) = namespaced_name(asked.as_ref());
        let watched = cache.get(&namespace, &name).unwrap_or(asked);
        let written = written.and_then(|object| object.downcast::<K>().ok());
        written.filter(|written| is_newer(written.as_ref(), watched.as_ref())).unwrap_or(watched)
    }

    /// The cache has got that far: what was written before, or is this very write, need not be kept.
    pub fn caught_up<K: Watched>(&self, watched: &K) {
        if let Entry::Occupied(kept) = self.locked().entry(key(watched))
            && !kept.get().downcast_ref::<K>().is_some_and(|written| is_newer(written, watched))
        {
            kept.remove();
        }
    }

    /// Forgets an object that is gone; another one of its name may be there already.
    pub fn forget<K: Watched>(&self, object: &K) {
        if let Entry::Occupied(kept) = self.locked().entry(key(object))
            && kept.get().downcast_ref::<K>().is_none_or(|written| written.meta().uid == object.meta().uid)
        {
            kept.remove();
        }
    }

    fn locked(&self) -> MutexGuard<'_, Objects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key<K: Watched>(object: &K) -> Key {
    let (namespace, name) = namespaced_name(object);
    (type_name::<K>(), namespace, name)
}

/// Resource versions of one object are comparable numbers (Kubernetes 1.35 and newer promise it,
/// older ones do it).
fn is_newer<K: Resource>(one: &K, other: &K) -> bool {
    let version = |object: &K| object.meta().resource_version.as_deref().and_then(|v| v.parse::<u128>().ok());
    one.meta().uid == other.meta().uid && version(one) > version(other)
}

#[cfg(test)]
mod tests {
    use super::super::cache::after;
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;

    fn object(uid: &str, version: &str) -> Arc<ConfigMap> {
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some("default".to_owned());
        object.metadata.name = Some("a".to_owned());
        object.metadata.uid = Some(uid.to_owned());
        object.metadata.resource_version = Some(version.to_owned());
        Arc::new(object)
    }

    fn cache(states: &[&Arc<ConfigMap>]) -> Cache<ConfigMap> {
        after(states.iter().map(|state| state.as_ref().clone()))
    }

    fn version(object: &ConfigMap) -> &str {
        object.metadata.resource_version.as_deref().unwrap()
    }

    #[test]
    fn newer_is_a_number_of_the_same_object() {
        assert!(is_newer(object("a", "10").as_ref(), object("a", "9").as_ref()));
        assert!(!is_newer(object("a", "9").as_ref(), object("a", "9").as_ref()));
        assert!(!is_newer(object("b", "10").as_ref(), object("a", "9").as_ref()));
    }

    #[test]
    fn a_write_counts_until_the_watch_shows_it() {
        let written = Written::default();
        let (old, new) = (object("a", "9"), object("a", "10"));
        written.keep(new.clone());
        let behind = cache(&[&old]);
        assert_eq!(version(&written.freshest(old.clone(), &behind)), "10");
        written.caught_up(old.as_ref());
        assert_eq!(version(&written.freshest(old.clone(), &behind)), "10", "not caught up yet");
        written.caught_up(new.as_ref());
        assert!(written.locked().is_empty());
    }

    #[test]
    fn a_pass_that_was_asked_for_before_the_watch_caught_up_sees_the_write() {
        let written = Written::default();
        let (old, new) = (object("a", "9"), object("a", "10"));
        written.keep(new.clone());
        let caught_up = cache(&[&old, &new]);
        written.caught_up(new.as_ref());
        assert_eq!(version(&written.freshest(old, &caught_up)), "10");
    }

    #[test]
    fn the_end_of_an_object_is_not_that_of_the_next_one_of_its_name() {
        let written = Written::default();
        written.keep(object("b", "12"));
        written.forget(object("a", "10").as_ref());
        assert_eq!(written.locked().len(), 1);
        written.forget(object("b", "11").as_ref());
        assert!(written.locked().is_empty());
    }

    #[test]
    fn an_object_that_was_made_anew_is_not_what_was_written() {
        let written = Written::default();
        let (old, new) = (object("a", "9"), object("b", "12"));
        written.keep(object("a", "10"));
        assert_eq!(version(&written.freshest(old.clone(), &cache(&[&new]))), "12");
        assert_eq!(version(&written.freshest(old, &cache(&[]))), "10", "gone, as the watch says");
    }
}
