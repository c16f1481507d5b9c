//! Whose a WEC's name is: the agent whose bootstrap request was approved first.
//!
//! The pin stands in annotations of the mailbox Namespace, which no agent can write. It comes with
//! the first approval and goes with deregistration. While there is no mailbox, because somebody
//! deleted it, it stands in those of the WEC's ClusterRoleBinding.

use hyades_api::identity::AgentIdentity;
use hyades_api::identity::ClusterName;
use hyades_api::names::annotations;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;

/// The agent that owns a WEC's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pin {
    /// The agent.
    pub(super) agent: AgentIdentity,
    /// SHA-256 of the public key in its newest approved request: first the one that earned the name,
    /// then that of each renewal. Bootstrap credentials get another certificate for this key alone.
    pub(super) key_sha256: String,
}

/// The annotations that keep a pin while there is no mailbox.
pub(super) const KEPT: [&str; 2] = [annotations::PINNED_AGENT, annotations::PINNED_KEY];

/// Reads the pin of a mailbox. Unreadable annotations count as none: they fit no agent.
pub(super) fn read(mailbox: &ObjectMeta) -> Option<Pin> {
    let pin = stated(mailbox)?;
    // A pin copied from another namespace must not give rights here.
    (mailbox.name.as_deref() == Some(pin.agent.cluster.as_str())).then_some(pin)
}

/// Reads the pin that the ClusterRoleBinding of a WEC keeps for its next mailbox.
pub(super) fn read_kept(binding: &ObjectMeta, cluster: &ClusterName) -> Option<Pin> {
    stated(binding).filter(|pin| pin.agent.cluster == *cluster)
}

fn stated(object: &ObjectMeta) -> Option<Pin> {
    let annotations = object.annotations.as_ref()?;
    let agent = annotations.get(annotations::PINNED_AGENT)?;
    Some(Pin {
        agent: AgentIdentity::from_common_name(agent).ok()?,
        key_sha256: annotations
            .get(annotations::PINNED_KEY)
            .cloned()
            .unwrap_or_default(),
    })
}

/// The annotations that keep a pin, or that keep none any more.
pub(super) fn kept(pin: Option<&Pin>) -> Value {
    json!({
        annotations::PINNED_AGENT: pin.map(|pin| pin.agent.common_name()),
        annotations::PINNED_KEY: pin.map(|pin| &pin.key_sha256),
    })
}

/// Whom an administrator hands a mailbox's name over to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heir {
    /// Common name of the agent.
    pub(super) common_name: String,
    /// SHA-256 of its public key; any key will do if the administrator named none.
    pub(super) key_sha256: Option<String>,
}

impl Heir {
    /// Whether an agent with this key is meant. Whoever holds a bootstrap token can ask for any
    /// common name; only the key tells the agent that the administrator saw from others.
    pub(super) fn is(&self, agent: &AgentIdentity, key_sha256: &str) -> bool {
        let key_fits = |wanted: &String| wanted == key_sha256;
        self.common_name == agent.common_name() && self.key_sha256.as_ref().is_none_or(key_fits)
    }
}

/// Reads whom an administrator hands a mailbox's name over to; nobody once the time for it is over. An
/// heir that did not come must not stay one: another may take its name months later.
pub(super) fn heir(mailbox: &ObjectMeta, now: Timestamp) -> Option<Heir> {
    let annotations = mailbox.annotations.as_ref()?;
    let until: Timestamp = annotations
        .get(annotations::HAND_OVER_UNTIL)?
        .parse()
        .ok()?;
    if now >= until {
        return None;
    }
    Some(Heir {
        common_name: annotations.get(annotations::HAND_OVER_TO)?.clone(),
        key_sha256: annotations.get(annotations::HAND_OVER_TO_KEY).cloned(),
    })
}

/// The JoinRule by which a mailbox's WEC was let in.
pub(super) fn rule(mailbox: &ObjectMeta) -> Option<&str> {
    let annotations = mailbox.annotations.as_ref()?;
    annotations
        .get(annotations::JOINED_BY_RULE)
        .map(String::as_str)
}

