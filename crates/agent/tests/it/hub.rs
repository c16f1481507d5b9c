//! A hub: a space with the hub's objects and controllers, served over TLS.

use hyades_agent::install::BootstrapAccess;
use hyades_agent::install::bootstrap_kubeconfig;
use hyades_api::cluster::ManagedCluster;
use hyades_api::crds;
use hyades_api::names;
use hyades_api::names::namespaces;
use hyades_inventory::hub;
use hyades_pki::Authority;
use hyades_pki::ServiceAccountKey;
use hyades_pki::Validity;
use hyades_runtime::CancellationToken;
use hyades_runtime::Context;
use hyades_runtime::apply;
use hyades_runtime::k8s_openapi::api::authentication::v1::TokenRequest;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::api::core::v1::ServiceAccount;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use hyades_space::PeerCertificate;
use hyades_space::Space;
use hyades_space::SpaceOptions;
use hyades_space::identity::UserInfo;
use hyades_store::Store;
use hyper::body::Incoming;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde_json::json;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// Seconds in a day, for certificates that outlive a test.
pub const DAY_SECONDS: i64 = 86_400;

/// A user who may do everything.
pub fn admin() -> UserInfo {
    UserInfo {
        name: "admin".to_owned(),
        groups: vec![
            "system:masters".to_owned(),
            "system:authenticated".to_owned(),
        ],
        ..UserInfo::default()
    }
}

/// A space in its own folder.
pub async fn start_space(
    name: &str,
    client_ca: Authority,
    serving_ca_pem: String,
    url: &str,
) -> (Space, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let store =
        Store::open(&folder.path().join("store.redb"), Default::default()).expect("a store");
    let space = Space::start(SpaceOptions {
        name: name.to_owned(),
        store,
        client_ca,
        service_account_key: ServiceAccountKey::generate(),
        serving_ca_pem,
        public_url: url.to_owned(),
        pod_logs: None,
    })
    .await
    .expect("a space");
    (space, folder)
}

pub fn authority(name: &str) -> Authority {
    Authority::new(name, Validity::starting(Timestamp::now(), DAY_SECONDS)).expect("an authority")
}

