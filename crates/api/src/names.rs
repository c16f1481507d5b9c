//! Every name that two programs must agree on: groups, namespaces, objects, labels, annotations,
//! finalizers. Derived names are functions of typed names.

use crate::identity::ClusterName;

/// API group of inventory objects, sets, placements and claims.
pub const CLUSTER_GROUP: &str = "cluster.open-cluster-management.io";
/// API group of works.
pub const WORK_GROUP: &str = "work.open-cluster-management.io";
/// API group of the settings of hub and agent.
pub const OPERATOR_GROUP: &str = "operator.open-cluster-management.io";
/// API group of add-ons.
pub const ADDON_GROUP: &str = "addon.open-cluster-management.io";
/// API group that exists in RBAC only: `managedclusters/accept`, `managedclusters/clientcertificates`.
pub const REGISTER_GROUP: &str = "register.open-cluster-management.io";

/// API group of the kinds that are this project's own.
pub const HYADES_GROUP: &str = "hyades.io";
/// API group of SIG Multicluster's inventory.
pub const PROFILE_GROUP: &str = "multicluster.x-k8s.io";
/// API group of Cluster API.
pub const CAPI_GROUP: &str = "cluster.x-k8s.io";
/// What the hub is called as a manager in cluster profiles; upstream's name.
pub const PROFILE_MANAGER: &str = "open-cluster-management";

/// Namespaces.
pub mod namespaces {
    /// The operators, on ITS and WEC.
    pub const OPERATOR: &str = "open-cluster-management";
    /// The hub's controllers, on the ITS.
    pub const HUB: &str = "open-cluster-management-hub";
    /// The agent, on the WEC.
    pub const AGENT: &str = "open-cluster-management-agent";
    /// Agents of add-ons, on the WEC.
    pub const AGENT_ADDON: &str = "open-cluster-management-agent-addon";
    /// KubeStellar's properties of WECs, one ConfigMap each, on the ITS.
    pub const CUSTOMIZATION_PROPERTIES: &str = "customization-properties";
    /// Where bootstrap tokens live.
    pub const KUBE_SYSTEM: &str = "kube-system";
    /// Where everybody may read.
    pub const KUBE_PUBLIC: &str = "kube-public";
}

/// Labels.
pub mod labels {
    /// On everything that belongs to one WEC; the value is its name.
    pub const CLUSTER_NAME: &str = "open-cluster-management.io/cluster-name";
    /// On what belongs to an add-on rather than to registration itself.
    pub const ADDON_NAME: &str = "open-cluster-management.io/addon-name";
    /// On an inventory object: the one set it belongs to.
    pub const CLUSTER_SET: &str = "cluster.open-cluster-management.io/clusterset";
    /// On a placement's decisions: the placement's name.
    pub const PLACEMENT: &str = "cluster.open-cluster-management.io/placement";
    /// On a placement's decisions: the place of their group, counted from 0.
    pub const DECISION_GROUP_INDEX: &str =
        "cluster.open-cluster-management.io/decision-group-index";
    /// On a placement's decisions: the name of their group; empty for those without one.
    pub const DECISION_GROUP_NAME: &str = "cluster.open-cluster-management.io/decision-group-name";
    /// On a cluster profile: who manages it.
    pub const PROFILE_MANAGER: &str = "x-k8s.io/cluster-manager";
    /// On a cluster profile: the set through which it came.
    pub const PROFILE_CLUSTER_SET: &str = "x-k8s.io/clusterset";
    /// On a ClusterRole of a WEC whose rules the work agent shall have too; the value is `true`.
    pub const AGGREGATE_TO_WORK: &str = "open-cluster-management.io/aggregate-to-work";
    /// On a namespace of a WEC that a Klusterlet runs its agent in; the value is its name.
    pub const KLUSTERLET_NAMESPACE: &str = "operator.open-cluster-management.io/klusterlet";
    /// On whatever a ClusterManager made; the value is its name.
    pub const CREATED_BY_CLUSTER_MANAGER: &str =
        "open-cluster-management.io/created-by-clustermanager";
    /// On whatever a Klusterlet made; the value is its name.
    pub const CREATED_BY_KLUSTERLET: &str = "open-cluster-management.io/created-by-klusterlet";
    /// On a work that a ManifestWorkReplicaSet made: the set, as NAMESPACE.NAME.
    pub const REPLICA_SET: &str = "work.open-cluster-management.io/manifestworkreplicaset";
    /// On a work that a ManifestWorkReplicaSet made: the placement through which it came.
    pub const REPLICA_SET_PLACEMENT: &str = "work.open-cluster-management.io/placementname";
    /// On claims that are not reported to the hub.
    pub const SPOKE_ONLY: &str = "open-cluster-management.io/spoke-only";
    /// On namespaces of a WEC whose pods need the credentials for pulling images: `true`.
    pub const ADDON_NAMESPACE: &str = "addon.open-cluster-management.io/namespace";
    /// Prefix of the label on namespaces that a set wants in a WEC; the rest tells the hub.
    pub const CLUSTER_SET_PREFIX: &str = "clusterset.open-cluster-management.io/";
    /// The label by which pods and Secrets are found.
    pub const APP: &str = "app";
}

