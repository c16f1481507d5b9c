//! Which WECs belong to a set.

use super::selector::Selector;
use hyades_api::cluster::ManagedClusterSet;
use hyades_api::names::labels;
use std::collections::BTreeMap;

/// The type of sets that choose their members.
const LABEL_SELECTOR: &str = "LabelSelector";

/// How a set finds its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    /// By the one label that says to which set a WEC belongs.
    Label,
    /// By a selector over all labels.
    Selector(Selector),
}

impl Membership {
    /// Reads a set; the error says what is wrong with its selector.
    pub(crate) fn of(set: &ManagedClusterSet) -> Result<Self, String> {
        let stated = &set.spec.cluster_selector;
        if stated.selector_type != LABEL_SELECTOR {
            return Ok(Self::Label);
        }
        let selector = stated.label_selector.clone().unwrap_or_default();
        Selector::of_labels(&selector).map(Self::Selector)
    }

    /// Whether a WEC with these labels belongs to the set of that name.
    pub(crate) fn holds(&self, set: &str, of_wec: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Label => of_wec
                .get(labels::CLUSTER_SET)
                .is_some_and(|own| own == set),
            Self::Selector(selector) => selector.matches_labels(Some(of_wec)),
        }
    }
}
