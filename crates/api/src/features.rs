//! Feature gates: which there are, what they are by default, and how they are set.

use crate::operator::FeatureGate;
use std::collections::BTreeMap;

/// A gate with its default.
type Gate = (&'static str, bool);

/// The programs that have feature gates of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Registration on the hub.
    HubRegistration,
    /// Works on the hub.
    HubWork,
    /// Placement on the hub.
    HubPlacement,
    /// The manager of add-ons on the hub.
    AddOnManager,
    /// Registration in the agent.
    AgentRegistration,
    /// Works in the agent.
    AgentWork,
}

impl Family {
    /// The gates of this family, with upstream's names and defaults.
    pub fn gates(self) -> &'static [Gate] {
        match self {
            Self::HubRegistration => &[
                (DEFAULT_CLUSTER_SET, true),
                ("V1beta1CSRAPICompatibility", false),
                (MANAGED_CLUSTER_AUTO_APPROVAL, false),
                (RESOURCE_CLEANUP, true),
                (CLUSTER_PROFILE, false),
                (CLUSTER_IMPORTER, false),
            ],
            Self::HubWork => &[
                ("NilExecutorValidating", false),
                (MANIFEST_WORK_REPLICA_SET, false),
                ("CloudEventsDrivers", false),
                (CLEAN_UP_COMPLETED_MANIFEST_WORK, false),
            ],
            Self::HubPlacement => &[
                ("SIGPlacementDecision", false),
                ("PlacementDebugServer", false),
            ],
            Self::AddOnManager => &[(ADDON_MANAGEMENT, true)],
            Self::AgentRegistration => &[
                (CLUSTER_CLAIM, true),
                (CLUSTER_PROPERTY, false),
                (ADDON_MANAGEMENT, true),
                ("V1beta1CSRAPICompatibility", false),
                (MULTIPLE_HUBS, false),
            ],
            Self::AgentWork => &[
                (EXECUTOR_VALIDATING_CACHES, false),
                (RAW_FEEDBACK_JSON_STRING, false),
            ],
        }
    }
}

/// Gates of upstream with nothing behind them here, and why; nobody can switch them on.
const WITHOUT_EFFECT: [(&str, &str); 4] = [
    (
        "V1beta1CSRAPICompatibility",
        "the API version that it falls back to is gone from Kubernetes",
    ),
    (
        "CloudEventsDrivers",
        "works travel through the Kubernetes API and nothing else",
    ),
    (
        "SIGPlacementDecision",
        "the hub writes its decisions in one kind only",
    ),
    (
        "PlacementDebugServer",
        "the hub tells of its choices in conditions and Events",
    ),
];

/// Hub: make the sets `default` and `global`, and put new inventory objects into `default`.
pub const DEFAULT_CLUSTER_SET: &str = "DefaultClusterSet";
/// Hub: accept inventory objects without asking.
pub const MANAGED_CLUSTER_AUTO_APPROVAL: &str = "ManagedClusterAutoApproval";
/// Hub: put agents into clusters that Cluster API made.
pub const CLUSTER_IMPORTER: &str = "ClusterImporter";
/// Hub: tell bound namespaces of their WECs in SIG Multicluster's kind.
pub const CLUSTER_PROFILE: &str = "ClusterProfile";
/// Hub: empty the mailbox of a WEC that is deregistered.
pub const RESOURCE_CLEANUP: &str = "ResourceCleanup";
/// Hub: make works for all WECs of a placement.
pub const MANIFEST_WORK_REPLICA_SET: &str = "ManifestWorkReplicaSet";
/// Hub: delete works some time after they came to their end.
pub const CLEAN_UP_COMPLETED_MANIFEST_WORK: &str = "CleanUpCompletedManifestWork";
/// Add-ons, on both sides.
pub const ADDON_MANAGEMENT: &str = "AddonManagement";
/// Agent: report claims.
pub const CLUSTER_CLAIM: &str = "ClusterClaim";
/// Agent: report properties as claims.
pub const CLUSTER_PROPERTY: &str = "ClusterProperty";
/// Agent: choose between several hubs.
pub const MULTIPLE_HUBS: &str = "MultipleHubs";
/// Agent: remember for a while what executors of works may do.
pub const EXECUTOR_VALIDATING_CACHES: &str = "ExecutorValidatingCaches";
/// Agent: feed back raw JSON.
pub const RAW_FEEDBACK_JSON_STRING: &str = "RawFeedbackJsonString";

