//! `hyades wds`: makes a cluster a WDS of an ITS, and takes that back.
//!
//! ```text
//! init    ITS: account, rights ─▶ token ─▶ WDS: definitions, rights, token, program ─▶ runs
//! remove  WDS: policies ─▶ Bindings gone, with their works ─▶ program, definitions ─▶ ITS: account
//! ```

use super::registration;
use crate::clusteradm::apply;
use crate::clusteradm::pods;
use crate::clusteradm::preflight;
use crate::clusteradm::session::Session;
use crate::console::Console;
use crate::target::Target;
use crate::wait;
use crate::wait::Look;
use anyhow::Context;
use anyhow::bail;
use hyades_agent::install::BootstrapAccess;
use hyades_agent::install::bootstrap_kubeconfig;
use hyades_api::control::Binding;
use hyades_api::control::BindingPolicy;
use hyades_api::control::names::SYSTEM_NAMESPACE;
use hyades_api::control::names::labels;
use hyades_api::work::ManifestWork;
use hyades_distribution::install;
use hyades_distribution::install::DISTRIBUTION;
use hyades_distribution::install::InstallOptions;
use hyades_distribution::install::WdsName;
use hyades_distribution::its::Token;
use hyades_host::Host;
use hyades_runtime::Trouble;
use hyades_runtime::apply::Address;
use hyades_runtime::apply::ensure_absent;
use hyades_runtime::k8s_openapi::api::apps::v1::Deployment;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::k8s_openapi::api::core::v1::ServiceAccount;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::json;
use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

/// What to do with WDSes.
#[derive(Debug, clap::Subcommand)]
pub enum WdsCommand {
    /// Make a cluster a WDS of an ITS, so that what policies select there goes to WECs
    Init(InitArgs),
    /// Take back what init made, and what its policies sent to WECs
    Remove(RemoveArgs),
}

/// Which clusters.
#[derive(Debug, Clone, clap::Args)]
struct Clusters {
    /// Context of the ITS
    #[arg(long, value_name = "CONTEXT")]
    its: String,
    /// Name of the WDS, unique on its ITS; the name of its context if absent
    #[arg(long)]
    name: Option<WdsName>,
    /// Kubeconfig with both contexts; else KUBECONFIG, else ~/.kube/config
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Bound of every wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = wait::timeout_seconds())]
    timeout: u64,
}

/// The command line of `init`.
#[derive(Debug, Clone, clap::Args)]
pub struct InitArgs {
    /// Context of the cluster that becomes a WDS
    #[arg(long)]
    context: String,
    #[command(flatten)]
    clusters: Clusters,
    /// API groups whose objects policies can mean; all if absent. The core group is the empty one
    #[arg(long, value_delimiter = ',')]
    api_groups: Vec<String>,
    /// Image of the program that distributes
    #[arg(long, default_value_t = hyades_api::image::reference())]
    image: String,
    /// URL of the ITS as the WDS's pods reach it, if not that of its context
    #[arg(long, value_name = "URL")]
    its_server: Option<String>,
    /// Wait until the program runs
    #[arg(long)]
    wait: bool,
}

/// The command line of `remove`.
#[derive(Debug, Clone, clap::Args)]
pub struct RemoveArgs {
    /// Context of the WDS; absent if the cluster itself is gone
    #[arg(long, required_unless_present = "name")]
    context: Option<String>,
    #[command(flatten)]
    clusters: Clusters,
    /// Do not wait for the program of the WDS to take its works back: delete them here
    #[arg(long)]
    force: bool,
}

/// Runs one of them.
///
/// # Errors
///
/// The first step that failed.
pub async fn run(command: &WdsCommand) -> anyhow::Result<()> {
    match command {
        WdsCommand::Init(args) => {
            let wds = args.clusters.session(&args.context).await?;
            let its = args.clusters.session(&args.clusters.its).await?;
            let name = args.clusters.name(&args.context)?;
            let plan = Plan {
                api_groups: &args.api_groups,
                image: &args.image,
                its_server: args.its_server.as_deref(),
            };
            initialise(&wds, &its, &name, &plan).await?;
            if args.wait {
                pods::wait_ready(&wds, SYSTEM_NAMESPACE, DISTRIBUTION).await?;
            }
            wds.console.line(format!(
                "{} is the WDS {name} of {}; write a BindingPolicy there next",
                args.context, args.clusters.its
            ));
            Ok(())
        }
        WdsCommand::Remove(args) => remove(args).await,
    }
}

impl Clusters {
    fn name(&self, context: &str) -> anyhow::Result<WdsName> {
        match &self.name {
            Some(name) => Ok(name.clone()),
            None => context.parse().with_context(|| {
                format!("name the WDS after its context {context:?}; choose a name with --name")
            }),
        }
    }

    async fn session(&self, context: &str) -> anyhow::Result<Session> {
        Ok(Session {
            header: "hyades wds".to_owned(),
            target: Target::load(self.kubeconfig.as_deref(), Some(context)).await?,
            dry_run: false,
            timeout: Duration::from_secs(self.timeout),
            console: Console::Terminal,
        })
    }
}

