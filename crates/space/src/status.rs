//! `metav1.Status`: every error a client sees, in the API server's words.
//!
//! The constructors own the wording, the reason and the HTTP code together, so that no caller can
//! pair them wrongly.

use std::fmt;

use serde_json::Value;
use serde_json::json;

/// A group and a resource, as error messages name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Qualified<'a> {
    /// API group; empty for the core group.
    pub group: &'a str,
    /// A resource (`deployments`) or a kind (`Deployment`).
    pub name: &'a str,
}

impl fmt::Display for Qualified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// Why a request failed, as `metav1.StatusReason` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are upstream's and say it all")]
pub enum Reason {
    /// No reason is given; upstream leaves some internal errors without one.
    Unknown,
    Unauthorized,
    Forbidden,
    NotFound,
    AlreadyExists,
    Conflict,
    Gone,
    Expired,
    Invalid,
    Timeout,
    TooManyRequests,
    BadRequest,
    MethodNotAllowed,
    NotAcceptable,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    InternalError,
    ServiceUnavailable,
}

impl Reason {
    /// The word on the wire; empty for [`Reason::Unknown`].
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Unknown => "",
            Reason::Unauthorized => "Unauthorized",
            Reason::Forbidden => "Forbidden",
            Reason::NotFound => "NotFound",
            Reason::AlreadyExists => "AlreadyExists",
            Reason::Conflict => "Conflict",
            Reason::Gone => "Gone",
            Reason::Expired => "Expired",
            Reason::Invalid => "Invalid",
            Reason::Timeout => "Timeout",
            Reason::TooManyRequests => "TooManyRequests",
            Reason::BadRequest => "BadRequest",
            Reason::MethodNotAllowed => "MethodNotAllowed",
            Reason::NotAcceptable => "NotAcceptable",
            Reason::RequestEntityTooLarge => "RequestEntityTooLarge",
            Reason::UnsupportedMediaType => "UnsupportedMediaType",
            Reason::InternalError => "InternalError",
            Reason::ServiceUnavailable => "ServiceUnavailable",
        }
    }
}

/// One cause among a status's details.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cause {
    /// Machine-readable cause (`FieldValueInvalid`); may be empty.
    pub reason: String,
    /// What is wrong.
    pub message: String,
    /// The field it is about; may be empty.
    pub field: String,
}

/// What a status is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// Object name.
    pub name: String,
    /// API group.
    pub group: String,
    /// Resource or kind, as upstream chooses for the reason at hand.
    pub kind: String,
    /// Object uid.
    pub uid: String,
    /// Causes.
    pub causes: Vec<Cause>,
    /// After how many seconds a client may try again; 0 for none.
    pub retry_after_seconds: u32,
}

/// A failed request, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// HTTP code.
    pub code: u16,
    /// Reason.
    pub reason: Reason,
    /// The message for people.
    pub message: String,
    /// What it is about; some of upstream's errors carry none, some an empty one. Boxed: errors
    /// travel through every return value of the pipeline.
    pub details: Option<Box<Details>>,
}

impl Status {
    fn new(code: u16, reason: Reason, message: impl Into<String>) -> Status {
        Status {
            code,
            reason,
            message: message.into(),
            details: None,
        }
    }

    fn about(mut self, what: Qualified<'_>, name: &str) -> Status {
        self.details = Some(Box::new(Details {
            name: name.to_owned(),
            group: what.group.to_owned(),
            kind: what.name.to_owned(),
            ..Details::default()
        }));
        self
    }

    fn with_empty_details(mut self) -> Status {
        self.details = Some(Box::default());
        self
    }

    /// Gives the status another reason, with the code that goes with it where admission policies
    /// choose it: 401, 403, 413, else 422.
    #[must_use]
    pub fn with_reason(mut self, reason: Reason) -> Status {
        self.reason = reason;
        self.code = match reason {
            Reason::Unauthorized => 401,
            Reason::Forbidden => 403,
            Reason::RequestEntityTooLarge => 413,
            _ => 422,
        };
        self
    }

    /// Adds a cause.
    #[must_use]
    pub fn with_cause(mut self, cause: Cause) -> Status {
        self.details.get_or_insert_default().causes.push(cause);
        self
    }

    /// 401: the credentials are missing or not valid.
    pub fn unauthorized() -> Status {
        Status::new(401, Reason::Unauthorized, "Unauthorized")
    }

