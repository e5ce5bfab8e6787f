//! The spans of a change's stages. Pure.

use jiff::Timestamp;
use url::Url;

use super::span::{Attributes, Failure, Period, Span, SpanId, TraceId};

/// Namespace and name.
pub type Name = (String, String);

/// A source at a revision, from which a change comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Kind of the source.
    pub kind: String,
    /// Its namespace and name.
    pub name: Name,
    /// Its uid.
    pub uid: String,
    /// The address of its git repository, if it has one.
    pub url: Option<String>,
    /// The revision.
    pub revision: String,
}

/// What became of the releases that a change concerns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Releases that became ready.
    pub ready: usize,
    /// Releases that failed.
    pub failed: usize,
}

/// What an apply did to objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Created or changed.
    pub changed: usize,
    /// Deleted because they left the folder.
    pub pruned: usize,
    /// Not as wanted.
    pub failed: usize,
}

/// A helm action that was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelmAction {
    /// `install`, `upgrade`, …
    pub verb: &'static str,
    /// When.
    pub period: Period,
    /// Version of helm, once it is known.
    pub helm: Option<String>,
    /// Name of the chart.
    pub chart: String,
    /// Its version.
    pub chart_version: String,
    /// The revision of helm's that it made or was about.
    pub revision: Option<i64>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

/// A `HelmRelease` in one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Namespace and name.
    pub name: Name,
    /// Its uid.
    pub uid: String,
    /// The generation.
    pub generation: i64,
}

/// Where a release's spans belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The trace.
    pub trace: TraceId,
    /// What asked for the release; none for a trace of its own.
    pub parent: Option<SpanId>,
    /// How often this generation has failed before.
    pub tries: u32,
}

impl Place {
    /// The span of a release at this place.
    pub fn id(&self, release: &Release) -> SpanId {
        let (namespace, name) = &release.name;
        let parts = ["release", namespace, name, &release.generation.to_string(), &self.tries.to_string()];
        SpanId::of(self.trace, &parts)
    }
}

