//! What every active namespace has: the service account `default` and the config map with the
//! certificate by which clients know the server.

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::queue::Queue;
use super::work;
use crate::loopback::Loopback;
use crate::names::Gvr;
use crate::names::resource_prefix;
use crate::names::split_key;
use crate::object;
use crate::status::Status;

/// The service account of pods that name none.
const ACCOUNT: &str = "default";

/// The config map with the serving authority's certificate.
const ROOT_CA: &str = "kube-root-ca.crt";

/// Its key.
const ROOT_CA_KEY: &str = "ca.crt";

/// Starts the controller.
pub fn spawn(space: &Loopback, ca_pem: Arc<str>, stop: &CancellationToken) -> JoinHandle<()> {
    let queue: Queue<String> = Queue::default();
    let feed = queue.clone();
    space.store().hook(
        &resource_prefix("", "namespaces"),
        Box::new(move |event| {
            if let (Some(_), Some((_, name))) = (&event.value, split_key(&event.key)) {
                feed.add(name.to_owned());
            }
        }),
    );
    for (resource, wanted) in [("serviceaccounts", ACCOUNT), ("configmaps", ROOT_CA)] {
        let feed = queue.clone();
        space.store().hook(
            &resource_prefix("", resource),
            Box::new(move |event| match split_key(&event.key) {
                // Creations are this controller's own, or as good.
                Some((namespace, name)) if name == wanted && event.previous.is_some() => {
                    feed.add(namespace.to_owned());
                }
                _ => {}
            }),
        );
    }
    let space = space.clone();
    work("namespace contents", queue, stop, move |namespace| {
        let (space, ca_pem) = (space.clone(), Arc::clone(&ca_pem));
        async move { reconcile(&space, &namespace, &ca_pem).await }
    })
}

async fn reconcile(space: &Loopback, namespace: &str, ca_pem: &str) -> Result<(), Status> {
    match space.get(&Gvr::NAMESPACES, None, namespace) {
        Ok(present) if !object::is_deleting(&present) => {}
        Err(status) if !status.is_not_found() => return Err(status),
        _ => return Ok(()),
    }
    let account = space.get(&Gvr::SERVICE_ACCOUNTS, Some(namespace), ACCOUNT);
    let root_ca = space.get(&Gvr::CONFIG_MAPS, Some(namespace), ROOT_CA);
    let (account, root_ca) = tokio::join!(
        async {
            match account {
                Err(status) if status.is_not_found() => {
                    create(space, &Gvr::SERVICE_ACCOUNTS, namespace, account_object()).await
                }
                other => other.map(|_| ()),
            }
        },
        async {
            match root_ca {
                Err(status) if status.is_not_found() => {
                    create(space, &Gvr::CONFIG_MAPS, namespace, root_ca_object(ca_pem)).await
                }
                Ok(present) => match refreshed(present, ca_pem) {
                    Some(refreshed) => space
                        .update(&Gvr::CONFIG_MAPS, Some(namespace), refreshed)
                        .await
                        .map(|_| ()),
                    None => Ok(()),
                },
                Err(status) => Err(status),
            }
        },
    );
    account.and(root_ca)
}

/// Creates an object; that another was faster, or that the namespace began to end, is fine.
async fn create(
    space: &Loopback,
    resource: &Gvr,
    namespace: &str,
    object: Value,
) -> Result<(), Status> {
    match space.create(resource, Some(namespace), object).await {
        Err(status) if status.is_already_exists() || status.is_not_found() => Ok(()),
        Err(status) if is_terminating(&status) => Ok(()),
        other => other.map(|_| ()),
    }
}

fn is_terminating(status: &Status) -> bool {
    status.details.as_ref().is_some_and(|details| {
        details
            .causes
            .iter()
            .any(|cause| cause.reason == "NamespaceTerminating")
    })
}

fn account_object() -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}})
}

fn root_ca_object(ca_pem: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": ROOT_CA},
        "data": {ROOT_CA_KEY: ca_pem},
    })
}

/// The config map with the right certificate; `None` when it has it.
fn refreshed(mut present: Value, ca_pem: &str) -> Option<Value> {
    let wanted = json!({ROOT_CA_KEY: ca_pem});
    if present["data"] == wanted {
        return None;
    }
    present["data"] = wanted;
    Some(present)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_certificate_is_put_right_and_a_right_one_left() {
        let present = root_ca_object("new");
        assert_eq!(refreshed(present.clone(), "new"), None);
        let mut stale = present.clone();
        stale["data"] = json!({ROOT_CA_KEY: "old", "more": "x"});
        assert_eq!(refreshed(stale, "new"), Some(present));
    }
}
