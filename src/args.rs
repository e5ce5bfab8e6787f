//! Command line: raw flags in, a validated [`Config`] out.

mod availability;
mod telemetry;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use url::Url;

use availability::LEASE;
pub use availability::{AvailabilityArgs, Election, NoNamespace};
pub use telemetry::TelemetryArgs;

use crate::api::kinds::{self, Kind, Part};
use crate::kube_ext::cluster::Settings;
use crate::kube_ext::remote::RemoteOptions;
use crate::selector::{LabelSelector, LabelSelectorError};
use crate::source::store::Retention;
use crate::sync::ceiling::Ceiling;
use crate::traces::{OtlpError, OtlpSettings};

/// GitOps for Helm in one small binary: a commit becomes a healthy release.
#[derive(Debug, Parser)]
#[command(name = "fairlead", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator: in a cluster by its service account, outside by KUBECONFIG.
    Run(Box<RunArgs>),
    /// Print the custom resource definitions, write or check them in a directory, or bring a cluster's to this version.
    Crds(CrdArgs),
    /// Run a program that ends when this process' parent ends.
    #[command(name = crate::process::GUARD_SUBCOMMAND, hide = true)]
    ChildGuard(GuardArgs),
    /// Connect standard input and output with a host, through a proxy; run by ssh.
    #[command(name = crate::git::through::SUBCOMMAND, hide = true)]
    ConnectThrough(ConnectThroughArgs),
    /// Change a rendered stream as a file says; run by helm.
    #[command(name = crate::postrender::SUBCOMMAND, hide = true)]
    PostRender(PostRenderArgs),
}

/// Arguments of `fairlead crds`.
#[derive(Debug, Args)]
pub struct CrdArgs {
    /// Write one file per kind into this directory.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "crds", conflicts_with = "check")]
    pub write: Option<PathBuf>,
    /// Fail when a file in this directory differs from what would be written.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "crds")]
    pub check: Option<PathBuf>,
    /// Bring the definitions of the cluster to this version; never deletes one.
    #[arg(long, conflicts_with_all = ["write", "check"])]
    pub apply: bool,
}

/// Arguments of the hidden child guard.
#[derive(Debug, Args)]
pub struct GuardArgs {
    /// The process that must be there, and be the parent.
    pub parent: i32,
    /// The program and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub command: Vec<OsString>,
}

/// Arguments of the hidden connection through a proxy.
#[derive(Debug, Args)]
pub struct ConnectThroughArgs {
    /// The host to reach.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Arguments of the hidden post-renderer.
#[derive(Debug, Args)]
pub struct PostRenderArgs {
    /// The file with the instructions.
    pub instructions: PathBuf,
}

/// A controller group that can be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum ControllerGroup {
    /// `GitRepository`, `HelmRepository`, `HelmChart` and the other sources.
    Source,
    /// `Kustomization`.
    Kustomize,
    /// `HelmRelease`.
    Helm,
    /// `Alert` and `Provider`.
    Notification,
}

impl ControllerGroup {
    /// What runs when nobody says what: everything, but for the alerts where another program is told
    /// of the events, as that one looks after them.
    fn defaults(events_addr: Option<&Url>) -> BTreeSet<Self> {
        let alerts = events_addr.is_none().then_some(Self::Notification);
        [Self::Source, Self::Kustomize, Self::Helm].into_iter().chain(alerts).collect()
    }
}

impl std::fmt::Display for ControllerGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Kustomize => "kustomize",
            Self::Helm => "helm",
            Self::Notification => "notification",
        })
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person at a terminal.
    Text,
}

