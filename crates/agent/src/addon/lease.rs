//! Whether an add-on is well, by the lease that its agent renews in the WEC.

use super::Scene;
use super::report::Reporter;
use hyades_api::addon::ManagedClusterAddOn;
use hyades_api::addon::conditions as known;
use hyades_api::conditions::Statement;
use hyades_runtime::Trouble;
use hyades_runtime::k8s_openapi::api::coordination::v1::Lease;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use jiff::SignedDuration;
use jiff::Timestamp;

/// How long a lease may go without renewal: five minutes, as upstream has it.
const GRACE: SignedDuration = SignedDuration::from_secs(5 * 60);

/// Judges an add-on by its lease. Lease and judge share a cluster, and so a clock that agrees.
fn judge(addon: &str, lease: Option<&Lease>, now: Timestamp) -> Statement {
    let Some(lease) = lease else {
        let message = format!("The status of {addon} add-on is unknown.");
        return known::LEASE_NOT_FOUND.with_message(message);
    };
    let renewed = lease
        .spec
        .as_ref()
        .and_then(|spec| spec.renew_time.as_ref());
    let fresh = renewed.is_some_and(|renewed| now.duration_since(renewed.0) < GRACE);
    if fresh {
        known::LEASE_UPDATED.with_message(format!("{addon} add-on is available."))
    } else {
        known::LEASE_STOPPED.with_message(format!("{addon} add-on is not available."))
    }
}

/// Looks at an add-on's lease and reports, unless the add-on says by other means how it fares.
pub(super) async fn check(scene: &Scene, addon: &ManagedClusterAddOn, reporter: &Reporter) {
    let elsewhere = addon.hosting_cluster().is_some();
    if addon.is_customized_health() || elsewhere || addon.metadata.deletion_timestamp.is_some() {
        return;
    }
    let (name, namespace) = (addon.name_any(), addon.effective_namespace());
    let api: Api<Lease> = Api::namespaced(scene.wec.clone(), namespace);
    let statement = match api.get_opt(&name).await {
        Ok(lease) => judge(&name, lease.as_ref(), scene.clock.now()),
        Err(error) => match Trouble::of(&error) {
            Trouble::Forbidden(detail) => known::LEASE_NOT_FOUND.with_message(format!(
                "The status of {name} add-on is unknown: {detail}; let the agent read leases in \
                 namespace {namespace}"
            )),
            trouble => {
                // What is known stays until the API server answers.
                tracing::warn!("looked at the lease of add-on {name}: {trouble}");
                return;
            }
        },
    };
    reporter.say(&name, &statement, None).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lease(renewed: i64) -> Lease {
        let time = Timestamp::from_second(renewed).expect("a time");
        serde_json::from_value(json!({"spec": {"renewTime": format!("{time:.6}")}}))
            .expect("a lease")
    }

    #[test]
    fn an_add_on_is_well_while_its_lease_is_fresh() {
        let now = Timestamp::from_second(10_000).expect("a time");
        let said = |lease: Option<&Lease>| {
            let statement = judge("hello", lease, now);
            (
                statement.status.as_str(),
                statement.reason.into_owned(),
                statement.message.into_owned(),
            )
        };
        let fresh = said(Some(&lease(10_000 - 299)));
        assert_eq!(fresh.0, "True");
        assert_eq!(fresh.1, "ManagedClusterAddOnLeaseUpdated");
        assert_eq!(fresh.2, "hello add-on is available.");
        let old = said(Some(&lease(10_000 - 300)));
        assert_eq!(
            (old.0, old.2.as_str()),
            ("False", "hello add-on is not available.")
        );
        let none = said(None);
        assert_eq!(
            (none.0, none.1.as_str()),
            ("Unknown", "ManagedClusterAddOnLeaseNotFound")
        );
        assert_eq!(said(Some(&Lease::default())).0, "False");
    }
}
