//! What a writer must be allowed beyond the verb on the object: granting permissions, approving and
//! signing certificate requests.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyades_pki::CertificateRequest;
use serde_json::Value;

use super::authn::expired;
use super::rbac::Authoriser;
use super::rbac::PRIVILEGED_GROUP;
use super::rbac::escalation::Escalation;
use super::rbac::index::RoleRef;
use super::rbac::rule::PolicyRule;
use crate::guard::Operation;
use crate::guard::Write;
use crate::identity::Attributes;
use crate::identity::UserInfo;
use crate::names::Gvr;
use crate::status::Qualified;
use crate::status::Status;

/// The signer whose certificates authenticate clients of this space.
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// Judges one write by its content.
///
/// # Errors
/// 403 in the API server's words; 404 for a binding to a role that does not exist.
pub fn admit(authoriser: &Authoriser, user: &UserInfo, write: &Write<'_>) -> Result<(), Status> {
    if write.operation == Operation::Delete {
        return Ok(());
    }
    let Some(new) = write.new else {
        return Ok(());
    };
    let is = |resource: &Gvr| {
        write.resource.group == resource.group && write.resource.resource == resource.resource
    };
    if is(&Gvr::ROLES) || is(&Gvr::CLUSTER_ROLES) {
        role(authoriser, user, write, new)
    } else if is(&Gvr::ROLE_BINDINGS) || is(&Gvr::CLUSTER_ROLE_BINDINGS) {
        binding(authoriser, user, write, new)
    } else if is(&Gvr::CERTIFICATE_SIGNING_REQUESTS) {
        certificate_request(authoriser, user, write, new)
    } else {
        Ok(())
    }
}

fn role(
    authoriser: &Authoriser,
    user: &UserInfo,
    write: &Write<'_>,
    new: &Value,
) -> Result<(), Status> {
    if is_collector_upkeep(write.old, new) {
        return Ok(());
    }
    let rules = PolicyRule::list_from_json(&new["rules"]);
    authoriser
        .confirm_role(user, write.namespace, write.name, &rules)
        .map_err(|refused| refusal(write, refused))?;
    let aggregates = |object: &Value| object["aggregationRule"].is_object();
    if aggregates(new) || write.old.is_some_and(aggregates) {
        authoriser
            .confirm_aggregation(user, write.name)
            .map_err(|refused| refusal(write, refused))?;
    }
    Ok(())
}

fn binding(
    authoriser: &Authoriser,
    user: &UserInfo,
    write: &Write<'_>,
    new: &Value,
) -> Result<(), Status> {
    if is_collector_upkeep(write.old, new) {
        return Ok(());
    }
    // A binding without a readable role is refused by validation.
    let Some(role) = RoleRef::from_json(&new["roleRef"]) else {
        return Ok(());
    };
    authoriser
        .confirm_binding(user, write.namespace, &role)
        .map_err(|refused| refusal(write, refused))
}

fn refusal(write: &Write<'_>, refused: Escalation) -> Status {
    match &refused {
        Escalation::Lacking(why) => Status::forbidden(write.resource.qualified(), write.name, why),
        Escalation::NoSuchRole(role) => Status::not_found(
            Qualified {
                group: super::rbac::GROUP,
                name: role.kind.singular(),
            },
            &role.name,
        ),
    }
}

/// Whether an update only touches what the garbage collector touches: it may always do that,
/// because it grants nothing.
fn is_collector_upkeep(old: Option<&Value>, new: &Value) -> bool {
    let Some(old) = old else {
        return false;
    };
    let without_upkeep = |object: &Value| {
        let mut object = object.clone();
        if let Some(meta) = object["metadata"].as_object_mut() {
            for field in [
                "ownerReferences",
                "finalizers",
                "managedFields",
                "resourceVersion",
            ] {
                meta.remove(field);
            }
        }
        object
    };
    old["rules"] == new["rules"]
        && old["subjects"] == new["subjects"]
        && without_upkeep(old) == without_upkeep(new)
}

fn certificate_request(
    authoriser: &Authoriser,
    user: &UserInfo,
    write: &Write<'_>,
    new: &Value,
) -> Result<(), Status> {
    let signer = new["spec"]["signerName"].as_str().unwrap_or_default();
    let forbidden = |why: &str| {
        Err(Status::forbidden(
            write.resource.qualified(),
            write.name,
            why,
        ))
    };
    let verb = match (write.operation, write.subresource) {
        (Operation::Create, "") => {
            let asked = parsed(new);
            if let Err(why) = expired::may_ask(user, asked.as_ref()) {
                return forbidden(&why);
            }
            return if signer == CLIENT_SIGNER && asked.is_some_and(|it| is_for_masters(&it)) {
                forbidden(&format!(
                    "use of {CLIENT_SIGNER} signer with system:masters group is not allowed"
                ))
            } else {
                Ok(())
            };
        }
        (Operation::Update, "approval") => "approve",
        (Operation::Update, "status") if signs(write.old, new) => "sign",
        _ => return Ok(()),
    };
    if may_for_signer(authoriser, user, verb, signer) {
        Ok(())
    } else {
        forbidden(&format!(
            "user not permitted to {verb} requests with signerName {signer:?}"
        ))
    }
}

/// What a request asks a certificate for; nothing if it cannot be read.
fn parsed(request: &Value) -> Option<CertificateRequest> {
    let text = request["spec"]["request"].as_str()?;
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    CertificateRequest::parse_pem(std::str::from_utf8(&bytes).ok()?).ok()
}

fn is_for_masters(request: &CertificateRequest) -> bool {
    let groups = &request.subject().organizations;
    groups.iter().any(|group| group == PRIVILEGED_GROUP)
}

/// Whether a status write does what only a signer may: set the certificate or declare failure.
fn signs(old: Option<&Value>, new: &Value) -> bool {
    let failed = |request: &Value| -> Option<Value> {
        request["status"]["conditions"]
            .as_array()?
            .iter()
            .find(|condition| condition["type"] == "Failed")
            .cloned()
    };
    let nothing = Value::Null;
    let old = old.unwrap_or(&nothing);
    old["status"]["certificate"] != new["status"]["certificate"] || failed(old) != failed(new)
}

/// Permission on a signer, by its name or by all signers of its domain (`kubernetes.io/*`).
fn may_for_signer(authoriser: &Authoriser, user: &UserInfo, verb: &str, signer: &str) -> bool {
    let domain = signer.split_once('/').map_or(signer, |(domain, _)| domain);
    [signer.to_owned(), format!("{domain}/*")]
        .into_iter()
        .any(|name| {
            authoriser
                .decide(
                    user,
                    &Attributes::Resource {
                        verb: verb.to_owned(),
                        group: "certificates.k8s.io".to_owned(),
                        version: "*".to_owned(),
                        resource: "signers".to_owned(),
                        subresource: String::new(),
                        namespace: String::new(),
                        name,
                    },
                )
                .is_allowed()
        })
}
