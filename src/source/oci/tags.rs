//! Which of a repository's tags is the newest in a range of versions. Pure.

use regex::Regex;

use super::super::version::{Range, Version, highest};

/// Why no tag can be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// Not a range.
    #[error("semver '{range}' parse error: {reason}")]
    Range {
        /// The range, as written.
        range: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not a regular expression.
    #[error("semverFilter '{filter}' is not a regular expression: {reason}")]
    Filter {
        /// The filter, as written.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No tag is in the range.
    #[error("no match found for semver: {range}; {seen}")]
    NoMatch {
        /// The range, as written.
        range: String,
        /// How many tags there were, in words.
        seen: String,
    },
}

impl TagError {
    /// Whether nothing but another spec can help.
    pub fn is_terminal(&self) -> bool {
        !matches!(self, Self::NoMatch { .. })
    }
}

/// Which tags are looked for: those of a range that match a filter.
#[derive(Debug)]
pub struct Wanted {
    text: String,
    range: Range,
    filter: Option<Regex>,
    charts: bool,
}

impl Wanted {
    /// Reads a range and a filter (none when empty). Tags of charts have `_` where their version
    /// has `+`.
    pub fn new(range: &str, filter: Option<&str>, charts: bool) -> Result<Self, TagError> {
        let bad_range = |reason: String| TagError::Range { range: range.to_owned(), reason };
        let parsed = Range::parse(range).map_err(|error| bad_range(error.to_string()))?;
        let compile = |filter: &str| {
            Regex::new(filter)
                .map_err(|error| TagError::Filter { filter: filter.to_owned(), reason: last_line(&error.to_string()) })
        };
        let filter = filter.filter(|filter| !filter.is_empty()).map(compile).transpose()?;
        Ok(Self { text: range.to_owned(), range: parsed, filter, charts })
    }

    /// The tag of the chart version that the range spells out in full, else the newest in it, else the tag of that very
    /// name. Only so is a version found that does not keep to the rules, such as `2024.01.15` or `1.9`; where there are
    /// others, `1.2` is a range, and as a tag it moves.
    pub fn named_or_newest<'t>(&self, tags: &'t [String]) -> Result<&'t String, TagError> {
        let name = tag_of_version(&self.text);
        let named = tags.iter().find(|tag| **tag == name);
        match named.filter(|_| is_in_full(&self.text)) {
            Some(tag) => Ok(tag),
            None => self.newest(tags).or_else(|error| named.ok_or(error)),
        }
    }

    /// The newest of the tags in the range.
    pub fn newest<'t>(&self, tags: &'t [String]) -> Result<&'t String, TagError> {
        let candidates = tags.iter().filter(|tag| self.filter.as_ref().is_none_or(|filter| filter.is_match(tag)));
        let version = |tag: &String| {
            let text = if self.charts { version_of_tag(tag) } else { tag.clone() };
            Version::parse_full(&text).ok()
        };
        highest(candidates, &self.range, version).ok_or_else(|| {
            let seen = match tags.len() {
                0 => "the repository has no tags".to_owned(),
                count => format!("none of the repository's {count} tags is in it"),
            };
            TagError::NoMatch { range: self.text.clone(), seen }
        })
    }
}

/// Whether a text has the three numbers of a version, of whatever form.
fn is_in_full(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    let core = text.split_once(['-', '+']).map_or(text, |(core, _)| core);
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    core.split('.').count() == 3 && core.split('.').all(is_number)
}

/// The chart version that a tag stands for: no tag can hold a `+`, no version a `_`.
pub fn version_of_tag(tag: &str) -> String {
    tag.replace('_', "+")
}

/// The tag that a chart version has.
pub fn tag_of_version(version: &str) -> String {
    version.replace('+', "_")
}

/// Of an error that draws its position over several lines, what it says in the end.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAGS: &[&str] = &[
        "latest",
        "1",
        "1.2",
        "1.0.0",
        "1.2.0",
        "v1.3.0",
        "2.0.0-rc.1",
        "2.0.0_build.5",
        "1.9",
        "2024.01.15",
        "sha256-aa.sig",
    ];

    fn newest(range: &str, filter: Option<&str>, charts: bool) -> Result<String, TagError> {
        let tags: Vec<String> = TAGS.iter().map(|&tag| tag.to_owned()).collect();
        Wanted::new(range, filter, charts)?.newest(&tags).cloned()
    }

    #[test]
    fn the_newest_tag_in_range_is_taken() {
        for (range, filter, charts, expected) in [
            ("1.x", None, false, "v1.3.0"),
            ("1.x", Some(r"^\d"), false, "1.2.0"),
            ("*", None, false, "v1.3.0"),
            ("*", None, true, "2.0.0_build.5"),
            (">=1.0.0-0", Some(".*-rc.*"), false, "2.0.0-rc.1"),
            ("1.0.0", Some(""), false, "1.0.0"),
        ] {
            assert_eq!(newest(range, filter, charts).as_deref(), Ok(expected), "{range} {filter:?}");
        }
        let tags: Vec<String> = TAGS.iter().map(|&tag| tag.to_owned()).collect();
        for (version, expected) in [
            ("2024.01.15", Some("2024.01.15")),
            ("1.2", Some("1.2.0")),
            ("1", Some("v1.3.0")),
            ("1.9", Some("1.9")),
            ("1.8", None),
        ] {
            let wanted = Wanted::new(version, None, true).unwrap();
            assert_eq!(wanted.named_or_newest(&tags).ok().map(String::as_str), expected, "{version}");
        }
    }

    #[test]
    fn what_cannot_be_chosen_says_why() {
        let error = newest("9.x", None, false).unwrap_err();
        assert!(!error.is_terminal() && error.to_string().contains("11 tags"), "{error}");
        assert!(newest("FILLED_IN_BY_CI", None, false).unwrap_err().is_terminal());
        let error = newest("*", Some("("), false).unwrap_err();
        assert!(error.is_terminal() && error.to_string().contains("unclosed group"), "{error}");
    }

    #[test]
    fn versions_and_tags_stand_for_each_other() {
        assert_eq!(tag_of_version("1.0.0+a.b"), "1.0.0_a.b");
        assert_eq!(version_of_tag("1.0.0_a.b"), "1.0.0+a.b");
    }
}
