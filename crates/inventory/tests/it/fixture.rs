//! A space with the hub's objects installed, and people and agents who use it.

use hyades_api::cluster::ManagedCluster;
use hyades_api::cluster::ManagedClusterSpec;
use hyades_api::conditions;
use hyades_api::identity::AgentIdentity;
use hyades_api::image::Component;
use hyades_api::names;
use hyades_api::names::labels;
use hyades_api::names::namespaces;
use hyades_inventory::hub;
use hyades_inventory::install;
use hyades_inventory::operator;
use hyades_pki::Authority;
use hyades_pki::CertificateRequest;
use hyades_pki::Key;
use hyades_pki::ServiceAccountKey;
use hyades_pki::Subject;
use hyades_pki::Validity;
use hyades_runtime::Context;
use hyades_runtime::apply;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequestCondition;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube;
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
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use tempfile::TempDir;

/// Longest wait for anything. Everything here takes milliseconds on an idle machine.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Seconds in a day, for certificates that outlive a test.
const DAY_SECONDS: i64 = 86_400;

/// What a program wrote: method and path of each request that is no read, in order.
#[derive(Clone, Debug, Default)]
pub struct Writes(Arc<Mutex<Vec<String>>>);

impl Writes {
    /// A client whose writes are noted here.
    fn noting(&self, service: hyades_space::SpaceService) -> Client {
        let writes = self.clone();
        let noting = tower::ServiceExt::map_request(
            service,
            move |request: http::Request<kube::client::Body>| {
                if request.method() != http::Method::GET {
                    let path = request.uri().path();
                    let line = format!("{} {path}", request.method());
                    writes.0.lock().expect("unpoisoned").push(line);
                }
                request
            },
        );
        Client::new(noting, "default")
    }

    /// Forgets what was written so far.
    pub fn clear(&self) {
        self.0.lock().expect("unpoisoned").clear();
    }

    /// What was written, without Events and reviews: they are no commits.
    pub fn commits(&self) -> Vec<String> {
        let all = self.0.lock().expect("unpoisoned");
        let is_commit = |line: &&String| !line.contains("/events") && !line.contains("reviews");
        all.iter().filter(is_commit).cloned().collect()
    }
}

/// An ITS in process. Its hub and operator run until it is dropped.
pub struct Its {
    space: Space,
    _folder: TempDir,
    contexts: Vec<Context>,
    hub_writes: Writes,
    programs: tokio::task::LocalSet,
}

