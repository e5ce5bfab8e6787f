//! How much one pass may delete without being told that it is meant. Pure.

use super::inventory::ObjectId;

/// How many objects a message names before it only counts.
const SHOWN: usize = 8;

/// A pass that would delete more than both bounds deletes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling {
    /// Per cent of the inventory; 100 switches the ceiling off.
    pub percent: u8,
    /// Objects, however small the inventory is.
    pub objects: usize,
}

impl Default for Ceiling {
    fn default() -> Self {
        Self { percent: 50, objects: 5 }
    }
}

impl Ceiling {
    /// Whether deleting this many of the objects of an inventory is too much.
    pub fn is_exceeded(self, doomed: usize, inventory: usize) -> bool {
        doomed > self.objects && doomed.saturating_mul(100) > inventory.saturating_mul(usize::from(self.percent))
    }
}

/// What a person says about a pass that deletes much.
#[derive(Debug, Clone, Copy)]
pub struct Consent<'a> {
    /// The revision that is being applied.
    pub revision: &'a str,
    /// The revision that a person has looked at, as [`crate::api::annotation::ALLOW_PRUNE`] says.
    pub given_for: Option<&'a str>,
}

impl Consent<'_> {
    /// Whether it is for this revision: the whole of it, or its hash alone.
    pub fn is_given(self) -> bool {
        let hash = self.revision.rsplit_once(':').map(|(_, hash)| hash);
        self.given_for.is_some_and(|given| !given.is_empty() && (given == self.revision || Some(given) == hash))
    }
}

/// Says what would be deleted, and how to go on.
pub fn message(ceiling: Ceiling, consent: Consent<'_>, doomed: &[ObjectId], inventory: usize) -> String {
    let Ceiling { percent, objects } = ceiling;
    let mut names: Vec<_> = doomed.iter().take(SHOWN).map(ToString::to_string).collect();
    if doomed.len() > SHOWN {
        names.push(format!("and {} more", doomed.len() - SHOWN));
    }
    format!(
        "pruning is stopped: {} of {inventory} objects left the folder, more than {percent} % and more than {objects} \
         (--prune-ceiling-percent, --prune-ceiling-objects). They stay, everything else is applied. To delete them, \
         annotate this object with {}={}. They are: {}",
        doomed.len(),
        crate::api::annotation::ALLOW_PRUNE,
        consent.revision,
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_have_to_be_exceeded() {
        let table = [
            // (per cent, objects, to delete, in the inventory, too much)
            (50, 5, 5, 5, false),
            (50, 5, 6, 6, true),
            (50, 5, 6, 12, false),
            (50, 5, 7, 12, true),
            (50, 5, 6, 11, true),
            (50, 5, 0, 0, false),
            (0, 0, 1, 1_000, true),
            (0, 0, 0, 1_000, false),
            (10, 0, 100, 1_000, false),
            (10, 0, 101, 1_000, true),
            (100, 0, 1_000, 1_000, false),
            (50, 1_000, 900, 900, false),
        ];
        for (percent, objects, doomed, inventory, expected) in table {
            let ceiling = Ceiling { percent, objects };
            assert_eq!(ceiling.is_exceeded(doomed, inventory), expected, "{ceiling:?} {doomed}/{inventory}");
        }
    }

    #[test]
    fn consent_is_for_one_revision() {
        let table = [
            (None, false),
            (Some(""), false),
            (Some("main@sha1:abc"), true),
            (Some("abc"), true),
            (Some("main@sha1:ab"), false),
            (Some("main"), false),
            (Some("main@sha1:def"), false),
            (Some("true"), false),
        ];
        for (given_for, expected) in table {
            assert_eq!(Consent { revision: "main@sha1:abc", given_for }.is_given(), expected, "{given_for:?}");
        }
        assert!(!Consent { revision: "main@sha1:", given_for: Some("") }.is_given());
    }

    #[test]
    fn what_would_go_is_counted_and_named_within_bounds() {
        let id = |number: usize| ObjectId {
            namespace: "apps".to_owned(),
            name: format!("a{number}"),
            group: String::new(),
            kind: "ConfigMap".to_owned(),
        };
        let doomed: Vec<_> = (0..10).map(id).collect();
        let consent = Consent { revision: "main@sha1:abc", given_for: None };
        let text = message(Ceiling::default(), consent, &doomed, 12);
        for part in ["10 of 12 objects", "fairlead.dev/allow-prune=main@sha1:abc", "ConfigMap/apps/a7, and 2 more"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("apps/a8"), "{text}");
    }
}
