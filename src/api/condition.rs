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
    /// The object is suspended.
    pub const SUSPENDED: &str = "Suspended";
    /// An object that this one depends on is not ready.
    pub const DEPENDENCY_NOT_READY: &str = "DependencyNotReady";
    /// A path does not exist or leaves its root.
    pub const INVALID_PATH: &str = "InvalidPath";
    /// A url cannot be parsed.
    pub const INVALID_URL: &str = "InvalidURL";
    /// Plain HTTP is switched off.
    pub const INSECURE_CONNECTIONS_DISALLOWED: &str = "InsecureConnectionsDisallowed";
    /// The way to connect is not known.
    pub const UNSUPPORTED_CONNECTION_TYPE: &str = "UnsupportedConnectionType";
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
    /// Waiting for health ended early because of a change.
    pub const HEALTH_CHECK_CANCELED: &str = "HealthCheckCanceled";
    /// Everything was applied.
    pub const RECONCILIATION_SUCCEEDED: &str = "ReconciliationSucceeded";
    /// Something could not be applied.
    pub const RECONCILIATION_FAILED: &str = "ReconciliationFailed";
    /// A CEL expression does not compile.
    pub const INVALID_CEL_EXPRESSION: &str = "InvalidCELExpression";
    /// A field needs a feature that is switched off.
    pub const FEATURE_GATE_DISABLED: &str = "FeatureGateDisabled";
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
    /// The `HelmChart` object of a release was made.
    pub const HELM_CHART_CREATED: &str = "HelmChartCreated";
    /// The `HelmChart` object of a release was changed.
    pub const HELM_CHART_CONFIGURED: &str = "HelmChartConfigured";
    /// The `HelmChart` object of a release was deleted.
    pub const HELM_CHART_DELETED: &str = "HelmChartDeleted";
    /// The `HelmChart` object of a release could not be written.
    pub const HELM_CHART_SYNC_ERROR: &str = "HelmChartSyncErr";

    /// A new artifact was stored.
    pub const NEW_ARTIFACT: &str = "NewArtifact";
    /// The stored artifact is the current one.
    pub const ARTIFACT_UP_TO_DATE: &str = "ArtifactUpToDate";
    /// The url of a source cannot be used.
    pub const URL_INVALID: &str = "URLInvalid";
    /// The credentials are missing, malformed or refused.
    pub const AUTHENTICATION_FAILED: &str = "AuthenticationFailed";
    /// The signature is not good.
    pub const VERIFICATION_ERROR: &str = "VerificationError";
    /// A directory could not be made.
    pub const DIR_CREATION_FAILED: &str = "DirectoryCreationFailed";
    /// A file could not be looked at.
    pub const STAT_OPERATION_FAILED: &str = "StatOperationFailed";
    /// A file could not be read.
    pub const READ_OPERATION_FAILED: &str = "ReadOperationFailed";
    /// A lock could not be taken.
    pub const ACQUIRE_LOCK_FAILED: &str = "AcquireLockFailed";
    /// An archive could not be written.
    pub const ARCHIVE_OPERATION_FAILED: &str = "ArchiveOperationFailed";
    /// The link to the newest artifact could not be set.
    pub const SYMLINK_UPDATE_FAILED: &str = "SymlinkUpdateFailed";
    /// A cache could not be used.
    pub const CACHE_OPERATION_FAILED: &str = "CacheOperationFailed";
    /// The object could not be written to the cluster.
    pub const PATCH_OPERATION_FAILED: &str = "PatchOperationFailed";
    /// The STS settings of a bucket do not fit.
    pub const INVALID_STS_CONFIGURATION: &str = "InvalidSTSConfiguration";
    /// The provider's settings do not fit.
    pub const INVALID_PROVIDER_CONFIGURATION: &str = "InvalidProviderConfiguration";
    /// A git operation succeeded.
    pub const GIT_OPERATION_SUCCEEDED: &str = "GitOperationSucceeded";
    /// A git operation failed.
    pub const GIT_OPERATION_FAILED: &str = "GitOperationFailed";
    /// A chart was fetched from its repository.
    pub const CHART_PULL_SUCCEEDED: &str = "ChartPullSucceeded";
    /// A chart was packaged from a folder.
    pub const CHART_PACKAGE_SUCCEEDED: &str = "ChartPackageSucceeded";
    /// An index could not be fetched or read.
    pub const INDEXATION_FAILED: &str = "IndexationFailed";
    /// A bucket operation succeeded.
    pub const BUCKET_OPERATION_SUCCEEDED: &str = "BucketOperationSucceeded";
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
    /// There is a newer chart.
    pub const NEW_CHART: &str = "NewChart";
    /// Nothing is stored.
    pub const NO_ARTIFACT: &str = "NoArtifact";
    /// The stored artifact does not match its digest.
    pub const ARTIFACT_VERIFICATION_FAILED: &str = "ArtifactVerificationFailed";
    /// Old artifacts were removed.
    pub const GARBAGE_COLLECTION_SUCCEEDED: &str = "GarbageCollectionSucceeded";
    /// Old artifacts could not be removed.
    pub const GARBAGE_COLLECTION_FAILED: &str = "GarbageCollectionFailed";
}
