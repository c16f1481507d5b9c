//! `clusteradm join`: installs the agent that registers a cluster with a hub.
//!
//! ```text
//! flags ──plan──▶ Plan ─▶ hub: authority, URL, is it one? ─┐
//!                         cluster: registered before? ─────┼▶ decide ─▶ apply ─▶ wait ─▶ text
//!                         cluster: its own URL, operator? ─┘
//! ```
//!
//! The agent runs in the cluster of the context and works for it. A hosted agent works for the
//! cluster of a kubeconfig; a cluster of Cluster API takes the place of the context's.

mod existing;
mod hub;
mod managed;
mod options;
pub mod place;

pub use options::JoinArgs;

use super::apply;
use super::cluster_info;
use super::pods;
use super::preflight;
use super::preflight::Finding;
use super::session::Session;
use crate::hyades::doctor;
use crate::target::Target;
use crate::wait;
use crate::wait::Look;
use anyhow::Context;
use anyhow::bail;
use existing::Decision;
use hub::Discovered;
use hub::Hub;
use hub::NameOnHub;
use hub::Trust;
use hub::merged;
use hyades_agent::install;
use hyades_agent::install::BootstrapAccess;
use hyades_agent::install::InstallOptions;
use hyades_agent::install::bootstrap_kubeconfig;
use hyades_api::conditions;
use hyades_api::names;
use hyades_api::names::apps;
use hyades_api::names::namespaces;
use hyades_api::operator::Klusterlet;
use hyades_runtime::Trouble;
use hyades_runtime::k8s_openapi::api::apps::v1::Deployment;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::DeleteParams;
use managed::Managed;
use options::Plan;
use options::plan;
use place::Place;

/// What a join came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The agent was installed; the cluster waits for acceptance, as far as is known.
    Installed,
    /// The agent was installed, and the hub accepted the cluster without a person.
    Accepted,
    /// The cluster was registered already; nothing was changed.
    RegisteredAlready,
}

/// Runs `join`.
///
/// # Errors
///
/// The first step that failed.
pub async fn run(session: &Session, args: &JoinArgs) -> anyhow::Result<()> {
    let (cluster, hub) = (&args.cluster_name, &args.hub_apiserver);
    let console = session.console;
    match execute(session, args).await? {
        Outcome::Installed => console.text(&farewell(&session.header, cluster)),
        Outcome::Accepted => console.line(format!(
            "The hub {hub} has accepted cluster {cluster} already; nothing is left to do there."
        )),
        Outcome::RegisteredAlready => console.line(format!(
            "Cluster {cluster} is registered with the hub {hub} already; nothing was changed."
        )),
    }
    Ok(())
}

fn farewell(header: &str, cluster: &str) -> String {
    format!(
        "Please log onto the hub cluster and run the following command:\n\n    \
         {header} accept --clusters {cluster}\n\n\
         This is not needed when the ManagedClusterAutoApproval feature is enabled\n"
    )
}

/// Installs the agent, unless the cluster is registered already.
///
/// # Errors
///
/// The first step that failed.
pub async fn execute(session: &Session, args: &JoinArgs) -> anyhow::Result<Outcome> {
    let plan = plan(args)?;
    session.announce_dry_run();
    let mut managed = match &plan.source {
        None => None,
        Some(source) => Some(Managed::find(session, source).await?),
    };
    if plan.mode.is_hosted() {
        return install(session, args, &plan, managed.as_mut()).await;
    }
    match managed {
        None => install(session, args, &plan, None).await,
        Some(Managed { target, .. }) => install(&session.on(target), args, &plan, None).await,
    }
}

