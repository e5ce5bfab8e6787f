//! Waiting for a condition, with the last thing that was seen in the error.

use std::time::{Duration, Instant};

/// Asks `attempt` again and again (every 20 to 200 ms) until it gives `Ok`; its `Err` says what it saw instead.
///
/// # Panics
/// After `timeout`, naming `what` and what was seen last.
pub async fn wait_for<T, F>(what: &str, timeout: Duration, mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    match try_wait_for(timeout, &mut attempt).await {
        Ok(value) => value,
        Err(seen) => panic!("waited {timeout:?} for {what}; last seen: {seen}"),
    }
}

/// As [`wait_for`], but gives what was seen last instead of panicking.
pub async fn try_wait_for<T, F>(timeout: Duration, mut attempt: impl FnMut() -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, String>>,
{
    let start = Instant::now();
    let mut pause = Duration::from_millis(20);
    let mut seen = "nothing yet".to_owned();
    loop {
        let left = timeout.saturating_sub(start.elapsed());
        match tokio::time::timeout(left, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(state)) => seen = state,
            Err(_) => return Err(seen),
        }
        if start.elapsed() >= timeout {
            return Err(seen);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 5 / 4).min(Duration::from_millis(200));
    }
}
