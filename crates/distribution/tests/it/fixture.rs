//! A WDS and an ITS in process, with the objects that they have in production. Programs work under
//! the accounts and rights that they have there: what RBAC does not allow them fails here.

use hyades_api::cluster::ManagedCluster;
use hyades_api::cluster::ManagedClusterSpec;
use hyades_api::control::names::SYSTEM_NAMESPACE;
use hyades_api::crds;
use hyades_distribution::binding;
use hyades_distribution::install;
use hyades_distribution::install::InstallOptions;
use hyades_distribution::install::WdsName;
use hyades_distribution::its::Token;
use hyades_distribution::status;
use hyades_distribution::transport;
use hyades_pki::Authority;
use hyades_pki::ServiceAccountKey;
use hyades_pki::Validity;
use hyades_runtime::CancellationToken;
use hyades_runtime::Health;
use hyades_runtime::apply;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
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
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use tempfile::TempDir;

/// Longest wait for anything. Everything here takes milliseconds on an idle machine.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// How long nothing may happen for it to count as never: many times what a reaction takes.
pub const QUIET: Duration = Duration::from_millis(700);

/// Seconds in a day, for certificates that outlive a test.
const DAY_SECONDS: i64 = 86_400;

/// What a program wrote: method and path of each request that is no read, in order.
#[derive(Clone, Debug, Default)]
pub struct Writes(Arc<Mutex<Vec<String>>>);

impl Writes {
    fn noting(&self, service: hyades_space::SpaceService) -> Client {
        let writes = self.clone();
        let noting = tower::ServiceExt::map_request(
            service,
            move |request: http::Request<kube::client::Body>| {
                if request.method() != http::Method::GET {
                    let line = format!("{} {}", request.method(), request.uri().path());
                    writes.0.lock().expect("unpoisoned").push(line);
                }
                request
            },
        );
        Client::new(noting, "default")
    }

    /// What was written since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("unpoisoned"))
    }
}

/// The two spaces. Programs run until this is dropped, while something here waits.
pub struct Spaces {
    wds: Space,
    its: Space,
    _folder: TempDir,
    shutdown: CancellationToken,
    programs: tokio::task::LocalSet,
    /// What the programs write into the WDS.
    pub wds_writes: Writes,
    /// What transport writes into the ITS.
    pub its_writes: Writes,
}

impl Drop for Spaces {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Spaces {
    /// Both spaces, with their definitions and nothing else.
    pub async fn start() -> Self {
        hyades_runtime::log::init(0);
        let folder = tempfile::tempdir().expect("a folder");
        let spaces = Self {
            wds: space("wds1", &folder).await,
            its: space("its1", &folder).await,
            _folder: folder,
            shutdown: CancellationToken::new(),
            programs: tokio::task::LocalSet::new(),
            wds_writes: Writes::default(),
            its_writes: Writes::default(),
        };
        let name = wds_name();
        for object in [crds::hub(), install::its_objects(&name, "uid")].concat() {
            apply(&spaces.its(), &object).await;
        }
        let token = Token::request(&spaces.its(), &name).await.expect("a token");
        let objects = install::wds_objects(&InstallOptions {
            name: &name,
            image: &hyades_api::image::reference(),
            api_groups: &[],
            its_kubeconfig: "",
            its_token: &token,
        });
        for object in objects {
            apply(&spaces.wds(), &object).await;
        }
        spaces
    }

    /// Starts the binding controller.
    pub fn start_binding(&self, options: binding::Options) {
        let (wds, its) = self.distribution();
        let shutdown = self.shutdown.clone();
        self.programs.spawn_local(async move {
            let connect = Box::new(move || wds.clone());
            binding::run(options, connect, its, &Health::new(), shutdown).await;
        });
    }

    /// Starts status return.
    pub fn start_status(&self) {
        let (wds, its) = self.distribution();
        let shutdown = self.shutdown.clone();
        self.programs.spawn_local(async move {
            let connect = Box::new(move || wds.clone());
            status::run("wds1", connect, its, &Health::new(), shutdown).await;
        });
    }

    /// Starts the transport controller.
    pub fn start_transport(&self, options: transport::Options) {
        let (wds, its) = self.distribution();
        let shutdown = self.shutdown.clone();
        self.programs.spawn_local(async move {
            let connect = Box::new(move || wds.clone());
            let name = "wds1".to_owned();
            transport::run(options, name, connect, its, &Health::new(), shutdown).await;
        });
    }

