//! Git and charts are served as the real programs expect them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fairlead_testbench::tools::{git, run, tool, try_run};
use fairlead_testbench::{Behaviour, ChartServer, GitServer, KeyKind, SshKey, fixture_chart};

fn clean_git() -> Command {
    let mut command = Command::new(git());
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
    command
}

fn ls_remote(url: &str) -> Result<String, String> {
    try_run(clean_git().args(["ls-remote", url, "refs/heads/main"]))
}

#[test]
fn http_serves_what_was_committed_last() {
    let server = GitServer::start();
    let repository = server.repository("releases");
    let first = repository.commit("one", &[("production/a.yaml", Some("a: 1"))]);
    let url = server.url(&repository);
    assert!(ls_remote(&url).unwrap().starts_with(&first));

    let second = repository.commit("two", &[("production/b.yaml", Some("b: 1")), ("production/a.yaml", None)]);
    let folder = tempfile::tempdir().unwrap();
    run(clean_git().args(["clone", "--quiet", "--depth=1", &url]).arg(folder.path()));
    assert!(folder.path().join("production/b.yaml").exists());
    assert!(!folder.path().join("production/a.yaml").exists());
    assert!(server.count() > 2);

    let rewritten = repository.rewrite("main", "two again", &[("production/b.yaml", Some("b: 2"))]);
    assert_ne!(second, rewritten);
    assert!(ls_remote(&url).unwrap().starts_with(&rewritten));

    repository.tag("v1.0.0");
    repository.annotated_tag("v1.1.0", "a release");
    repository.commit_to("next", "three", &[("c.yaml", Some("c: 1"))]);
    repository.delete_branch("next");
    let refs = run(clean_git().args(["ls-remote", &url]));
    assert!(refs.contains("refs/tags/v1.1.0^{}") && !refs.contains("next"), "{refs}");
}

#[test]
fn credentials_and_certificates_are_asked_for() {
    let server = GitServer::builder().basic_auth("me", "secret").tls().start();
    let repository = server.repository("private");
    repository.commit("one", &[("a", Some("1"))]);
    let url = server.url(&repository);
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.crt");
    std::fs::write(&authority, server.authority()).unwrap();

    let untrusted = ls_remote(&url).unwrap_err();
    assert!(untrusted.contains("certificate"), "{untrusted}");
    let ask = |url: &str| try_run(clean_git().env("GIT_SSL_CAINFO", &authority).args(["ls-remote", url]));
    ask(&url).unwrap_err();
    ask(&url.replace("https://", "https://me:secret@")).unwrap();
}

#[test]
fn a_server_can_refuse() {
    let server = GitServer::start();
    let repository = server.repository("releases");
    repository.commit("one", &[("a", Some("1"))]);
    server.behave(Behaviour::Refuse);
    let error = ls_remote(&server.url(&repository)).unwrap_err();
    assert!(error.contains("503"), "{error}");
    server.behave(Behaviour::Serve);
    ls_remote(&server.url(&repository)).unwrap();
}

fn ssh_command(folder: &Path, key: &SshKey, known_hosts: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let (identity, hosts) = (folder.join("identity"), folder.join("known_hosts"));
    std::fs::write(&identity, &key.private).unwrap();
    std::fs::set_permissions(&identity, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&hosts, known_hosts).unwrap();
    let options = "-F none -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes";
    format!("ssh {options} -i {} -o UserKnownHostsFile={}", identity.display(), hosts.display())
}

#[test]
fn ssh_serves_holders_of_known_keys() {
    for (kind, host) in
        [(KeyKind::EcdsaP384, KeyKind::Ed25519), (KeyKind::Ed25519, KeyKind::EcdsaP384), (KeyKind::Rsa, KeyKind::Rsa)]
    {
        let key = SshKey::generate(kind);
        let server = GitServer::builder().ssh(&key).host_key(host).start();
        let repository = server.repository("releases");
        let head = repository.commit("one", &[("a", Some("1"))]);
        let url = server.ssh_url(&repository);
        let folder = tempfile::tempdir().unwrap();
        let clone = |key: &SshKey, hosts: &str| {
            let target = tempfile::tempdir().unwrap();
            let ssh = ssh_command(folder.path(), key, hosts);
            try_run(clean_git().env("GIT_SSH_COMMAND", ssh).args(["clone", "--quiet", &url]).arg(target.path()))?;
            try_run(clean_git().arg("-C").arg(target.path()).args(["rev-parse", "HEAD"]))
        };
        assert_eq!(clone(&key, &server.known_hosts()).unwrap().trim(), head, "{kind:?}");
        let stranger = clone(&SshKey::generate(kind), &server.known_hosts()).unwrap_err();
        assert!(stranger.contains("Permission denied"), "{stranger}");
        let impostor = clone(&key, &server.wrong_known_hosts()).unwrap_err();
        assert!(impostor.contains("Host key verification failed"), "{impostor}");
    }
}

#[test]
fn helm_pulls_from_a_chart_server() {
    let server = ChartServer::builder().basic_auth("me", "secret").start();
    let chart = fixture_chart("nodejs");
    server.publish(&chart, "1.0.0");
    server.publish(&chart, "1.1.0");
    for helm in ["helm3", "helm4"] {
        let folder = tempfile::tempdir().unwrap();
        let pull = |password: &str| {
            try_run(
                Command::new(tool(helm))
                    .envs(["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"].map(|name| (name, folder.path())))
                    .args(["template", "ui", "nodejs", "--repo", server.url(), "--version", "^1.0.0"])
                    .args(["--username", "me", "--password", password]),
            )
        };
        let rendered = pull("secret").unwrap();
        assert!(rendered.contains("helm.sh/chart: nodejs-1.1.0"), "{rendered}");
        pull("wrong").unwrap_err();
    }
}

#[tokio::test]
async fn hanging_keeps_the_connection_open() {
    let server = ChartServer::start();
    server.behave(Behaviour::Hang);
    fairlead_testbench::runtime::install_crypto();
    let ask = reqwest::get(format!("{}/index.yaml", server.url()));
    assert!(tokio::time::timeout(Duration::from_millis(300), ask).await.is_err());
    assert_eq!(server.requests(), ["GET /index.yaml"]);
}