impl Its {
    /// A space with what `clusteradm init` applies.
    pub async fn start() -> Self {
        hyades_runtime::log::init(0);
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("its.redb"), Default::default());
        let valid = Validity::starting(Timestamp::now(), DAY_SECONDS);
        let authority = Authority::new("its-clients", valid).expect("an authority");
        let space = Space::start(SpaceOptions {
            name: "its1".to_owned(),
            store: store.expect("a store"),
            serving_ca_pem: authority.certificate_pem(),
            client_ca: authority,
            service_account_key: ServiceAccountKey::generate(),
            public_url: "https://127.0.0.1:1/spaces/its1".to_owned(),
            pod_logs: None,
        })
        .await
        .expect("a space");
        let its = Self {
            space,
            _folder: folder,
            contexts: Vec::new(),
            hub_writes: Writes::default(),
            programs: tokio::task::LocalSet::new(),
        };
        for object in install::objects(&Default::default()) {
            its.apply(&object).await;
        }
        its
    }

    /// The same with its hub running under these options.
    pub async fn with_hub(options: hub::Options) -> Self {
        let mut its = Self::start().await;
        its.start_operator(Default::default());
        its.until_hub_has_rights().await;
        its.start_hub(options);
        its
    }

    /// Waits until the operator has given the hub's account its rights.
    pub async fn until_hub_has_rights(&self) {
        self.until("the hub's account has its rights", async |admin| {
            let name = names::hub_cluster_role(names::CLUSTER_MANAGER);
            let role = kube::core::GroupVersionKind::gvk(
                "rbac.authorization.k8s.io",
                "v1",
                "ClusterRoleBinding",
            );
            let resource = kube::core::ApiResource::from_gvk(&role);
            let api: Api<kube::core::DynamicObject> = Api::all_with(admin.clone(), &resource);
            api.get_opt(&name).await.expect("an answer").is_some()
        })
        .await;
    }

    /// Starts the operator under its account.
    pub fn start_operator(&mut self, options: operator::Options) {
        let user = UserInfo::service_account(namespaces::OPERATOR, names::CLUSTER_MANAGER);
        let context = self.context(user, Component::ClusterManager);
        self.programs.spawn_local(async move {
            let Ok(()) = operator::run(options, context).await;
        });
    }

    /// Starts the hub under its account.
    pub fn start_hub(&mut self, options: hub::Options) {
        let user = UserInfo::service_account(namespaces::HUB, names::HUB_SERVICE_ACCOUNT);
        let client = self.hub_writes.noting(self.space.service_as(user));
        let context = self.keep(Context::new(
            client,
            namespaces::HUB,
            Component::Hub.as_str(),
        ));
        self.programs.spawn_local(async move {
            let run = hub::run(options, |_| Ok(Vec::new()), context);
            run.await.expect("valid options");
        });
    }

    fn context(&mut self, user: UserInfo, component: Component) -> Context {
        let client = self.client(user);
        self.keep(Context::new(client, namespaces::HUB, component.as_str()))
    }

    fn keep(&mut self, context: Context) -> Context {
        self.contexts.push(context.clone());
        context
    }

    /// What the hub writes.
    pub fn hub_writes(&self) -> &Writes {
        &self.hub_writes
    }

    /// Stops hub and operator, as a crash does.
    pub fn stop_programs(&mut self) {
        for context in self.contexts.drain(..) {
            context.shutdown.cancel();
        }
        self.programs = tokio::task::LocalSet::new();
    }

    /// A client acting as this user.
    pub fn client(&self, user: UserInfo) -> Client {
        Client::new(self.space.service_as(user), "default")
    }

    /// A client that may do everything.
    pub fn admin(&self) -> Client {
        self.client(UserInfo {
            name: "admin".to_owned(),
            groups: vec![
                "system:masters".to_owned(),
                "system:authenticated".to_owned(),
            ],
            ..UserInfo::default()
        })
    }

    /// A client with bootstrap credentials.
    pub fn newcomer(&self) -> Client {
        self.client(UserInfo::service_account(
            namespaces::OPERATOR,
            names::BOOTSTRAP_SERVICE_ACCOUNT,
        ))
    }

    /// A client with an agent's certificate.
    pub fn agent(&self, agent: &AgentIdentity) -> Client {
        let [own, all] = agent.organizations();
        self.client(UserInfo {
            name: agent.common_name(),
            groups: vec![own, all, "system:authenticated".to_owned()],
            ..UserInfo::default()
        })
    }

    /// Applies an object as the administrator.
    pub async fn apply(&self, object: &Value) {
        let admin = self.admin();
        // A definition is served a moment after it is stored.
        let apply = async {
            loop {
                match apply::ensure(&admin, "test", object).await {
                    Err(apply::ApplyError::Refused { trouble, .. }) if trouble.is_not_found() => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    other => return other.expect("applied"),
                }
            }
        };
        let applied = tokio::time::timeout(WAIT_MAX, apply).await;
        applied.expect("the object's kind is served");
    }

    /// Takes a validating policy out of force.
    pub async fn lift_policy(&self, name: &str) {
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
        });
        let address = apply::Address::of(&binding).expect("an address");
        let absent = apply::ensure_absent(&self.admin(), &address).await;
        absent.expect("deleted");
    }

    /// Runs hub and operator until `reached`, which is asked again and again.
    pub async fn until(&self, what: &str, mut reached: impl AsyncFnMut(&Client) -> bool) {
        let admin = self.admin();
        let wait = async {
            while !reached(&admin).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let wait = tokio::time::timeout(WAIT_MAX, wait);
        let waited = self.programs.run_until(wait).await;
        assert!(waited.is_ok(), "waited {WAIT_MAX:?} until {what}");
    }

    /// Runs hub and operator until an inventory object is as asked.
    pub async fn until_cluster(
        &self,
        name: &str,
        what: &str,
        ask: impl Fn(&ManagedCluster) -> bool,
    ) {
        let what = format!("{name} {what}");
        self.until(&what, async |admin| {
            let api = Api::<ManagedCluster>::all(admin.clone());
            let object = api.get_opt(name).await.expect("an answer");
            object.is_some_and(|object| ask(&object))
        })
        .await;
    }

    /// Runs hub and operator while something else is done.
    pub async fn meanwhile<T>(&self, work: impl Future<Output = T>) -> T {
        self.programs.run_until(work).await
    }

    /// Creates an inventory object as a new agent does.
    pub async fn announce(&self, cluster: &str) {
        let api = Api::<ManagedCluster>::all(self.newcomer());
        let object = ManagedCluster::new(cluster, ManagedClusterSpec::default());
        api.create(&PostParams::default(), &object)
            .await
            .expect("announced");
    }

    /// Accepts an inventory object as the administrator does, or takes that back.
    pub async fn accept(&self, cluster: &str, accepted: bool) {
        let patch = Patch::Merge(json!({"spec": {"hubAcceptsClient": accepted}}));
        let api = Api::<ManagedCluster>::all(self.admin());
        let patched = api.patch(cluster, &PatchParams::default(), &patch).await;
        patched.expect("patched");
    }

    /// Reports a WEC as available, as its agent does.
    pub async fn report_available(&self, cluster: &str) {
        let api = Api::<ManagedCluster>::all(self.admin());
        let object = api.get(cluster).await.expect("there");
        let mut all = object.status.conditions;
        let statement = conditions::managed_cluster::AVAILABLE_STATEMENT;
        conditions::set(&mut all, &statement, Time(Timestamp::now()));
        let patch = Patch::Merge(json!({"status": {"conditions": all}}));
        let parameters = PatchParams::default();
        let patched = api.patch_status(cluster, &parameters, &patch).await;
        patched.expect("reported");
    }

    /// Registers a WEC from nothing, and returns once its agent has its rights.
    pub async fn register(&self, cluster: &str, name: &str) -> AgentIdentity {
        self.register_by(cluster, name, &Key::generate()).await
    }

    /// Registers a WEC whose agent has this key.
    pub async fn register_by(&self, cluster: &str, name: &str, key: &Key) -> AgentIdentity {
        let agent = agent(cluster, name);
        self.announce(cluster).await;
        let request = request_for(&self.newcomer(), &agent, key).await;
        approve(&self.admin(), &request).await;
        self.accept(cluster, true).await;
        let client = self.agent(&agent);
        self.until(&format!("{agent} may work"), async |_| {
            may_renew_lease(&client, cluster).await && may_see_itself(&client, cluster).await
        })
        .await;
        agent
    }
}

