//! Conversions, there and back.

use super::*;

const ALPHA: &str = "addon.open-cluster-management.io/v1alpha1";
const BETA: &str = "addon.open-cluster-management.io/v1beta1";

fn enabled() -> Value {
    json!({
        "apiVersion": ALPHA, "kind": "ManagedClusterAddOn",
        "metadata": {"name": "hello", "namespace": "c1", "uid": "u"},
        "spec": {"installNamespace": "there", "configs": [{"resource": "r", "name": "n"}]},
        "status": {
            "namespace": "there",
            "kubeClientDriver": "csr",
            "registrations": [
                {"signerName": CLIENT_SIGNER, "subject": {"user": "u", "groups": ["g"]}},
                {"signerName": "example.com/s", "subject": {"user": "v", "organizationUnit": ["o"]}},
            ],
            "configReferences": [{
                "group": "g", "resource": "r", "name": "n", "namespace": "ns",
                "desiredConfig": {"name": "n", "namespace": "ns", "specHash": "h"},
                "lastObservedGeneration": 3,
            }],
            "healthCheck": {"mode": "Lease"},
            "conditions": [{"type": "Available", "status": "True"}],
        },
    })
}

#[test]
fn an_enabled_add_on_reads_as_upstreams_in_v1beta1() {
    let beta = convert(enabled(), BETA).expect("converted");
    assert_eq!(
        beta,
        json!({
            "apiVersion": BETA, "kind": "ManagedClusterAddOn",
            "metadata": {
                "name": "hello", "namespace": "c1", "uid": "u",
                "annotations": {names::INSTALL_NAMESPACE: "there"},
            },
            "spec": {"configs": [{"resource": "r", "name": "n"}]},
            "status": {
                "namespace": "there",
                "registrations": [
                    {"type": "kubeClient", "kubeClient": {
                        "driver": "csr", "subject": {"user": "u", "groups": ["g"]}}},
                    {"type": "customSigner", "customSigner": {
                        "signerName": "example.com/s",
                        "subject": {"user": "v", "organizationUnits": ["o"]}}},
                ],
                "configReferences": [{
                    "group": "g", "resource": "r",
                    "desiredConfig": {"name": "n", "namespace": "ns", "specHash": "h"},
                    "lastObservedGeneration": 3,
                }],
                "healthCheck": {"mode": "Lease"},
                "conditions": [{"type": "Available", "status": "True"}],
            },
        })
    );
    assert_eq!(convert(beta, ALPHA), Ok(enabled()));
}

#[test]
fn an_add_on_without_anything_converts_both_ways() {
    let bare = |version: &str| {
        json!({
            "apiVersion": version, "kind": "ManagedClusterAddOn",
            "metadata": {"name": "hello"}, "spec": {},
        })
    };
    assert_eq!(convert(bare(ALPHA), BETA), Ok(bare(BETA)));
    assert_eq!(convert(bare(BETA), ALPHA), Ok(bare(ALPHA)));
    assert_eq!(convert(bare(BETA), BETA), Ok(bare(BETA)));
}

#[test]
fn a_reference_without_a_fingerprint_keeps_its_name() {
    let mut object = enabled();
    object["status"]["configReferences"] = json!([{"resource": "r", "name": "n"}]);
    let beta = convert(object, BETA).expect("converted");
    assert_eq!(
        beta["status"]["configReferences"],
        json!([{"resource": "r", "desiredConfig": {"name": "n"}}])
    );
}

#[test]
fn a_registration_of_no_known_type_is_left_out() {
    let beta = json!({
        "apiVersion": BETA, "kind": "ManagedClusterAddOn", "metadata": {}, "spec": {},
        "status": {"registrations": [{"type": "kubeClient"}, {"type": "other"}, {}]},
    });
    let alpha = convert(beta, ALPHA).expect("converted");
    assert_eq!(alpha["status"]["registrations"], json!([]));
}

fn offered() -> Value {
    json!({
        "apiVersion": ALPHA, "kind": "ClusterManagementAddOn", "metadata": {"name": "hello"},
        "spec": {
            "addOnMeta": {"displayName": "Hello"},
            "supportedConfigs": [
                {"group": "g", "resource": "r", "defaultConfig": {"name": "n", "namespace": "ns"}},
                {"group": "g", "resource": "without"},
            ],
            "installStrategy": {"type": "Placements", "placements": [
                {"name": "p", "namespace": "ns", "rolloutStrategy": {"type": "All"}},
            ]},
        },
        "status": {
            "defaultconfigReferences": [{"resource": "r", "desiredConfig": {"name": "n"}}],
            "installProgressions": [{"name": "p", "namespace": "ns"}],
        },
    })
}

#[test]
fn an_offered_add_on_reads_as_upstreams_in_v1beta1() {
    let beta = convert(offered(), BETA).expect("converted");
    assert_eq!(
        beta["spec"]["defaultConfigs"],
        json!([
            {"group": "g", "resource": "r", "name": "n", "namespace": "ns"},
            {"group": "g", "resource": "without", "name": NO_DEFAULT_CONFIG},
        ])
    );
    assert_eq!(beta["spec"].get("supportedConfigs"), None);
    assert!(beta["status"]["defaultConfigReferences"].is_array());
    assert_eq!(
        beta["spec"]["installStrategy"],
        offered()["spec"]["installStrategy"]
    );
    assert_eq!(convert(beta, ALPHA), Ok(offered()));
}

#[test]
fn templates_change_their_version_only() {
    let template =
        json!({"apiVersion": ALPHA, "kind": "AddOnTemplate", "spec": {"addonName": "hello"}});
    let beta = convert(template.clone(), BETA).expect("converted");
    assert_eq!(beta["spec"], template["spec"]);
    assert_eq!(beta["apiVersion"], BETA);
}

#[test]
fn what_is_of_others_is_refused() {
    let object = |version: &str, kind: &str| json!({"apiVersion": version, "kind": kind});
    assert_eq!(
        convert(object("v1", "Pod"), BETA),
        Err(ConvertError::From("v1".to_owned()))
    );
    assert_eq!(
        convert(object(ALPHA, "ManagedClusterAddOn"), "x/v1"),
        Err(ConvertError::To("x/v1".to_owned()))
    );
    assert_eq!(
        convert(object(ALPHA, "Pod"), BETA),
        Err(ConvertError::Kind("Pod".to_owned()))
    );
    assert!(convert(json!([]), BETA).is_err());
}
