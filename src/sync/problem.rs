//! What a person must know about a folder, with the place where to look.

use super::inventory::ObjectId;
use crate::kube_ext::apply::{ApplyError, Refusal};
use crate::redact::Redactor;
use std::fmt;
use std::sync::Arc;

/// How many problems a message names before it only counts.
const SHOWN: usize = 5;
/// Longest text of one problem in a message, in characters.
const LONGEST: usize = 400;

/// What can be done about a field that cannot change.
const IMMUTABLE: &str = "this field cannot change: put it back, or set the annotation \
                         kustomize.toolkit.fluxcd.io/force: enabled on the object to have it deleted and made anew";

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something was not applied or not pruned: the folder is not ready.
    Error,
    /// Everything was applied, but something is odd.
    Warning,
}

/// What a problem forbids to prune, because it may hide an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// Nothing by itself; see [`super::hold`] for an object that is new.
    Nothing,
    /// Objects of this kind: one of them may be the one whose name is broken.
    Kind {
        /// API group.
        group: String,
        /// Kind.
        kind: String,
        /// Namespace, empty for cluster-scoped kinds; none if it is what is broken.
        namespace: Option<String>,
    },
    /// Anything: it is not known what the file holds.
    Everything,
}

/// Where something stands in the folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Path within the repository.
    pub file: Arc<str>,
    /// Line within the file, from 1; `None` for built manifests.
    pub line: Option<usize>,
}

/// `file:line`, or the file alone.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// One thing that is wrong with a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where to look.
    pub place: Place,
    /// The object, where it has an identity.
    pub object: Option<ObjectId>,
    /// The field at fault, as a dotted path.
    pub field: Option<String>,
    /// What is wrong.
    pub reason: String,
    /// What to do about it; empty when the reason says it.
    pub fix: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What must not be pruned while it lasts.
    pub hold: Hold,
}

impl Problem {
    /// An error that holds nothing back.
    pub fn error(place: Place, reason: impl Into<String>) -> Self {
        Self {
            place,
            object: None,
            field: None,
            reason: reason.into(),
            fix: "",
            severity: Severity::Error,
            hold: Hold::Nothing,
        }
    }

    /// An error that hides what a file holds, so that nothing may be pruned.
    pub fn unreadable(place: Place, reason: impl Into<String>) -> Self {
        Self { hold: Hold::Everything, ..Self::error(place, reason) }
    }

    /// Names the object.
    #[must_use]
    pub fn about(mut self, object: &ObjectId) -> Self {
        self.object = Some(object.clone());
        self
    }

    /// Says that the object which it names may be another one of its kind, in this namespace if that is known.
    #[must_use]
    pub fn misnamed(mut self, namespace: Option<&str>) -> Self {
        if let Some(ObjectId { group, kind, .. }) = self.object.clone() {
            self.hold = Hold::Kind { group, kind, namespace: namespace.map(str::to_owned) };
        }
        self
    }

    /// Names the field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn fix(mut self, fix: &'static str) -> Self {
        self.fix = fix;
        self
    }

    /// Turns it into a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Blanks out secrets in its words.
    #[must_use]
    pub fn without_secrets(mut self, redactor: &Redactor) -> Self {
        self.reason = redactor.text(&self.reason).into_owned();
        self.field = self.field.map(|field| redactor.text(&field).into_owned());
        self
    }

    /// An object that the API server refused; `place` is that of the object.
    pub fn refused(place: Place, object: &ObjectId, error: &ApplyError) -> Self {
        // The API server repeats wrong values, and a Secret's must not show up anywhere.
        let repeats_values = matches!(error.refusal, Refusal::Invalid | Refusal::Immutable);
        let secret = object.kind == "Secret" && repeats_values;
        let reason = if secret {
            "the API server refuses the Secret (its words are withheld, they may hold a value)"
        } else {
            error.message.as_str()
        };
        let fix = if error.refusal == Refusal::Immutable { IMMUTABLE } else { error.fix() };
        Self { field: error.field.clone(), ..Self::error(place, reason).about(object).fix(fix) }
    }
}

/// `file:line: Kind/namespace/name: field: reason (fix)`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        match &self.field {
            Some(field) if !self.reason.contains(field.as_str()) => write!(f, "{field}: ")?,
            _ => {}
        }
        f.write_str(&self.reason)?;
        if !self.fix.is_empty() {
            write!(f, " ({})", self.fix)?;
        }
        Ok(())
    }
}

/// The first problems in the order of their places, one after the other, and how many more.
pub fn summary<'a>(problems: impl IntoIterator<Item = &'a Problem>) -> String {
    let mut sorted: Vec<&Problem> = problems.into_iter().collect();
    sorted.sort_by(|a, b| (a.severity, &a.place).cmp(&(b.severity, &b.place)));
    let mut shown: Vec<String> = sorted.iter().take(SHOWN).map(|problem| shorten(&problem.to_string())).collect();
    if sorted.len() > SHOWN {
        shown.push(format!("and {} more", sorted.len() - SHOWN));
    }
    shown.join("; ")
}

fn shorten(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST {
        return line;
    }
    let mut short: String = line.chars().take(LONGEST).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn place(file: &str, line: usize) -> Place {
        Place { file: file.into(), line: Some(line) }
    }

    #[test]
    fn a_problem_reads_as_one_line() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
                            "metadata": {"name": "a", "namespace": "b"}});
        let problem = Problem::error(place("production/a.yaml", 3), "is a number")
            .about(&ObjectId::of(&object))
            .field("metadata.labels.x")
            .fix("quote it");
        assert_eq!(
            problem.to_string(),
            "production/a.yaml:3: ConfigMap/b/a: metadata.labels.x: is a number (quote it)"
        );
    }

    #[test]
    fn a_summary_is_sorted_and_bounded() {
        let problems: Vec<_> = (1..=7)
            .rev()
            .map(|line| Problem::error(place("a.yaml", line), "x ".repeat(400)))
            .chain([Problem::error(place("0.yaml", 1), "odd").warning()])
            .collect();
        let text = summary(&problems);
        assert!(text.starts_with("a.yaml:1: x x"), "{text}");
        assert!(text.ends_with("; and 3 more"), "{text}");
        assert!(text.chars().count() < 6 * (LONGEST + 4));
    }

    #[test]
    fn a_refused_secret_does_not_show_its_values() {
        let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
        let error = ApplyError {
            refusal: Refusal::Invalid,
            field: Some("data.password".to_owned()),
            message: "got hunter2".to_owned(),
            conflicts: Vec::new(),
        };
        let text = Problem::refused(place("a.yaml", 1), &ObjectId::of(&object), &error).to_string();
        assert!(text.contains("data.password") && !text.contains("hunter2"), "{text}");
    }
}
