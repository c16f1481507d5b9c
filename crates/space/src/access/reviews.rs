//! Reviews: the questions of authentication and authorisation, asked through the API.
//!
//! A review is created and never stored; the answer is its status.

use jiff::Timestamp;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::Access;
use super::authn::authenticated;
use super::invalid_value;
use super::rbac::Decision;
use super::rbac::joined_errors;
use super::rbac::rule::PolicyRule;
use crate::identity::Attributes;
use crate::identity::UserInfo;
use crate::names::Gvr;
use crate::status::Cause;
use crate::status::Qualified;
use crate::status::Status;

/// What access reviews are named in errors: upstream validates them before it knows their kind.
const UNNAMED_REVIEW: Qualified<'static> = Qualified {
    group: "authorization.k8s.io",
    name: "",
};

impl Access {
    /// Answers a review: the body with its status.
    ///
    /// # Errors
    /// 422 or 400 for an incomplete review, 404 for a resource that is no review.
    pub fn answer_review(
        &self,
        resource: &Gvr,
        namespace: &str,
        user: &UserInfo,
        body: Value,
        now: Timestamp,
    ) -> Result<Value, Status> {
        match resource.resource.as_ref() {
            "selfsubjectaccessreviews" => self.access_review(user.clone(), body, &[]),
            "subjectaccessreviews" => {
                let subject = subject(&body["spec"]);
                let problems = subject_problems(&subject);
                self.access_review(subject, body, &problems)
            }
            "localsubjectaccessreviews" => self.local_access_review(namespace, body),
            "selfsubjectrulesreviews" => self.rules_review(user, body),
            "selfsubjectreviews" => Ok(self_review(user, body, now)),
            "tokenreviews" => self.token_review(body, now),
            _ => Err(Status::no_such_resource()),
        }
    }

    fn access_review(
        &self,
        subject: UserInfo,
        mut body: Value,
        problems: &[Cause],
    ) -> Result<Value, Status> {
        let asked = attributes(&body["spec"]);
        let mut causes: Vec<Cause> = asked.as_ref().err().cloned().into_iter().collect();
        causes.extend(problems.iter().cloned());
        match asked {
            Ok(asked) if causes.is_empty() => {
                body["status"] = decision_status(self.authoriser.decide(&subject, &asked));
                Ok(body)
            }
            _ => Err(Status::invalid(UNNAMED_REVIEW, "", causes)),
        }
    }

    fn local_access_review(&self, namespace: &str, body: Value) -> Result<Value, Status> {
        let spec = &body["spec"];
        let subject = subject(spec);
        let mut problems = subject_problems(&subject);
        let of = spec["resourceAttributes"]["namespace"]
            .as_str()
            .unwrap_or_default();
        if !spec["nonResourceAttributes"].is_null() {
            problems.push(invalid_value(
                "spec.nonResourceAttributes",
                &path_attributes_text(&spec["nonResourceAttributes"]),
                "disallowed on this kind of request",
            ));
        } else if of != namespace {
            return Err(Status::bad_request(format!(
                "spec.resourceAttributes.namespace must match namespace: {namespace}"
            )));
        }
        self.access_review(subject, body, &problems)
    }

    fn rules_review(&self, user: &UserInfo, mut body: Value) -> Result<Value, Status> {
        let namespace = body["spec"]["namespace"].as_str().unwrap_or_default();
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let held = self.authoriser.rules_of(user, namespace);
        let pick = |wanted: fn(&PolicyRule) -> bool, fields: &[&str]| -> Vec<Value> {
            held.rules
                .iter()
                .filter(|rule| wanted(rule))
                .map(|rule| only(rule.to_json(), fields))
                .collect()
        };
        let mut status = json!({
            "resourceRules": pick(
                |rule| !rule.resources.is_empty(),
                &["verbs", "apiGroups", "resources", "resourceNames"],
            ),
            "nonResourceRules": pick(
                |rule| !rule.non_resource_urls.is_empty(),
                &["verbs", "nonResourceURLs"],
            ),
            "incomplete": !held.errors.is_empty(),
        });
        if !held.errors.is_empty() {
            status["evaluationError"] = joined_errors(&held.errors).into();
        }
        body["spec"] = json!({});
        body["status"] = status;
        Ok(body)
    }

    fn token_review(&self, mut body: Value, now: Timestamp) -> Result<Value, Status> {
        let token = body["spec"]["token"].as_str().unwrap_or_default();
        if token.is_empty() {
            return Err(Status::bad_request(
                "token is required for TokenReview in authentication",
            ));
        }
        let audiences = strings(&body["spec"]["audiences"]);
        body["status"] = match self
            .authenticator
            .token(&self.store, token, &audiences, now)
        {
            Err(refused) => json!({"user": {}, "error": refused.to_string()}),
            Ok(verified) => {
                let wanted = match audiences.is_empty() {
                    true => vec![self.authenticator.issuer().to_owned()],
                    false => audiences,
                };
                let common: Vec<String> = verified
                    .audiences
                    .iter()
                    .filter(|audience| wanted.contains(audience))
                    .cloned()
                    .collect();
                json!({
                    "authenticated": true,
                    "user": user_json(&authenticated(verified.user)),
                    "audiences": common,
                })
            }
        };
        Ok(body)
    }
}

