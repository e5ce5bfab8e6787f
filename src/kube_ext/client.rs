//! The connections to the API server.

use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::{Client, Config};
use tower::retry::RetryLayer;
use tower::timeout::TimeoutLayer;
use tower::{BoxError, ServiceBuilder};

/// Connections that are kept for the next request; a burst opens five times as many, and each weighs 40 KiB.
const IDLE_CONNECTIONS: usize = 16;
/// The longest wait for an answer to begin. An API server gives up after 60 s by itself, so that longer ones mean that
/// nobody is there: a machine that went down leaves its connections open.
const ANSWER: Duration = Duration::from_secs(90);
/// The longest silence within an answer. A watch is ended by the API server after 290 s at the most, as kube asks for.
const SILENCE: Duration = Duration::from_mins(6);
/// What an API server allows as well.
const IDLE: Duration = Duration::from_secs(90);

/// A client as kube makes it, but that it keeps few connections (kube's own keeps all that were ever needed at a time), and
/// that it waits for no answer for ever, unless the configuration says how long.
///
/// # Errors
/// When the configuration's certificates or credentials cannot be used.
pub fn client(config: Config) -> Result<Client, kube::Error> {
    patient(config, ANSWER)
}

fn patient(mut config: Config, answer: Duration) -> Result<Client, kube::Error> {
    config.read_timeout.get_or_insert(SILENCE);
    config.reset_reader_on_write = true;
    // How those are reached and renewed is not to be had from outside of kube.
    if config.proxy_url.is_some() || config.auth_info.exec.is_some() {
        return Client::try_from(config);
    }
    let mut connector = TimeoutConnector::new(config.rustls_https_connector()?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let connections = legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry())))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .layer(TimeoutLayer::new(answer))
        .service(connections);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_server_that_takes_a_request_and_never_answers_is_not_waited_for() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap()).parse().unwrap();
        let client = patient(Config::new(url), Duration::from_millis(50)).unwrap();
        let api = Api::<ConfigMap>::default_namespaced(client);
        let (answer, _open) = tokio::join!(api.get("a"), silent.accept());
        let error = format!("{:?}", answer.unwrap_err());
        assert!(error.contains("Elapsed"), "{error}");
    }
}
