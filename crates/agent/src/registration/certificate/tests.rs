//! Requests, and what their states mean.

use super::*;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequestCondition;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequestStatus;
use serde_json::json;

fn identity() -> AgentIdentity {
    crate::credentials::tests::identity()
}

fn with_condition(kind: &str, certificate: Option<&str>) -> CertificateSigningRequest {
    CertificateSigningRequest {
        status: Some(CertificateSigningRequestStatus {
            certificate: certificate.map(|pem| ByteString(pem.as_bytes().to_vec())),
            conditions: Some(vec![CertificateSigningRequestCondition {
                type_: kind.to_owned(),
                reason: Some("NameTaken".to_owned()),
                message: Some("choose another".to_owned()),
                ..CertificateSigningRequestCondition::default()
            }]),
        }),
        ..CertificateSigningRequest::default()
    }
}

#[test]
fn a_request_is_pending_until_signed_and_denials_carry_the_hubs_words() {
    assert_eq!(
        progress(&CertificateSigningRequest::default()),
        Progress::Pending
    );
    assert_eq!(
        progress(&with_condition("Approved", None)),
        Progress::Pending
    );
    assert_eq!(
        progress(&with_condition("Approved", Some("PEM"))),
        Progress::Issued("PEM".to_owned())
    );
    assert_eq!(
        progress(&with_condition("Denied", None)),
        Progress::Denied("NameTaken: choose another".to_owned())
    );
    assert!(matches!(
        progress(&with_condition("Failed", None)),
        Progress::Failed(_)
    ));
}

#[test]
fn the_request_is_upstreams_to_the_letter() {
    let key = Key::generate();
    let body = request(&identity(), &key, 31_536_000).expect("a request");
    let mut value = serde_json::to_value(&body).expect("JSON");
    value["spec"]["request"] = json!(null);
    assert_eq!(
        value,
        json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {
                "generateName": "cluster1-",
                "labels": {"open-cluster-management.io/cluster-name": "cluster1"},
            },
            "spec": {
                "request": null,
                "signerName": "kubernetes.io/kube-apiserver-client",
                "usages": ["digital signature", "key encipherment", "client auth"],
                "expirationSeconds": 31_536_000,
            },
        })
    );
    let parsed =
        CertificateRequest::parse_pem(&String::from_utf8_lossy(&body.spec.request.0)).expect("PEM");
    assert_eq!(
        *parsed.subject(),
        Subject::new(identity().common_name(), identity().organizations())
    );
    assert!(!parsed.has_sans());
    assert_eq!(
        request(&identity(), &key, 0)
            .expect("a request")
            .spec
            .expiration_seconds,
        None
    );
}

#[test]
fn requests_of_add_ons_of_other_names_and_at_renewal_of_others_do_not_count() {
    let named = |name: &str, addon: bool| {
        let mut request = CertificateSigningRequest::default();
        request.metadata.name = Some(name.to_owned());
        if addon {
            request
                .labels_mut()
                .insert(labels::ADDON_NAME.to_owned(), "a".to_owned());
        }
        request
    };
    let mut own = named("cluster1-ddddd", false);
    own.spec.username = Some(identity().common_name());
    let requests = [
        named("cluster1-aaaaa", false),
        named("cluster1-bbbbb", true),
        named("other-ccccc", false),
        own,
    ];
    assert_eq!(counted(&identity(), Requester::Bootstrap, &requests), 2);
    assert_eq!(counted(&identity(), Requester::Agent, &requests), 1);
}

#[test]
fn a_certificate_for_another_key_or_name_is_of_no_use() {
    let issued = crate::credentials::tests::credentials(&identity().common_name());
    let key = Key::from_pem(&issued.key_pem).expect("a key");
    let chain = Certificate::parse_pem_bundle(&issued.certificate_pem).expect("a chain");
    let subject = chain[0].subject();
    let judge = |key: &Key, subject: &Subject| {
        let wanted = Wanted { key, subject };
        wanted.check(&issued.certificate_pem)
    };
    assert_eq!(judge(&key, subject), Ok(()));
    let other = judge(&Key::generate(), subject).expect_err("another key");
    assert!(other.contains("another key"), "{other}");
    let stranger = Subject::new("somebody", identity().organizations());
    let other = judge(&key, &stranger).expect_err("another name");
    assert!(other.contains("was asked for"), "{other}");
    let wanted = Wanted { key: &key, subject };
    assert!(wanted.check("").is_err());
}