/// Whether a mailbox carries anything of a pin, readable or not.
pub(super) fn is_marked(mailbox: &ObjectMeta) -> bool {
    let marks = [
        annotations::PINNED_AGENT,
        annotations::HAND_OVER_TO,
        annotations::JOINED_BY_RULE,
    ];
    let all = mailbox.annotations.as_ref();
    all.is_some_and(|all| marks.iter().any(|mark| all.contains_key(*mark)))
}

/// The annotations that state a pin.
pub(super) fn annotations_of(pin: &Pin, now: Timestamp) -> Value {
    json!({
        annotations::PINNED_AGENT: pin.agent.common_name(),
        annotations::PINNED_KEY: pin.key_sha256,
        annotations::PINNED_ON: format!("{now:.0}"),
    })
}

/// A merge patch of annotations that removes a pin.
pub(super) fn removal() -> Value {
    json!({
        annotations::PINNED_AGENT: null,
        annotations::PINNED_KEY: null,
        annotations::PINNED_ON: null,
        annotations::HAND_OVER_TO: null,
        annotations::HAND_OVER_TO_KEY: null,
        annotations::HAND_OVER_UNTIL: null,
        annotations::JOINED_BY_RULE: null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin() -> Pin {
        Pin {
            agent: AgentIdentity::from_common_name("system:open-cluster-management:c1:a")
                .expect("an agent"),
            key_sha256: "ab".to_owned(),
        }
    }

    fn mailbox(name: &str, annotations: Value) -> ObjectMeta {
        let meta = json!({"name": name, "annotations": annotations});
        serde_json::from_value(meta).expect("metadata")
    }

    #[test]
    fn a_pin_is_read_back_as_written() {
        let written = annotations_of(&pin(), Timestamp::UNIX_EPOCH);
        assert_eq!(written[annotations::PINNED_ON], "1970-01-01T00:00:00Z");
        assert_eq!(read(&mailbox("c1", written)), Some(pin()));
    }

    #[test]
    fn a_pin_that_is_kept_is_that_of_its_own_cluster() {
        let binding = mailbox("a-binding", kept(Some(&pin())));
        let cluster = |name: &str| name.parse().expect("a name");
        assert_eq!(read_kept(&binding, &cluster("c1")), Some(pin()));
        assert_eq!(read_kept(&binding, &cluster("c2")), None);
        let removed = kept(None);
        assert!(KEPT.iter().all(|key| removed[*key].is_null()));
    }

    #[test]
    fn an_heir_inherits_within_its_time_and_never_without_one() {
        let until = |until: Value| {
            let name = "system:open-cluster-management:c1:b";
            let marks = json!({
                annotations::HAND_OVER_TO: name,
                annotations::HAND_OVER_UNTIL: until,
            });
            heir(&mailbox("c1", marks), Timestamp::UNIX_EPOCH)
        };
        let heir = until(json!("1970-01-01T01:00:00Z")).expect("an hour is left");
        let agent = AgentIdentity::from_common_name(&heir.common_name).expect("an agent");
        assert!(heir.is(&agent, "any key"));
        for over in [json!("1970-01-01T00:00:00Z"), json!("soon")] {
            assert_eq!(until(over), None);
        }
        let timeless = json!({annotations::HAND_OVER_TO: "system:open-cluster-management:c1:b"});
        assert_eq!(
            super::heir(&mailbox("c1", timeless), Timestamp::UNIX_EPOCH),
            None
        );
    }

    #[test]
    fn a_pin_of_another_mailbox_or_without_sense_is_none() {
        let foreign = mailbox("c2", annotations_of(&pin(), Timestamp::UNIX_EPOCH));
        assert_eq!(read(&foreign), None);
        let nonsense = mailbox("c1", json!({annotations::PINNED_AGENT: "me"}));
        assert_eq!(read(&nonsense), None);
        assert!(is_marked(&nonsense));
        assert!(!is_marked(&mailbox("c1", json!({}))));
    }
}
