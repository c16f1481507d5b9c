//! The roles and bindings that every space starts with: names and rules as upstream's, for the
//! parts of upstream that a space has.

/// One rule of a bootstrap role.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Verbs.
    pub verbs: &'static [&'static str],
    /// API groups.
    pub groups: &'static [&'static str],
    /// Resources.
    pub resources: &'static [&'static str],
    /// Object names; empty for all.
    pub names: &'static [&'static str],
    /// Paths that are no resource.
    pub urls: &'static [&'static str],
}

/// A bootstrap ClusterRole.
#[derive(Debug, Clone, Copy)]
pub struct ClusterRole {
    /// Name.
    pub name: &'static str,
    /// Its own rules; those of an aggregated role come from others.
    pub rules: &'static [Rule],
    /// The role (`admin`, `edit`, `view`) that collects its rules; empty for none.
    pub aggregated_to: &'static str,
    /// The `aggregate-to-…` label by which it collects the rules of others; empty for none.
    pub aggregates: &'static str,
}

/// A bootstrap ClusterRoleBinding of a role to groups.
#[derive(Debug, Clone, Copy)]
pub struct ClusterBinding {
    /// Name of the binding and of the role.
    pub name: &'static str,
    /// The groups it is for.
    pub groups: &'static [&'static str],
}

/// A bootstrap Role with its RoleBinding to users.
#[derive(Debug, Clone, Copy)]
pub struct LocalRole {
    /// Namespace of both.
    pub namespace: &'static str,
    /// Name of the role.
    pub name: &'static str,
    /// Its rules.
    pub rules: &'static [Rule],
    /// Name of the binding.
    pub binding: &'static str,
    /// The users it is for.
    pub users: &'static [&'static str],
}

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
const READ_WRITE: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

const fn on(
    groups: &'static [&'static str],
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
) -> Rule {
    Rule {
        verbs,
        groups,
        resources,
        names: &[],
        urls: &[],
    }
}

const fn named(
    groups: &'static [&'static str],
    resources: &'static [&'static str],
    names: &'static [&'static str],
    verbs: &'static [&'static str],
) -> Rule {
    Rule {
        verbs,
        groups,
        resources,
        names,
        urls: &[],
    }
}

const fn paths(urls: &'static [&'static str], verbs: &'static [&'static str]) -> Rule {
    Rule {
        verbs,
        groups: &[],
        resources: &[],
        names: &[],
        urls,
    }
}

const fn role(name: &'static str, rules: &'static [Rule]) -> ClusterRole {
    ClusterRole {
        name,
        rules,
        aggregated_to: "",
        aggregates: "",
    }
}

const fn part_of(target: &'static str, name: &'static str, rules: &'static [Rule]) -> ClusterRole {
    ClusterRole {
        name,
        rules,
        aggregated_to: target,
        aggregates: "",
    }
}

const fn collecting(
    name: &'static str,
    label: &'static str,
    aggregated_to: &'static str,
) -> ClusterRole {
    ClusterRole {
        name,
        rules: &[],
        aggregated_to,
        aggregates: label,
    }
}

const APPROVE: &[&str] = &["approve"];
const CERTIFICATES: &[&str] = &["certificates.k8s.io"];
const REQUESTS: &[&str] = &["certificatesigningrequests"];
const SIGNERS: &[&str] = &["signers"];

