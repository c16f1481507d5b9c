//! Which claims of a WEC are reported to its hub.

use hyades_api::cluster::ClusterClaim;
use hyades_api::cluster::StatedClaim;
use hyades_api::names::labels;

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

/// Selects the claims to report: all reserved ones, and the first `custom_max` others by name.
/// Those labelled as the WEC's own affair are left out.
pub fn select<'a>(
    claims: impl IntoIterator<Item = &'a ClusterClaim>,
    reserved_suffixes: &[String],
    custom_max: usize,
) -> Selection {
    let is_reserved = |name: &str| {
        RESERVED.contains(&name)
            || reserved_suffixes
                .iter()
                .any(|suffix| name.ends_with(suffix.as_str()))
    };
    let private = |claim: &ClusterClaim| {
        claim
            .metadata
            .labels
            .as_ref()
            .is_some_and(|all| all.contains_key(labels::SPOKE_ONLY))
    };
    let mut stated: Vec<StatedClaim> = claims
        .into_iter()
        .filter(|claim| !private(claim))
        .map(|claim| StatedClaim {
            name: claim.metadata.name.clone().unwrap_or_default(),
            value: claim.spec.value.clone(),
        })
        .collect();
    stated.sort_by(|a, b| a.name.cmp(&b.name));
    let (mut selected, mut custom): (Vec<_>, Vec<_>) = stated
        .into_iter()
        .partition(|claim| is_reserved(&claim.name));
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
    use hyades_api::cluster::ClusterClaimSpec;

    fn claim(name: &str) -> ClusterClaim {
        ClusterClaim::new(
            name,
            ClusterClaimSpec {
                value: "v".to_owned(),
            },
        )
    }

    fn names(selection: &Selection) -> Vec<&str> {
        selection
            .claims
            .iter()
            .map(|claim| claim.name.as_str())
            .collect()
    }

    #[test]
    fn reserved_claims_come_first_and_always() {
        let claims = [
            claim("z"),
            claim("b"),
            claim("product.open-cluster-management.io"),
            claim("a.corp"),
            claim("id.k8s.io"),
        ];
        let selection = select(&claims, &["corp".to_owned()], 1);
        assert_eq!(
            names(&selection),
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
        let mut private = claim("a");
        private.metadata.labels = Some([(labels::SPOKE_ONLY.to_owned(), String::new())].into());
        let selection = select(&[private, claim("b")], &[], 20);
        assert_eq!(names(&selection), ["b"]);
    }
}
