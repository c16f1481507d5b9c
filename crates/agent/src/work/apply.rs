//! Making an object in the WEC what its manifest says, and looking at it.

use super::executor::Account;
use super::executor::CheckError;
use super::executor::DENIED_RECHECK;
use super::executor::Denied;
use super::feedback;
use super::feedback::Feedback;
use super::job;
use super::mapping::Header;
use super::mapping::Mapper;
use super::mapping::Target;
use super::reconcile::Means;
use super::status;
use super::status::Outcome;
use super::status::Presence;
use super::status::Verdict;
use super::treatment;
use super::treatment::Strategy;
use super::treatment::Treatment;
use super::write;
use super::write::ApplyError;
use super::write::Place;
use super::write::Writer;
use hyades_api::conditions::Statement;
use hyades_api::work::AppliedResource;
use hyades_api::work::ManifestWorkSpec;
use hyades_runtime::Trouble;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use hyades_runtime::kube::Client;
use serde_json::Value;
use std::time::Duration;

/// Applies manifests to the WEC.
pub struct Applier {
    client: Client,
    means: Means,
    mapper: Mapper,
    writer: Writer,
}

/// Whether and when trying again may help.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Retry {
    /// There is nothing to be tried again, or no use in it.
    No,
    /// Soon, and then later and later.
    Soon,
    /// After this time.
    After(Duration),
}

/// What became of one manifest, and what to do about it.
pub struct Applied {
    /// For the status.
    pub outcome: Outcome,
    /// For the list of what exists because of the work.
    pub resource: Option<AppliedResource>,
    /// Whether trying again may help.
    pub retry: Retry,
}

/// One manifest of a work, and what is known about it.
pub struct Item<'a> {
    /// Position in the work.
    pub ordinal: usize,
    /// The manifest.
    pub manifest: &'a Value,
    /// The work's spec, for its settings.
    pub spec: &'a ManifestWorkSpec,
    /// What was done about it before.
    pub history: History<'a>,
}

/// What was done about a manifest before.
#[derive(Clone, Copy, Default)]
pub struct History<'a> {
    /// Whether the object is not expected to exist.
    pub is_new: bool,
    /// Whether the object came to its end, by the rules of the work as it is.
    pub is_complete: bool,
    /// What exists because of the work as it is: nothing while a change is to be applied yet.
    pub recorded: &'a [AppliedResource],
}

impl History<'_> {
    /// The record of an object that may have come to its end and must not be made again.
    fn ended(&self, manifest: &Value, target: &Target) -> Option<&AppliedResource> {
        if !self.is_complete && !job::vanishes(manifest) {
            return None;
        }
        self.recorded.iter().find(|recorded| {
            (&recorded.group, &recorded.resource)
                == (&target.resource.group, &target.resource.plural)
                && recorded.namespace == target.namespace.as_deref().unwrap_or_default()
                && recorded.name == target.name
        })
    }
}

/// An object after it was written.
enum Written {
    /// As it is; nothing where only a look was asked for and there is none.
    Live(Option<Value>),
    /// It came to its end and is gone.
    Gone(AppliedResource),
}

impl Applier {
    /// An applier that remembers nothing yet.
    pub fn new(client: Client, means: Means) -> Self {
        Self {
            client,
            means,
            mapper: Mapper::default(),
            writer: Writer::default(),
        }
    }

    /// Applies one manifest.
    pub async fn apply(&self, item: &Item<'_>, owner: &OwnerReference) -> Applied {
        let header = Header::of(item.manifest);
        let target = match self.mapper.map(&self.client, &header).await {
            Ok(target) => target,
            Err(error) => return self.refused(item, error.into()).await,
        };
        let treatment = treatment::treatment(item.spec, &target);
        let meta = status::meta(item.ordinal, &header, Some(&target));
        let (verdict, live, resource) = match self.write(item, &target, &treatment, owner).await {
            Ok(Written::Live(live)) => {
                let owned = live
                    .as_ref()
                    .filter(|_| treatment.strategy != Strategy::ReadOnly);
                let resource = owned.map(|live| applied_resource(&target, live));
                (Verdict::Done, live, resource)
            }
            Ok(Written::Gone(recorded)) => (Verdict::Gone, None, Some(recorded)),
            Err(error) => return self.refused(item, error).await,
        };
        let (feedback, ruled) = self.judge(live.as_ref(), &treatment).await;
        let presence = match live {
            Some(_) => Presence::Present,
            None => Presence::Missing,
        };
        Applied {
            outcome: Outcome {
                meta,
                applied: Some(verdict),
                presence,
                feedback,
                ruled,
            },
            resource,
            retry: Retry::No,
        }
    }

