//! What a failure leads to: another try, or a remediation first. Pure; the vocabulary is that of
//! `spec.install.remediation`, `spec.upgrade.remediation` and their `strategy`.

use std::time::Duration;

/// Flux's default of `strategy.retryInterval`.
pub const RETRY_INTERVAL: Duration = Duration::from_mins(5);

/// The pause before the second try; it doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause before another try.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// What a failed install or upgrade leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// An upgrade after a pause, again and again (`RetryOnFailure`).
    Retry {
        /// The pause.
        interval: Duration,
    },
    /// A remediation, then another try while there are retries (`RemediateOnFailure`).
    Remediate(Remediation),
}

/// How a failure is set back, and how often the action is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remediation {
    /// Tries after the first one; negative for no end.
    pub retries: i64,
    /// Whether the failure of the last try is set back too.
    pub last_failure: bool,
    /// How it is set back.
    pub strategy: Strategy,
    /// Whether failed tests are no failure of the release.
    pub ignore_test_failures: bool,
}

/// How a failure is set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// To the last good revision.
    Rollback,
    /// By removing the release.
    Uninstall,
}

impl Remediation {
    /// Whether this many failures leave no try.
    pub fn is_exhausted(&self, failures: i64) -> bool {
        self.retries >= 0 && failures > self.retries
    }
}

impl OnFailure {
    /// Whether this many failures leave no try.
    pub fn is_exhausted(&self, failures: i64) -> bool {
        match self {
            Self::Retry { .. } => false,
            Self::Remediate(remediation) => remediation.is_exhausted(failures),
        }
    }

    /// Whether tries come to an end.
    pub fn is_bounded(&self) -> bool {
        matches!(self, Self::Remediate(remediation) if remediation.retries >= 0)
    }

    /// The pause after this many failures, before the next try.
    pub fn pause(&self, failures: i64) -> Duration {
        match self {
            Self::Retry { interval } => *interval,
            Self::Remediate(_) => {
                let doubled = u32::try_from(failures.saturating_sub(1).clamp(0, 16)).unwrap_or_default();
                (FIRST_PAUSE * 2_u32.pow(doubled)).min(LONGEST_PAUSE)
            }
        }
    }

    /// Whether failed tests are a failure of the release.
    pub fn counts_tests(&self) -> bool {
        !matches!(self, Self::Remediate(Remediation { ignore_test_failures: true, .. }))
    }
}

/// The revision that a rollback would go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollbackTarget {
    /// Helm's revision number.
    pub version: i64,
    /// Whether helm still keeps it.
    pub stored: bool,
}