/// Values of the label `app` on pods.
pub mod apps {
    /// The hub's operator.
    pub const CLUSTER_MANAGER: &str = "cluster-manager";
    /// The hub's controllers.
    pub const HUB: &str = "clustermanager-registration-controller";
    /// The agent's operator.
    pub const KLUSTERLET: &str = "klusterlet";
    /// The registration agent.
    pub const REGISTRATION_AGENT: &str = "klusterlet-registration-agent";
    /// The work agent.
    pub const WORK_AGENT: &str = "klusterlet-manifestwork-agent";
    /// Both agents in one process.
    pub const KLUSTERLET_AGENT: &str = "klusterlet-agent";
}

/// Annotations.
pub mod annotations {
    /// On an inventory object: the cluster of Cluster API it stands for, as NAMESPACE/NAME.
    pub const CAPI_CLUSTER: &str = "cluster.x-k8s.io/cluster";
    /// On an inventory object: when it was accepted without asking; so it is done once only.
    pub const AUTOMATICALLY_ACCEPTED_ON: &str =
        "open-cluster-management.io/automatically-accepted-on";
    /// On an inventory object: `true` leaves out the check of its clock.
    pub const SKIP_CLOCK_SYNC_CHECK: &str =
        "registration.open-cluster-management.io/skip-clock-sync-check";
    /// On an object in a mailbox: 0 to 100; lower ones are deleted first on deregistration.
    pub const CLEANUP_PRIORITY: &str = "open-cluster-management.io/cleanup-priority";
    /// On a set made by the hub: `false` lets an administrator change its selector.
    pub const AUTO_UPDATE: &str = "cluster.open-cluster-management.io/autoupdate";
    /// On a placement: `true` leaves its decisions as they are.
    pub const SCHEDULING_DISABLED: &str =
        "cluster.open-cluster-management.io/experimental-scheduling-disable";
    /// Start of the keys that `clusteradm join --klusterlet-annotation` may set.
    pub const AGENT_PREFIX: &str = "agent.open-cluster-management.io/";
    /// On agents' namespaces, as upstream sets it for OpenShift; the value is `management`.
    pub const WORKLOAD_ALLOWED: &str = "workload.openshift.io/allowed";
    /// On the Klusterlet of a hosted agent whose WEC cannot be reached for clean-up: since when.
    pub const MANAGED_RESOURCES_EVICTION: &str =
        "operator.open-cluster-management.io/managed-resources-eviction-timestamp";
    /// On an AppliedManifestWork: the service account, as NAMESPACE/NAME, on whose behalf its objects
    /// were applied.
    pub const EXECUTOR: &str = "hyades.io/executor";
    /// On a mailbox namespace: the common name of the agent to which the WEC's name is pinned.
    pub const PINNED_AGENT: &str = "hyades.io/pinned-agent";
    /// On a mailbox namespace: SHA-256 of the public key in the owner's newest approved request.
    pub const PINNED_KEY: &str = "hyades.io/pinned-key-sha256";
    /// On a ClusterRole: how lists and watches must be selected that it grants, as
    /// `RESOURCE.GROUP:LABEL=VALUE` entries separated by commas, `*` for any one value. Spaces keep
    /// to it; other API servers grant what the rules say.
    pub const COLLECTIONS_SELECTED_BY: &str = "hyades.io/collections-selected-by";
    /// On a mailbox namespace: whom its rights go to while no agent is pinned; see
    /// [`RIGHTS_TO_PINNED_AGENT`] and [`RIGHTS_TO_GROUP`].
    pub const RIGHTS_GO_TO: &str = "hyades.io/rights-go-to";
    /// Value of [`RIGHTS_GO_TO`]: to nobody until an agent is pinned.
    pub const RIGHTS_TO_PINNED_AGENT: &str = "pinned-agent";
    /// Value of [`RIGHTS_GO_TO`]: to the whole group of the WEC, because another hub accepted it;
    /// until its agent renews its certificate and is pinned.
    pub const RIGHTS_TO_GROUP: &str = "group-until-renewal";
    /// On a mailbox namespace: when the name was pinned.
    pub const PINNED_ON: &str = "hyades.io/pinned-on";
    /// On a mailbox namespace: the common name of the agent that an administrator hands the WEC's
    /// name over to. The hub approves that agent's next request, pins the name to it, and removes
    /// the annotation.
    pub const HAND_OVER_TO: &str = "hyades.io/hand-over-to";
    /// On a mailbox namespace, beside [`HAND_OVER_TO`]: SHA-256 of the public key that the heir must
    /// show. Without it every key under that common name inherits.
    pub const HAND_OVER_TO_KEY: &str = "hyades.io/hand-over-to-key-sha256";
    /// On a mailbox namespace, beside [`HAND_OVER_TO`]: until when the heir may take over, in RFC
    /// 3339. Without it, and after it, nobody inherits.
    pub const HAND_OVER_UNTIL: &str = "hyades.io/hand-over-until";
    /// On a mailbox namespace: the JoinRule by which its WEC was let in.
    pub const JOINED_BY_RULE: &str = "hyades.io/joined-by-rule";
    /// On an inventory object: by whom or by what it was accepted, for the Event that tells.
    pub const ACCEPTED_BY: &str = "hyades.io/accepted-by";
    /// On a ClusterManager: seconds after the end of an agent's certificate within which it may come
    /// back by that certificate's key; `0` never.
    pub const EXPIRED_CERTIFICATE_WINDOW: &str = "hyades.io/expired-certificate-window-seconds";
    /// On an agent's hub Secret: the address that its hub published when the agent last followed it.
    pub const PUBLISHED_SERVER: &str = "hyades.io/published-server";
    /// On an agent's hub Secret: SHA-256 of the authorities that its hub published then.
    pub const PUBLISHED_AUTHORITY: &str = "hyades.io/published-authority-sha256";
}

