//! What an operator that is gone had begun, by the status that it left: its journal went with its
//! data directory.

use super::observed::{Action, Journal, Phase, Rendering, Revision, Target};
use super::status;
use crate::api::condition::{RECONCILING, reason};
use crate::api::helm::v2::HelmReleaseStatus;
use crate::controller::conditions::{self, Truth};

/// The action that the status says is under way; nobody may be at work on the release any more.
///
/// `rendering` is what the spec of this generation asks for, `newest` the newest revision.
pub fn journal(
    status: &HelmReleaseStatus,
    target: &Target,
    generation: i64,
    rendering: Rendering,
    newest: Option<&Revision>,
) -> Option<Journal> {
    let action = under_way(status)?;
    let latest = status::recorded(status, target);
    if latest.as_ref().is_some_and(|latest| latest.target != *target) {
        return None;
    }
    let base = match (latest, action) {
        (Some(latest), _) => latest.version,
        // The history of an earlier release was forgotten when this one was begun.
        (None, Action::Install) => 0,
        // A release that was only taken over: what is held was made by the action, nothing else.
        (None, _) => newest.map_or(0, |newest| newest.version - i64::from(newest.status == Phase::Pending)),
    };
    let makes_release = matches!(action, Action::Install | Action::Upgrade);
    let attempted = status.last_attempted_config_digest.clone().filter(|_| makes_release);
    let same = makes_release && status.last_attempted_generation == Some(generation);
    Some(Journal {
        forced: false,
        target: target.clone(),
        action,
        base,
        config_digest: attempted.unwrap_or_default(),
        rendering: if same { rendering } else { Rendering::default() },
    })
}

fn under_way(status: &HelmReleaseStatus) -> Option<Action> {
    let reconciling = conditions::get(&status.conditions, RECONCILING)?;
    let runs = reconciling.status == Truth::True.as_str() && reconciling.reason == reason::PROGRESSING;
    let word = status::running_action(&reconciling.message).filter(|_| runs)?;
    [Action::Install, Action::Upgrade, Action::Rollback, Action::Uninstall]
        .into_iter()
        .find(|action| action.as_str() == word)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::api::meta::Duration;
    use crate::release::plan::tests::{desired, revision};
    use crate::release::status::Editor;

    fn status(change: impl FnOnce(&mut Editor<'_>)) -> HelmReleaseStatus {
        let mut status = HelmReleaseStatus::default();
        change(&mut Editor { status: &mut status, generation: 1, now: Timestamp::UNIX_EPOCH });
        status
    }

    fn begun(action: Action) -> HelmReleaseStatus {
        status(|on| on.begins(&desired("a"), action, false, Duration::from_secs(60)))
    }

    fn found(status: &HelmReleaseStatus, newest: Option<&Revision>) -> Option<Journal> {
        let rendering = Rendering { post_renderers: Some("p".to_owned()), common_metadata: None };
        journal(status, &desired("a").target, 1, rendering, newest)
    }

    #[test]
    fn an_action_under_way_is_known_by_the_status() {
        let entry = found(&begun(Action::Install), None).expect("an install");
        assert_eq!((entry.action, entry.base, entry.config_digest), (Action::Install, 0, desired("a").config_digest));
        assert_eq!(entry.rendering.post_renderers.as_deref(), Some("p"));
        let pending = revision(3, Phase::Pending, "a");
        assert_eq!(found(&begun(Action::Upgrade), Some(&pending)).map(|entry| entry.base), Some(2));
        let deployed = revision(3, Phase::Deployed, "a");
        assert_eq!(found(&begun(Action::Upgrade), Some(&deployed)).map(|entry| entry.base), Some(3), "it never landed");
        let other = HelmReleaseStatus { last_attempted_generation: Some(7), ..begun(Action::Install) };
        assert_eq!(found(&other, None).map(|entry| entry.rendering), Some(Rendering::default()), "of another spec");
        for (word, action) in [("rollback", Action::Rollback), ("uninstall", Action::Uninstall)] {
            let entry = found(&status(|on| on.runs(word, Duration::from_secs(1))), Some(&deployed)).expect(word);
            assert_eq!((entry.action, entry.base, entry.config_digest.as_str()), (action, 3, ""));
        }
    }

    #[test]
    fn nothing_is_inherited_where_nothing_was_under_way() {
        assert_eq!(found(&HelmReleaseStatus::default(), None), None);
        assert_eq!(found(&status(|on| on.runs("test", Duration::from_secs(1))), None), None);
        assert_eq!(found(&status(|on| on.waits_for("SourceNotReady", "no chart")), None), None);
        assert_eq!(found(&status(|on| on.progressing("Waiting for release a/b.v1")), None), None);
        let ended = status(|on| {
            on.begins(&desired("a"), Action::Upgrade, false, Duration::from_secs(1));
            on.failed_early(&desired("a"), Action::Upgrade, "no");
        });
        assert_eq!(found(&ended, None), None);
    }
}
