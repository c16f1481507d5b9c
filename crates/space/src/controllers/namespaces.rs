//! Ends namespaces: deletes what is in them, pods first, says what holds them up, and lets them go
//! when they are empty.

use std::collections::BTreeMap;
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
use crate::delete::DeleteOptions;
use crate::delete::Propagation;
use crate::loopback::Loopback;
use crate::names::Gvr;
use crate::names::resource_prefix;
use crate::names::split_key;
use crate::object;
use crate::status::Status;

/// The finalizer by which a namespace waits until it is empty.
const FINALIZER: &str = "kubernetes";

/// What is still in an ending namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Remains {
    /// Objects by `resource.group`.
    objects: BTreeMap<String, usize>,
    /// Objects by the finalizer they wait for.
    finalizers: BTreeMap<String, usize>,
    /// Deletions that failed.
    failures: Vec<String>,
}

impl Remains {
    fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.failures.is_empty()
    }
}

/// Starts the controller.
pub fn spawn(space: &Loopback, stop: &CancellationToken) -> JoinHandle<()> {
    let queue: Queue<String> = Queue::default();
    let going: Arc<Mutex<HashSet<String>>> = Arc::default();
    let feed = queue.clone();
    let noted = Arc::clone(&going);
    space.store().hook(
        &resource_prefix("", "namespaces"),
        Box::new(move |event| {
            let Some((_, name)) = split_key(&event.key) else {
                return;
            };
            let is_going = event
                .value
                .as_ref()
                .is_some_and(|entry| object::is_deleting(&object::decode(&entry.value)));
            let mut going = noted.lock().expect("no code panics while it holds the set");
            if !is_going {
                going.remove(name);
            } else if going.insert(name.to_owned()) {
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
            if let Some((namespace, _)) = split_key(&event.key)
                && going.contains(namespace)
            {
                feed.add(namespace.to_owned());
            }
        }),
    );
    let space = space.clone();
    work("namespace life cycle", queue, stop, move |name| {
        let space = space.clone();
        async move { reconcile(&space, &name).await }
    })
}

async fn reconcile(space: &Loopback, name: &str) -> Result<(), Status> {
    let namespace = match space.get(&Gvr::NAMESPACES, None, name) {
        Ok(namespace) => namespace,
        Err(status) => return absent_is_done::<()>(Err(status)),
    };
    let held = namespace["spec"]["finalizers"]
        .as_array()
        .is_some_and(|list| list.iter().any(|finalizer| finalizer == FINALIZER));
    if !object::is_deleting(&namespace) || !held {
        return Ok(());
    }
    let remains = empty(space, name).await?;
    if remains.is_empty() {
        return finalize(space, namespace).await;
    }
    let status = with_conditions(&namespace["status"], &remains, &object::now());
    if status != namespace["status"] {
        let mut changed = namespace;
        changed["status"] = status;
        absent_is_done(space.update_status(&Gvr::NAMESPACES, None, changed).await)?;
    }
    match remains.failures.first() {
        None => Ok(()),
        Some(failure) => Err(Status::internal(failure)),
    }
}

/// Deletes everything in the namespace: pods first, and the rest only when none is left, because
/// what runs in pods may need it while it stops.
async fn empty(space: &Loopback, namespace: &str) -> Result<Remains, Status> {
    let (pods, rest): (Vec<_>, Vec<_>) = space
        .registry()
        .stored()
        .into_iter()
        .filter(|resource| resource.namespaced)
        .map(|resource| resource.gvr.clone())
        .partition(|resource| *resource == Gvr::PODS);
    let mut remains = Remains::default();
    for resource in &pods {
        delete_all(space, resource, namespace, &mut remains).await?;
    }
    if remains.is_empty() {
        for resource in &rest {
            delete_all(space, resource, namespace, &mut remains).await?;
        }
    }
    Ok(remains)
}

async fn delete_all(
    space: &Loopback,
    resource: &Gvr,
    namespace: &str,
    remains: &mut Remains,
) -> Result<(), Status> {
    let (objects, _) = match space.list(resource, Some(namespace), "") {
        // A definition may go while its objects are being deleted.
        Err(status) if status.is_not_found() => return Ok(()),
        other => other?,
    };
    let deletions = objects.into_iter().map(|present| async move {
        if object::is_deleting(&present) {
            return Ok(Some(present));
        }
        let options = DeleteOptions {
            uid: Some(object::uid(&present).to_owned()),
            propagation: Some(Propagation::Background),
            ..DeleteOptions::default()
        };
        space
            .delete(resource, Some(namespace), object::name(&present), options)
            .await
    });
    // Together, so that one fsync commits many.
    for result in futures::future::join_all(deletions).await {
        match result {
            Ok(None) => {}
            Ok(Some(waiting)) => {
                *remains
                    .objects
                    .entry(format!("{}.{}", resource.resource, resource.group))
                    .or_default() += 1;
                for finalizer in object::finalizers(&waiting) {
                    *remains.finalizers.entry(finalizer.to_owned()).or_default() += 1;
                }
            }
            Err(status) if status.is_not_found() => {}
            Err(status) => remains.failures.push(status.message),
        }
    }
    Ok(())
}

async fn finalize(space: &Loopback, mut namespace: Value) -> Result<(), Status> {
    let name = object::name(&namespace).to_owned();
    if let Some(finalizers) = namespace["spec"]["finalizers"].as_array_mut() {
        finalizers.retain(|finalizer| finalizer != FINALIZER);
    }
    let finalized = space
        .replace(&Gvr::NAMESPACES, None, "finalize", namespace)
        .await;
    absent_is_done(finalized)?;
    let still_there = space.get(&Gvr::NAMESPACES, None, &name);
    match still_there {
        Ok(namespace) if object::finalizers(&namespace).is_empty() => absent_is_done(
            space
                .delete(&Gvr::NAMESPACES, None, &name, DeleteOptions::default())
                .await,
        ),
        other => absent_is_done(other),
    }
}

/// One condition's facts: type, whether it is true, reason and message.
type Fact = (&'static str, bool, &'static str, String);

/// The namespace's status with the conditions that say what remains; times change only with the
/// condition's status.
fn with_conditions(status: &Value, remains: &Remains, now: &str) -> Value {
    let mut changed = status.clone();
    let present = status["conditions"].as_array().cloned().unwrap_or_default();
    let conditions: Vec<Value> = facts(remains)
        .into_iter()
        .map(|(kind, holds, reason, message)| {
            let status = if holds { "True" } else { "False" };
            let since = present
                .iter()
                .find(|condition| condition["type"] == kind && condition["status"] == status)
                .map_or_else(|| json!(now), |same| same["lastTransitionTime"].clone());
            json!({
                "type": kind, "status": status, "lastTransitionTime": since,
                "reason": reason, "message": message,
            })
        })
        .collect();
    changed["conditions"] = conditions.into();
    changed
}

fn facts(remains: &Remains) -> Vec<Fact> {
    let list = |counts: &BTreeMap<String, usize>, word: &str| {
        let items: Vec<String> = counts
            .iter()
            .map(|(what, count)| format!("{what} {word} {count} resource instances"))
            .collect();
        items.join(", ")
    };
    let fact =
        |kind, holds: bool, when_true: (&'static str, String), when_false: (&'static str, &str)| {
            if holds {
                (kind, true, when_true.0, when_true.1)
            } else {
                (kind, false, when_false.0, when_false.1.to_owned())
            }
        };
    vec![
        fact(
            "NamespaceDeletionDiscoveryFailure",
            false,
            ("DiscoveryFailed", String::new()),
            (
                "ResourcesDiscovered",
                "All resources successfully discovered",
            ),
        ),
        fact(
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            ("GroupVersionParsingFailed", String::new()),
            (
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed",
            ),
        ),
        fact(
            "NamespaceDeletionContentFailure",
            !remains.failures.is_empty(),
            ("ContentDeletionFailed", remains.failures.join(", ")),
            (
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
        ),
        fact(
            "NamespaceContentRemaining",
            !remains.objects.is_empty(),
            (
                "SomeResourcesRemain",
                format!(
                    "Some resources are remaining: {}",
                    list(&remains.objects, "has")
                ),
            ),
            ("ContentRemoved", "All content successfully removed"),
        ),
        fact(
            "NamespaceFinalizersRemaining",
            !remains.finalizers.is_empty(),
            (
                "SomeFinalizersRemain",
                format!(
                    "Some content in the namespace has finalizers remaining: {}",
                    list(&remains.finalizers, "in")
                ),
            ),
            (
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished",
            ),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conditions_name_what_remains_and_why() {
        let remains = Remains {
            objects: [("configmaps.".to_owned(), 1)].into(),
            finalizers: [("hold.me/x".to_owned(), 1)].into(),
            failures: Vec::new(),
        };
        let status = with_conditions(&json!({"phase": "Terminating"}), &remains, "now");
        let text: Vec<String> = status["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|condition| {
                format!(
                    "{}={} {}: {}",
                    condition["type"].as_str().unwrap(),
                    condition["status"].as_str().unwrap(),
                    condition["reason"].as_str().unwrap(),
                    condition["message"].as_str().unwrap()
                )
            })
            .collect();
        expect_test::expect![[r#"
            NamespaceDeletionDiscoveryFailure=False ResourcesDiscovered: All resources successfully discovered
            NamespaceDeletionGroupVersionParsingFailure=False ParsedGroupVersions: All legacy kube types successfully parsed
            NamespaceDeletionContentFailure=False ContentDeleted: All content successfully deleted, may be waiting on finalization
            NamespaceContentRemaining=True SomeResourcesRemain: Some resources are remaining: configmaps. has 1 resource instances
            NamespaceFinalizersRemaining=True SomeFinalizersRemain: Some content in the namespace has finalizers remaining: hold.me/x in 1 resource instances"#]]
        .assert_eq(&text.join("\n"));
    }

    #[test]
    fn an_unchanged_condition_keeps_its_time() {
        let remains = Remains {
            objects: [("pods.".to_owned(), 2)].into(),
            ..Remains::default()
        };
        let first = with_conditions(&json!({}), &remains, "then");
        assert_eq!(with_conditions(&first, &remains, "now"), first);
    }
}
