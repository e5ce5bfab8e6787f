//! From `spec.install`, `spec.upgrade` and the like to what decisions need, with Flux's defaults.

use std::time::Duration;

use crate::api::helm::v2::{ActionStrategyName, HelmReleaseSpec, RemediationStrategy};
use crate::api::meta::Duration as SpecDuration;
use crate::release::observed::Settings;
use crate::release::remediation::{OnFailure, RETRY_INTERVAL, Remediation, Strategy};
use crate::release::status::TestPolicy;

/// Default of `spec.timeout`.
const TIMEOUT: Duration = Duration::from_mins(5);

/// `spec.timeout`, five minutes by default.
pub fn timeout(spec: &HelmReleaseSpec) -> Duration {
    spec.timeout.map_or(TIMEOUT, SpecDuration::to_std)
}

/// How to install.
pub fn install(spec: &HelmReleaseSpec) -> Settings {
    let install = spec.install.as_ref();
    settings(spec, install.and_then(|i| i.timeout), install.is_some_and(|i| i.disable_wait))
}

/// How to upgrade.
pub fn upgrade(spec: &HelmReleaseSpec) -> Settings {
    let upgrade = spec.upgrade.as_ref();
    settings(spec, upgrade.and_then(|u| u.timeout), upgrade.is_some_and(|u| u.disable_wait))
}

/// How to roll back.
pub fn rollback(spec: &HelmReleaseSpec) -> Settings {
    let rollback = spec.rollback.as_ref();
    settings(spec, rollback.and_then(|r| r.timeout), rollback.is_some_and(|r| r.disable_wait))
}

/// How to uninstall.
pub fn uninstall(spec: &HelmReleaseSpec) -> Settings {
    let uninstall = spec.uninstall.as_ref();
    settings(spec, uninstall.and_then(|u| u.timeout), uninstall.is_some_and(|u| u.disable_wait))
}

/// How long the chart's tests may take.
pub fn test_timeout(spec: &HelmReleaseSpec) -> Duration {
    spec.test.as_ref().and_then(|test| test.timeout).map_or_else(|| timeout(spec), SpecDuration::to_std)
}

fn settings(spec: &HelmReleaseSpec, own: Option<SpecDuration>, disable_wait: bool) -> Settings {
    Settings { timeout: own.map_or_else(|| timeout(spec), SpecDuration::to_std), wait: !disable_wait }
}

/// Whether a release is tested once it is made.
pub fn tests(spec: &HelmReleaseSpec) -> bool {
    spec.test.as_ref().is_some_and(|test| test.enable)
}

/// What a failed install leads to.
pub fn on_install_failure(spec: &HelmReleaseSpec) -> OnFailure {
    let install = spec.install.as_ref();
    let strategy = install.and_then(|i| i.strategy.as_ref());
    if let Some(interval) = strategy.and_then(|s| retries(s.name, s.retry_interval)) {
        return OnFailure::Retry { interval };
    }
    let remediation = install.and_then(|i| i.remediation.as_ref());
    OnFailure::Remediate(Remediation {
        retries: remediation.map_or(0, |r| r.retries),
        last_failure: remediation.and_then(|r| r.remediate_last_failure).unwrap_or(false),
        strategy: Strategy::Uninstall,
        ignore_test_failures: remediation
            .and_then(|r| r.ignore_test_failures)
            .unwrap_or_else(|| ignores_test_failures(spec)),
    })
}

/// What a failed upgrade leads to.
pub fn on_upgrade_failure(spec: &HelmReleaseSpec) -> OnFailure {
    let upgrade = spec.upgrade.as_ref();
    let strategy = upgrade.and_then(|u| u.strategy.as_ref());
    if let Some(interval) = strategy.and_then(|s| retries(s.name, s.retry_interval)) {
        return OnFailure::Retry { interval };
    }
    let remediation = upgrade.and_then(|u| u.remediation.as_ref());
    let tries = remediation.map_or(0, |r| r.retries);
    OnFailure::Remediate(Remediation {
        retries: tries,
        last_failure: remediation.and_then(|r| r.remediate_last_failure).unwrap_or(tries > 0),
        strategy: match remediation.and_then(|r| r.strategy).unwrap_or_default() {
            RemediationStrategy::Rollback => Strategy::Rollback,
            RemediationStrategy::Uninstall => Strategy::Uninstall,
        },
        ignore_test_failures: remediation
            .and_then(|r| r.ignore_test_failures)
            .unwrap_or_else(|| ignores_test_failures(spec)),
    })
}

