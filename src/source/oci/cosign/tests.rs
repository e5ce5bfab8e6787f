use super::*;

fn repository(url: &str) -> Repository {
    Repository::parse(url).unwrap()
}

fn joined(signer: &Signer<'_>, connection: Connection<'_>) -> String {
    let argv = argv("ghcr.io/org/app@sha256:1", signer, connection);
    argv.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_key_or_an_identity_is_asked_for() {
    let key = Signer::Key("/k/a.pub".into());
    let plain = joined(&key, Connection::default());
    assert_eq!(plain, "verify --key=/k/a.pub --insecure-ignore-tlog=true ghcr.io/org/app@sha256:1");
    let by = |trusted_root| Signer::Identity { issuer: "^https://i$", subject: "-s", trusted_root };
    let keyless = joined(&by(Some("/k/root.json".into())), Connection::default());
    let flags = "--certificate-oidc-issuer-regexp=^https://i$ --certificate-identity-regexp=-s";
    let expected = format!("verify {flags} --trusted-root=/k/root.json ghcr.io/org/app@sha256:1");
    assert_eq!(keyless, expected, "neither the log nor the proof of the certificate's own log is passed over");
    assert!(!joined(&by(None), Connection::default()).contains("trusted-root"));
}

#[test]
fn the_connection_is_as_the_object_says() {
    let key = Signer::Key("k".into());
    let insecure = Connection { insecure: true, any_certificate: true, ..Connection::default() };
    let said = joined(&key, insecure);
    assert!(said.contains("--allow-http-registry=true --allow-insecure-registry=true"), "{said}");
    let identity = Some((Path::new("crt"), Path::new("key")));
    let said = joined(&key, Connection { identity, insecure: true, any_certificate: false });
    assert!(said.contains("--registry-client-cert=crt --registry-client-key=key"), "{said}");
    assert!(!said.contains("--allow-insecure-registry"), "{said}");
}

#[test]
fn cosign_takes_the_same_artifact_that_is_fetched() {
    let digest = Digest::of(b"");
    for (url, insecure, expected) in [
        ("oci://ghcr.io/org/app", false, "ghcr.io/org/app"),
        ("oci://127.0.0.1:5000/app", true, "127.0.0.1:5000/app"),
        ("oci://localhost/app", true, "localhost/app"),
        ("oci://registry/app", false, "registry:443/app"),
        ("oci://registry/app", true, "registry:80/app"),
        ("oci://docker.io/nginx", false, "index.docker.io/library/nginx"),
        ("oci://registry-1.docker.io/org/app", false, "index.docker.io/org/app"),
    ] {
        assert_eq!(artifact(&repository(url), &digest, insecure), format!("{expected}@{digest}"), "{url}");
    }
}

#[test]
fn the_cause_is_found_in_what_cosign_says() {
    let unsigned = |why: &str| Answer::Unsigned(why.to_owned());
    let broken = |why: &str| Answer::Broken(why.to_owned());
    for (code, stderr, expected) in [
        (
            10,
            "WARNING: x\nError: no signatures found\nerror during command execution: y",
            unsigned("no signatures found"),
        ),
        (1, "Error: no matching attestations: wrong key\n", unsigned("no matching attestations: wrong key")),
        (1, "Error: Get \"https://a\": refused\n", broken("Get \"https://a\": refused")),
        (1, "Error: root:\n1\n\tis not 2\nerror during command execution: root:\n1", broken("root: 1 is not 2")),
        (1, "one\ntwo\n", broken("two")),
        (-1, "", broken("cosign says nothing")),
    ] {
        assert_eq!(Answer::read(code, stderr), expected);
    }
}

#[test]
fn a_verdict_tells_each_reason_once() {
    let unsigned = |why: &str| Answer::Unsigned(why.to_owned());
    let broken = |why: &str| Answer::Broken(why.to_owned());
    for (answers, expected) in [
        (vec![("a.pub", unsigned("none"))], "no matching signatures were found for 'x': none"),
        (
            vec![("a.pub", unsigned("none")), ("b.pub", unsigned("none"))],
            "no matching signatures were found for 'x': none",
        ),
        (
            vec![("a.pub", unsigned("none")), ("b.pub", broken("no PEM")), ("c.pub", unsigned("none"))],
            "no matching signatures were found for 'x': a.pub, c.pub: none; b.pub: no PEM",
        ),
        (vec![("a.pub", broken("refused"))], "cannot look for signatures of 'x': refused"),
    ] {
        assert_eq!(verdict("x", &answers), expected);
    }
}
