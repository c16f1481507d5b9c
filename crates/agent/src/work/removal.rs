//! Taking objects out of the WEC that no work wants any more.

use super::executor::Hands;
use hyades_api::names::WORK_GROUP;
use hyades_api::work::AppliedResource;
use hyades_runtime::Trouble;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ApiResource;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::DynamicObject;
use hyades_runtime::kube::api::Preconditions;
use hyades_runtime::kube::core::GroupVersionKind;
use serde_json::json;

/// What to do with an object that a work no longer wants.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// It is someone else's, or orphaned: leave it.
    Leave,
    /// Other works want it too: only remove this work's mark.
    Disown(Vec<OwnerReference>),
    /// Delete it.
    Delete,
    /// It is being deleted: wait.
    Wait,
}

/// Decides about a live object. `uid` is that of the work's AppliedManifestWork.
pub fn decide(live: &DynamicObject, wanted_uid: &str, owner_uid: &str) -> Action {
    if !wanted_uid.is_empty() && live.uid().as_deref() != Some(wanted_uid) {
        return Action::Leave;
    }
    let (ours, others): (Vec<_>, Vec<_>) = live
        .owner_references()
        .iter()
        .cloned()
        .partition(|owner| owner.uid == owner_uid);
    if ours.is_empty() {
        return Action::Leave;
    }
    let is_work = |owner: &OwnerReference| {
        owner.kind == "AppliedManifestWork"
            && owner
                .api_version
                .split_once('/')
                .is_some_and(|(group, _)| group == WORK_GROUP)
    };
    if others.iter().any(is_work) {
        return Action::Disown(others);
    }
    if live.metadata.deletion_timestamp.is_some() {
        Action::Wait
    } else {
        Action::Delete
    }
}

/// Removes one object; returns whether it is out of the way.
///
/// # Errors
///
/// Those of the API server, a conflict included: trying again is right.
pub async fn remove(
    hands: &Hands,
    resource: &AppliedResource,
    owner_uid: &str,
) -> kube::Result<bool> {
    match (
        remove_as(&hands.first, resource, owner_uid).await,
        &hands.second,
    ) {
        (Err(error), Some(second)) if Trouble::of(&error).is_forbidden() => {
            remove_as(second, resource, owner_uid).await
        }
        (result, _) => result,
    }
}

async fn remove_as(
    client: &Client,
    resource: &AppliedResource,
    owner_uid: &str,
) -> kube::Result<bool> {
    let api = api(client, resource);
    let live = match api.get_opt(&resource.name).await {
        Ok(Some(live)) => live,
        Ok(None) => return Ok(true),
        // The kind itself is gone, and with it every object.
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(true),
        Err(error) => return Err(error),
    };
    match decide(&live, &resource.uid, owner_uid) {
        Action::Leave => Ok(true),
        Action::Wait => Ok(false),
        Action::Disown(others) => {
            let changes = json!({"metadata": {"ownerReferences": others}});
            hyades_runtime::apply::patch(&api, &live, changes)
                .await
                .map(|_| true)
        }
        Action::Delete => {
            let preconditions = Preconditions {
                uid: live.uid(),
                resource_version: None,
            };
            let parameters = DeleteParams::background().preconditions(preconditions);
            match api.delete(&resource.name, &parameters).await {
                // An object in the answer still has finalizers or a grace period.
                Ok(answer) => Ok(answer.right().is_some()),
                Err(error) if Trouble::of(&error).is_not_found() => Ok(true),
                Err(error) => Err(error),
            }
        }
    }
}

fn api(client: &Client, resource: &AppliedResource) -> Api<DynamicObject> {
    // The kind is not known here, and only error texts would show it.
    let kind = GroupVersionKind::gvk(&resource.group, &resource.version, &resource.resource);
    let described = ApiResource::from_gvk_with_plural(&kind, &resource.resource);
    if resource.namespace.is_empty() {
        Api::all_with(client.clone(), &described)
    } else {
        Api::namespaced_with(client.clone(), &resource.namespace, &described)
    }
}

/// The resources to remove: those of `before` that are not in `after`, or are there with another
/// uid.
pub fn surplus(before: &[AppliedResource], after: &[AppliedResource]) -> Vec<AppliedResource> {
    let same = |a: &AppliedResource, b: &AppliedResource| {
        (&a.group, &a.resource, &a.namespace, &a.name, &a.uid)
            == (&b.group, &b.resource, &b.namespace, &b.name, &b.uid)
    };
    before
        .iter()
        .filter(|old| !after.iter().any(|new| same(old, new)))
        .cloned()
        .collect()
}

/// Sorted as the list is kept, without repeats.
pub fn sorted(mut resources: Vec<AppliedResource>) -> Vec<AppliedResource> {
    fn key(resource: &AppliedResource) -> (&str, &str, &str, &str, &str, &str) {
        (
            &resource.group,
            &resource.version,
            &resource.resource,
            &resource.namespace,
            &resource.name,
            &resource.uid,
        )
    }
    resources.sort_by(|a, b| key(a).cmp(&key(b)));
    resources.dedup();
    resources
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::merge::tests::owner;

    fn live(owners: &[&str], deleting: bool) -> DynamicObject {
        let mut object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "uid": "1"},
        }))
        .expect("an object");
        let owners = owners
            .iter()
            .map(|uid| owner(uid, false).reference)
            .collect();
        object.metadata.owner_references = Some(owners);
        if deleting {
            object.metadata.deletion_timestamp = Some(
                hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                    jiff::Timestamp::UNIX_EPOCH,
                ),
            );
        }
        object
    }

    fn resource(name: &str, uid: &str) -> AppliedResource {
        AppliedResource {
            resource: "configmaps".to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            ..AppliedResource::default()
        }
    }

    #[test]
    fn only_what_the_work_owns_alone_is_deleted() {
        assert_eq!(decide(&live(&["u"], false), "1", "u"), Action::Delete);
        assert_eq!(decide(&live(&["u"], true), "1", "u"), Action::Wait);
        assert_eq!(
            decide(&live(&[], false), "1", "u"),
            Action::Leave,
            "orphaned"
        );
        assert_eq!(
            decide(&live(&["v"], false), "1", "u"),
            Action::Leave,
            "another work's"
        );
        assert_eq!(
            decide(&live(&["u"], false), "2", "u"),
            Action::Leave,
            "a successor of the same name"
        );
        let others = vec![owner("v", false).reference];
        assert_eq!(
            decide(&live(&["u", "v"], false), "1", "u"),
            Action::Disown(others)
        );
    }

    #[test]
    fn surplus_is_what_vanished_or_was_made_anew() {
        let before = [resource("a", "1"), resource("b", "2"), resource("c", "3")];
        let after = [resource("a", "1"), resource("c", "4")];
        let names: Vec<_> = surplus(&before, &after)
            .into_iter()
            .map(|old| old.name + &old.uid)
            .collect();
        assert_eq!(names, ["b2", "c3"]);
    }

    #[test]
    fn the_list_is_kept_sorted_and_without_repeats() {
        let list = sorted(vec![
            resource("b", "1"),
            resource("a", "2"),
            resource("b", "1"),
        ]);
        let names: Vec<_> = list.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
