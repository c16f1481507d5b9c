//! Checks before a command acts: their report, and the two that most commands share.

use super::kinds::CLUSTER_MANAGER;
use super::objects;
use super::session::Session;
use crate::target::Target;
use anyhow::anyhow;
use anyhow::bail;
use hyades_api::names;
use hyades_runtime::Trouble;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use hyades_runtime::kube;

/// What one check found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// Worth knowing.
    pub warnings: Vec<String>,
    /// Fatal.
    pub errors: Vec<String>,
}

impl Finding {
    /// Nothing to say.
    pub fn passed() -> Self {
        Self::default()
    }

    /// One fatal error.
    pub fn error(text: impl Into<String>) -> Self {
        Self {
            errors: vec![text.into()],
            ..Self::default()
        }
    }

    /// One warning.
    pub fn warning(text: impl Into<String>) -> Self {
        Self {
            warnings: vec![text.into()],
            ..Self::default()
        }
    }
}

/// A check's name with what it found.
pub type Check = (&'static str, Finding);

/// The lines to print for the checks, and the error if one of them is fatal.
fn report(checks: &[Check]) -> (Vec<String>, Option<String>) {
    let mut lines = Vec::new();
    let mut fatal = Vec::new();
    for (name, finding) in checks {
        for warning in &finding.warnings {
            lines.push(format!("\t[WARNING {name}]: {warning}"));
        }
        let verdict = match finding.errors.is_empty() {
            true => "Passed",
            false => "Failed",
        };
        lines.push(format!(
            "Preflight check: {name} {verdict} with {} warnings and {} errors",
            finding.warnings.len(),
            finding.errors.len()
        ));
        let errors = finding.errors.iter();
        fatal.extend(errors.map(|error| format!("\t[ERROR {name}]: {error}")));
    }
    let error = (!fatal.is_empty()).then(|| {
        format!(
            "[preflight] Some fatal errors occurred:\n{}",
            fatal.join("\n")
        )
    });
    (lines, error)
}

/// Prints what the checks found.
///
/// # Errors
///
/// When one of them found something fatal.
pub fn conclude(session: &Session, checks: &[Check]) -> anyhow::Result<()> {
    let (lines, error) = report(checks);
    lines.iter().for_each(|line| session.console.warn(line));
    match error {
        None => Ok(()),
        Some(error) => Err(anyhow!(error)),
    }
}

/// The resources of a group version that a server serves; none if it does not know the group.
pub async fn resources(
    client: &kube::Client,
    group_version: &str,
) -> kube::Result<Option<APIResourceList>> {
    match client.list_api_group_resources(group_version).await {
        Ok(list) => Ok(Some(list)),
        Err(error) if Trouble::of(&error).is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn serves(target: &Target, version: &str, resource: &str) -> anyhow::Result<bool> {
    let group_version = format!("{}/{version}", names::CLUSTER_GROUP);
    let found = resources(&target.client, &group_version).await;
    let found = found.map_err(|error| {
        target.explain(&format!("ask which resources {group_version} has"), &error)
    })?;
    Ok(found.is_some_and(|list| list.resources.iter().any(|served| served.name == resource)))
}

/// Checks that an API answers, before anything is said about what it lacks.
async fn is_cluster(target: &Target) -> anyhow::Result<()> {
    match target.client.apiserver_version().await {
        Ok(_) => Ok(()),
        // It has an API to protect.
        Err(error) if matches!(Trouble::of(&error), Trouble::Forbidden(_)) => Ok(()),
        Err(error) => Err(target.explain("ask for the version", &error)),
    }
}

/// Checks that the cluster is a hub.
///
/// # Errors
///
/// When it is not, or cannot be asked.
pub async fn is_hub(target: &Target) -> anyhow::Result<()> {
    if serves(target, "v1", &hyades_inventory::install::hub_resource()).await? {
        return Ok(());
    }
    is_cluster(target).await?;
    bail!(
        "hub oriented command should not running against non-hub cluster: context {:?} at {} serves no managedclusters; choose the hub's context with --context, or make it a hub with 'clusteradm init'",
        target.name,
        target.server
    )
}

/// Checks that `init` got as far as the hub's operator, which is before the cluster is a hub.
///
/// # Errors
///
/// When it did not, beginning with `headline`; or the cluster cannot be asked.
pub async fn is_initialised(session: &Session, headline: &str) -> anyhow::Result<()> {
    if objects::is_defined(session, CLUSTER_MANAGER).await? {
        return Ok(());
    }
    is_cluster(&session.target).await?;
    bail!(
        "{headline}\ncontext {:?} at {} has no {}; choose the hub's context with --context",
        session.target.name,
        session.target.server,
        CLUSTER_MANAGER.full_plural()
    )
}

/// Checks that the cluster is a managed one.
///
/// # Errors
///
/// When it is not, or cannot be asked.
pub async fn is_managed(target: &Target) -> anyhow::Result<()> {
    if serves(target, "v1alpha1", "clusterclaims").await? {
        return Ok(());
    }
    is_cluster(target).await?;
    bail!(
        "managed cluster oriented command should not running against non-managed cluster\ncontext {:?} at {} serves no clusterclaims; choose the managed cluster's context with --context, or join it to a hub with 'clusteradm join'",
        target.name,
        target.server
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_reported_as_upstream_does() {
        let checks = [
            ("A check", Finding::warning("beware")),
            ("B check", Finding::error("broken")),
            ("C check", Finding::passed()),
        ];
        let (lines, error) = report(&checks);
        assert_eq!(
            lines,
            [
                "\t[WARNING A check]: beware",
                "Preflight check: A check Passed with 1 warnings and 0 errors",
                "Preflight check: B check Failed with 0 warnings and 1 errors",
                "Preflight check: C check Passed with 0 warnings and 0 errors",
            ]
        );
        assert_eq!(
            error.as_deref(),
            Some("[preflight] Some fatal errors occurred:\n\t[ERROR B check]: broken")
        );
    }
}