/// Why feature gates could not be set.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum FeatureError {
    /// Not `NAME=true` or `NAME=false`.
    #[error("feature gate {0:?} is not of the form NAME=true or NAME=false")]
    Form(String),
    /// No family asked has such a gate.
    #[error("there is no feature gate {name:?} here; there are {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// There is nothing behind the gate here.
    #[error("feature gate {name}=true cannot be used: {reason}; leave it out")]
    WithoutEffect {
        /// The name asked for.
        name: &'static str,
        /// Why, and what does the same.
        reason: &'static str,
    },
}

/// The state of every gate of some families.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureGates {
    gates: BTreeMap<&'static str, bool>,
}

impl FeatureGates {
    /// Every gate of these families at its default.
    pub fn defaults(families: &[Family]) -> Self {
        let gates = families.iter().flat_map(|family| family.gates());
        Self {
            gates: gates.copied().collect(),
        }
    }

    /// The defaults, changed by texts of the form `NAME=true` or `NAME=false`.
    ///
    /// # Errors
    ///
    /// A text of another form, a gate that there is not, and one that would have no effect.
    pub fn parse<'a>(
        families: &[Family],
        settings: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, FeatureError> {
        let mut gates = Self::defaults(families);
        for setting in settings {
            let (name, value) = setting
                .split_once('=')
                .ok_or_else(|| FeatureError::Form(setting.to_owned()))?;
            let value = match value.trim() {
                "true" => true,
                "false" => false,
                _ => return Err(FeatureError::Form(setting.to_owned())),
            };
            gates.set(name.trim(), value)?;
        }
        match gates.without_effect().first() {
            None => Ok(gates),
            Some(&(name, reason)) => Err(FeatureError::WithoutEffect { name, reason }),
        }
    }