/// What the user chose.
struct Plan<'a> {
    api_groups: &'a [String],
    image: &'a str,
    its_server: Option<&'a str>,
}

/// Makes a space of this host a WDS of another one, unless it is one; whether it was new. Waits
/// until its program runs.
///
/// # Errors
///
/// The first step that failed.
pub async fn initialise_space(
    host: &Host,
    wds: &str,
    its: &str,
    timeout: Duration,
) -> anyhow::Result<bool> {
    let wds_session = registration::session(host, wds, timeout).await?;
    let api: Api<Deployment> = Api::namespaced(wds_session.target.client.clone(), SYSTEM_NAMESPACE);
    let found = api.get_opt(DISTRIBUTION).await;
    let tried = format!("look for a WDS in {wds}");
    let is_new = found
        .map_err(|error| wds_session.target.explain(&tried, &error))?
        .is_none();
    if is_new {
        let its = registration::session(host, its, timeout).await?;
        let plan = Plan {
            api_groups: &[],
            image: &hyades_api::image::reference(),
            its_server: None,
        };
        initialise(&wds_session, &its, &wds.parse()?, &plan).await?;
    }
    pods::wait_ready(&wds_session, SYSTEM_NAMESPACE, DISTRIBUTION).await?;
    Ok(is_new)
}

async fn initialise(
    wds: &Session,
    its: &Session,
    name: &WdsName,
    plan: &Plan<'_>,
) -> anyhow::Result<()> {
    preflight::is_hub(&its.target).await?;
    let uid = uid_of(&wds.target).await?;
    check_name(&its.target, name, &uid).await?;
    apply::objects(its, &install::its_objects(name, &uid), None).await?;
    let token = Token::request(&its.target.client, name).await?;
    // The token lies beside it, where it can be renewed.
    let kubeconfig = bootstrap_kubeconfig(&BootstrapAccess {
        server: plan.its_server.unwrap_or(&its.target.server),
        certificate_authority: its.target.certificate_authority.as_deref(),
        token: "",
        proxy_url: None,
    })?;
    let objects = install::wds_objects(&InstallOptions {
        name,
        image: plan.image,
        api_groups: plan.api_groups,
        its_kubeconfig: &kubeconfig,
        its_token: &token,
    });
    apply::objects(wds, &objects, None).await
}

/// What tells one cluster from another: the uid of its oldest namespace.
async fn uid_of(target: &Target) -> anyhow::Result<String> {
    let api: Api<Namespace> = Api::all(target.client.clone());
    let namespace = api.get("kube-system").await;
    let namespace =
        namespace.map_err(|error| target.explain("read the namespace kube-system", &error))?;
    namespace
        .uid()
        .context("the namespace kube-system has no uid")
}

/// Two WDSes of one name would take each other's works for their own; and the works of a WDS that
/// gets another name would be nobody's.
async fn check_name(its: &Target, name: &WdsName, uid: &str) -> anyhow::Result<()> {
    let api: Api<ServiceAccount> = Api::namespaced(its.client.clone(), SYSTEM_NAMESPACE);
    let found = api
        .list(&ListParams::default().labels(install::WDS_LABEL))
        .await;
    let found = found.map_err(|error| its.explain("look for the WDSes of the ITS", &error))?;
    let (account, its) = (name.account(), &its.name);
    for other in found.items {
        let known = other.annotations().get(install::WDS_UID_ANNOTATION);
        let is_this_name = other.name_any() == account;
        let is_this_cluster = known.is_some_and(|known| known == uid);
        if is_this_name && known.is_some() && !is_this_cluster {
            bail!(
                "the ITS {its:?} has another WDS of the name {name}, in another cluster; name this \
                 one with --name, or take the other away with 'hyades wds remove --its {its} --name \
                 {name}'"
            );
        }
        if is_this_cluster && !is_this_name {
            let other = other.name_any();
            let other = other.strip_prefix("wds-").unwrap_or(&other);
            bail!(
                "the cluster is the WDS {other} of the ITS {its:?} already; go on with --name {other}"
            );
        }
    }
    Ok(())
}

async fn remove(args: &RemoveArgs) -> anyhow::Result<()> {
    let its = args.clusters.session(&args.clusters.its).await?;
    let name = match (&args.clusters.name, &args.context) {
        (Some(name), _) => name.clone(),
        (None, Some(context)) => args.clusters.name(context)?,
        (None, None) => bail!("no WDS is named; add --context or --name"),
    };
    if let Some(context) = &args.context {
        let wds = args.clusters.session(context).await?;
        check_name(&its.target, &name, &uid_of(&wds.target).await?).await?;
        take_back(&wds, args.force).await?;
        clear_wds(&wds, &name).await?;
        wds.console.line(format!("{context} is no WDS any more"));
    }
    clear_its(&its, &name).await?;
    its.console.line(format!(
        "{} knows the WDS {name} no more",
        args.clusters.its
    ));
    Ok(())
}

