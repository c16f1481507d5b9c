//! Writing works: as many at a time as a server takes, with bodies that are put together from text.

use super::model::Model;
use super::plan::Action;
use super::seen::SeenWork;
use super::wrap::Origin;
use super::wrap::Work;
use super::wrap::label_value;
use futures::StreamExt;
use futures::stream;
use hyades_api::control::names::annotations;
use hyades_api::control::names::labels;
use hyades_api::control::names::managers;
use hyades_runtime::Trouble;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use hyades_runtime::kube::core::Request;
use serde_json::Value;
use serde_json::json;
use serde_json::value::RawValue;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// Writes under way at a time for one Binding. kube-apiserver allows 100 requests at a time on one
/// connection, and the watches need some of those.
const WRITES_IN_FLIGHT: usize = 64;

/// After so many failures the rest of a mailbox is left for the next try: a server that refuses
/// these refuses the others there. Other mailboxes have writes of their own.
const MAX_FAILURES: usize = 8;

/// A write that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) what: String,
    pub(super) trouble: Trouble,
}

/// What went wrong so far.
#[derive(Debug, Default)]
struct Tally {
    failures: Vec<Failure>,
    of_mailboxes: HashMap<String, usize>,
    /// Whether the ITS cannot be worked with at all.
    is_cut_off: bool,
}

impl Tally {
    fn failures_in(&self, mailbox: &str) -> usize {
        self.of_mailboxes.get(mailbox).copied().unwrap_or_default()
    }

    /// Whether the rest of a mailbox is left for the next try.
    fn leaves(&self, mailbox: &str) -> bool {
        self.is_cut_off || self.failures_in(mailbox) >= MAX_FAILURES
    }

    fn note(&mut self, action: &Action, trouble: Trouble) {
        let mailbox = action.mailbox().to_owned();
        *self.of_mailboxes.entry(mailbox).or_default() += 1;
        self.is_cut_off |= concerns_all(&trouble);
        self.failures.push(Failure {
            what: action.to_string(),
            trouble,
        });
    }
}

/// Whether the trouble is with the connection, and not with one write.
fn concerns_all(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::NameNotFound(_)
        | Trouble::Refused(_)
        | Trouble::TimedOut(_)
        | Trouble::Untrusted(_)
        | Trouble::Unauthorized(_)
        | Trouble::NotAnApiServer(_) => true,
        Trouble::Forbidden(_)
        | Trouble::NotFound(_)
        | Trouble::Conflict(_)
        | Trouble::AlreadyExists(_)
        | Trouble::Gone(_)
        | Trouble::Busy(_)
        | Trouble::Invalid(_)
        | Trouble::Other(_) => false,
    }
}

/// Writes works of one Binding.
pub(super) struct Writer<'w> {
    pub(super) its: &'w Client,
    pub(super) model: &'w Mutex<Model>,
    pub(super) origin: &'w Origin,
    /// The generation of the Binding.
    pub(super) generation: i64,
}

