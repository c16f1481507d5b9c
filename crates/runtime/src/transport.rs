//! How a client's requests reach its API server.
//!
//! Without a proxy, all requests and watches of a client share one HTTP/2 connection: the first
//! request pays for the handshake, a burst pays for none, and a controller with ten watches holds
//! one socket and one TLS session. A server that speaks HTTP/1.1 only still gets one connection
//! for each request under way. Through a proxy it is HTTP/1.1, with kube's own connector.

use crate::client::CONNECT_TIMEOUT;
use crate::client::RESPONSE_TIMEOUT;
use crate::client::RequestTimedOut;
use http::Request;
use http::Response;
use hyper_rustls::FixedServerNameResolver;
use hyper_rustls::HttpsConnector;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioTimer;
use kube::Client;
use kube::Config;
use kube::client::Body;
use kube::client::ClientBuilder;
use kube::client::ConfigExt;
use kube::client::RustlsTlsError;
use kube::client::retry::RetryPolicy;
use std::time::Duration;
use tower::BoxError;
use tower::Service;
use tower::ServiceBuilder;
use tower::retry::RetryLayer;
use tower::util::MapFutureLayer;

/// An HTTP/2 connection that is silent for this long is asked whether it still lives. Watches are
/// silent for minutes, and a router that forgot the connection says nothing by itself. The same
/// interval as client-go's.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How long the server may take to say so: ten times the longest round trip around the earth, and
/// one retransmission; client-go waits 15 s.
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// What a server may send on one stream before it is read, in bytes. Holds a page of a few
/// hundred objects, so that a list is not slowed down to one window a round trip.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// What a server may send on all streams together, in bytes: sixteen unread watches do not hold
/// up the requests beside them, and a stuck reader costs no more memory than this.
const CONNECTION_WINDOW_BYTES: u32 = 16 * STREAM_WINDOW_BYTES;

/// Makes the client that a configuration asks for.
pub(crate) fn client(config: Config) -> kube::Result<Client> {
    // An exec plugin's certificate runs out with its credentials; kube alone knows when.
    if config.proxy_url.is_some() || config.auth_info.exec.is_some() {
        return Ok(bounded(ClientBuilder::try_from(config)?));
    }
    let transport = legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_keep_alive_while_idle(true)
        .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .build::<_, Body>(connector(&config)?);
    let retries = config
        .default_retry
        .then(|| RetryLayer::new(RetryPolicy::server_retry()));
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(retries)
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(transport);
    Ok(bounded(ClientBuilder::new(
        service,
        config.default_namespace.clone(),
    )))
}

/// Bounds the wait for the head of an answer.
fn bounded<S, B>(builder: ClientBuilder<S>) -> Client
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError> + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let bounded = MapFutureLayer::new(|response| async move {
        match tokio::time::timeout(RESPONSE_TIMEOUT, response).await {
            Ok(result) => result,
            Err(_) => Err(RequestTimedOut.into()),
        }
    });
    builder.with_layer(&bounded).build()
}

/// A connector that offers HTTP/2 first, and bounds TCP and TLS together.
fn connector(config: &Config) -> kube::Result<TimeoutConnector<HttpsConnector<HttpConnector>>> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    // Without this, small requests wait for the server's acknowledgement of the one before.
    tcp.set_nodelay(true);
    let builder = HttpsConnectorBuilder::new()
        .with_tls_config(config.rustls_client_config()?)
        .https_or_http();
    let builder = match &config.tls_server_name {
        Some(name) => builder.with_server_name_resolver(fixed_name(name)?),
        None => builder,
    };
    let https = builder.enable_http1().enable_http2().wrap_connector(tcp);
    let mut bounded = TimeoutConnector::new(https);
    bounded.set_connect_timeout(Some(CONNECT_TIMEOUT));
    Ok(bounded)
}

fn fixed_name(name: &str) -> kube::Result<FixedServerNameResolver> {
    let name = name
        .to_owned()
        .try_into()
        .map_err(|error| kube::Error::RustlsTls(RustlsTlsError::InvalidServerName(error)))?;
    Ok(FixedServerNameResolver::new(name))
}
