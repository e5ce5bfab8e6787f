//! `Provider`.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::api::meta::{Duration, LocalObjectReference};
use crate::api::schema::{self, lenient, string_enum};

string_enum! {
    /// Whom a notification is sent to, and so what it looks like.
    #[allow(missing_docs, reason = "each case is the service that it is named after")]
    pub enum ProviderType {
        Slack => "slack",
        Discord => "discord",
        MsTeams => "msteams",
        Rocket => "rocket",
        /// Any HTTP server: the event as it is.
        #[default]
        Generic => "generic",
        /// Any HTTP server: the event as it is, signed with the token.
        GenericHmac => "generic-hmac",
        GitHub => "github",
        GitLab => "gitlab",
        Gitea => "gitea",
        GiteaPullRequestComment => "giteapullrequestcomment",
        BitbucketServer => "bitbucketserver",
        Bitbucket => "bitbucket",
        AzureDevOps => "azuredevops",
        GoogleChat => "googlechat",
        GooglePubSub => "googlepubsub",
        Webex => "webex",
        Sentry => "sentry",
        AzureEventHub => "azureeventhub",
        Telegram => "telegram",
        Lark => "lark",
        Matrix => "matrix",
        Opsgenie => "opsgenie",
        Alertmanager => "alertmanager",
        Grafana => "grafana",
        GitHubDispatch => "githubdispatch",
        GitHubPullRequestComment => "githubpullrequestcomment",
        GitLabMergeRequestComment => "gitlabmergerequestcomment",
        PagerDuty => "pagerduty",
        Datadog => "datadog",
        Nats => "nats",
        Zulip => "zulip",
        Otel => "otel",
        Zoom => "zoom",
        IncidentIo => "incident.io",
    }
}

/// Where notifications go, and what opens the door there.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(group = "notification.toolkit.fluxcd.io", version = "v1beta3", kind = "Provider", namespaced)]
#[kube(doc = "A service that notifications are sent to.")]
#[kube(category = "all", category = "fluxcd", category = "fluxcd-notifications")]
#[kube(annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"))]
#[kube(printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"))]
#[x_kube(validation = Rule::new("self.type == 'github' || self.type == 'gitlab' || self.type == 'gitea' || self.type == 'bitbucketserver' || self.type == 'bitbucket' || self.type == 'azuredevops' || !has(self.commitStatusExpr)").message("spec.commitStatusExpr can only be set with the types 'github', 'gitlab', 'gitea', 'bitbucketserver', 'bitbucket' and 'azuredevops'"))]
pub struct ProviderSpec {
    /// Which service it is.
    pub r#type: ProviderType,
    /// Without effect; deprecated.
    #[schemars(regex(pattern = schema::DURATION))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Channel, room or routing key to post to.
    #[schemars(length(max = 2048))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Name to post under.
    #[schemars(length(max = 2048))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// URL of the service or, for the types of commit statuses, of the git repository. The key
    /// `address` of the Secret comes before it.
    #[schemars(length(max = 2048))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// How long an answer may take; `15s` when empty.
    #[schemars(regex(pattern = schema::SHORT_DURATION))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// URL of an HTTP proxy. Deprecated: write `proxySecretRef`.
    #[schemars(regex(pattern = schema::HTTP_URL), length(max = 2048))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Secret with the `address`, `username` and `password` of an HTTP proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_secret_ref: Option<LocalObjectReference>,
    /// Secret with any of `address`, `token`, `username`, `password`, `headers` and `proxy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// Service account to log in to a cloud as, with the types of clouds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub service_account_name: Option<String>,
    /// Secret with `ca.crt`, or `tls.crt` and `tls.key`, or all three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalObjectReference>,
    /// Whether to send nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// CEL expression over `event`, `alert` and `provider` that gives the name of a commit
    /// status, with the types of commit statuses.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::text")]
    pub commit_status_expr: Option<String>,
}
