//! Binaries that no real helm is: what they are given, and what they may not do to us.

use fairlead::helm::client::HelmError;
use fairlead::process::ProcessError;

use super::*;

fn fake(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fake-helm").join(name)
}

#[tokio::test]
async fn values_are_in_no_argument_and_no_variable() {
    let folder = tempfile::tempdir().expect("a folder");
    let helm = Helm::new(&fake("records"), folder.path(), None, 1).await.expect("a helm");
    let secret = values(json!({"password": "hunter2", "list": [{"token": "hunter2-too"}]}));
    helm.release(&action(Verb::Upgrade, "dev", Path::new("/charts/app.tgz")), &secret).await.expect("it records");
    let read = |name: &str| std::fs::read_to_string(folder.path().join("helm").join(name)).expect("a record");
    assert_eq!(read("input"), "list:\n- token: hunter2-too\npassword: hunter2\n");
    for record in ["arguments", "environment"] {
        assert!(!read(record).contains("hunter2"), "{record}");
    }
    assert!(read("arguments").contains("--values=-\n"), "{}", read("arguments"));
    let left = std::fs::read_dir(folder.path().join("helm")).expect("a folder").flatten();
    let left: Vec<_> = left.filter(|entry| entry.file_name() != "post-render").collect();
    assert_eq!(left.len(), 3, "nothing but the records: {left:?}");
}

#[tokio::test]
async fn a_helm_that_hangs_is_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = Helm::new(&fake("hangs"), folder.path(), None, 1).await.err().expect("it hangs");
    assert!(matches!(error, HelmError::Process(ProcessError::TimedOut { .. })), "{error:?}");
}

#[tokio::test]
async fn a_helm_that_floods_is_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let helm = Helm::new(&fake("floods-later"), folder.path(), None, 1).await.expect("a helm");
    let error = helm.release(&action(Verb::Install, "dev", Path::new("/x.tgz")), &EMPTY).await.expect_err("a flood");
    assert!(matches!(error, HelmError::Process(ProcessError::OutputTooLarge { .. })), "{error:?}");
}
