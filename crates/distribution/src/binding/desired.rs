//! What a policy's Binding and status are to be, from what was seen. Pure.

use super::model::Meant;
use super::model::Model;
use crate::object::ObjectKey;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_api::conditions::Status;
use hyades_api::control::Binding;
use hyades_api::control::BindingPolicy;
use hyades_api::control::BindingPolicyStatus;
use hyades_api::control::BindingSpec;
use hyades_api::control::BoundObject;
use hyades_api::control::Destination;
use hyades_api::control::names::conditions as types;
use hyades_api::control::names::reasons;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// Most examples in an error about singletons; upstream's number.
const SINGLETON_EXAMPLES_MAX: usize = 4;

/// Most names in a message about WECs: enough to find out what they have in common.
const NAMES_MAX: usize = 5;

/// What a policy's Binding is to say. `current` is what it says: it is kept where too little is
/// known to say anything else, since what a Binding ceases to say is deleted in WECs.
pub(super) fn spec(model: &Model, meant: &Meant, current: Option<&BindingSpec>) -> BindingSpec {
    let mut kept = BTreeMap::new();
    for bound in current.into_iter().flat_map(bound) {
        let key = ObjectKey::of(bound);
        if is_unseen(model, &key) || is_treatment_doubtful(model, meant, &key) {
            kept.insert(key, bound.clone());
        }
    }
    let versions = model.resource_versions(&meant.objects);
    let said = meant.objects.iter().zip(versions);
    let said = said.filter_map(|((key, treatment), version)| {
        // A clause that counts for nothing at present may have had its say in what is kept.
        if kept.contains_key(&**key) && is_treatment_doubtful(model, meant, key) {
            return None;
        }
        let watched = model.kind(&key.resource)?;
        let bound = BoundObject {
            group: key.resource.group.clone(),
            version: watched.kind.version.clone(),
            resource: key.resource.resource.clone(),
            namespace: key.name.namespace.clone(),
            name: key.name.name.clone(),
            resource_version: version.to_owned(),
            modulation: treatment.clone(),
        };
        Some((key, bound))
    });
    let mut spec = BindingSpec::default();
    let workload = &mut spec.workload;
    let push = |bound: BoundObject| match bound.namespace.is_empty() {
        true => workload.cluster_scope.push(bound),
        false => workload.namespace_scope.push(bound),
    };
    if kept.is_empty() {
        // They come in order already.
        said.map(|(_, bound)| bound).for_each(push);
    } else {
        let said: Vec<_> = said.map(|(key, bound)| ((**key).clone(), bound)).collect();
        kept.extend(said);
        kept.into_values().for_each(push);
    }
    let current = current.into_iter().flat_map(|spec| &spec.destinations);
    let kept = current
        .map(|destination| &destination.cluster_id)
        .filter(|name| is_destination_kept(model, meant, name));
    let destinations: BTreeSet<_> = meant.destinations.iter().chain(kept).cloned().collect();
    spec.destinations = destinations
        .into_iter()
        .map(|cluster_id| Destination { cluster_id })
        .collect();
    spec
}

/// Whether nothing follows from not having seen an object.
fn is_unseen(model: &Model, key: &ObjectKey) -> bool {
    match model.kind(&key.resource) {
        Some(watched) => !watched.is_listed,
        None => !model.are_kinds_known(),
    }
}

/// Whether a policy may treat an object that is there otherwise than its readable selectors and the
/// namespaces seen so far say.
fn is_treatment_doubtful(model: &Model, meant: &Meant, key: &ObjectKey) -> bool {
    let policy = &meant.policy;
    let waits_for_namespaces = policy.looks_at_namespaces()
        && !model.are_namespaces_known()
        && !key.name.namespace.is_empty();
    (waits_for_namespaces || !policy.object_problems.is_empty()) && model.has_object(key)
}

/// Whether a WEC stays among the destinations that is no destination of itself. Transport sends
/// nothing to one that is not accepted and lets its works stand; without it they would be deleted.
fn is_destination_kept(model: &Model, meant: &Meant, name: &str) -> bool {
    let may_be_meant = !meant.policy.cluster_problems.is_empty() && model.has_cluster(name);
    may_be_meant || meant.waiting.contains(name)
}

