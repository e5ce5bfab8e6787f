//! Kinds of sources that are accepted and not acted on yet: their status says so, once.
//! `ExternalArtifact` is not among them: its status belongs to the controller that made it.

use std::marker::PhantomData;
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt as _};
use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use serde::Serialize;

use super::lifecycle::Source;
use super::outcome::SourceStatus as _;
use super::outcome::{Failure, is_known, record};
use crate::api::condition;
use crate::controller::{Context, Reconciler, Requeue, conditions};

/// Reconciles `Bucket`.
pub struct NotActedOn<K> {
    context: Context,
    kind: PhantomData<fn() -> K>,
}

impl<K: Source> NotActedOn<K> {
    /// A controller for one kind.
    pub fn new(context: Context) -> Self {
        Self { context, kind: PhantomData }
    }

    /// Nothing but the object itself wakes it.
    pub fn triggers(&self) -> BoxStream<'static, ObjectRef<K>> {
        stream::pending().boxed()
    }
}

impl<K> Reconciler for NotActedOn<K>
where
    K: Source,
    K::Status: Clone + Default + PartialEq + Serialize + Send,
{
    type Object = K;

    async fn reconcile(&self, object: Arc<K>) -> Result<Requeue, kube::Error> {
        let kind = K::kind(&());
        let message = format!("objects of the kind {kind} are not acted on yet");
        let failure = Failure::terminal(condition::FETCH_FAILED, conditions::NOT_ACTED_ON, message);
        let mut status = object.status().cloned().unwrap_or_default();
        let known = is_known(status.common().conditions, &failure);
        let told = failure.message.clone();
        record(&mut status, &Err(failure), object.meta().generation, Timestamp::now());
        self.context.put_status(object.as_ref(), status).await?;
        if !known {
            self.context.reporter.warning(object.as_ref(), conditions::NOT_ACTED_ON, &told, &[]);
        }
        Ok(Requeue::OnChange)
    }
}
