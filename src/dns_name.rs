//! Names that Kubernetes accepts, and what is wrong with the others.

const LONGEST_LABEL: usize = 63;
const LONGEST_SUBDOMAIN: usize = 253;

/// What is wrong with a DNS label (RFC 1123: at most 63 of `a-z`, `0-9` and `-`).
pub fn label(name: &str) -> Option<String> {
    wrong(name, LONGEST_LABEL, b"-", "a-z, 0-9 and `-`")
}

/// What is wrong with a DNS name (RFC 1123: parts that are joined by dots, at most 253 characters).
pub fn subdomain(name: &str) -> Option<String> {
    wrong(name, LONGEST_SUBDOMAIN, b"-.", "a-z, 0-9, `-` and `.`")
        .or_else(|| name.split('.').find_map(|part| edges(name, part)))
}

fn wrong(name: &str, longest: usize, extra: &[u8], allowed: &str) -> Option<String> {
    let fits = |character: &char| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || matches_byte(*character, extra)
    };
    if let Some(character) = name.chars().find(|character| !fits(character)) {
        return Some(format!("`{name}` is no valid name: `{}` is not among {allowed}", character.escape_default()));
    }
    if name.len() > longest {
        return Some(format!("`{name}` is no valid name: it is longer than {longest} characters"));
    }
    edges(name, name)
}

fn matches_byte(character: char, bytes: &[u8]) -> bool {
    u8::try_from(character).is_ok_and(|byte| bytes.contains(&byte))
}

fn edges(name: &str, part: &str) -> Option<String> {
    let word = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    if part.is_empty() {
        return Some(format!("`{name}` is no valid name: a part of it is empty"));
    }
    if !part.ends_with(word) {
        return Some(format!("`{name}` is no valid name: it must not end with `-` (is an id missing?)"));
    }
    if !part.starts_with(word) {
        return Some(format!("`{name}` is no valid name: it must begin with a letter or a digit"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects_are_told_from_others() {
        for name in ["keys", "a.b-c.0", &"a".repeat(253)] {
            assert_eq!(subdomain(name), None, "{name}");
        }
        for (name, needle) in [
            ("", "a part of it is empty"),
            ("a..b", "a part of it is empty"),
            ("Keys", "`K` is not among"),
            ("a b", "` ` is not among"),
            ("-a", "must begin with"),
            ("a-", "must not end with"),
            (&"a".repeat(254), "longer than 253"),
        ] {
            let told = subdomain(name).unwrap_or_default();
            assert!(told.contains(needle), "{name}: {told}");
        }
        assert!(label("a.b").is_some() && label("a-b").is_none());
    }
}
