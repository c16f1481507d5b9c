//! The health pages a kubelet asks for: `/healthz`, `/livez` and `/readyz`, over plain HTTP.

use bytes::Bytes;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The port in the pod. On the process node all pods share the loopback, so the node chooses a
/// free one and says so in [`PORT_VARIABLE`].
pub const PORT: u16 = 8000;

/// The environment variable in which the process node gives the real port for [`PORT`].
pub const PORT_VARIABLE: &str = "HYADES_PORT_8000";

/// Probes come one at a time from one kubelet; this leaves room for people looking on.
const MAX_CONNECTIONS: usize = 16;

/// A probe gives up after a second by default; a slow client must not hold a connection longer.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    Live,
    Ready,
}

/// The checks of a process, shared by all who add one.
#[derive(Clone, Default)]
pub struct Health {
    checks: Arc<Mutex<Vec<(Page, String, Check)>>>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Health").finish_non_exhaustive()
    }
}

impl Health {
    /// No checks yet: everything is healthy.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check to `/healthz`, `/livez` and `/readyz`: its failure makes the kubelet restart
    /// the pod. It must answer at once.
    pub fn add_live(
        &self,
        name: &str,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.add(Page::Live, name, Box::new(check));
    }

    /// Adds a check to `/readyz` alone: its failure marks the pod not ready.
    pub fn add_ready(
        &self,
        name: &str,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.add(Page::Ready, name, Box::new(check));
    }

    fn add(&self, page: Page, name: &str, check: Check) {
        let mut checks = self
            .checks
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        checks.push((page, name.to_owned(), check));
    }

    /// Liveness: the reasons of the failed checks, or nothing.
    pub fn live(&self) -> Result<(), String> {
        self.evaluate(Page::Live)
    }

    /// Readiness: the reasons of the failed checks, or nothing.
    pub fn ready(&self) -> Result<(), String> {
        self.evaluate(Page::Ready)
    }

    fn evaluate(&self, page: Page) -> Result<(), String> {
        let checks = self
            .checks
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let failures: Vec<String> = checks
            .iter()
            .filter(|(of, _, _)| *of == Page::Live || *of == page)
            .filter_map(|(_, name, check)| {
                check()
                    .err()
                    .map(|why| format!("[-]{name} failed: {why}\n"))
            })
            .collect();
        if failures.is_empty() {
            Ok(())
        } else {
            Err(failures.concat())
        }
    }

    /// The address to serve on: the process node's choice on the loopback, else [`PORT`] on all
    /// addresses.
    pub fn address() -> SocketAddr {
        match std::env::var(PORT_VARIABLE)
            .ok()
            .and_then(|port| port.parse().ok())
        {
            Some(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            None => SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)),
        }
    }

    /// Serves the pages on `listener` until `shutdown`.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                // Out of file descriptors, usually: wait for some to come back.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Ok(slot) = slots.clone().try_acquire_owned() else {
                continue;
            };
            let health = self.clone();
            tokio::spawn(async move {
                let _slot = slot;
                let service = service_fn(move |request| {
                    let answer = health.answer(&request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                // A client that hangs up early is no event worth a log line.
                let _ = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let result = match (request.method(), request.uri().path()) {
            (&Method::GET, "/healthz" | "/livez") => self.live(),
            (&Method::GET, "/readyz") => self.ready(),
            _ => return page(StatusCode::NOT_FOUND, "not found\n".to_owned()),
        };
        match result {
            Ok(()) => page(StatusCode::OK, "ok".to_owned()),
            Err(why) => page(StatusCode::INTERNAL_SERVER_ERROR, why),
        }
    }
}

fn page(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    #[tokio::test]
    async fn pages_follow_their_checks() {
        let health = Health::new();
        health.add_ready("caches", || Err("not filled yet".to_owned()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("bound");
        let address = listener.local_addr().expect("an address");
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(health.clone().serve(listener, shutdown.clone()));

        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        assert!(
            get(address, "/readyz")
                .await
                .contains("[-]caches failed: not filled yet")
        );
        assert!(get(address, "/metrics").await.starts_with("HTTP/1.1 404"));
        health.add_live("hub-kube-config", || Err("expired".to_owned()));
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 500"));

        shutdown.cancel();
        server.await.expect("the server ended");
    }
}
