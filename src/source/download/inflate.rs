//! Undoes the compression of a transfer, piece by piece. Pure.

use std::borrow::Cow;
use std::io::{self, Write as _};

use flate2::write::MultiGzDecoder;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};

/// The most that is undone at a time, in bytes: a few make megabytes where somebody means harm.
const PIECE: usize = 4 * 1024;

/// The plain bytes of a body.
pub struct Inflate(Option<MultiGzDecoder<Vec<u8>>>);

impl Inflate {
    /// Bytes that are what they are, whatever the server says of them.
    pub fn nothing() -> Self {
        Self(None)
    }

    /// Of an answer that may be compressed for the way.
    pub fn of(headers: &HeaderMap) -> Self {
        let coding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_gzip = ["gzip", "x-gzip"].iter().any(|name| coding.trim().eq_ignore_ascii_case(name));
        Self(is_gzip.then(|| MultiGzDecoder::new(Vec::new())))
    }

    /// How large pieces may be.
    pub fn piece(&self) -> usize {
        if self.0.is_some() { PIECE } else { usize::MAX }
    }

    /// What a piece holds.
    pub fn plain<'p>(&mut self, piece: &'p [u8]) -> io::Result<Cow<'p, [u8]>> {
        let Some(decoder) = &mut self.0 else { return Ok(Cow::Borrowed(piece)) };
        decoder.write_all(piece)?;
        Ok(Cow::Owned(std::mem::take(decoder.get_mut())))
    }

    /// What is left; an error where the end is missing.
    pub fn rest(self) -> io::Result<Vec<u8>> {
        self.0.map_or_else(|| Ok(Vec::new()), MultiGzDecoder::finish)
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use reqwest::header::HeaderValue;

    use super::*;

    fn compressed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn inflated(coding: &'static str, bytes: &[u8], most: usize) -> io::Result<Vec<u8>> {
        let headers = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(coding))]);
        let mut inflate = Inflate::of(&headers);
        let mut all = Vec::new();
        for piece in bytes.chunks(inflate.piece().min(most)) {
            all.extend_from_slice(&inflate.plain(piece)?);
        }
        all.extend(inflate.rest()?);
        Ok(all)
    }

    #[test]
    fn pieces_of_any_size_make_the_whole() {
        let text = "entries: {}\n".repeat(500);
        let bytes = compressed(&text);
        for piece in [1, 7, PIECE] {
            for coding in ["gzip", "X-GZIP"] {
                assert_eq!(inflated(coding, &bytes, piece).unwrap(), text.as_bytes());
            }
            assert_eq!(inflated("identity", &bytes, piece).unwrap(), bytes);
        }
    }

    #[test]
    fn what_is_damaged_or_cut_off_is_an_error() {
        let bytes = compressed("entries: {}\n");
        assert!(inflated("gzip", &bytes[..bytes.len() - 4], 5).is_err());
        assert!(inflated("gzip", b"entries: {}\n", 5).is_err());
        assert!(inflated("gzip", b"", 5).is_err());
    }
}
