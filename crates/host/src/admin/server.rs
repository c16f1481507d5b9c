//! The host's side of the admin socket.

use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use serde::Serialize;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::BODY_BYTES_MAX;
use super::Failure;
use super::NewSpace;
use crate::Host;
use crate::HostError;
use crate::folder;
use crate::folder::Folder;

/// Most commands served at once; more wait in the socket's backlog.
const CONNECTIONS_MAX: usize = 16;
/// How long a command may take to send its request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after the operating system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long an answer may take to be written once the host stops; it is some bytes to a socket.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
/// Only the owner of the data folder may connect.
const SOCKET_MODE: u32 = 0o600;

/// Opens the socket in place of one that a crashed host left.
pub(crate) fn bind(data: &Folder) -> Result<UnixListener, HostError> {
    let path = data.socket();
    let bind = || {
        folder::remove_if_there(&path)?;
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
        Ok(listener)
    };
    bind().map_err(HostError::file("create", &path))
}

/// Serves until `stop` is cancelled; returns when whoever asked for that has been answered.
pub(crate) async fn serve(listener: UnixListener, host: Host, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        let next = async {
            let slot = slots.clone().acquire_owned().await.ok();
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            next = next => next,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (host, stop) = (host.clone(), stop.clone());
        connections.spawn(async move {
            connection(stream, host, stop).await;
            drop(slot);
        });
    }
    connections.close();
    connections.wait().await;
}

async fn connection(stream: UnixStream, host: Host, stop: CancellationToken) {
    let service = service_fn(move |request| {
        let host = host.clone();
        async move { Ok::<_, Infallible>(answer(&host, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(SHUTDOWN_GRACE, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an admin connection broke");
    }
}

async fn answer(host: &Host, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let method = request.method().clone();
    let outcome = match (method, &parts[..]) {
        (Method::GET, ["v1", "status"]) => Ok(json(StatusCode::OK, &host.status().await)),
        (Method::POST, ["v1", "spaces"]) => create(host, request).await,
        (Method::DELETE, ["v1", "spaces", name]) => {
            let deleted = host.delete_space(name).await;
            deleted.map(|()| json(StatusCode::OK, &serde_json::json!({})))
        }
        (Method::GET, ["v1", "spaces", name, "kubeconfig"]) => {
            let kubeconfig = host.kubeconfig(name).await;
            kubeconfig.map(|kubeconfig| json(StatusCode::OK, &kubeconfig))
        }
        (Method::POST, ["v1", "stop"]) => {
            host.want_stop();
            Ok(json(StatusCode::ACCEPTED, &serde_json::json!({})))
        }
        _ => return failure(StatusCode::NOT_FOUND, "there is no such admin request"),
    };
    outcome.unwrap_or_else(|error| failure(code(&error), &error.to_string()))
}

async fn create(
    host: &Host,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, HostError> {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX)
        .collect()
        .await;
    let read = body.map(|body| serde_json::from_slice::<NewSpace>(&body.to_bytes()));
    let Ok(Ok(NewSpace { name })) = read else {
        let reason = "the body must be {\"name\": \"…\"}";
        return Ok(failure(StatusCode::BAD_REQUEST, reason));
    };
    let space = host.create_space(&name).await?;
    Ok(json(StatusCode::CREATED, &space))
}

/// The status code of a failure.
fn code(error: &HostError) -> StatusCode {
    match error {
        HostError::SpaceName { .. } => StatusCode::BAD_REQUEST,
        HostError::NoSpace(_) => StatusCode::NOT_FOUND,
        HostError::SpaceExists(_) => StatusCode::CONFLICT,
        HostError::TooManySpaces(_) | HostError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn failure(status: StatusCode, error: &str) -> Response<Full<Bytes>> {
    let error = error.to_owned();
    json(status, &Failure { error })
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(body).expect("plain strings and numbers are always JSON");
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}
