//! What a placement is decided on: everything that counts, and nothing that does not.

use hyades_api::cluster::ManagedCluster;
use hyades_api::placement::AddOnPlacementScore;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// One WEC as placements see it.
#[derive(Clone, Debug)]
pub struct Wec {
    /// Another with every change that may count, of the object or of its scores. What was found
    /// out about one version of a WEC is true of it for ever.
    pub version: u64,
    /// The inventory object.
    pub object: Arc<ManagedCluster>,
    /// What add-ons think of it, by the name of the object they say it in.
    pub scores: BTreeMap<String, Arc<AddOnPlacementScore>>,
}

impl Wec {
    /// Its name.
    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    /// The value of a claim. Of two claims with one name the last counts, as upstream has it.
    pub(super) fn claim(&self, name: &str) -> Option<&str> {
        let claims = self.object.status.cluster_claims.iter().rev();
        let mut named = claims.filter(|claim| claim.name == name);
        named.next().map(|claim| claim.value.as_str())
    }

    /// The length of its longest list of scores.
    pub(super) fn longest_scores(&self) -> usize {
        let lengths = self
            .scores
            .values()
            .map(|object| object.status.scores.len());
        lengths.max().unwrap_or_default()
    }
}

/// A WEC that a placement may choose.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The WEC.
    pub wec: Arc<Wec>,
    /// How many decisions of other placements it is in.
    pub elsewhere: u32,
}

/// An object of decisions as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecisionObject {
    /// Its name.
    pub name: String,
    /// The place of its group, counted from 0.
    pub group_index: usize,
    /// The name of its group; empty for those without one.
    pub group_name: String,
    /// The WECs it holds.
    pub clusters: BTreeSet<String>,
}

/// Everything a placement is decided on besides itself.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The time of the decision.
    pub now: Timestamp,
    /// How many sets the placement's namespace may use.
    pub bindings: usize,
    /// Which of them the placement asks for; sorted.
    pub sets: Vec<String>,
    /// Members of these sets that are not being deregistered; sorted by name, each once.
    pub candidates: Vec<Candidate>,
    /// In how many decisions of other placements the most wanted WEC is, candidate or not.
    pub elsewhere_most: u32,
    /// The placement's decisions so far, in the order of their numbers.
    pub existing: Vec<DecisionObject>,
}

impl Snapshot {
    /// The WECs chosen so far.
    pub(super) fn decided(&self) -> BTreeSet<&str> {
        let all = self.existing.iter().flat_map(|object| &object.clusters);
        all.map(String::as_str).collect()
    }
}
