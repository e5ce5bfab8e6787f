//! Shell patterns for one path element, as Go's `filepath.Match` reads them. Pure.

/// Whether the name matches the pattern: `*`, `?`, `[a-z]`, `[^a-z]` and `\` are special.
/// A malformed pattern matches nothing.
pub fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    match_from(&pattern, &name)
}

/// Greedy matching that goes back to the last `*` only, so that no pattern takes exponential time.
fn match_from(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut position) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while position < name.len() {
        if pattern.get(at) == Some(&'*') {
            last_star = Some((at + 1, position));
            at += 1;
            continue;
        }
        if (name[position] != '/' || pattern.get(at) == Some(&'/'))
            && let Some(next) = match_one(pattern, at, name[position])
        {
            at = next;
            position += 1;
            continue;
        }
        match last_star {
            Some((after, start)) if name[start] != '/' => {
                at = after;
                position = start + 1;
                last_star = Some((after, position));
            }
            _ => return false,
        }
    }
    pattern[at..].iter().all(|&character| character == '*')
}

/// The place after the pattern's next element if that matches the character.
fn match_one(pattern: &[char], at: usize, character: char) -> Option<usize> {
    match *pattern.get(at)? {
        '?' => Some(at + 1),
        '[' => match_class(pattern, at + 1, character),
        '\\' => (*pattern.get(at + 1)? == character).then_some(at + 2),
        literal => (literal == character).then_some(at + 1),
    }
}

fn match_class(pattern: &[char], start: usize, character: char) -> Option<usize> {
    let negated = pattern.get(start) == Some(&'^');
    let mut at = start + usize::from(negated);
    let mut found = false;
    let mut empty = true;
    loop {
        match *pattern.get(at)? {
            ']' if !empty => break,
            _ => {
                let (low, next) = class_member(pattern, at)?;
                let (high, next) =
                    if pattern.get(next) == Some(&'-') { class_member(pattern, next + 1)? } else { (low, next) };
                found |= (low..=high).contains(&character);
                at = next;
                empty = false;
            }
        }
    }
    (found != negated).then_some(at + 1)
}

fn class_member(pattern: &[char], at: usize) -> Option<(char, usize)> {
    match *pattern.get(at)? {
        '-' | ']' => None,
        '\\' => Some((*pattern.get(at + 1)?, at + 2)),
        literal => Some((literal, at + 1)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, name, expected) in [
            ("*", "anything", true),
            ("*.jpg", "a.jpg", true),
            ("*.jpg", "a.jpeg", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcdx", false),
            ("?", "é", true),
            ("?", "", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[]a]", "a", false),
            ("[a", "a", false),
            ("*.tar.gz", "x.tar.gz", true),
            ("", "", true),
            ("**", "ab", true),
            ("a/*", "a/b", true),
            ("a*", "a/b", false),
            ("a?b", "a/b", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern:?} against {name:?}");
        }
    }

    proptest! {
        #[test]
        fn every_name_matches_itself_and_the_star(name in "[a-z.]{0,12}") {
            prop_assert!(matches(&name, &name));
            prop_assert!(matches("*", &name));
            let around = format!("*{name}*");
            prop_assert!(matches(&around, &name));
        }

        #[test]
        fn no_pattern_panics(pattern in ".{0,12}", name in ".{0,12}") {
            let _ = matches(&pattern, &name);
        }
    }
}
