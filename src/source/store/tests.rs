use super::*;
use std::time::Duration;

fn owner() -> Owner {
    Owner { kind: "GitRepository".into(), namespace: "default".into(), name: "releases".into() }
}

fn store() -> (tempfile::TempDir, Arc<ArtifactStore>) {
    let root = tempfile::tempdir().unwrap();
    let store = ArtifactStore::open(root.path(), "http://operator".into()).unwrap();
    (root, Arc::new(store))
}

fn tree(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("production")).unwrap();
    fs::write(dir.path().join("production/api.yaml"), text).unwrap();
    dir
}

async fn put(store: &Arc<ArtifactStore>, text: &str, file: &str) -> Artifact {
    let dir = tree(text);
    store.put_directory(&owner(), "main@sha1:abc", file, dir.path(), IgnoreRules::default()).await.unwrap()
}

#[tokio::test]
async fn an_artifact_comes_back_as_file_and_directory() {
    let (_root, store) = store();
    let artifact = put(&store, "a: 1\n", "abc.tar.gz").await;
    assert_eq!(artifact.path, "gitrepository/default/releases/abc.tar.gz");
    assert_eq!(artifact.url, "http://operator/gitrepository/default/releases/abc.tar.gz");
    assert!(artifact.size.unwrap() > 0);
    assert!(store.has(&artifact).await.unwrap());
    let dir = store.directory(&artifact).await.unwrap();
    assert_eq!(fs::read_to_string(dir.join("production/api.yaml")).unwrap(), "a: 1\n");
    assert_eq!(store.directory(&artifact).await.unwrap(), dir);
}

#[tokio::test]
async fn a_replaced_artifact_can_still_be_read_by_digest() {
    let (_root, store) = store();
    let old = put(&store, "a: 1\n", "abc.tar.gz").await;
    let new = put(&store, "a: 2\n", "abc.tar.gz").await;
    assert_ne!(old.digest, new.digest);
    assert!(store.file(&old).await.is_ok());
    let served = store.named_file("gitrepository", "default", "releases", "abc.tar.gz").unwrap();
    assert_eq!(fs::read(served).unwrap(), fs::read(store.file(&new).await.unwrap()).unwrap());
}

#[tokio::test]
async fn equal_contents_give_one_blob_and_no_leftovers() {
    let (root, store) = store();
    put(&store, "a: 1\n", "one.tar.gz").await;
    put(&store, "a: 1\n", "two.tar.gz").await;
    assert_eq!(fs::read_dir(root.path().join("blobs")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(root.path().join("tmp")).unwrap().count(), 0);
    let names = fs::read_dir(root.path().join("names/gitrepository/default/releases")).unwrap().flatten();
    let mut names: Vec<_> = names.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["latest.tar.gz", "one.tar.gz", "two.tar.gz"]);
}

#[tokio::test]
async fn damage_is_noticed_and_removed() {
    let (root, store) = store();
    let artifact = put(&store, "a: 1\n", "abc.tar.gz").await;
    let blob = store.file(&artifact).await.unwrap();
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, "damaged").unwrap();
    assert!(matches!(store.file(&artifact).await, Err(StoreError::Corrupt { .. })));
    assert!(matches!(store.file(&artifact).await, Err(StoreError::Missing { .. })));
    assert!(!store.has(&artifact).await.unwrap());
    drop(root);
}

#[tokio::test]
async fn a_new_process_verifies_and_unpacks_anew() {
    let (root, store) = store();
    let artifact = put(&store, "a: 1\n", "abc.tar.gz").await;
    let dir = store.directory(&artifact).await.unwrap();
    fs::write(dir.join("production/api.yaml"), "tampered").unwrap();
    let reopened = Arc::new(ArtifactStore::open(root.path(), "http://operator".into()).unwrap());
    let dir = reopened.directory(&artifact).await.unwrap();
    assert_eq!(fs::read_to_string(dir.join("production/api.yaml")).unwrap(), "a: 1\n");
}

