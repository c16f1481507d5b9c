//! What is asked of the API server, and told, on the way of a request.

use super::Approver;
use super::observed;
use super::seen::SeenRequest;
use hyades_api::names;
use hyades_api::names::namespaces;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::events::EventType;
use hyades_runtime::k8s_openapi::api::authorization::v1::ResourceAttributes;
use hyades_runtime::k8s_openapi::api::authorization::v1::SubjectAccessReview;
use hyades_runtime::k8s_openapi::api::authorization::v1::SubjectAccessReviewSpec;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequestCondition;
use hyades_runtime::k8s_openapi::api::core::v1::ObjectReference;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use jiff::Timestamp;
use serde_json::json;
use std::time::Instant;

impl Approver {
    /// Deletes a request.
    pub(super) async fn delete(&self, name: &str) -> Result<(), Trouble> {
        let api = Api::<CertificateSigningRequest>::all(self.hub.client.clone());
        let deleted = api.delete(name, &Default::default()).await;
        deleted.map(|_| ()).map_err(|error| Trouble::of(&error))
    }

    /// The whole request, which is not kept.
    pub(super) async fn live(&self, name: &str) -> Result<CertificateSigningRequest, Trouble> {
        let api = Api::<CertificateSigningRequest>::all(self.hub.client.clone());
        api.get(name).await.map_err(|error| Trouble::of(&error))
    }

    /// Writes a decision, unless there is one already: the API server refuses it when the request
    /// is no longer the one that was looked at.
    pub(super) async fn conclude(
        &self,
        object: &SeenRequest,
        type_: &str,
        reason: &str,
        message: &str,
    ) -> Result<(), Trouble> {
        if !object.is_pending() {
            return Err(Trouble::Conflict("somebody decided already".to_owned()));
        }
        let now = Time(Timestamp::now());
        let decision = CertificateSigningRequestCondition {
            type_: type_.to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_update_time: Some(now.clone()),
            last_transition_time: Some(now),
        };
        // A pending request has no conditions that this could overwrite.
        let changes = json!({"status": {"conditions": [decision]}});
        let api = Api::<CertificateSigningRequest>::all(self.hub.client.clone());
        let patch = Patch::Merge(apply::guarded_patch(object, changes));
        let parameters = PatchParams::default();
        api.patch_subresource("approval", &object.name_any(), &parameters, &patch)
            .await
            .map(|_| ())
            .map_err(|error| Trouble::of(&error))
    }

    /// Asks the API server whether the sender of a request may renew certificates.
    pub(super) async fn may_renew(
        &self,
        object: &CertificateSigningRequest,
    ) -> Result<bool, Trouble> {
        let spec = &object.spec;
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: spec.username.clone(),
                uid: spec.uid.clone(),
                groups: spec.groups.clone(),
                extra: spec.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    group: Some(names::REGISTER_GROUP.to_owned()),
                    resource: Some("managedclusters".to_owned()),
                    subresource: Some("clientcertificates".to_owned()),
                    verb: Some("renew".to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api = Api::<SubjectAccessReview>::all(self.hub.client.clone());
        let answer = api.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| Trouble::of(&error))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// Tells of an approval, and by what right it is one.
    pub(super) async fn tell_approval(&self, object: &SeenRequest, event: &str, by: &str) {
        let name = object.name_any();
        let note =
            format!("managed cluster csr {name:?} is auto approved by hub csr controller{by}");
        tracing::info!("request {name} is approved{by}");
        self.tell(object, EventType::Normal, event, &note).await;
    }

    /// Writes an Event into the WEC's mailbox, or into the hub's namespace while it has none. Of
    /// warnings there would be as many as somebody sends requests: those beyond a calm pace are
    /// left out.
    pub(super) async fn tell(
        &self,
        object: &SeenRequest,
        kind: EventType,
        reason: &str,
        note: &str,
    ) {
        let cluster = observed::cluster_of(object).unwrap_or_default();
        let namespace = match self.hub.observed.mailboxes.get(cluster) {
            Some(_) => cluster,
            None => namespaces::HUB,
        };
        if let EventType::Warning = kind {
            let now = Instant::now();
            if self.warnings.wait(namespace, now).is_some() {
                tracing::debug!("request {}: {note}", object.name_any());
                return;
            }
            self.warnings.spend(namespace, now);
        }
        let regarding = ObjectReference {
            api_version: Some("certificates.k8s.io/v1".to_owned()),
            kind: Some("CertificateSigningRequest".to_owned()),
            name: Some(object.name_any()),
            uid: object.uid(),
            ..ObjectReference::default()
        };
        self.hub
            .events
            .record(namespace, &regarding, kind, reason, note)
            .await;
    }
}
