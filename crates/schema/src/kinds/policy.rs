//! The kinds that say who may do what: RBAC, reviews, certificates, leases, budgets and flows.

use super::Kind;
use super::Subresource;

const RBAC: (&str, &str) = ("rbac.authorization.k8s.io", "v1");
const AUTHENTICATION: (&str, &str) = ("authentication.k8s.io", "v1");
const AUTHORIZATION: (&str, &str) = ("authorization.k8s.io", "v1");
const CERTIFICATES: (&str, &str) = ("certificates.k8s.io", "v1");
const FLOWS: (&str, &str) = ("flowcontrol.apiserver.k8s.io", "v1");

const fn flow_status(kind: &'static str) -> Subresource {
    Subresource::status(FLOWS.0, FLOWS.1, kind)
}

pub(super) const ROWS: &[Kind] = &[
    Kind::stored(
        RBAC,
        false,
        (
            "ClusterRoleBinding",
            "clusterrolebindings",
            "clusterrolebinding",
        ),
        "io.k8s.api.rbac.v1.ClusterRoleBinding",
    ),
    Kind::stored(
        RBAC,
        false,
        ("ClusterRole", "clusterroles", "clusterrole"),
        "io.k8s.api.rbac.v1.ClusterRole",
    ),
    Kind::stored(
        RBAC,
        true,
        ("RoleBinding", "rolebindings", "rolebinding"),
        "io.k8s.api.rbac.v1.RoleBinding",
    ),
    Kind::stored(
        RBAC,
        true,
        ("Role", "roles", "role"),
        "io.k8s.api.rbac.v1.Role",
    ),
    Kind::review(
        AUTHENTICATION,
        false,
        (
            "SelfSubjectReview",
            "selfsubjectreviews",
            "selfsubjectreview",
        ),
        "io.k8s.api.authentication.v1.SelfSubjectReview",
    ),
    Kind::review(
        AUTHENTICATION,
        false,
        ("TokenReview", "tokenreviews", "tokenreview"),
        "io.k8s.api.authentication.v1.TokenReview",
    ),
    Kind::review(
        AUTHORIZATION,
        true,
        (
            "LocalSubjectAccessReview",
            "localsubjectaccessreviews",
            "localsubjectaccessreview",
        ),
        "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
    ),
    Kind::review(
        AUTHORIZATION,
        false,
        (
            "SelfSubjectAccessReview",
            "selfsubjectaccessreviews",
            "selfsubjectaccessreview",
        ),
        "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    ),
    Kind::review(
        AUTHORIZATION,
        false,
        (
            "SelfSubjectRulesReview",
            "selfsubjectrulesreviews",
            "selfsubjectrulesreview",
        ),
        "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    ),
    Kind::review(
        AUTHORIZATION,
        false,
        (
            "SubjectAccessReview",
            "subjectaccessreviews",
            "subjectaccessreview",
        ),
        "io.k8s.api.authorization.v1.SubjectAccessReview",
    ),
    Kind {
        short_names: &["csr"],
        subresources: &[
            Subresource {
                name: "approval",
                body: (CERTIFICATES.0, CERTIFICATES.1, "CertificateSigningRequest"),
                verbs: super::READ_AND_WRITE,
            },
            Subresource::status(CERTIFICATES.0, CERTIFICATES.1, "CertificateSigningRequest"),
        ],
        ..Kind::stored(
            CERTIFICATES,
            false,
            (
                "CertificateSigningRequest",
                "certificatesigningrequests",
                "certificatesigningrequest",
            ),
            "io.k8s.api.certificates.v1.CertificateSigningRequest",
        )
    },
    Kind::stored(
        ("coordination.k8s.io", "v1"),
        true,
        ("Lease", "leases", "lease"),
        "io.k8s.api.coordination.v1.Lease",
    ),
    Kind {
        short_names: &["pdb"],
        subresources: &[Subresource::status("policy", "v1", "PodDisruptionBudget")],
        ..Kind::stored(
            ("policy", "v1"),
            true,
            (
                "PodDisruptionBudget",
                "poddisruptionbudgets",
                "poddisruptionbudget",
            ),
            "io.k8s.api.policy.v1.PodDisruptionBudget",
        )
    },
    Kind {
        subresources: &[flow_status("FlowSchema")],
        ..Kind::stored(
            FLOWS,
            false,
            ("FlowSchema", "flowschemas", "flowschema"),
            "io.k8s.api.flowcontrol.v1.FlowSchema",
        )
    },
    Kind {
        subresources: &[flow_status("PriorityLevelConfiguration")],
        ..Kind::stored(
            FLOWS,
            false,
            (
                "PriorityLevelConfiguration",
                "prioritylevelconfigurations",
                "prioritylevelconfiguration",
            ),
            "io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration",
        )
    },
];
