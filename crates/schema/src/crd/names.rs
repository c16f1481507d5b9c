//! Which of a definition's names are free, and the conditions that say so.

use std::collections::BTreeSet;

use serde_json::Value;
use serde_json::json;

/// The names that other accepted definitions of the same group hold.
#[derive(Debug, Clone, Default)]
pub struct TakenNames {
    /// Plural, singular and short names.
    pub resources: BTreeSet<String>,
    /// Kinds and list kinds.
    pub kinds: BTreeSet<String>,
}

impl TakenNames {
    /// Adds the accepted names of another definition (`status.acceptedNames`).
    pub fn add(&mut self, accepted: &Value) {
        let text = |name: &str| accepted.get(name).and_then(Value::as_str).unwrap_or("");
        let mut resources = vec![text("plural"), text("singular")];
        resources.extend(short_names(accepted));
        let named = |names: Vec<&str>| {
            names
                .into_iter()
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        self.resources.extend(named(resources));
        self.kinds
            .extend(named(vec![text("kind"), text("listKind")]));
    }
}

/// Whether a definition's names are accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct NameDecision {
    /// `status.acceptedNames`: the requested names without those that are taken.
    pub accepted: Value,
    /// Status, reason and message of the condition `NamesAccepted`.
    pub names_accepted: Condition,
    /// Status, reason and message of the condition `Established`, which never turns back.
    pub established: Condition,
}

/// The parts of a condition that are decided here; the caller adds the time of the transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Whether the condition holds.
    pub holds: bool,
    /// The machine-readable reason.
    pub reason: String,
    /// The explanation.
    pub message: String,
}

impl Condition {
    fn new(holds: bool, reason: &str, message: &str) -> Self {
        Self {
            holds,
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }
}

fn short_names(names: &Value) -> impl Iterator<Item = &str> {
    names
        .get("shortNames")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// Decides about the names of `crd`, given what the other definitions of its group hold.
///
/// A taken name keeps what was accepted for this definition before, so that an established
/// definition goes on serving under its old names.
pub fn accepted_names(crd: &Value, taken: &TakenNames) -> NameDecision {
    let empty = json!({});
    let wanted = crd.pointer("/spec/names").unwrap_or(&empty);
    let before = crd.pointer("/status/acceptedNames").unwrap_or(&empty);
    let mut accepted = before.as_object().cloned().unwrap_or_default();
    let mut conflict: Option<(&str, String)> = None;
    let fields = [
        ("plural", "PluralConflict", &taken.resources),
        ("singular", "SingularConflict", &taken.resources),
        ("kind", "KindConflict", &taken.kinds),
        ("listKind", "ListKindConflict", &taken.kinds),
    ];
    for (field, reason, held) in fields {
        let name = wanted.get(field).and_then(Value::as_str).unwrap_or("");
        if !name.is_empty() && held.contains(name) {
            conflict = Some((reason, format!("{} is already in use", quoted(name))));
        } else {
            accepted.insert(field.to_owned(), json!(name));
        }
    }
    let refused: Vec<&str> = short_names(wanted)
        .filter(|name| taken.resources.contains(*name))
        .collect();
    if let Some(name) = refused.first() {
        conflict = Some((
            "ShortNamesConflict",
            format!("{} is already in use", quoted(name)),
        ));
    } else {
        copy_list(wanted, &mut accepted, "shortNames");
    }
    copy_list(wanted, &mut accepted, "categories");
    let names_accepted = match &conflict {
        Some((reason, message)) => Condition::new(false, reason, message),
        None => Condition::new(true, "NoConflicts", "no conflicts found"),
    };
    let established = if conflict.is_none() || was_established(crd) {
        Condition::new(
            true,
            "InitialNamesAccepted",
            "the initial names have been accepted",
        )
    } else {
        Condition::new(false, "NotAccepted", "not all names are accepted")
    };
    NameDecision {
        accepted: Value::Object(accepted),
        names_accepted,
        established,
    }
}

fn copy_list(wanted: &Value, accepted: &mut serde_json::Map<String, Value>, field: &str) {
    match wanted.get(field).filter(|list| !list.is_null()) {
        Some(list) => accepted.insert(field.to_owned(), list.clone()),
        None => accepted.remove(field),
    };
}

fn quoted(name: &str) -> String {
    crate::validate::go_quote(name)
}

pub(super) fn was_established(crd: &Value) -> bool {
    let conditions = crd.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        condition.get("type").and_then(Value::as_str) == Some("Established")
            && condition.get("status").and_then(Value::as_str) == Some("True")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_names_are_accepted_and_established() {
        let crd = json!({"spec": {"names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList", "shortNames": ["wd"]}}});
        let decision = accepted_names(&crd, &TakenNames::default());
        assert_eq!(decision.accepted, crd["spec"]["names"]);
        assert_eq!(decision.names_accepted.reason, "NoConflicts");
        assert!(decision.established.holds);
    }

    #[test]
    fn a_taken_name_is_refused_but_an_established_definition_stays() {
        let mut taken = TakenNames::default();
        taken.add(&json!({"plural": "gears", "kind": "Gear", "shortNames": ["wd"]}));
        let mut crd =
            json!({"spec": {"names": {"plural": "widgets", "kind": "Gear", "shortNames": ["w"]}}});
        let decision = accepted_names(&crd, &taken);
        assert_eq!(decision.names_accepted.reason, "KindConflict");
        assert_eq!(
            decision.names_accepted.message,
            "\"Gear\" is already in use"
        );
        assert!(!decision.established.holds);
        assert_eq!(decision.accepted.get("kind"), None);
        crd["status"] = json!({"conditions": [{"type": "Established", "status": "True"}], "acceptedNames": {"kind": "Widget"}});
        let decision = accepted_names(&crd, &taken);
        assert!(decision.established.holds);
        assert_eq!(decision.accepted["kind"], "Widget");
    }
}