fn self_review(user: &UserInfo, mut body: Value, now: Timestamp) -> Value {
    if !body["metadata"].is_object() {
        body["metadata"] = json!({});
    }
    let created = Timestamp::from_second(now.as_second()).unwrap_or(now);
    body["metadata"]["creationTimestamp"] = created.to_string().into();
    body["status"] = json!({"userInfo": user_json(user)});
    body
}

/// The status of an access review.
fn decision_status(decision: Decision) -> Value {
    let allowed = decision.is_allowed();
    let (Decision::Allowed { reason } | Decision::Denied { reason }) = decision;
    let mut status = json!({"allowed": allowed});
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    status
}

/// Reads what a review asks about.
fn attributes(spec: &Value) -> Result<Attributes, Cause> {
    let resource = &spec["resourceAttributes"];
    let path = &spec["nonResourceAttributes"];
    let text = |of: &Value, field: &str| of[field].as_str().unwrap_or_default().to_owned();
    match (resource.is_object(), path.is_object()) {
        (true, false) => Ok(Attributes::Resource {
            verb: text(resource, "verb"),
            group: text(resource, "group"),
            version: text(resource, "version"),
            resource: text(resource, "resource"),
            subresource: text(resource, "subresource"),
            namespace: text(resource, "namespace"),
            name: text(resource, "name"),
        }),
        (false, true) => Ok(Attributes::Path {
            verb: text(path, "verb"),
            path: text(path, "path"),
        }),
        (true, true) => Err(invalid_value(
            "spec.nonResourceAttributes",
            &path_attributes_text(path),
            "cannot be specified in combination with resourceAttributes",
        )),
        (false, false) => Err(invalid_value(
            "spec.resourceAttributes",
            &Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )),
    }
}

fn path_attributes_text(path: &Value) -> Value {
    json!({"Path": path["path"].as_str().unwrap_or_default(),
        "Verb": path["verb"].as_str().unwrap_or_default()})
}

/// The user a SubjectAccessReview is about, exactly as named there.
fn subject(spec: &Value) -> UserInfo {
    UserInfo {
        name: spec["user"].as_str().unwrap_or_default().to_owned(),
        uid: spec["uid"].as_str().unwrap_or_default().to_owned(),
        groups: strings(&spec["groups"]),
        extra: spec["extra"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, values)| (key.clone(), strings(values)))
            .collect(),
    }
}

fn subject_problems(subject: &UserInfo) -> Vec<Cause> {
    if subject.name.is_empty() && subject.groups.is_empty() {
        vec![invalid_value(
            "spec.user",
            &"".into(),
            "at least one of user or group must be specified",
        )]
    } else {
        Vec::new()
    }
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn only(object: Value, fields: &[&str]) -> Value {
    let Value::Object(object) = object else {
        return object;
    };
    object
        .into_iter()
        .filter(|(field, _)| fields.contains(&field.as_str()))
        .collect::<Map<_, _>>()
        .into()
}

/// A user as `UserInfo` of `authentication.k8s.io`, empty fields left out.
pub fn user_json(user: &UserInfo) -> Value {
    let mut json = json!({"username": user.name});
    if !user.uid.is_empty() {
        json["uid"] = user.uid.clone().into();
    }
    if !user.groups.is_empty() {
        json["groups"] = user.groups.clone().into();
    }
    if !user.extra.is_empty() {
        json["extra"] = json!(user.extra);
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_asks_about_a_resource_or_a_path_and_not_both() {
        let both = json!({"resourceAttributes": {}, "nonResourceAttributes": {"path": "/x"}});
        assert_eq!(
            attributes(&both).unwrap_err().message,
            r#"Invalid value: {"Path":"/x","Verb":""}: cannot be specified in combination with resourceAttributes"#
        );
        assert_eq!(
            attributes(&json!({})).unwrap_err().message,
            "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"
        );
    }

    #[test]
    fn a_review_about_nobody_is_refused_as_recorded() {
        let causes = subject_problems(&subject(&json!({"resourceAttributes": {"verb": "get"}})));
        assert_eq!(
            Status::invalid(UNNAMED_REVIEW, "", causes).message,
            ".authorization.k8s.io \"\" is invalid: spec.user: Invalid value: \"\": at least one \
             of user or group must be specified"
        );
    }

    #[test]
    fn a_refusal_without_a_reason_says_no_more_than_that() {
        let denied = Decision::Denied {
            reason: String::new(),
        };
        assert_eq!(decision_status(denied), json!({"allowed": false}));
    }

    #[test]
    fn users_are_written_without_their_empty_fields() {
        let mut user = UserInfo::anonymous();
        user.groups.clear();
        assert_eq!(user_json(&user), json!({"username": "system:anonymous"}));
    }
}