fn retries(name: ActionStrategyName, interval: Option<SpecDuration>) -> Option<Duration> {
    let retries = name == ActionStrategyName::RetryOnFailure;
    retries.then(|| interval.map_or(RETRY_INTERVAL, SpecDuration::to_std))
}

fn ignores_test_failures(spec: &HelmReleaseSpec) -> bool {
    spec.test.as_ref().is_some_and(|test| test.ignore_failures)
}

/// What tests mean for a release whose last attempt was an install (or else an upgrade).
pub fn test_policy(spec: &HelmReleaseSpec, installed: bool) -> TestPolicy {
    let on_failure = if installed { on_install_failure(spec) } else { on_upgrade_failure(spec) };
    TestPolicy {
        enabled: tests(spec),
        ignored: ignores_test_failures(spec),
        ignored_by_remediation: !on_failure.counts_tests(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(fields: &Value) -> HelmReleaseSpec {
        let mut spec = json!({"interval": "1m"});
        for (key, value) in fields.as_object().expect("an object") {
            spec[key] = value.clone();
        }
        serde_json::from_value(spec).expect("a spec")
    }

    #[test]
    fn timeouts_and_waits_come_from_the_action_first() {
        let spec = spec(&json!({
            "timeout": "2m",
            "install": {"timeout": "1m", "disableWait": true},
            "rollback": {"timeout": "3s"}, "uninstall": {"disableWait": true}, "test": {"enable": true, "timeout": "4s"},
        }));
        let set = |minutes, wait| Settings { timeout: Duration::from_mins(minutes), wait };
        assert_eq!((install(&spec), upgrade(&spec), uninstall(&spec)), (set(1, false), set(2, true), set(2, false)));
        assert_eq!(rollback(&spec), Settings { timeout: Duration::from_secs(3), wait: true });
        assert_eq!((tests(&spec), test_timeout(&spec)), (true, Duration::from_secs(4)));
        let plain = self::spec(&json!({}));
        assert_eq!((upgrade(&plain).timeout, test_timeout(&plain), tests(&plain)), (TIMEOUT, TIMEOUT, false));
    }

    #[test]
    fn failures_lead_where_the_spec_says() {
        let remediate = |retries, last_failure, strategy, ignore_test_failures| {
            OnFailure::Remediate(Remediation { retries, last_failure, strategy, ignore_test_failures })
        };
        let plain = spec(&json!({}));
        assert_eq!(on_install_failure(&plain), remediate(0, false, Strategy::Uninstall, false));
        assert_eq!(on_upgrade_failure(&plain), remediate(0, false, Strategy::Rollback, false));
        let retried = json!({"remediation": {"retries": 2}});
        let retried = spec(&json!({"install": retried, "upgrade": retried, "test": {"ignoreFailures": true}}));
        assert_eq!(on_install_failure(&retried), remediate(2, false, Strategy::Uninstall, true));
        assert_eq!(on_upgrade_failure(&retried), remediate(2, true, Strategy::Rollback, true));
        let chosen = spec(&json!({
            "install": {"remediation": {"remediateLastFailure": true, "ignoreTestFailures": true}},
            "upgrade": {"remediation": {"retries": -1, "remediateLastFailure": false, "strategy": "uninstall",
                "ignoreTestFailures": false}},
            "test": {"ignoreFailures": true},
        }));
        assert_eq!(on_install_failure(&chosen), remediate(0, true, Strategy::Uninstall, true));
        assert_eq!(on_upgrade_failure(&chosen), remediate(-1, false, Strategy::Uninstall, false));
        let strategies = spec(&json!({
            "install": {"strategy": {"name": "RetryOnFailure"}},
            "upgrade": {"strategy": {"name": "RetryOnFailure", "retryInterval": "7s"}, "remediation": {"retries": 3}},
        }));
        assert_eq!(on_install_failure(&strategies), OnFailure::Retry { interval: RETRY_INTERVAL });
        assert_eq!(on_upgrade_failure(&strategies), OnFailure::Retry { interval: Duration::from_secs(7) });
        let named =
            spec(&json!({"upgrade": {"strategy": {"name": "RemediateOnFailure"}, "remediation": {"retries": 3}}}));
        assert_eq!(on_upgrade_failure(&named), remediate(3, true, Strategy::Rollback, false));
    }

    #[test]
    fn tests_mean_what_the_last_action_says() {
        let spec = spec(&json!({
            "install": {"remediation": {"ignoreTestFailures": true}}, "test": {"enable": true},
        }));
        let policy = |ignored_by_remediation| TestPolicy { enabled: true, ignored: false, ignored_by_remediation };
        assert_eq!((test_policy(&spec, true), test_policy(&spec, false)), (policy(true), policy(false)));
    }
}