/// The ClusterRoles.
pub const CLUSTER_ROLES: &[ClusterRole] = &[
    role(
        "cluster-admin",
        &[on(&["*"], &["*"], &["*"]), paths(&["*"], &["*"])],
    ),
    collecting("admin", "aggregate-to-admin", ""),
    collecting("edit", "aggregate-to-edit", "admin"),
    collecting("view", "aggregate-to-view", "edit"),
    part_of("admin", "system:aggregate-to-admin", ADMIN),
    part_of("edit", "system:aggregate-to-edit", EDIT),
    part_of("view", "system:aggregate-to-view", VIEW),
    role(
        "system:basic-user",
        &[
            on(
                &["authorization.k8s.io"],
                &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
                &["create"],
            ),
            on(
                &["authentication.k8s.io"],
                &["selfsubjectreviews"],
                &["create"],
            ),
        ],
    ),
    role(
        "system:discovery",
        &[
            paths(
                &[
                    "/api",
                    "/api/*",
                    "/apis",
                    "/apis/*",
                    "/healthz",
                    "/livez",
                    "/openapi",
                    "/openapi/*",
                    "/readyz",
                    "/version",
                    "/version/",
                ],
                &["get"],
            ),
            paths(&["/.well-known", "/.well-known/*"], &["get"]),
        ],
    ),
    role(
        "system:public-info-viewer",
        &[paths(
            &["/healthz", "/livez", "/readyz", "/version", "/version/"],
            &["get"],
        )],
    ),
    role(
        "system:monitoring",
        &[paths(
            &[
                "/healthz",
                "/healthz/*",
                "/livez",
                "/livez/*",
                "/metrics",
                "/metrics/slis",
                "/readyz",
                "/readyz/*",
            ],
            &["get"],
        )],
    ),
    role(
        "system:service-account-issuer-discovery",
        &[paths(
            &[
                "/.well-known/openid-configuration",
                "/.well-known/openid-configuration/",
                "/openid/v1/jwks",
                "/openid/v1/jwks/",
            ],
            &["get"],
        )],
    ),
    role(
        "system:auth-delegator",
        &[
            on(&["authentication.k8s.io"], &["tokenreviews"], &["create"]),
            on(
                &["authorization.k8s.io"],
                &["subjectaccessreviews"],
                &["create"],
            ),
        ],
    ),
    role(
        "system:node-bootstrapper",
        &[on(
            CERTIFICATES,
            REQUESTS,
            &["create", "get", "list", "watch"],
        )],
    ),
    role(
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        &[on(
            CERTIFICATES,
            &["certificatesigningrequests/nodeclient"],
            &["create"],
        )],
    ),
    role(
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        &[on(
            CERTIFICATES,
            &["certificatesigningrequests/selfnodeclient"],
            &["create"],
        )],
    ),
    role(
        "system:certificates.k8s.io:kube-apiserver-client-approver",
        &[named(
            CERTIFICATES,
            SIGNERS,
            &["kubernetes.io/kube-apiserver-client"],
            APPROVE,
        )],
    ),
    role(
        "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
        &[named(
            CERTIFICATES,
            SIGNERS,
            &["kubernetes.io/kube-apiserver-client-kubelet"],
            APPROVE,
        )],
    ),
    role(
        "system:certificates.k8s.io:kubelet-serving-approver",
        &[named(
            CERTIFICATES,
            SIGNERS,
            &["kubernetes.io/kubelet-serving"],
            APPROVE,
        )],
    ),
    role(
        "system:certificates.k8s.io:legacy-unknown-approver",
        &[named(
            CERTIFICATES,
            SIGNERS,
            &["kubernetes.io/legacy-unknown"],
            APPROVE,
        )],
    ),
];

/// The ClusterRoleBindings; each binds the role of its own name.
pub const CLUSTER_BINDINGS: &[ClusterBinding] = &[
    ClusterBinding {
        name: "cluster-admin",
        groups: &["system:masters"],
    },
    ClusterBinding {
        name: "system:basic-user",
        groups: &["system:authenticated"],
    },
    ClusterBinding {
        name: "system:discovery",
        groups: &["system:authenticated"],
    },
    ClusterBinding {
        name: "system:monitoring",
        groups: &["system:monitoring"],
    },
    ClusterBinding {
        name: "system:public-info-viewer",
        groups: &["system:authenticated", "system:unauthenticated"],
    },
    ClusterBinding {
        name: "system:service-account-issuer-discovery",
        groups: &["system:serviceaccounts"],
    },
];

/// Roles within namespaces: who may read how extension servers authenticate, and the public
/// description of the space.
pub const LOCAL_ROLES: &[LocalRole] = &[
    LocalRole {
        namespace: "kube-system",
        name: "extension-apiserver-authentication-reader",
        rules: &[named(
            &[""],
            &["configmaps"],
            &["extension-apiserver-authentication"],
            READ,
        )],
        binding: "system::extension-apiserver-authentication-reader",
        users: &["system:kube-controller-manager", "system:kube-scheduler"],
    },
    LocalRole {
        namespace: "kube-public",
        name: "kubeadm:bootstrap-signer-clusterinfo",
        rules: &[named(&[""], &["configmaps"], &["cluster-info"], &["get"])],
        binding: "kubeadm:bootstrap-signer-clusterinfo",
        users: &["system:anonymous"],
    },
];

const ADMIN: &[Rule] = &[
    on(
        &["authorization.k8s.io"],
        &["localsubjectaccessreviews"],
        &["create"],
    ),
    on(
        &["rbac.authorization.k8s.io"],
        &["rolebindings", "roles"],
        READ_WRITE,
    ),
];

