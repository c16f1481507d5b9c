//! Registering WECs of this host with its ITS: `clusteradm`'s own functions, and waits between.

use super::doctor;
use super::serving::told;
use crate::clusteradm::accept;
use crate::clusteradm::init;
use crate::clusteradm::init::InitArgs;
use crate::clusteradm::join;
use crate::clusteradm::join::JoinArgs;
use crate::clusteradm::pods;
use crate::clusteradm::session::Session;
use crate::clusteradm::token;
use crate::clusteradm::token::TokenKind;
use crate::console::Console;
use crate::target::Target;
use crate::wait;
use crate::wait::Look;
use anyhow::Context;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::names;
use hyades_api::names::labels;
use hyades_api::names::namespaces;
use hyades_api::operator::ClusterManager;
use hyades_host::Host;
use hyades_runtime::Trouble;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::api::coordination::v1::Lease;
use hyades_runtime::k8s_openapi::api::core::v1::Pod;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::ListParams;
use jiff::Timestamp;
use std::cell::Cell;
use std::cell::RefCell;
use std::time::Duration;
use std::time::Instant;

/// Pause before a WEC that is accepted and has not joined is accepted again: an agent that is well
/// joins within it.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// A session of clusteradm in a space of this host.
///
/// # Errors
///
/// No such space.
pub async fn session(host: &Host, space: &str, timeout: Duration) -> anyhow::Result<Session> {
    let kubeconfig = host.kubeconfig(space).await.map_err(told)?;
    let text = kubeconfig.to_yaml().context("write a kubeconfig as YAML")?;
    let origin = format!("the kubeconfig of space {space}");
    Ok(Session {
        header: "clusteradm".to_owned(),
        target: Target::of_text(&text, &origin).await?,
        dry_run: false,
        timeout,
        console: Console::Silent,
    })
}

/// Installs the agent in a WEC, as `clusteradm join --singleton` does.
///
/// # Errors
///
/// Those of join.
pub async fn join(wec: &Session, hub: &Hub, token: &str) -> anyhow::Result<()> {
    let args = JoinArgs::for_cluster(&wec.target.name, token, &hub.session.target)?;
    join::execute(wec, &args).await?;
    Ok(())
}

/// The hub in the ITS.
pub struct Hub {
    session: Session,
}

impl Hub {
    /// The hub that a session reaches.
    pub fn new(session: Session) -> Self {
        Self { session }
    }

    /// Makes the ITS a hub, as `clusteradm init` does, unless it is one; whether it was new. Waits
    /// until the hub's API is served, which is all that joining needs.
    ///
    /// # Errors
    ///
    /// Those of init; an operator that does not get that far in time.
    pub async fn initialise(&self) -> anyhow::Result<bool> {
        let is_new = !self.is_initialised().await?;
        if is_new {
            init::execute(&self.session, &init::plan(&InitArgs::defaults()?)?).await?;
        }
        let clusters = self.clusters();
        let result = wait::until(
            "its1 to serve managedclusters",
            self.session.timeout,
            || async {
                Ok(match clusters.list(&ListParams::default().limit(1)).await {
                    Ok(_) => Look::Done(()),
                    Err(error) => Look::NotYet(Trouble::of(&error).to_string()),
                })
            },
        )
        .await;
        self.with_pods(result, &self.session, namespaces::OPERATOR)
            .await?;
        Ok(is_new)
    }

    /// The ClusterManager is what init applies last.
    async fn is_initialised(&self) -> anyhow::Result<bool> {
        let target = &self.session.target;
        let api: Api<ClusterManager> = Api::all(target.client.clone());
        match api.get_opt(names::CLUSTER_MANAGER).await {
            Ok(found) => Ok(found.is_some()),
            Err(error) if Trouble::of(&error).is_not_found() => Ok(false),
            Err(error) => Err(target.explain("look for a hub", &error)),
        }
    }

    /// A registration token, as `clusteradm get token` gets it.
    ///
    /// # Errors
    ///
    /// Those of get token.
    pub async fn token(&self) -> anyhow::Result<String> {
        token::obtain(&self.session, TokenKind::ServiceAccount).await
    }

    /// Whether the hub has an inventory object of this name.
    ///
    /// # Errors
    ///
    /// The hub cannot be asked.
    pub async fn knows(&self, wec: &str) -> anyhow::Result<bool> {
        let found = self.clusters().get_opt(wec).await;
        let found = found.map_err(|error| {
            let tried = format!("look for the managed cluster {wec}");
            self.session.target.explain(&tried, &error)
        })?;
        Ok(found.is_some())
    }

    /// Waits until the agent of `wec` has asked for a certificate, and accepts it as
    /// `clusteradm accept` does. One that was accepted before is done.
    ///
    /// # Errors
    ///
    /// Those of accept; an agent that does not ask in time.
    pub async fn accept_when_asked(&self, wec: &str, session: &Session) -> anyhow::Result<()> {
        let result = wait::until(
            &format!("the agent of {wec} to ask for acceptance"),
            self.session.timeout,
            || async {
                Ok(match self.asked(wec).await {
                    Ok(true) => Look::Done(()),
                    Ok(false) => Look::NotYet("no certificate signing request".to_owned()),
                    Err(error) => Look::NotYet(Trouble::of(&error).to_string()),
                })
            },
        )
        .await;
        self.with_pods(result, session, namespaces::AGENT).await?;
        if is_joined(self.clusters().get_opt(wec).await) {
            return Ok(());
        }
        accept::accept_quietly(&self.session, wec).await
    }

