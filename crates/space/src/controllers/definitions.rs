//! Deleting a CustomResourceDefinition deletes its objects first, and lets others of its group have
//! the names that it held.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;

use serde_json::Value;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::absent_is_done;
use super::queue::Queue;
use super::work;
use crate::delete::CUSTOM_RESOURCE_FINALIZER;
use crate::delete::DeleteOptions;
use crate::loopback::Loopback;
use crate::names::Gvr;
use crate::names::resource_prefix;
use crate::names::split_key;
use crate::object;
use crate::status::Status;
use crate::strategy::definitions;

/// Starts the controller.
pub fn spawn(space: &Loopback, stop: &CancellationToken) -> JoinHandle<()> {
    let queue: Queue<String> = Queue::default();
    let going: Arc<Mutex<HashSet<String>>> = Arc::default();
    let resource = &Gvr::CUSTOM_RESOURCE_DEFINITIONS;
    let prefix = resource_prefix(&resource.group, &resource.resource);
    let feed = queue.clone();
    let noted = Arc::clone(&going);
    space.store().hook(
        &prefix,
        Box::new(move |event| {
            let Some((_, name)) = split_key(&event.key) else {
                return;
            };
            let mut going = noted.lock().expect("no code panics while it holds the set");
            let is_going = event
                .value
                .as_ref()
                .is_some_and(|entry| object::is_deleting(&object::decode(&entry.value)));
            if is_going {
                going.insert(name.to_owned());
                feed.add(name.to_owned());
            } else {
                going.remove(name);
            }
            if event.value.is_none() {
                feed.add(name.to_owned());
            }
        }),
    );
    let feed = queue.clone();
    space.store().hook(
        "",
        Box::new(move |event| {
            if event.value.is_some() {
                return;
            }
            let going = going.lock().expect("no code panics while it holds the set");
            if going.is_empty() {
                return;
            }
            if let Some(name) = definition_of(&event.key)
                && going.contains(&name)
            {
                feed.add(name);
            }
        }),
    );
    let space = space.clone();
    work("custom resource clean-up", queue, stop, move |name| {
        let space = space.clone();
        async move { reconcile(&space, &name).await }
    })
}

/// The definition of a stored object: `RESOURCE.GROUP`.
fn definition_of(key: &str) -> Option<String> {
    let mut parts = key.split('/');
    let (group, resource) = (parts.next()?, parts.next()?);
    Some(format!("{resource}.{group}"))
}

async fn reconcile(space: &Loopback, name: &str) -> Result<(), Status> {
    let definition = match space.get(&Gvr::CUSTOM_RESOURCE_DEFINITIONS, None, name) {
        Ok(definition) => definition,
        Err(status) if status.is_not_found() => return give_names(space, name).await,
        Err(status) => return Err(status),
    };
    let finalizers = object::finalizers(&definition);
    if !object::is_deleting(&definition) || !finalizers.contains(&CUSTOM_RESOURCE_FINALIZER) {
        return Ok(());
    }
    if let Some(resource) = served(&definition)
        && space
            .registry()
            .find(&resource)
            .is_some_and(|found| found.is_custom())
        && !delete_all(space, &resource).await?
    {
        // Objects with finalizers remain; the last one's deletion calls again.
        return Ok(());
    }
    let rest: Vec<&str> = finalizers
        .into_iter()
        .filter(|finalizer| *finalizer != CUSTOM_RESOURCE_FINALIZER)
        .collect();
    let patch = json!({"metadata": {
        "resourceVersion": object::resource_version(&definition),
        "finalizers": rest,
    }});
    absent_is_done(
        space
            .merge_patch(&Gvr::CUSTOM_RESOURCE_DEFINITIONS, None, name, "", patch)
            .await,
    )
}

/// Has the names of others of a group decided on again once a definition of it is gone.
async fn give_names(space: &Loopback, gone: &str) -> Result<(), Status> {
    let resource = &Gvr::CUSTOM_RESOURCE_DEFINITIONS;
    let (definitions, _) = space.list(resource, None, "")?;
    let group = gone.split_once('.').map(|(_, group)| group);
    for definition in &definitions {
        let is_refused = !definitions::holds(definition, "NamesAccepted");
        if is_refused && definition["spec"]["group"].as_str() == group {
            // Names are decided on with every write.
            let name = object::name(definition);
            let written = space.merge_patch(resource, None, name, "", json!({}));
            absent_is_done(written.await)?;
        }
    }
    Ok(())
}

/// The resource in a version that is served; the objects are the same in all.
fn served(definition: &Value) -> Option<Gvr> {
    let spec = &definition["spec"];
    let version = spec["versions"]
        .as_array()?
        .iter()
        .find(|version| version["served"] == true)?;
    Some(Gvr::new(
        spec["group"].as_str()?,
        version["name"].as_str()?,
        spec["names"]["plural"].as_str()?,
    ))
}

/// Deletes every object; whether none is left.
async fn delete_all(space: &Loopback, resource: &Gvr) -> Result<bool, Status> {
    let (objects, _) = space.list(resource, None, "")?;
    let mut empty = true;
    for present in objects {
        if object::is_deleting(&present) {
            empty = false;
            continue;
        }
        let namespace = object::namespace(&present);
        let gone = space
            .delete(
                resource,
                (!namespace.is_empty()).then_some(namespace),
                object::name(&present),
                DeleteOptions::default(),
            )
            .await;
        match gone {
            Ok(None) => {}
            Ok(Some(_)) => empty = false,
            Err(status) if status.is_not_found() => {}
            Err(status) => return Err(status),
        }
    }
    Ok(empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_leads_to_its_definition() {
        assert_eq!(
            definition_of("demo.io/widgets/ns/w"),
            Some("widgets.demo.io".to_owned())
        );
    }

    #[test]
    fn objects_are_reached_through_a_served_version() {
        let definition = json!({"spec": {"group": "demo.io", "names": {"plural": "widgets"},
            "versions": [{"name": "v1alpha1", "served": false}, {"name": "v1", "served": true}]}});
        assert_eq!(
            served(&definition),
            Some(Gvr::new("demo.io", "v1", "widgets"))
        );
    }
}