impl Drop for Its {
    fn drop(&mut self) {
        for context in &self.contexts {
            context.shutdown.cancel();
        }
        self.space.stopping().cancel();
    }
}

/// An agent's identity.
pub fn agent(cluster: &str, name: &str) -> AgentIdentity {
    AgentIdentity::new(cluster.parse().expect("a cluster name"), name).expect("an agent name")
}

/// Sends a certificate signing request as agents do; returns its name.
pub async fn request(client: &Client, agent: &AgentIdentity) -> String {
    request_for(client, agent, &Key::generate()).await
}

/// Asks for a certificate for a key.
pub async fn request_for(client: &Client, agent: &AgentIdentity, key: &Key) -> String {
    let subject = Subject::new(agent.common_name(), agent.organizations());
    let pem = CertificateRequest::new(key, &subject).expect("a request");
    let object: CertificateSigningRequest = serde_json::from_value(json!({
        "metadata": {
            "generateName": names::csr_name_prefix(&agent.cluster),
            "labels": {labels::CLUSTER_NAME: agent.cluster.as_str()},
        },
        "spec": {
            "signerName": names::CLIENT_SIGNER,
            "request": ByteString(pem.into_bytes()),
            "usages": ["digital signature", "key encipherment", "client auth"],
        },
    }))
    .expect("a CertificateSigningRequest");
    let api = Api::<CertificateSigningRequest>::all(client.clone());
    let created = api.create(&PostParams::default(), &object).await;
    created.expect("requested").name_any()
}