    /// Whether the agent has asked for a certificate, or has had one before.
    async fn asked(&self, wec: &str) -> kube::Result<bool> {
        let client = self.session.target.client.clone();
        let Some(cluster) = self.clusters().get_opt(wec).await? else {
            return Ok(false);
        };
        if is_joined(Ok(Some(cluster))) {
            return Ok(true);
        }
        let requests: Api<CertificateSigningRequest> = Api::all(client);
        let selector = format!("{}={wec}", labels::CLUSTER_NAME);
        let found = requests
            .list(&ListParams::default().labels(&selector))
            .await?;
        Ok(!found.items.is_empty())
    }

    /// Waits until a WEC is Joined and Available; with `since`, until its agent has renewed its
    /// lease after that time as well, because the conditions outlive a host that was stopped.
    ///
    /// # Errors
    ///
    /// When the time is over, with conditions and pods as they were seen last.
    pub async fn wait_available(
        &self,
        wec: &str,
        since: Option<Timestamp>,
        session: &Session,
    ) -> anyhow::Result<()> {
        let again = AcceptAgain::new(&self.session, wec);
        let result = wait::until(
            &format!("{wec} to be Joined and Available"),
            self.session.timeout,
            || async { Ok(self.look(wec, since, &again).await) },
        )
        .await;
        self.with_pods(result, session, namespaces::AGENT).await
    }

    async fn look(&self, wec: &str, since: Option<Timestamp>, again: &AcceptAgain<'_>) -> Look<()> {
        let found = match self.clusters().get_opt(wec).await {
            Ok(Some(found)) => found,
            Ok(None) => return Look::NotYet("no such managed cluster".to_owned()),
            Err(error) => return Look::NotYet(Trouble::of(&error).to_string()),
        };
        let is_accepted = found.spec.hub_accepts_client;
        let found = found.status.conditions;
        let is = |type_| conditions::is_true(&found, type_);
        let is_joined = is(conditions::managed_cluster::JOINED);
        if !is_joined || !is(conditions::managed_cluster::AVAILABLE) {
            let mut seen = join::describe(&found);
            // Whom the administrator turned away meanwhile stays out.
            if is_accepted && !is_joined {
                again.when_due().await;
                seen.push_str(&again.trouble.borrow());
            }
            return Look::NotYet(seen);
        }
        let Some(since) = since else {
            return Look::Done(());
        };
        let leases: Api<Lease> = Api::namespaced(self.session.target.client.clone(), wec);
        let renewed = match leases.get_opt(names::LEASE).await {
            Ok(lease) => lease.and_then(|lease| lease.spec?.renew_time),
            Err(error) => return Look::NotYet(Trouble::of(&error).to_string()),
        };
        match renewed {
            Some(renewed) if renewed.0 >= since => Look::Done(()),
            Some(renewed) => Look::NotYet(format!("its lease was renewed last at {}", renewed.0)),
            None => Look::NotYet("its lease was never renewed".to_owned()),
        }
    }

    fn clusters(&self) -> Api<ManagedCluster> {
        Api::all(self.session.target.client.clone())
    }

    /// Adds to an error what the pods concerned were doing; when a wait was in vain, the doctor
    /// looks at both sides as well.
    async fn with_pods<T>(
        &self,
        result: anyhow::Result<T>,
        session: &Session,
        namespace: &str,
    ) -> anyhow::Result<T> {
        let wec = session.target.name.as_str();
        let its = &self.session.target;
        let mut sides = vec![(its, Some(wec))];
        if wec == its.name {
            sides = vec![(its, None)];
        } else {
            sides.push((&session.target, None));
        }
        let error = match doctor::after(result, Console::Terminal, &sides).await {
            Err(error) => error,
            done => return done,
        };
        let api: Api<Pod> = Api::namespaced(session.target.client.clone(), namespace);
        let pods = match api.list(&ListParams::default()).await {
            Ok(list) => pods::describe(&list.items),
            Err(error) => Trouble::of(&error).to_string(),
        };
        Err(anyhow::anyhow!(
            "{error:#}; pods in {namespace} of {wec:?}: {pods}"
        ))
    }
}

/// Accepts a WEC again at a calm pace: an agent that was killed before it had its certificate asks
/// once more.
struct AcceptAgain<'a> {
    hub: &'a Session,
    wec: &'a str,
    due: Cell<Instant>,
    /// `; ` and why the last attempt failed; empty if it did not.
    trouble: RefCell<String>,
}

impl<'a> AcceptAgain<'a> {
    fn new(hub: &'a Session, wec: &'a str) -> Self {
        Self {
            hub,
            wec,
            due: Cell::new(Instant::now() + ACCEPT_PAUSE),
            trouble: RefCell::default(),
        }
    }

    /// Accepts the WEC, unless that was done a moment ago.
    async fn when_due(&self) {
        if Instant::now() < self.due.get() {
            return;
        }
        let result = accept::accept_quietly(self.hub, self.wec).await;
        let trouble = result.err().map(|error| format!("; {error}"));
        self.trouble.replace(trouble.unwrap_or_default());
        self.due.set(Instant::now() + ACCEPT_PAUSE);
    }
}

fn is_joined(found: kube::Result<Option<ManagedCluster>>) -> bool {
    matches!(
        found,
        Ok(Some(cluster)) if conditions::is_true(
            &cluster.status.conditions,
            conditions::managed_cluster::JOINED,
        )
    )
}
