//! Group `hyades.io`: who may join an ITS without a person at the keyboard.

use crate::kind::kind;
use crate::kind::part;
use crate::names::HYADES_GROUP;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;

kind! {
    /// A rule by which the hub lets newcomers in: the holder of one bootstrap identity may join
    /// under the names that match, until the rule expires or has let in as many as it may.
    JoinRule, HYADES_GROUP, "v1alpha1", "joinrules", ClusterResourceScope,
    spec: JoinRuleSpec, status: JoinRuleStatus
}

part! {
    /// Whom a rule lets in, and as what.
    JoinRuleSpec {
        /// Who must ask.
        identity: JoinIdentity,
        /// Names that newcomers may have: `*` stands for any characters, `?` for one. An empty
        /// pattern is the schema's default, `*`.
        cluster_names: String,
        /// Labels that newcomers get unless they state others for the same keys.
        labels: BTreeMap<String, String>,
        /// The set that newcomers are put into, whatever they state; theirs if absent.
        cluster_set: Option<String>,
        /// From when on nobody is let in any more; never if absent.
        expires_at: Option<Time>,
        /// How many WECs may be registered by this rule at the same time; any number if absent.
        maximum_clusters: Option<i32>,
    }
}

part! {
    /// A user or a group, as the API server authenticated the sender of a certificate request.
    /// Compared by equality.
    JoinIdentity {
        /// A user name, such as `system:bootstrap:ocmhub`.
        user: Option<String>,
        /// A group, such as `system:bootstrappers:managedcluster`.
        group: Option<String>,
    }
}

part! {
    /// What the hub reports of a rule.
    JoinRuleStatus {
        /// WECs that are registered by this rule now.
        accepted_clusters: i32,
        /// Holds `Open`.
        conditions: Vec<Condition>,
    }
}
