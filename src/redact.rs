//! Keeps secrets out of everything a person or a log collector reads.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// What stands in a text where a secret stood.
pub const MASK: &str = "*****";

/// Secrets shorter than this many bytes are not searched for: blanking every `1` or `on` in a
/// message would destroy it and protect nothing.
const SHORTEST_SECRET: usize = 4;

static URL_CREDENTIALS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s@]+@").expect("the pattern is a constant"));

static AUTHORIZATION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(authorization:\s*|bearer\s+|basic\s+)[A-Za-z0-9+/=._~-]{8,}")
        .expect("the pattern is a constant")
});

static PRIVATE_KEY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\z)")
        .expect("the pattern is a constant")
});

/// Blanks out known secrets, and what looks like one: credentials in a URL, authorization
/// headers and private keys.
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Vec<String>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} secrets)", self.secrets.len())
    }
}

impl Redactor {
    /// Adds a secret; each of its lines of four bytes or more is blanked out wherever it stands.
    pub fn add(&mut self, secret: &str) {
        let lines = secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_SECRET);
        self.secrets.extend(lines.map(str::to_owned));
        // The longest first, or a secret that contains another would leave its tail behind.
        self.secrets.sort_by_key(|known| std::cmp::Reverse(known.len()));
        self.secrets.dedup();
    }

    /// The text without secrets.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut clean = redact(text);
        for secret in &self.secrets {
            if clean.contains(secret.as_str()) {
                clean = Cow::Owned(clean.replace(secret.as_str(), MASK));
            }
        }
        clean
    }
}

/// The text without what looks like a secret in any text: credentials in a URL, authorization
/// headers and private keys.
pub fn redact(text: &str) -> Cow<'_, str> {
    let steps: [(&Regex, &str); 3] =
        [(&PRIVATE_KEY, MASK), (&URL_CREDENTIALS, "${1}*****@"), (&AUTHORIZATION, "${1}*****")];
    let mut clean = Cow::Borrowed(text);
    for (pattern, replacement) in steps {
        if pattern.is_match(&clean) {
            clean = Cow::Owned(pattern.replace_all(&clean, replacement).into_owned());
        }
    }
    clean
}

/// Where a URL leads: without credentials, and without its query, which may hold a token.
pub fn place(url: &str) -> Cow<'_, str> {
    redact(url.split('?').next().unwrap_or_default())
}

/// The first `limit` bytes of a text at the most, cut at a character and marked where cut.
pub fn bounded(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let cut = text.floor_char_boundary(limit);
    Cow::Owned(format!("{}… ({} more bytes)", &text[..cut], text.len() - cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_secrets_vanish_longest_first() {
        let mut redactor = Redactor::default();
        redactor.add("hunter2");
        redactor.add("hunter2-and-more");
        assert_eq!(redactor.text("x hunter2-and-more y hunter2"), "x ***** y *****");
    }

    #[test]
    fn each_line_of_a_secret_counts_and_short_ones_do_not() {
        let mut redactor = Redactor::default();
        redactor.add("first-line\nno\nsecond-line");
        assert_eq!(redactor.text("no second-line"), "no *****");
    }

    #[test]
    fn what_looks_like_a_secret_vanishes() {
        let cases = [
            ("clone https://ann:pw@git.example/x failed", "clone https://*****@git.example/x failed"),
            ("Authorization: Bearer abcdefghijk", "Authorization: Bearer *****"),
            ("ssh://git@host/x", "ssh://*****@host/x"),
            ("a -----BEGIN EC PRIVATE KEY-----\nMIG\n-----END EC PRIVATE KEY----- b", "a ***** b"),
            ("nothing here", "nothing here"),
        ];
        for (text, clean) in cases {
            assert_eq!(redact(text), clean);
        }
    }

    #[test]
    fn a_place_has_no_credentials_and_no_query() {
        assert_eq!(place("https://ann:pw@charts.example/x?key=hunter2"), "https://*****@charts.example/x");
        assert_eq!(place("oci://charts.example/x"), "oci://charts.example/x");
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(bounded("äöü", 3), "ä… (4 more bytes)");
        assert_eq!(bounded("abc", 3), "abc");
    }
}