/// Finalizers.
pub mod finalizers {
    /// On an inventory object, until its RBAC is gone.
    pub const API_RESOURCE_CLEANUP: &str =
        "cluster.open-cluster-management.io/api-resource-cleanup";
    /// On an inventory object, until its mailbox is empty.
    pub const RESOURCE_CLEANUP: &str = "cluster.open-cluster-management.io/resource-cleanup";
    /// On a work until its agent has removed its objects; and on the work role binding of a WEC
    /// until no work is left, so that the agent can do so.
    pub const MANIFEST_WORK_CLEANUP: &str =
        "cluster.open-cluster-management.io/manifest-work-cleanup";
    /// On a ManifestWorkReplicaSet, until its works are deleted.
    pub const REPLICA_SET_CLEANUP: &str = "work.open-cluster-management.io/manifest-work-cleanup";
    /// On an applied work, until its objects are gone.
    pub const APPLIED_MANIFEST_WORK_CLEANUP: &str =
        "cluster.open-cluster-management.io/applied-manifest-work-cleanup";
    /// On a ClusterManager, until the hub is gone.
    pub const CLUSTER_MANAGER_CLEANUP: &str =
        "operator.open-cluster-management.io/cluster-manager-cleanup";
    /// On a Klusterlet, until the agent is gone.
    pub const KLUSTERLET_CLEANUP: &str = "operator.open-cluster-management.io/klusterlet-cleanup";
    /// Keeps the Klusterlet of a hosted agent until its WEC was cleaned up.
    pub const KLUSTERLET_HOSTED_CLEANUP: &str =
        "operator.open-cluster-management.io/klusterlet-hosted-cleanup";
}

/// Taints that the hub sets on inventory objects.
pub mod taints {
    /// The agent has not been heard of.
    pub const UNREACHABLE: &str = "cluster.open-cluster-management.io/unreachable";
    /// The agent says that its WEC is not well.
    pub const UNAVAILABLE: &str = "cluster.open-cluster-management.io/unavailable";
    /// Their effect: not chosen unless tolerated.
    pub const NO_SELECT: &str = "NoSelect";
    /// Effect: not chosen anew unless tolerated; who is chosen already stays.
    pub const NO_SELECT_IF_NEW: &str = "NoSelectIfNew";
    /// Effect: rather not chosen. Placements take no notice of it.
    pub const PREFER_NO_SELECT: &str = "PreferNoSelect";
}