const EDIT: &[Rule] = &[
    on(
        &[""],
        &[
            "pods/attach",
            "pods/exec",
            "pods/portforward",
            "pods/proxy",
            "secrets",
            "services/proxy",
        ],
        READ,
    ),
    on(&[""], &["serviceaccounts"], &["impersonate"]),
    on(
        &[""],
        &[
            "pods",
            "pods/attach",
            "pods/exec",
            "pods/portforward",
            "pods/proxy",
        ],
        WRITE,
    ),
    on(&[""], &["pods/eviction"], &["create"]),
    on(
        &[""],
        &[
            "configmaps",
            "events",
            "persistentvolumeclaims",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "secrets",
            "serviceaccounts",
            "services",
            "services/proxy",
        ],
        WRITE,
    ),
    on(&[""], &["serviceaccounts/token"], &["create"]),
    on(&["events.k8s.io"], &["events"], WRITE),
    on(
        &["apps"],
        &[
            "daemonsets",
            "deployments",
            "deployments/rollback",
            "deployments/scale",
            "replicasets",
            "replicasets/scale",
            "statefulsets",
            "statefulsets/scale",
        ],
        WRITE,
    ),
    on(&["autoscaling"], &["horizontalpodautoscalers"], WRITE),
    on(&["batch"], &["cronjobs", "jobs"], WRITE),
    on(
        &["extensions"],
        &[
            "daemonsets",
            "deployments",
            "deployments/rollback",
            "deployments/scale",
            "ingresses",
            "networkpolicies",
            "replicasets",
            "replicasets/scale",
            "replicationcontrollers/scale",
        ],
        WRITE,
    ),
    on(&["policy"], &["poddisruptionbudgets"], WRITE),
    on(
        &["networking.k8s.io"],
        &["ingresses", "networkpolicies"],
        WRITE,
    ),
    on(&["coordination.k8s.io"], &["leases"], READ_WRITE),
    on(
        &["resource.k8s.io"],
        &["resourceclaims", "resourceclaimtemplates"],
        WRITE,
    ),
];

const VIEW: &[Rule] = &[
    on(
        &[""],
        &[
            "configmaps",
            "endpoints",
            "persistentvolumeclaims",
            "persistentvolumeclaims/status",
            "pods",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "serviceaccounts",
            "services",
            "services/status",
        ],
        READ,
    ),
    on(
        &[""],
        &[
            "bindings",
            "events",
            "limitranges",
            "namespaces/status",
            "pods/log",
            "pods/status",
            "replicationcontrollers/status",
            "resourcequotas",
            "resourcequotas/status",
        ],
        READ,
    ),
    on(&[""], &["namespaces"], READ),
    on(&["discovery.k8s.io"], &["endpointslices"], READ),
    on(&["events.k8s.io"], &["events"], READ),
    on(
        &["apps"],
        &[
            "controllerrevisions",
            "daemonsets",
            "daemonsets/status",
            "deployments",
            "deployments/scale",
            "deployments/status",
            "replicasets",
            "replicasets/scale",
            "replicasets/status",
            "statefulsets",
            "statefulsets/scale",
            "statefulsets/status",
        ],
        READ,
    ),
    on(
        &["autoscaling"],
        &[
            "horizontalpodautoscalers",
            "horizontalpodautoscalers/status",
        ],
        READ,
    ),
    on(
        &["batch"],
        &["cronjobs", "cronjobs/status", "jobs", "jobs/status"],
        READ,
    ),
    on(
        &["extensions"],
        &[
            "daemonsets",
            "daemonsets/status",
            "deployments",
            "deployments/scale",
            "deployments/status",
            "ingresses",
            "ingresses/status",
            "networkpolicies",
            "replicasets",
            "replicasets/scale",
            "replicasets/status",
            "replicationcontrollers/scale",
        ],
        READ,
    ),
    on(
        &["policy"],
        &["poddisruptionbudgets", "poddisruptionbudgets/status"],
        READ,
    ),
    on(
        &["networking.k8s.io"],
        &["ingresses", "ingresses/status", "networkpolicies"],
        READ,
    ),
    on(
        &["resource.k8s.io"],
        &[
            "resourceclaims",
            "resourceclaims/status",
            "resourceclaimtemplates",
        ],
        READ,
    ),
];