/// Approves a request as `clusteradm accept` does.
pub async fn approve(admin: &Client, name: &str) {
    let condition = json!({"type": "Approved", "status": "True", "reason": "Test"});
    let api = Api::<CertificateSigningRequest>::all(admin.clone());
    let object = api.get(name).await.expect("the request");
    let status = object.status.unwrap_or_default();
    let is_approved = |c: &CertificateSigningRequestCondition| c.type_ == "Approved";
    if !status.conditions.iter().flatten().any(is_approved) {
        conclude(admin, name, condition).await;
    }
}

/// Decides on a request.
pub async fn conclude(admin: &Client, name: &str, condition: Value) {
    let api = Api::<CertificateSigningRequest>::all(admin.clone());
    let mut object = api.get(name).await.expect("the request");
    let status = object.status.get_or_insert_default();
    let conditions = status.conditions.get_or_insert_default();
    conditions.push(serde_json::from_value(condition).expect("a condition"));
    let parameters = PostParams::default();
    let approved = api
        .replace_subresource("approval", name, &parameters, &object)
        .await;
    approved.expect("approved");
}

/// The conditions of a request: type, reason and message.
pub async fn verdicts(admin: &Client, name: &str) -> Vec<(String, String, String)> {
    let api = Api::<CertificateSigningRequest>::all(admin.clone());
    let status = api
        .get(name)
        .await
        .expect("the request")
        .status
        .unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default().into_iter();
    let text = Option::unwrap_or_default;
    conditions
        .map(|c| (c.type_, text(c.reason), text(c.message)))
        .collect()
}

/// Whether a client may write the lease of a WEC; it writes the current time.
pub async fn may_renew_lease(client: &Client, cluster: &str) -> bool {
    renew_lease(client, cluster, Timestamp::now()).await
}

/// Writes a time into the lease of a WEC, as upstream's agents do; returns whether that was
/// allowed.
pub async fn renew_lease(client: &Client, cluster: &str, time: Timestamp) -> bool {
    write_lease(client, cluster, json!({"renewTime": format!("{time:.6}")})).await
}

/// Renews the lease of a WEC, promising to do so again within so many seconds.
pub async fn promise_lease(client: &Client, cluster: &str, seconds: i32) -> bool {
    promise_lease_at(client, cluster, seconds, Timestamp::now()).await
}

/// The same by a clock that shows this time.
pub async fn promise_lease_at(
    client: &Client,
    cluster: &str,
    seconds: i32,
    time: Timestamp,
) -> bool {
    let spec = json!({"renewTime": format!("{time:.6}"), "leaseDurationSeconds": seconds});
    write_lease(client, cluster, spec).await
}

async fn write_lease(client: &Client, cluster: &str, spec: Value) -> bool {
    use hyades_runtime::k8s_openapi::api::coordination::v1::Lease;
    let api = Api::<Lease>::namespaced(client.clone(), cluster);
    let Ok(mut lease) = api.get(names::LEASE).await else {
        return false;
    };
    lease.spec = serde_json::from_value(spec).expect("a spec");
    api.replace(names::LEASE, &PostParams::default(), &lease)
        .await
        .is_ok()
}

/// Whether a client may read the inventory object of a WEC.
pub async fn may_see_itself(client: &Client, cluster: &str) -> bool {
    Api::<ManagedCluster>::all(client.clone())
        .get(cluster)
        .await
        .is_ok()
}

/// Whether an inventory object has a condition of this type, state and reason.
pub fn says(object: &ManagedCluster, type_: &str, status: &str, reason: &str) -> bool {
    conditions::find(&object.status.conditions, type_)
        .is_some_and(|condition| condition.status == status && condition.reason == reason)
}

/// The Events of a namespace: reason and note.
pub async fn events(admin: &Client, namespace: &str) -> Vec<(String, String)> {
    use hyades_runtime::k8s_openapi::api::events::v1::Event;
    let api = Api::<Event>::namespaced(admin.clone(), namespace);
    let list = api.list(&Default::default()).await.expect("the events");
    let text = Option::unwrap_or_default;
    list.items
        .into_iter()
        .map(|event| (text(event.reason), text(event.note)))
        .collect()
}