    /// 403 for a resource: `configmaps "a" is forbidden: WHY`, without the name when it is empty.
    pub fn forbidden(resource: Qualified<'_>, name: &str, why: &str) -> Status {
        let message = if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} \"{name}\" is forbidden: {why}")
        };
        Status::new(403, Reason::Forbidden, message).about(resource, name)
    }

    /// 403 for a path that is no resource: `forbidden: WHY`.
    pub fn forbidden_path(why: &str) -> Status {
        Status::new(403, Reason::Forbidden, format!("forbidden: {why}")).with_empty_details()
    }

    /// 404 for an object.
    pub fn not_found(resource: Qualified<'_>, name: &str) -> Status {
        Status::new(
            404,
            Reason::NotFound,
            format!("{resource} \"{name}\" not found"),
        )
        .about(resource, name)
    }

    /// 404 for a resource or subresource that is not served.
    pub fn no_such_resource() -> Status {
        let message = "the server could not find the requested resource";
        Status::new(404, Reason::NotFound, message).with_empty_details()
    }

    /// 405.
    pub fn method_not_allowed() -> Status {
        let message = "the server does not allow this method on the requested resource";
        Status::new(405, Reason::MethodNotAllowed, message).with_empty_details()
    }

    /// 406, listing what could be had.
    pub fn not_acceptable(available: &str) -> Status {
        let message = format!("406: Not Acceptable\n\nAvailable representations: {available}");
        Status::new(406, Reason::NotAcceptable, message).with_empty_details()
    }

    /// 409: the name is taken.
    pub fn already_exists(resource: Qualified<'_>, name: &str) -> Status {
        Status::new(
            409,
            Reason::AlreadyExists,
            format!("{resource} \"{name}\" already exists"),
        )
        .about(resource, name)
    }

    /// 409: `Operation cannot be fulfilled on configmaps "a": WHY`.
    pub fn conflict(resource: Qualified<'_>, name: &str, why: &str) -> Status {
        Status::new(
            409,
            Reason::Conflict,
            format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}"),
        )
        .about(resource, name)
    }

    /// 409 for a write based on an old resourceVersion.
    pub fn modified(resource: Qualified<'_>, name: &str) -> Status {
        let why = "the object has been modified; please apply your changes to the latest \
                   version and try again";
        Status::conflict(resource, name, why)
    }

    /// 409 of a server-side apply; `causes` name the managers and the fields.
    pub fn apply_conflict(message: String, causes: Vec<Cause>) -> Status {
        let mut status = Status::new(409, Reason::Conflict, message);
        status.details.get_or_insert_default().causes = causes;
        status
    }

    /// 410: a watch or page asked for a revision that history no longer holds.
    pub fn expired(message: impl Into<String>) -> Status {
        Status::new(410, Reason::Expired, message)
    }

    /// 413.
    pub fn too_large(limit_bytes: usize) -> Status {
        let message = format!("Request entity too large: limit is {limit_bytes}");
        Status::new(413, Reason::RequestEntityTooLarge, message)
    }

    /// 413 for an object that grew beyond what may be stored.
    pub fn object_too_large(bytes: usize, limit_bytes: usize) -> Status {
        let message = format!(
            "Request entity too large: the object would have {bytes} bytes in store, and the limit \
             is {limit_bytes}; split its content among several objects"
        );
        Status::new(413, Reason::RequestEntityTooLarge, message)
    }

    /// 415 in the words of the body decoder.
    pub fn unknown_format(accepted: &str) -> Status {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: \
             {accepted}"
        );
        Status::new(415, Reason::UnsupportedMediaType, message)
    }

    /// 415 for a patch without a patch's content type.
    pub fn unsupported_media_type() -> Status {
        let message = "415: Unsupported Media Type";
        Status::new(415, Reason::UnsupportedMediaType, message).with_empty_details()
    }

    /// 422 for an object with invalid fields. `kind` is the kind, not the resource. One error
    /// stands alone, several are bracketed, equal ones are told once, as upstream's aggregate prints
    /// them.
    pub fn invalid(kind: Qualified<'_>, name: &str, errors: Vec<Cause>) -> Status {
        let mut texts: Vec<String> = Vec::with_capacity(errors.len());
        for cause in &errors {
            let text = format!("{}: {}", cause.field, cause.message);
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut status = Status::new(
            422,
            Reason::Invalid,
            format!("{kind} \"{name}\" is invalid: {list}"),
        )
        .about(kind, name);
        status.details.get_or_insert_default().causes = errors;
        status
    }

    /// 422 without a word why, as upstream answers a JSON patch that cannot be applied.
    pub fn unprocessable() -> Status {
        let message = "the server rejected our request due to an error in our request";
        Status::new(422, Reason::Invalid, message).with_empty_details()
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Status {
        Status::new(400, Reason::BadRequest, message)
    }

    /// 429: too many requests, or a budget that does not allow it.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Status {
        let mut status = Status::new(429, Reason::TooManyRequests, message);
        status.details.get_or_insert_default().retry_after_seconds = retry_after_seconds;
        status
    }

    /// 500 with the generic prefix.
    pub fn internal(why: &str) -> Status {
        Status::new(
            500,
            Reason::InternalError,
            format!("Internal error occurred: {why}"),
        )
        .with_cause(Cause {
            message: why.to_owned(),
            ..Cause::default()
        })
    }

    /// 500 as upstream reports errors that have no status of their own.
    pub fn plain(message: impl Into<String>) -> Status {
        Status::new(500, Reason::Unknown, message)
    }

    /// 503: the space cannot serve the request now.
    pub fn unavailable(message: impl Into<String>) -> Status {
        Status::new(503, Reason::ServiceUnavailable, message)
    }

    /// 504: a read asked for a revision this space has not reached.
    pub fn future_revision(wanted: u64, current: u64) -> Status {
        let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
        let mut status = Status::new(504, Reason::Timeout, message).with_cause(Cause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        });
        status.details.get_or_insert_default().retry_after_seconds = 1;
        status
    }

    /// Whether the object was not found.
    pub fn is_not_found(&self) -> bool {
        self.reason == Reason::NotFound
    }

    /// Whether the object exists already.
    pub fn is_already_exists(&self) -> bool {
        self.reason == Reason::AlreadyExists
    }

    /// Whether the write lost against another; reading again and retrying helps.
    pub fn is_conflict(&self) -> bool {
        self.reason == Reason::Conflict
    }

    /// The object as sent to clients.
    pub fn to_value(&self) -> Value {
        let mut value = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if self.reason != Reason::Unknown {
            value["reason"] = self.reason.as_str().into();
        }
        if let Some(details) = &self.details {
            value["details"] = details.to_value();
        }
        value
    }
}

