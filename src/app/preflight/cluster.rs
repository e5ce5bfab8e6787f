//! The API server: whether it answers, is new enough, and knows the kinds.

use std::collections::{BTreeMap, BTreeSet};

use kube::Client;

use super::Obstacle;
use crate::api::kinds::Kind;
use crate::args::Config;
use crate::cause::innermost;

/// Part of readiness: the API server itself.
pub const API_SERVER: &str = "the API server";
/// Part of readiness: the kinds.
const KINDS: &str = "custom resource definitions";

/// The first minor version of Kubernetes 1 that has all that the definitions ask for.
const OLDEST: u32 = 29;

/// What is wrong with the API server.
pub async fn look(config: &Config, client: &Client) -> Vec<Obstacle> {
    let version = match client.apiserver_version().await {
        Ok(version) => version,
        Err(error) => {
            return vec![Obstacle { part: API_SERVER, why: format!("it does not answer: {}", innermost(&error)) }];
        }
    };
    if let Err(why) = judge(&version.major, &version.minor) {
        return vec![Obstacle { part: API_SERVER, why }];
    }
    match missing(client, &by_version(config.watched_kinds())).await {
        Ok(missing) if missing.is_empty() => Vec::new(),
        Ok(missing) => vec![Obstacle { part: KINDS, why: not_installed(&missing) }],
        Err(error) => vec![Obstacle { part: API_SERVER, why: innermost(&error).to_string() }],
    }
}

/// Whether a version of Kubernetes will do. Some add a plus sign.
fn judge(major: &str, minor: &str) -> Result<(), String> {
    let digits = |text: &str| text.trim_end_matches(|last: char| !last.is_ascii_digit()).parse::<u32>().ok();
    match (digits(major), digits(minor)) {
        (Some(1), Some(minor)) if minor < OLDEST => {
            Err(format!("it is Kubernetes 1.{minor}; upgrade the cluster: 1.{OLDEST} or newer is needed"))
        }
        _ => Ok(()),
    }
}

/// Kinds by group and version.
type Kinds = BTreeMap<String, BTreeSet<String>>;

fn by_version(wanted: impl Iterator<Item = Kind>) -> Kinds {
    let mut kinds = Kinds::new();
    for Kind { resource, .. } in wanted {
        kinds.entry(resource.api_version).or_default().insert(resource.kind);
    }
    kinds
}

async fn missing(client: &Client, wanted: &Kinds) -> Result<Kinds, kube::Error> {
    let mut missing = Kinds::new();
    for (api_version, kinds) in wanted {
        let served = match client.list_api_group_resources(api_version).await {
            Ok(list) => list.resources.into_iter().map(|resource| resource.kind).collect(),
            // The answer of a group that nobody serves is no object.
            Err(kube::Error::Api(status)) if status.code == 404 => BTreeSet::new(),
            Err(error) => return Err(error),
        };
        let lacking: BTreeSet<_> = kinds.difference(&served).cloned().collect();
        if !lacking.is_empty() {
            missing.insert(api_version.clone(), lacking);
        }
    }
    Ok(missing)
}

fn not_installed(missing: &Kinds) -> String {
    let names = missing.iter().map(|(api_version, kinds)| {
        let kinds: Vec<_> = kinds.iter().map(String::as_str).collect();
        format!("{} ({api_version})", kinds.join(", "))
    });
    let names = names.collect::<Vec<_>>().join("; ");
    format!(
        "the API server does not know {names}; run: fairlead crds | kubectl apply --server-side --force-conflicts -f -"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kinds::{self, Part};

    #[test]
    fn an_old_api_server_is_refused() {
        assert_eq!(judge("1", "36"), Ok(()));
        assert_eq!(judge("1", "29+"), Ok(()));
        assert_eq!(
            judge("1", "28+").unwrap_err(),
            "it is Kubernetes 1.28; upgrade the cluster: 1.29 or newer is needed"
        );
        assert_eq!(judge("2", "0"), Ok(()));
        assert_eq!(judge("", "unknown"), Ok(()), "not for us to say");
    }

    #[test]
    fn missing_kinds_are_named_with_what_installs_them() {
        let helm = kinds::all().into_iter().filter(|kind| kind.part == Part::Helm);
        let words = not_installed(&by_version(helm));
        assert!(
            words.starts_with("the API server does not know HelmRelease (helm.toolkit.fluxcd.io/v2); run: "),
            "{words}"
        );
    }
}
