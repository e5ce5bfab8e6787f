//! Condition types, and the reasons of conditions and events.

/// Condition: the object is in the state asked for.
pub const READY: &str = "Ready";
/// Condition: the object is on its way; absent otherwise.
pub const RECONCILING: &str = "Reconciling";
/// Condition: no progress without a change by somebody; absent otherwise.
pub const STALLED: &str = "Stalled";
/// Condition: the applied objects are healthy.
pub const HEALTHY: &str = "Healthy";
/// Condition: the newest revision is not applied in full; absent otherwise. Ours.
pub const BEHIND: &str = "Behind";
/// Condition: the last helm install, upgrade or rollback succeeded.
pub const RELEASED: &str = "Released";
/// Condition: the chart's tests succeeded.
pub const TEST_SUCCESS: &str = "TestSuccess";
/// Condition: a failed release was set back.
pub const REMEDIATED: &str = "Remediated";
/// Condition: objects of the release were changed by somebody else.
pub const DRIFTED: &str = "Drifted";
/// Condition: the artifact of the current revision is stored.
pub const ARTIFACT_IN_STORAGE: &str = "ArtifactInStorage";
/// Condition: there is a newer revision than the stored one; absent otherwise.
pub const ARTIFACT_OUTDATED: &str = "ArtifactOutdated";
/// Condition: the signature of the revision is good.
pub const SOURCE_VERIFIED: &str = "SourceVerified";
/// Condition: fetching failed; absent otherwise.
pub const FETCH_FAILED: &str = "FetchFailed";
/// Condition: building the artifact failed; absent otherwise.
pub const BUILD_FAILED: &str = "BuildFailed";
/// Condition: storing failed; absent otherwise.
pub const STORAGE_OPERATION_FAILED: &str = "StorageOperationFailed";
/// Condition: an included repository has no artifact; absent otherwise.
pub const INCLUDE_UNAVAILABLE: &str = "IncludeUnavailable";
/// Condition: a reference is not allowed; absent otherwise.
pub const ACCESS_DENIED: &str = "AccessDenied";

/// Reasons of conditions and events, as Flux spells them.
pub mod reason {
    /// Done.
    pub const SUCCEEDED: &str = "Succeeded";
    /// Not done.
    pub const FAILED: &str = "Failed";
    /// On the way.
    pub const PROGRESSING: &str = "Progressing";
    /// On the way again after a failure.
    pub const PROGRESSING_WITH_RETRY: &str = "ProgressingWithRetry";
    /// An object that this one depends on is not ready.
    pub const DEPENDENCY_NOT_READY: &str = "DependencyNotReady";
    /// A path does not exist or leaves its root.
    pub const INVALID_PATH: &str = "InvalidPath";
    /// Objects could not be pruned.
    pub const PRUNE_FAILED: &str = "PruneFailed";
    /// More objects left the folder than may be pruned without being told so.
    pub const PRUNE_STOPPED: &str = "PruneStopped";
    /// The source has no artifact, or it cannot be fetched.
    pub const ARTIFACT_FAILED: &str = "ArtifactFailed";
    /// The manifests cannot be read or built.
    pub const BUILD_FAILED: &str = "BuildFailed";
    /// Applied objects did not become healthy.
    pub const HEALTH_CHECK_FAILED: &str = "HealthCheckFailed";
    /// Everything was applied.
    pub const RECONCILIATION_SUCCEEDED: &str = "ReconciliationSucceeded";
    /// Something could not be applied.
    pub const RECONCILIATION_FAILED: &str = "ReconciliationFailed";
    /// A CEL expression does not compile.
    pub const INVALID_CEL_EXPRESSION: &str = "InvalidCELExpression";
    /// The token of a webhook is missing.
    pub const TOKEN_NOT_FOUND: &str = "TokenNotFound";
    /// A part of the spec cannot be.
    pub const VALIDATION_FAILED: &str = "ValidationFailed";
    /// A reference is not allowed.
    pub const ACCESS_DENIED: &str = "AccessDenied";

