//! Objects that somebody outside of the cluster asks to look at now, such as a webhook: in this
//! process at once, without a write to the API server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::wake::stream_of;
use super::{Watched, namespaced_name};

/// Group and kind.
type Kind = (String, String);
/// Namespace and name.
type Name = (String, String);

/// Passes requests to look at an object on to the controller of its kind. Cheap to clone.
#[derive(Clone, Default)]
pub struct Wakes(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    controllers: HashMap<Kind, UnboundedSender<Name>>,
    last: HashMap<(Kind, Name), Instant>,
}

impl Wakes {
    /// The objects of a kind that are to be looked at, from now on, for the controller of the kind.
    pub fn subscribe<K: Watched>(&self) -> BoxStream<'static, ObjectRef<K>> {
        let (sender, receiver) = unbounded_channel();
        self.locked().controllers.insert(kind::<K>(), sender);
        stream_of(receiver).map(|(namespace, name): Name| ObjectRef::new(&name).within(&namespace)).boxed()
    }

    /// Whether a controller of this process looks after a kind.
    pub fn reach(&self, group: &str, kind: &str) -> bool {
        self.locked().controllers.contains_key(&(group.to_owned(), kind.to_owned()))
    }

    /// Has an object looked at; nothing happens when no controller looks after its kind.
    pub fn wake(&self, group: &str, kind: &str, namespace: &str, name: &str) {
        let (kind, name) = ((group.to_owned(), kind.to_owned()), (namespace.to_owned(), name.to_owned()));
        let mut inner = self.locked();
        // Noted before the pass begins, which asks for it.
        inner.last.insert((kind.clone(), name.clone()), Instant::now());
        if let Some(controller) = inner.controllers.get(&kind) {
            // A controller that has ended takes no more work.
            let _ = controller.send(name);
        }
    }

    /// When an object was asked for last.
    pub fn last<K: Watched>(&self, object: &K) -> Option<Instant> {
        self.locked().last.get(&(kind::<K>(), namespaced_name(object))).copied()
    }

    /// Forgets an object that is gone.
    pub fn forget<K: Watched>(&self, object: &K) {
        self.locked().last.remove(&(kind::<K>(), namespaced_name(object)));
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kind<K: Watched>() -> Kind {
    (K::group(&()).into_owned(), K::kind(&()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;

    #[tokio::test]
    async fn a_request_reaches_the_controller_of_its_kind_alone() {
        let wakes = Wakes::default();
        let mut woken = wakes.subscribe::<ConfigMap>();
        assert!(wakes.reach("", "ConfigMap") && !wakes.reach("", "Secret") && !wakes.reach("apps", "ConfigMap"));
        wakes.wake("", "Secret", "a", "other");
        wakes.wake("", "ConfigMap", "a", "b");
        let first = woken.next().await.expect("an object");
        assert_eq!((first.namespace.as_deref(), first.name.as_str()), (Some("a"), "b"));

        let mut object = ConfigMap::default();
        object.metadata.namespace = Some("a".to_owned());
        object.metadata.name = Some("b".to_owned());
        assert!(wakes.last(&object).is_some());
        wakes.forget(&object);
        assert!(wakes.last(&object).is_none());
    }
}
