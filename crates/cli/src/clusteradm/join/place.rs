//! Where an agent is, or will be: its Klusterlet and the namespace of its pods.

use super::options::Plan;
use crate::clusteradm::session::Session;
use hyades_agent::install;
use hyades_api::names;
use hyades_api::names::namespaces;
use hyades_api::operator::Klusterlet;
use hyades_runtime::Trouble;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ListParams;

/// The place of an agent.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of its Klusterlet.
    pub klusterlet: String,
    /// Namespace of its pods, in the cluster that runs them.
    pub namespace: String,
    /// The name that the Klusterlet registers, if there is such a Klusterlet already.
    pub registers: Option<String>,
}

impl Place {
    /// Finds the place of the agent to install: a hosted one keeps that of an earlier join.
    ///
    /// # Errors
    ///
    /// The cluster cannot be asked.
    pub async fn find(session: &Session, plan: &Plan) -> anyhow::Result<Self> {
        let target = &session.target;
        let api: Api<Klusterlet> = Api::all(target.client.clone());
        let present = match api.list(&ListParams::default()).await {
            Ok(list) => list.items,
            // The definition comes with the first agent.
            Err(error) if Trouble::of(&error).is_not_found() => Vec::new(),
            Err(error) => return Err(target.explain("look for an agent", &error)),
        };
        Ok(match plan.mode.is_hosted() {
            false => Self {
                klusterlet: names::KLUSTERLET.to_owned(),
                namespace: namespaces::AGENT.to_owned(),
                registers: present
                    .iter()
                    .find(|found| found.name_any() == names::KLUSTERLET)
                    .map(|found| found.spec.cluster_name.clone()),
            },
            true => {
                let earlier = present.iter().find(|found| {
                    is_hosted(found) && found.spec.cluster_name == plan.cluster.as_str()
                });
                let name =
                    earlier.map_or_else(install::hosted_klusterlet_name, ResourceExt::name_any);
                Self {
                    namespace: name.clone(),
                    klusterlet: name,
                    registers: earlier.map(|found| found.spec.cluster_name.clone()),
                }
            }
        })
    }
}

/// Whether the agent of a Klusterlet runs outside its cluster.
pub fn is_hosted(klusterlet: &Klusterlet) -> bool {
    install::Mode::parse(&klusterlet.spec.deploy_option.mode).is_ok_and(install::Mode::is_hosted)
}
