//! An HTTP client with the certificates and the proxy of an object.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity};
use zeroize::Zeroizing;

use super::auth::Tls;
use crate::proxy::Proxy;

/// A client that follows no redirect, or the reason why there is none, without secrets.
pub(super) fn client(tls: &Tls, proxy: Option<&Proxy>, timeout: Duration) -> Result<Client, String> {
    let mut builder = Client::builder().timeout(timeout).redirect(Policy::none()).user_agent("fairlead");
    if let Some(authority) = &tls.authority {
        let certificates = Certificate::from_pem_bundle(authority.as_bytes());
        builder = builder.tls_certs_merge(certificates.map_err(|_| "'ca.crt' holds no PEM certificates")?);
    }
    if let Some((certificate, key)) = &tls.certificate {
        let pem = Zeroizing::new(format!("{}\n{}", certificate.as_str(), key.as_str()));
        let identity = Identity::from_pem(pem.as_bytes());
        builder = builder.identity(identity.map_err(|_| "'tls.crt' and 'tls.key' are no PEM key pair")?);
    }
    if let Some(proxy) = proxy {
        builder = builder.proxy(proxy.for_client().map_err(|_| "the proxy cannot be used")?);
    }
    builder.build().map_err(|error| error.to_string())
}
