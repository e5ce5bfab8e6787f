//! When a request that failed is sent again. Pure: the time is an argument.

use std::time::Duration;

use jiff::Timestamp;

/// A server that asks for a longer pause is not asked again.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// How often, and how soon.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Requests at the most.
    pub attempts: u32,
    /// The first pause; each later one is twice as long.
    pub shortest: Duration,
    /// The longest pause that is not asked for.
    pub longest: Duration,
    /// Whether 429 is a matter of time.
    pub too_many_is_transient: bool,
}

/// For providers.
pub const NOTIFICATION: Policy = Policy {
    attempts: 5,
    shortest: Duration::from_secs(2),
    longest: Duration::from_secs(30),
    too_many_is_transient: true,
};

/// For `--events-addr`: Flux's notification controller says 429 to an event that it had already.
pub const EVENT: Policy = Policy {
    attempts: 5,
    shortest: Duration::from_secs(1),
    longest: Duration::from_secs(30),
    too_many_is_transient: false,
};

impl Policy {
    /// The pause after the failure of a request, of which it was the `attempt`-th; none when it is
    /// the end. Without a status the server was not reached, or did not answer.
    pub fn pause(&self, attempt: u32, status: Option<u16>, retry_after: Option<Duration>) -> Option<Duration> {
        let transient = match status {
            None => true,
            Some(429) => self.too_many_is_transient,
            // 501: the server will not know the method later, either.
            Some(status) => status >= 500 && status != 501,
        };
        if !transient || attempt >= self.attempts {
            return None;
        }
        match retry_after.filter(|_| matches!(status, Some(429 | 503))) {
            Some(asked) => Some(asked).filter(|asked| *asked <= LONGEST_PAUSE),
            None => Some(self.shortest.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(self.longest)),
        }
    }
}

/// What the header `Retry-After` asks for: seconds, or a date.
pub fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(header).ok()?.timestamp();
    Some(Duration::try_from(now.duration_until(date)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let seconds = |attempt, status, asked: Option<u64>| {
            NOTIFICATION.pause(attempt, status, asked.map(Duration::from_secs)).map(|pause| pause.as_secs())
        };
        for (attempt, status, asked, expected) in [
            (1, None, None, Some(2)),
            (2, Some(500), None, Some(4)),
            (4, Some(502), None, Some(16)),
            (5, Some(502), None, None),
            (1, Some(501), None, None),
            (1, Some(404), None, None),
            (1, Some(429), None, Some(2)),
            (1, Some(429), Some(0), Some(0)),
            (1, Some(429), Some(60), Some(60)),
            (1, Some(503), Some(7), Some(7)),
            (1, Some(500), Some(7), Some(2)),
            (1, Some(429), Some(3600), None),
        ] {
            assert_eq!(seconds(attempt, status, asked), expected, "{attempt} {status:?} {asked:?}");
        }
        assert_eq!(Policy { attempts: 99, ..NOTIFICATION }.pause(90, None, None), Some(Duration::from_secs(30)));
        assert_eq!(EVENT.pause(1, Some(429), None), None);
    }

    #[test]
    fn a_server_asks_in_seconds_or_by_a_date() {
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        for (header, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Fri, 02 Jan 2026 03:05:05 GMT", Some(60)),
            ("Fri, 02 Jan 2026 03:00:05 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(retry_after(header, now).map(|pause| pause.as_secs()), expected, "{header}");
        }
    }
}
