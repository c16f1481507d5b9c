//! Deregistration with works and add-ons: what goes when, in whatever order things are deleted.

use crate::fixture;
use crate::fixture::Its;
use crate::fixture::says;
use hyades_api::cluster::ManagedCluster;
use hyades_api::names;
use hyades_api::names::annotations;
use hyades_api::names::finalizers;
use hyades_inventory::hub::Options;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::k8s_openapi::api::rbac::v1::ClusterRole;
use hyades_runtime::k8s_openapi::api::rbac::v1::RoleBinding;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DynamicObject;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::core::ApiResource;
use hyades_runtime::kube::core::GroupVersionKind;
use serde_json::json;

const WORK: (&str, &str, &str) = ("work.open-cluster-management.io", "v1", "ManifestWork");
const ADDON: (&str, &str, &str) = (
    "addon.open-cluster-management.io",
    "v1beta1",
    "ManagedClusterAddOn",
);

type Kind = (&'static str, &'static str, &'static str);

fn api((group, version, kind): Kind, client: &Client, cluster: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(client.clone(), cluster, &resource)
}

/// Creates an object that somebody has to let go, with this clean-up priority.
async fn create(its: &Its, (group, version, kind): Kind, cluster: &str, name: &str, priority: u32) {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
    let spec = match kind == WORK.2 {
        true => json!({"workload": {"manifests": [map]}}),
        false => json!({}),
    };
    let object = json!({
        "apiVersion": format!("{group}/{version}"), "kind": kind,
        "metadata": {
            "name": name, "namespace": cluster, "finalizers": ["example.com/held"],
            "annotations": {annotations::CLEANUP_PRIORITY: priority.to_string()},
        },
        "spec": spec,
    });
    its.apply(&object).await;
}

/// Lets go what is being deleted; the names of what is left.
async fn release(kind: Kind, client: &Client, cluster: &str) -> Vec<String> {
    let api = api(kind, client, cluster);
    let listed = api.list(&Default::default()).await;
    let mut left = Vec::new();
    for object in listed.expect("a list").items {
        left.push(object.name_any());
        if object.metadata.deletion_timestamp.is_some() {
            let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            let released = api
                .patch(&object.name_any(), &PatchParams::default(), &patch)
                .await;
            // Whoever was faster has let it go as well.
            drop(released);
        }
    }
    left
}

async fn going(kind: Kind, client: &Client, cluster: &str) -> Vec<(String, bool)> {
    let listed = api(kind, client, cluster).list(&Default::default()).await;
    let objects = listed.expect("a list").items.into_iter();
    objects
        .map(|object| {
            let is_going = object.metadata.deletion_timestamp.is_some();
            (object.name_any(), is_going)
        })
        .collect()
}

fn remaining(object: &ManagedCluster, message: &str) -> bool {
    let all = &object.status.conditions;
    says(object, "Deleting", "False", "ResourceRemaining")
        && all.iter().any(|condition| condition.message == message)
}

async fn delete_cluster(its: &Its, cluster: &str) {
    let inventory = Api::<ManagedCluster>::all(its.admin());
    let deleted = inventory.delete(cluster, &Default::default()).await;
    deleted.expect("deleted");
}

/// Whether nothing of a WEC is left that gives a right or holds its name.
async fn is_gone(admin: &Client, cluster: &str) -> bool {
    let name = cluster.parse().expect("a cluster name");
    let inventory = Api::<ManagedCluster>::all(admin.clone());
    let object = inventory.get_opt(cluster).await;
    let role = Api::<ClusterRole>::all(admin.clone());
    let bindings = Api::<RoleBinding>::namespaced(admin.clone(), cluster);
    let mailbox = Api::<Namespace>::all(admin.clone()).get_opt(cluster).await;
    let pin = mailbox.expect("an answer").and_then(|mailbox| {
        mailbox
            .annotations()
            .get(annotations::PINNED_AGENT)
            .cloned()
    });
    object.expect("an answer").is_none()
        && role
            .get_opt(&names::cluster_role(&name))
            .await
            .expect("an answer")
            .is_none()
        && bindings
            .list(&Default::default())
            .await
            .expect("a list")
            .items
            .is_empty()
        && pin.is_none()
}

#[tokio::test]
async fn addons_go_before_works_and_low_priorities_before_high_ones() {
    let its = Its::with_hub(Options::default()).await;
    its.register("c1", "a").await;
    create(&its, WORK, "c1", "late", 50).await;
    create(&its, WORK, "c1", "early", 0).await;
    create(&its, ADDON, "c1", "addon", 100).await;
    delete_cluster(&its, "c1").await;
    its.until_cluster("c1", "waits for its add-on", |object| {
        remaining(
            object,
            "The resource managedclusteraddons is remaning, the remaining count is 1, the \
             finalizer pending count is 1",
        )
    })
    .await;
    let flags = |pairs: &[(&str, bool)]| -> Vec<(String, bool)> {
        let pairs = pairs.iter();
        pairs.map(|(name, is)| ((*name).to_owned(), *is)).collect()
    };
    let admin = its.admin();
    let works = going(WORK, &admin, "c1").await;
    assert_eq!(works, flags(&[("early", false), ("late", false)]));

    release(ADDON, &admin, "c1").await;
    its.until_cluster("c1", "waits for both works", |object| {
        remaining(
            object,
            "The resource manifestworks is remaning, the remaining count is 2, the finalizer \
             pending count is 2",
        )
    })
    .await;
    its.until("the first work is being deleted", async |admin| {
        going(WORK, admin, "c1").await == flags(&[("early", true), ("late", false)])
    })
    .await;
    release(WORK, &admin, "c1").await;
    its.until("the other work is being deleted", async |admin| {
        going(WORK, admin, "c1").await == flags(&[("late", true)])
    })
    .await;
    release(WORK, &admin, "c1").await;
    its.until("nothing is left", async |admin| is_gone(admin, "c1").await)
        .await;
    let mailbox = Api::<Namespace>::all(admin).get("c1").await;
    mailbox.expect("the mailbox itself stays");
}

#[tokio::test]
async fn an_empty_mailbox_is_told_before_the_inventory_object_is_let_go() {
    let its = Its::with_hub(Options::default()).await;
    its.register("c1", "a").await;
    create(&its, WORK, "c1", "work", 0).await;
    let inventory = Api::<ManagedCluster>::all(its.admin());
    let object = inventory.get("c1").await.expect("there");
    let mut all = object.finalizers().to_vec();
    all.push("example.com/held".to_owned());
    let patch = Patch::Merge(json!({"metadata": {"finalizers": all}}));
    let held = inventory.patch("c1", &PatchParams::default(), &patch).await;
    held.expect("patched");
    delete_cluster(&its, "c1").await;
    its.until("the work is let go", async |admin| {
        release(WORK, admin, "c1").await.is_empty()
    })
    .await;
    its.until_cluster("c1", "is let go by the hub", |object| {
        object.finalizers() == ["example.com/held"]
            && says(object, "Deleting", "True", "NoResource")
    })
    .await;
}

/// What people delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Work,
    Addon,
    Cluster,
    Mailbox,
}

