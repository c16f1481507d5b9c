//! What a Binding's status says of its works.

use super::plan::Mailbox;
use super::plan::Plan;
use super::plan::limited;
use super::seen::Applied;
use super::seen::Mailboxes;
use super::write::Failure;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_api::conditions::Status;
use hyades_api::control::Binding;
use hyades_api::control::BindingStatus;
use hyades_api::control::names::conditions as types;
use hyades_api::control::names::reasons;
use hyades_runtime::Trouble;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// WECs whose failure a message quotes, at most.
const MAX_QUOTED: usize = 3;

/// Everything a status speaks of.
pub(super) struct Account<'a> {
    pub(super) binding: &'a Binding,
    pub(super) plan: &'a Plan,
    pub(super) seen: &'a Mailboxes,
    pub(super) failures: &'a [Failure],
    /// Whether it is time to tell of objects that are not there.
    pub(super) tells_missing: bool,
}

/// What the agents say of the planned works.
#[derive(Default)]
struct Count {
    applied: usize,
    failed: usize,
    works: usize,
    quotes: BTreeMap<String, String>,
}

impl Account<'_> {
    /// The status as it is to be; conditions of others stay.
    pub(super) fn status(&self, now: &Time) -> BindingStatus {
        let mut status = BindingStatus {
            observed_generation: self.binding.metadata.generation.unwrap_or_default(),
            conditions: self.binding.status.conditions.clone(),
            errors: self.plan.errors.clone(),
        };
        if self.tells_missing {
            let missing = self.plan.missing.iter().map(|key| {
                format!(
                    "{key} is named and cannot be read from the WDS: what WECs have of it stays"
                )
            });
            status.errors.extend(limited(missing, "missing objects"));
        }
        let conflicts = self.failures.iter();
        let mut conflicts: Vec<String> = conflicts.filter_map(conflict).collect();
        // Writes end in any order; the status is to stay the same.
        conflicts.sort();
        status.errors.extend(limited(conflicts, "conflicts"));
        let has_errors = !status.errors.is_empty();
        for statement in [self.synced(has_errors), self.ready()] {
            conditions::set(&mut status.conditions, &statement, now.clone());
        }
        status
    }

    fn synced(&self, has_errors: bool) -> Statement {
        let plan = self.plan;
        let wecs = plan.mailboxes.len();
        let mut message = format!("{} objects go to {wecs} WECs", plan.objects);
        if !plan.unaccepted.is_empty() {
            let some: Vec<&str> = plan
                .unaccepted
                .iter()
                .take(MAX_QUOTED)
                .map(String::as_str)
                .collect();
            let _ = write!(
                message,
                "; {} more WECs are not accepted and get nothing: {}",
                plan.unaccepted.len(),
                some.join(", ")
            );
        }
        if let Some(failure) = self.failures.first() {
            let _ = write!(
                message,
                "; {} writes failed, the first to {}: {}",
                self.failures.len(),
                failure.what,
                failure.trouble
            );
        }
        let is_well = self.failures.is_empty() && !has_errors;
        if has_errors {
            message.push_str("; see the errors in the status");
        }
        let (status, reason) = match is_well {
            true => (Status::True, reasons::RECONCILE_SUCCESS),
            false => (Status::False, reasons::RECONCILE_ERROR),
        };
        Statement::new(types::SYNCED, status, reason, "").with_message(message)
    }

    fn ready(&self) -> Statement {
        let count = self.count();
        let mut message = format!(
            "{} of {} works applied in {} WECs, {} failed",
            count.applied,
            count.works,
            self.plan.mailboxes.len(),
            count.failed
        );
        for (wec, quote) in count.quotes.iter().take(MAX_QUOTED) {
            let _ = write!(message, "; {wec}: {quote}");
        }
        let is_held_up = self.is_held_up();
        if is_held_up {
            message
                .push_str("; some objects are held up as they are: see the errors in the status");
        }
        let (status, reason) = if count.applied == count.works && !is_held_up {
            (Status::True, reasons::AVAILABLE)
        } else if count.failed > 0 {
            (Status::False, reasons::UNAVAILABLE)
        } else {
            (Status::False, reasons::CREATING)
        };
        Statement::new(types::READY, status, reason, "").with_message(message)
    }

    /// Whether WECs may have something else than what the Binding means, all works applied.
    fn is_held_up(&self) -> bool {
        let plan = self.plan;
        !plan.errors.is_empty()
            || !plan.missing.is_empty()
            || plan.mailboxes.values().any(Mailbox::is_kept)
    }

    fn count(&self) -> Count {
        let mut count = Count::default();
        for (wec, mailbox) in &self.plan.mailboxes {
            count.works += mailbox.len();
            let Some(works) = self.seen.get(wec) else {
                continue;
            };
            for work in mailbox.works() {
                match works.get(&work.name).map(|state| &state.applied) {
                    Some(Applied::Yes) => count.applied += 1,
                    Some(Applied::No(why)) => {
                        count.failed += 1;
                        count
                            .quotes
                            .entry(wec.clone())
                            .or_insert_with(|| why.clone());
                    }
                    Some(Applied::Unknown) | None => {}
                }
            }
        }
        count
    }
}

/// What a failure says of a work of another WDS, which only people can settle.
fn conflict(failure: &Failure) -> Option<String> {
    match &failure.trouble {
        Trouble::AlreadyExists(detail) => Some(detail.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::GroupResource;
    use crate::object::ObjectKey;
    use crate::object::ObjectName;
    use hyades_api::control::BindingSpec;
    use jiff::Timestamp;

    fn status(plan: &Plan) -> BindingStatus {
        let account = Account {
            binding: &Binding::new("shop", BindingSpec::default()),
            plan,
            seen: &Mailboxes::new(),
            failures: &[],
            tells_missing: true,
        };
        account.status(&Time(Timestamp::UNIX_EPOCH))
    }

    fn is_ready(plan: &Plan) -> bool {
        conditions::is_true(&status(plan).conditions, types::READY)
    }

    #[test]
    fn many_missing_objects_are_counted() {
        let missing = |index| ObjectKey {
            resource: GroupResource::new("", "configmaps"),
            name: ObjectName::new("default", format!("m{index}")),
        };
        let plan = Plan {
            missing: (0..30).map(missing).collect(),
            ..Plan::default()
        };
        let errors = status(&plan).errors;
        assert_eq!(errors.len(), 21);
        assert!(errors[0].starts_with("configmaps default/m0 is named"));
        assert_eq!(errors[20], "and 10 more missing objects");
    }

    #[test]
    fn a_binding_is_not_ready_while_anything_of_it_is_held_up() {
        assert!(is_ready(&Plan::default()));
        assert!(!is_ready(&Plan {
            errors: vec!["a template fails".to_owned()],
            ..Plan::default()
        }));
        assert!(!is_ready(&Plan {
            missing: vec![ObjectKey {
                resource: GroupResource::new("", "configmaps"),
                name: ObjectName::new("default", "a"),
            }],
            ..Plan::default()
        }));
    }
}
