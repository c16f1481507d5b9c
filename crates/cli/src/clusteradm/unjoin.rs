//! `clusteradm unjoin`: takes the agent out of a cluster. The hub is not touched.

use super::join::place::is_hosted;
use super::kinds::KLUSTERLET;
use super::kinds::NAMESPACE;
use super::objects;
use super::operator;
use super::session::Session;
use crate::target::Target;
use crate::wait;
use crate::wait::Look;
use anyhow::bail;
use hyades_api::names;
use hyades_api::names::namespaces;
use hyades_api::operator::Klusterlet;
use hyades_api::work::AppliedManifestWork;
use hyades_runtime::Trouble;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::ListParams;
use std::path::PathBuf;

/// The command line.
#[derive(Debug, clap::Args)]
pub struct UnjoinArgs {
    /// Name under which the cluster is registered
    #[arg(long, default_value = "", hide_default_value = true)]
    cluster_name: String,
    /// Also take out the operator
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    purge_operator: bool,
    /// Also write the rendered objects to this file
    #[arg(long, value_name = "FILE", hide = true)]
    output_file: Option<PathBuf>,
}

/// Runs `unjoin`.
///
/// # Errors
///
/// No such registration here, or a step that failed.
pub async fn run(session: &Session, args: &UnjoinArgs) -> anyhow::Result<()> {
    let cluster = args.cluster_name.as_str();
    if cluster.is_empty() {
        bail!("name is missing; give the cluster's name with --cluster-name");
    }
    if args.output_file.is_some() {
        bail!("--output-file cannot be used: unjoin renders no objects; leave it out");
    }
    session.announce_dry_run();
    session.console.line(format!(
        "Remove applied resources in the managed cluster {cluster} ... "
    ));
    let Some(klusterlets) = klusterlets(session).await? else {
        session
            .console
            .line("klusterlet CRD not found, there is no need to unjoin.");
        return Ok(());
    };
    let found = klusterlets
        .iter()
        .find(|klusterlet| klusterlet.spec.cluster_name == cluster);
    let Some(found) = found else {
        bail!(
            "klusterlet corresponds to {cluster} not found: {}; give one of these names, or the context of another cluster",
            registrations(&klusterlets)
        );
    };
    let place = Doomed::of(found);
    let works = place.works(session).await?;
    if !works.is_empty() {
        session.console.line(format!(
            "appliedManifestWorks [{}] still exist on the managed cluster,you should manually clean them, uninstall kluster will cause those works out of control.",
            works.join(" ")
        ));
        return Ok(());
    }
    if session.dry_run {
        return Ok(());
    }
    remove_agent(session, &place).await?;
    if args.purge_operator {
        purge_operator(session).await?;
    }
    session.console.line(format!(
        "Applied resources have been deleted during the {cluster} joined stage. The status of mcl {cluster} will be unknown in the hub cluster."
    ));
    Ok(())
}

fn registrations(klusterlets: &[Klusterlet]) -> String {
    if klusterlets.is_empty() {
        return "this cluster is registered nowhere".to_owned();
    }
    let names: Vec<&str> = klusterlets
        .iter()
        .map(|klusterlet| klusterlet.spec.cluster_name.as_str())
        .collect();
    format!("this cluster is registered as {}", names.join(", "))
}

/// The Klusterlets, unless there is no such kind here.
async fn klusterlets(session: &Session) -> anyhow::Result<Option<Vec<Klusterlet>>> {
    if !objects::is_defined(session, KLUSTERLET).await? {
        return Ok(None);
    }
    let target = &session.target;
    let api: Api<Klusterlet> = Api::all(target.client.clone());
    let list = api
        .list(&ListParams::default())
        .await
        .map_err(|error| target.explain("list Klusterlets", &error))?;
    Ok(Some(list.items))
}

/// The agent to take out.
struct Doomed {
    klusterlet: String,
    /// Where its pods run.
    namespace: String,
    is_hosted: bool,
}