/// How the course of something ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End<'a> {
    /// As it should.
    Well,
    /// In a failure.
    Failed(&'a Failure),
    /// Something newer took its place: a revision, or a generation.
    Superseded(&'a str),
}

impl<'a> End<'a> {
    /// A failure, or none.
    pub fn of(failure: Option<&'a Failure>) -> Self {
        failure.map_or(Self::Well, Self::Failed)
    }

    fn failure(&self) -> Option<Failure> {
        if let Self::Failed(failure) = self { Some((*failure).clone()) } else { None }
    }

    fn superseded(&self) -> Option<(&'static str, super::span::Value)> {
        if let Self::Superseded(by) = self { Some(("fairlead.superseded_by", (*by).into())) } else { None }
    }
}

impl Origin {
    /// The trace of the change.
    pub fn trace(&self) -> TraceId {
        TraceId::of(&self.uid, &self.revision)
    }

    /// Its root.
    pub fn root(&self) -> SpanId {
        SpanId::of(self.trace(), &["change"])
    }

    /// Where a release's spans belong that this change concerns.
    pub fn place(&self, tries: u32) -> Place {
        Place { trace: self.trace(), parent: Some(self.root()), tries }
    }

    fn attributes(&self) -> Attributes {
        let mut attributes = namespace_of(&self.name);
        attributes.push(("fairlead.source.kind", self.kind.as_str().into()));
        attributes.push(("fairlead.source.name", self.name.1.as_str().into()));
        attributes.push(("fairlead.revision", self.revision.as_str().into()));
        if let Some((head, commit)) = commit(&self.revision) {
            attributes.push(("vcs.ref.head.revision", commit.into()));
            attributes.extend(head.map(|head| ("vcs.ref.head.name", head.into())));
        }
        attributes.extend(self.url.as_deref().map(|url| ("vcs.repository.url.full", url.into())));
        attributes
    }

    fn span(&self, parts: &[&str], period: Period, attributes: Attributes, failure: Option<Failure>) -> Span {
        let trace = self.trace();
        let parent = (parts[0] != "change").then(|| self.root());
        Span {
            trace,
            id: SpanId::of(trace, parts),
            parent,
            name: parts[0].to_owned().into(),
            period,
            attributes,
            failure,
        }
    }

    /// The root: from the commit to the last release.
    pub fn change(&self, period: Period, releases: Tally, failure: Option<&Failure>, superseded: Option<&str>) -> Span {
        let mut attributes = self.attributes();
        attributes.push(("fairlead.releases.ready", releases.ready.into()));
        attributes.push(("fairlead.releases.failed", releases.failed.into()));
        attributes.extend(superseded.and_then(|by| End::Superseded(by).superseded()));
        self.span(&["change"], period, attributes, failure.cloned())
    }

    /// The source got the revision.
    pub fn fetch(&self, period: Period) -> Span {
        self.span(&["fetch"], period, self.attributes(), None)
    }

    /// A Kustomization applied it; `tries` tells how often it failed to before.
    pub fn apply(&self, by: &Name, tries: u32, period: Period, counts: Counts, failure: Option<&Failure>) -> Span {
        let mut attributes = of_kustomization(by, &self.revision);
        attributes.push(("fairlead.objects.changed", counts.changed.into()));
        attributes.push(("fairlead.objects.pruned", counts.pruned.into()));
        attributes.push(("fairlead.objects.failed", counts.failed.into()));
        self.span(&["apply", &by.0, &by.1, &tries.to_string()], period, attributes, failure.cloned())
    }

    /// A Kustomization waited for what it applied.
    pub fn wait(&self, by: &Name, tries: u32, period: Period, failure: Option<&Failure>) -> Span {
        let parts = ["wait", &by.0, &by.1, &tries.to_string()];
        self.span(&parts, period, of_kustomization(by, &self.revision), failure.cloned())
    }
}

/// A release from its new generation, or its last failure, to its end, with what helm did on the way.
pub fn release(place: Place, release: &Release, period: Period, actions: &[HelmAction], end: &End<'_>) -> Vec<Span> {
    let (namespace, name) = &release.name;
    let (generation, tries) = (release.generation.to_string(), place.tries.to_string());
    let id = place.id(release);
    let mut attributes = of_release(release);
    attributes.extend(actions.last().into_iter().flat_map(of_chart));
    attributes.extend(end.superseded());
    let span = Span {
        trace: place.trace,
        id,
        parent: place.parent,
        name: "release".into(),
        period,
        attributes,
        failure: end.failure(),
    };
    let mut spans = vec![span];
    for (index, action) in actions.iter().enumerate() {
        let next = actions.get(index + 1).map_or(period.end, |next| next.period.start);
        let child = |what: &str, period| Span {
            trace: place.trace,
            id: SpanId::of(place.trace, &[what, namespace, name, &generation, &tries, &index.to_string()]),
            parent: Some(id),
            name: what.to_owned().into(),
            period,
            attributes: of_release(release),
            failure: None,
        };
        spans.push(with_action(child(&format!("helm {}", action.verb), action.period), action));
        if let Some(period) = waiting(action, next) {
            spans.push(child("wait", period));
        }
    }
    spans
}

/// The time in which objects of a revision were waited for.
fn waiting(action: &HelmAction, next: Timestamp) -> Option<Period> {
    let made = matches!(action.verb, "install" | "upgrade" | "rollback") && action.failure.is_none();
    (made && next > action.period.end).then(|| Period::new(action.period.end, next))
}

fn with_action(mut span: Span, action: &HelmAction) -> Span {
    span.attributes.extend(of_chart(action));
    span.attributes.extend(action.helm.as_deref().map(|helm| ("fairlead.helm.version", helm.into())));
    span.attributes.extend(action.revision.map(|revision| ("fairlead.helm.revision", revision.into())));
    Span { failure: action.failure.clone(), ..span }
}

fn namespace_of(name: &Name) -> Attributes {
    vec![("k8s.namespace.name", name.0.as_str().into())]
}

fn of_kustomization(name: &Name, revision: &str) -> Attributes {
    let mut attributes = namespace_of(name);
    attributes.push(("fairlead.kustomization.name", name.1.as_str().into()));
    attributes.push(("fairlead.revision", revision.into()));
    attributes
}

fn of_release(release: &Release) -> Attributes {
    let mut attributes = namespace_of(&release.name);
    attributes.push(("fairlead.release.name", release.name.1.as_str().into()));
    attributes.push(("fairlead.release.generation", release.generation.into()));
    attributes
}

fn of_chart(action: &HelmAction) -> Attributes {
    vec![
        ("fairlead.chart.name", action.chart.as_str().into()),
        ("fairlead.chart.version", action.chart_version.as_str().into()),
    ]
}

/// The branch or tag, if it is known, and the commit of a revision; none for one that names no commit.
fn commit(revision: &str) -> Option<(Option<&str>, &str)> {
    match revision.split_once("@sha1:") {
        Some((head, commit)) => Some((Some(head), commit)),
        None => revision.strip_prefix("sha1:").map(|commit| (None, commit)),
    }
}

/// The address of a repository without a login, and without what may be one.
pub fn address(url: &str) -> Option<String> {
    let mut url = Url::parse(url).ok()?;
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    url.set_query(None);
    url.set_fragment(None);
    Some(url.into())
}

#[cfg(test)]
mod tests;
