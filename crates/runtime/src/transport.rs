//! How a client's requests reach its API server.
//!
//! All requests and watches of a client share one HTTP/2 connection: a burst pays for no
//! handshake, and a controller with ten watches holds one socket and one TLS session. Requests
//! begun before the first connection stands open one each, of which one is kept. A server that
//! speaks HTTP/1.1 only gets one connection for each request under way; so does any server behind
//! a proxy or with an exec plugin's credentials, where kube's own connector is used.
//!
//! Servers allow some hundred streams on a connection (kube-apiserver 100, a host 250); requests
//! beyond wait for one to end, within the time limit of any request. No client comes near: the
//! hub's workers and watches together are fewer.

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
/// silent for minutes, and a router that forgot the connection says nothing by itself.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// How long the server may take to say so: ten times the longest round trip around the earth, and
/// one retransmission. With the interval it is below [`RESPONSE_TIMEOUT`], so that a request that
/// ran into a dead connection is not followed by others.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection without new requests is kept for the next. Watches last some five
/// minutes, and a controller that only watches asks for nothing in between.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// How long nothing at all may arrive, or be taken, on a connection with something under way.
/// Servers end watches after five minutes; HTTP/2 pings count as arriving.
const STALL_TIMEOUT: Duration = Duration::from_secs(330);

/// What a server may send on one stream before it is read, in bytes: over a round trip of 100 ms,
/// lists come with 10 MB/s.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// What a server may send on all streams together, in bytes: fifteen watches that nobody reads
/// still leave room for the requests beside them, and cost no more memory than this.
const CONNECTION_WINDOW_BYTES: u32 = 16 * STREAM_WINDOW_BYTES;

/// Makes the client that a configuration asks for.
pub(crate) fn client(mut config: Config) -> kube::Result<Client> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(STALL_TIMEOUT);
    config.write_timeout = Some(STALL_TIMEOUT);
    // An exec plugin's certificate runs out with its credentials; kube alone knows when.
    if config.proxy_url.is_some() || config.auth_info.exec.is_some() {
        return Ok(bounded(ClientBuilder::try_from(config)?));
    }
    let transport = legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
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

/// A connector that offers HTTP/2 first, and bounds TCP and TLS together, and silence.
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
    bounded.set_connect_timeout(config.connect_timeout);
    bounded.set_read_timeout(config.read_timeout);
    bounded.set_write_timeout(config.write_timeout);
    Ok(bounded)
}

fn fixed_name(name: &str) -> kube::Result<FixedServerNameResolver> {
    let name = name
        .to_owned()
        .try_into()
        .map_err(|error| kube::Error::RustlsTls(RustlsTlsError::InvalidServerName(error)))?;
    Ok(FixedServerNameResolver::new(name))
}
