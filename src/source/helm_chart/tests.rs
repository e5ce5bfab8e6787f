use super::*;

fn chart(strategy: ReconcileStrategy, values_files: &[&str]) -> HelmChart {
    let mut chart = HelmChart::default();
    chart.metadata.generation = Some(3);
    chart.spec.reconcile_strategy = strategy;
    chart.spec.values_files = values_files.iter().map(|&file| file.to_owned()).collect();
    chart
}

#[test]
fn versions_tell_commit_and_generation() {
    let revision = "main@sha1:363a6a8fe6a7f13e05d34c163b0ef02a777da20a";
    for (strategy, files, expected) in [
        (ReconcileStrategy::ChartVersion, vec![], None),
        (ReconcileStrategy::Revision, vec![], Some("363a6a8fe6a7")),
        (ReconcileStrategy::ChartVersion, vec!["v.yaml"], Some("3")),
        (ReconcileStrategy::Revision, vec!["v.yaml"], Some("363a6a8fe6a7.3")),
    ] {
        let packaging = local_packaging(&chart(strategy, &files), revision);
        assert_eq!(packaging.version_metadata.as_deref(), expected);
    }
    let of_bucket = "sha256:c3ab8ff13720e8ad9047dd39466b3c89";
    let packaging = local_packaging(&chart(ReconcileStrategy::Revision, &[]), of_bucket);
    assert_eq!(packaging.version_metadata.as_deref(), Some("c3ab8ff13720"));
}

#[test]
fn an_artifact_that_is_lost_is_told_as_one_that_is_not_there_yet() {
    let lost = |error| source_failure(ChartSourceKind::GitRepository, "charts", &error);
    let missing = StoreError::Missing { path: "gitrepository/apps/charts/1.tar.gz".into() };
    assert_eq!(lost(missing), without_artifact(ChartSourceKind::GitRepository, "charts"));
    let corrupt = lost(StoreError::Corrupt { path: "p".into() });
    assert!(corrupt.message.contains("does not match its digest"), "{corrupt:?}");
}

#[test]
fn a_package_must_be_what_the_index_says() {
    let package = Package {
        name: "nginx".into(),
        version: "1.0.0".into(),
        bytes: Vec::new(),
        packaged: false,
        values_files: Vec::new(),
    };
    check_identity(&package, "nginx", "v1.0.0", "the index").unwrap();
    check_identity(&package, "nginx", "1.0.1", "the index").unwrap_err();
    check_identity(&package, "other", "1.0.0", "the index").unwrap_err();
}
