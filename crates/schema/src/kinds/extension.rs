//! The kinds that extend the API itself.

use super::Kind;
use super::Subresource;

const ADMISSION: (&str, &str) = ("admissionregistration.k8s.io", "v1");
const CATEGORIES: &[&str] = &["api-extensions"];

const fn admission(
    names: (&'static str, &'static str, &'static str),
    type_name: &'static str,
) -> Kind {
    Kind {
        categories: CATEGORIES,
        ..Kind::stored(ADMISSION, false, names, type_name)
    }
}

pub(super) const ROWS: &[Kind] = &[
    admission(
        (
            "MutatingAdmissionPolicy",
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicy",
        ),
        "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy",
    ),
    admission(
        (
            "MutatingAdmissionPolicyBinding",
            "mutatingadmissionpolicybindings",
            "mutatingadmissionpolicybinding",
        ),
        "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicyBinding",
    ),
    admission(
        (
            "MutatingWebhookConfiguration",
            "mutatingwebhookconfigurations",
            "mutatingwebhookconfiguration",
        ),
        "io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
    ),
    Kind {
        subresources: &[Subresource::status(
            ADMISSION.0,
            ADMISSION.1,
            "ValidatingAdmissionPolicy",
        )],
        ..admission(
            (
                "ValidatingAdmissionPolicy",
                "validatingadmissionpolicies",
                "validatingadmissionpolicy",
            ),
            "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy",
        )
    },
    admission(
        (
            "ValidatingAdmissionPolicyBinding",
            "validatingadmissionpolicybindings",
            "validatingadmissionpolicybinding",
        ),
        "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
    ),
    admission(
        (
            "ValidatingWebhookConfiguration",
            "validatingwebhookconfigurations",
            "validatingwebhookconfiguration",
        ),
        "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
    ),
    Kind {
        short_names: &["crd", "crds"],
        categories: CATEGORIES,
        subresources: &[Subresource::status(
            "apiextensions.k8s.io",
            "v1",
            "CustomResourceDefinition",
        )],
        ..Kind::stored(
            ("apiextensions.k8s.io", "v1"),
            false,
            (
                "CustomResourceDefinition",
                "customresourcedefinitions",
                "customresourcedefinition",
            ),
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
        )
    },
    Kind {
        categories: CATEGORIES,
        subresources: &[Subresource::status(
            "apiregistration.k8s.io",
            "v1",
            "APIService",
        )],
        ..Kind::stored(
            ("apiregistration.k8s.io", "v1"),
            false,
            ("APIService", "apiservices", "apiservice"),
            "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
        )
    },
];
