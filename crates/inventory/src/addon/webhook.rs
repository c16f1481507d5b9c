//! The conversion webhook: API servers ask it for add-ons in the other of their two versions.
//!
//! ```text
//! start ▶ key and authority ▶ listen ▶ write address and authority into the definitions
//!                                ⟳ half a life of the certificate later, again
//! ```
//!
//! The key lives in this process only. A new process has a new one and writes it down before it
//! does anything else, so nobody has to keep or rotate a Secret. On a real cluster the definitions
//! name the Service in front of the pod; on a process node, which has no Services, the port on the
//! loopback that the node gave the pod.

use bytes::Bytes;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::Limited;
use hyades_api::addon::review;
use hyades_api::names::namespaces;
use hyades_pki::Authority;
use hyades_pki::Validity;
use hyades_runtime::Context;
use hyades_runtime::Trouble;
use hyades_runtime::backoff::Backoff;
use hyades_runtime::backoff::Policy;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyper::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde_json::Value;
use serde_json::json;
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;

/// The definitions whose versions differ in more than name.
pub(crate) const DEFINITIONS: [&str; 2] = [
    "managedclusteraddons.addon.open-cluster-management.io",
    "clustermanagementaddons.addon.open-cluster-management.io",
];

/// The Service in front of the webhook, under upstream's name.
pub(crate) const SERVICE: &str = "cluster-manager-addon-webhook";

/// The port in the pod and of the Service.
pub(crate) const PORT: u16 = 9443;

/// The path it answers at.
const PATH: &str = "/convert";

/// The environment variable in which the process node gives the real port for [`PORT`].
const PORT_VARIABLE: &str = "HYADES_PORT_9443";

/// Life of the key and its authority: upstream's serving certificates last as long.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Largest review, twice the largest list page of ten thousand small add-ons.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Connections at a time: an API server keeps one or two, and a hub has few API servers.
const CONNECTIONS_MAX: usize = 32;

/// How long a client may take for its request's head, and for the handshake.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the body of a review may take, as long as an API server waits for any webhook.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection is kept. Each holds one of [`CONNECTIONS_MAX`] places; API servers, which
/// keep theirs, make another.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(600);

/// Why the webhook does not serve.
#[derive(Debug, thiserror::Error)]
enum WebhookError {
    /// The port cannot be had.
    #[error("listened on {address} for the conversion of add-ons: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What happened.
        error: io::Error,
    },
    /// The key or certificate could not be made or used.
    #[error("made a certificate for the conversion of add-ons: {0}")]
    Certificate(String),
}

/// Serves until shutdown. `port` is the one asked for; 0 is any, on the loopback. What stands in the
/// way is logged and tried again: registration goes on meanwhile.
pub(crate) async fn run(context: &Context, port: u16) {
    let mut backoff = Backoff::new(Policy::RECONCILE);
    let attempts = async {
        loop {
            let Err(error) = serve_lifetimes(context, port).await;
            let delay = backoff.next_delay();
            tracing::error!("{error}; trying again in {:.1} s", delay.as_secs_f64());
            tokio::time::sleep(delay).await;
        }
    };
    tokio::select! {
        () = context.shutdown.cancelled() => {}
        () = attempts => {}
    }
}

/// Serves with one certificate after the other.
async fn serve_lifetimes(context: &Context, port: u16) -> Result<Infallible, WebhookError> {
    let given = std::env::var(PORT_VARIABLE)
        .ok()
        .and_then(|port| port.parse().ok());
    let address = match (given, port) {
        (Some(port), _) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        (None, 0) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        (None, port) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
    };
    let listen = |error| WebhookError::Listen { address, error };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let bound = listener.local_addr().map_err(listen)?;
    loop {
        let (acceptor, authority) = certified()?;
        let client = client_config(bound, &authority);
        let serving = async {
            tokio::join!(serve(&listener, acceptor), announce(context, &client));
        };
        tokio::select! {
            () = serving => {}
            // The next certificate is made long before this one ends.
            () = tokio::time::sleep(LIFETIME / 2) => {}
        }
    }
}

/// Names under which API servers reach the webhook.
fn server_names() -> Vec<String> {
    let service = format!("{SERVICE}.{}.svc", namespaces::HUB);
    vec![
        service,
        "localhost".to_owned(),
        Ipv4Addr::LOCALHOST.to_string(),
    ]
}

fn certified() -> Result<(TlsAcceptor, String), WebhookError> {
    let wrong = |error: String| WebhookError::Certificate(error);
    let seconds = i64::try_from(LIFETIME.as_secs()).unwrap_or(i64::MAX);
    let valid = Validity::starting(Timestamp::now(), seconds);
    let authority =
        Authority::new("addon-webhook", valid).map_err(|error| wrong(error.to_string()))?;
    let (certificate, key) = authority
        .issue_server(&server_names(), valid)
        .map_err(|error| wrong(error.to_string()))?;
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_pkcs8_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| wrong(error.to_string()))?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Ok((acceptor, authority.certificate_pem()))
}

/// How API servers reach the webhook that listens there.
fn client_config(bound: SocketAddr, authority_pem: &str) -> Value {
    let bundle = json!(ByteString(authority_pem.as_bytes().to_vec()));
    if bound.ip().is_loopback() {
        let url = format!("https://{bound}{PATH}");
        return json!({"url": url, "caBundle": bundle});
    }
    json!({
        "service": {
            "namespace": namespaces::HUB, "name": SERVICE, "path": PATH, "port": PORT,
        },
        "caBundle": bundle,
    })
}

