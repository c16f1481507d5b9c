//! Taking a WEC's rights away, and emptying its mailbox.
//!
//! ```text
//! ManagedCluster deleted ▶ rights gone, but for works ▶ add-ons deleted ▶ works deleted
//!   ▶ (the agent removes their objects) ▶ right to works gone ▶ pin and requests gone
//!   ▶ finalizers gone
//! ```
//!
//! The mailbox namespace itself stays, as upstream's does: it may hold what is not ours.

use super::Hub;
use super::cleanup::Remaining;
use super::cleanup::Resource;
use super::cleanup::Survey;
use super::grants::Grants;
use hyades_api::identity::ClusterName;
use hyades_api::names;
use hyades_api::names::finalizers;
use hyades_api::work::ManifestWork;
use hyades_runtime::Trouble;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::api::rbac::v1::RoleBinding;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DynamicObject;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use serde_json::Value;
use serde_json::json;
use std::rc::Rc;

/// Objects of one kind held at a time: the API server's own clients read as many at once.
const PAGE_OBJECTS: u32 = 500;

/// Pages looked at before anything is deleted: a hundred thousand objects, ten times as many as a
/// mailbox is known to hold. The rest is seen after these are gone.
const PAGES_MAX: usize = 200;

/// Takes rights away.
pub(super) struct Deregistration {
    hub: Rc<Hub>,
    grants: Rc<Grants>,
}

impl Deregistration {
    pub(super) fn new(hub: Rc<Hub>, grants: Rc<Grants>) -> Self {
        Self { hub, grants }
    }

    /// Takes all cluster-scoped rights and those of registration in the mailbox.
    pub(super) async fn revoke_all_but_works(&self, cluster: &ClusterName) -> Result<(), Trouble> {
        self.grants.forget(cluster);
        let observed = &self.hub.observed;
        let name = names::cluster_role(cluster);
        if observed.cluster_role_bindings.get(&name).is_some() {
            self.grants
                .delete(&rbac("ClusterRoleBinding", &name, None))
                .await?;
        }
        if observed.cluster_roles.get(&name).is_some() {
            self.grants
                .delete(&rbac("ClusterRole", &name, None))
                .await?;
        }
        self.revoke_registration(cluster).await
    }

    /// Takes the rights of registration in the mailbox.
    pub(super) async fn revoke_registration(&self, cluster: &ClusterName) -> Result<(), Trouble> {
        let mailbox = names::mailbox(cluster);
        let name = names::registration_role_binding(cluster);
        if self
            .hub
            .observed
            .role_bindings
            .get_in(mailbox, &name)
            .is_none()
        {
            return Ok(());
        }
        self.grants
            .delete(&rbac("RoleBinding", &name, Some(mailbox)))
            .await
    }

    /// Takes the right to works, if no work needs it any more; returns whether it is gone.
    pub(super) async fn revoke_works(&self, cluster: &ClusterName) -> Result<bool, Trouble> {
        let mailbox = names::mailbox(cluster);
        let name = names::work_role_binding(cluster);
        let Some(binding) = self.hub.observed.role_bindings.get_in(mailbox, &name) else {
            return Ok(true);
        };
        if self.has_works(cluster).await? {
            return Ok(false);
        }
        let mine = finalizers::MANIFEST_WORK_CLEANUP;
        let rest: Vec<&String> = binding.finalizers().iter().filter(|f| *f != mine).collect();
        if rest.len() != binding.finalizers().len() {
            let patch = Patch::Merge(json!({"metadata": {"finalizers": rest}}));
            let api = Api::<RoleBinding>::namespaced(self.hub.client.clone(), mailbox);
            match api
                .patch_metadata(&name, &PatchParams::default(), &patch)
                .await
            {
                Ok(_) => {}
                Err(error) => match Trouble::of(&error) {
                    Trouble::NotFound(_) => {}
                    trouble => return Err(trouble),
                },
            }
        }
        self.grants
            .delete(&rbac("RoleBinding", &name, Some(mailbox)))
            .await?;
        Ok(true)
    }

    async fn has_works(&self, cluster: &ClusterName) -> Result<bool, Trouble> {
        let mailbox = names::mailbox(cluster);
        let api = Api::<ManifestWork>::namespaced(self.hub.client.clone(), mailbox);
        let works = api.list_metadata(&ListParams::default().limit(1)).await;
        let works = works.map_err(|error| Trouble::of(&error))?;
        Ok(!works.items.is_empty())
    }

    /// Deletes what the mailbox still holds; says how far that has come, and nothing when the
    /// mailbox is empty.
    pub(super) async fn empty_mailbox(
        &self,
        cluster: &ClusterName,
    ) -> Result<Option<Remaining>, Trouble> {
        for resource in &self.hub.settings.mailbox_resources {
            let survey = self.survey(cluster, resource).await?;
            if let Some(remaining) = survey.decide(resource) {
                let mailbox = names::mailbox(cluster);
                let api: Api<DynamicObject> =
                    Api::namespaced_with(self.hub.client.clone(), mailbox, &resource.0);
                for name in &remaining.delete {
                    delete(&api, name).await?;
                }
                return Ok(Some(remaining));
            }
        }
        Ok(None)
    }

    async fn survey(&self, cluster: &ClusterName, resource: &Resource) -> Result<Survey, Trouble> {
        let mailbox = names::mailbox(cluster);
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.hub.client.clone(), mailbox, &resource.0);
        let mut survey = Survey::default();
        let mut parameters = ListParams::default().limit(PAGE_OBJECTS);
        for _ in 0..PAGES_MAX {
            let list = match api.list_metadata(&parameters).await {
                Ok(list) => list,
                Err(error) => match Trouble::of(&error) {
                    // A kind that is not installed has no objects.
                    Trouble::NotFound(_) => break,
                    trouble => return Err(trouble),
                },
            };
            let objects = list.items.into_iter().map(|object| object.metadata);
            survey.add(&objects.collect::<Vec<_>>());
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => break,
            }
        }
        Ok(survey)
    }

    /// Takes away what ties the name to its agent: the pin, and the requests whose approval could
    /// tie it again.
    pub(super) async fn free_name(&self, cluster: &ClusterName) -> Result<(), Trouble> {
        let api = Api::<CertificateSigningRequest>::all(self.hub.client.clone());
        for request in self.hub.observed.requests_of(cluster.as_str()) {
            delete(&api, &request.name_any()).await?;
        }
        self.grants.unpin(cluster).await
    }
}

async fn delete<K>(api: &Api<K>, name: &str) -> Result<(), Trouble>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    match api.delete(name, &Default::default()).await {
        Ok(_) => Ok(()),
        Err(error) => match Trouble::of(&error) {
            Trouble::NotFound(_) => Ok(()),
            trouble => Err(trouble),
        },
    }
}

fn rbac(kind: &str, name: &str, namespace: Option<&str>) -> Value {
    let mut object = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
    });
    if let Some(namespace) = namespace {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object
}
