//! Letting agents back in that were cut off until their certificates expired.
//!
//! A space shows the holder of an expired certificate as a user of its own: `hyades.io:expired:` and
//! the certificate's common name, with the certificate's end and key as extras. Such a user may ask
//! for a certificate and look at the request. This module says which of these requests are approved:
//! those of the agent that owns the name, for the key that the name belongs to, within the window,
//! of a WEC that is accepted. A former key that was renewed or replaced since opens nothing: who
//! shows its certificate may have it from a backup. Another API server never lets such a user
//! exist, and its agents come back by their bootstrap credentials.
//!
//! The extras and the group are the API server's word, as the user name is; the request is signed
//! by the key it is for. So an approval gives nobody a certificate who did not hold the key.

use super::requests::Owner;
use super::requests::Request;
use crate::manifests;
use crate::manifests::rule;
use hyades_api::names;
use hyades_runtime::CancellationToken;
use hyades_runtime::apply;
use hyades_runtime::backoff::Backoff;
use hyades_runtime::backoff::Policy;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequestSpec;
use hyades_runtime::kube::Client;
use jiff::SignedDuration;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;

/// How long after its end a certificate lets its agent back in, in seconds, unless told otherwise:
/// thirty days. A WEC that was away for longer may have passed into other hands.
pub const WINDOW_SECONDS: u32 = 30 * 24 * 3600;

/// What an API server says of the certificate behind a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Former {
    /// Common name of the certificate.
    common_name: String,
    /// SHA-256 of its public key.
    key_sha256: String,
    /// When it ended.
    expired_at: Timestamp,
}

impl Former {
    /// Reads the sender of a request; nothing if it is anybody else.
    pub(super) fn of(spec: &CertificateSigningRequestSpec) -> Option<Self> {
        let user = spec.username.as_deref()?;
        let common_name = user.strip_prefix(names::EXPIRED_USER_PREFIX)?.to_owned();
        let only = [names::EXPIRED_GROUP.to_owned()];
        if spec.groups.as_deref() != Some(&only) {
            return None;
        }
        let extra = |key: &str| match spec.extra.as_ref()?.get(key)?.as_slice() {
            [one] => Some(one.as_str()),
            _ => None,
        };
        Some(Self {
            common_name,
            key_sha256: extra(names::EXPIRED_KEY_EXTRA)?.to_owned(),
            expired_at: extra(names::EXPIRED_AT_EXTRA)?.parse().ok()?,
        })
    }
}

/// Whether the sender of a request comes back by a former certificate, and if so, why it may not.
pub(super) fn decide(
    request: &Request,
    owner: Option<&Owner>,
    is_accepted: bool,
    window_seconds: u32,
    now: Timestamp,
) -> Option<Result<(), String>> {
    let former = request.former.as_ref()?;
    let cluster = request.agent.cluster.as_str();
    let refuse = |why: String| {
        format!(
            "The agent {:?} of the cluster {cluster:?} asks to come back by an expired certificate, \
             and {why}. It is left to an administrator: \"clusteradm accept --clusters {cluster}\".",
            request.agent.agent(),
        )
    };
    if former.common_name != request.agent.common_name() {
        return Some(Err(refuse(format!(
            "that certificate was for {:?}",
            former.common_name
        ))));
    }
    let Some(owner) = owner.filter(|owner| owner.agent == request.agent) else {
        return Some(Err(refuse("it does not own the name".to_owned())));
    };
    // The newest key may be one whose certificate the agent never got to see: an expired
    // certificate of the key before then says who asks, and the request itself who holds that key.
    let owning = match owner.key_sha256.as_str() {
        "" => &former.key_sha256,
        known => known,
    };
    if request.key_sha256 != owning {
        return Some(Err(refuse(
            "the request is for another key than the one that owns the name".to_owned(),
        )));
    }
    if !is_accepted {
        return Some(Err(refuse("the cluster is not accepted".to_owned())));
    }
    let age = now.duration_since(former.expired_at);
    if age > SignedDuration::from_secs(i64::from(window_seconds)) {
        let (age, window) = (age.as_secs(), window_seconds);
        return Some(Err(refuse(format!(
            "that expired {age} s ago, {window} s being the limit"
        ))));
    }
    Some(Ok(()))
}

/// The role of expired agents and its binding.
fn objects() -> [Value; 2] {
    let name = names::RECOVERY_CLUSTER_ROLE;
    let requests = rule(
        "certificates.k8s.io",
        &["certificatesigningrequests"],
        &["create", "get"],
    );
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
            "name": names::EXPIRED_GROUP}],
    });
    [manifests::cluster_role(name, vec![requests]), binding]
}

