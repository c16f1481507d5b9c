//! A WEC: a space in process, joined as `clusteradm join` does it.

use crate::hub::Hub;
use crate::hub::admin;
use crate::hub::authority;
use crate::hub::start_space;
use crate::serve::DAY_SECONDS;
use crate::serve::serve;
use crate::until;
use hyades_agent::install;
use hyades_agent::install::InstallOptions;
use hyades_agent::install::Mode;
use hyades_agent::operator;
use hyades_agent::options::KlusterletAgentOptions;
use hyades_agent::options::KlusterletOptions;
use hyades_agent::singleton;
use hyades_api::conditions;
use hyades_api::names;
use hyades_api::names::namespaces;
use hyades_api::operator::Klusterlet;
use hyades_pki::Authority;
use hyades_pki::Kubeconfig;
use hyades_pki::Validity;
use hyades_pki::kubeconfig::Credentials;
use hyades_runtime::CancellationToken;
use hyades_runtime::Context;
use hyades_runtime::apply;
use hyades_runtime::k8s_openapi::api::apps::v1::Deployment;
use hyades_runtime::k8s_openapi::api::core::v1::Event;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::client::Body;
use hyades_space::Space;
use hyades_space::identity::UserInfo;
use jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;
use std::sync::Mutex;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A WEC whose programs run until it is dropped.
pub struct Wec {
    pub client: Client,
    space: Space,
    clients: Authority,
    stop: CancellationToken,
    /// Method and path of what its programs asked for.
    requests: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
}

impl Drop for Wec {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    options: KlusterletAgentOptions,
}

impl Wec {
    pub async fn start(name: &str) -> Self {
        let clients = authority(name);
        let pem = clients.certificate_pem();
        let url = "https://localhost/spaces/wec";
        let (space, folder) = start_space(name, clients.clone(), pem, url).await;
        let client = Client::new(space.service_as(admin()), "default");
        Self {
            client,
            space,
            clients,
            stop: CancellationToken::new(),
            requests: Arc::default(),
            _folder: folder,
        }
    }