fn bound(spec: &BindingSpec) -> impl Iterator<Item = &BoundObject> {
    let workload = &spec.workload;
    workload
        .cluster_scope
        .iter()
        .chain(&workload.namespace_scope)
}

/// Whether a spec says just what a policy means, in the order in which it is written, beside the
/// destinations that are kept. It is asked at every change of any object, so it makes nothing; where
/// objects are kept it says no, and [`spec`] decides.
pub(super) fn says(spec: &BindingSpec, model: &Model, meant: &Meant) -> bool {
    let workload = &spec.workload;
    let mut cluster_scope = workload.cluster_scope.iter();
    let mut namespace_scope = workload.namespace_scope.iter();
    let are_said = meant.objects.iter().all(|(key, treatment)| {
        let next = match key.name.namespace.is_empty() {
            true => cluster_scope.next(),
            false => namespace_scope.next(),
        };
        let (Some(bound), Some(watched)) = (next, model.kind(&key.resource)) else {
            return false;
        };
        bound.name == key.name.name
            && bound.namespace == key.name.namespace
            && bound.resource == key.resource.resource
            && bound.group == key.resource.group
            && bound.version == watched.kind.version
            && bound.modulation == *treatment
    });
    let own = spec.destinations.iter().map(|it| &it.cluster_id);
    let own = own.filter(|name| {
        meant.destinations.contains(*name) || !is_destination_kept(model, meant, name)
    });
    are_said
        && cluster_scope.next().is_none()
        && namespace_scope.next().is_none()
        && own.eq(&meant.destinations)
}

/// Whether two specs mean the same. The objects' versions when they were written do not count.
pub(super) fn are_same(one: &BindingSpec, other: &BindingSpec) -> bool {
    let destinations = |spec: &BindingSpec| -> BTreeSet<Destination> {
        spec.destinations.iter().cloned().collect()
    };
    let objects = |spec: &BindingSpec| -> BTreeMap<ObjectKey, BoundObject> {
        let unversioned = |bound: &BoundObject| BoundObject {
            resource_version: String::new(),
            ..bound.clone()
        };
        bound(spec)
            .map(|bound| (ObjectKey::of(bound), unversioned(bound)))
            .collect()
    };
    destinations(one) == destinations(other) && objects(one) == objects(other)
}

/// What a policy's status is to say. `failure` is why its Binding could not be written.
pub(super) fn status(
    model: &Model,
    policy: &BindingPolicy,
    meant: &Meant,
    binding: Option<&Binding>,
    failure: Option<&str>,
    now: &Time,
) -> BindingPolicyStatus {
    let name = policy.metadata.name.as_deref().unwrap_or_default();
    let is_written = failure.is_none()
        && binding.is_some_and(|binding| {
            let wanted = spec(model, meant, Some(&binding.spec));
            are_same(&binding.spec, &wanted)
        });
    let mut errors: Vec<_> = meant.policy.problems().cloned().collect();
    for (resource, trouble) in model.troubles(name) {
        errors.push(format!("{resource} cannot be watched: {trouble}"));
    }
    errors.extend(singleton_problem(model, meant));
    errors.extend(failure.map(|failure| format!("the Binding could not be written: {failure}")));
    errors.extend(binding.into_iter().flat_map(|b| b.status.errors.clone()));
    BindingPolicyStatus {
        observed_generation: policy.metadata.generation.unwrap_or_default(),
        conditions: conditions(policy, meant, binding, is_written, failure, now),
        errors,
    }
}

