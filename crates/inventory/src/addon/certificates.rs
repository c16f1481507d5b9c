//! Writes what [`requests`](super::requests) decides.

use super::Manager;
use super::chosen;
use super::requests;
use super::requests::Purpose;
use super::requests::Verdict;
use hyades_api::addon::AddOnTemplateSpec;
use hyades_api::addon::CustomSignerRegistration;
use hyades_pki::Authority;
use hyades_runtime::Trouble;
use hyades_runtime::events::EventType;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequestCondition;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::PostParams;
use jiff::Timestamp;
use std::rc::Rc;
use std::time::Duration;

/// Pause before a request is looked at again that misses a right or an authority, which an
/// administrator must supply first.
const MISSING_PAUSE: Duration = Duration::from_secs(30);

/// Pause before a request is looked at again whose add-on has no template yet.
const EARLY_PAUSE: Duration = Duration::from_secs(5);

/// How old a request is looked at so often: an add-on is installed within a minute. Later a template
/// may still come, but nobody waits for it by the second.
const EARLY_SECONDS: i64 = 60;

/// Pause before a request is looked at again that has waited longer than that.
const LATE_PAUSE: Duration = Duration::from_secs(300);

type Again = Result<Option<Duration>, Trouble>;

pub(super) struct Reconciler {
    manager: Rc<Manager>,
}

impl Reconciler {
    pub(super) fn new(manager: Rc<Manager>) -> Self {
        Self { manager }
    }

    pub(super) async fn reconcile(&self, name: String) -> Again {
        let observed = &self.manager.observed;
        let Some(request) = observed.requests.get(&name) else {
            return Ok(None);
        };
        let Some(purpose) = requests::purpose(&request) else {
            return Ok(None);
        };
        let template = match self.template(&request, &purpose) {
            Ok(Some(template)) => template,
            Ok(None) => return Ok(None),
            Err(again) => return Ok(Some(again)),
        };
        let result = match requests::decide(&request, &purpose, &template) {
            Verdict::Leave(why) => {
                tracing::debug!("request {name} is left alone: {why}");
                return Ok(None);
            }
            Verdict::Approve => self.approve(&request).await,
            Verdict::Sign(signer) => self.sign(&request, &signer).await,
        };
        match result {
            Ok(()) => Ok(None),
            // Somebody else decided meanwhile, or the request is gone: its event tells.
            Err(Failure::Server(Trouble::Conflict(_) | Trouble::NotFound(_))) => Ok(None),
            Err(Failure::Server(Trouble::Forbidden(detail))) => {
                let signer = &request.spec.signer_name;
                let why = format!(
                    "{detail}; grant the hub's account the verbs approve and sign on signers \
                     {signer:?}"
                );
                self.tell(&request, &purpose, &why).await;
                Ok(Some(MISSING_PAUSE))
            }
            Err(Failure::Server(trouble)) => Err(trouble),
            Err(Failure::Authority(why)) => {
                self.tell(&request, &purpose, &why).await;
                Ok(Some(MISSING_PAUSE))
            }
        }
    }

    /// The template of the add-on in the WEC. `Err` says when there may be one; nothing if the
    /// add-on is not this manager's.
    fn template(
        &self,
        request: &CertificateSigningRequest,
        purpose: &Purpose,
    ) -> Result<Option<AddOnTemplateSpec>, Duration> {
        let pause = pause_for(request, Timestamp::now());
        let observed = &self.manager.observed;
        let (cluster, addon) = (purpose.cluster.as_str(), purpose.addon.as_str());
        let Some(object) = observed.enabled.get_in(cluster, addon) else {
            return Err(pause);
        };
        if object.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let offered = observed.offered.get(addon);
        let find = |name: &str| observed.templates.get(name);
        chosen::template(offered.as_deref(), &object, find)
            .found()
            .map(Some)
            .ok_or(pause)
    }

