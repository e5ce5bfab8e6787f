use super::*;

const INDEX: &str = r"
apiVersion: v1
entries:
  nginx:
  - {name: nginx, version: 1.0.0, created: 2020-01-01T00:00:00Z, digest: aa, urls: [nginx-1.0.0.tgz]}
  - {name: nginx, version: 1.2.0+b1, created: 2021-01-01T00:00:00Z, urls: [https://cdn.example.com/nginx-1.2.0.tgz]}
  - {name: nginx, version: 1.2.0+b2, created: 2022-01-01T00:00:00Z, urls: []}
  - {name: nginx, version: 2.0.0-rc.1, urls: [x]}
  - {name: nginx, version: not-a-version}
  - {name: nginx, version: 2024.01.15, urls: [x]}
  - just a text
  - {version: 9.0.0}
  empty: []
generated: 2022-01-01T00:00:00Z
";

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn chart(text: &str, name: &str) -> Result<Chart, IndexError> {
    read(file(text).path(), name)
}

/// The same index in JSON, and in a layout that helm does not write.
fn forms() -> [String; 3] {
    let value = yaml::parse(INDEX).unwrap();
    [INDEX.to_owned(), value.to_string(), format!("---\n!!map\n{}", serde_saphyr::to_string(&value).unwrap())]
}

#[test]
fn versions_are_found_by_range() {
    for text in forms() {
        let nginx = chart(&text, "nginx").unwrap();
        for (range, version) in [
            ("", "1.2.0+b2"),
            ("*", "1.2.0+b2"),
            ("1.0.0", "1.0.0"),
            ("1.2.0+b1", "1.2.0+b1"),
            ("~1.0", "1.0.0"),
            (">=2.0.0-0", "2.0.0-rc.1"),
            ("2024.01.15", "2024.01.15"),
        ] {
            assert_eq!(nginx.find(range).unwrap().version, version, "{range:?}");
        }
        assert_eq!(nginx.wrong.len(), 3, "{:?}", nginx.wrong);
    }
}

#[test]
fn what_is_not_there_is_named() {
    assert!(chart(INDEX, "none").unwrap_err().to_string().contains("'none'"));
    let nginx = chart(INDEX, "nginx").unwrap();
    let missing = nginx.find("9.*").unwrap_err().to_string();
    assert!(missing.starts_with("no 'nginx' chart with version matching '9.*' found; 3 of its entries"), "{missing}");
    assert!(missing.contains("line 9: ") && missing.contains("line 12: missing field `name`"), "{missing}");
    assert!(matches!(nginx.find("nonsense"), Err(IndexError::Range(_))));
    assert!(chart(INDEX, "empty").unwrap().find("*").is_err());
    assert_eq!(chart("entries: {}\n", "nginx"), Err(IndexError::NoChart("nginx".to_owned())));
}

#[test]
fn what_is_no_index_is_refused() {
    let check = |text: &str| check(file(text).path());
    for text in forms() {
        check(&text).unwrap();
    }
    for good in ["entries: {}\n", "apiVersion: v1\nentries:\n", r#"{"entries": null}"#] {
        check(good).unwrap();
    }
    assert!(matches!(check("a: [\n"), Err(IndexError::Syntax(_))));
    assert!(matches!(check(r#"{"entries": {"#), Err(IndexError::Syntax(_))));
    for none in ["<html></html>", "{}", "[]", "", r#"{"entries": []}"#, "entries: []\n"] {
        assert_eq!(check(none), Err(IndexError::NoEntries), "{none}");
    }
}

#[test]
fn a_broken_entry_costs_itself_only() {
    let text = "entries:\n  broken:\n  - name: [\n  nginx:\n  - name: nginx\n    version: 1.0.0\n  - name: nginx\n    \
                version: \"2.0.0\n  - name: nginx\n    version: 3.0.0\n";
    let nginx = chart(text, "nginx").unwrap();
    assert_eq!(nginx.find("*").unwrap().version, "3.0.0");
    let [wrong] = nginx.wrong.as_slice() else { panic!("{:?}", nginx.wrong) };
    assert!(wrong.starts_with("line 8: ") || wrong.starts_with("line 9: "), "{wrong}");
    assert!(chart(text, "broken").unwrap().find("*").is_err());
}

#[test]
fn an_alias_into_another_entry_is_followed() {
    let text = "entries:\n  a:\n  - &a {name: a, version: 1.0.0}\n  b:\n  - *a\n  - {name: b, version: 2.0.0}\n";
    let found = chart(text, "b").unwrap();
    assert_eq!((found.entries.len(), found.wrong.len()), (2, 0));
}

#[test]
fn urls_are_relative_to_the_repository() {
    let index = chart(INDEX, "nginx").unwrap();
    let entry = |range: &str| index.find(range).unwrap();
    for repository in ["https://example.com/charts", "https://example.com/charts/"] {
        let repository = Url::parse(repository).unwrap();
        assert_eq!(entry("1.0.0").url(&repository).unwrap().as_str(), "https://example.com/charts/nginx-1.0.0.tgz");
        assert_eq!(index_url(&repository).as_str(), "https://example.com/charts/index.yaml");
    }
    let repository = Url::parse("https://example.com/charts?token=x").unwrap();
    assert_eq!(index_url(&repository).as_str(), "https://example.com/charts/index.yaml?token=x");
    assert_eq!(entry("1.0.0").url(&repository).unwrap().query(), Some("token=x"));
    assert_eq!(entry("1.2.0+b1").url(&repository).unwrap().host_str(), Some("cdn.example.com"));
    assert!(matches!(entry("*").url(&repository), Err(IndexError::NoUrl(_))));
}
