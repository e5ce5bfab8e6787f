//! `spec.wait`: are the applied objects healthy?

use super::inventory::{Inventory, ObjectId, api_version};
use crate::health::{self, Health};
use crate::kube_ext::discovery::Resolver;
use futures::StreamExt as _;

/// Objects looked at at the same time.
const CONCURRENCY: usize = 8;
/// How many unhealthy objects a message names.
const SHOWN: usize = 5;

/// Health of everything that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every object is healthy.
    Healthy,
    /// Some are on their way.
    Waiting(String),
    /// Some will not get there by themselves.
    Failed(String),
}

/// Looks at every object of the inventory as it is in the cluster now.
pub async fn look(resolver: &Resolver, inventory: &Inventory) -> Verdict {
    let looks = futures::stream::iter(inventory.entries()).map(|(id, version)| health_of(resolver, id, version));
    let found: Vec<_> = looks.buffered(CONCURRENCY).collect().await;
    judge(&found)
}

async fn health_of(resolver: &Resolver, id: ObjectId, version: String) -> (String, Health) {
    let namespace = Some(id.namespace.as_str()).filter(|namespace| !namespace.is_empty());
    let live = match resolver.api(&api_version(&id.group, &version), &id.kind, namespace).await {
        Ok(api) => api.get_opt(&id.name).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let health = match live {
        Ok(Some(live)) => serde_json::to_value(live)
            .map_or_else(|error| Health::InProgress(error.to_string()), |live| health::assess(&live)),
        Ok(None) => Health::InProgress("it does not exist".to_owned()),
        Err(error) => Health::InProgress(error),
    };
    (id.to_string(), health)
}

fn judge(found: &[(String, Health)]) -> Verdict {
    let healthy = found.iter().filter(|(_, health)| health.is_current()).count();
    let failed = named(found, |health| match health {
        Health::Failed(reason) => Some(reason),
        _ => None,
    });
    if !failed.is_empty() {
        return Verdict::Failed(format!("{healthy} of {} objects are healthy: {failed}", found.len()));
    }
    let waiting = named(found, |health| match health {
        Health::InProgress(reason) => Some(reason),
        _ => None,
    });
    if waiting.is_empty() {
        return Verdict::Healthy;
    }
    Verdict::Waiting(format!("{healthy} of {} objects are healthy, waiting for {waiting}", found.len()))
}

fn named(found: &[(String, Health)], pick: impl Fn(&Health) -> Option<&String>) -> String {
    let picked: Vec<_> = found.iter().filter_map(|(id, health)| Some(format!("{id}: {}", pick(health)?))).collect();
    let mut shown = picked.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    if picked.len() > SHOWN {
        shown.push(format!("and {} more", picked.len() - SHOWN));
    }
    shown.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_come_before_waits_and_are_named() {
        let current = ("A/x".to_owned(), Health::Current);
        let waiting = ("B/x".to_owned(), Health::InProgress("0 of 1 pods".to_owned()));
        let failed = ("C/x".to_owned(), Health::Failed("no".to_owned()));
        assert_eq!(judge(&[]), Verdict::Healthy);
        assert_eq!(judge(std::slice::from_ref(&current)), Verdict::Healthy);
        let text = "1 of 2 objects are healthy, waiting for B/x: 0 of 1 pods";
        assert_eq!(judge(&[current.clone(), waiting.clone()]), Verdict::Waiting(text.to_owned()));
        let text = "1 of 3 objects are healthy: C/x: no";
        assert_eq!(judge(&[current, waiting.clone(), failed]), Verdict::Failed(text.to_owned()));
        let Verdict::Waiting(text) = judge(&vec![waiting; 7]) else { panic!("not waiting") };
        assert!(text.ends_with("; and 2 more"), "{text}");
    }
}