    /// Clients of both spaces as distribution has them; what is written is noted.
    fn distribution(&self) -> (Client, Client) {
        let account = |name: &str| UserInfo::service_account(SYSTEM_NAMESPACE, name);
        let wds = self.wds.service_as(account(install::DISTRIBUTION));
        let its = self.its.service_as(account(&wds_name().account()));
        (self.wds_writes.noting(wds), self.its_writes.noting(its))
    }

    /// Stops all programs, as a crash does.
    pub fn stop_programs(&mut self) {
        self.programs = tokio::task::LocalSet::new();
    }

    /// A client of the WDS that may do everything.
    pub fn wds(&self) -> Client {
        Client::new(self.wds.service_as(administrator()), "default")
    }

    /// A client of the ITS that may do everything.
    pub fn its(&self) -> Client {
        Client::new(self.its.service_as(administrator()), "default")
    }

    /// Applies an object to the WDS.
    pub async fn apply(&self, object: Value) {
        self.meanwhile(apply(&self.wds(), &object)).await;
    }

    /// Applies an object to the ITS.
    pub async fn apply_to_its(&self, object: Value) {
        self.meanwhile(apply(&self.its(), &object)).await;
    }

    /// Deletes an object from the WDS.
    pub async fn delete(&self, object: Value) {
        let address = apply::Address::of(&object).expect("an address");
        let wds = self.wds();
        let deleted = self.meanwhile(apply::ensure_absent(&wds, &address)).await;
        deleted.expect("deleted");
    }

    /// An accepted WEC with these labels, or new labels for it.
    pub async fn wec(&self, name: &str, labels: &[(&str, &str)]) {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let labels: BTreeMap<String, String> = labels.iter().map(own).collect();
        let api = Api::<ManagedCluster>::all(self.its());
        let mut object = ManagedCluster::new(name, ManagedClusterSpec::default());
        object.spec.hub_accepts_client = true;
        let written = async {
            if api.get_opt(name).await?.is_none() {
                api.create(&PostParams::default(), &object).await?;
            }
            let patch = json!([{"op": "add", "path": "/metadata/labels", "value": labels}]);
            let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).expect("a patch"));
            api.patch(name, &PatchParams::default(), &patch).await
        };
        self.meanwhile(written).await.expect("a WEC");
    }

    /// Runs the programs until `reached`, which is asked again and again, returns something.
    pub async fn until<T>(
        &self,
        what: &str,
        mut reached: impl AsyncFnMut(Client) -> Option<T>,
    ) -> T {
        let wds = self.wds();
        let wait = async {
            loop {
                if let Some(found) = reached(wds.clone()).await {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = self.meanwhile(tokio::time::timeout(WAIT_MAX, wait)).await;
        waited.unwrap_or_else(|_| panic!("waited {WAIT_MAX:?} until {what}"))
    }

    /// Runs the programs while something else is done.
    pub async fn meanwhile<T>(&self, work: impl Future<Output = T>) -> T {
        self.programs.run_until(work).await
    }
}

async fn space(name: &str, folder: &TempDir) -> Space {
    let store = Store::open(
        &folder.path().join(format!("{name}.redb")),
        Default::default(),
    );
    let valid = Validity::starting(Timestamp::now(), DAY_SECONDS);
    let authority = Authority::new(&format!("{name}-clients"), valid).expect("an authority");
    Space::start(SpaceOptions {
        name: name.to_owned(),
        store: store.expect("a store"),
        serving_ca_pem: authority.certificate_pem(),
        client_ca: authority,
        service_account_key: ServiceAccountKey::generate(),
        public_url: format!("https://127.0.0.1:1/spaces/{name}"),
        pod_logs: None,
    })
    .await
    .expect("a space")
}

fn wds_name() -> WdsName {
    "wds1".parse().expect("a name")
}

fn administrator() -> UserInfo {
    UserInfo {
        name: "admin".to_owned(),
        groups: vec![
            "system:masters".to_owned(),
            "system:authenticated".to_owned(),
        ],
        ..UserInfo::default()
    }
}

async fn apply(client: &Client, object: &Value) {
    // A definition is served a moment after it is stored.
    let applied = async {
        loop {
            match apply::ensure_with_labels(client, "test", object).await {
                Err(apply::ApplyError::Refused { trouble, .. }) if trouble.is_not_found() => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                other => return other.expect("applied"),
            }
        }
    };
    let applied = tokio::time::timeout(WAIT_MAX, applied).await;
    applied.expect("the object's kind is served");
}
