//! Certificate signing requests for add-ons' agents: which are approved, and which signed here.
//!
//! Upstream compares the sender by the start of his name and the organizations by containment, and
//! approves whatever is for a signer of the template's own. Here everything is compared whole, and
//! with what the template asks for: not with the ManagedClusterAddOn's status, which the agent
//! itself may write. A request that does not fit is left to people.

use hyades_api::addon::AddOnTemplateSpec;
use hyades_api::addon::CustomSignerRegistration;
use hyades_api::addon::Subject;
use hyades_api::addon::identity;
use hyades_api::addon::identity::AUTHENTICATED_GROUP;
use hyades_api::addon::identity::AddOnName;
use hyades_api::identity::AgentIdentity;
use hyades_api::identity::ClusterName;
use hyades_api::names::CLIENT_SIGNER;
use hyades_api::names::labels;
use hyades_pki::Authority;
use hyades_pki::CertificateRequest;
use hyades_pki::SignOptions;
use hyades_pki::Usage;
use hyades_pki::Validity;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::kube::ResourceExt;
use jiff::Timestamp;
use std::collections::BTreeSet;

/// How long certificates of a template's own signer last, in seconds: a day, as upstream has it.
const LIFETIME_SECONDS: i64 = 24 * 3600;

/// Start of the names of requests for add-ons.
const NAME_PREFIX: &str = "addon";

/// Reason and message of approvals.
pub(super) const APPROVED_REASON: &str = "AutoApproved";
pub(super) const APPROVED_MESSAGE: &str = "Auto approving add-on agent certificate.";

/// Whom a request says it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Purpose {
    pub(super) cluster: ClusterName,
    pub(super) addon: AddOnName,
}

/// Reads the labels of a request; nothing if they name no WEC and add-on, or if it is not the WEC's
/// agent that sent it.
pub(super) fn purpose(request: &CertificateSigningRequest) -> Option<Purpose> {
    let label = |key: &str| request.labels().get(key).map(String::as_str);
    let cluster: ClusterName = label(labels::CLUSTER_NAME)?.parse().ok()?;
    let sender = request.spec.username.as_deref().unwrap_or_default();
    let sender = AgentIdentity::from_common_name(sender).ok()?;
    if sender.cluster != cluster {
        return None;
    }
    Some(Purpose {
        cluster,
        addon: label(labels::ADDON_NAME)?.parse().ok()?,
    })
}

/// What to do about a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Leave it; the text says why.
    Leave(&'static str),
    /// Approve it.
    Approve,
    /// It is approved; sign it with this signer's authority.
    Sign(CustomSignerRegistration),
}

/// Decides about a request of one WEC for one add-on, whose template is this.
pub(super) fn decide(
    request: &CertificateSigningRequest,
    purpose: &Purpose,
    template: &AddOnTemplateSpec,
) -> Verdict {
    let signer = request.spec.signer_name.as_str();
    let custom = template
        .registration
        .iter()
        .filter_map(|registration| registration.custom_signer.as_ref())
        .find(|custom| custom.signer_name == signer);
    let is = |type_: &str| {
        let conditions = request.status.iter().flat_map(|status| &status.conditions);
        conditions
            .flatten()
            .any(|condition| condition.type_ == type_)
    };
    if is("Denied") || is("Failed") {
        return Verdict::Leave("it is denied or failed");
    }
    if let Err(why) = fits(request, purpose, template) {
        return Verdict::Leave(why);
    }
    if !is("Approved") {
        return Verdict::Approve;
    }
    let certificate = request.status.as_ref();
    let certificate = certificate.and_then(|status| status.certificate.as_ref());
    match custom {
        Some(custom) if certificate.is_none() && signer != CLIENT_SIGNER => {
            Verdict::Sign(custom.clone())
        }
        _ => Verdict::Leave("nothing is left to do"),
    }
}

/// Whether a request is exactly what the template asks for.
fn fits(
    request: &CertificateSigningRequest,
    purpose: &Purpose,
    template: &AddOnTemplateSpec,
) -> Result<(), &'static str> {
    if !request.name_any().starts_with(NAME_PREFIX) {
        return Err("its name does not begin with addon");
    }
    let all = super::registration::registrations(template, &purpose.cluster, &purpose.addon);
    let registration = all
        .iter()
        .find(|registration| registration.signer_name == request.spec.signer_name)
        .ok_or("the add-on's template has no such signer")?;
    let asked = parse(request).ok_or("it is no certificate request")?;
    if !is_for(&asked, &registration.subject) {
        return Err("its subject is not the one of the add-on's template");
    }
    let dns_name = identity::dns_name(&purpose.addon);
    let names = asked.dns_names();
    let only_ours = names.iter().all(|name| *name == dns_name);
    if asked.has_sans() && (names.is_empty() || !only_ours) {
        return Err("it asks for other names than the add-on's");
    }
    Ok(())
}

fn parse(request: &CertificateSigningRequest) -> Option<CertificateRequest> {
    let pem = std::str::from_utf8(&request.spec.request.0).ok()?;
    CertificateRequest::parse_pem(pem).ok()
}

fn is_for(asked: &CertificateRequest, wanted: &Subject) -> bool {
    let set = |values: &[String]| -> BTreeSet<String> { values.iter().cloned().collect() };
    let stated = asked.subject();
    let mut organizations = set(&stated.organizations);
    let groups = set(&wanted.groups);
    if !groups.contains(AUTHENTICATED_GROUP) {
        organizations.remove(AUTHENTICATED_GROUP);
    }
    stated.common_name == wanted.user
        && organizations == groups
        && set(&stated.organizational_units) == set(&wanted.organization_unit)
}

/// Signs a request that was decided upon.
///
/// # Errors
///
/// Says what is wrong with the authority or the request.
pub(super) fn sign(
    request: &CertificateSigningRequest,
    authority: &Authority,
    now: Timestamp,
) -> Result<String, String> {
    let asked = parse(request).ok_or("it is no certificate request")?;
    let end = authority.certificate().not_after();
    let valid = Validity::starting(now, LIFETIME_SECONDS);
    if end <= now {
        return Err(format!("the authority expired at {end}"));
    }
    let options = SignOptions {
        not_before: valid.not_before,
        not_after: valid.not_after.min(end),
        usages: vec![Usage::ServerAuth, Usage::ClientAuth],
    };
    let signed = authority.sign_request_with_names(&asked, &options);
    signed
        .map(|certificate| certificate.to_pem())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