    /// What its programs asked for since the last time.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().expect("requests"))
    }

    /// Serves this WEC to a hosting cluster; returns an administrator's kubeconfig for it.
    pub async fn admin_kubeconfig(&self) -> String {
        let clients = &self.clients;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = format!("https://{}", listener.local_addr().expect("an address"));
        let (serving, service) = (clients.clone(), self.space.service());
        let (gate, stop) = (Arc::default(), self.stop.clone());
        tokio::spawn(async move { serve(listener, &serving, service, gate, stop).await });
        let groups = ["system:masters".to_owned()];
        let valid = Validity::starting(Timestamp::now(), DAY_SECONDS);
        let (certificate, key) = clients
            .issue_client("admin", &groups, valid)
            .expect("a certificate");
        let credentials = Credentials::Certificate {
            certificate_pem: certificate.to_pem(),
            key_pem: key.to_ec_pem(),
        };
        let pem = clients.certificate_pem();
        Kubeconfig::for_server("wec", &server, &pem, &credentials)
            .to_yaml()
            .expect("YAML")
    }

    /// Applies what `clusteradm join` applies.
    pub async fn join(&self, hub: &Hub, cluster: &str, mode: Mode) {
        let kubeconfig = hub.bootstrap_kubeconfig().await;
        let name = cluster.parse().expect("a cluster name");
        self.install(&InstallOptions {
            mode,
            ..InstallOptions::new(name, kubeconfig)
        })
        .await;
    }

    /// Applies the objects of an installation.
    pub async fn install(&self, options: &InstallOptions) {
        for object in install::objects(options) {
            until(
                &format!(
                    "{} {} is applied",
                    object["kind"], object["metadata"]["name"]
                ),
                async || {
                    // The definition is served a moment after it is made.
                    apply::ensure(&self.client, "clusteradm", &object)
                        .await
                        .ok()
                },
            )
            .await;
        }
    }

    fn context(&self, namespace: &str, account: &str) -> Context {
        // A child, so that one program can be stopped and the others run on.
        let shutdown = self.stop.child_token();
        let user = UserInfo::service_account(namespace, account);
        let requests = self.requests.clone();
        let service = tower::ServiceExt::map_request(
            self.space.service_as(user),
            move |request: hyper::Request<Body>| {
                let line = format!("{} {}", request.method(), request.uri().path());
                requests.lock().expect("requests").push(line);
                request
            },
        );
        let client = Client::new(service, namespace);
        Context {
            shutdown,
            ..Context::new(client, namespace, account)
        }
    }

    /// A client that acts as an account of this WEC.
    pub fn client_of(&self, account: &str, namespace: &str) -> Client {
        let user = UserInfo::service_account(namespace, account);
        Client::new(self.space.service_as(user), "default")
    }

    /// Starts the operator under its own account. The token stops it.
    pub fn start_operator(&self) -> CancellationToken {
        self.start_operator_with(KlusterletOptions::default())
    }

    /// As [`Wec::start_operator`], with flags.
    pub fn start_operator_with(&self, options: KlusterletOptions) -> CancellationToken {
        let context = self.context(namespaces::OPERATOR, names::KLUSTERLET);
        let shutdown = context.shutdown.clone();
        tokio::spawn(operator::run(options, context));
        shutdown
    }

    /// Starts the agent as the operator's Deployment says, under its account. The token stops it.
    pub async fn start_agent(&self) -> CancellationToken {
        self.start_agent_of(names::KLUSTERLET, namespaces::AGENT)
            .await
    }

    /// As [`Wec::start_agent`], for a Klusterlet of any name.
    pub async fn start_agent_of(&self, klusterlet: &str, namespace: &str) -> CancellationToken {
        self.start_agent_with(klusterlet, namespace, &[]).await
    }

    /// As [`Wec::start_agent_of`], with further flags.
    pub async fn start_agent_with(
        &self,
        klusterlet: &str,
        namespace: &str,
        further: &[&str],
    ) -> CancellationToken {
        let name = format!("{klusterlet}-agent");
        let deployment = self.deployment_in(namespace, &name).await;
        let container = &deployment.spec.template.spec.expect("a pod").containers[0];
        let mut flags = container.args.clone().unwrap_or_default();
        let name = |flag: &str| flag.split('=').next().map(str::to_owned);
        flags.retain(|flag| further.iter().all(|one| name(one) != name(flag)));
        flags.extend(further.iter().map(|flag| (*flag).to_owned()));
        let options = <Command as clap::Parser>::parse_from(flags.into_iter().skip(1)).options;
        let context = self.context(namespace, &format!("{klusterlet}-work-sa"));
        let shutdown = context.shutdown.clone();
        tokio::task::spawn_local(async move {
            singleton::run(options, context).await.expect("valid flags");
        });
        shutdown
    }

    /// Waits until the operator has asked the hub about the agent's Secrets.
    pub async fn until_asked(&self) {
        until("the operator has asked the hub", async || {
            let klusterlet = self.klusterlet().await;
            let kind = conditions::klusterlet::HUB_CONNECTION_DEGRADED;
            conditions::find(&klusterlet.status.conditions, kind).map(drop)
        })
        .await;
    }

    /// The Deployment of that name, once the operator made it.
    pub async fn deployment(&self, name: &str) -> Deployment {
        self.deployment_in(namespaces::AGENT, name).await
    }

    async fn deployment_in(&self, namespace: &str, name: &str) -> Deployment {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        until(&format!("Deployment {name}"), async || {
            api.get_opt(name).await.expect("an answer")
        })
        .await
    }

    pub fn klusterlets(&self) -> Api<Klusterlet> {
        Api::all(self.client.clone())
    }

    pub async fn klusterlet(&self) -> Klusterlet {
        let klusterlet = self.klusterlets().get(names::KLUSTERLET).await;
        klusterlet.expect("a Klusterlet")
    }

    /// Changes the Klusterlet.
    pub async fn patch_klusterlet(&self, patch: Value) {
        let (api, parameters) = (self.klusterlets(), PatchParams::default());
        let patch = Patch::Merge(patch);
        let patched = api.patch(names::KLUSTERLET, &parameters, &patch).await;
        patched.expect("patched");
    }

    /// The Secrets beside the agent.
    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespaces::AGENT)
    }

    /// The agent's own credentials for its hub.
    pub async fn hub_secret(&self) -> Secret {
        let secret = self.secrets().get(names::HUB_KUBECONFIG_SECRET).await;
        secret.expect("credentials")
    }

    /// Takes a Secret away from the agent.
    pub async fn delete_secret(&self, name: &str) {
        let deleted = self.secrets().delete(name, &Default::default()).await;
        deleted.expect("deleted");
    }

    /// Waits for an Event in the agent's namespace and returns its message.
    pub async fn until_event(&self, reason: &str) -> String {
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespaces::AGENT);
        until(&format!("an Event {reason}"), async || {
            let all = events.list(&Default::default()).await.expect("events");
            let is_it = |event: &Event| event.reason.as_deref() == Some(reason);
            all.items.into_iter().find(is_it)?.message
        })
        .await
    }

    /// Joins, and runs operator and agent. The token stops the agent.
    pub async fn run(&self, hub: &Hub, cluster: &str) -> CancellationToken {
        self.join(hub, cluster, Mode::Singleton).await;
        self.start_operator();
        self.start_agent().await
    }
}

/// A WEC `cluster1` that is Available on a hub of its own; the token stops its agent.
pub async fn registered() -> (Hub, Wec, CancellationToken) {
    let hub = Hub::start(true).await;
    let wec = Wec::start("cluster1").await;
    let agent = wec.run(&hub, "cluster1").await;
    hub.until_available("cluster1").await;
    (hub, wec, agent)
}