fn conditions(
    policy: &BindingPolicy,
    meant: &Meant,
    binding: Option<&Binding>,
    is_written: bool,
    failure: Option<&str>,
    now: &Time,
) -> Vec<Condition> {
    let mut list = binding.map_or_else(Vec::new, |b| b.status.conditions.clone());
    let is_answered = is_written
        && binding.is_some_and(|binding| {
            Some(binding.status.observed_generation) == binding.metadata.generation
        });
    for statement in unanswered(meant, is_written, failure) {
        if is_answered && conditions::find(&list, &statement.type_).is_some() {
            continue;
        }
        carry(&mut list, policy, &statement.type_);
        conditions::set(&mut list, &statement, now.clone());
    }
    if let Some(statement) = not_accepted(meant) {
        carry(&mut list, policy, &statement.type_);
        conditions::set(&mut list, &statement, now.clone());
    }
    list
}

/// Puts what the policy says itself in the place of what its Binding says, so that the time of the
/// last transition is kept.
fn carry(list: &mut Vec<Condition>, policy: &BindingPolicy, type_: &str) {
    list.retain(|condition| condition.type_ != type_);
    list.extend(conditions::find(&policy.status.conditions, type_).cloned());
}

/// What is to be said while transport has not answered the policy's present meaning.
fn unanswered(meant: &Meant, is_written: bool, failure: Option<&str>) -> [Statement; 2] {
    let what = counts(meant.objects.len(), meant.destinations.len());
    let (reason, message) = match (failure, is_written) {
        (Some(_), _) => (
            reasons::RECONCILE_ERROR,
            format!("{what}; the Binding could not be written, see status.errors"),
        ),
        (None, false) => (
            reasons::CREATING,
            format!("{what}; the Binding is being written"),
        ),
        (None, true) => (
            reasons::CREATING,
            format!("{what}; the Binding is written and its works are being written"),
        ),
    };
    let synced = Statement::new(types::SYNCED, Status::False, reason, "");
    let ready = Statement::new(types::READY, Status::False, reasons::UNAVAILABLE, "");
    [
        synced.with_message(message.clone()),
        ready.with_message(message),
    ]
}

/// Such as `3 objects to 2 destinations`.
fn counts(objects: usize, destinations: usize) -> String {
    let counted = |count: usize, noun: &str| match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    };
    format!(
        "{} to {}",
        counted(objects, "object"),
        counted(destinations, "destination")
    )
}

fn not_accepted(meant: &Meant) -> Option<Statement> {
    let count = meant.waiting.len();
    if count == 0 {
        return None;
    }
    let names: Vec<_> = meant
        .waiting
        .iter()
        .take(NAMES_MAX)
        .map(String::as_str)
        .collect();
    let more = match count - names.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "matching WECs that are not accepted, or are leaving, get nothing new: {}{more}; accept them \
         with clusteradm accept --clusters",
        names.join(", ")
    );
    let statement = Statement::new(
        types::DESTINATIONS_ACCEPTED,
        Status::False,
        reasons::UNAVAILABLE,
        "",
    );
    Some(statement.with_message(message))
}

/// Upstream's error about objects whose one status is wanted and that do not go to one WEC.
fn singleton_problem(model: &Model, meant: &Meant) -> Option<String> {
    let wanted = meant
        .objects
        .iter()
        .filter(|(_, treatment)| treatment.want_singleton_reported_state);
    let examples: Vec<_> = wanted
        .map(|(key, _)| (key, model.singleton_destinations(key).len()))
        .filter(|(_, count)| *count != 1)
        .take(SINGLETON_EXAMPLES_MAX)
        .map(|(key, count)| {
            let kind = model.kind(&key.resource).map(|watched| &watched.kind);
            let (version, kind) = kind.map_or(("", ""), |kind| (&kind.version, &kind.kind));
            let object = json!({
                "GVK": {"Group": key.resource.group, "Version": version, "Kind": kind},
                "Resource": key.resource.resource,
                "ObjectName": {"Namespace": key.name.namespace, "Name": key.name.name},
            });
            json!({"ObjectID": object, "NumWECs": count})
        })
        .collect();
    (!examples.is_empty()).then(|| {
        format!(
            "Singleton reported status return is requested but some objects have the wrong number \
             of associated WECs, for example: {}",
            json!(examples)
        )
    })
}

#[cfg(test)]
mod tests;