/// Installs the agent in the cluster of the session, to work for it or, hosted, for `managed`.
async fn install(
    session: &Session,
    args: &JoinArgs,
    plan: &Plan,
    managed: Option<&mut Managed>,
) -> anyhow::Result<Outcome> {
    let proxy = args.proxy_url.as_deref();
    let discovered = discover(args, plan, proxy).await?;
    let authority = plan
        .authority
        .as_deref()
        .or(discovered.authority.as_deref());
    let hub = Hub::connect(plan, Trust::Verified(authority), proxy)?;
    hub.check().await?;
    let managed = match managed {
        None => None,
        Some(managed) => {
            prepare(session, args, managed).await?;
            Some(&*managed)
        }
    };
    preflight::conclude(session, &checks(authority))?;
    let server = match discovered.server {
        Some(inner) if args.force_internal_endpoint_lookup => inner,
        _ => plan.hub.clone(),
    };
    let on_hub = hub.name(plan.cluster.as_str()).await;
    let place = Place::find(session, plan).await?;
    let is_ended = match judge(session, plan, &place, &server, on_hub).await? {
        Decision::Join => false,
        Decision::JoinAnew => true,
        Decision::NothingToDo => return Ok(Outcome::RegisteredAlready),
        Decision::Refuse(reason) => bail!(reason),
    };
    let access = BootstrapAccess {
        server: &server,
        certificate_authority: authority,
        token: &plan.token,
        proxy_url: proxy,
    };
    let mut options = render(session, args, plan, &access).await?;
    let published = managed.map_or(&session.target, |managed| &managed.target);
    options.external_server_url = own_url(published).await;
    options.managed_kubeconfig = managed.map(|managed| managed.kubeconfig.clone());
    options.klusterlet_name.clone_from(&place.klusterlet);
    let objects = install::objects(&options);
    apply::objects(session, &objects, args.output_file.as_deref()).await?;
    if is_ended && !session.dry_run {
        // After the new token is there, with which the agent starts anew.
        take_credentials(&session.target, &place).await?;
    }
    if args.wait && !session.dry_run {
        let waited = wait(session, &hub, &place, plan.cluster.as_str()).await;
        doctor::after(waited, session.console, &[(&session.target, None)]).await?;
        if hub.accepts(plan.cluster.as_str()).await {
            return Ok(Outcome::Accepted);
        }
    }
    Ok(Outcome::Installed)
}

/// Makes sure that an agent can be hosted here for the managed cluster.
async fn prepare(session: &Session, args: &JoinArgs, managed: &mut Managed) -> anyhow::Result<()> {
    match args.force_internal_endpoint_lookup_managed {
        true => managed.use_inner_url().await?,
        // The cluster may be known here by another URL than to its agent.
        false => managed.check().await?,
    }
    if !session.dry_run && !operator_runs(session).await? {
        bail!(
            "a hosted agent needs the agent's operator in the hosting cluster, context {:?} at {}, and none runs there; join the hosting cluster itself first, with '{} join --singleton'",
            session.target.name,
            session.target.server,
            session.header
        );
    }
    Ok(())
}

/// Asks the hub for what was not given.
async fn discover(args: &JoinArgs, plan: &Plan, proxy: Option<&str>) -> anyhow::Result<Discovered> {
    if plan.authority.is_some() && !args.force_internal_endpoint_lookup {
        return Ok(Discovered::default());
    }
    let authority = plan.authority.as_deref();
    let trust = authority.map_or(Trust::Unverified, |known| Trust::Verified(Some(known)));
    let hub = Hub::connect(plan, trust, proxy)?;
    hub.discover().await
}

fn checks(authority: Option<&str>) -> [preflight::Check; 3] {
    let kubeconfig = match authority {
        Some(_) => Finding::passed(),
        None => Finding::warning("no ca detected, creating hub kubeconfig without ca"),
    };
    // The other two were errors of the command line before any server was asked.
    [
        ("HubKubeconfig check", kubeconfig),
        ("DeployMode Check", Finding::passed()),
        ("ClusterName Check", Finding::passed()),
    ]
}

/// Takes from an agent the credentials of an earlier registration.
async fn take_credentials(target: &Target, place: &Place) -> anyhow::Result<()> {
    let secrets: Api<Secret> = Api::namespaced(target.client.clone(), &place.namespace);
    let name = names::HUB_KUBECONFIG_SECRET;
    match secrets.delete(name, &DeleteParams::default()).await {
        Err(error) if !Trouble::of(&error).is_not_found() => {
            Err(target.explain("delete the credentials of an ended registration", &error))
        }
        _ => Ok(()),
    }
}

/// Looks for an earlier registration of this cluster.
async fn judge(
    session: &Session,
    plan: &Plan,
    place: &Place,
    server: &str,
    on_hub: NameOnHub,
) -> anyhow::Result<Decision> {
    let target = &session.target;
    let secrets: Api<Secret> = Api::namespaced(target.client.clone(), &place.namespace);
    let secret = secrets
        .get_opt(names::HUB_KUBECONFIG_SECRET)
        .await
        .map_err(|error| target.explain("look for an earlier registration", &error))?;
    let now = jiff::Timestamp::now();
    let present = secret.and_then(|secret| existing::registration(&secret, now));
    let present = existing::Present {
        registration: present.as_ref(),
        klusterlet: place.registers.as_deref(),
    };
    Ok(existing::decide(
        &plan.cluster,
        server,
        &present,
        on_hub,
        plan.replace,
    ))
}

