//! Making an object in the WEC what its manifest says, and looking at it.

use super::executor::Account;
use super::executor::CheckError;
use super::executor::DENIED_RECHECK;
use super::executor::Denied;
use super::executor::Executors;
use super::feedback;
use super::feedback::Feedback;
use super::feedback::Limits;
use super::mapping::Header;
use super::mapping::Mapper;
use super::mapping::Target;
use super::status;
use super::status::Outcome;
use super::status::Presence;
use super::treatment;
use super::treatment::Strategy;
use super::treatment::Treatment;
use super::write;
use super::write::ApplyError;
use super::write::Place;
use super::write::Writer;
use hyades_api::work::AppliedResource;
use hyades_api::work::ManifestWorkSpec;
use hyades_runtime::Trouble;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use hyades_runtime::kube::Client;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Applies manifests to the WEC.
pub struct Applier {
    client: Client,
    executors: Arc<Executors>,
    mapper: Mapper,
    limits: Limits,
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
}

impl Applier {
    /// An applier that remembers nothing yet.
    pub fn new(client: Client, executors: Arc<Executors>, limits: Limits) -> Self {
        Self {
            writer: Writer::default(),
            client,
            executors,
            mapper: Mapper::default(),
            limits,
        }
    }

    /// Applies one manifest. `is_new` says that the object is not expected to exist.
    pub async fn apply(&self, item: &Item<'_>, owner: &OwnerReference, is_new: bool) -> Applied {
        let header = Header::of(item.manifest);
        let target = match self.mapper.map(&self.client, &header).await {
            Ok(target) => target,
            Err(error) => return refused(item, &header, None, &error.into()),
        };
        let treatment = treatment::treatment(item.spec, &target);
        match self.write(item, &target, &treatment, owner, is_new).await {
            Ok(live) => self.applied(item, &header, &target, &treatment, live),
            Err(error) => refused(item, &header, Some(&target), &error),
        }
    }

    /// Writes the object as whom the work says.
    async fn write(
        &self,
        item: &Item<'_>,
        target: &Target,
        treatment: &Treatment,
        owner: &OwnerReference,
        is_new: bool,
    ) -> Result<Option<Value>, ApplyError> {
        let account = Account::of(item.spec.executor.as_ref()).map_err(ApplyError::Refused)?;
        if let Some(account) = &account {
            let checked = self.executors.check(account, target, treatment).await;
            checked.map_err(|error| match error {
                CheckError::Denied(denied) => ApplyError::Denied(denied),
                CheckError::Asking(error) => ApplyError::Api(error),
            })?;
        }
        let place = Place {
            api: target.api(&self.executors.client(account.as_ref())),
            target,
        };
        let written = self
            .writer
            .write(&place, item.manifest, treatment, owner, is_new)
            .await;
        match written {
            Err(ApplyError::Api(error))
                if account.is_some() && Trouble::of(&error).is_forbidden() =>
            {
                Err(Denied::new(target, Some(&write::words(&error))).into())
            }
            other => other,
        }
    }

    /// Looks at the object of one manifest without touching it.
    pub async fn look(&self, item: &Item<'_>) -> Outcome {
        let header = Header::of(item.manifest);
        let target = self.mapper.map(&self.client, &header).await.ok();
        let account = Account::of(item.spec.executor.as_ref());
        let mut feedback = Feedback::default();
        let presence = match (&target, account) {
            (None, _) => Presence::NoPlace,
            (_, Err(reason)) => Presence::Unreadable(reason),
            (Some(target), Ok(account)) => {
                let client = self.executors.client(account.as_ref());
                match target.api(&client).get_opt(&target.name).await {
                    Ok(Some(live)) => {
                        let rules = treatment::treatment(item.spec, target).feedback;
                        feedback = feedback::read(&write::value_of(&live), &rules, self.limits);
                        Presence::Present
                    }
                    Ok(None) => Presence::Missing,
                    Err(error) => Presence::Unreadable(write::words(&error)),
                }
            }
        };
        Outcome {
            meta: status::meta(item.ordinal, &header, target.as_ref()),
            applied: None,
            presence,
            feedback,
        }
    }

    fn applied(
        &self,
        item: &Item<'_>,
        header: &Header,
        target: &Target,
        treatment: &Treatment,
        live: Option<Value>,
    ) -> Applied {
        let mut feedback = match &live {
            Some(live) => feedback::read(live, &treatment.feedback, self.limits),
            None => Feedback::default(),
        };
        if !treatment.conditions.is_empty() {
            feedback
                .errors
                .push("conditionRules are not supported by this agent: remove them".to_owned());
        }
        let owned = treatment.strategy != Strategy::ReadOnly;
        let resource = live
            .as_ref()
            .filter(|_| owned)
            .map(|live| applied_resource(target, live));
        Applied {
            outcome: Outcome {
                meta: status::meta(item.ordinal, header, Some(target)),
                applied: Some(Ok(())),
                presence: if live.is_some() {
                    Presence::Present
                } else {
                    Presence::Missing
                },
                feedback,
            },
            resource,
            retry: Retry::No,
        }
    }
}

fn refused(
    item: &Item<'_>,
    header: &Header,
    target: Option<&Target>,
    error: &ApplyError,
) -> Applied {
    Applied {
        outcome: Outcome {
            meta: status::meta(item.ordinal, header, target),
            applied: Some(Err(error.to_string())),
            presence: if target.is_some() {
                Presence::Missing
            } else {
                Presence::NoPlace
            },
            feedback: Feedback::default(),
        },
        resource: None,
        retry: match error {
            ApplyError::Mapping(_) | ApplyError::Api(_) => Retry::Soon,
            ApplyError::Denied(_) => Retry::After(DENIED_RECHECK),
            ApplyError::Refused(_) | ApplyError::Conflict(_) => Retry::No,
        },
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
