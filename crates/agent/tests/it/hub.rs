//! A hub: a space with the hub's objects and controllers, served over TLS.

use crate::serve::DAY_SECONDS;
use crate::serve::Gate;
use crate::serve::serve;
use crate::until;
use hyades_agent::install;
use hyades_agent::install::BootstrapAccess;
use hyades_agent::install::InstallOptions;
use hyades_agent::install::Mode;
use hyades_agent::install::bootstrap_kubeconfig;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::conditions::managed_cluster as known;
use hyades_api::crds;
use hyades_api::identity::AgentIdentity;
use hyades_api::names;
use hyades_api::names::namespaces;
use hyades_inventory::hub;
use hyades_pki::Authority;
use hyades_pki::CertificateRequest;
use hyades_pki::Claims;
use hyades_pki::Key;
use hyades_pki::Kubeconfig;
use hyades_pki::ServiceAccountKey;
use hyades_pki::SignOptions;
use hyades_pki::Subject;
use hyades_pki::Usage;
use hyades_pki::Validity;
use hyades_pki::kubeconfig::Credentials;
use hyades_runtime::CancellationToken;
use hyades_runtime::Context;
use hyades_runtime::apply;
use hyades_runtime::k8s_openapi::api::authentication::v1::TokenRequest;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::api::coordination::v1::Lease;
use hyades_runtime::k8s_openapi::api::core::v1::ServiceAccount;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use hyades_space::Space;
use hyades_space::SpaceOptions;
use hyades_space::identity::UserInfo;
use hyades_store::Store;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;

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
    let keys = (client_ca, ServiceAccountKey::generate());
    let space = open_space(name, folder.path(), keys, serving_ca_pem, url).await;
    (space, folder)
}

/// The space whose store lies in `folder`.
async fn open_space(
    name: &str,
    folder: &Path,
    (client_ca, service_account_key): (Authority, ServiceAccountKey),
    serving_ca_pem: String,
    url: &str,
) -> Space {
    let store = Store::open(&folder.join(STORE), Default::default()).expect("a store");
    Space::start(SpaceOptions {
        name: name.to_owned(),
        store,
        client_ca,
        service_account_key,
        serving_ca_pem,
        public_url: url.to_owned(),
        pod_logs: None,
    })
    .await
    .expect("a space")
}

pub fn authority(name: &str) -> Authority {
    Authority::new(name, Validity::starting(Timestamp::now(), DAY_SECONDS)).expect("an authority")
}

/// File of a store.
const STORE: &str = "store.redb";

/// What is a hub's own, whichever process serves it.
#[derive(Clone)]
struct Keys {
    clients: Authority,
    serving: Authority,
    accounts: ServiceAccountKey,
}

