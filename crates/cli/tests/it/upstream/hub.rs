//! Upstream's hub, write by write, on a space that nobody else looks after.
//!
//! The objects are those of upstream's manifests, groups as subjects included, and come in its
//! order. What the API server does by itself — signing, for one — the space does.

use hyades_api::crds;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;

use super::agent::REQUESTS;
use super::agent::condition;
use super::agent::inventory_object;
use super::agent::lease;
use super::agent::requests_of;
use super::approval_of;
use crate::harness::Host;
use crate::wire::Caller;
use crate::wire::Wire;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// A hub of upstream's in the space `up1`.
pub struct UpstreamHub {
    /// The host; it is stopped with this value.
    pub host: Host,
    /// The way to the hub.
    pub wire: Wire,
    /// Its administrator.
    pub admin: Caller,
}

impl UpstreamHub {
    /// A hub as upstream's `clusteradm init` and operator leave it, and WECs that know nothing of it.
    pub fn start(wecs: &[&str]) -> UpstreamHub {
        let host = Host::serve(&[&["up1"], wecs].concat());
        let wire = Wire::to(&host, "up1");
        let hub = UpstreamHub {
            admin: wire.admin(),
            wire,
            host,
        };
        for definition in crds::hub() {
            let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
            hub.admin.create(path, &definition).ok();
        }
        hub.namespace("open-cluster-management", &json!({}));
        hub.admin
            .create(
                "/api/v1/namespaces/open-cluster-management/serviceaccounts",
                &json!({
                    "apiVersion": "v1",
                    "kind": "ServiceAccount",
                    "metadata": {"name": "agent-registration-bootstrap"},
                }),
            )
            .ok();
        hub.role("open-cluster-management:bootstrap", bootstrap_rules());
        hub.cluster_role_binding(
            "open-cluster-management:bootstrap:agent-registration",
            "open-cluster-management:bootstrap",
            json!([{
                "kind": "ServiceAccount",
                "name": "agent-registration-bootstrap",
                "namespace": "open-cluster-management",
            }]),
        );
        hub.role(
            "open-cluster-management:managedcluster:registration",
            registration_rules(),
        );
        hub.role("open-cluster-management:managedcluster:work", work_rules());
        hub
    }

    fn namespace(&self, name: &str, labels: &Value) {
        let object = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": labels},
        });
        self.admin.create("/api/v1/namespaces", &object).ok();
    }

    /// Creates a ClusterRole.
    pub fn role(&self, name: &str, rules: Value) {
        let object = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": rules,
        });
        self.admin
            .create(&format!("{RBAC}/clusterroles"), &object)
            .ok();
    }

    /// Creates a ClusterRoleBinding.
    pub fn cluster_role_binding(&self, name: &str, role: &str, subjects: Value) {
        let object = binding("ClusterRoleBinding", name, role, subjects);
        let path = format!("{RBAC}/clusterrolebindings");
        self.admin.create(&path, &object).ok();
    }

    /// Approves what the bootstrap account asked for in the name of a WEC; gives the requests.
    pub fn approve(&self, cluster: &str) -> Vec<Value> {
        let listed = self.admin.until(&requests_of(cluster), |answer| {
            answer.body["items"][0].is_object()
        });
        let requests = listed["items"].as_array().cloned().unwrap_or_default();
        for request in &requests {
            let name = request["metadata"]["name"].as_str().expect("a name");
            let path = format!("{REQUESTS}/{name}/approval");
            self.admin.replace(&path, &approval_of(request)).ok();
        }
        requests
    }

    /// Accepts a WEC: everything that upstream's controllers write then, but for the condition.
    pub fn prepare(&self, cluster: &str) {
        let path = inventory_object(cluster);
        let finalizers = ["resource-cleanup", "api-resource-cleanup"]
            .map(|name| format!("cluster.open-cluster-management.io/{name}"));
        let patch = json!({
            "metadata": {"finalizers": finalizers},
            "spec": {"hubAcceptsClient": true},
        });
        self.admin.merge(&path, &patch).ok();
        let label = json!({"open-cluster-management.io/cluster-name": cluster});
        self.namespace(cluster, &label);
        let own = format!("open-cluster-management:managedcluster:{cluster}");
        self.role(&own, cluster_rules(cluster));
        self.cluster_role_binding(&own, &own, groups(cluster));
        for part in ["registration", "work"] {
            let object = binding(
                "RoleBinding",
                &format!("{own}:{part}"),
                &format!("open-cluster-management:managedcluster:{part}"),
                groups(cluster),
            );
            let path = format!("{RBAC}/namespaces/{cluster}/rolebindings");
            self.admin.create(&path, &object).ok();
        }
        let object = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "managed-cluster-lease", "labels": label},
            "spec": {
                "holderIdentity": "managed-cluster-lease",
                "renewTime": format!("{:.6}", Timestamp::now()),
            },
        });
        let leases = lease(cluster).replace("/managed-cluster-lease", "");
        self.admin.create(&leases, &object).ok();
    }

    /// Says that a WEC is accepted.
    pub fn tell_accepted(&self, cluster: &str) {
        let accepted = condition(
            "HubAcceptedManagedCluster",
            "HubClusterAdminAccepted",
            "Accepted by hub cluster admin",
        );
        let synced = condition(
            "ManagedClusterConditionClockSynced",
            "ManagedClusterClockSynced",
            "The clock of the managed cluster is synced with the hub.",
        );
        let patch = json!({"status": {"conditions": [accepted, synced]}});
        let path = format!("{}/status", inventory_object(cluster));
        self.admin.merge(&path, &patch).ok();
    }

    /// Does all that a join needs of a hub.
    pub fn register(&self, cluster: &str, flags: &str) {
        self.host.join("up1", cluster, flags);
        self.approve(cluster);
        self.prepare(cluster);
        self.tell_accepted(cluster);
    }
}

