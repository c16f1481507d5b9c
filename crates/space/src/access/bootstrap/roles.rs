//! The roles and bindings that every space starts with: names and rules as upstream's, for the
//! parts of upstream that a space has.

use super::people::ADMIN;
use super::people::EDIT;
use super::people::VIEW;

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

/// Verbs that only look.
pub const READ: &[&str] = &["get", "list", "watch"];
/// Verbs that change.
pub const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
/// Both.
pub const READ_WRITE: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// A rule on resources.
pub const fn on(
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
