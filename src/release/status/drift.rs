//! What the status says about objects that somebody else changed.

use super::Editor;
use crate::api::condition::{DRIFTED, READY, reason};
use crate::controller::conditions::{self, Truth};

impl Editor<'_> {
    /// Nobody wants to know any more, or nobody has looked yet.
    pub fn drift_is_unknown(&mut self) {
        self.remove(DRIFTED);
    }

    /// The objects are as the release made them.
    pub fn not_drifted(&mut self) {
        self.set(DRIFTED, Truth::False, reason::NO_DRIFT_DETECTED, "No drift detected against the cluster state");
    }

    /// Some objects are not as the release made them. Returns whether this is news.
    pub fn drifted(&mut self, message: &str) -> bool {
        let said = |editor: &Self| {
            let drifted = conditions::get(&editor.status.conditions, DRIFTED);
            drifted.map(|drifted| (drifted.status.clone(), drifted.message.clone()))
        };
        let before = said(self);
        self.set(DRIFTED, Truth::True, reason::DRIFT_DETECTED, message);
        said(self) != before
    }

    /// The objects are again as the release made them.
    pub fn drift_corrected(&mut self, message: &str) {
        self.set(DRIFTED, Truth::False, reason::DRIFT_CORRECTED, message);
    }

    /// Some objects could not be set right; it is tried again.
    pub fn drift_correction_failed(&mut self, message: &str) {
        self.set(READY, Truth::False, reason::DRIFT_CORRECTION_FAILED, message);
        self.retries(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::condition::{RECONCILING, STALLED};
    use crate::api::helm::v2::HelmReleaseStatus;
    use crate::release::plan::tests::at;

    fn said(status: &HelmReleaseStatus, type_: &str) -> Option<String> {
        let condition = conditions::get(&status.conditions, type_)?;
        Some(format!("{} {}: {}", condition.status, condition.reason, condition.message))
    }

    #[test]
    fn the_condition_tells_the_present_state_and_news_once() {
        let mut status = HelmReleaseStatus::default();
        let mut editor = Editor { status: &mut status, generation: 3, now: at(0) };
        editor.not_drifted();
        assert!(editor.drifted("a"));
        assert!(!editor.drifted("a"));
        assert!(editor.drifted("b"));
        assert_eq!(said(editor.status, DRIFTED).as_deref(), Some("True DriftDetected: b"));
        editor.drift_corrected("done");
        assert_eq!(said(editor.status, DRIFTED).as_deref(), Some("False DriftCorrected: done"));
        assert!(editor.drifted("b"), "again");
        editor.not_drifted();
        let clean = "False NoDriftDetected: No drift detected against the cluster state";
        assert_eq!(said(editor.status, DRIFTED).as_deref(), Some(clean));
        editor.drift_is_unknown();
        assert_eq!(said(editor.status, DRIFTED), None);
    }

    #[test]
    fn a_failed_correction_is_tried_again() {
        let mut status = HelmReleaseStatus::default();
        let mut editor = Editor { status: &mut status, generation: 3, now: at(0) };
        editor.stalled("Old", "old");
        editor.drift_correction_failed("no");
        assert_eq!(said(&status, READY).as_deref(), Some("False DriftCorrectionFailed: no"));
        assert_eq!(said(&status, RECONCILING).as_deref(), Some("True ProgressingWithRetry: no"));
        assert_eq!(said(&status, STALLED), None);
    }
}