    /// The install succeeded.
    pub const INSTALL_SUCCEEDED: &str = "InstallSucceeded";
    /// The install failed.
    pub const INSTALL_FAILED: &str = "InstallFailed";
    /// The upgrade succeeded.
    pub const UPGRADE_SUCCEEDED: &str = "UpgradeSucceeded";
    /// The upgrade failed.
    pub const UPGRADE_FAILED: &str = "UpgradeFailed";
    /// The tests succeeded.
    pub const TEST_SUCCEEDED: &str = "TestSucceeded";
    /// The tests failed.
    pub const TEST_FAILED: &str = "TestFailed";
    /// The rollback succeeded.
    pub const ROLLBACK_SUCCEEDED: &str = "RollbackSucceeded";
    /// The rollback failed.
    pub const ROLLBACK_FAILED: &str = "RollbackFailed";
    /// The uninstall succeeded.
    pub const UNINSTALL_SUCCEEDED: &str = "UninstallSucceeded";
    /// The uninstall failed.
    pub const UNINSTALL_FAILED: &str = "UninstallFailed";
    /// Objects of the release were changed by somebody else.
    pub const DRIFT_DETECTED: &str = "DriftDetected";
    /// Objects that somebody else changed were set right.
    pub const DRIFT_CORRECTED: &str = "DriftCorrected";
    /// Objects that somebody else changed could not be set right.
    pub const DRIFT_CORRECTION_FAILED: &str = "DriftCorrectionFailed";
    /// No object of the release was changed by somebody else.
    pub const NO_DRIFT_DETECTED: &str = "NoDriftDetected";
    /// The release is failed and no retries are left.
    pub const RETRIES_EXCEEDED: &str = "RetriesExceeded";
    /// There is no good revision to roll back to.
    pub const MISSING_ROLLBACK_TARGET: &str = "MissingRollbackTarget";
    /// A helm action was cut off before it ended.
    pub const PENDING_RELEASE: &str = "PendingRelease";
    /// The tests have not run yet.
    pub const AWAITING_TESTS: &str = "AwaitingTests";
    /// The values cannot be composed.
    pub const VALUES_ERROR: &str = "ValuesError";
    /// The chart's source has no artifact yet.
    pub const SOURCE_NOT_READY: &str = "SourceNotReady";
    /// The release's records cannot be read.
    pub const STATE_ERROR: &str = "StateError";

    /// A new artifact was stored.
    pub const NEW_ARTIFACT: &str = "NewArtifact";
    /// The url of a source cannot be used.
    pub const URL_INVALID: &str = "URLInvalid";
    /// The credentials are missing, malformed or refused.
    pub const AUTHENTICATION_FAILED: &str = "AuthenticationFailed";
    /// The signature is not good.
    pub const VERIFICATION_ERROR: &str = "VerificationError";
    /// A directory could not be made.
    pub const DIR_CREATION_FAILED: &str = "DirectoryCreationFailed";
    /// A file could not be read.
    pub const READ_OPERATION_FAILED: &str = "ReadOperationFailed";
    /// An archive could not be written.
    pub const ARCHIVE_OPERATION_FAILED: &str = "ArchiveOperationFailed";
    /// The provider's settings do not fit.
    pub const INVALID_PROVIDER_CONFIGURATION: &str = "InvalidProviderConfiguration";
    /// A git operation failed.
    pub const GIT_OPERATION_FAILED: &str = "GitOperationFailed";
    /// A chart was fetched from its repository.
    pub const CHART_PULL_SUCCEEDED: &str = "ChartPullSucceeded";
    /// A chart was packaged from a folder.
    pub const CHART_PACKAGE_SUCCEEDED: &str = "ChartPackageSucceeded";
    /// An index could not be fetched or read.
    pub const INDEXATION_FAILED: &str = "IndexationFailed";
    /// A bucket operation failed.
    pub const BUCKET_OPERATION_FAILED: &str = "BucketOperationFailed";
    /// An OCI artifact could not be pulled.
    pub const OCI_PULL_FAILED: &str = "OCIArtifactPullFailed";
    /// A layer of an OCI artifact could not be taken.
    pub const OCI_LAYER_OPERATION_FAILED: &str = "OCIArtifactLayerOperationFailed";
    /// A chart's name or version cannot be used.
    pub const INVALID_CHART_REFERENCE: &str = "InvalidChartReference";
    /// A chart could not be fetched.
    pub const CHART_PULL_ERROR: &str = "ChartPullError";
    /// A chart's metadata could not be changed.
    pub const METADATA_PATCH_ERROR: &str = "MetadataPatchError";
    /// Values files could not be merged.
    pub const VALUES_FILES_ERROR: &str = "ValuesFilesError";
    /// A chart's dependencies could not be gathered.
    pub const DEPENDENCY_BUILD_ERROR: &str = "DependencyBuildError";
    /// A chart could not be packaged.
    pub const CHART_PACKAGE_ERROR: &str = "ChartPackageError";
    /// A chart's signature is not good.
    pub const CHART_VERIFICATION_ERROR: &str = "ChartVerificationError";
    /// The source of a chart does not exist or cannot be read.
    pub const SOURCE_UNAVAILABLE: &str = "SourceUnavailable";
    /// The source of a chart has no artifact yet.
    pub const NO_SOURCE_ARTIFACT: &str = "NoSourceArtifact";
    /// The rules of files to leave out cannot be read.
    pub const SOURCE_IGNORE_ERROR: &str = "SourceIgnoreError";
    /// There is a newer revision.
    pub const NEW_REVISION: &str = "NewRevision";
    /// Nothing is stored.
    pub const NO_ARTIFACT: &str = "NoArtifact";
    /// The stored artifact does not match its digest.
    pub const ARTIFACT_VERIFICATION_FAILED: &str = "ArtifactVerificationFailed";
    /// A notification could not be sent.
    pub const NOTIFICATION_DISPATCH_FAILED: &str = "NotificationDispatchFailed";
    /// Several sources give the same metadata of an event.
    pub const METADATA_APPEND_FAILED: &str = "MetadataAppendFailed";
    /// An alert or its provider cannot be used as it is.
    pub const INVALID_CONFIG: &str = "InvalidConfig";
    /// The mode asks for a tag, and no tag is followed.
    pub const INVALID_VERIFICATION_MODE: &str = "InvalidVerificationMode";
    /// The tag is not one that can be verified.
    pub const INVALID_GIT_OBJECT: &str = "InvalidGitObject";
    /// The tag's signature is not good.
    pub const INVALID_TAG_SIGNATURE: &str = "InvalidTagSignature";
    /// The commit's signature is not good.
    pub const INVALID_COMMIT_SIGNATURE: &str = "InvalidCommitSignature";
    /// An included repository does not exist.
    pub const NOT_FOUND: &str = "NotFound";
    /// A path leaves its repository.
    pub const ILLEGAL_PATH: &str = "IllegalPath";
    /// What is included cannot be put into its place.
    pub const COPY_FAILURE: &str = "CopyFailure";
    /// Repositories that include each other.
    pub const INCLUDE_CIRCLE: &str = "IncludeCircle";
    /// The object asks for what this operator cannot do.
    pub const UNSUPPORTED: &str = "Unsupported";
    /// Dependencies form a circle.
    pub const DEPENDENCY_CYCLE: &str = "DependencyCycle";
    /// The release cannot act as it asks to.
    pub const REST_CLIENT_ERROR: &str = "RESTClientError";
    /// The chart is not of the version that its source says.
    pub const CHART_MUTATE_ERROR: &str = "ChartMutateError";
    /// A record of helm's cannot be read.
    pub const STORAGE_UNREADABLE: &str = "StorageUnreadable";
    /// Fields are set that have no effect.
    pub const NOT_ACTED_ON: &str = "NotActedOn";
    /// The repository holds no commit.
    pub const EMPTY_GIT_REPOSITORY: &str = "EmptyGitRepository";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    /// Names and values of the constants in a text.
    fn constants(text: &str) -> Vec<(&str, &str)> {
        text.lines()
            .filter_map(|line| line.trim().strip_prefix("pub const ")?.split_once(": &str = \""))
            .map(|(name, rest)| (name, rest.trim_end_matches("\";")))
            .collect()
    }

