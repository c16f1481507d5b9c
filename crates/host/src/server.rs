//! The TLS port: connections, their limits, and their orderly end.

mod activity;
mod strangers;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyades_space::Authenticated;
use hyades_space::PeerCertificate;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::router::Router;
use activity::Activity;
use strangers::Stranger;
use strangers::Strangers;

/// Most connections at once: ten thousand WECs with two agents each, and as many again for users
/// and reconnecting agents whose old connection has not timed out.
const CONNECTIONS_MAX: usize = 32_768;
/// How long a TLS handshake may take; it is three round trips at most.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an HTTP/1 connection may take to send a request's head, idle time included.
const HEADER_TIMEOUT: Duration = Duration::from_secs(90);
/// Largest request head, in bytes: tokens are some KiB, selectors in URLs too; upstream allows
/// 1 MiB, which no client needs.
const HEADER_BYTES_MAX: usize = 128 * 1024;
/// Streams per HTTP/2 connection, watches included; upstream allows 100, and Go clients open
/// further connections when it is reached.
const STREAMS_MAX: u32 = 250;
/// An HTTP/2 connection that is silent for this long is asked whether it still lives.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long it may take to say so.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long requests under way may go on when the host stops; watches end at once.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// Pause after the operating system refused a connection, as it does when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` is cancelled; returns when the last connection has ended.
pub(crate) async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    router: Router,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let strangers = Strangers::default();
    let connections = TaskTracker::new();
    loop {
        let next = async {
            // Never closed, so a slot always comes.
            let slot = slots.clone().acquire_owned().await.ok();
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            next = next => next,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
        let stranger = strangers.enter();
        connections.spawn(async move {
            connection(stream, stranger, acceptor, router, stop).await;
            drop(slot);
        });
    }
    connections.close();
    connections.wait().await;
}

/// Serves one connection.
async fn connection(
    stream: TcpStream,
    stranger: Stranger,
    acceptor: TlsAcceptor,
    router: Router,
    stop: CancellationToken,
) {
    // Without this, small writes such as watch events wait for the peer's acknowledgement.
    let _ = stream.set_nodelay(true);
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
    let stream = tokio::select! {
        () = stop.cancelled() => return,
        reason = stranger.is_to_go() => {
            tracing::debug!("a TLS handshake is ended: {reason}");
            return;
        }
        handshake = handshake => match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                return;
            }
            Err(_) => {
                tracing::debug!("a TLS handshake took too long");
                return;
            }
        },
    };
    let certificate = peer_certificate(&stream);
    let activity = Arc::new(Activity::default());
    let stranger = Arc::new(stranger);
    let (asked, asking) = (activity.clone(), stranger.clone());
    let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        let exchange = asked.begin();
        if let Some(certificate) = certificate.clone() {
            request.extensions_mut().insert(certificate);
        }
        let (router, asking) = (router.clone(), asking.clone());
        async move {
            let answer = router.answer(request).await;
            if answer.extensions().get::<Authenticated>().is_some() {
                asking.is_known_now();
            }
            Ok::<_, Infallible>(answer.map(|body| exchange.until_the_end_of(body)))
        }
    });
    let builder = builder();
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Ok(ended),
        reason = end_wanted(&activity, &stranger, &stop) => {
            tracing::debug!("a connection is ended: {reason}");
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(SHUTDOWN_GRACE, connection).await
        }
    };
    if let Ok(Err(error)) = ended {
        tracing::debug!(error, "a connection broke");
    }
}

/// Resolves when a connection is to end, with the reason.
async fn end_wanted(
    activity: &Activity,
    stranger: &Stranger,
    stop: &CancellationToken,
) -> &'static str {
    tokio::select! {
        () = stop.cancelled() => "the host stops",
        reason = activity.rests() => reason,
        reason = stranger.is_to_go() => reason,
    }
}

/// The certificate whose key the client has proved to hold.
fn peer_certificate(stream: &TlsStream<TcpStream>) -> Option<PeerCertificate> {
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates()?.first()?;
    Some(PeerCertificate(Bytes::copy_from_slice(leaf)))
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
