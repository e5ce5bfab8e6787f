//! Ends a process that may not act any more, even when it hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::term::Moment;
use crate::steady_clock::now;

/// How often the thread looks.
const LOOK: Duration = Duration::from_millis(100);

/// What the elector itself may take to end the process in good order.
const MARGIN: Duration = Duration::from_millis(500);

/// No time is set.
const NEVER: u64 = u64::MAX;

/// Until when this process may act. A thread of its own looks at it: neither a stuck runtime nor a
/// process that was stopped for a while can act longer. Children go with the process.
#[derive(Debug, Default)]
pub struct Fence(Option<Arc<AtomicU64>>);

impl Fence {
    /// The process may act until then.
    pub fn lasts_until(&mut self, end: Moment) {
        let end = u64::try_from((end + MARGIN).as_millis()).unwrap_or(NEVER);
        if let Some(until) = &self.0 {
            until.store(end, Ordering::Relaxed);
            return;
        }
        let until = Arc::new(AtomicU64::new(end));
        self.0 = Some(Arc::clone(&until));
        std::thread::spawn(move || watch(&until));
    }

    /// The process does not act any more.
    pub fn is_lifted(&self) {
        if let Some(until) = &self.0 {
            until.store(NEVER, Ordering::Relaxed);
        }
    }
}

fn watch(until: &AtomicU64) {
    loop {
        if now().as_millis() >= u128::from(until.load(Ordering::Relaxed)) {
            tracing::error!("the lease ran out and this process did not notice: ending at once");
            std::process::exit(1);
        }
        std::thread::sleep(LOOK);
    }
}
