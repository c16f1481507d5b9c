//! Conditions of a ManagedClusterAddOn and of a ClusterManagementAddOn's progressions.

use crate::conditions::Statement;
use crate::conditions::Status;

/// Whether the add-on's agent is well.
pub const AVAILABLE: &str = "Available";
/// Whether the identities and rights of the add-on's agent are settled.
pub const REGISTRATION_APPLIED: &str = "RegistrationApplied";
/// Whether the works of the add-on were written.
pub const MANIFEST_APPLIED: &str = "ManifestApplied";
/// Whether the wanted configuration is on its way.
pub const PROGRESSING: &str = "Progressing";
/// Whether the wanted configuration is known with its fingerprints.
pub const CONFIGURED: &str = "Configured";
/// Whether the hooks that run before the add-on goes are done.
pub const HOOK_COMPLETED: &str = "HookManifestCompleted";
/// Whether the add-on's certificate could be had and renewed.
pub const CERTIFICATE_ROTATED: &str = "ClusterCertificateRotated";
/// Whether the account for the add-on's token is there.
pub const TOKEN_INFRASTRUCTURE_READY: &str = "TokenInfrastructureReady";
/// Whether the add-on's token could be had and renewed.
pub const TOKEN_REFRESHED: &str = "TokenRefreshed";
/// Whether the cluster that is to host the agent can do so.
pub const HOSTING_CLUSTER_VALIDITY: &str = "HostingClusterValidity";

/// The agent of the WEC is lost, and with it all news of the add-on.
pub const LEASE_STOPPED_WITH_CLUSTER: Statement = Statement::new(
    AVAILABLE,
    Status::Unknown,
    "ManagedClusterLeaseUpdateStopped",
    "Registration agent stopped updating its lease.",
);
/// The add-on renews its lease; the message names it.
pub const LEASE_UPDATED: Statement = Statement::new(
    AVAILABLE,
    Status::True,
    "ManagedClusterAddOnLeaseUpdated",
    "",
);
/// The add-on stopped renewing its lease; the message names it.
pub const LEASE_STOPPED: Statement = Statement::new(
    AVAILABLE,
    Status::False,
    "ManagedClusterAddOnLeaseUpdateStopped",
    "",
);
/// The add-on has no lease; the message names it.
pub const LEASE_NOT_FOUND: Statement = Statement::new(
    AVAILABLE,
    Status::Unknown,
    "ManagedClusterAddOnLeaseNotFound",
    "",
);
/// What the works report of the add-on's workloads is good; the message names it.
pub const PROBE_AVAILABLE: Statement =
    Statement::new(AVAILABLE, Status::True, "ProbeAvailable", "");
/// What the works report is not good; the message says why.
pub const PROBE_UNAVAILABLE: Statement =
    Statement::new(AVAILABLE, Status::False, "ProbeUnavailable", "");
/// The works report nothing of the workloads yet.
pub const NO_PROBE_RESULT: Statement =
    Statement::new(AVAILABLE, Status::Unknown, "NoProbeResult", "");
/// There is no work.
pub const WORK_NOT_FOUND: Statement = Statement::new(
    AVAILABLE,
    Status::Unknown,
    "WorkNotFound",
    "Addon manifestWork is not found",
);
/// The work was not applied yet.
pub const WORK_NOT_APPLIED: Statement = Statement::new(
    AVAILABLE,
    Status::Unknown,
    "WorkNotApply",
    "Addon manifestWork is not applied yet",
);

/// The add-on registers nothing.
pub const NIL_REGISTRATION: Statement = Statement::new(
    REGISTRATION_APPLIED,
    Status::True,
    "NilRegistration",
    "Registration of the addon agent is configured",
);
/// Identities and rights are settled.
pub const PERMISSION_APPLIED: Statement = Statement::new(
    REGISTRATION_APPLIED,
    Status::True,
    "SetPermissionApplied",
    "Registration of the addon agent is configured",
);
/// Rights could not be written; the message says why.
pub const PERMISSION_FAILED: Statement = Statement::new(
    REGISTRATION_APPLIED,
    Status::False,
    "SetPermissionFailed",
    "",
);
/// Rights wait until it is known whom they go to.
pub const PERMISSION_PENDING: Statement = Statement::new(
    REGISTRATION_APPLIED,
    Status::False,
    "PermissionConfigPending",
    "",
);

/// The works were written.
pub const MANIFESTS_APPLIED: Statement = Statement::new(
    MANIFEST_APPLIED,
    Status::True,
    "AddonManifestApplied",
    "manifests of addon are applied successfully",
);
/// The works could not be made or written; the message says why.
pub const MANIFESTS_NOT_APPLIED: Statement = Statement::new(
    MANIFEST_APPLIED,
    Status::False,
    "ManifestWorkApplyFailed",
    "",
);

/// The wanted configuration is on its way; the message says what is missing.
pub const IN_PROGRESS: Statement = Statement::new(PROGRESSING, Status::True, "Progressing", "");
/// The wanted configuration has arrived.
pub const COMPLETED: Statement = Statement::new(
    PROGRESSING,
    Status::False,
    "Completed",
    "completed with no errors.",
);
/// A configuration is of a kind the add-on does not take; the message says which.
pub const CONFIGURATION_UNSUPPORTED: Statement =
    Statement::new(PROGRESSING, Status::False, "ConfigurationUnsupported", "");

/// All configurations were found.
pub const CONFIGURATIONS_CONFIGURED: Statement = Statement::new(
    CONFIGURED,
    Status::True,
    "ConfigurationsConfigured",
    "Configurations configured",
);
/// A configuration was not found; the message says which.
pub const CONFIGURATIONS_NOT_CONFIGURED: Statement =
    Statement::new(CONFIGURED, Status::False, "ConfigurationsNotConfigured", "");

/// The hooks are done; the message names the work.
pub const HOOK_DONE: Statement =
    Statement::new(HOOK_COMPLETED, Status::True, "HookManifestIsCompleted", "");
/// The hooks are not done; the message names the work.
pub const HOOK_NOT_DONE: Statement = Statement::new(
    HOOK_COMPLETED,
    Status::False,
    "HookManifestIsNotCompleted",
    "",
);

/// The certificate is here; the message says from when to when it is valid.
pub const CERTIFICATE_UPDATED: Statement = Statement::new(
    CERTIFICATE_ROTATED,
    Status::True,
    "ClientCertificateUpdated",
    "",
);
/// The certificate could not be had; the message says why.
pub const CERTIFICATE_UPDATE_FAILED: Statement = Statement::new(
    CERTIFICATE_ROTATED,
    Status::False,
    "ClientCertificateUpdateFailed",
    "",
);
/// The account for the token is there; the message names it.
pub const TOKEN_INFRASTRUCTURE: Statement = Statement::new(
    TOKEN_INFRASTRUCTURE_READY,
    Status::True,
    "TokenInfrastructureReady",
    "",
);
/// The token is here; the message says until when it is valid.
pub const TOKEN_UPDATED: Statement =
    Statement::new(TOKEN_REFRESHED, Status::True, "TokenRefreshed", "");
/// The token could not be had; the message says why.
pub const TOKEN_UPDATE_FAILED: Statement =
    Statement::new(TOKEN_REFRESHED, Status::False, "TokenRefreshFailed", "");
/// Agents outside the WEC are not provided for.
pub const HOSTING_UNSUPPORTED: Statement = Statement::new(
    HOSTING_CLUSTER_VALIDITY,
    Status::False,
    "HostingClusterInvalid",
    "",
);