async fn render(
    session: &Session,
    args: &JoinArgs,
    plan: &Plan,
    access: &BootstrapAccess<'_>,
) -> anyhow::Result<InstallOptions> {
    let authorities = [
        access.certificate_authority,
        plan.proxy_authority.as_deref(),
    ];
    let authorities = merged(&authorities);
    let kubeconfig = bootstrap_kubeconfig(&BootstrapAccess {
        certificate_authority: authorities.as_deref(),
        ..access.clone()
    })
    .context("write the bootstrap kubeconfig")?;
    Ok(InstallOptions {
        mode: plan.mode,
        image: plan.image.clone(),
        image_pull_credentials: args.choices.pull_credential()?,
        create_namespace: args.create_namespace,
        with_operator: !operator_runs(session).await?,
        sync_labels: args.enable_sync_labels,
        client_cert_expiration_seconds: args.client_cert_expiration_seconds,
        feature_gates: plan.feature_gates.clone(),
        cluster_annotations: plan.annotations.clone(),
        addon_registration: plan.addon_registration.clone(),
        resource_requirement: Some(args.choices.resources()?),
        ..InstallOptions::new(plan.cluster.clone(), kubeconfig)
    })
}

/// Whether the agent's operator runs already; it is left alone then.
async fn operator_runs(session: &Session) -> anyhow::Result<bool> {
    let target = &session.target;
    let api: Api<Deployment> = Api::namespaced(target.client.clone(), namespaces::OPERATOR);
    let found = api
        .get_opt(names::KLUSTERLET)
        .await
        .map_err(|error| target.explain("look for the agent's operator", &error))?;
    let conditions = found.and_then(|found| found.status?.conditions);
    let is = |field: &Option<String>, value: &str| field.as_deref() == Some(value);
    Ok(conditions.is_some_and(|conditions| {
        conditions
            .iter()
            .any(|condition| is(&condition.type_, "Available") && is(&condition.status, "True"))
    }))
}

/// The URL by which the cluster names itself. It is published on the hub for whoever wants to call
/// the cluster; nothing depends on it.
async fn own_url(target: &Target) -> Option<String> {
    let api = cluster_info::api(&target.client);
    let map = api.get_opt(cluster_info::NAME).await.ok()??;
    let info = cluster_info::parse(cluster_info::kubeconfig(&map)?).ok()?;
    info.server.filter(|server| server.starts_with("https://"))
}

async fn wait(session: &Session, hub: &Hub, place: &Place, cluster: &str) -> anyhow::Result<()> {
    wait_for_agent(session, &place.klusterlet).await?;
    wait_for_hub(session, hub, cluster).await
}

async fn wait_for_agent(session: &Session, klusterlet: &str) -> anyhow::Result<()> {
    let console = session.console;
    console.line("Waiting for klusterlet operator to become ready...");
    pods::wait_ready(session, namespaces::OPERATOR, apps::KLUSTERLET).await?;
    console.line("Waiting for klusterlet agent to become ready...");
    let target = &session.target;
    let api: Api<Klusterlet> = Api::all(target.client.clone());
    let what = format!(
        "the Klusterlet's agents to be deployed in {:?}",
        target.name
    );
    wait::until(&what, session.timeout, || async {
        let klusterlet = api
            .get(klusterlet)
            .await
            .map_err(|error| target.explain("read the Klusterlet", &error))?;
        let found = klusterlet.status.conditions;
        let wanted = [
            conditions::klusterlet::REGISTRATION_DESIRED_DEGRADED,
            conditions::klusterlet::WORK_DESIRED_DEGRADED,
        ];
        if wanted
            .iter()
            .all(|type_| conditions::is_false(&found, type_))
        {
            return Ok(Look::Done(()));
        }
        Ok(Look::NotYet(describe(&found)))
    })
    .await
}

/// Conditions in one line.
pub fn describe(
    found: &[hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition],
) -> String {
    if found.is_empty() {
        return "no conditions".to_owned();
    }
    let one =
        |condition: &hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
            format!(
                "{}={} ({})",
                condition.type_, condition.status, condition.message
            )
        };
    found.iter().map(one).collect::<Vec<_>>().join(", ")
}

async fn wait_for_hub(session: &Session, hub: &Hub, cluster: &str) -> anyhow::Result<()> {
    session
        .console
        .line("Waiting for the managed cluster to appear on the hub...");
    let what = format!("the hub to know the managed cluster {cluster}");
    wait::until(&what, session.timeout, || async {
        Ok(match hub.name(cluster).await {
            NameOnHub::Asked | NameOnHub::Joined => Look::Done(()),
            NameOnHub::Free => Look::NotYet("no such managed cluster".to_owned()),
            NameOnHub::Unknown => Look::NotYet("the hub does not say".to_owned()),
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farewell_reads_as_upstreams() {
        expect_test::expect![[r#"
            Please log onto the hub cluster and run the following command:

                clusteradm accept --clusters cluster1

            This is not needed when the ManagedClusterAutoApproval feature is enabled
        "#]]
        .assert_eq(&farewell("clusteradm", "cluster1"));
    }
}
