//! The rights without which the operator cannot do its work at all. What a single object needs
//! besides is said on that object.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::stream;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};

use super::Obstacle;
use crate::api::kinds::{Kind, Usage};
use crate::args::Config;

/// Part of readiness: what the operator may do.
const RIGHTS: &str = "permissions";

/// Questions to the API server at a time.
const AT_A_TIME: usize = 8;

/// A verb on a resource, or a part of it (`status`), of a group, in a namespace or in all.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Right {
    verb: &'static str,
    group: String,
    resource: String,
    subresource: Option<&'static str>,
    namespace: Option<String>,
}

/// The rights that are missing, by one obstacle.
pub async fn look(config: &Config, client: &Client) -> Option<Obstacle> {
    let reviews = Api::<SelfSubjectAccessReview>::all(client.clone());
    let denied = stream::iter(needed(config)).map(|right| {
        let reviews = reviews.clone();
        async move { is_denied(&reviews, &right).await.then_some(right) }
    });
    let denied: Vec<Right> = denied.buffered(AT_A_TIME).filter_map(std::future::ready).collect().await;
    if denied.is_empty() {
        return None;
    }
    Some(Obstacle { part: RIGHTS, why: words(&user(client).await, &denied) })
}

/// Whether the API server says no; that it cannot be asked is told by other checks.
async fn is_denied(reviews: &Api<SelfSubjectAccessReview>, right: &Right) -> bool {
    let attributes = ResourceAttributes {
        verb: Some(right.verb.to_owned()),
        group: Some(right.group.clone()),
        resource: Some(right.resource.clone()),
        subresource: right.subresource.map(str::to_owned),
        namespace: right.namespace.clone(),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..Default::default() };
    let answer = reviews.create(&PostParams::default(), &review).await;
    answer.is_ok_and(|review| review.status.is_some_and(|status| !status.allowed))
}

async fn user(client: &Client) -> String {
    let reviews = Api::<SelfSubjectReview>::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await;
    let name = answer.ok().and_then(|review| review.status?.user_info?.username);
    name.unwrap_or_else(|| "of this operator".to_owned())
}

fn words(user: &str, denied: &[Right]) -> String {
    let mut verbs: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for right in denied {
        let place = right.namespace.as_ref().map_or("all namespaces".to_owned(), |name| format!("namespace {name}"));
        let dot = if right.group.is_empty() { "" } else { "." };
        let slash = if right.subresource.is_some() { "/" } else { "" };
        let subresource = right.subresource.unwrap_or_default();
        let resource = format!("{}{dot}{}{slash}{subresource}", right.resource, right.group);
        verbs.entry((place, resource)).or_default().push(right.verb);
    }
    let lines = verbs.iter().map(|((place, resource), verbs)| format!("{} {resource} in {place}", verbs.join(", ")));
    let lines = lines.collect::<Vec<_>>().join("; ");
    format!("the user {user} may not: {lines}; give it a Role or ClusterRole with these verbs")
}

/// What the chosen controllers need.
fn needed(config: &Config) -> Vec<Right> {
    let mut rights = Vec::new();
    let mut need = |(group, resource, subresource): (&str, &str, Option<&'static str>),
                    namespace: Option<&String>,
                    verbs: &[&'static str]| {
        rights.extend(verbs.iter().map(|verb| Right {
            verb,
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource,
            namespace: namespace.cloned(),
        }));
    };
    let place = config.watch_namespace.as_ref();
    for Kind { resource, part, usage, .. } in config.watched_kinds() {
        let (group, plural) = (resource.group.as_str(), resource.plural.as_str());
        need((group, plural, None), place, &["list", "watch"]);
        if usage == Usage::Reconciled && config.runs(part) {
            need((group, plural, None), place, &["patch"]);
            need((group, plural, Some("status")), place, &["patch"]);
        }
    }
    need(("", "secrets", None), place, &["get", "list", "watch"]);
    need(("", "configmaps", None), place, &["get", "list", "watch"]);
    need(("", "events", None), place, &["create"]);
    if let Some(election) = config.election.as_ref().filter(|election| election.wanted) {
        let verbs = ["get", "create", "update"];
        need(("coordination.k8s.io", "leases", None), Some(&election.namespace), &verbs);
    }
    rights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_by_place_and_resource() {
        let right = |verb, group: &str, resource: &str, namespace: Option<&str>| Right {
            verb,
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: None,
            namespace: namespace.map(str::to_owned),
        };
        let source = "source.toolkit.fluxcd.io";
        let denied = [
            right("list", source, "buckets", None),
            right("watch", source, "buckets", None),
            Right { subresource: Some("status"), ..right("patch", source, "buckets", None) },
            right("get", "", "secrets", Some("apps")),
        ];
        assert_eq!(
            words("me", &denied),
            "the user me may not: list, watch buckets.source.toolkit.fluxcd.io in all namespaces; patch \
             buckets.source.toolkit.fluxcd.io/status in all namespaces; get secrets in namespace apps; give it a Role \
             or ClusterRole with these verbs"
        );
    }
}