    /// Writes the object as whom the work says.
    async fn write(
        &self,
        item: &Item<'_>,
        target: &Target,
        treatment: &Treatment,
        owner: &OwnerReference,
    ) -> Result<Written, ApplyError> {
        let account = Account::of(item.spec.executor.as_ref()).map_err(ApplyError::Refused)?;
        let executors = &self.means.executors;
        if let Some(account) = &account {
            let checked = executors.check(account, target, treatment).await;
            checked.map_err(|error| match error {
                CheckError::Denied(denied) => ApplyError::Denied(denied),
                CheckError::Asking(error) => ApplyError::Api(error),
            })?;
        }
        let place = Place {
            api: target.api(&executors.client(account.as_ref())),
            target,
        };
        match self.write_to(&place, item, treatment, owner).await {
            Err(ApplyError::Api(error))
                if account.is_some() && Trouble::of(&error).is_forbidden() =>
            {
                Err(Denied::new(target, Some(&write::words(&error))).into())
            }
            other => other,
        }
    }

    async fn write_to(
        &self,
        place: &Place<'_>,
        item: &Item<'_>,
        treatment: &Treatment,
        owner: &OwnerReference,
    ) -> Result<Written, ApplyError> {
        let history = item.history;
        if let Some(recorded) = history.ended(item.manifest, place.target) {
            match place.api.get_opt(&place.target.name).await? {
                None => return Ok(Written::Gone(recorded.clone())),
                Some(live) if history.is_complete => {
                    return Ok(Written::Live(Some(write::value_of(&live))));
                }
                Some(_) => {}
            }
        }
        let written = self
            .writer
            .write(place, item.manifest, treatment, owner, history.is_new);
        written.await.map(Written::Live)
    }

    /// Looks at the object of one manifest without touching it.
    pub async fn look(&self, item: &Item<'_>) -> Outcome {
        let header = Header::of(item.manifest);
        let target = self.mapper.map(&self.client, &header).await.ok();
        let mut outcome = Outcome {
            meta: status::meta(item.ordinal, &header, target.as_ref()),
            applied: None,
            presence: Presence::NoPlace,
            feedback: Feedback::default(),
            ruled: None,
        };
        let Some(target) = target else {
            return outcome;
        };
        let account = match Account::of(item.spec.executor.as_ref()) {
            Ok(account) => account,
            Err(reason) => {
                outcome.presence = Presence::Unreadable(reason);
                return outcome;
            }
        };
        let client = self.means.executors.client(account.as_ref());
        outcome.presence = match target.api(&client).get_opt(&target.name).await {
            Ok(Some(live)) => {
                let treatment = treatment::treatment(item.spec, &target);
                let live = write::value_of(&live);
                (outcome.feedback, outcome.ruled) = self.judge(Some(&live), &treatment).await;
                Presence::Present
            }
            Ok(None) => Presence::Missing,
            Err(error) => Presence::Unreadable(write::words(&error)),
        };
        outcome
    }

    /// What the work's settings have to say of an object.
    async fn judge(
        &self,
        live: Option<&Value>,
        treatment: &Treatment,
    ) -> (Feedback, Option<Vec<Statement>>) {
        let Some(live) = live else {
            return (Feedback::default(), None);
        };
        let mut feedback = feedback::read(live, &treatment.feedback, self.means.limits);
        if treatment.conditions.is_empty() {
            return (feedback, Some(Vec::new()));
        }
        let ruled = self.means.rules.follow(live, &treatment.conditions).await;
        feedback.errors.extend(ruled.errors);
        (feedback, Some(ruled.statements))
    }

    /// The outcome of a manifest that was not applied: the object may be there all the same.
    async fn refused(&self, item: &Item<'_>, error: ApplyError) -> Applied {
        let mut outcome = self.look(item).await;
        outcome.applied = Some(match &error {
            ApplyError::IgnoreFields(reason) => Verdict::FieldsFailed(reason.clone()),
            other => Verdict::Failed(other.to_string()),
        });
        Applied {
            outcome,
            resource: None,
            retry: match error {
                ApplyError::Mapping(_) | ApplyError::Api(_) => Retry::Soon,
                ApplyError::Denied(_) => Retry::After(DENIED_RECHECK),
                ApplyError::IgnoreFields(_) | ApplyError::Refused(_) | ApplyError::Conflict(_) => {
                    Retry::No
                }
            },
        }
    }
}

fn applied_resource(target: &Target, live: &Value) -> AppliedResource {
    AppliedResource {
        group: target.resource.group.clone(),
        version: target.resource.version.clone(),
        resource: target.resource.plural.clone(),
        namespace: target.namespace.clone().unwrap_or_default(),
        name: target.name.clone(),
        uid: live
            .pointer("/metadata/uid")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
    }
}
