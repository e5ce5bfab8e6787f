//! Chart and tag versions, and the version ranges that charts, Flux and Helm write
//! (the dialect of Masterminds/semver 3): pure, shared by sources and releases.

use std::cmp::Ordering;
use std::fmt;

/// The longest range that is accepted, in bytes.
const MAX_RANGE_LENGTH: usize = 512;
/// The most alternatives (`||`) that a range may hold.
const MAX_ALTERNATIVES: usize = 32;

/// Why a version or a range cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Not a semantic version.
    #[error("'{0}' is not a semantic version")]
    Version(String),
    /// A part of a range that is neither an operator nor a version.
    #[error("'{0}' is not a version range: '{1}' is not a constraint such as '>=1.2.3', '~1.2' or '1.x'")]
    Range(String, String),
    /// The range exceeds 512 bytes or 32 alternatives.
    #[error("the version range is too long")]
    TooLong,
}

/// A semantic version as tags and charts write it: a leading `v`, missing minor and patch
/// numbers and leading zeros are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    number: semver::Version,
    original: String,
}

impl Version {
    /// Reads a version; missing minor and patch numbers are zero.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        let invalid = || VersionError::Version(text.to_owned());
        let partial = Partial::parse(text).ok_or_else(invalid)?;
        if partial.dirt() != Dirt::None && partial.has_wildcard {
            return Err(invalid());
        }
        Ok(Self { number: partial.number, original: text.to_owned() })
    }

    /// Reads a version that is to be chosen from among tags or index entries: all of its three
    /// numbers, none with a leading zero. A date (`2024.01.15`) is none, or it would outrank every
    /// release.
    pub fn parse_full(text: &str) -> Result<Self, VersionError> {
        let number = semver::Version::parse(text.strip_prefix('v').unwrap_or(text));
        let number = number.map_err(|_| VersionError::Version(text.to_owned()))?;
        Ok(Self { number, original: text.to_owned() })
    }

    /// The text as it was written.
    pub fn original(&self) -> &str {
        &self.original
    }

    /// Whether it is a pre-release, such as `1.0.0-rc.1`.
    pub fn is_prerelease(&self) -> bool {
        !self.number.pre.is_empty()
    }

    /// The order of semantic versioning, in which build metadata counts for nothing.
    pub fn cmp_precedence(&self, other: &Self) -> Ordering {
        self.number.cmp_precedence(&other.number)
    }

    /// The normal form with its build metadata replaced, e.g. `1.2.0+a1b2c3`.
    pub fn with_build(&self, build: &str) -> Result<String, VersionError> {
        let mut number = self.number.clone();
        number.build =
            semver::BuildMetadata::new(build).map_err(|_| VersionError::Version(format!("{number}+{build}")))?;
        Ok(number.to_string())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

/// A range of versions, e.g. `>=1.2.0 <2.0.0 || 3.x`.
#[derive(Clone, Debug)]
pub struct Range {
    alternatives: Vec<Vec<Constraint>>,
}

impl Range {
    /// Reads a range. An empty text means any released version.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        if text.len() > MAX_RANGE_LENGTH {
            return Err(VersionError::TooLong);
        }
        let alternatives = text
            .split("||")
            .map(|part| parse_alternative(part).map_err(|token| VersionError::Range(text.to_owned(), token)))
            .collect::<Result<Vec<_>, _>>()?;
        if alternatives.len() > MAX_ALTERNATIVES {
            return Err(VersionError::TooLong);
        }
        Ok(Self { alternatives })
    }

    /// Whether the version is in the range. Pre-releases are only when the alternative names one.
    pub fn contains(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|all| {
            let prereleases = all.iter().any(|constraint| !constraint.bound.number.pre.is_empty());
            (prereleases || !version.is_prerelease())
                && all.iter().all(|constraint| constraint.matches(&version.number))
        })
    }
}

/// The highest of the given versions that the range contains; of equal ones the last.
pub fn highest<'t, T>(
    candidates: impl IntoIterator<Item = &'t T>,
    range: &Range,
    version: impl Fn(&T) -> Option<Version>,
) -> Option<&'t T> {
    candidates
        .into_iter()
        .filter_map(|candidate| Some((version(candidate)?, candidate)))
        .filter(|(version, _)| range.contains(version))
        .max_by(|(a, _), (b, _)| a.cmp_precedence(b))
        .map(|(_, candidate)| candidate)
}

/// From which number on a partial version leaves its numbers open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dirt {
    None,
    Patch,
    Minor,
    All,
}

#[derive(Clone, Debug)]
struct Partial {
    number: semver::Version,
    given: usize,
    has_wildcard: bool,
}

