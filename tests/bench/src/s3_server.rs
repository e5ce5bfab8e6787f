//! An S3 compatible store over HTTP(S), which checks signatures.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use s3s::auth::SimpleAuth;
use s3s::dto::{GetObjectInput, GetObjectOutput, HeadObjectInput, ListObjectsV2Input, ListObjectsV2Output};
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;

use crate::daemon::Scratch;
use crate::http_server::{Auth, Behaviour, Control, HttpServer};
use crate::pki::Authority;

/// How a store is to be started.
#[derive(Debug, Default)]
pub struct S3ServerBuilder {
    keys: Option<(String, String)>,
    tls: bool,
}

/// A store on loopback with one bucket, `charts`, whose objects are files.
#[derive(Debug)]
pub struct S3Server {
    control: Arc<Control>,
    authority: Option<Authority>,
    http: HttpServer,
    scratch: Scratch,
    vanished: Arc<Mutex<BTreeSet<String>>>,
}

/// The name of the bucket.
const BUCKET: &str = "charts";

/// Files as objects, with entity tags in listings too, which every store gives but `s3s-fs`; packages are marked as
/// compressed, as `s3cmd` uploads them.
struct Tagged {
    files: FileSystem,
    vanished: Arc<Mutex<BTreeSet<String>>>,
}

#[async_trait::async_trait]
impl S3 for Tagged {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let key = &request.input.key;
        if self.vanished.lock().unwrap_or_else(PoisonError::into_inner).contains(key) {
            return Err(s3_error!(NoSuchKey));
        }
        let is_package = key.ends_with("gz");
        let mut object = self.files.get_object(request).await?;
        object.output.content_encoding = is_package.then(|| "gzip".to_owned());
        Ok(object)
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let mut one =
            request.clone().map_input(|input| HeadObjectInput { bucket: input.bucket, ..HeadObjectInput::default() });
        let mut listed = self.files.list_objects_v2(request).await?;
        // `s3s-fs` says that keys are encoded, and leaves them as they are.
        let encoded = listed.output.encoding_type.as_ref().is_some_and(|encoding| encoding.as_str() == "url");
        for object in listed.output.contents.iter_mut().flatten() {
            one.input.key = object.key.clone().unwrap_or_default();
            object.e_tag = self.files.head_object(one.clone()).await?.output.e_tag;
            object.key = object.key.take().map(|key| if encoded { url_encoded(&key) } else { key });
        }
        Ok(listed)
    }
}

/// As Amazon and `MinIO` have it.
fn url_encoded(key: &str) -> String {
    key.bytes().fold(String::new(), |text, byte| match byte {
        b' ' => text + "+",
        b'/' | b'-' | b'_' | b'.' | b'*' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
            text + &char::from(byte).to_string()
        }
        other => text + &format!("%{other:02X}"),
    })
}

impl S3ServerBuilder {
    /// Asks clients for signatures by these keys (AWS Signature Version 4).
    #[must_use]
    pub fn keys(mut self, access: &str, secret: &str) -> Self {
        self.keys = Some((access.to_owned(), secret.to_owned()));
        self
    }

    /// Serves HTTPS with a certificate that only [`S3Server::authority`] vouches for.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Starts it, with an empty bucket.
    ///
    /// # Panics
    /// When the port cannot be bound.
    pub fn start(self) -> S3Server {
        let scratch = Scratch::new("s3");
        std::fs::create_dir(scratch.path().join(BUCKET)).expect("make a bucket");
        let files = FileSystem::new(scratch.path()).expect("serve a folder");
        let vanished = Arc::default();
        let mut builder = S3ServiceBuilder::new(Tagged { files, vanished: Arc::clone(&vanished) });
        if let Some((access, secret)) = self.keys {
            builder.set_auth(SimpleAuth::from_single(access, secret));
        }
        let control = Arc::new(Control::default());
        let authority = self.tls.then(Authority::new);
        let service = builder.build();
        let answer = move |request: axum::extract::Request| {
            let service = service.clone();
            async move {
                let request = request.map(s3s::Body::http_body_unsync);
                match service.call(request).await {
                    Ok(response) => response.map(axum::body::Body::new),
                    Err(error) => panic!("the S3 server failed: {error:?}"),
                }
            }
        };
        let router = Router::new().fallback(answer);
        let http = HttpServer::start(router, Auth::None, authority.as_ref(), Arc::clone(&control));
        S3Server { control, authority, http, scratch, vanished }
    }
}

impl S3Server {
    /// Plain HTTP, open to all.
    ///
    /// # Panics
    /// When the port cannot be bound.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// To ask for more than plain HTTP.
    pub fn builder() -> S3ServerBuilder {
        S3ServerBuilder::default()
    }

    /// Host and port.
    ///
    /// # Panics
    /// Never: the server has a URL.
    pub fn endpoint(&self) -> &str {
        self.http.url().split_once("://").expect("a URL").1
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &'static str {
        BUCKET
    }

    /// The PEM certificate that vouches for the HTTPS server.
    ///
    /// # Panics
    /// When TLS was not asked for.
    pub fn authority(&self) -> String {
        self.authority.as_ref().expect("built with tls()").certificate()
    }

    /// Writes an object.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn put(&self, key: &str, bytes: impl AsRef<[u8]>) {
        let file = self.file(key);
        std::fs::create_dir_all(file.parent().expect("below the bucket")).expect("make a folder");
        std::fs::write(file, bytes).expect("write an object");
    }

    /// Removes an object.
    ///
    /// # Panics
    /// When there is none.
    pub fn remove(&self, key: &str) {
        std::fs::remove_file(self.file(key)).expect("remove an object");
    }

    /// Says that an object is not there to whoever wants to have it, though it is listed; or serves it again.
    pub fn vanish(&self, key: &str, vanished: bool) {
        let mut all = self.vanished.lock().unwrap_or_else(PoisonError::into_inner);
        if vanished {
            all.insert(key.to_owned());
        } else {
            all.remove(key);
        }
    }

    /// Removes the bucket.
    ///
    /// # Panics
    /// When it is gone already.
    pub fn remove_bucket(&self) {
        std::fs::remove_dir_all(self.scratch.path().join(BUCKET)).expect("remove a bucket");
    }

    /// Serves, refuses or hangs from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.control.behave(behaviour);
    }

    /// All requests so far: `GET /path?query`.
    pub fn requests(&self) -> Vec<String> {
        self.control.requests()
    }

    fn file(&self, key: &str) -> PathBuf {
        self.scratch.path().join(BUCKET).join(key)
    }
}