/// Arguments of `fairlead run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Directory for mirrors, artifacts and caches; made when missing, private to the user.
    #[arg(long, env = "FAIRLEAD_DATA_DIR", default_value = "/var/lib/fairlead", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The helm binary, version 3.18 or newer, 3 or 4.
    #[arg(long, env = "FAIRLEAD_HELM", default_value = "helm", value_name = "PATH")]
    pub helm: PathBuf,
    /// The git binary.
    #[arg(long, env = "FAIRLEAD_GIT", default_value = "git", value_name = "PATH")]
    pub git: PathBuf,
    /// The kustomize binary, for folders that have a kustomization.yaml.
    #[arg(long, env = "FAIRLEAD_KUSTOMIZE", default_value = "kustomize", value_name = "PATH")]
    pub kustomize: PathBuf,
    /// The cosign binary, version 3, for `spec.verify` of what comes from registries.
    #[arg(long, env = "FAIRLEAD_COSIGN", default_value = "cosign", value_name = "PATH")]
    pub cosign: PathBuf,
    /// The notation binary, version 1, for `spec.verify` with `provider: notation`.
    #[arg(long, env = "FAIRLEAD_NOTATION", default_value = "notation", value_name = "PATH")]
    pub notation: PathBuf,
    /// Objects of one kind worked on at the same time, and helm actions at the same time.
    #[arg(long, env = "FAIRLEAD_CONCURRENT", default_value_t = 4, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrent: u16,
    /// Address for health, metrics and artifacts.
    #[arg(long, env = "FAIRLEAD_LISTEN", default_value = "0.0.0.0:9090", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Address for the webhooks of `Receiver`s (port 9292 with Flux); without it, no `Receiver` is looked at.
    #[arg(long, env = "FAIRLEAD_RECEIVER_LISTEN", value_name = "ADDR")]
    pub receiver_listen: Option<SocketAddr>,
    /// Base URL under which other programs reach this operator's artifacts; made of the listen address by default.
    #[arg(long, env = "FAIRLEAD_ARTIFACT_URL", value_name = "URL")]
    pub artifact_url: Option<String>,
    /// How long an artifact that was replaced can still be fetched under its own address.
    #[arg(long, env = "FAIRLEAD_ARTIFACT_RETENTION_TTL", default_value = "60s", value_name = "DURATION")]
    pub artifact_retention_ttl: crate::api::meta::Duration,
    /// How many artifacts of one object are kept at the most, the newest included.
    #[arg(long, env = "FAIRLEAD_ARTIFACT_RETENTION_RECORDS", default_value_t = 2, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub artifact_retention_records: u16,
    /// Work in this namespace only; in all by default.
    #[arg(long, env = "FAIRLEAD_WATCH_NAMESPACE", value_name = "NAMESPACE")]
    pub watch_namespace: Option<String>,
    /// Service account that a `HelmRelease` or `Kustomization` acts as when it names none, in its own namespace.
    #[arg(long, env = "FAIRLEAD_DEFAULT_SERVICE_ACCOUNT", value_name = "NAME")]
    pub default_service_account: Option<String>,
    /// Service account whose token opens another cluster when the `ConfigMap` that describes it names none.
    #[arg(long, env = "FAIRLEAD_DEFAULT_KUBECONFIG_SERVICE_ACCOUNT", value_name = "NAME")]
    pub default_kubeconfig_service_account: Option<String>,
    /// Helm release that this operator is a part of, which it never uninstalls.
    #[arg(long, env = "FAIRLEAD_OWN_RELEASE", value_name = "NAMESPACE/NAME")]
    pub own_release: Option<String>,
    /// Deny references to sources and charts in other namespaces than the object's own.
    #[arg(long, env = "FAIRLEAD_NO_CROSS_NAMESPACE_REFS")]
    pub no_cross_namespace_refs: bool,
    /// Leave the digest out of the version of a chart from an `OCIRepository` or `ExternalArtifact`, so that a new
    /// digest alone makes no release.
    #[arg(long, env = "FAIRLEAD_DISABLE_CHART_DIGEST_TRACKING")]
    pub disable_chart_digest_tracking: bool,
    /// How folders are built.
    #[command(flatten)]
    pub build: BuildArgs,
    /// Allow kubeconfigs of other clusters to leave their API server unverified.
    #[arg(long, env = "FAIRLEAD_INSECURE_KUBECONFIG_TLS")]
    pub insecure_kubeconfig_tls: bool,
    /// Per cent of a `Kustomization`'s objects that may be pruned at once without being told so; 100 is no limit.
    #[arg(long, env = "FAIRLEAD_PRUNE_CEILING_PERCENT", default_value_t = Ceiling::default().percent,
          value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub prune_ceiling_percent: u8,
    /// Objects that may be pruned at once without being told so, however large their share is.
    #[arg(long, env = "FAIRLEAD_PRUNE_CEILING_OBJECTS", default_value_t = Ceiling::default().objects, value_name = "N")]
    pub prune_ceiling_objects: usize,
    /// Several operators, and how one ends.
    #[command(flatten)]
    pub availability: AvailabilityArgs,
    /// What is told of the operator's own work.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    /// Controllers to run; all by default, with --events-addr all but notification.
    #[arg(long, env = "FAIRLEAD_CONTROLLERS", value_delimiter = ',', value_name = "LIST")]
    pub controllers: Option<Vec<ControllerGroup>>,
    /// URL that every event is posted to, such as that of Flux's notification-controller.
    #[arg(long, env = "FAIRLEAD_EVENTS_ADDR", value_name = "URL")]
    pub events_addr: Option<String>,
    /// How long the same event is not sent to the same alerts again.
    #[arg(long, env = "FAIRLEAD_RATE_LIMIT_INTERVAL", default_value = "5m", value_name = "DURATION")]
    pub rate_limit_interval: crate::api::meta::Duration,
    /// How log lines look.
    #[arg(long, env = "FAIRLEAD_LOG_FORMAT", default_value = "json", value_enum)]
    pub log_format: LogFormat,
    /// What is logged: a level (error, warn, info, debug, trace) or filter directives.
    #[arg(long, env = "FAIRLEAD_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    pub log_level: String,
}