/// The ClusterManager that `clusteradm init` makes; also its operator's Deployment and account.
pub const CLUSTER_MANAGER: &str = "cluster-manager";
/// The Klusterlet that `clusteradm join` makes; also its operator's Deployment and account.
pub const KLUSTERLET: &str = "klusterlet";
/// The admission policies of the hub, named like upstream's webhooks.
pub mod policies {
    /// What inventory objects must be, and who may accept them and move them between sets.
    pub const CLUSTERS: &str =
        "managedclustervalidators.admission.cluster.open-cluster-management.io";
    /// What inventory objects get when their authors leave it out.
    pub const CLUSTER_DEFAULTS: &str =
        "managedclustermutators.admission.cluster.open-cluster-management.io";
    /// What agents may say about themselves.
    pub const CLUSTER_STATUS: &str =
        "managedclusterstatusvalidators.admission.cluster.open-cluster-management.io";
    /// Who may bind a set to a namespace.
    pub const SET_BINDINGS: &str =
        "managedclustersetbindingvalidators.admission.cluster.open-cluster-management.io";
    /// What placements should be.
    pub const PLACEMENTS: &str = "placementadvice.admission.cluster.open-cluster-management.io";
    /// What works must be, and as whom they may be applied.
    pub const WORKS: &str = "manifestworkvalidators.admission.work.open-cluster-management.io";
    /// How much agents may write beside the works they were given.
    pub const WORK_METADATA: &str =
        "manifestworkmetadatavalidators.admission.work.open-cluster-management.io";
    /// What agents may say of the add-ons enabled for them.
    pub const ADDON_STATUS: &str =
        "managedclusteraddonstatusvalidators.admission.addon.open-cluster-management.io";
}

/// The account that new agents present themselves with.
pub const BOOTSTRAP_SERVICE_ACCOUNT: &str = "agent-registration-bootstrap";
/// The user name of that account.
pub const BOOTSTRAP_SERVICE_ACCOUNT_USER: &str =
    "system:serviceaccount:open-cluster-management:agent-registration-bootstrap";
/// What a new agent may do.
pub const BOOTSTRAP_CLUSTER_ROLE: &str = "open-cluster-management:bootstrap";
/// Binds it to the bootstrap account.
pub const BOOTSTRAP_CLUSTER_ROLE_BINDING: &str =
    "open-cluster-management:bootstrap:agent-registration";
/// Binds it to the holders of a bootstrap token.
pub const BOOTSTRAP_TOKEN_CLUSTER_ROLE_BINDING: &str =
    "open-cluster-management:bootstrap:managedcluster";
/// The group of the holders of a bootstrap token.
pub const BOOTSTRAP_TOKEN_GROUP: &str = "system:bootstrappers:managedcluster";
/// The bootstrap token's public half.
pub const BOOTSTRAP_TOKEN_ID: &str = "ocmhub";
/// The Secret that holds the bootstrap token, in `kube-system`.
pub const BOOTSTRAP_TOKEN_SECRET: &str = "bootstrap-token-ocmhub";
/// The user name of a bootstrap token's holder.
pub const BOOTSTRAP_TOKEN_USER: &str = "system:bootstrap:ocmhub";
/// The Secret with which images are pulled.
pub const IMAGE_PULL_SECRET: &str = "open-cluster-management-image-pull-credentials";
/// The Secret on a WEC that holds its agent's first credentials for the hub.
pub const BOOTSTRAP_HUB_KUBECONFIG_SECRET: &str = "bootstrap-hub-kubeconfig";
/// The Secret on a WEC that holds its agent's own credentials for the hub.
pub const HUB_KUBECONFIG_SECRET: &str = "hub-kubeconfig-secret";
/// Secret with the key that an agent has asked for a certificate for, while it waits for it.
pub const PENDING_KEY_SECRET: &str = "hub-kubeconfig-pending-key";
/// Secret in a hosted agent's namespace with the kubeconfig of its WEC, as its user gave it.
pub const EXTERNAL_MANAGED_KUBECONFIG_SECRET: &str = "external-managed-kubeconfig";
/// Secret in a hosted agent's namespace by which its registration agent reaches the WEC.
pub const EXTERNAL_MANAGED_KUBECONFIG_REGISTRATION_SECRET: &str =
    "external-managed-kubeconfig-registration";
