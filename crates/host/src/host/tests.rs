//! The host over spaces that echo, through its real port and socket.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::Request;
use http::Response;
use http::StatusCode;
use http_body_util::BodyExt;
use http_body_util::Empty;
use http_body_util::Full;
use hyades_space::PeerCertificate;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::ServerName;
use tower::util::BoxCloneSyncService;

use super::*;
use crate::AdminClient;

/// Starts spaces that answer with their name, the path they were given, and who asked.
struct Echo;

impl Launch for Echo {
    fn launch(&self, launching: Launching) -> BoxFuture<'_, Result<Running, HostError>> {
        let name = launching.name.to_string();
        if name == "broken" {
            let reason = "it is broken".to_owned();
            return Box::pin(async { Err(HostError::Space { name, reason }) });
        }
        let service = tower::service_fn(move |request: Request<hyper::body::Incoming>| {
            let peer = request.extensions().get::<PeerCertificate>();
            let peer = peer.map_or("nobody".to_owned(), |PeerCertificate(der)| {
                let certificate = hyades_pki::Certificate::from_der(der);
                certificate
                    .expect("a certificate")
                    .subject()
                    .common_name
                    .clone()
            });
            let text = format!("{name} {} {peer}", request.uri());
            async move { Ok(Response::new(Full::new(Bytes::from(text)).boxed_unsync())) }
        });
        let running = Running::new(BoxCloneSyncService::new(service), async {});
        Box::pin(async { Ok(running) })
    }
}

fn options(place: &Path) -> HostOptions {
    HostOptions {
        data_dir: place.to_owned(),
        listen: "127.0.0.1:0".parse().expect("an address"),
        advertise: None,
        binary: "/bin/true".into(),
        simulation: None,
    }
}

async fn start(place: &Path) -> Host {
    Host::start_with(options(place), Arc::new(Echo))
        .await
        .expect("a host")
}

/// A request over TLS, as the administrator of a context or as nobody.
async fn get(host: &Host, path: &str, admin_of: Option<&str>) -> (StatusCode, String) {
    let mut roots = RootCertStore::empty();
    let ca = hyades_pki::Certificate::from_pem(&host.ca_pem()).expect("a certificate");
    roots
        .add(CertificateDer::from(ca.der().to_vec()))
        .expect("a root");
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = match admin_of {
        None => config.with_no_client_auth(),
        Some(name) => {
            let kubeconfig = host.kubeconfig(name).await.expect("a kubeconfig");
            let user = kubeconfig.user_of(name).expect("a user");
            let certificate = user.client_certificate_pem().expect("a certificate");
            let certificate = hyades_pki::Certificate::from_pem(&certificate).expect("PEM");
            let key = user.client_key_pem().expect("a key");
            let key = hyades_pki::Key::from_pem(&key).expect("PEM").to_pkcs8_der();
            config
                .with_client_auth_cert(
                    vec![CertificateDer::from(certificate.der().to_vec())],
                    PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key)),
                )
                .expect("a client certificate")
        }
    };
    let address = host.url().strip_prefix("https://").expect("a URL");
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("a port");
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.expect("a handshake");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("HTTP");
    tokio::spawn(connection);
    let request = Request::get(path)
        .body(Empty::<Bytes>::new())
        .expect("a request");
    let response = sender.send_request(request).await.expect("an answer");
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

