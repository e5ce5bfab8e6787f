//! Which of several operators acts: a `Lease`, as client-go's leader election uses it.
//!
//! ```text
//! look ─► term::next (pure) ─► acquire, renew, wait, or: lost
//! ```

mod fence;
pub mod term;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::steady_clock::now;
use fence::Fence;
use term::{Facts, Loss, Seen, Step, Timing, expiry};

/// How long one request may take: two of them fit between the first that fails and the deadline.
const REQUEST_TIME: Duration = Duration::from_millis(2500);

/// Where a candidate stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It has not seen the lease yet.
    #[default]
    Unknown,
    /// It cannot have the lease.
    Unable {
        /// The reason in words.
        why: String,
        /// It may not have it.
        denied: bool,
    },
    /// Somebody else leads.
    Follows {
        /// Who.
        holder: String,
        /// What that one tells of itself.
        annotations: BTreeMap<String, String>,
    },
    /// It leads.
    Leads,
}

/// Who stands for which lease.
#[derive(Clone, Debug)]
pub struct Candidacy {
    /// Namespace of the lease.
    pub namespace: String,
    /// Name of the lease.
    pub lease: String,
    /// The candidate, another one for each process, or for each data directory.
    pub identity: String,
    /// Annotations of the lease while it leads.
    pub annotations: BTreeMap<String, String>,
}

/// A candidate of an election.
pub struct Elector {
    api: Api<Lease>,
    candidacy: Candidacy,
    timing: Timing,
    facts: Facts,
    lease: Option<Lease>,
    fence: Fence,
    standing: watch::Sender<Standing>,
}

impl Elector {
    /// A candidate that does not stand yet; it should have the client for itself, so that nothing
    /// else is in the way of a renewal.
    pub fn new(client: Client, candidacy: Candidacy) -> Self {
        Self {
            api: Api::namespaced(client, &candidacy.namespace),
            candidacy,
            timing: Timing::default(),
            facts: Facts::default(),
            lease: None,
            fence: Fence::default(),
            standing: watch::Sender::default(),
        }
    }