/// Secret in a hosted agent's namespace by which its work agent reaches the WEC.
pub const EXTERNAL_MANAGED_KUBECONFIG_WORK_SECRET: &str = "external-managed-kubeconfig-work";
/// Secret in a hosted agent's namespace by which both agents in one process reach the WEC.
pub const EXTERNAL_MANAGED_KUBECONFIG_AGENT_SECRET: &str = "external-managed-kubeconfig-agent";
/// The agent's lease, in the mailbox.
pub const LEASE: &str = "managed-cluster-lease";
/// What every accepted agent may do about registration in its mailbox.
pub const REGISTRATION_CLUSTER_ROLE: &str = "open-cluster-management:managedcluster:registration";
/// What every accepted agent may do about works in its mailbox.
pub const WORK_CLUSTER_ROLE: &str = "open-cluster-management:managedcluster:work";
/// The set that inventory objects belong to unless told otherwise.
pub const DEFAULT_CLUSTER_SET: &str = "default";
/// The set that every inventory object belongs to.
pub const GLOBAL_CLUSTER_SET: &str = "global";
/// The signer of agents' certificates.
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";
/// Prefix of the user that a space knows the holder of an expired client certificate as; the
/// certificate's common name follows.
pub const EXPIRED_USER_PREFIX: &str = "hyades.io:expired:";
/// The only group of such a user.
pub const EXPIRED_GROUP: &str = "hyades.io:expired-certificates";
/// Extra of such a user: when the certificate ended.
pub const EXPIRED_AT_EXTRA: &str = "hyades.io/certificate-expired-at";
/// Extra of such a user: SHA-256 of the certificate's public key, in hexadecimal.
pub const EXPIRED_KEY_EXTRA: &str = "hyades.io/certificate-key-sha256";
/// The role on the hub of such users: to ask for a certificate, and to look at the request.
pub const RECOVERY_CLUSTER_ROLE: &str = "open-cluster-management:managedcluster:recovery";

/// The mailbox of a WEC: the namespace in the ITS named like it.
pub fn mailbox(cluster: &ClusterName) -> &str {
    cluster.as_str()
}

/// ClusterRole and ClusterRoleBinding of one WEC.
pub fn cluster_role(cluster: &ClusterName) -> String {
    format!("open-cluster-management:managedcluster:{cluster}")
}

/// The role binding for registration in a WEC's mailbox.
pub fn registration_role_binding(cluster: &ClusterName) -> String {
    format!("open-cluster-management:managedcluster:{cluster}:registration")
}

/// The role binding for works in a WEC's mailbox.
pub fn work_role_binding(cluster: &ClusterName) -> String {
    format!("open-cluster-management:managedcluster:{cluster}:work")
}

/// Start of the names of a WEC's certificate signing requests, for `generateName`.
pub fn csr_name_prefix(cluster: &ClusterName) -> String {
    format!("{cluster}-")
}

/// Deployment of the hub's controllers, in the hub's namespace.
pub fn hub_deployment(cluster_manager: &str) -> String {
    format!("{cluster_manager}-registration-controller")
}

/// Account of the hub's controllers, in the hub's namespace.
pub const HUB_SERVICE_ACCOUNT: &str = "registration-controller-sa";

/// ClusterRole and ClusterRoleBinding of the hub's controllers.
pub fn hub_cluster_role(cluster_manager: &str) -> String {
    format!("open-cluster-management:{cluster_manager}-registration:controller")
}

/// ClusterRole and ClusterRoleBinding of the hub's controllers for works of add-ons, which name no
/// executor: where the hub asks for the right to the default one, they need it too.
pub fn work_executor_cluster_role(cluster_manager: &str) -> String {
    format!("open-cluster-management:{cluster_manager}-work-executor-admin:webhook")
}

/// Name of the applied work that belongs to a work of a hub.
pub fn applied_work(hub_hash: &str, work: &str) -> String {
    format!("{hub_hash}-{work}")
}

/// Name of a placement's nth object of decisions, counted from 1.
pub fn placement_decision(placement: &str, number: usize) -> String {
    format!("{placement}-decision-{number}")
}
