//! Where spans are sent, and with which headers. Pure.

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use url::Url;

/// The standard variable that holds headers, such as an API key.
pub const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// What is below the address of a collector.
const TRACES: &str = "v1/traces";

/// Where spans are sent. The headers are marked as sensitive, so that `Debug` does not tell them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpSettings {
    /// The full address.
    pub url: Url,
    /// Headers of each request.
    pub headers: HeaderMap,
}

/// Why spans cannot be sent. No text holds the address, which may have a password in it, or a header's value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtlpError {
    /// No address over HTTP.
    #[error("--otlp-endpoint must be a URL such as http://collector:4318 (OTLP over HTTP; gRPC is not spoken)")]
    NoUrl,
    /// The address holds a login.
    #[error("--otlp-endpoint must hold no user name, password or query: a login is a header, see {HEADERS}")]
    Login,
    /// The address is the one of traces already.
    #[error("--otlp-endpoint must be the address of the collector without /{TRACES}, which is added")]
    FullPath,
    /// The variable with the headers cannot be read.
    #[error("{HEADERS}: entry {0} is no header; write name=value,name=value, with commas in a value as %2C")]
    Header(usize),
}

impl OtlpSettings {
    /// Reads the flag, and the variable with headers where it is set.
    pub fn read(endpoint: &str, headers: &str) -> Result<Self, OtlpError> {
        let mut url = Url::parse(endpoint.trim()).map_err(|_| OtlpError::NoUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(OtlpError::NoUrl);
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(OtlpError::Login);
        }
        let base = url.path().trim_end_matches('/').to_owned();
        if base.ends_with(TRACES) {
            return Err(OtlpError::FullPath);
        }
        url.set_path(&format!("{base}/{TRACES}"));
        Ok(Self { url, headers: read_headers(headers)? })
    }
}

/// `name=value,name=value`, with values as in a URL.
fn read_headers(text: &str) -> Result<HeaderMap, OtlpError> {
    let mut headers = HeaderMap::new();
    for (index, entry) in text.split(',').enumerate().filter(|(_, entry)| !entry.trim().is_empty()) {
        let (name, value) = header(entry).ok_or(OtlpError::Header(index + 1))?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn header(entry: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = entry.split_once('=')?;
    let value: Vec<u8> = percent_decode_str(value.trim()).collect();
    let mut value = HeaderValue::from_bytes(&value).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::from_bytes(name.trim().as_bytes()).ok()?, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_traces_is_added_to_the_address_of_a_collector() {
        for (endpoint, url) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("https://otel.example/", "https://otel.example/v1/traces"),
            (" https://otel.example/otlp/ ", "https://otel.example/otlp/v1/traces"),
        ] {
            assert_eq!(OtlpSettings::read(endpoint, "").unwrap().url.as_str(), url);
        }
    }

    #[test]
    fn what_cannot_be_an_address_is_refused_without_being_repeated() {
        for (endpoint, error) in [
            ("collector:4318", OtlpError::NoUrl),
            ("", OtlpError::NoUrl),
            ("grpc://collector:4317", OtlpError::NoUrl),
            ("https://ann:hunter2@otel.example", OtlpError::Login),
            ("https://otel.example?key=hunter2", OtlpError::Login),
            ("http://collector:4318/v1/traces/", OtlpError::FullPath),
        ] {
            let found = OtlpSettings::read(endpoint, "").unwrap_err();
            assert_eq!(found, error, "{endpoint}");
            assert!(found.to_string().starts_with("--otlp-endpoint") && !found.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn headers_are_read_as_the_standard_says_and_never_shown() {
        let read = |headers| OtlpSettings::read("http://collector:4318", headers);
        let settings = read("api-key=hunter2%2C%20b , x-scope = a=b,").unwrap();
        let value = |name| settings.headers.get(name).map(HeaderValue::as_bytes);
        assert_eq!((value("api-key"), value("x-scope")), (Some(&b"hunter2, b"[..]), Some(&b"a=b"[..])));
        assert!(!format!("{settings:?}").contains("hunter2"));
        for (headers, entry) in [("hunter2", 1), ("a=b,bad name=hunter2", 2), ("a=b,,c=%0A", 3)] {
            let error = read(headers).unwrap_err();
            assert_eq!(error, OtlpError::Header(entry));
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