/// A hub that runs until it is dropped.
pub struct Hub {
    pub client: Client,
    pub url: String,
    ca_pem: String,
    stop: CancellationToken,
    _space: Space,
    _folder: TempDir,
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Hub {
    /// A hub that accepts whoever presents the bootstrap account, if `automatic`, and otherwise
    /// waits for [`Hub::accept`]. Must run inside a `LocalSet`.
    pub async fn start(automatic: bool) -> Self {
        hyades_runtime::log::init(0);
        hyades_runtime::client::install_crypto();
        let (clients, serving) = (authority("hub-clients"), authority("hub-serving"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        let (space, folder) =
            start_space("its1", clients.clone(), serving.certificate_pem(), &url).await;
        let client = Client::new(space.service_as(admin()), "default");
        for object in hyades_inventory::install::objects(&Default::default())
            .iter()
            .chain(&crds::hub())
        {
            apply::ensure(&client, "test", object)
                .await
                .expect("installed");
        }
        let stop = CancellationToken::new();
        let context = Context {
            shutdown: stop.clone(),
            ..Context::new(client.clone(), namespaces::HUB, "hub")
        };
        tokio::task::spawn_local(async move {
            hub::run(options(automatic), context)
                .await
                .expect("valid options");
        });
        tokio::spawn(serve(
            listener,
            tls(&serving, &clients),
            space.service(),
            stop.clone(),
        ));
        Self {
            client,
            url,
            ca_pem: serving.certificate_pem(),
            stop,
            _space: space,
            _folder: folder,
        }
    }

    /// A kubeconfig as `clusteradm join` writes it, with a fresh token of the bootstrap account.
    pub async fn bootstrap_kubeconfig(&self) -> String {
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespaces::OPERATOR);
        let request: TokenRequest =
            serde_json::from_value(json!({"spec": {"audiences": [], "expirationSeconds": 3600}}))
                .expect("a request");
        let answer = api
            .create_token_request(
                names::BOOTSTRAP_SERVICE_ACCOUNT,
                &PostParams::default(),
                &request,
            )
            .await
            .expect("a token");
        bootstrap_kubeconfig(&BootstrapAccess {
            server: &self.url,
            certificate_authority: Some(&self.ca_pem),
            token: &answer
                .status
                .and_then(|status| status.token)
                .expect("a token"),
            proxy_url: None,
        })
        .expect("a kubeconfig")
    }

    pub fn clusters(&self) -> Api<ManagedCluster> {
        Api::all(self.client.clone())
    }

    pub async fn requests(&self) -> Vec<CertificateSigningRequest> {
        let api: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        api.list(&Default::default()).await.expect("requests").items
    }

    /// What `clusteradm accept` does.
    pub async fn accept(&self, cluster: &str) {
        for request in self.requests().await {
            self.judge(request, "Approved").await;
        }
        let patch = Patch::Merge(json!({"spec": {"hubAcceptsClient": true}}));
        self.clusters()
            .patch(cluster, &PatchParams::default(), &patch)
            .await
            .expect("accepted");
    }

    /// Approves or denies a request.
    pub async fn judge(&self, mut request: CertificateSigningRequest, verdict: &str) {
        let api: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        let condition = json!([{"type": verdict, "status": "True", "reason": "Test", "message": "a test says so"}]);
        request.status.get_or_insert_default().conditions =
            Some(serde_json::from_value(condition).expect("a condition"));
        let name = request.name_any();
        api.replace_subresource("approval", &name, &PostParams::default(), &request)
            .await
            .expect("judged");
    }
}

fn options(automatic: bool) -> hub::Options {
    hub::Options {
        enabled_registration_drivers: vec!["csr".to_owned()],
        auto_approved_csr_users: if automatic {
            vec![names::BOOTSTRAP_SERVICE_ACCOUNT_USER.to_owned()]
        } else {
            vec![]
        },
        feature_gates: if automatic {
            vec!["ManagedClusterAutoApproval=true".to_owned()]
        } else {
            vec![]
        },
        gc_resource_list: vec!["work.open-cluster-management.io/v1/manifestworks".to_owned()],
        ..hub::Options::default()
    }
}

/// Serves a space over TLS until `stop`; returns its URL.
pub async fn expose(
    space: &Space,
    serving: &Authority,
    clients: &Authority,
    stop: CancellationToken,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("an address"));
    let acceptor = tls(serving, clients);
    tokio::spawn(serve(listener, acceptor, space.service(), stop));
    url
}

fn tls(serving: &Authority, clients: &Authority) -> TlsAcceptor {
    let valid = Validity::starting(Timestamp::now(), DAY_SECONDS);
    let (certificate, key) = serving
        .issue_server(&["127.0.0.1".to_owned()], valid)
        .expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots
        .add(clients.certificate_der().to_vec().into())
        .expect("a root");
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
        .allow_unauthenticated()
        .build()
        .expect("a verifier");
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![certificate.der().to_vec().into()],
            PrivatePkcs8KeyDer::from(key.to_pkcs8_der()).into(),
        )
        .expect("a key");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    space: hyades_space::SpaceService,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, _) = accepted.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let (acceptor, space, stop) = (acceptor.clone(), space.clone(), stop.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let certificates = stream.get_ref().1.peer_certificates();
            let peer = certificates
                .and_then(|all| all.first())
                .map(|der| PeerCertificate(der.to_vec().into()));
            let service =
                hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
                    if let Some(peer) = &peer {
                        request.extensions_mut().insert(peer.clone());
                    }
                    space.clone().oneshot(request)
                });
            let server = auto::Builder::new(TokioExecutor::new());
            tokio::select! {
                () = stop.cancelled() => {}
                _ = server.serve_connection(TokioIo::new(stream), service) => {}
            }
        });
    }
}
