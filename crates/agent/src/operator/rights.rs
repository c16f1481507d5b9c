//! Accounts and rights of the agents of one Klusterlet. Pure.

use super::manifests::Plan;
use hyades_api::names;
use hyades_api::names::labels;
use hyades_api::names::namespaces;
use serde_json::Value;
use serde_json::json;

const RBAC: &str = "rbac.authorization.k8s.io";

impl Plan {
    /// Accounts and rights of the agents in the WEC: cluster-wide ones first.
    pub fn managed_rights(&self) -> Vec<Value> {
        let registration = format!("open-cluster-management:{}-registration:agent", self.name);
        let work = |what: &str| format!("open-cluster-management:{}-work:{what}", self.name);
        let mut objects = self.accounts(&self.managed_namespace);
        objects.extend([
            self.cluster_role(&registration, registration_rules()),
            self.cluster_role(&work("agent"), work_rules()),
            self.execution_role(&work("execution")),
            self.aggregate_role(&work("aggregate")),
            self.binding(&registration, &registration, &self.registration_account()),
            self.binding(&work("agent"), &work("agent"), &self.work_account()),
            self.binding(&work("execution"), &work("execution"), &self.work_account()),
            self.binding(&work("aggregate"), &work("aggregate"), &self.work_account()),
            self.binding(&work("execution-admin"), "admin", &self.work_account()),
        ]);
        objects
    }

    /// What registration may do in a namespace of add-ons: keep their Secrets, and look at their
    /// leases. It has these rights in the common namespace and in those that are marked as namespaces
    /// of add-ons; upstream's has them in the whole cluster, and with them every Secret.
    pub fn addon_rights(&self, namespace: &str) -> [Value; 2] {
        let name = format!(
            "open-cluster-management:{}-registration:addon-management",
            self.name
        );
        let metadata = json!({
            "name": name, "namespace": namespace, "labels": self.labels(),
        });
        let api_version = format!("{RBAC}/v1");
        [
            json!({
                "apiVersion": api_version, "kind": "Role", "metadata": metadata,
                "rules": [
                    {"apiGroups": [""], "resources": ["secrets"],
                     "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"]},
                    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
                     "verbs": ["get", "list", "watch"]},
                ],
            }),
            json!({
                "apiVersion": api_version, "kind": "RoleBinding", "metadata": metadata,
                "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": self.registration_account(),
                              "namespace": self.managed_namespace}],
            }),
        ]
    }

    /// Rights of the agents where their pods run, and, when hosted, the accounts they run under.
    pub fn management_rights(&self) -> Vec<Value> {
        let name = |what: &str| format!("open-cluster-management:management:{}-{what}", self.name);
        let mut objects = match self.mode.is_hosted() {
            true => self.accounts(&self.namespace),
            false => Vec::new(),
        };
        let (registration, work) = (name("registration:agent"), name("work:agent"));
        objects.extend([
            self.role(&registration, registration_management_rules()),
            self.role(&work, self.work_management_rules()),
            self.role_binding(&registration, &self.namespace, &self.registration_account()),
            self.role_binding(&work, &self.namespace, &self.work_account()),
        ]);
        if let Some(several) = &self.bootstrap_secrets {
            // The operator's own role knows the one Secret only that every agent has.
            let name = name("bootstrap-secrets");
            objects.extend([
                self.role(
                    &name,
                    json!([{"apiGroups": [""], "resources": ["secrets"],
                        "resourceNames": several.names, "verbs": ["get"]}]),
                ),
                self.role_binding(&name, namespaces::OPERATOR, names::KLUSTERLET),
            ]);
        }
        objects
    }

    /// The names of the accounts, each once: registration's first.
    pub fn account_names(&self) -> Vec<String> {
        let mut names = vec![self.registration_account(), self.work_account()];
        names.dedup();
        names
    }

    fn accounts(&self, namespace: &str) -> Vec<Value> {
        let names = self.account_names();
        names
            .iter()
            .map(|name| self.account(namespace, name))
            .collect()
    }

    fn account(&self, namespace: &str, name: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace, "labels": self.labels()},
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
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": self.managed_namespace}],
        })
    }

    fn role_binding(&self, role: &str, of: &str, account: &str) -> Value {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": role, "namespace": self.namespace, "labels": self.labels()},
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": of}],
        })
    }

    fn work_management_rules(&self) -> Value {
        let mut secrets = vec![names::HUB_KUBECONFIG_SECRET];
        if self.mode.is_hosted() {
            secrets.push(names::EXTERNAL_MANAGED_KUBECONFIG_WORK_SECRET);
        }
        json!([
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": secrets,
             "verbs": ["get", "list", "watch"]},
            {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        ])
    }
}

/// What registration looks at in the WEC.
fn registration_rules() -> Value {
    json!([
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["namespaces"],
         "verbs": ["create", "get", "list", "update", "watch", "patch"]},
        {"apiGroups": [names::CLUSTER_GROUP], "resources": ["clusterclaims"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["about.k8s.io"], "resources": ["clusterproperties"], "verbs": ["get", "list", "watch"]},
        {"nonResourceURLs": ["/livez", "/healthz", "/version"], "verbs": ["get"]},
    ])
}

fn registration_management_rules() -> Value {
    json!([
        {"apiGroups": [""], "resources": ["secrets"],
         "verbs": ["create", "get", "list", "update", "watch", "patch", "delete"]},
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
        {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
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
        for object in Plan::of(&klusterlet(json!({})))
            .expect("a plan")
            .managed_rights()
        {
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
