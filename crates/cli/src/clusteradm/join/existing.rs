//! A cluster that has joined before: what a second `join` does to it. Pure.

use super::hub::NameOnHub;
use hyades_agent::credentials::Credentials;
use hyades_agent::credentials::keys;
use hyades_agent::credentials::text;
use hyades_api::identity::ClusterName;
use hyades_pki::Certificate;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use jiff::Timestamp;

/// What the cluster holds of an earlier registration.
#[derive(Debug, PartialEq, Eq)]
pub struct Registration {
    /// The name it registered under.
    pub cluster: String,
    /// URL of the hub it registered with.
    pub hub: String,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Join: there is no registration to disturb.
    Join,
    /// Join, and take away the credentials of a registration that the hub has ended: with them the
    /// agent would go on asking for rights that nobody gives it any more.
    JoinAnew,
    /// Everything wanted is there.
    NothingToDo,
    /// The text of the refusal.
    Refuse(String),
}

/// The registration that a hub kubeconfig Secret proves, if its certificate is still valid.
pub fn registration(secret: &Secret, now: Timestamp) -> Option<Registration> {
    let credentials = Credentials::read(secret)?;
    let certificate = Certificate::parse_pem_bundle(&credentials.certificate_pem)
        .ok()?
        .into_iter()
        .next()?;
    (now < certificate.not_after()).then(|| Registration {
        cluster: text(secret, keys::CLUSTER_NAME)
            .unwrap_or_default()
            .to_owned(),
        hub: credentials.endpoint.server().to_owned(),
    })
}

/// Decides from the registration present, whether its agent is installed, and what the hub knows.
/// `hub` is the URL that the agent would be given now.
pub fn decide(
    cluster: &ClusterName,
    hub: &str,
    present: Option<&Registration>,
    is_installed: bool,
    on_hub: NameOnHub,
) -> Decision {
    match present {
        Some(present) if !is_installed => {
            // What is left of an agent that was taken out is no registration; but the name may be
            // its own still.
            let is_own = present.cluster == cluster.as_str() && present.hub == hub;
            match is_own && on_hub == NameOnHub::Free {
                true => Decision::JoinAnew,
                false => decide_new(cluster, hub, is_own, on_hub),
            }
        }
        None => decide_new(cluster, hub, false, on_hub),
        Some(present) if present.cluster != cluster.as_str() || present.hub != hub => {
            Decision::Refuse(format!(
                "this cluster is registered already, as {} with the hub {}; run 'clusteradm unjoin --cluster-name {}' on it before it joins as {cluster} with {hub}",
                present.cluster, present.hub, present.cluster
            ))
        }
        // The hub has forgotten the cluster: joining again is what brings it back.
        Some(_) if on_hub == NameOnHub::Free => Decision::JoinAnew,
        Some(_) => Decision::NothingToDo,
    }
}

fn decide_new(cluster: &ClusterName, hub: &str, is_own: bool, on_hub: NameOnHub) -> Decision {
    if on_hub != NameOnHub::Joined || is_own {
        return Decision::Join;
    }
    Decision::Refuse(format!(
        "the name {cluster} is taken: another cluster joined the hub {hub} under it; choose another with --cluster-name, or deregister that cluster first with 'kubectl delete managedcluster {cluster}' on the hub"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUB: &str = "https://hub:9443/spaces/its1";

    fn decided(present: Option<(&str, &str)>, is_installed: bool, on_hub: NameOnHub) -> Decision {
        let present = present.map(|(cluster, hub)| Registration {
            cluster: cluster.to_owned(),
            hub: hub.to_owned(),
        });
        let cluster = "cluster1".parse().expect("a name");
        decide(&cluster, HUB, present.as_ref(), is_installed, on_hub)
    }

    fn refusal(decision: Decision) -> String {
        match decision {
            Decision::Refuse(text) => text,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn a_new_cluster_joins_under_a_free_name_only() {
        assert_eq!(decided(None, false, NameOnHub::Free), Decision::Join);
        assert_eq!(decided(None, false, NameOnHub::Unknown), Decision::Join);
        // Its own earlier attempt.
        assert_eq!(decided(None, true, NameOnHub::Asked), Decision::Join);
        let text = refusal(decided(None, false, NameOnHub::Joined));
        assert!(text.starts_with("the name cluster1 is taken"), "{text}");
    }

    #[test]
    fn a_second_join_changes_nothing() {
        let present = Some(("cluster1", HUB));
        assert_eq!(
            decided(present, true, NameOnHub::Joined),
            Decision::NothingToDo
        );
        assert_eq!(
            decided(present, true, NameOnHub::Unknown),
            Decision::NothingToDo
        );
    }

    #[test]
    fn a_cluster_that_its_hub_forgot_joins_again() {
        let present = Some(("cluster1", HUB));
        for is_installed in [true, false] {
            let decision = decided(present, is_installed, NameOnHub::Free);
            assert_eq!(decision, Decision::JoinAnew);
        }
        assert_eq!(decided(present, false, NameOnHub::Joined), Decision::Join);
    }

    #[test]
    fn another_name_or_hub_wants_the_first_registration_gone() {
        let text = refusal(decided(Some(("other", HUB)), true, NameOnHub::Free));
        assert!(text.contains("as other with the hub"), "{text}");
        let text = refusal(decided(
            Some(("cluster1", "https://else")),
            true,
            NameOnHub::Free,
        ));
        assert!(text.contains("unjoin --cluster-name cluster1"), "{text}");
    }
}
