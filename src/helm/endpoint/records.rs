//! Which of helm's requests are about its own records of a release, purely: helm keeps these in
//! the namespace of the release, and an object may ask for another one.

use http::Method;
use serde::Deserialize;

use super::super::storage::SECRET_TYPE;

/// How the body of a Kubernetes protobuf message begins.
const PROTOBUF_MAGIC: &[u8] = b"k8s\0";

/// The records of one release, which are not where helm looks for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// Name of the release.
    pub release: String,
    /// Where helm looks for them: the namespace of the release.
    pub namespace: String,
    /// Where they are.
    pub storage: String,
}

/// A request, in as much as it tells what it is about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'r> {
    /// What to do.
    pub method: &'r Method,
    /// With what, without the query.
    pub path: &'r str,
    /// The query, as sent.
    pub query: &'r str,
    /// The body, as sent: JSON, or protobuf as Kubernetes frames it.
    pub body: &'r [u8],
}

impl Records {
    /// The path to ask instead, when the request is about these records. Bodies need no change:
    /// helm leaves the namespace in them empty.
    pub fn moved(&self, asked: &Asked<'_>) -> Option<String> {
        let secrets = |namespace: &str| format!("/api/v1/namespaces/{namespace}/secrets");
        let rest = asked.path.strip_prefix(&secrets(&self.namespace))?;
        let ours = match rest.strip_prefix('/') {
            Some(name) => self.is_record(name),
            None if !rest.is_empty() => false,
            None if asked.method == Method::GET => selects_releases(asked.query),
            None => asked.method == Method::POST && secret_type(asked.body).as_deref() == Some(SECRET_TYPE),
        };
        ours.then(|| format!("{}{rest}", secrets(&self.storage)))
    }

    fn is_record(&self, name: &str) -> bool {
        let version = name
            .strip_prefix("sh.helm.release.v1.")
            .and_then(|rest| rest.strip_prefix(&self.release))
            .and_then(|rest| rest.strip_prefix(".v"));
        version.is_some_and(|version| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()))
    }
}

fn selects_releases(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes())
        .any(|(key, value)| key == "labelSelector" && value.split(',').any(|term| term == "owner=helm"))
}

/// The `type` of a Secret; none for what is no Secret.
fn secret_type(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Typed {
        r#type: Option<String>,
    }
    let Some(framed) = body.strip_prefix(PROTOBUF_MAGIC) else {
        return serde_json::from_slice::<Typed>(body).ok()?.r#type;
    };
    // `runtime.Unknown` keeps the object in field 2, a Secret its type in field 3.
    let named = field(field(framed, 2)?, 3)?;
    String::from_utf8(named.to_vec()).ok()
}

/// The first field of a protobuf message with this number, if its content is bytes.
fn field(mut message: &[u8], wanted: u64) -> Option<&[u8]> {
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let length = match key & 7 {
            0 => {
                varint(&mut message)?;
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (content, rest) = message.split_at_checked(length)?;
        if key >> 3 == wanted {
            return (key & 7 == 2).then_some(content);
        }
        message = rest;
    }
    None
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(method: &Method, path: &str, body: &[u8]) -> Option<String> {
        let records = Records { release: "ui".to_owned(), namespace: "web".to_owned(), storage: "apps".to_owned() };
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        records.moved(&Asked { method, path, query, body })
    }

    /// A length-delimited field.
    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("short");
        assert!(length < 128);
        [&[number << 3 | 2, length], content].concat()
    }

    fn protobuf(type_: &str) -> Vec<u8> {
        let metadata = bytes(1, &bytes(1, b"sh.helm.release.v1.ui.v1"));
        let secret = [metadata, bytes(2, b"data"), bytes(3, type_.as_bytes()), vec![5 << 3, 1]].concat();
        let type_meta = bytes(1, &bytes(1, b"v1"));
        [PROTOBUF_MAGIC, &type_meta, &bytes(2, &secret)].concat()
    }

    #[test]
    fn the_records_of_the_release_are_moved_and_nothing_else() {
        let secrets = "/api/v1/namespaces/web/secrets";
        let there = |rest: &str| Some(format!("/api/v1/namespaces/apps/secrets{rest}"));
        let record = "/sh.helm.release.v1.ui.v12";
        for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE] {
            assert_eq!(moved(&method, &format!("{secrets}{record}"), b""), there(record), "{method}");
        }
        let list = |selector: &str| moved(&Method::GET, &format!("{secrets}?labelSelector={selector}"), b"");
        assert_eq!(list("name%3Dui%2Cowner%3Dhelm%2Cstatus%3Ddeployed"), there(""));
        assert_eq!(list("owner%3Dhelmet"), None);
        for other in [
            format!("{secrets}/sh.helm.release.v1.uix.v1"),
            format!("{secrets}/sh.helm.release.v1.ui.v1.v2x"),
            format!("{secrets}/sh.helm.release.v1.ui.v"),
            format!("{secrets}/password"),
            secrets.to_owned(),
            format!("/api/v1/namespaces/other/secrets{record}"),
            "/api/v1/namespaces/web/secretstores?labelSelector=owner%3Dhelm".to_owned(),
            "/api/v1/namespaces/web/configmaps?labelSelector=owner%3Dhelm".to_owned(),
        ] {
            assert_eq!(moved(&Method::GET, &other, b""), None, "{other}");
        }
        assert_eq!(moved(&Method::DELETE, &format!("{secrets}?labelSelector=owner%3Dhelm"), b""), None);
    }

    #[test]
    fn a_new_record_is_told_from_a_secret_of_the_chart() {
        let secrets = "/api/v1/namespaces/web/secrets";
        let post = |body: &[u8]| moved(&Method::POST, secrets, body).is_some();
        assert!(post(br#"{"kind":"Secret","type":"helm.sh/release.v1"}"#));
        assert!(post(&protobuf(SECRET_TYPE)));
        for other in [
            br#"{"kind":"Secret","type":"Opaque"}"#.as_slice(),
            br#"{"kind":"Secret"}"#,
            b"apiVersion: v1",
            b"",
            &protobuf("Opaque"),
            &protobuf(SECRET_TYPE)[..20],
            b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"k8s\0\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert!(!post(other), "{other:?}");
        }
    }
}
