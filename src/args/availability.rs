//! Flags about several operators, and about how one ends.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::Args;

use crate::api::meta;
use crate::selector::{LabelSelector, LabelSelectorError};
use crate::source::digest::sha256;

/// Where a pod's namespace is written.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Name of the lease of operators that look after everything.
pub(super) const LEASE: &str = "fairlead";

/// Arguments of `fairlead run` that are about several operators, and about how one ends.
#[derive(Args, Clone, Debug)]
pub struct AvailabilityArgs {
    /// Stand for the lease `fairlead`: of several operators one works, the others wait. Without this flag an operator
    /// in a pod takes the lease where it can and says so when somebody else has it; `=false` does without.
    #[arg(long, env = "FAIRLEAD_LEADER_ELECT", value_name = "BOOL",
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub leader_elect: Option<bool>,
    /// Namespace of the lease; the pod's own by default.
    #[arg(long, env = "FAIRLEAD_LEADER_ELECTION_NAMESPACE", value_name = "NAMESPACE")]
    pub leader_election_namespace: Option<String>,
    /// Look after objects with matching labels only (`sharding.fluxcd.io/key in (a)`, `!sharding.fluxcd.io/key`); what
    /// they refer to may have any.
    #[arg(long, env = "FAIRLEAD_WATCH_LABEL_SELECTOR", value_name = "SELECTOR")]
    pub watch_label_selector: Option<String>,
    /// How long work under way may take to end after SIGTERM; a pod's `terminationGracePeriodSeconds` has to be longer.
    #[arg(long, env = "FAIRLEAD_GRACEFUL_SHUTDOWN_TIMEOUT", default_value = "25s", value_name = "DURATION")]
    pub graceful_shutdown_timeout: meta::Duration,
    /// The pod's namespace, as the downward API tells it.
    #[arg(long, env = "POD_NAMESPACE", hide = true)]
    pub pod_namespace: Option<String>,
    /// The pod's name, as the downward API tells it.
    #[arg(long, env = "POD_NAME", hide = true)]
    pub pod_name: Option<String>,
    /// The pod's address, as the downward API tells it.
    #[arg(long, env = "POD_IP", hide = true)]
    pub pod_ip: Option<std::net::IpAddr>,
}

/// Whether, and where, an operator stands for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// Nothing is done without the lease, and waiting for it is what is meant.
    pub wanted: bool,
    /// Namespace of the lease.
    pub namespace: String,
    /// Name of the lease.
    pub lease: String,
    /// Begin of the candidate's name.
    pub name: String,
}

/// Leader election is asked for, and nobody says where.
#[derive(Debug, thiserror::Error)]
#[error("--leader-elect: set --leader-election-namespace (or POD_NAMESPACE) to the namespace of the lease")]
pub struct NoNamespace;

impl AvailabilityArgs {
    /// The election that these flags ask for; none where none is possible or wanted. Operators of
    /// different scopes do not stand against each other.
    pub fn election(&self, scope: &[&str]) -> Result<Option<Election>, NoNamespace> {
        if self.leader_elect == Some(false) {
            return Ok(None);
        }
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let own = || given(&self.pod_namespace).or_else(|| read(Path::new(NAMESPACE_FILE)));
        let wanted = self.leader_elect == Some(true);
        match given(&self.leader_election_namespace).or_else(own) {
            None if wanted => Err(NoNamespace),
            None => Ok(None),
            Some(namespace) => {
                let name = given(&self.pod_name).or_else(|| read(Path::new("/etc/hostname")));
                let name = name.unwrap_or_else(|| LEASE.to_owned());
                Ok(Some(Election { wanted, namespace, lease: lease(scope), name }))
            }
        }
    }

    /// The label selector as it was given; empty for none.
    pub fn selector(&self) -> &str {
        self.watch_label_selector.as_deref().unwrap_or_default()
    }

    /// Which objects are looked after; none for all.
    pub fn shard(&self) -> Result<Option<LabelSelector>, LabelSelectorError> {
        let given = Some(self.selector()).filter(|text| !text.trim().is_empty());
        given.map(str::parse).transpose()
    }

    /// How long work under way may take to end.
    pub fn grace(&self) -> Duration {
        self.graceful_shutdown_timeout.to_std()
    }

    /// Where other pods reach what is served on an address; none where that is not known.
    pub fn reached_at(&self, listen: SocketAddr) -> Option<String> {
        let ip = if listen.ip().is_unspecified() { self.pod_ip? } else { listen.ip() };
        Some(SocketAddr::new(ip, listen.port()).to_string())
    }
}

fn read(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The lease of operators with this scope.
fn lease(scope: &[&str]) -> String {
    if scope.iter().all(|part| part.is_empty()) {
        return LEASE.to_owned();
    }
    format!("{LEASE}-{}", &sha256(scope.join("\n").as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(leader_elect: Option<bool>, namespace: Option<&str>) -> AvailabilityArgs {
        AvailabilityArgs {
            leader_elect,
            leader_election_namespace: namespace.map(str::to_owned),
            watch_label_selector: None,
            graceful_shutdown_timeout: Duration::from_secs(1).into(),
            pod_namespace: None,
            pod_name: Some("fairlead-0".to_owned()),
            pod_ip: None,
        }
    }

    #[test]
    fn an_election_needs_a_place_and_can_be_left_out() {
        let election = args(Some(true), Some("flux-system")).election(&["", ""]).unwrap().expect("one");
        assert_eq!(
            (election.wanted, election.lease.as_str(), election.name.as_str()),
            (true, "fairlead", "fairlead-0")
        );
        assert_eq!(args(Some(false), Some("flux-system")).election(&[]).unwrap(), None);
        let unasked = args(None, Some("flux-system")).election(&[]).unwrap();
        assert!(unasked.is_some_and(|election| !election.wanted));
        let error = args(Some(true), None).election(&[]).expect_err("no namespace").to_string();
        assert!(error.contains("--leader-election-namespace"), "{error}");
    }

    #[test]
    fn scopes_have_leases_of_their_own() {
        let (one, other) = (lease(&["a", ""]), lease(&["", "a"]));
        assert!(one.starts_with("fairlead-") && one.len() == "fairlead-".len() + 8);
        assert_ne!(one, other);
        assert_eq!(lease(&["", ""]), "fairlead");
    }

    #[test]
    fn an_address_that_others_can_use() {
        let given = AvailabilityArgs { pod_ip: Some([10, 0, 0, 7].into()), ..args(None, None) };
        assert_eq!(given.reached_at("0.0.0.0:9090".parse().unwrap()).as_deref(), Some("10.0.0.7:9090"));
        assert_eq!(given.reached_at("127.0.0.1:9090".parse().unwrap()).as_deref(), Some("127.0.0.1:9090"));
        assert_eq!(args(None, None).reached_at("0.0.0.0:9090".parse().unwrap()), None);
    }
}
