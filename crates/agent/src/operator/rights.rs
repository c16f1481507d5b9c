//! Accounts and rights of the agents of one Klusterlet. Pure.

use super::manifests::Plan;
use hyades_api::names;
use hyades_api::names::labels;
use serde_json::Value;
use serde_json::json;

const RBAC: &str = "rbac.authorization.k8s.io";

impl Plan {
    /// Accounts and rights of the agents: cluster-wide ones first.
    pub fn rights(&self) -> Vec<Value> {
        let registration = format!("open-cluster-management:{}-registration:agent", self.name);
        let work = |what: &str| format!("open-cluster-management:{}-work:{what}", self.name);
        let management = |what: &str| {
            format!(
                "open-cluster-management:management:{}-{what}:agent",
                self.name
            )
        };
        let mut objects = vec![
            self.account(&self.work_account()),
            self.cluster_role(&registration, registration_rules()),
            self.cluster_role(&work("agent"), work_rules()),
            self.execution_role(&work("execution")),
            self.aggregate_role(&work("aggregate")),
            self.role(&management("registration"), registration_management_rules()),
            self.role(&management("work"), work_management_rules()),
            self.binding(&registration, &registration, &self.registration_account()),
            self.binding(&work("agent"), &work("agent"), &self.work_account()),
            self.binding(&work("execution"), &work("execution"), &self.work_account()),
            self.binding(&work("aggregate"), &work("aggregate"), &self.work_account()),
            self.binding(&work("execution-admin"), "admin", &self.work_account()),
            self.role_binding(&management("registration"), &self.registration_account()),
            self.role_binding(&management("work"), &self.work_account()),
        ];
        if self.registration_account() != self.work_account() {
            objects.insert(0, self.account(&self.registration_account()));
        }
        objects
    }

    fn account(&self, name: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": self.namespace, "labels": self.labels()},
            "imagePullSecrets": [{"name": names::IMAGE_PULL_SECRET}],
        })
    }

    fn cluster_role(&self, name: &str, rules: Value) -> Value {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name, "labels": self.labels()},
            "rules": rules,
        })
    }

    fn execution_role(&self, name: &str) -> Value {
        let mut role = self.cluster_role(name, execution_rules());
        role["metadata"]["labels"][labels::AGGREGATE_TO_WORK] = json!("true");
        role
    }

    /// Users extend what works may do by labelling ClusterRoles.
    fn aggregate_role(&self, name: &str) -> Value {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name, "labels": self.labels()},
            "aggregationRule": {
                "clusterRoleSelectors": [{"matchLabels": {labels::AGGREGATE_TO_WORK: "true"}}],
            },
        })
    }

    fn role(&self, name: &str, rules: Value) -> Value {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": name, "namespace": self.namespace, "labels": self.labels()},
            "rules": rules,
        })
    }

    fn binding(&self, name: &str, role: &str, account: &str) -> Value {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name, "labels": self.labels()},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": self.namespace}],
        })
    }

    fn role_binding(&self, role: &str, account: &str) -> Value {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": role, "namespace": self.namespace, "labels": self.labels()},
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": self.namespace}],
        })
    }
}

/// What registration looks at in the WEC.
fn registration_rules() -> Value {
    json!([
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [names::CLUSTER_GROUP], "resources": ["clusterclaims"], "verbs": ["get", "list", "watch"]},
        {"nonResourceURLs": ["/livez", "/healthz", "/version"], "verbs": ["get"]},
    ])
}

fn registration_management_rules() -> Value {
    json!([
        {"apiGroups": [""], "resources": ["secrets"],
         "verbs": ["create", "get", "list", "update", "watch", "patch"]},
        {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
    ])
}

fn work_management_rules() -> Value {
    json!([
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [names::HUB_KUBECONFIG_SECRET],
         "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
    ])
}

fn work_rules() -> Value {
    let all = [
        "get", "list", "watch", "create", "update", "patch", "delete",
    ];
    json!([
        {"apiGroups": [names::WORK_GROUP], "resources": ["appliedmanifestworks"], "verbs": all},
        {"apiGroups": [names::WORK_GROUP], "resources": ["appliedmanifestworks/status"], "verbs": ["patch", "update"]},
        {"apiGroups": [names::WORK_GROUP], "resources": ["appliedmanifestworks/finalizers"], "verbs": ["update"]},
    ])
}

/// What works may do beyond the built-in role `admin`: upstream's list.
fn execution_rules() -> Value {
    let all = [
        "get", "list", "watch", "create", "update", "patch", "delete",
    ];
    json!([
        {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": all},
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": all},
        {"apiGroups": [RBAC], "resources": ["clusterrolebindings", "rolebindings"], "verbs": all},
        {"apiGroups": [RBAC], "resources": ["clusterroles", "roles"],
         "verbs": ["get", "list", "watch", "create", "update", "patch", "delete", "escalate", "bind"]},
        {"apiGroups": ["monitoring.coreos.com"], "resources": ["servicemonitors"], "verbs": all},
        {"apiGroups": ["oauth.openshift.io"], "resources": ["oauthclients"], "verbs": all},
        {"apiGroups": ["scheduling.k8s.io"], "resources": ["priorityclasses"], "verbs": all},
        {"apiGroups": ["admissionregistration.k8s.io"],
         "resources": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"], "verbs": all},
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::manifests::tests::klusterlet;

    #[test]
    fn no_agent_may_read_all_secrets_of_the_cluster() {
        for object in Plan::of(&klusterlet(json!({}))).expect("a plan").rights() {
            if object["kind"] != "ClusterRole" {
                continue;
            }
            let rules = object["rules"].as_array().cloned().unwrap_or_default();
            assert!(
                rules
                    .iter()
                    .all(|rule| !rule["resources"].to_string().contains("secrets")),
                "{object}"
            );
        }
    }
}
