use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::*;

fn repository(url: &str) -> Repository {
    Repository::parse(url).unwrap()
}

fn statement(level: &str, scopes: &[&str], stores: &[&str]) -> Value {
    json!({
        "name": format!("for {}", scopes.join(" ")), "registryScopes": scopes, "trustStores": stores,
        "signatureVerification": {"level": level}, "trustedIdentities": ["*"],
    })
}

fn secret(policy: &str, certificates: &[&str]) -> SecretData {
    let certificates = certificates.iter().map(|name| ((*name).to_owned(), ByteString(name.as_bytes().to_vec())));
    certificates.chain([(TRUST_POLICY.to_owned(), ByteString(policy.as_bytes().to_vec()))]).collect()
}

fn trust(statements: &[Value]) -> Trust {
    let policy = json!({"version": "1.0", "trustPolicies": statements}).to_string();
    Trust::read("apps/trust", &secret(&policy, &["a.crt"])).map_err(|error| error.to_string()).unwrap()
}

fn paths(trust: &Trust, scope: &str) -> Result<Vec<String>, String> {
    let files = trust.files(scope).map_err(|error| error.to_string())?;
    Ok(files.iter().map(|(path, _)| path.display().to_string()).collect())
}

#[test]
fn a_secret_without_policy_or_certificates_says_so_without_quoting_it() {
    let many: Vec<String> = (0..=MAX_CERTIFICATES).map(|index| format!("{index}.crt")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (data, expected) in [
        (SecretData::new(), "'trustpolicy.json' not found in secret 'apps/trust'"),
        (secret("", &["a.crt"]), "'trustpolicy.json' not found"),
        (secret("hunter2", &["a.crt"]), "parsing trustpolicy.json: not a trust policy in JSON: line 1, column 1"),
        (secret(r#"{"version": "1.0", "trustPolicies": "hunter2"}"#, &["a.crt"]), "line 1, column 45"),
        (secret("{}", &[]), "no certificates found in secret 'apps/trust': no key ends in '.crt' or '.pem'"),
        (secret("{}", &["a.key", "../a.crt"]), "no certificates found"),
        (secret("{}", &many), "more than 100 certificates"),
    ] {
        let error = Trust::read("apps/trust", &data).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected) && !error.contains("hunter2"), "{error} is not {expected}");
    }
}

#[test]
fn every_certificate_is_in_every_store_of_the_statement() {
    let policy = json!({"trustPolicies": [
        statement("strict", &["a.io/app"], &["ca:one", "tsa:one", "ca:one"]),
        statement("strict", &["b.io/app"], &["ca:other"]),
    ]});
    let data = secret(&policy.to_string(), &["a.crt", "b.pem", "c.key"]);
    let trust = Trust::read("apps/trust", &data).map_err(|error| error.to_string()).unwrap();
    let expected = [
        "trustpolicy.json",
        "truststore/x509/ca/one/a.crt",
        "truststore/x509/ca/one/b.pem",
        "truststore/x509/tsa/one/a.crt",
        "truststore/x509/tsa/one/b.pem",
    ];
    assert_eq!(paths(&trust, "a.io/app").unwrap(), expected);
    assert_eq!(trust.files("a.io/app").unwrap()[2].1, b"b.pem");
}

#[test]
fn the_statement_that_names_the_repository_counts() {
    let trust = trust(&[
        statement("strict", &["a.io/app", "b.io/app"], &["ca:named"]),
        statement("skip", &["c.io/app"], &[]),
        statement("strict", &["*"], &["ca:all"]),
    ]);
    for (scope, expected) in [("b.io/app", "ca/named"), ("d.io/app", "ca/all"), ("a.io", "ca/all")] {
        assert!(paths(&trust, scope).unwrap()[1].contains(expected), "{scope}");
    }
    let error = paths(&trust, "c.io/app").unwrap_err();
    assert!(error.contains("statement 'for c.io/app'") && error.contains("level 'skip'"), "{error}");
}

#[test]
fn a_policy_that_trusts_anybody_is_refused() {
    let overriding = |level: &str, action: &str| {
        let mut statement = statement(level, &["*"], &["ca:s"]);
        statement["signatureVerification"]["override"] = json!({"authenticity": action, "revocation": "skip"});
        statement
    };
    for (statement, expected) in [
        (statement("strict", &["*"], &["ca:s"]), None),
        (statement("permissive", &["*"], &["signingAuthority:s-1_a.b"]), None),
        (overriding("audit", "enforce"), None),
        (overriding("strict", "log"), Some("pass whoever signed them")),
        (overriding("strict", "anything"), Some("pass whoever signed them")),
        (overriding("skip", "enforce"), Some("pass whoever signed them")),
        (statement("audit", &["*"], &["ca:s"]), Some("has level 'audit'")),
        (statement("skip", &["*"], &["ca:s"]), Some("has level 'skip'")),
        (statement("", &["*"], &["ca:s"]), Some("has level ''")),
        (statement("Strict", &["*"], &["ca:s"]), Some("use 'strict' or 'permissive'")),
        (statement("strict", &["b.io/app"], &["ca:s"]), Some("is about 'a.io/app': name it in 'registryScopes'")),
    ] {
        let error = paths(&trust(&[statement]), "a.io/app").err();
        assert_eq!(error.is_some(), expected.is_some(), "{error:?}");
        assert!(error.as_ref().is_none_or(|error| error.contains(expected.unwrap())), "{error:?}");
    }
}

#[test]
fn no_trust_store_is_outside_of_the_trust_store() {
    let stores = |stores: &[&str]| paths(&trust(&[statement("strict", &["*"], stores)]), "a.io/app");
    for store in ["ca:..", "ca:.", "ca:a/b", "ca:../../x", "ca:", "ca", "..:a", "CA:a", "tls:a", "ca:a:b", "ca:ä"] {
        let error = stores(&[store]).unwrap_err();
        assert!(error.contains(&format!("has trust store '{store}'")), "{error}");
    }
    let many: Vec<String> = (0..=MAX_STORES).map(|index| format!("ca:{index}")).collect();
    let error = stores(&many.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_err();
    assert!(error.contains("more than 16 trust stores"), "{error}");
}

#[test]
fn notation_reads_what_was_judged() {
    let text = r#"{"version": "1.0", "more": 1, "trustPolicies": [
        {"name": "a", "registryScopes": ["*"], "trustStores": ["ca:s"], "trustedIdentities": ["*"],
         "signatureVerification": {"level": "strict", "LEVEL": "skip", "verifyTimestamp": "always"}},
        {"name": "b", "registryScopes": ["b.io/x"], "trustStores": ["ca:s"], "trustedIdentities": ["*"],
         "signatureVerification": {"level": "skip"}}
    ]}"#;
    let trust = Trust::read("apps/trust", &secret(text, &["a.crt"])).map_err(|error| error.to_string()).unwrap();
    let written: Value = serde_json::from_slice(trust.files("a.io/app").unwrap()[0].1).unwrap();
    let expected = json!({"version": "1.0", "trustPolicies": [
        {"name": "a", "registryScopes": ["*"], "trustStores": ["ca:s"], "trustedIdentities": ["*"],
         "signatureVerification": {"level": "strict", "verifyTimestamp": "always"}},
        {"name": "b", "registryScopes": ["b.io/x"], "trustStores": [], "trustedIdentities": [],
         "signatureVerification": {"level": "skip"}},
    ]});
    assert_eq!(written, expected);
}

