//! Whether this operator is the one that acts, and what it says and does while it is not.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::args::{Config, Election};
use crate::forward::Desk;
use crate::http::Readiness;
use crate::kube_ext::lease::{Candidacy, Standing};

/// Annotation of the lease: where the holder serves its artifacts.
const ADDRESS: &str = "fairlead.dev/address";
/// Annotation of the lease: where the holder receives webhooks.
const RECEIVER_ADDRESS: &str = "fairlead.dev/receiver-address";

/// The part of the operator that is not ready while it is not known who leads.
const PART: &str = "leader election";

/// Where requests are answered that this process does not answer while it does not lead.
#[derive(Default)]
pub struct Desks {
    /// Requests for artifacts.
    pub artifacts: watch::Sender<Desk>,
    /// Webhooks.
    pub webhooks: watch::Sender<Desk>,
}

impl Desks {
    /// This process answers them all.
    pub fn open(&self) {
        self.artifacts.send_replace(Desk::Here);
        self.webhooks.send_replace(Desk::Here);
    }

    fn pass_on(&self, annotations: &BTreeMap<String, String>) {
        let at = |key: &str| annotations.get(key).map_or(Desk::Closed, |address| Desk::At(address.clone()));
        self.artifacts.send_replace(at(ADDRESS));
        self.webhooks.send_replace(at(RECEIVER_ADDRESS));
    }
}

/// What this operator stands with; `identity` is its data directory's.
pub fn candidacy(config: &Config, election: &Election, identity: &str) -> Candidacy {
    let addresses =
        [(ADDRESS, &config.reached_at), (RECEIVER_ADDRESS, &config.receiver_reached_at)].map(|(key, address)| {
            let address = address.as_ref()?;
            Some((key.to_owned(), address.clone()))
        });
    Candidacy {
        namespace: election.namespace.clone(),
        lease: election.lease.clone(),
        identity: format!("{}_{identity}", election.name),
        annotations: addresses.into_iter().flatten().collect(),
    }
}

/// How the wait for the lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attained {
    /// This operator leads.
    Lease,
    /// It may not have the lease, and nobody asked for one.
    NoLease,
}

/// Nothing is known of the lease yet.
pub fn unseen(Election { namespace, lease, .. }: &Election, readiness: &Readiness) {
    readiness.lacks(PART, &format!("the lease {namespace}/{lease} has not been seen yet"));
}

/// This operator may act.
pub fn settled(readiness: &Readiness) {
    readiness.has(PART);
    readiness.note(PART, None);
}

/// Waits until this operator may act. Readiness and the desks say where things stand meanwhile.
pub async fn attained(
    mut standing: watch::Receiver<Standing>,
    election: &Election,
    readiness: &Readiness,
    desks: &Desks,
) -> Attained {
    let Election { namespace, lease, wanted, .. } = election;
    loop {
        match standing.borrow_and_update().clone() {
            Standing::Unknown => {}
            Standing::Leads => break,
            Standing::Unable { denied: true, why } if !wanted => {
                tracing::warn!(namespace, lease, why, "no lease: nothing keeps a second operator from acting");
                return Attained::NoLease;
            }
            Standing::Unable { why, .. } => unable(election, &why, readiness),
            Standing::Follows { holder, annotations } => {
                follows(election, &holder, readiness);
                desks.pass_on(&annotations);
            }
        }
        // The elector lives as long as the process acts.
        if standing.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
    tracing::info!(namespace, lease, "leads: this operator works from now on");
    Attained::Lease
}

fn unable(election: &Election, why: &str, readiness: &Readiness) {
    let Election { namespace, lease, .. } = election;
    if readiness.lacks(PART, &format!("the lease {namespace}/{lease} cannot be had: {why}")) {
        tracing::warn!(namespace, lease, why, "the lease cannot be had; nothing is done without it");
    }
}

fn follows(election: &Election, holder: &str, readiness: &Readiness) {
    let Election { namespace, lease, wanted, .. } = election;
    if *wanted {
        tracing::info!(namespace, lease, holder, "stands by: another operator leads");
        readiness.note(PART, Some(format!("stands by, {holder} leads")));
        readiness.has(PART);
        return;
    }
    let why = format!(
        "{holder} works already, by the lease {namespace}/{lease}; stop one of the two, or give both --leader-elect"
    );
    if readiness.lacks(PART, &why) {
        tracing::error!(namespace, lease, holder, "another operator works already; this one waits until it ends");
    }
}
