//! Pieces of CEL that several policies share.

use hyades_api::identity::ALL_AGENTS_GROUP;
use serde_json::Value;
use serde_json::json;

/// The name of the user who writes.
pub(super) const USER: &str = "request.userInfo.username";

/// A CEL string.
pub(super) fn text(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('\'', "\\'");
    format!("'{escaped}'")
}

/// A CEL list of strings.
pub(super) fn texts(values: &[&str]) -> String {
    let items: Vec<String> = values.iter().map(|value| text(value)).collect();
    format!("[{}]", items.join(", "))
}

/// Most characters in labels and annotations, names and values, that somebody with few rights may
/// give an object: the hub keeps them of every WEC, and nobody can be made to keep more of one. What
/// `kubectl apply` records of an inventory object with two authorities is a tenth of it.
const METADATA_CHARACTERS_MAX: usize = 64 * 1024;

/// The rule that labels and annotations stay within [`METADATA_CHARACTERS_MAX`], unless `otherwise`.
pub(super) fn metadata(otherwise: &str) -> Value {
    let size = |field: &str| {
        format!(
            "object.metadata.?{field}.orValue({{}})\
             .map(k, k.size() + object.metadata.{field}[k].size()).sum()"
        )
    };
    rule(
        &format!(
            "{} + {} <= {METADATA_CHARACTERS_MAX} || {otherwise}",
            size("labels"),
            size("annotations")
        ),
        &format!(
            "metadata.labels and metadata.annotations: too long: may not be more than \
             {METADATA_CHARACTERS_MAX} characters together"
        ),
    )
}

/// The expression that is true when an agent writes.
pub(super) fn is_agent() -> String {
    format!(
        "{} in request.userInfo.?groups.orValue([])",
        text(ALL_AGENTS_GROUP)
    )
}

/// A permission that is no verb of the API: it is asked for with an access review.
pub(super) struct Right<'a> {
    pub(super) group: &'a str,
    pub(super) resource: &'a str,
    /// Empty when none.
    pub(super) subresource: &'a str,
    pub(super) verb: &'a str,
    /// An expression for the namespace; empty for the cluster scope.
    pub(super) namespace: &'a str,
    /// An expression for the name.
    pub(super) name: &'a str,
}

impl Right<'_> {
    /// The expression that is true when the user who writes holds the right.
    pub(super) fn is_held(&self) -> String {
        let mut asked = format!(
            "authorizer.group({}).resource({})",
            text(self.group),
            text(self.resource)
        );
        if !self.subresource.is_empty() {
            asked += &format!(".subresource({})", text(self.subresource));
        }
        if !self.namespace.is_empty() {
            asked += &format!(".namespace({})", self.namespace);
        }
        format!(
            "{asked}.name({}).check({}).allowed()",
            self.name,
            text(self.verb)
        )
    }
}

/// A rule whose message is fixed.
pub(super) fn rule(expression: &str, message: &str) -> Value {
    json!({"expression": expression, "message": message})
}

/// A rule whose message is an expression; `message` is shown when that fails.
pub(super) fn told(expression: &str, message_expression: &str, message: &str) -> Value {
    json!({
        "expression": expression, "messageExpression": message_expression, "message": message,
    })
}

/// The same as [`told`] for a lack of rights.
pub(super) fn right(expression: &str, message_expression: &str, message: &str) -> Value {
    let mut rule = told(expression, message_expression, message);
    rule["reason"] = json!("Forbidden");
    rule
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_and_rights_read_as_one_asks_for_them() {
        assert_eq!(text("it's a \\"), "'it\\'s a \\\\'");
        let right = Right {
            group: "g",
            resource: "r",
            subresource: "s",
            verb: "v",
            namespace: "request.namespace",
            name: "object.metadata.name",
        };
        assert_eq!(
            right.is_held(),
            "authorizer.group('g').resource('r').subresource('s').namespace(request.namespace)\
             .name(object.metadata.name).check('v').allowed()"
        );
    }
}