    async fn approve(&self, request: &CertificateSigningRequest) -> Result<(), Failure> {
        let mut decided = request.clone();
        let now = Time(Timestamp::now());
        let status = decided.status.get_or_insert_default();
        let conditions = status.conditions.get_or_insert_default();
        conditions.push(CertificateSigningRequestCondition {
            type_: "Approved".to_owned(),
            status: "True".to_owned(),
            reason: Some(requests::APPROVED_REASON.to_owned()),
            message: Some(requests::APPROVED_MESSAGE.to_owned()),
            last_update_time: Some(now.clone()),
            last_transition_time: Some(now),
        });
        let api = Api::<CertificateSigningRequest>::all(self.manager.client.clone());
        let name = request.name_any();
        api.replace_subresource("approval", &name, &PostParams::default(), &decided)
            .await
            .map_err(|error| Failure::Server(Trouble::of(&error)))?;
        tracing::info!("request {name} of an add-on is approved");
        Ok(())
    }

    async fn sign(
        &self,
        request: &CertificateSigningRequest,
        signer: &CustomSignerRegistration,
    ) -> Result<(), Failure> {
        let authority = self.authority(signer).await?;
        let pem =
            requests::sign(request, &authority, Timestamp::now()).map_err(Failure::Authority)?;
        let mut signed = request.clone();
        let status = signed.status.get_or_insert_default();
        status.certificate = Some(ByteString(pem.into_bytes()));
        let api = Api::<CertificateSigningRequest>::all(self.manager.client.clone());
        let name = request.name_any();
        api.replace_status(&name, &PostParams::default(), &signed)
            .await
            .map_err(|error| Failure::Server(Trouble::of(&error)))?;
        tracing::info!("request {name} of an add-on is signed");
        Ok(())
    }

    async fn authority(&self, signer: &CustomSignerRegistration) -> Result<Authority, Failure> {
        let namespace = match signer.signing_ca.namespace.as_str() {
            "" => self.manager.namespace.as_str(),
            stated => stated,
        };
        let name = &signer.signing_ca.name;
        let secret = format!(
            "Secret {namespace}/{name} of signer {:?}",
            signer.signer_name
        );
        let api = Api::<Secret>::namespaced(self.manager.client.clone(), namespace);
        let found = api.get(name).await.map_err(|error| {
            let trouble = Trouble::of(&error);
            Failure::Authority(match trouble {
                Trouble::Forbidden(detail) => {
                    format!("{detail}; grant the hub's account the verb get on {secret}")
                }
                Trouble::NotFound(_) => format!(
                    "{secret} does not exist; create it with the authority's tls.crt and tls.key"
                ),
                other => other.to_string(),
            })
        })?;
        let data = found.data.unwrap_or_default();
        let text = |key: &str| {
            let bytes = data.get(key).map(|bytes| bytes.0.as_slice());
            String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
        };
        // The reason names what is wrong with the key or certificate and never shows either.
        Authority::from_pem(&text("tls.crt"), &text("tls.key"))
            .map_err(|error| Failure::Authority(format!("{secret} cannot be used: {error}")))
    }

    async fn tell(&self, request: &CertificateSigningRequest, purpose: &Purpose, why: &str) {
        let name = request.name_any();
        tracing::warn!("request {name} of add-on {}: {why}", purpose.addon);
        let mut regarding = request.object_ref(&());
        regarding.namespace = Some(purpose.cluster.to_string());
        self.manager
            .events
            .record(
                purpose.cluster.as_str(),
                &regarding,
                EventType::Warning,
                "AddOnCertificateNotIssued",
                why,
            )
            .await;
    }
}

/// When to look again at a request whose add-on has no template yet.
fn pause_for(request: &CertificateSigningRequest, now: Timestamp) -> Duration {
    let created = request.creation_timestamp().map(|time| time.0);
    let is_late = created.is_some_and(|at| now.as_second() - at.as_second() > EARLY_SECONDS);
    match is_late {
        true => LATE_PAUSE,
        false => EARLY_PAUSE,
    }
}

enum Failure {
    Server(Trouble),
    Authority(String),
}
