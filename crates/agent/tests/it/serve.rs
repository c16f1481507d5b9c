//! Serving a space over a host's TLS, with a gate in the way that a test can shut.

use hyades_pki::Authority;
use hyades_pki::Validity;
use hyades_runtime::CancellationToken;
use hyades_space::PeerCertificate;
use hyades_space::SpaceService;
use hyper::body::Incoming;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use jiff::Timestamp;
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls::sign::SingleCertAndKey;
use rustls_pki_types::PrivatePkcs8KeyDer;
use std::sync::Arc;
use std::sync::Mutex;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// Seconds in a day, for certificates that outlive a test.
pub const DAY_SECONDS: i64 = 86_400;

/// When a request is lost: before the server has seen it, or its answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lost {
    Request,
    Answer,
}

/// What lies between client and server.
#[derive(Debug, Default)]
pub struct Gate(Mutex<Way>);

#[derive(Debug, Default)]
enum Way {
    #[default]
    Open,
    /// Open for so many requests; the next one is lost so, and then it is shut.
    Closing(usize, Lost),
    Shut,
}

impl Gate {
    pub fn close_after(&self, requests: usize, lost: Lost) {
        *self.0.lock().expect("a gate") = Way::Closing(requests, lost);
    }

    /// Whether it is shut.
    pub fn is_shut(&self) -> bool {
        matches!(*self.0.lock().expect("a gate"), Way::Shut)
    }

    pub fn open(&self) {
        *self.0.lock().expect("a gate") = Way::Open;
    }

    /// What becomes of the next request.
    fn pass(&self) -> Option<Lost> {
        let mut way = self.0.lock().expect("a gate");
        match *way {
            Way::Open => None,
            Way::Closing(0, lost) => {
                *way = Way::Shut;
                Some(lost)
            }
            Way::Closing(ref mut left, _) => {
                *left -= 1;
                None
            }
            Way::Shut => Some(Lost::Request),
        }
    }
}

/// Serves `space` until `stop`.
pub async fn serve(
    listener: TcpListener,
    serving: &Authority,
    space: SpaceService,
    gate: Arc<Gate>,
    stop: CancellationToken,
) {
    let acceptor = acceptor(serving);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, _) = accepted.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let (acceptor, space, stop) = (acceptor.clone(), space.clone(), stop.clone());
        let gate = gate.clone();
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let certificates = stream.get_ref().1.peer_certificates();
            let peer = certificates
                .and_then(|all| all.first())
                .map(|der| PeerCertificate(der.to_vec().into()));
            let cut = CancellationToken::new();
            let cutting = cut.clone();
            let service =
                hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
                    if let Some(peer) = &peer {
                        request.extensions_mut().insert(peer.clone());
                    }
                    let (space, gate, cut) = (space.clone(), gate.clone(), cutting.clone());
                    async move {
                        let lost = gate.pass();
                        let answer = match lost {
                            Some(Lost::Request) => None,
                            _ => Some(space.oneshot(request).await),
                        };
                        if lost.is_some() {
                            cut.cancel();
                            std::future::pending::<()>().await;
                        }
                        answer.expect("a request that was let through is answered")
                    }
                });
            let server = auto::Builder::new(TokioExecutor::new());
            tokio::select! {
                () = stop.cancelled() => {}
                () = cut.cancelled() => {}
                _ = server.serve_connection(TokioIo::new(stream), service) => {}
            }
        });
    }
}

fn acceptor(serving: &Authority) -> TlsAcceptor {
    let valid = Validity::starting(Timestamp::now(), DAY_SECONDS);
    let (certificate, key) = serving
        .issue_server(&["127.0.0.1".to_owned()], valid)
        .expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(key.to_pkcs8_der()).into();
    let key = ring::sign::any_supported_type(&key).expect("a key");
    let shown = CertifiedKey::new(vec![certificate.der().to_vec().into()], key);
    let config = hyades_host::server_config(Arc::new(SingleCertAndKey::from(shown)));
    TlsAcceptor::from(Arc::new(config.expect("a configuration")))
}