impl Details {
    fn to_value(&self) -> Value {
        let mut value = serde_json::Map::new();
        let texts = [
            ("name", &self.name),
            ("group", &self.group),
            ("kind", &self.kind),
            ("uid", &self.uid),
        ];
        for (key, text) in texts {
            if !text.is_empty() {
                value.insert(key.to_owned(), text.as_str().into());
            }
        }
        if !self.causes.is_empty() {
            let causes = self.causes.iter().map(Cause::to_value).collect();
            value.insert("causes".to_owned(), Value::Array(causes));
        }
        if self.retry_after_seconds > 0 {
            let seconds = self.retry_after_seconds.into();
            value.insert("retryAfterSeconds".to_owned(), seconds);
        }
        Value::Object(value)
    }
}

impl Cause {
    fn to_value(&self) -> Value {
        let mut value = serde_json::Map::new();
        let texts = [
            ("reason", &self.reason),
            ("message", &self.message),
            ("field", &self.field),
        ];
        for (key, text) in texts {
            if !text.is_empty() {
                value.insert(key.to_owned(), text.as_str().into());
            }
        }
        Value::Object(value)
    }
}

/// The answer to a deletion that removed its object at once.
pub fn deleted(resource: Qualified<'_>, name: &str, uid: &str) -> Value {
    let details = Details {
        name: name.to_owned(),
        group: resource.group.to_owned(),
        kind: resource.name.to_owned(),
        uid: uid.to_owned(),
        ..Details::default()
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": details.to_value(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_group_only_outside_the_core_group() {
        let core = Qualified {
            group: "",
            name: "configmaps",
        };
        let lease = Qualified {
            group: "coordination.k8s.io",
            name: "leases",
        };
        assert_eq!(
            Status::not_found(core, "a").message,
            "configmaps \"a\" not found"
        );
        assert_eq!(
            Status::not_found(lease, "a").to_value(),
            json!({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",
                "message":"leases.coordination.k8s.io \"a\" not found","reason":"NotFound",
                "details":{"name":"a","group":"coordination.k8s.io","kind":"leases"},"code":404})
        );
    }

    #[test]
    fn one_field_error_stands_alone_and_several_are_bracketed() {
        let kind = Qualified {
            group: "",
            name: "ConfigMap",
        };
        let cause = |field: &str| Cause {
            reason: "FieldValueRequired".to_owned(),
            message: "Required value".to_owned(),
            field: field.to_owned(),
        };
        assert_eq!(
            Status::invalid(kind, "a", vec![cause("x")]).message,
            "ConfigMap \"a\" is invalid: x: Required value"
        );
        assert_eq!(
            Status::invalid(kind, "a", vec![cause("x"), cause("y")]).message,
            "ConfigMap \"a\" is invalid: [x: Required value, y: Required value]"
        );
    }
}