    fn sources(folder: &Path, found: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if !path.ends_with("api/condition.rs") {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                found.push_str(text.split("#[cfg(test)]\nmod ").next().unwrap_or_default());
            }
        }
    }

    #[test]
    fn the_handbook_answers_every_reason_that_can_be_written_and_no_other() {
        let (_, reasons) = include_str!("condition.rs").split_once("pub mod reason {").unwrap();
        let (reasons, _) = reasons.split_once("#[cfg(test)]").unwrap();
        let written: BTreeSet<_> = constants(reasons).into_iter().map(|(_, value)| value).collect();
        let handbook = include_str!("../../docs/operations.md");
        let (_, table) = handbook.split_once("## Reasons").expect("the chapter on reasons");
        let table = table.split("\n## ").next().unwrap_or_default();
        let first_cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
        let answered: BTreeSet<_> =
            first_cells.flat_map(|cell| cell.split("`, `")).map(|r| r.trim_matches('`')).collect();
        assert_eq!(written.difference(&answered).collect::<Vec<_>>(), [&""; 0], "docs/operations.md lacks them");
        assert_eq!(answered.difference(&written).collect::<Vec<_>>(), [&""; 0], "nothing writes them");
    }

    /// Words that are no reasons, though they look like some.
    const OTHERS: [&str; 4] = ["Failed", "Succeeded", "Rollback", "FieldsNotActedOn"];

    /// A constant, or an argument of a failure, that looks like a reason.
    fn is_told_as_reason(line: &str) -> bool {
        let Some((before, after)) = line.split_once('"') else { return false };
        let (word, _) = after.split_once('"').unwrap_or_default();
        let is_constant = before.contains("const ") && before.ends_with(": &str = ");
        let is_argument = ["transient(", "terminal(", ".warning(", ".normal("].iter().any(|call| before.contains(call));
        (is_constant || is_argument)
            && word.starts_with(|first: char| first.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_alphabetic())
            && !OTHERS.contains(&word)
    }

    #[test]
    fn no_reason_is_made_up_elsewhere() {
        let mut source = String::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut source);
        assert!(is_told_as_reason(r#"const MODE: &str = "InvalidMode";"#));
        assert!(is_told_as_reason(r#"Failure::transient(FETCH_FAILED, "EmptyGitRepository", message)"#));
        let made_up: Vec<_> = source.lines().filter(|line| is_told_as_reason(line)).collect();
        assert_eq!(made_up, [""; 0], "belongs into `reason`");
    }

    #[test]
    fn every_constant_is_used() {
        let mut source = String::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut source);
        let words: BTreeSet<_> = source.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        let unused = constants(include_str!("condition.rs")).into_iter().filter(|(name, _)| !words.contains(name));
        assert_eq!(unused.map(|(name, _)| name).collect::<Vec<_>>(), [""; 0]);
    }
}