#[tokio::test]
async fn an_alias_follows_and_deletion_removes_every_name() {
    let (root, store) = store();
    let artifact = store.put_file(&owner(), "sha256:x", "index-x.yaml", b"{}".to_vec()).await.unwrap();
    let url = store.put_alias(&artifact, "index.yaml").await.unwrap();
    assert_eq!(url, "http://operator/gitrepository/default/releases/index.yaml");
    store.put_alias(&artifact, "index.yaml").await.unwrap();
    store.remove(&owner()).await.unwrap();
    assert!(!root.path().join("names/gitrepository/default/releases").exists());
    assert!(!store.has(&artifact).await.unwrap());
    store.remove(&owner()).await.unwrap();
}

#[tokio::test]
async fn names_cannot_leave_the_store() {
    let (_root, store) = store();
    for name in ["../x", "", ".hidden", "a/b"] {
        let result = store.put_file(&owner(), "r", name, Vec::new()).await;
        assert!(matches!(result, Err(StoreError::BadName(_))), "{name:?}");
    }
    assert!(store.named_file("gitrepository", "..", "x", "y").is_none());
    let good = put(&store, "a: 1\n", "abc.tar.gz").await;
    let status = Artifact { digest: "sha256:../../etc".into(), ..good };
    assert!(matches!(store.file(&status).await, Err(StoreError::NoDigest { .. })));
}

fn retaining(seconds: u64, records: usize) -> (tempfile::TempDir, Arc<ArtifactStore>) {
    let root = tempfile::tempdir().unwrap();
    let store = ArtifactStore::open(root.path(), "http://operator".into()).unwrap();
    (root, Arc::new(store.retaining(Retention { ttl: Duration::from_secs(seconds), records })))
}

#[tokio::test]
async fn replaced_artifacts_keep_their_name_for_a_while() {
    let (_root, store) = retaining(600, 2);
    let named = |file: &str| store.named_file("gitrepository", "default", "releases", file).unwrap().exists();
    put(&store, "a: 1\n", "one.tar.gz").await;
    put(&store, "a: 2\n", "two.tar.gz").await;
    assert!(named("one.tar.gz") && named("two.tar.gz"));
    let third = put(&store, "a: 3\n", "three.tar.gz").await;
    assert!(!named("one.tar.gz") && named("two.tar.gz") && named("three.tar.gz"));
    // One that is back is the newest again.
    put(&store, "a: 2\n", "two.tar.gz").await;
    assert!(named("two.tar.gz") && named("three.tar.gz"));
    assert!(store.serves(&third.url) && !store.serves("http://operator.example.org/x"));

    let (_root, store) = retaining(0, 9);
    let named = |file: &str| store.named_file("gitrepository", "default", "releases", file).unwrap().exists();
    put(&store, "a: 1\n", "one.tar.gz").await;
    let second = put(&store, "a: 2\n", "two.tar.gz").await;
    assert!(!named("one.tar.gz"));
    store.collect(&owner(), &second).await.unwrap();
    assert!(named("two.tar.gz") && named("latest.tar.gz"));
    // A status that somebody has written leads nowhere.
    let strange = Artifact { path: "../../..".into(), ..second };
    assert!(matches!(store.collect(&owner(), &strange).await, Err(StoreError::BadName(_))));
    assert!(named("two.tar.gz"));
}

#[tokio::test]
async fn a_full_disk_is_named_and_what_was_stored_stays() {
    let (root, store) = store();
    let before = put(&store, "a: 1\n", "one.tar.gz").await;
    let full = |_: &mut fs::File| {
        let source = io::Error::from_raw_os_error(28);
        Err(ArchiveError::Io { path: PathBuf::from("two.tar.gz"), source })
    };
    let error = store.put(&owner(), "r", ("two.tar.gz", Algorithm::Sha256), full).await.unwrap_err();
    assert!(matches!(error, StoreError::DiskFull(_)), "{error}");
    assert!(error.to_string().contains("--data-dir"), "{error}");
    assert!(store.has(&before).await.unwrap());
    assert_eq!(fs::read_dir(root.path().join("tmp")).unwrap().count(), 0, "nothing is left half written");
}