/// Writes the webhook's address into the definitions, however long that takes.
async fn announce(context: &Context, client: &Value) {
    let api = Api::<CustomResourceDefinition>::all(context.client.clone());
    // A merge patch clears what another kind of client configuration left.
    let mut config = json!({"url": null, "service": null});
    if let (Some(config), Some(client)) = (config.as_object_mut(), client.as_object()) {
        config.extend(client.clone());
    }
    let body = json!({"spec": {"conversion": {
        "strategy": "Webhook",
        "webhook": {"clientConfig": config, "conversionReviewVersions": ["v1"]},
    }}});
    for name in DEFINITIONS {
        let mut backoff = Backoff::new(Policy::API);
        loop {
            let patch = Patch::Merge(&body);
            let patched = api.patch(name, &PatchParams::default(), &patch).await;
            let Err(error) = patched else { break };
            let delay = backoff.next_delay();
            tracing::warn!(
                "told the API server who converts {name}: {}; trying again in {:.1} s",
                Trouble::of(&error),
                delay.as_secs_f64()
            );
            tokio::time::sleep(delay).await;
        }
    }
    tracing::info!("converting add-ons between v1alpha1 and v1beta1");
}

/// Takes connections for ever.
async fn serve(listener: &TcpListener, acceptor: TlsAcceptor) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    connection(stream, acceptor).await;
                    drop(slot);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: others must finish first.
                tracing::warn!("took a connection for the conversion of add-ons: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor) {
    let handshake = tokio::time::timeout(HEAD_TIMEOUT, acceptor.accept(stream));
    let Ok(Ok(stream)) = handshake.await else {
        tracing::debug!("a client of the conversion of add-ons did not finish its handshake");
        return;
    };
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service_fn(respond));
    match tokio::time::timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!("a connection for the conversion of add-ons ended: {error}");
        }
        Err(_) => tracing::debug!("a connection for the conversion of add-ons got too old"),
    }
}

async fn respond(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let plain = |code: StatusCode, text: &str| {
        let mut response = Response::new(Full::new(Bytes::from(format!("{text}\n"))));
        *response.status_mut() = code;
        Ok(response)
    };
    if request.method() != Method::POST || request.uri().path() != PATH {
        return plain(StatusCode::NOT_FOUND, "post a ConversionReview to /convert");
    }
    let body = match collect(request.into_body(), BODY_TIMEOUT).await {
        Ok(body) => body,
        Err((code, text)) => return plain(code, text),
    };
    let Ok(review) = serde_json::from_slice(&body) else {
        return plain(StatusCode::BAD_REQUEST, "the body is no JSON");
    };
    let answer = review::answer(review).to_string();
    let mut response = Response::new(Full::new(Bytes::from(answer)));
    let json = http::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    Ok(response)
}

/// A whole body, or why there is none.
async fn collect<B>(body: B, patience: Duration) -> Result<Bytes, (StatusCode, &'static str)>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let body = Limited::new(body, BODY_BYTES_MAX);
    match tokio::time::timeout(patience, body.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err((
            StatusCode::PAYLOAD_TOO_LARGE,
            "the review is too large or was cut off",
        )),
        Err(_) => Err((
            StatusCode::REQUEST_TIMEOUT,
            "the review did not come to its end in time",
        )),
    }
}

/// The Service in front of the webhook.
pub(crate) fn service() -> Value {
    use hyades_api::names::apps;
    use hyades_api::names::labels;
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": namespaces::HUB},
        "spec": {
            "selector": {labels::APP: apps::HUB},
            "ports": [{"port": PORT, "targetPort": PORT, "protocol": "TCP"}],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body whose sender says nothing more and does not go.
    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<io::Result<hyper::body::Frame<Bytes>>>> {
            std::task::Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_body_that_does_not_end_gives_its_place_back() {
        let refused = collect(Silent, Duration::from_millis(1)).await;
        let code = refused.expect_err("no body").0;
        assert_eq!(code, StatusCode::REQUEST_TIMEOUT);
        let whole = Full::new(Bytes::from_static(b"{}"));
        let taken = collect(whole, BODY_TIMEOUT).await;
        assert_eq!(taken.expect("a body"), "{}");
    }

    #[test]
    fn api_servers_are_told_a_url_on_a_process_node_and_a_service_elsewhere() {
        let local = client_config(SocketAddr::from((Ipv4Addr::LOCALHOST, 7)), "PEM");
        assert_eq!(
            local,
            json!({"url": "https://127.0.0.1:7/convert", "caBundle": "UEVN"})
        );
        let real = client_config(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)), "PEM");
        assert_eq!(
            real["service"],
            json!({
                "namespace": "open-cluster-management-hub",
                "name": "cluster-manager-addon-webhook",
                "path": "/convert",
                "port": 9443,
            })
        );
        assert_eq!(service()["spec"]["ports"][0]["port"], 9443);
        let whole = "cluster-manager-addon-webhook.open-cluster-management-hub.svc";
        assert_eq!(server_names()[0], whole);
    }
}