impl Partial {
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (rest, build) = text.split_once('+').unwrap_or((text, ""));
        if text.ends_with('+') {
            return None;
        }
        let (numbers, pre) = rest.split_once('-').unwrap_or((rest, ""));
        if rest.ends_with('-') && pre.is_empty() {
            return None;
        }
        let parts: Vec<&str> = numbers.split('.').collect();
        if parts.len() > 3 {
            return None;
        }
        let is_wildcard = |part: &&str| matches!(*part, "x" | "X" | "*");
        let given = parts.iter().position(&is_wildcard).unwrap_or(parts.len());
        let mut values = [0; 3];
        for (value, part) in values.iter_mut().zip(&parts) {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            *value = if is_wildcard(part) { 0 } else { digits.then(|| part.parse().ok()).flatten()? };
        }
        values[given..].fill(0);
        let mut number = semver::Version::new(values[0], values[1], values[2]);
        number.pre = semver::Prerelease::new(pre).ok()?;
        number.build = semver::BuildMetadata::new(build).ok()?;
        Some(Self { number, given, has_wildcard: given < parts.len() })
    }

    fn dirt(&self) -> Dirt {
        match self.given {
            0 => Dirt::All,
            1 => Dirt::Minor,
            2 => Dirt::Patch,
            _ => Dirt::None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    Tilde,
    Caret,
}

/// Longer spellings first: `>=` must not be read as `>`.
const OPERATORS: &[(&str, Operator)] = &[
    ("!=", Operator::NotEqual),
    (">=", Operator::GreaterOrEqual),
    ("=>", Operator::GreaterOrEqual),
    ("<=", Operator::LessOrEqual),
    ("=<", Operator::LessOrEqual),
    ("~>", Operator::Tilde),
    ("=", Operator::Equal),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("~", Operator::Tilde),
    ("^", Operator::Caret),
];

#[derive(Clone, Debug)]
struct Constraint {
    operator: Operator,
    bound: Partial,
}

/// Reads constraints that must all hold; the error is the piece that is not one.
fn parse_alternative(text: &str) -> Result<Vec<Constraint>, String> {
    let spaced = text.replace(',', " ");
    let mut tokens = join_operators(&spaced).into_iter().peekable();
    let mut constraints = Vec::new();
    while let Some(token) = tokens.next() {
        let from = parse_constraint(&token)?;
        if tokens.next_if(|next| next == "-").is_some() {
            let to = tokens.next().ok_or_else(|| text.trim().to_owned())?;
            let to = parse_constraint(&to)?;
            constraints.push(Constraint { operator: Operator::GreaterOrEqual, ..from });
            constraints.push(Constraint { operator: Operator::LessOrEqual, ..to });
        } else {
            constraints.push(from);
        }
    }
    if constraints.is_empty() {
        constraints.push(parse_constraint("*")?);
    }
    Ok(constraints)
}

/// Words of the text, an operator that stands alone joined to the version after it.
fn join_operators(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match tokens.last_mut() {
            Some(last) if OPERATORS.iter().any(|(sign, _)| sign == last) => last.push_str(word),
            _ => tokens.push(word.to_owned()),
        }
    }
    tokens
}

fn parse_constraint(token: &str) -> Result<Constraint, String> {
    let (operator, rest) = OPERATORS
        .iter()
        .find_map(|(sign, operator)| Some((*operator, token.strip_prefix(sign)?)))
        .unwrap_or((Operator::Equal, token));
    Partial::parse(rest).map(|bound| Constraint { operator, bound }).ok_or_else(|| token.to_owned())
}

impl Constraint {
    fn matches(&self, version: &semver::Version) -> bool {
        let order = version.cmp_precedence(&self.bound.number);
        match self.operator {
            Operator::Equal if self.bound.dirt() == Dirt::None => order.is_eq(),
            Operator::Equal | Operator::Tilde => order.is_ge() && self.tilde(version),
            Operator::NotEqual => self.differs(version),
            Operator::Greater => self.greater(version),
            Operator::Less => order.is_lt(),
            Operator::GreaterOrEqual => order.is_ge(),
            Operator::LessOrEqual => self.at_most(version),
            Operator::Caret => order.is_ge() && self.caret(version),
        }
    }

    fn tilde(&self, version: &semver::Version) -> bool {
        let bound = &self.bound.number;
        let zero = bound.major == 0 && bound.minor == 0 && bound.patch == 0;
        if zero && matches!(self.bound.dirt(), Dirt::None | Dirt::All) {
            return true;
        }
        version.major == bound.major && (version.minor == bound.minor || self.bound.dirt() == Dirt::Minor)
    }

    fn differs(&self, version: &semver::Version) -> bool {
        let bound = &self.bound.number;
        match self.bound.dirt() {
            Dirt::None | Dirt::All => version.cmp_precedence(bound).is_ne(),
            Dirt::Minor => version.major != bound.major,
            Dirt::Patch => (version.major, version.minor) != (bound.major, bound.minor) || version.pre != bound.pre,
        }
    }

    fn greater(&self, version: &semver::Version) -> bool {
        let bound = &self.bound.number;
        match self.bound.dirt() {
            Dirt::None | Dirt::All => version.cmp_precedence(bound).is_gt(),
            Dirt::Minor => version.major > bound.major,
            Dirt::Patch => (version.major, version.minor) > (bound.major, bound.minor),
        }
    }

    fn at_most(&self, version: &semver::Version) -> bool {
        let bound = &self.bound.number;
        match self.bound.dirt() {
            Dirt::None => version.cmp_precedence(bound).is_le(),
            Dirt::Minor => version.major <= bound.major,
            Dirt::Patch | Dirt::All => (version.major, version.minor) <= (bound.major, bound.minor),
        }
    }

    fn caret(&self, version: &semver::Version) -> bool {
        let bound = &self.bound.number;
        if bound.major > 0 || self.bound.dirt() == Dirt::Minor {
            return version.major == bound.major;
        }
        if version.major > 0 {
            return false;
        }
        if bound.minor > 0 || self.bound.dirt() == Dirt::Patch {
            return version.minor == bound.minor;
        }
        version.minor == 0 && version.patch == bound.patch
    }
}

#[cfg(test)]
mod tests;