#[tokio::test]
async fn requests_reach_their_space_with_the_certificate_that_was_shown() {
    let place = tempfile::tempdir().expect("a folder");
    let host = start(place.path()).await;
    host.create_space("its1").await.expect("made");
    let (_, body) = get(&host, "/spaces/its1/api/v1?watch=true", None).await;
    assert_eq!(body, "its1 /api/v1?watch=true nobody");
    let (_, body) = get(&host, "/spaces/its1", Some("its1")).await;
    assert_eq!(body, "its1 / kubernetes-admin");
    let (status, body) = get(&host, "/spaces/its2/api", Some("its1")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(
        body.contains(r#""reason":"NotFound""#) && !body.contains("its1"),
        "{body}"
    );
    assert_eq!(
        get(&host, "/readyz", None).await,
        (StatusCode::OK, "ok".to_owned())
    );
    host.shutdown().await;
}

#[tokio::test]
async fn spaces_come_and_go_through_the_socket() {
    let place = tempfile::tempdir().expect("a folder");
    let error = AdminClient::connect(place.path())
        .await
        .expect_err("nobody there");
    assert!(
        error
            .to_string()
            .starts_with("no host runs on data folder "),
        "{error}"
    );
    let host = start(place.path()).await;
    let client = AdminClient::connect(place.path()).await.expect("a host");
    let space = client.create_space("its1").await.expect("made");
    assert_eq!(space.url, format!("{}/spaces/its1", host.url()));
    let error = client
        .create_space("its1")
        .await
        .expect_err("there already");
    assert_eq!(
        error.to_string(),
        "the running host did not create the space: space \"its1\" exists already; \
         choose another name, or delete it first with `hyades space delete its1`"
    );
    let error = client
        .create_space("broken")
        .await
        .expect_err("fails to start");
    assert!(
        error
            .to_string()
            .ends_with("space \"broken\" cannot be started: it is broken"),
        "{error}"
    );
    assert!(
        !place.path().join("spaces/broken").exists(),
        "nothing is left half-done"
    );
    let kubeconfig = client.kubeconfig("its1").await.expect("a kubeconfig");
    assert_eq!(kubeconfig.current_context, "its1");
    assert_eq!(client.status().await.expect("a status").spaces, [space]);
    client.delete_space("its1").await.expect("deleted");
    assert!(client.kubeconfig("its1").await.is_err());
    let (status, _) = get(&host, "/spaces/its1/api", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let text = std::fs::read_to_string(place.path().join("kubeconfig")).expect("a file");
    assert!(!text.contains("its1"), "{text}");
    assert!(client.delete_space("../x").await.is_err());
    host.shutdown().await;
}

#[tokio::test]
async fn a_host_resumes_where_it_stopped_and_changes_nothing() {
    let place = tempfile::tempdir().expect("a folder");
    let mut options = options(place.path());
    let host = Host::start_with(options.clone(), Arc::new(Echo))
        .await
        .expect("a host");
    host.create_space("its1").await.expect("made");
    host.create_space("wds1").await.expect("made");
    let (id, ca_pem) = (host.id(), host.ca_pem());
    options.listen = host
        .url()
        .strip_prefix("https://")
        .expect("a URL")
        .parse()
        .expect("an address");
    let kubeconfig = std::fs::read(place.path().join("kubeconfig")).expect("a file");
    let error = Host::start_with(options.clone(), Arc::new(Echo))
        .await
        .expect_err("in use");
    assert!(
        error.to_string().starts_with("data folder already in use"),
        "{error}"
    );
    host.shutdown().await;
    drop(host);

    let host = Host::start_with(options, Arc::new(Echo))
        .await
        .expect("a host again");
    let names: Vec<String> = host
        .spaces()
        .await
        .into_iter()
        .map(|space| space.name)
        .collect();
    assert_eq!(names, ["its1", "wds1"]);
    assert_eq!((host.id(), host.ca_pem()), (id, ca_pem));
    let again = std::fs::read(place.path().join("kubeconfig")).expect("a file");
    assert_eq!(again, kubeconfig);
    for link in ["bin/clusteradm", "bin/hyades"] {
        let target = std::fs::read_link(place.path().join(link)).expect("a link");
        assert_eq!(target, Path::new("/bin/true"));
    }
    host.shutdown().await;
}

#[tokio::test]
async fn a_taken_port_is_told_and_the_folder_is_free_again() {
    let place = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut options = options(place.path());
    options.listen = taken.local_addr().expect("an address");
    let error = Host::start_with(options, Arc::new(Echo))
        .await
        .expect_err("taken");
    let port = taken.local_addr().expect("an address").port();
    assert_eq!(
        error.to_string(),
        format!("port {port} on 127.0.0.1 is taken by another program; choose another with --port")
    );
    start(place.path()).await.shutdown().await;
}

#[tokio::test]
async fn a_stop_asked_for_through_the_socket_is_waited_for() {
    let place = tempfile::tempdir().expect("a folder");
    let host = start(place.path()).await;
    let client = AdminClient::connect(place.path()).await.expect("a host");
    let runner = tokio::spawn(async move {
        host.stop_wanted().await;
        host.shutdown().await;
    });
    client.stop().await.expect("stopped");
    runner.await.expect("no panic");
    let error = client.status().await.expect_err("gone");
    assert!(matches!(error, HostError::NoHost { .. }), "{error}");
    assert!(!place.path().join("host.sock").exists());
}

/// Forwards a port of its own to `target`, and counts the connections.
async fn relay(target: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    (address, count)
}

#[tokio::test]
async fn a_client_sends_a_burst_over_one_connection() {
    let place = tempfile::tempdir().expect("a folder");
    let host = start(place.path()).await;
    host.create_space("its1").await.expect("made");
    let address = host.url().strip_prefix("https://").expect("a URL");
    let (relayed, connections) = relay(address.parse().expect("an address")).await;
    let kubeconfig = host.kubeconfig("its1").await.expect("a kubeconfig");
    let kubeconfig = kubeconfig.to_yaml().expect("YAML");
    let kubeconfig = kubeconfig.replace(address, &relayed.to_string());
    let client = hyades_runtime::client::from_kubeconfig(&kubeconfig, "test", "test")
        .await
        .expect("a client");
    let ask = || client.request_text(hyades_runtime::client::get_request("/version"));
    ask().await.expect("an answer");
    let answers = futures::future::join_all((0..30).map(|_| ask())).await;
    for answer in answers {
        let answer = answer.expect("an answer");
        assert!(answer.starts_with("its1 /version"), "{answer}");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    host.shutdown().await;
}