/// Arguments of `fairlead run` that are about building folders.
#[derive(Args, Clone, Debug)]
pub struct BuildArgs {
    /// Fail where a manifest names a variable that `spec.postBuild` of its `Kustomization` does not set and that has no
    /// default; with `=false` such a variable is empty.
    #[arg(long, env = "FAIRLEAD_STRICT_SUBSTITUTIONS", value_name = "BOOL", default_value_t = true,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub strict_substitutions: bool,
    /// The sops binary, for `spec.decryption`.
    #[arg(long, env = "FAIRLEAD_SOPS", default_value = "sops", value_name = "PATH")]
    pub sops: PathBuf,
    /// Let a kustomization.yaml refer to files and folders by URL, which are fetched at every build.
    #[arg(long, env = "FAIRLEAD_ALLOW_REMOTE_BASES")]
    pub allow_remote_bases: bool,
}

/// What the operator runs with: checked, complete, no further defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// Absolute directory for mirrors, artifacts and caches.
    pub data_dir: PathBuf,
    /// The helm binary.
    pub helm: PathBuf,
    /// The git binary.
    pub git: PathBuf,
    /// The kustomize binary.
    pub kustomize: PathBuf,
    /// The cosign binary.
    pub cosign: PathBuf,
    /// The notation binary.
    pub notation: PathBuf,
    /// Objects of one kind worked on at the same time.
    pub concurrent: u16,
    /// Address for health, metrics and artifacts.
    pub listen: SocketAddr,
    /// Address for webhooks, if any are to be received.
    pub receiver_listen: Option<SocketAddr>,
    /// Base URL of the artifacts, without a trailing slash.
    pub artifact_url: String,
    /// How long replaced artifacts are kept.
    pub retention: Retention,
    /// The only namespace to work in, if any.
    pub watch_namespace: Option<String>,
    /// Controllers to run.
    pub controllers: BTreeSet<ControllerGroup>,
    /// Where every event is posted, if anywhere.
    pub events_addr: Option<Url>,
    /// How long the same event is not sent again.
    pub rate_limit_interval: std::time::Duration,
    /// Service account that an object acts as when it names none.
    pub default_service_account: Option<String>,
    /// Helm release that the operator is a part of: namespace and name.
    pub own_release: Option<(String, String)>,
    /// Sources and charts in other namespaces than an object's own are denied to it.
    pub no_cross_namespace_refs: bool,
    /// Whether a new digest alone makes no release of a chart from a registry.
    pub disable_chart_digest_tracking: bool,
    /// How folders are built.
    pub build: BuildArgs,
    /// How other clusters are reached.
    pub remote: RemoteOptions,
    /// How much of a `Kustomization` may be pruned at once.
    pub prune_ceiling: Ceiling,
    /// Which objects are looked after, by their labels; all without.
    pub shard: Option<LabelSelector>,
    /// Whether, and where, this operator stands for a lease.
    pub election: Option<Election>,
    /// How long work under way may take to end after SIGTERM.
    pub grace: Duration,
    /// Where other pods reach what is served on `listen`, if that is known.
    pub reached_at: Option<String>,
    /// Where other pods reach what is served on `receiver_listen`, if that is known.
    pub receiver_reached_at: Option<String>,
    /// Whether the time of passes is kept for each object.
    pub metrics_per_object: bool,
    /// Where traces are sent, if anywhere.
    pub otlp: Option<OtlpSettings>,
}