#[test]
fn policies_and_signatures_name_the_artifact_that_is_fetched() {
    let digest = Digest::of(b"");
    for (url, expected) in [
        ("oci://ghcr.io/org/app", "ghcr.io/org/app"),
        ("oci://127.0.0.1:5000/app", "127.0.0.1:5000/app"),
        ("oci://registry/app", "registry/app"),
        ("oci://docker.io/nginx", "index.docker.io/library/nginx"),
        ("oci://registry-1.docker.io/org/app", "index.docker.io/org/app"),
    ] {
        assert_eq!(scope(&repository(url)), expected);
        assert_eq!(artifact(&repository(url), &digest), format!("{expected}@{digest}"));
    }
    let joined = |insecure| argv("a.io/app@sha256:1", insecure).join(" ".as_ref()).into_string().unwrap();
    assert_eq!(joined(false), "verify --verbose a.io/app@sha256:1");
    assert_eq!(joined(true), "verify --verbose --insecure-registry a.io/app@sha256:1");
}

#[test]
fn what_notation_cannot_do_is_named() {
    for (url, insecure, client_certificate, expected) in [
        ("oci://a.io/app", false, false, None),
        ("oci://localhost/app", false, false, None),
        ("oci://localhost:5000/app", true, false, None),
        ("oci://localhost:5000/app", false, false, Some("plain HTTP with 'localhost:5000'")),
        ("oci://a.io/app", false, true, Some("cannot show a client certificate")),
    ] {
        let told = hindrance(&repository(url), insecure, client_certificate);
        assert_eq!(told.is_some(), expected.is_some(), "{told:?}");
        assert!(told.as_ref().is_none_or(|told| told.contains(expected.unwrap())), "{told:?}");
    }
}

#[test]
fn the_cause_is_found_in_what_notation_says() {
    let failed = "Error: signature verification failed for all the signatures associated with a.io/app@sha256:1\n";
    let log = |reason: &str| format!("level=warning msg=Signature sha256:2 failed verification with error: {reason}\n");
    for (stderr, expected) in [
        (
            "level=info msg=x\nError: signature verification failed: no signature is associated with \"x\"\n"
                .to_owned(),
            "no signature is associated with \"x\"".to_owned(),
        ),
        (
            [log("nobody").as_str(), "level=info msg=x\n", &log("nobody"), &log("too late"), failed].concat(),
            "no matching signatures were found for 'a@1': nobody; too late".to_owned(),
        ),
        ("Error: Head \"https://a\":\n  refused\n".to_owned(), "Head \"https://a\": refused".to_owned()),
        ("one\ntwo\n".to_owned(), "two".to_owned()),
        (String::new(), "notation says nothing".to_owned()),
    ] {
        assert_eq!(verdict("a@1", &stderr), expected);
    }
    assert!(verdict("a@1", &format!("Error: {}", "x".repeat(2000))).len() < 600);
}
