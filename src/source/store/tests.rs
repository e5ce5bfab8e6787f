use super::*;

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
    assert_eq!(fs::read_dir(root.path().join("names/gitrepository/default/releases")).unwrap().count(), 1);
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
