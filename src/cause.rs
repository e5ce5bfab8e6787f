//! The cause of an error that says most: the first words of a client's error are often only that a request failed.

use std::error::Error;

/// The last of an error's sources.
pub fn innermost<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

/// Why a request over HTTP failed, in words, without its URL.
pub fn of_request(error: &reqwest::Error) -> String {
    let cause = innermost(error);
    if error.is_timeout() { format!("no answer in time ({cause})") } else { cause.to_string() }
}
