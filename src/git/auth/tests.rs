use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn secret(pairs: &[(&str, &str)]) -> BTreeMap<String, ByteString> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec()))).collect()
}

fn session(url: &str, transport: Transport, pairs: &[(&str, &str)]) -> (tempfile::TempDir, Session) {
    let dir = tempfile::tempdir().unwrap();
    let parsed = Url::parse(url).unwrap();
    let credential = Credential::from_secret((&parsed, transport), &secret(pairs)).unwrap();
    let session = Session::prepare(&Remote::new(url, credential).unwrap(), dir.path()).unwrap();
    (dir, session)
}

fn value<'s>(session: &'s Session, setting: &str) -> Option<&'s str> {
    let index = session.environment().find(|(_, value)| *value == setting)?.0.strip_prefix("GIT_CONFIG_KEY_")?;
    session.environment().find(|(name, _)| *name == format!("GIT_CONFIG_VALUE_{index}")).map(|(_, value)| value)
}

#[test]
fn basic_goes_to_its_own_host_only() {
    let (_dir, session) =
        session("https://h:8443/x.git", Transport::Http, &[("username", "u"), ("password", "hunter2")]);
    assert_eq!(value(&session, "http.https://h:8443/.extraHeader"), Some("Authorization: Basic dTpodW50ZXIy"));
    assert!(session.secrets().any(|secret| secret == "hunter2"));
}

#[test]
fn the_url_has_what_the_secret_lacks() {
    let basic = |pair: &str| Some(format!("Authorization: Basic {}", STANDARD.encode(pair)));
    for (url, pairs, expected) in [
        ("https://org@h/x", vec![("password", "p")], basic("org:p")),
        ("https://org@h/x", vec![("username", ""), ("password", "p")], basic("org:p")),
        ("https://org@h/x", vec![("username", "u"), ("password", "p")], basic("u:p")),
        ("https://org:pw@h/x", vec![("username", "u")], basic("u:pw")),
        ("https://me%40org:p%2Fw@h/x", vec![], basic("me@org:p/w")),
        ("https://h/x", vec![], None),
    ] {
        let (_dir, session) = session(url, Transport::Http, &pairs);
        assert_eq!(value(&session, "http.https://h/.extraHeader"), expected.as_deref(), "{url} {pairs:?}");
    }
}

#[test]
fn a_bearer_token_wins_over_a_user() {
    let (_dir, session) = session("https://h/x", Transport::Http, &[("bearerToken", "tok"), ("username", "u")]);
    assert_eq!(value(&session, "http.https://h/.extraHeader"), Some("Authorization: Bearer tok"));
}

#[test]
fn ssh_uses_private_files_that_go_away() {
    let (dir, session) =
        session("ssh://h/x", Transport::Ssh, &[("identity", "KEY"), ("known_hosts", "h k"), ("password", "pass")]);
    let command = session.environment().find(|(name, _)| *name == "GIT_SSH_COMMAND").unwrap().1.to_owned();
    assert!(command.contains("StrictHostKeyChecking=yes") && !command.contains("BatchMode"), "{command}");
    assert!(!command.contains("KEY") && !command.contains("pass "), "{command}");
    let files = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    for name in ["identity", "known_hosts", "passphrase"] {
        let mode = std::fs::metadata(files.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    drop(session);
    assert!(!files.exists());
}

#[test]
fn incomplete_secrets_name_what_is_missing() {
    for (transport, pairs, needle) in [
        (Transport::Ssh, vec![("known_hosts", "x")], "identity"),
        (Transport::Ssh, vec![("identity", "x")], "known_hosts"),
        (Transport::Http, vec![("password", "x")], "username"),
        (Transport::Http, vec![("tls.crt", "x")], "tls.key"),
        (
            Transport::Ssh,
            vec![("identity", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nx\n"), ("known_hosts", "h k")],
            "no 'password'",
        ),
        (
            Transport::Ssh,
            vec![("identity", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nx\n"), ("known_hosts", "h k")],
            "no 'password'",
        ),
    ] {
        let url = Url::parse("https://h/x").unwrap();
        let error = Credential::from_secret((&url, transport), &secret(&pairs)).unwrap_err().to_string();
        assert!(error.contains(needle), "{error}");
    }
}

#[test]
fn the_operators_own_logins_are_off() {
    let (_dir, session) = session("https://h/x", Transport::Http, &[]);
    assert_eq!(value(&session, "credential.helper"), Some(""));
    let home = session.environment().find(|(name, _)| *name == "HOME").unwrap().1;
    assert_eq!(std::fs::read_dir(home).unwrap().count(), 0);
    let error = Credential::none(Transport::Ssh).unwrap_err().to_string();
    assert_eq!(error, "invalid 'ssh' auth option: 'identity' is required");
    assert!(Credential::none(Transport::Http).is_ok());
}
