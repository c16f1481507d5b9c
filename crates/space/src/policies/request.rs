//! What expressions see of a request: `request`, and the rights that `authorizer` tells of.

use std::sync::Arc;

use hyades_schema::cel::Authorizer;
use hyades_schema::cel::Inquiry;
use hyades_schema::cel::Subject;
use hyades_schema::cel::Verdict;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::Write;
use crate::guard::Guard;
use crate::guard::Operation;
use crate::identity::Attributes;
use crate::identity::UserInfo;
use crate::registry::Resource;

/// The `request` variable: an `AdmissionRequest` without its objects. What is empty is absent.
pub(super) fn variable(write: &Write<'_>, resource: &Resource) -> Value {
    let place = write.place;
    let options = match write.operation {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
    };
    let own = &place.resource;
    let mut request = json!({
        "kind": kind(resource, &place.subresource),
        "resource": gvr(resource),
        "requestKind": kind(own, &place.subresource),
        "requestResource": gvr(own),
        "operation": write.operation_name(),
        "userInfo": user(&write.actor.user),
        "dryRun": write.actor.options.dry_run,
        "options": {"apiVersion": "meta.k8s.io/v1", "kind": options},
    });
    for (field, value) in [
        ("name", &place.name),
        ("namespace", &place.namespace),
        ("subResource", &place.subresource),
        ("requestSubResource", &place.subresource),
    ] {
        if !value.is_empty() {
            request[field] = value.as_str().into();
        }
    }
    request
}

fn gvr(resource: &Resource) -> Value {
    let gvr = &resource.gvr;
    json!({"group": gvr.group, "version": gvr.version, "resource": gvr.resource})
}

fn kind(resource: &Resource, subresource: &str) -> Value {
    match resource.subresource(subresource) {
        Some(body) => json!({"group": body.group, "version": body.version, "kind": body.kind}),
        None => json!({
            "group": resource.gvr.group, "version": resource.gvr.version, "kind": resource.kind,
        }),
    }
}

fn user(user: &UserInfo) -> Value {
    let mut info = Map::new();
    info.insert("username".to_owned(), user.name.as_str().into());
    if !user.uid.is_empty() {
        info.insert("uid".to_owned(), user.uid.as_str().into());
    }
    if !user.groups.is_empty() {
        info.insert("groups".to_owned(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        info.insert("extra".to_owned(), json!(user.extra));
    }
    Value::Object(info)
}

/// Answers what the requester, or a service account, may do.
pub(super) struct Rights {
    guard: Arc<dyn Guard>,
    requester: UserInfo,
}

impl Rights {
    /// What `authorizer` is for a write.
    pub(super) fn inquiry(write: &Write<'_>) -> Inquiry {
        Inquiry::new(Arc::new(Rights {
            guard: Arc::clone(&write.core.guard),
            requester: write.actor.user.clone(),
        }))
    }

    /// What `authorizer.requestResource` is for a write.
    pub(super) fn about_request(write: &Write<'_>) -> Inquiry {
        let place = write.place;
        let gvr = &place.resource.gvr;
        let mut inquiry = Rights::inquiry(write).about(&gvr.group, &gvr.resource);
        inquiry.subresource.clone_from(&place.subresource);
        inquiry.namespace.clone_from(&place.namespace);
        inquiry.name.clone_from(&place.name);
        inquiry
    }
}

impl Authorizer for Rights {
    fn decide(&self, inquiry: &Inquiry, verb: &str) -> Verdict {
        let verb = verb.to_owned();
        let asked = if inquiry.is_path() {
            Attributes::Path {
                verb,
                path: inquiry.path.clone(),
            }
        } else {
            Attributes::Resource {
                verb,
                group: inquiry.group.clone(),
                version: "*".to_owned(),
                resource: inquiry.resource.clone(),
                subresource: inquiry.subresource.clone(),
                namespace: inquiry.namespace.clone(),
                name: inquiry.name.clone(),
            }
        };
        let answer = match &inquiry.subject {
            Subject::Requester => self.guard.authorize(&self.requester, &asked),
            Subject::ServiceAccount { namespace, name } => {
                let account = UserInfo::service_account(namespace, name);
                self.guard.authorize(&account, &asked)
            }
        };
        Verdict {
            allowed: answer.is_ok(),
            ..Verdict::default()
        }
    }
}