/// All orders of these steps.
fn orders(steps: &[Step]) -> Vec<Vec<Step>> {
    if steps.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (index, first) in steps.iter().enumerate() {
        let mut rest = steps.to_vec();
        rest.remove(index);
        for mut order in orders(&rest) {
            order.insert(0, *first);
            all.push(order);
        }
    }
    all
}

#[tokio::test]
async fn whatever_is_deleted_first_nothing_is_left_in_the_end() {
    let its = Its::with_hub(Options::default()).await;
    let orders = orders(&[Step::Work, Step::Addon, Step::Cluster, Step::Mailbox]);
    assert_eq!(orders.len(), 24);
    for (index, order) in orders.iter().enumerate() {
        let cluster = format!("c{index}");
        let agent = its.register(&cluster, "a").await;
        create(&its, WORK, &cluster, "w1", 0).await;
        create(&its, ADDON, &cluster, "a1", 0).await;
        let admin = its.admin();
        for step in order {
            let default = Default::default();
            match step {
                Step::Work => drop(api(WORK, &admin, &cluster).delete("w1", &default).await),
                Step::Addon => drop(api(ADDON, &admin, &cluster).delete("a1", &default).await),
                Step::Cluster => delete_cluster(&its, &cluster).await,
                Step::Mailbox => {
                    drop(
                        Api::<Namespace>::all(admin.clone())
                            .delete(&cluster, &default)
                            .await,
                    );
                }
            }
        }
        // The agent may clean up as long as there is anything to clean up.
        let own = its.agent(&agent);
        let what = format!("{cluster} has let go its work, deleted by {order:?}");
        its.until(&what, async |admin| {
            if going(WORK, admin, &cluster).await.is_empty() {
                return true;
            }
            release(WORK, &own, &cluster).await;
            false
        })
        .await;
        let what = format!("nothing of {cluster} is left, deleted by {order:?}");
        its.until(&what, async |admin| {
            release(ADDON, admin, &cluster).await.is_empty() && is_gone(admin, &cluster).await
        })
        .await;
    }
}

#[tokio::test]
async fn without_its_gate_the_hub_deletes_no_work_and_waits_for_those_there_are() {
    let its = Its::with_hub(Options {
        feature_gates: vec!["ResourceCleanup=false".to_owned()],
        ..Options::default()
    })
    .await;
    let agent = its.register("c1", "a").await;
    its.until_cluster("c1", "has one finalizer", |object| {
        object.finalizers() == [finalizers::API_RESOURCE_CLEANUP]
    })
    .await;
    create(&its, WORK, "c1", "w1", 0).await;
    delete_cluster(&its, "c1").await;
    let own = its.agent(&agent);
    its.until("the agent has its works alone", async |_| {
        !fixture::may_see_itself(&own, "c1").await
    })
    .await;
    let works = going(WORK, &own, "c1").await;
    assert_eq!(works, [("w1".to_owned(), false)]);
    let deleted = api(WORK, &its.admin(), "c1")
        .delete("w1", &Default::default())
        .await;
    deleted.expect("deleted");
    release(WORK, &own, "c1").await;
    its.until("nothing is left", async |admin| is_gone(admin, "c1").await)
        .await;
}
