//! Which claims of a WEC are reported to its hub.

use hyades_api::cluster::StatedClaim;
use hyades_api::names::labels;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;

/// Claims that are always reported, whatever their number.
const RESERVED: [&str; 4] = [
    "id.k8s.io",
    "kubeversion.open-cluster-management.io",
    "platform.open-cluster-management.io",
    "product.open-cluster-management.io",
];

/// What to report, and how many claims were left out for their number.
#[derive(Debug, PartialEq)]
pub struct Selection {
    /// Reserved claims by name, then the others by name.
    pub claims: Vec<StatedClaim>,
    /// Claims beyond the limit.
    pub truncated: usize,
}

/// Whether a claim is the WEC's own affair and never told to its hub.
pub fn is_private(metadata: &ObjectMeta) -> bool {
    let labels = metadata.labels.as_ref();
    labels.is_some_and(|all| all.contains_key(labels::SPOKE_ONLY))
}

/// Selects the claims to report: all reserved ones, and the first `custom_max` others by name.
pub fn select(
    values: &BTreeMap<&String, &String>,
    reserved_suffixes: &[String],
    custom_max: usize,
) -> Selection {
    let is_reserved = |name: &str| {
        RESERVED.contains(&name)
            || reserved_suffixes
                .iter()
                .any(|suffix| name.ends_with(suffix.as_str()))
    };
    let stated = values.iter().map(|(name, value)| StatedClaim {
        name: (*name).clone(),
        value: (*value).clone(),
    });
    let (mut selected, mut custom): (Vec<_>, Vec<_>) =
        stated.partition(|claim| is_reserved(&claim.name));
    let truncated = custom.len().saturating_sub(custom_max);
    custom.truncate(custom_max);
    selected.append(&mut custom);
    Selection {
        claims: selected,
        truncated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_claims_come_first_and_always() {
        let names = [
            "z",
            "b",
            "product.open-cluster-management.io",
            "a.corp",
            "id.k8s.io",
        ]
        .map(str::to_owned);
        let value = "v".to_owned();
        let values = names.iter().map(|name| (name, &value)).collect();
        let selection = select(&values, &["corp".to_owned()], 1);
        let told: Vec<_> = selection
            .claims
            .iter()
            .map(|claim| claim.name.as_str())
            .collect();
        assert_eq!(
            told,
            [
                "a.corp",
                "id.k8s.io",
                "product.open-cluster-management.io",
                "b"
            ]
        );
        assert_eq!(selection.truncated, 1);
    }

    #[test]
    fn private_claims_stay_in_the_cluster() {
        let mut metadata = ObjectMeta::default();
        assert!(!is_private(&metadata));
        metadata.labels = Some([(labels::SPOKE_ONLY.to_owned(), String::new())].into());
        assert!(is_private(&metadata));
    }
}