impl Writer<'_> {
    /// Performs all actions; what failed is returned. Nothing of a mailbox is deleted before all
    /// that may replace it is written there.
    pub(super) async fn perform(&self, actions: Vec<Action>) -> Vec<Failure> {
        let is_delete = |action: &Action| matches!(action, Action::Delete { .. });
        let (mut deletes, writes): (Vec<_>, Vec<_>) = actions.into_iter().partition(is_delete);
        let tally = RefCell::new(Tally::default());
        self.pass(writes, &tally).await;
        deletes.retain(|action| tally.borrow().failures_in(action.mailbox()) == 0);
        self.pass(deletes, &tally).await;
        tally.into_inner().failures
    }

    /// Performs actions, of each mailbox until too many have failed there.
    async fn pass(&self, actions: Vec<Action>, tally: &RefCell<Tally>) {
        let each = |action: Action| async move {
            if tally.borrow().leaves(action.mailbox()) {
                return;
            }
            if let Err(trouble) = self.perform_one(&action).await {
                tally.borrow_mut().note(&action, trouble);
            }
        };
        stream::iter(actions)
            .for_each_concurrent(WRITES_IN_FLIGHT, each)
            .await;
    }

    async fn perform_one(&self, action: &Action) -> Result<(), Trouble> {
        match action {
            Action::Create { mailbox, work } => match self.create(mailbox, work).await {
                // It was not seen, for its labels say something else.
                Err(Trouble::AlreadyExists(_)) => self.adopt(mailbox, work).await,
                done => done,
            },
            Action::Update { mailbox, work } => self.update(mailbox, work).await,
            Action::Delete { mailbox, name } => {
                let api = Api::<SeenWork>::namespaced(self.its.clone(), mailbox);
                match api.delete(name, &DeleteParams::default()).await {
                    Ok(_) => self.model().note_deleted(mailbox, name),
                    Err(error) => match Trouble::of(&error) {
                        Trouble::NotFound(_) => {}
                        trouble => return Err(trouble),
                    },
                }
                Ok(())
            }
        }
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        // Each event leaves it whole, whatever happens after.
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, answer: kube::Result<SeenWork>, work: &Work) -> Result<(), Trouble> {
        let written = answer.map_err(|error| Trouble::of(&error))?;
        let mut model = self.model();
        model.see_work(&written);
        model.note_written(&written, work.digest);
        Ok(())
    }

    async fn create(&self, mailbox: &str, work: &Work) -> Result<(), Trouble> {
        let mut metadata = self.metadata();
        metadata["name"] = json!(work.name);
        metadata["namespace"] = json!(mailbox);
        let body = format!(
            r#"{{"apiVersion":"{}","kind":"{}","metadata":{metadata},"spec":{}}}"#,
            SeenWork::api_version(&()),
            SeenWork::kind(&()),
            work.spec
        );
        let parameters = PostParams {
            field_manager: Some(managers::TRANSPORT.to_owned()),
            ..PostParams::default()
        };
        let request = Request::new(SeenWork::url_path(&(), Some(mailbox)));
        let request = request.create(&parameters, body.into_bytes());
        let request = request.map_err(|error| Trouble::Other(error.to_string()))?;
        self.note(self.its.request(request).await, work)
    }

    /// Takes over a work whose labels somebody took off, and leaves alone one of another WDS.
    async fn adopt(&self, mailbox: &str, work: &Work) -> Result<(), Trouble> {
        let api = Api::<SeenWork>::namespaced(self.its.clone(), mailbox);
        let found = api.get_metadata(&work.name).await;
        let found = found.map_err(|error| Trouble::of(&error))?;
        match found.labels().get(labels::ORIGIN_WDS) {
            Some(other) if *other != label_value(&self.origin.wds) => {
                Err(Trouble::AlreadyExists(format!(
                    "work {} in mailbox {mailbox} belongs to WDS {other} and stays as it is: give the Binding another name",
                    work.name
                )))
            }
            _ => self.update(mailbox, work).await,
        }
    }

    async fn update(&self, mailbox: &str, work: &Work) -> Result<(), Trouble> {
        // All that a spec can have beside what is written goes.
        let configs = if work.spec.starts_with(r#"{"manifestConfigs""#) {
            ""
        } else {
            r#""manifestConfigs":null,"#
        };
        let body = format!(
            r#"{{"metadata":{},"spec":{{"deleteOption":null,"executor":null,{configs}{}}}"#,
            self.metadata(),
            &work.spec[1..]
        );
        let body =
            RawValue::from_string(body).map_err(|error| Trouble::Other(error.to_string()))?;
        let parameters = PatchParams {
            field_manager: Some(managers::TRANSPORT.to_owned()),
            ..PatchParams::default()
        };
        let api = Api::<SeenWork>::namespaced(self.its.clone(), mailbox);
        let answer = api
            .patch(&work.name, &parameters, &Patch::Merge(body))
            .await;
        self.note(answer, work)
    }

    /// What says whose work it is.
    fn metadata(&self) -> Value {
        let label = label_value(&self.origin.binding);
        let mut noted =
            json!({annotations::ORIGIN_BINDING_GENERATION: self.generation.to_string()});
        if label != self.origin.binding {
            noted[annotations::ORIGIN_BINDING] = json!(self.origin.binding);
        }
        json!({
            "labels": {
                labels::ORIGIN_BINDING: label,
                labels::ORIGIN_WDS: label_value(&self.origin.wds),
            },
            "annotations": noted,
        })
    }
}