/// A hub that runs until it is dropped.
pub struct Hub {
    pub client: Client,
    pub url: String,
    pub gate: Arc<Gate>,
    stop: CancellationToken,
    space: Space,
    keys: Keys,
    options: hub::Options,
    folder: TempDir,
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
        Self::start_with(options(automatic)).await
    }

    /// A hub with these flags.
    pub async fn start_with(options: hub::Options) -> Self {
        hyades_runtime::log::init(0);
        hyades_runtime::client::install_crypto();
        let keys = Keys {
            clients: authority("hub-clients"),
            serving: authority("hub-serving"),
            accounts: ServiceAccountKey::generate(),
        };
        let folder = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let hub = Self::open(listener, folder, keys, options).await;
        for object in hyades_inventory::install::objects(&Default::default())
            .iter()
            .chain(&crds::hub())
        {
            apply::ensure(&hub.client, "test", object)
                .await
                .expect("installed");
        }
        hub.run();
        hub
    }

    async fn open(
        listener: TcpListener,
        folder: TempDir,
        keys: Keys,
        options: hub::Options,
    ) -> Self {
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        let own = (keys.clients.clone(), keys.accounts.clone());
        let pem = keys.serving.certificate_pem();
        let space = open_space("its1", folder.path(), own, pem, &url).await;
        let (stop, gate) = (CancellationToken::new(), Arc::new(Gate::default()));
        let (serving, service) = (keys.serving.clone(), space.service());
        let (served, stopped) = (gate.clone(), stop.clone());
        tokio::spawn(async move { serve(listener, &serving, service, served, stopped).await });
        Self {
            client: Client::new(space.service_as(admin()), "default"),
            url,
            gate,
            stop,
            space,
            keys,
            options,
            folder,
        }
    }

    fn run(&self) {
        let context = Context {
            shutdown: self.stop.clone(),
            ..Context::new(self.client.clone(), namespaces::HUB, "hub")
        };
        let options = self.options.clone();
        tokio::task::spawn_local(async move {
            let run = hub::run(options, render_agent, context);
            run.await.expect("valid options");
        });
    }

    /// A copy of everything the hub has stored.
    pub fn backup(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a folder");
        let from = self.folder.path().join(STORE);
        std::fs::copy(from, copy.path().join(STORE)).expect("copied");
        copy
    }

    /// The same hub from a copy of its store, at the same address.
    pub async fn restore(self, backup: TempDir) -> Self {
        let keys = self.keys.clone();
        self.restore_with(backup, keys).await
    }

    /// As [`Hub::restore`], where nobody kept the authority that certified its clients.
    pub async fn restore_under_another_client_authority(self, backup: TempDir) -> Self {
        let keys = Keys {
            clients: authority("hub-clients-2"),
            ..self.keys.clone()
        };
        self.restore_with(backup, keys).await
    }

    async fn restore_with(self, backup: TempDir, keys: Keys) -> Self {
        let address = self.url.trim_start_matches("https://").to_owned();
        let options = self.options.clone();
        drop(self);
        let listener = loop {
            match TcpListener::bind(&address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(crate::LOOK_EVERY).await,
            }
        };
        let hub = Self::open(listener, backup, keys, options).await;
        hub.run();
        hub
    }

    /// Serves the same space at another port under another authority; returns the address and the
    /// authority's certificate.
    pub async fn serve_elsewhere(&self) -> (String, String) {
        let serving = authority("hub-serving-2");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        let (service, stop) = (self.space.service(), self.stop.clone());
        let pem = serving.certificate_pem();
        let gate = Arc::new(Gate::default());
        tokio::spawn(async move { serve(listener, &serving, service, gate, stop).await });
        (url, pem)
    }

    /// Publishes where the hub is and by whom it is certified.
    pub async fn publish(&self, url: &str, authorities: &str) {
        let credentials = Credentials::Token(String::new());
        let mut page = Kubeconfig::for_server("", url, authorities, &credentials);
        page.users.clear();
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "cluster-info", "namespace": "kube-public"},
            "data": {"kubeconfig": page.to_yaml().expect("YAML")},
        });
        let published = apply::ensure(&self.client, "test", &object).await;
        published.expect("published");
    }

    /// PEM of the authority of the hub's own port.
    pub fn serving_ca_pem(&self) -> String {
        self.keys.serving.certificate_pem()
    }

    /// A certificate of an agent of this hub for `key`, a day of whose life ended so many seconds ago.
    pub fn aged_certificate(&self, agent: &AgentIdentity, key: &Key, seconds: i64) -> String {
        let subject = Subject::new(agent.common_name(), agent.organizations());
        let request = CertificateRequest::new(key, &subject).expect("a request");
        let request = CertificateRequest::parse_pem(&request).expect("a request");
        let end = Timestamp::now().as_second() - seconds;
        let at = |second| Timestamp::from_second(second).expect("a time");
        let options = SignOptions {
            not_before: at(end - DAY_SECONDS),
            not_after: at(end),
            usages: vec![Usage::ClientAuth],
        };
        let certificate = self.keys.clients.sign_request(&request, &options);
        certificate.expect("a certificate").to_pem()
    }

    /// A token of the same account as `token`, a year of whose life ends in so many seconds.
    pub fn aged_token(&self, token: &str, seconds: i64) -> String {
        let end = Timestamp::now().as_second() + seconds;
        let start = end - 365 * DAY_SECONDS;
        self.keys.accounts.mint(&Claims {
            exp: end,
            iat: start,
            nbf: start,
            ..self.claims(token)
        })
    }

    /// What a good token of this hub says.
    pub fn claims(&self, token: &str) -> Claims {
        let claims = self.keys.accounts.verify(token, Timestamp::now(), &[]);
        claims.expect("a token of this hub")
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
            certificate_authority: Some(&self.serving_ca_pem()),
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

    /// Patches an inventory object.
    pub async fn patch(&self, cluster: &str, patch: Value) {
        let (api, parameters) = (self.clusters(), PatchParams::default());
        let patched = api.patch(cluster, &parameters, &Patch::Merge(patch)).await;
        patched.expect("patched");
    }

    pub async fn until_available(&self, cluster: &str) {
        until(&format!("{cluster} is Joined and Available"), async || {
            let cluster = self.clusters().get_opt(cluster).await.expect("an answer")?;
            let all = &cluster.status.conditions;
            (conditions::is_true(all, known::JOINED) && conditions::is_true(all, known::AVAILABLE))
                .then_some(())
        })
        .await;
    }

    /// When the lease of `cluster1` was renewed last, if ever.
    pub async fn renewed_on(&self) -> Option<MicroTime> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), "cluster1");
        let lease = leases.get_opt(names::LEASE).await.expect("an answer")?;
        lease.spec?.renew_time
    }

    pub async fn until_renewed(&self, before: Option<MicroTime>) {
        until("the lease is renewed", async || {
            let now = self.renewed_on().await?;
            (Some(now) != before).then_some(())
        })
        .await;
    }

    pub async fn requests(&self) -> Vec<CertificateSigningRequest> {
        let api: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        api.list(&Default::default()).await.expect("requests").items
    }

    pub async fn delete_request(&self, name: &str) {
        let api: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        api.delete(name, &Default::default())
            .await
            .expect("deleted");
    }

    /// What `clusteradm accept` does.
    pub async fn accept(&self, cluster: &str) {
        for request in self.requests().await {
            let conditions = request
                .status
                .as_ref()
                .and_then(|status| status.conditions.as_ref());
            if conditions.is_none_or(Vec::is_empty) {
                self.judge(request, "Approved").await;
            }
        }
        let accepted = json!({"spec": {"hubAcceptsClient": true}});
        self.patch(cluster, accepted).await;
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

/// The agent that the hub puts into a cluster it imports.
fn render_agent(agent: &hub::NewAgent) -> Result<Vec<Value>, hyades_pki::KubeconfigError> {
    let kubeconfig = bootstrap_kubeconfig(&BootstrapAccess {
        server: &agent.server,
        certificate_authority: agent.certificate_authority.as_deref(),
        token: &agent.token,
        proxy_url: None,
    })?;
    let options = InstallOptions::new(agent.cluster.clone(), kubeconfig);
    Ok(install::objects(&InstallOptions {
        mode: Mode::Singleton,
        ..options
    }))
}

/// The flags of a hub that accepts whoever presents the bootstrap account, if `automatic`.
pub fn options(automatic: bool) -> hub::Options {
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
        addon_webhook_port: Some(0),
        ..hub::Options::default()
    }
}