impl Doomed {
    fn of(klusterlet: &Klusterlet) -> Self {
        match is_hosted(klusterlet) {
            true => Self {
                klusterlet: klusterlet.name_any(),
                namespace: klusterlet.name_any(),
                is_hosted: true,
            },
            false => Self {
                klusterlet: names::KLUSTERLET.to_owned(),
                namespace: namespaces::AGENT.to_owned(),
                is_hosted: false,
            },
        }
    }

    /// The works that the agent has applied in the cluster it works for.
    async fn works(&self, session: &Session) -> anyhow::Result<Vec<String>> {
        if !self.is_hosted {
            return applied_works(&session.target).await;
        }
        let secret = names::EXTERNAL_MANAGED_KUBECONFIG_SECRET;
        let api: Api<Secret> = Api::namespaced(session.target.client.clone(), &self.namespace);
        let found = api.get_opt(secret).await.map_err(|error| {
            session
                .target
                .explain("read the way to the managed cluster", &error)
        })?;
        let kubeconfig = found.and_then(|mut found| found.data.as_mut()?.remove("kubeconfig"));
        let Some(kubeconfig) = kubeconfig else {
            return Ok(Vec::new());
        };
        let text = String::from_utf8_lossy(&kubeconfig.0);
        let origin = format!("the Secret {}/{secret}", self.namespace);
        let managed = Target::of_text(&text, &origin).await?;
        match applied_works(&managed).await {
            Ok(works) => Ok(works),
            // A cluster that is no more must not keep its agent for ever.
            Err(error) => {
                session.console.warn(format!(
                    "The managed cluster cannot be asked for applied works, and its agent is taken out all the same: {error:#}"
                ));
                Ok(Vec::new())
            }
        }
    }
}

async fn applied_works(target: &Target) -> anyhow::Result<Vec<String>> {
    let api: Api<AppliedManifestWork> = Api::all(target.client.clone());
    match api.list(&ListParams::default()).await {
        Ok(list) => Ok(list.items.iter().map(ResourceExt::name_any).collect()),
        Err(error) if Trouble::of(&error).is_not_found() => Ok(Vec::new()),
        Err(error) => Err(target.explain("list AppliedManifestWorks", &error)),
    }
}

/// Deletes the Klusterlet, waits for its operator to clean up, and deletes the agent's namespace.
async fn remove_agent(session: &Session, place: &Doomed) -> anyhow::Result<()> {
    let target = &session.target;
    let api: Api<Klusterlet> = Api::all(target.client.clone());
    match api
        .delete(&place.klusterlet, &DeleteParams::default())
        .await
    {
        Ok(_) => {}
        Err(error) if Trouble::of(&error).is_not_found() => {}
        Err(error) => return Err(target.explain("delete the Klusterlet", &error)),
    }
    let what = "the operator to clean up and let the Klusterlet go";
    wait::until(what, session.timeout, || async {
        let live = api
            .get_opt(&place.klusterlet)
            .await
            .map_err(|error| target.explain("read the Klusterlet", &error))?;
        Ok(match live {
            None => Look::Done(()),
            Some(live) => Look::NotYet(format!(
                "it has the finalizers {}; does the operator run? see 'kubectl -n {} get pods'",
                live.finalizers().join(", "),
                namespaces::OPERATOR
            )),
        })
    })
    .await?;
    objects::all(session, NAMESPACE)
        .delete(&place.namespace)
        .await?;
    Ok(())
}

/// Deletes the operator, unless other Klusterlets need it.
async fn purge_operator(session: &Session) -> anyhow::Result<()> {
    let others = klusterlets(session).await?;
    if others.is_some_and(|others| !others.is_empty()) {
        session
            .console
            .line("operator not purged: there are other klusterlet on cluster");
        return Ok(());
    }
    operator::purge(session, KLUSTERLET, names::KLUSTERLET).await
}