    /// Where it stands, from now on.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Stands for the lease, and keeps it, until it is lost; or until `leaves`, when it is given
    /// back. The process has to end with a loss: others may act from then on.
    pub async fn run(mut self, leaves: CancellationToken) -> Result<(), Loss> {
        loop {
            match term::next(&self.candidacy.identity, &self.timing, &self.facts, now()) {
                Step::Look => self.look().await,
                Step::Acquire | Step::Renew => self.hold().await,
                Step::Lost(loss) => return Err(loss),
                Step::Wait(pause) => {
                    if leaves.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                        self.give_back().await;
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn look(&mut self) {
        self.facts.asked = Some(now());
        match in_time(self.patience(), self.api.get_opt(&self.candidacy.lease)).await {
            Ok(lease) => {
                self.see(lease);
                self.facts.fresh = true;
            }
            Err(refusal) => self.is_refused(refusal),
        }
    }

    /// Becomes or stays the holder. Somebody else may have been faster, which the answer tells.
    async fn hold(&mut self) {
        for _ in 0..2 {
            let sent = now();
            (self.facts.asked, self.facts.fresh) = (Some(sent), false);
            match self.write(&self.claim(Timestamp::now())).await {
                Ok(lease) => {
                    self.facts.renewed = Some(sent);
                    self.fence.lasts_until(expiry(&self.timing, sent));
                    self.see(Some(lease));
                    self.stands(Standing::Leads);
                    return;
                }
                Err(Refusal::Outdated) => {
                    self.look().await;
                    // A renewal whose answer was lost is followed by another one at once.
                    let own = self.facts.seen.as_ref().is_some_and(|seen| seen.holder == self.candidacy.identity);
                    if !(own && self.facts.fresh && self.facts.renewed.is_some()) {
                        return;
                    }
                }
                Err(refusal) => return self.is_refused(refusal),
            }
        }
    }

    async fn write(&self, lease: &Lease) -> Result<Lease, Refusal> {
        let params = PostParams::default();
        let written = async {
            match &self.lease {
                Some(_) => self.api.replace(&self.candidacy.lease, &params, lease).await,
                None => self.api.create(&params, lease).await,
            }
        };
        in_time(self.patience(), written).await
    }

    /// How long a request may take; a holder must not find out too late that it is none any more.
    fn patience(&self) -> Duration {
        let left = self.facts.renewed.map(|renewed| expiry(&self.timing, renewed).saturating_sub(now()));
        left.map_or(REQUEST_TIME, |left| left.min(REQUEST_TIME))
    }

    /// The lease as it has to be written for this candidate to be its holder.
    fn claim(&self, at: Timestamp) -> Lease {
        let mut lease = self.lease.clone().unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(self.candidacy.lease.clone()), ..ObjectMeta::default() },
            ..Lease::default()
        });
        let before = lease.spec.take().unwrap_or_default();
        let stays = before.holder_identity.as_deref() == Some(self.candidacy.identity.as_str());
        let transitions = before.lease_transitions.unwrap_or_default();
        let first = self.lease.is_none();
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.candidacy.identity.clone()),
            lease_duration_seconds: i32::try_from(self.timing.duration.as_secs()).ok(),
            acquire_time: if stays { before.acquire_time } else { Some(MicroTime(at)) },
            renew_time: Some(MicroTime(at)),
            lease_transitions: Some(if stays || first { transitions } else { transitions.saturating_add(1) }),
            ..before
        });
        lease.metadata.annotations = Some(self.candidacy.annotations.clone());
        lease
    }

    /// Lets the next one start at once. A failure costs that one the lease's duration.
    async fn give_back(&mut self) {
        if self.facts.renewed.take().is_none() {
            return;
        }
        self.fence.is_lifted();
        let Some(mut lease) = self.lease.clone() else { return };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        if self.write(&lease).await.is_ok() {
            tracing::info!(lease = self.candidacy.lease, "gave the lease back");
        } else {
            tracing::warn!(lease = self.candidacy.lease, "the lease could not be given back");
        }
    }

    fn see(&mut self, lease: Option<Lease>) {
        let version = |lease: Option<&Lease>| lease.and_then(|lease| lease.metadata.resource_version.clone());
        if self.facts.seen.is_none() || version(lease.as_ref()) != version(self.lease.as_ref()) {
            self.facts.seen = lease.as_ref().map(seen);
        }
        self.lease = lease;
        let Some(seen) = self.facts.seen.as_ref().filter(|seen| seen.holder != self.candidacy.identity) else { return };
        if !seen.holder.is_empty() {
            let annotations = self.lease.as_ref().and_then(|lease| lease.metadata.annotations.clone());
            let annotations = annotations.unwrap_or_default();
            self.stands(Standing::Follows { holder: seen.holder.clone(), annotations });
        }
    }

    fn is_refused(&self, refusal: Refusal) {
        let (why, denied) = match refusal {
            Refusal::Outdated => return,
            Refusal::Denied(why) => (why, true),
            Refusal::Failed(why) => (why, false),
        };
        if self.facts.renewed.is_some() {
            tracing::warn!(lease = self.candidacy.lease, why, "the lease could not be renewed, trying again");
        } else {
            self.stands(Standing::Unable { why, denied });
        }
    }

    fn stands(&self, standing: Standing) {
        self.standing.send_if_modified(|known| {
            let changed = *known != standing;
            *known = standing;
            changed
        });
    }
}

enum Refusal {
    /// The lease is not as it was seen.
    Outdated,
    /// The operator has no right to it.
    Denied(String),
    /// The API server does not answer, or with an error.
    Failed(String),
}

async fn in_time<T>(patience: Duration, answer: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Refusal> {
    match tokio::time::timeout(patience, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(refusal(&error)),
        Err(_) => Err(Refusal::Failed(format!("the API server does not answer within {patience:.1?}"))),
    }
}

fn refusal(error: &kube::Error) -> Refusal {
    match error {
        kube::Error::Api(status) if status.is_forbidden() => Refusal::Denied(status.message.clone()),
        kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => Refusal::Outdated,
        // Either the lease was removed, or its namespace does not exist.
        kube::Error::Api(status) if status.is_not_found() && !status.message.contains("namespaces") => {
            Refusal::Outdated
        }
        kube::Error::Api(status) => Refusal::Failed(status.message.clone()),
        error => Refusal::Failed(crate::cause::innermost(error).to_string()),
    }
}

fn seen(lease: &Lease) -> Seen {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    Seen {
        holder: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
        duration: Duration::from_secs(seconds.unwrap_or_default()),
        since: now(),
    }
}
