//! One document of a rendered stream.

use crate::yaml::YamlError;
use crate::yaml::tree::{self, Content, Node};

/// The annotation that makes an object a hook, whatever its value.
const HOOK: &str = "helm.sh/hook";

/// A document's text and what stands where in it.
pub struct Document<'t> {
    /// The text, with the `---` line before it.
    pub text: &'t str,
    /// Its roots: one, none for comments only, several after `...` lines.
    pub roots: Result<Vec<Node>, YamlError>,
}

impl<'t> Document<'t> {
    /// Reads a document.
    pub fn read(text: &'t str) -> Self {
        Self { text, roots: tree::read(text) }
    }

    /// Whether helm takes it for a hook.
    pub fn is_hook(&self) -> bool {
        let annotations = |root: &Node| root.get("metadata")?.get("annotations")?.get(HOOK).map(drop);
        self.roots.iter().flatten().any(|root| annotations(root).is_some())
    }

    /// Whether anything but comments and nulls is in it.
    pub fn has_content(&self) -> bool {
        self.roots.as_ref().map_or(true, |roots| {
            roots.iter().any(|root| !matches!(&root.content, Content::Scalar { text, .. } if text.is_empty()))
        })
    }
}