fn binding(kind: &str, name: &str, role: &str, subjects: Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    })
}

fn groups(cluster: &str) -> Value {
    let group = |name: String| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name});
    json!([
        group(format!("system:open-cluster-management:{cluster}")),
        group(format!("open-cluster-management:{cluster}")),
    ])
}

fn rule(group: &str, resource: &str, verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": [resource], "verbs": verbs})
}

const CLUSTER: &str = "cluster.open-cluster-management.io";
const CERTIFICATES: &str = "certificates.k8s.io";

fn bootstrap_rules() -> Value {
    json!([
        rule("", "configmaps", &["get"]),
        rule(
            CERTIFICATES,
            "certificatesigningrequests",
            &["create", "get", "list", "watch"]
        ),
        rule(
            CLUSTER,
            "managedclusters",
            &["get", "create", "list", "watch"]
        ),
        rule(CLUSTER, "managedclustersets/join", &["create"]),
    ])
}

fn registration_rules() -> Value {
    let addon = "addon.open-cluster-management.io";
    json!([
        rule(
            "coordination.k8s.io",
            "leases",
            &["get", "list", "watch", "update"]
        ),
        rule(addon, "managedclusteraddons", &["get", "list", "watch"]),
        rule(addon, "managedclusteraddons/status", &["patch", "update"]),
        rule("events.k8s.io", "events", &["create"]),
    ])
}

fn work_rules() -> Value {
    let work = "work.open-cluster-management.io";
    json!([
        rule("", "events", &["create", "patch", "update"]),
        rule("events.k8s.io", "events", &["create", "patch", "update"]),
        rule(
            work,
            "manifestworks",
            &["get", "list", "watch", "update", "patch"]
        ),
        rule(work, "manifestworks/status", &["patch", "update"]),
    ])
}

fn cluster_rules(cluster: &str) -> Value {
    let mut inventory = rule(
        CLUSTER,
        "managedclusters",
        &["get", "list", "update", "watch"],
    );
    let mut status = rule(CLUSTER, "managedclusters/status", &["patch", "update"]);
    for rule in [&mut inventory, &mut status] {
        rule["resourceNames"] = json!([cluster]);
    }
    json!([
        rule(
            CERTIFICATES,
            "certificatesigningrequests",
            &["create", "get", "list", "watch"]
        ),
        rule(
            "register.open-cluster-management.io",
            "managedclusters/clientcertificates",
            &["renew"]
        ),
        inventory,
        status,
    ])
}
