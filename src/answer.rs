//! Answers over HTTP, read up to a bound: nobody knows how long one is that a stranger sends.

use reqwest::Response;

/// Why an answer could not be read.
#[derive(Debug)]
pub enum Unread {
    /// It broke off.
    Broken(reqwest::Error),
    /// It is longer than the bound.
    TooLarge,
}

/// The bytes of an answer, `limit` of them at the most.
pub async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, Unread> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Unread::Broken)? {
        if bytes.len() + chunk.len() > limit {
            return Err(Unread::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