impl Config {
    /// Where folders are built that are not built as they are.
    pub fn builds(&self) -> PathBuf {
        self.data_dir.join("builds")
    }

    /// Name of the lease of operators like this one, whether or not it stands for it.
    pub fn lease(&self) -> &str {
        self.election.as_ref().map_or(LEASE, |election| &election.lease)
    }

    /// Whether this operator does the work of a part.
    pub fn runs(&self, part: Part) -> bool {
        match part {
            Part::Source => self.controllers.contains(&ControllerGroup::Source),
            Part::Kustomize => self.controllers.contains(&ControllerGroup::Kustomize),
            Part::Helm => self.controllers.contains(&ControllerGroup::Helm),
            Part::Notification => self.controllers.contains(&ControllerGroup::Notification),
            Part::Receiver => self.receiver_listen.is_some(),
        }
    }

    /// Whether the objects of a part are watched. Sources, folders and releases refer to each other,
    /// whoever looks after them.
    pub fn watches(&self, part: Part) -> bool {
        matches!(part, Part::Source | Part::Kustomize | Part::Helm) || self.runs(part)
    }

    /// The kinds whose objects are watched.
    pub fn watched_kinds(&self) -> impl Iterator<Item = Kind> {
        kinds::all().into_iter().filter(|kind| self.watches(kind.part))
    }

    /// How objects act in the name and in the cluster that they ask for.
    pub fn cluster_settings(&self) -> Settings {
        Settings { default_account: self.default_service_account.clone(), remote: self.remote.clone() }
    }
}

