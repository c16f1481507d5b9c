//! Names that KubeStellar's controllers, its users and ours must agree on.

/// API group of policies, Bindings and reported states.
pub const CONTROL_GROUP: &str = "control.kubestellar.io";

/// The namespace of a WDS for CombinedStatuses about objects of the cluster scope.
pub const REPORT_NAMESPACE: &str = "kubestellar-report";

/// The namespace of what distribution runs by, in a WDS and, for its accounts, in an ITS. No policy
/// can mean it or what is in it.
pub const SYSTEM_NAMESPACE: &str = "kubestellar-system";

/// The Secret in that namespace of a WDS: where its ITS is, and the token for it.
pub const ITS_SECRET: &str = "its";

/// Field managers under which KubeStellar's controllers write, and ours in their place.
pub mod managers {
    /// Writes Bindings and policies' status.
    pub const BINDING: &str = "Binding";
    /// Writes CombinedStatuses and returned status.
    pub const STATUS: &str = "Status";
    /// Writes works and Bindings' status.
    pub const TRANSPORT: &str = "transport-controller";
}

/// Finalizers.
pub mod finalizers {
    /// On a BindingPolicy, until the controller has forgotten it.
    pub const BINDING_POLICY: &str = "bindingpolicy.kubestellar.io/kscontroller";
    /// On a Binding, until its works are deleted.
    pub const BINDING: &str = "transport.kubestellar.io/object-cleanup";
}

/// Labels.
pub mod labels {
    /// How keys of labels begin that a work of KubeStellar's has at least one of.
    pub const ORIGIN_PREFIXES: [&str; 2] =
        ["transport.kubestellar.io", "managed-by.kubestellar.io"];
    /// On a work: the name of the Binding it came from.
    pub const ORIGIN_BINDING: &str = "transport.kubestellar.io/originOwnerReferenceBindingKey";
    /// On a work and on what is reported of it: the name of the WDS it came from.
    pub const ORIGIN_WDS: &str = "transport.kubestellar.io/originWdsName";
    /// On an object of a WDS, value `true`: its status is that of its one WEC.
    pub const SINGLETON_STATUS: &str = "managed-by.kubestellar.io/singletonstatus";
    /// On an object of a WDS, value `true`: its status is brought together from several WECs.
    pub const MULTI_WEC_STATUS: &str = "managed-by.kubestellar.io/multiwecstatus";
    /// On an object whose singleton status is wanted: how many WECs it goes to.
    pub const EXECUTING_COUNT: &str = "kubestellar.io/executing-count";
    /// On a CombinedStatus: the API group of its subject.
    pub const SUBJECT_GROUP: &str = "status.kubestellar.io/api-group";
    /// On a CombinedStatus: the resource of its subject.
    pub const SUBJECT_RESOURCE: &str = "status.kubestellar.io/resource";
    /// On a CombinedStatus: the namespace of its subject; empty for the cluster scope.
    pub const SUBJECT_NAMESPACE: &str = "status.kubestellar.io/namespace";
    /// On a CombinedStatus: the name of its subject.
    pub const SUBJECT_NAME: &str = "status.kubestellar.io/name";
    /// On a CombinedStatus: the policy that asked.
    pub const BINDING_POLICY: &str = "status.kubestellar.io/binding-policy";

    /// Labels that say something about an object in its WDS only. They never travel to a WEC, and
    /// their change is no change of the object.
    pub const OF_THE_WDS: [&str; 3] = [SINGLETON_STATUS, MULTI_WEC_STATUS, EXECUTING_COUNT];
}

/// Annotations.
pub mod annotations {
    /// On a work: the generation of the Binding when the work was written.
    pub const ORIGIN_BINDING_GENERATION: &str =
        "transport.kubestellar.io/originOwnerReferenceBindingGeneration";
    /// On a work: the full name of the Binding it came from, if that is too long for the label of
    /// the same key.
    pub const ORIGIN_BINDING: &str = super::labels::ORIGIN_BINDING;
    /// On an object of a WDS: exactly `true` has templates in its strings expanded for each WEC.
    pub const EXPAND_TEMPLATES: &str = "control.kubestellar.io/expand-templates";
    /// On a Service: `nodeport` keeps the node ports.
    pub const PRESERVE: &str = "control.kubestellar.io/preserve";
}

/// Conditions of BindingPolicies and Bindings. A Binding's are written by transport and status
/// return; a policy shows those of its Binding, with `Synced` and `Ready` false while the Binding
/// does not yet say what the policy says.
pub mod conditions {
    /// Whether the works in the ITS say what the policy says; the message counts matched objects
    /// and destinations.
    pub const SYNCED: &str = "Synced";
    /// Whether all WECs have applied all objects; the message counts those that have and have not,
    /// and quotes the first errors with their WECs.
    pub const READY: &str = "Ready";
    /// On a policy, and False: some WECs that it means are not accepted, so nothing is sent to them.
    pub const DESTINATIONS_ACCEPTED: &str = "DestinationsAccepted";
    /// Whether all StatusCollectors that the policy names exist.
    pub const STATUS_COLLECTORS_AVAILABLE: &str = "StatusCollectorsAvailable";
}

/// Reasons of those conditions.
pub mod reasons {
    /// All is well and there.
    pub const AVAILABLE: &str = "Available";
    /// It is not all there.
    pub const UNAVAILABLE: &str = "Unavailable";
    /// It is being made.
    pub const CREATING: &str = "Creating";
    /// It is being taken away.
    pub const DELETING: &str = "Deleting";
    /// What is wanted was written.
    pub const RECONCILE_SUCCESS: &str = "ReconcileSuccess";
    /// What is wanted could not be written, or is wrong.
    pub const RECONCILE_ERROR: &str = "ReconcileError";
    /// Nothing is written for the moment.
    pub const RECONCILE_PAUSED: &str = "ReconcilePaused";
}

/// The name of the CombinedStatus about an object by a policy, both by uid.
pub fn combined_status(object_uid: &str, policy_uid: &str) -> String {
    format!("{object_uid}.{policy_uid}")
}
