use proptest::prelude::*;

use super::*;

fn contains(range: &str, version: &str) -> bool {
    Range::parse(range).unwrap().contains(&Version::parse(version).unwrap())
}

#[test]
fn ranges_hold_what_the_dialect_says() {
    // (range, inside, outside), each checked against Masterminds/semver 3.5.
    let table: &[(&str, &[&str], &[&str])] = &[
        ("*", &["0.0.1", "1.2.3", "99.0.0"], &["1.0.0-rc.1"]),
        ("", &["0.0.1", "1.2.3"], &["1.0.0-rc.1"]),
        ("1.2.3", &["1.2.3", "v1.2.3", "1.2.3+build"], &["1.2.4", "1.2.3-rc.1"]),
        ("=1.2.3", &["1.2.3"], &["1.2.4"]),
        ("!=1.2.3", &["1.2.4"], &["1.2.3"]),
        ("!=1.x", &["2.0.0", "0.9.0"], &["1.0.0", "1.9.9"]),
        ("!=1.2.x", &["1.3.0", "2.2.0"], &["1.2.0", "1.2.9"]),
        (">1", &["2.0.0"], &["1.0.1", "1.9.9", "0.1.0"]),
        (">1.2", &["1.3.0", "2.0.0"], &["1.2.9"]),
        (">1.2.3", &["1.2.4"], &["1.2.3"]),
        ("<1.2", &["1.1.9"], &["1.2.0"]),
        (">=1.2.3", &["1.2.3", "2.0.0"], &["1.2.2"]),
        ("=>1.2.3", &["1.2.3"], &["1.2.2"]),
        ("<=1.2", &["1.2.9", "1.0.0"], &["1.3.0"]),
        ("<=1", &["1.9.9"], &["2.0.0"]),
        ("<=1.2.3", &["1.2.3"], &["1.2.4"]),
        ("~1.2.3", &["1.2.3", "1.2.9"], &["1.3.0", "1.2.2"]),
        ("~1.2", &["1.2.0", "1.2.9"], &["1.3.0"]),
        ("~1", &["1.0.0", "1.9.9"], &["2.0.0"]),
        ("~>1.2.3", &["1.2.9"], &["1.3.0"]),
        ("^1.2.3", &["1.2.3", "1.9.0"], &["2.0.0", "1.2.2"]),
        ("^0.2.3", &["0.2.3", "0.2.9"], &["0.3.0", "1.0.0"]),
        ("^0.0.3", &["0.0.3"], &["0.0.4", "0.1.0"]),
        ("^0.0", &["0.0.9"], &["0.1.0"]),
        ("^0", &["0.0.1", "0.9.9"], &["1.0.0"]),
        ("1.x", &["1.0.0", "1.9.9"], &["2.0.0", "0.9.0"]),
        ("1.2.x", &["1.2.0", "1.2.9"], &["1.3.0"]),
        ("1.2.*", &["1.2.9"], &["1.3.0"]),
        ("1", &["1.4.0"], &["2.0.0"]),
        (">=1.0.0 <2.0.0", &["1.5.0"], &["2.0.0", "0.9.0"]),
        (">=1.0.0, <2.0.0", &["1.5.0"], &["2.0.0"]),
        (">= 1.0.0 , < 2.0.0", &["1.5.0"], &["2.0.0"]),
        ("1.2 - 1.4.5", &["1.2.0", "1.4.5"], &["1.4.6", "1.1.9"]),
        ("1.2.0 - 2", &["2.9.9"], &["3.0.0"]),
        ("<1.0.0 || >=3.0.0", &["0.1.0", "3.0.0"], &["2.0.0"]),
        (">=1.0.0-0", &["1.0.0", "1.1.0-rc.1", "2.0.0-alpha"], &["0.9.0-rc.1"]),
        (">=1.0.0-0 <2.0.0", &["1.5.0-rc.1"], &["2.0.0"]),
        ("~1.2.3-beta.2", &["1.2.3-beta.4", "1.2.4"], &["1.2.3-beta.1"]),
        ("v1.2.x", &["v1.2.7"], &["v1.3.0"]),
        ("4.0.x", &["4.0.7"], &["4.1.0"]),
    ];
    for (range, inside, outside) in table {
        for version in *inside {
            assert!(contains(range, version), "{version} must be in {range:?}");
        }
        for version in *outside {
            assert!(!contains(range, version), "{version} must not be in {range:?}");
        }
    }
}

#[test]
fn text_that_is_no_range_is_named() {
    for range in ["nope", ">=1.0.0<2.0.0", "1.2.3.4", "~>", "FILLED_IN_BY_CI", "1.2 -", "latest || 1.x"] {
        let error = Range::parse(range).unwrap_err().to_string();
        assert!(error.contains(range), "{error}");
    }
    assert_eq!(Range::parse(&"1".repeat(600)).unwrap_err(), VersionError::TooLong);
}

#[test]
fn versions_are_read_loosely() {
    for (text, normal) in [("v1.2.3", "1.2.3"), ("1.2", "1.2.0"), ("025.1", "25.1.0"), ("1.0.0-rc.1+b", "1.0.0-rc.1+b")]
    {
        assert_eq!(Version::parse(text).unwrap().to_string(), normal);
    }
    for text in ["", "v", "1.x", "1.2.3.4", "1.2.3-", "1.2.3+", "abc", "1..2"] {
        assert!(Version::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn what_is_chosen_from_is_read_strictly() {
    for text in ["1.2.3", "v1.2.3", "0.0.0", "1.0.0-rc.1+b"] {
        assert_eq!(Version::parse_full(text).unwrap().original(), text);
    }
    for text in ["", "1", "1.2", "1.2-rc.1", "2024.01.15", "v01.2.3", "1.2.03", "1.2.3-01", "vv1.2.3", "V1.2.3"] {
        assert!(Version::parse_full(text).is_err(), "{text:?}");
    }
}

#[test]
fn build_metadata_is_replaced() {
    assert_eq!(Version::parse("1.0.0+old").unwrap().with_build("a1b2c3d4e5f6").unwrap(), "1.0.0+a1b2c3d4e5f6");
    assert!(Version::parse("1.0.0").unwrap().with_build("a/b").is_err());
}

#[test]
fn the_highest_in_range_wins() {
    let tags = ["v1.0.0", "v1.10.0", "v1.9.0", "v2.0.0-rc.1", "2024.01.15", "nightly"];
    let pick =
        |range: &str| highest(&tags, &Range::parse(range).unwrap(), |tag| Version::parse_full(tag).ok()).copied();
    assert_eq!(pick("1.x"), Some("v1.10.0"));
    assert_eq!(pick(">=1.0.0-0"), Some("v2.0.0-rc.1"));
    assert_eq!(pick("3.x"), None);
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,40}") {
        let _ = Range::parse(&text);
        let _ = Version::parse(&text);
    }

    #[test]
    fn a_version_is_in_its_own_range(major in 0_u64..50, minor in 0_u64..50, patch in 0_u64..50) {
        let version = format!("{major}.{minor}.{patch}");
        for sign in ["", "=", ">=", "<=", "~", "^"] {
            let range = format!("{sign}{version}");
            prop_assert!(contains(&range, &version));
        }
    }
}