/// Gives expired agents their rights, or takes them away when the window is closed. Tries until it
/// succeeds.
pub(super) async fn prepare(client: &Client, window_seconds: u32, shutdown: &CancellationToken) {
    let mut backoff = Backoff::new(Policy::RECONCILE);
    for object in objects() {
        loop {
            let result = match window_seconds {
                0 => match apply::Address::of(&object) {
                    Ok(address) => apply::ensure_absent(client, &address).await,
                    Err(error) => Err(error),
                },
                _ => apply::ensure(client, "hyades-hub", &object).await.map(drop),
            };
            let Err(error) = result else { break };
            tracing::warn!(
                "the rights of agents whose certificates expired: {error}; trying again"
            );
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(backoff.next_delay()) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_api::identity::AgentIdentity;

    const WINDOW: u32 = 1000;

    fn agent(name: &str) -> AgentIdentity {
        AgentIdentity::new("c1".parse().expect("a name"), name).expect("an agent")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn request() -> Request {
        Request {
            agent: agent("a"),
            key_sha256: "key".to_owned(),
            user: "hyades.io:expired:system:open-cluster-management:c1:a".to_owned(),
            groups: Vec::new(),
            former: Some(Former {
                common_name: agent("a").common_name(),
                key_sha256: "key".to_owned(),
                expired_at: at(0),
            }),
        }
    }

    fn owner(name: &str) -> Owner {
        Owner {
            agent: agent(name),
            key_sha256: "key".to_owned(),
        }
    }

    fn told(request: &Request, owner: Option<&Owner>, accepted: bool, second: i64) -> String {
        let decision = decide(request, owner, accepted, WINDOW, at(second));
        decision.expect("of an expired agent").expect_err("refused")
    }

    #[test]
    fn the_owner_comes_back_within_the_window_by_the_key_it_showed() {
        let back = |second| decide(&request(), Some(&owner("a")), true, WINDOW, at(second));
        assert_eq!(back(1000), Some(Ok(())));
        assert!(matches!(back(1001), Some(Err(why)) if why.contains("expired 1001 s ago")));
        let ordinary = Request {
            former: None,
            ..request()
        };
        assert_eq!(
            decide(&ordinary, Some(&owner("a")), true, WINDOW, at(1)),
            None
        );
    }

    #[test]
    fn another_key_name_or_owner_and_a_cluster_turned_away_stay_out() {
        let own = owner("a");
        let mut other_key = request();
        other_key.key_sha256 = "fresh".to_owned();
        assert!(told(&other_key, Some(&own), true, 1).contains("another key"));
        let mut borrowed = request();
        borrowed.agent = agent("b");
        assert!(told(&borrowed, Some(&owner("b")), true, 1).contains("was for"));
        assert!(told(&request(), Some(&owner("b")), true, 1).contains("own the name"));
        assert!(
            told(&request(), None, true, 1).contains("own the name"),
            "deregistered"
        );
        assert!(told(&request(), Some(&own), false, 1).contains("not accepted"));
    }

    #[test]
    fn a_key_that_was_renewed_or_replaced_since_opens_nothing() {
        let mut own = owner("a");
        own.key_sha256 = "renewed".to_owned();
        assert!(told(&request(), Some(&own), true, 1).contains("another key"));
        // Who holds the newest key is the owner, whichever certificate it has left.
        let mut newest = request();
        newest.key_sha256 = "renewed".to_owned();
        assert_eq!(
            decide(&newest, Some(&own), true, WINDOW, at(1)),
            Some(Ok(()))
        );
        // A pin from a time that noted no key.
        own.key_sha256 = String::new();
        let back = decide(&request(), Some(&own), true, WINDOW, at(1));
        assert_eq!(back, Some(Ok(())));
        assert!(told(&newest, Some(&own), true, 1).contains("another key"));
    }

    #[test]
    fn only_the_api_servers_own_word_counts() {
        let spec = |groups: &[&str], extra: Value| -> CertificateSigningRequestSpec {
            serde_json::from_value(json!({
                "request": "", "signerName": names::CLIENT_SIGNER,
                "username": "hyades.io:expired:cn", "groups": groups, "extra": extra,
            }))
            .expect("a spec")
        };
        let extra = || {
            json!({names::EXPIRED_KEY_EXTRA: ["key"],
            names::EXPIRED_AT_EXTRA: ["1970-01-01T00:00:00Z"]})
        };
        let former = Former::of(&spec(&[names::EXPIRED_GROUP], extra())).expect("an expired agent");
        assert_eq!(
            (former.common_name.as_str(), former.expired_at),
            ("cn", at(0))
        );
        for spec in [
            spec(&["system:authenticated"], extra()),
            spec(&[names::EXPIRED_GROUP, "system:authenticated"], extra()),
            spec(&[names::EXPIRED_GROUP], json!({})),
        ] {
            assert_eq!(Former::of(&spec), None, "{spec:?}");
        }
    }
}