/// Why the flags cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The data directory cannot be made absolute.
    #[error("--data-dir {}: {source}", dir.display())]
    DataDir {
        /// As given.
        dir: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The own release is no namespace and name.
    #[error("--own-release {0:?} must be NAMESPACE/NAME")]
    OwnRelease(String),
    /// The artifact URL is not an http or https one.
    #[error("--artifact-url {url:?} must start with http:// or https://")]
    ArtifactUrl {
        /// As given.
        url: String,
    },
    /// The label selector is none.
    #[error("--watch-label-selector: {0}")]
    Selector(#[from] LabelSelectorError),
    /// Leader election is asked for, and nobody says where.
    #[error(transparent)]
    Election(#[from] NoNamespace),
    /// The URL for events is not an http or https one. It may hold a password.
    #[error("--events-addr must be a URL that starts with http:// or https://")]
    EventsAddr,
    /// Traces cannot be sent.
    #[error(transparent)]
    Otlp(#[from] OtlpError),
}

/// An empty text, as a template may set it, counts as none.
fn given(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

/// The controllers, where they are not all of those that change something in the cluster.
fn some_only(controllers: &BTreeSet<ControllerGroup>) -> String {
    let all = ControllerGroup::value_variants().iter().filter(|group| **group != ControllerGroup::Notification);
    if all.into_iter().all(|group| controllers.contains(group)) {
        return String::new();
    }
    controllers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn events_addr(text: Option<&String>) -> Result<Option<Url>, ConfigError> {
    let Some(text) = given(text) else { return Ok(None) };
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.map(Some).ok_or(ConfigError::EventsAddr)
}

impl RunArgs {
    fn own_release(&self) -> Result<Option<(String, String)>, ConfigError> {
        let Some(given) = given(self.own_release.as_ref()) else { return Ok(None) };
        match given.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Some((namespace.to_owned(), name.to_owned())))
            }
            _ => Err(ConfigError::OwnRelease(given)),
        }
    }

    /// Checks the flags and fills in what follows from others.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let data_dir = std::path::absolute(&self.data_dir)
            .map_err(|source| ConfigError::DataDir { dir: self.data_dir.clone(), source })?;
        let artifact_url = self.artifact_url.clone().unwrap_or_else(|| format!("http://{}", self.listen));
        if !artifact_url.starts_with("http://") && !artifact_url.starts_with("https://") {
            return Err(ConfigError::ArtifactUrl { url: artifact_url });
        }
        let events_addr = events_addr(self.events_addr.as_ref())?;
        let controllers = self.controllers.as_ref().map(|wanted| wanted.iter().copied().collect());
        let controllers = controllers.unwrap_or_else(|| ControllerGroup::defaults(events_addr.as_ref()));
        let some_only = some_only(&controllers);
        Ok(Config {
            data_dir,
            helm: self.helm.clone(),
            git: self.git.clone(),
            kustomize: self.kustomize.clone(),
            cosign: self.cosign.clone(),
            notation: self.notation.clone(),
            concurrent: self.concurrent,
            listen: self.listen,
            receiver_listen: self.receiver_listen,
            artifact_url: artifact_url.trim_end_matches('/').to_owned(),
            retention: Retention {
                ttl: self.artifact_retention_ttl.to_std(),
                records: usize::from(self.artifact_retention_records),
            },
            watch_namespace: self.watch_namespace.clone(),
            controllers,
            events_addr,
            rate_limit_interval: self.rate_limit_interval.to_std(),
            default_service_account: given(self.default_service_account.as_ref()),
            own_release: self.own_release()?,
            no_cross_namespace_refs: self.no_cross_namespace_refs,
            disable_chart_digest_tracking: self.disable_chart_digest_tracking,
            build: self.build.clone(),
            remote: RemoteOptions {
                insecure_tls: self.insecure_kubeconfig_tls,
                default_account: given(self.default_kubeconfig_service_account.as_ref()),
            },
            metrics_per_object: self.telemetry.metrics_per_object,
            otlp: self.telemetry.otlp()?,
            prune_ceiling: Ceiling { percent: self.prune_ceiling_percent, objects: self.prune_ceiling_objects },
            shard: self.availability.shard()?,
            election: self.availability.election(&[
                self.watch_namespace.as_deref().unwrap_or_default(),
                &some_only,
                self.availability.selector(),
            ])?,
            grace: self.availability.grace(),
            reached_at: self.availability.reached_at(self.listen),
            receiver_reached_at: self.receiver_listen.and_then(|address| self.availability.reached_at(address)),
        })
    }
}

#[cfg(test)]
mod tests;