/// Deletes policies and Bindings, and waits until the works of the Bindings are deleted.
async fn take_back(wds: &Session, force: bool) -> anyhow::Result<()> {
    delete_all::<BindingPolicy>(&wds.target, force).await?;
    delete_all::<Binding>(&wds.target, force).await?;
    let bindings = Api::<Binding>::all(wds.target.client.clone());
    let waited = wait::until("the Bindings to be gone", wds.timeout, || async {
        let left = bindings.list(&ListParams::default()).await;
        Ok(match left {
            Ok(list) if list.items.is_empty() => Look::Done(()),
            Ok(list) => Look::NotYet(format!("{} of them", list.items.len())),
            Err(error) if Trouble::of(&error).is_not_found() => Look::Done(()),
            Err(error) => Look::NotYet(Trouble::of(&error).to_string()),
        })
    });
    waited.await.context(
        "the program of the WDS does not take its works back; look at its log, or add --force to \
         delete them without it",
    )
}

/// Deletes all objects of a kind; with `force` without regard to finalizers.
async fn delete_all<K>(target: &Target, force: bool) -> anyhow::Result<()>
where
    K: Resource<DynamicType = (), Scope = hyades_runtime::k8s_openapi::ClusterResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api = Api::<K>::all(target.client.clone());
    let tried = format!("delete {}", K::plural(&()));
    let explain = |error: &_| target.explain(&tried, error);
    let list = match api.list(&ListParams::default()).await {
        Ok(list) => list,
        // There is no such kind, hence nothing of it.
        Err(error) if Trouble::of(&error).is_not_found() => return Ok(()),
        Err(error) => return Err(explain(&error)),
    };
    for object in list.items {
        let name = object.name_any();
        let deleted = api.delete(&name, &DeleteParams::default()).await;
        ignore_missing(deleted).map_err(|error| explain(&error))?;
        if force {
            let open = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            let opened = api.patch(&name, &PatchParams::default(), &open).await;
            ignore_missing(opened).map_err(|error| explain(&error))?;
        }
    }
    Ok(())
}

fn ignore_missing<T>(result: hyades_runtime::kube::Result<T>) -> hyades_runtime::kube::Result<()> {
    match result {
        Err(error) if !Trouble::of(&error).is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// Deletes what init made in the WDS, the program first.
async fn clear_wds(wds: &Session, name: &WdsName) -> anyhow::Result<()> {
    let objects = install::wds_addresses(name);
    delete_in_reverse(&wds.target, &objects, |_| true).await
}

/// Deletes the works of a WDS and what init made for it in the ITS. What its WDSes share goes with
/// the last of them.
async fn clear_its(its: &Session, name: &WdsName) -> anyhow::Result<()> {
    let target = &its.target;
    let objects = install::its_objects(name, "");
    // A program that still runs would write them again.
    let is_binding = |object: &Value| {
        let kind = object["kind"].as_str().unwrap_or_default();
        matches!(kind, "ClusterRoleBinding" | "RoleBinding")
    };
    delete_in_reverse(target, &objects, is_binding).await?;
    let selector = format!("{}={name}", labels::ORIGIN_WDS);
    let works = Api::<ManifestWork>::all(target.client.clone());
    let list = works.list(&ListParams::default().labels(&selector)).await;
    let list = list.map_err(|error| target.explain("list the works of the WDS", &error))?;
    for work in list.items {
        let mailbox = work.namespace().unwrap_or_default();
        let api = Api::<ManifestWork>::namespaced(target.client.clone(), &mailbox);
        let deleted = api.delete(&work.name_any(), &DeleteParams::default()).await;
        ignore_missing(deleted).map_err(|error| target.explain("delete a work", &error))?;
    }
    let accounts: Api<ServiceAccount> = Api::namespaced(target.client.clone(), SYSTEM_NAMESPACE);
    let of_wdses = ListParams::default().labels(install::WDS_LABEL);
    let all = accounts
        .list(&of_wdses)
        .await
        .map_err(|error| target.explain("list the WDSes of the ITS", &error))?;
    let account = name.account();
    let is_last = all.items.iter().all(|other| other.name_any() == account);
    delete_in_reverse(target, &objects, |object| {
        let kind = object["kind"].as_str().unwrap_or_default();
        match kind {
            // Properties are the users'.
            "Namespace" => is_last && object["metadata"]["name"] == SYSTEM_NAMESPACE,
            "CustomResourceDefinition" => is_last,
            _ => true,
        }
    })
    .await
}

async fn delete_in_reverse(
    target: &Target,
    objects: &[Value],
    is_wanted: impl Fn(&Value) -> bool,
) -> anyhow::Result<()> {
    for object in objects.iter().rev().filter(|object| is_wanted(object)) {
        let address = Address::of(object)?;
        let deleted = ensure_absent(&target.client, &address).await;
        deleted.with_context(|| format!("clean up context {:?}", target.name))?;
    }
    Ok(())
}
