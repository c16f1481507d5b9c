//! What a Binding's status says of its works.

use super::plan::Plan;
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
            status.errors.extend(self.plan.missing.iter().map(|key| {
                format!(
                    "{key} is named and cannot be read from the WDS: what WECs have of it stays"
                )
            }));
        }
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
        let (status, reason) = if count.applied == count.works {
            (Status::True, reasons::AVAILABLE)
        } else if count.failed > 0 {
            (Status::False, reasons::UNAVAILABLE)
        } else {
            (Status::False, reasons::CREATING)
        };
        Statement::new(types::READY, status, reason, "").with_message(message)
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
