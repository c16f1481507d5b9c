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
    /// Whether its certificate has not expired. One that has proves still whose name it was, and
    /// another join is what brings such a cluster back.
    pub is_valid: bool,
}

/// What of an agent is in the cluster.
#[derive(Debug, Default)]
pub struct Present<'a> {
    /// The registration that its Secret proves.
    pub registration: Option<&'a Registration>,
    /// The name that its Klusterlet registers, if there is one.
    pub klusterlet: Option<&'a str>,
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

/// The registration that a hub kubeconfig Secret proves.
pub fn registration(secret: &Secret, now: Timestamp) -> Option<Registration> {
    let credentials = Credentials::read(secret)?;
    let certificate = Certificate::parse_pem_bundle(&credentials.certificate_pem)
        .ok()?
        .into_iter()
        .next()?;
    Some(Registration {
        cluster: text(secret, keys::CLUSTER_NAME)
            .unwrap_or_default()
            .to_owned(),
        hub: credentials.endpoint.server().to_owned(),
        is_valid: now < certificate.not_after(),
    })
}

/// Decides from what is present in the cluster and what the hub knows. `hub` is the URL that the
/// agent would be given now; with `replace` the cluster asks even for a name that another one holds.
///
/// Whether a name is this cluster's own is only guessed here, to warn a stranger early: the hub
/// compares the agent's key in any case.
pub fn decide(
    cluster: &ClusterName,
    hub: &str,
    present: &Present,
    on_hub: NameOnHub,
    replace: bool,
) -> Decision {
    let is_same = |found: &Registration| found.cluster == cluster.as_str() && found.hub == hub;
    let is_installed = present.klusterlet.is_some();
    match present.registration {
        // The hub has forgotten the cluster: joining again is what brings it back.
        Some(found) if is_same(found) && on_hub == NameOnHub::Free => Decision::JoinAnew,
        Some(found) if is_same(found) && is_installed && found.is_valid => Decision::NothingToDo,
        Some(found) if is_same(found) => Decision::Join,
        Some(found) if is_installed && found.is_valid => Decision::Refuse(format!(
            "this cluster is registered already, as {} with the hub {}; run 'clusteradm unjoin --cluster-name {}' on it before it joins as {cluster} with {hub}",
            found.cluster, found.hub, found.cluster
        )),
        // The agent has lost its credentials, or has never had any.
        None if present.klusterlet == Some(cluster.as_str()) => Decision::Join,
        // What is left of an agent that was taken out, or out for too long, is no registration.
        _ if on_hub == NameOnHub::Joined && !replace => Decision::Refuse(taken(cluster, hub)),
        _ => Decision::Join,
    }
}

fn taken(cluster: &ClusterName, hub: &str) -> String {
    format!(
        "the name {cluster} is taken: another cluster joined the hub {hub} under it; choose another with --cluster-name, or deregister that cluster first with 'kubectl delete managedcluster {cluster}' on the hub; to put this cluster in its place, join with --replace and then run 'clusteradm accept --clusters {cluster} --replace' on the hub"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUB: &str = "https://hub:9443/spaces/its1";
    const NAME: Option<&str> = Some("cluster1");

    fn registered(cluster: &str, hub: &str, is_valid: bool) -> Option<Registration> {
        Some(Registration {
            cluster: cluster.to_owned(),
            hub: hub.to_owned(),
            is_valid,
        })
    }

    fn decided(
        registration: Option<Registration>,
        klusterlet: Option<&str>,
        on_hub: NameOnHub,
    ) -> Decision {
        let cluster = "cluster1".parse().expect("a name");
        let registration = registration.as_ref();
        let present = Present {
            registration,
            klusterlet,
        };
        decide(&cluster, HUB, &present, on_hub, false)
    }

    fn refusal(decision: Decision) -> String {
        match decision {
            Decision::Refuse(text) => text,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn a_new_cluster_joins_under_a_free_name_only() {
        assert_eq!(decided(None, None, NameOnHub::Free), Decision::Join);
        assert_eq!(decided(None, None, NameOnHub::Unknown), Decision::Join);
        // Its own earlier attempt.
        assert_eq!(decided(None, NAME, NameOnHub::Asked), Decision::Join);
        let text = refusal(decided(None, None, NameOnHub::Joined));
        assert!(text.starts_with("the name cluster1 is taken"), "{text}");
        assert!(
            text.contains("accept --clusters cluster1 --replace"),
            "{text}"
        );
    }

    #[test]
    fn who_says_that_it_replaces_the_owner_may_ask_for_a_name_that_is_taken() {
        let cluster = "cluster1".parse().expect("a name");
        let decision = decide(&cluster, HUB, &Present::default(), NameOnHub::Joined, true);
        assert_eq!(decision, Decision::Join);
    }

    #[test]
    fn a_second_join_changes_nothing() {
        for on_hub in [NameOnHub::Joined, NameOnHub::Unknown] {
            let present = registered("cluster1", HUB, true);
            assert_eq!(decided(present, NAME, on_hub), Decision::NothingToDo);
        }
    }

    #[test]
    fn a_cluster_whose_certificate_expired_or_is_lost_joins_again() {
        for is_installed in [true, false] {
            let klusterlet = NAME.filter(|_| is_installed);
            let expired = registered("cluster1", HUB, false);
            let decision = decided(expired, klusterlet, NameOnHub::Joined);
            assert_eq!(decision, Decision::Join);
        }
        assert_eq!(decided(None, NAME, NameOnHub::Joined), Decision::Join);
        // What is lost or expired of another name says nothing about this one.
        refusal(decided(None, Some("other"), NameOnHub::Joined));
        let expired = registered("other", HUB, false);
        refusal(decided(expired, NAME, NameOnHub::Joined));
        let expired = registered("other", HUB, false);
        assert_eq!(decided(expired, NAME, NameOnHub::Free), Decision::Join);
    }

    #[test]
    fn a_cluster_that_its_hub_forgot_joins_again() {
        for (is_installed, is_valid) in [(true, true), (true, false), (false, true)] {
            let present = registered("cluster1", HUB, is_valid);
            let decision = decided(present, NAME.filter(|_| is_installed), NameOnHub::Free);
            assert_eq!(decision, Decision::JoinAnew);
        }
        let present = registered("cluster1", HUB, true);
        assert_eq!(decided(present, None, NameOnHub::Joined), Decision::Join);
    }

    #[test]
    fn another_name_or_hub_wants_the_first_registration_gone() {
        let other = registered("other", HUB, true);
        let text = refusal(decided(other, Some("other"), NameOnHub::Free));
        assert!(text.contains("as other with the hub"), "{text}");
        let other = registered("cluster1", "https://else", true);
        let text = refusal(decided(other, NAME, NameOnHub::Free));
        assert!(text.contains("unjoin --cluster-name cluster1"), "{text}");
    }
}
