//! Keeps the rules of aggregated ClusterRoles equal to those of the roles they collect.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;

use hyades_schema::selector::Selector;
use serde_json::Value;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::absent_is_done;
use super::queue::Queue;
use super::work;
use crate::access::rbac::aggregation::due_rules;
use crate::access::rbac::aggregation::selectors;
use crate::loopback::Loopback;
use crate::names::Gvr;
use crate::names::resource_prefix;
use crate::object;
use crate::status::Status;

/// Which aggregated roles a change of another role concerns. Most roles concern none: those of each
/// cluster must not make every join look at all roles.
#[derive(Debug, Default)]
struct Concerned {
    aggregated: BTreeMap<String, Vec<Selector>>,
}

impl Concerned {
    /// Takes in a role's change; `old` and `new` are its states.
    fn by(&mut self, old: Option<&Value>, new: Option<&Value>) -> BTreeSet<String> {
        let mut concerned = BTreeSet::new();
        if let Some(role) = new.or(old) {
            let name = object::name(role).to_owned();
            match new.and_then(selectors) {
                Some(selectors) => {
                    concerned.insert(name.clone());
                    self.aggregated.insert(name, selectors);
                }
                None => {
                    self.aggregated.remove(&name);
                }
            }
        }
        for role in [old, new].into_iter().flatten() {
            let labels = role["metadata"]["labels"].as_object();
            let finds = |selectors: &[Selector]| {
                labels.is_some() && selectors.iter().any(|selector| selector.matches(labels))
            };
            concerned.extend(
                self.aggregated
                    .iter()
                    .filter(|(_, selectors)| finds(selectors))
                    .map(|(name, _)| name.clone()),
            );
        }
        concerned
    }
}

/// Starts the controller.
pub fn spawn(space: &Loopback, stop: &CancellationToken) -> JoinHandle<()> {
    let queue: Queue<String> = Queue::default();
    let feed = queue.clone();
    let concerned = Arc::new(Mutex::new(Concerned::default()));
    let resource = &Gvr::CLUSTER_ROLES;
    space.store().hook(
        &resource_prefix(&resource.group, &resource.resource),
        Box::new(move |event| {
            let state = |entry: &Arc<hyades_store::Entry>| object::decode(&entry.value);
            let old = event.previous.as_ref().map(state);
            let new = event.value.as_ref().map(state);
            let names = concerned
                .lock()
                .expect("no code panics while it holds the selectors")
                .by(old.as_ref(), new.as_ref());
            names.into_iter().for_each(|name| feed.add(name));
        }),
    );
    let space = space.clone();
    work("role aggregation", queue, stop, move |name| {
        let space = space.clone();
        async move { reconcile(&space, &name).await }
    })
}

async fn reconcile(space: &Loopback, name: &str) -> Result<(), Status> {
    let role = match space.get(&Gvr::CLUSTER_ROLES, None, name) {
        Ok(role) => role,
        Err(status) => return absent_is_done::<()>(Err(status)),
    };
    let (roles, _) = space.list(&Gvr::CLUSTER_ROLES, None, "")?;
    let Some(rules) = due_rules(&role, &roles) else {
        return Ok(());
    };
    let patch = json!({
        "metadata": {"resourceVersion": object::resource_version(&role)},
        "rules": rules,
    });
    absent_is_done(
        space
            .merge_patch(&Gvr::CLUSTER_ROLES, None, name, "", patch)
            .await,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_concerns_the_roles_that_collect_it_before_or_after() {
        let mut concerned = Concerned::default();
        let edit = json!({"metadata": {"name": "edit"},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "edit"}}]}});
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(concerned.by(None, Some(&edit)), set(&["edit"]));
        let plain = json!({"metadata": {"name": "a"}});
        let part = json!({"metadata": {"name": "a", "labels": {"to": "edit"}}});
        assert_eq!(concerned.by(None, Some(&plain)), set(&[]));
        assert_eq!(concerned.by(Some(&plain), Some(&part)), set(&["edit"]));
        assert_eq!(concerned.by(Some(&part), Some(&plain)), set(&["edit"]));
        assert_eq!(concerned.by(Some(&part), None), set(&["edit"]));
        concerned.by(Some(&edit), None);
        assert_eq!(concerned.by(None, Some(&part)), set(&[]));
    }
}