    /// Switches one gate.
    pub fn set(&mut self, name: &str, enabled: bool) -> Result<(), FeatureError> {
        match self.gates.get_mut(name) {
            Some(gate) => {
                *gate = enabled;
                Ok(())
            }
            None => Err(FeatureError::Unknown {
                name: name.to_owned(),
                known: self.gates.keys().copied().collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// Takes over the gates of a ClusterManager or Klusterlet; returns those it refuses: the names
    /// it does not know, and those that would have no effect, which stay off.
    pub fn apply(&mut self, settings: &[FeatureGate]) -> Vec<String> {
        let mut refused = Vec::new();
        for gate in settings {
            match self.gates.get_mut(gate.feature.as_str()) {
                Some(state) => *state = gate.mode == "Enable",
                None => refused.push(gate.feature.clone()),
            }
        }
        for (name, _) in self.without_effect() {
            self.gates.insert(name, false);
            refused.push(format!("{name} (not supported)"));
        }
        refused
    }

    /// The gates that are on and have nothing behind them, with the reasons.
    fn without_effect(&self) -> Vec<(&'static str, &'static str)> {
        let is_on = |(name, _): &(&str, &str)| self.enabled(name);
        WITHOUT_EFFECT.into_iter().filter(is_on).collect()
    }

    /// Whether a gate is on. Gates of other families are off.
    pub fn enabled(&self, name: &str) -> bool {
        self.gates.get(name).copied().unwrap_or(false)
    }

    /// One flag a gate, as upstream's operators write them: `--feature-gates=NAME=true`.
    pub fn flags(&self) -> Vec<String> {
        let flag = |(name, enabled)| format!("--feature-gates={name}={enabled}");
        self.gates.iter().map(flag).collect()
    }

    /// The gates of one family as a ClusterManager or Klusterlet carries them: those switched on,
    /// and those switched off against their default.
    pub fn settings(&self, family: Family) -> Vec<FeatureGate> {
        let stated = |(name, default): &Gate| {
            let enabled = self.enabled(name);
            (enabled || *default).then(|| FeatureGate {
                feature: (*name).to_owned(),
                mode: if enabled { "Enable" } else { "Disable" }.to_owned(),
            })
        };
        family.gates().iter().filter_map(stated).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_start_at_their_defaults_and_follow_settings() {
        let families = [Family::HubRegistration];
        let gates = FeatureGates::parse(
            &families,
            ["ManagedClusterAutoApproval=true", "DefaultClusterSet=false"],
        )
        .unwrap();
        assert!(gates.enabled(MANAGED_CLUSTER_AUTO_APPROVAL));
        assert!(gates.enabled(RESOURCE_CLEANUP));
        assert!(!gates.enabled(DEFAULT_CLUSTER_SET));
        assert!(
            !gates.enabled(ADDON_MANAGEMENT),
            "belongs to another family"
        );
        let settings: Vec<_> = gates
            .settings(Family::HubRegistration)
            .into_iter()
            .map(|gate| (gate.feature, gate.mode))
            .collect();
        let expected = [
            ("DefaultClusterSet", "Disable"),
            ("ManagedClusterAutoApproval", "Enable"),
            ("ResourceCleanup", "Enable"),
        ];
        assert_eq!(
            settings,
            expected.map(|(name, mode)| (name.to_owned(), mode.to_owned()))
        );
        assert_eq!(
            FeatureGates::parse(&families, ["Nonsense=true"])
                .unwrap_err()
                .to_string(),
            "there is no feature gate \"Nonsense\" here; there are ClusterImporter, \
             ClusterProfile, DefaultClusterSet, ManagedClusterAutoApproval, ResourceCleanup, \
             V1beta1CSRAPICompatibility"
        );
        assert!(FeatureGates::parse(&families, ["ResourceCleanup"]).is_err());
        assert!(FeatureGates::parse(&families, ["ResourceCleanup=yes"]).is_err());
    }

    #[test]
    fn gates_with_nothing_behind_them_stay_off_with_the_reason() {
        let families = [Family::HubWork, Family::HubPlacement, Family::AgentWork];
        for (name, reason) in WITHOUT_EFFECT {
            let owners = [
                Family::HubRegistration,
                Family::HubWork,
                Family::HubPlacement,
                Family::AgentRegistration,
                Family::AgentWork,
            ];
            let error = FeatureGates::parse(&owners, [format!("{name}=true").as_str()]);
            assert_eq!(error, Err(FeatureError::WithoutEffect { name, reason }));
            assert!(FeatureGates::parse(&owners, [format!("{name}=false").as_str()]).is_ok());
        }
        let mut gates = FeatureGates::defaults(&families);
        let on = FeatureGate {
            feature: "CloudEventsDrivers".to_owned(),
            mode: "Enable".to_owned(),
        };
        assert_eq!(gates.apply(&[on]), ["CloudEventsDrivers (not supported)"]);
        assert!(!gates.enabled("CloudEventsDrivers"));
    }

    #[test]
    fn unknown_gates_of_an_object_are_named_and_the_rest_still_count() {
        let mut gates = FeatureGates::defaults(&[Family::AgentWork]);
        let setting = |feature: &str| FeatureGate {
            feature: feature.to_owned(),
            mode: "Enable".to_owned(),
        };
        let settings = [setting("Nonsense"), setting(RAW_FEEDBACK_JSON_STRING)];
        assert_eq!(gates.apply(&settings), ["Nonsense"]);
        assert!(gates.enabled(RAW_FEEDBACK_JSON_STRING));
        assert_eq!(
            gates.flags(),
            [
                "--feature-gates=ExecutorValidatingCaches=false",
                "--feature-gates=RawFeedbackJsonString=true",
            ]
        );
    }
}
