//! A rendered stream and its post-renderers: which documents go through which step.

use std::borrow::Cow;

use super::document::Document;
use super::{Instructions, Step, metadata};
use crate::api::helm::v2::PostRenderStrategy;
use crate::yaml::{self, YamlError};

/// What stands for an empty stream: helm 4 takes no output at all for a failure.
const NOTHING: &str = "# nothing is rendered\n";

/// Why a stream cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A post-renderer failed.
    #[error("spec.postRenderers[{index}].kustomize: {message}")]
    Step {
        /// Its place in the spec, from 0.
        index: usize,
        /// Why, in words.
        message: String,
    },
    /// A document is no YAML, so that nothing can be set on its objects.
    #[error("spec.commonMetadata: a rendered document cannot be read: {source}; it begins with: {begin}")]
    Unreadable {
        /// Where in the document.
        source: YamlError,
        /// Its first line with content, or the template that helm names there.
        begin: String,
    },
}

/// Does what the instructions say to a stream; `kustomize` runs one step on a stream of objects
/// and says what is wrong in words.
pub fn render(
    stream: &str,
    instructions: &Instructions,
    mut kustomize: impl FnMut(&Step, &str) -> Result<String, String>,
) -> Result<String, RenderError> {
    let documents: Vec<Document<'_>> = yaml::split(stream).into_iter().map(Document::read).collect();
    let mut out = String::with_capacity(stream.len() * 2);
    if instructions.steps.is_empty() {
        for document in &documents {
            let left_alone = instructions.strategy == PostRenderStrategy::NoHooks && document.is_hook();
            add(&mut out, &if left_alone { Cow::Borrowed(document.text) } else { set(document, instructions)? });
        }
    } else {
        for (group, left_alone) in groups(&documents, instructions.strategy) {
            let text = through(&group, left_alone, instructions, &mut kustomize)?;
            add(&mut out, &text);
        }
    }
    if out.trim().is_empty() {
        out.push_str(NOTHING);
    }
    Ok(out)
}

/// The streams that go through the steps one by one, and whether one is left as it is.
fn groups<'d, 't>(documents: &'d [Document<'t>], strategy: PostRenderStrategy) -> Vec<(Vec<&'d Document<'t>>, bool)> {
    let groups = if strategy == PostRenderStrategy::Combined {
        vec![(documents.iter().collect(), false)]
    } else {
        let (hooks, others): (Vec<_>, Vec<_>) = documents.iter().partition(|document| document.is_hook());
        vec![(hooks, strategy == PostRenderStrategy::NoHooks), (others, false)]
    };
    let full = |(group, _): &(Vec<&Document<'_>>, bool)| group.iter().any(|document| document.has_content());
    groups.into_iter().filter(full).collect()
}

fn through(
    group: &[&Document<'_>],
    left_alone: bool,
    instructions: &Instructions,
    kustomize: &mut impl FnMut(&Step, &str) -> Result<String, String>,
) -> Result<String, RenderError> {
    let mut text = String::new();
    for document in group {
        add(&mut text, document.text);
    }
    if left_alone {
        return Ok(text);
    }
    for step in &instructions.steps {
        text = kustomize(step, &text).map_err(|message| RenderError::Step { index: step.index, message })?;
    }
    let mut out = String::with_capacity(text.len() * 2);
    for document in yaml::split(&text) {
        add(&mut out, &set(&Document::read(document), instructions)?);
    }
    Ok(out)
}

/// A document that only origin labels are wanted on is never held back: helm may read what we
/// cannot.
fn set<'t>(document: &Document<'t>, instructions: &Instructions) -> Result<Cow<'t, str>, RenderError> {
    match metadata::set(document, &instructions.metadata) {
        Ok(text) => Ok(text),
        Err(_) if !instructions.strict => Ok(Cow::Borrowed(document.text)),
        Err(source) => Err(RenderError::Unreadable { source, begin: begin(document.text) }),
    }
}

fn begin(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && *line != "---");
    crate::redact::bounded(line.unwrap_or_default(), 120).into_owned()
}

/// Adds a document, on a line of its own and after a `---` unless it is the first.
fn add(out: &mut String, document: &str) {
    if !out.is_empty() {
        if !out.ends_with('\n') {
            out.push('\n');
        }
        if !document.starts_with("---") {
            out.push_str("---\n");
        }
    }
    out.push_str(document);
}

#[cfg(test)]
mod tests;
