//! What to do next, decided from the agent's Secrets. Pure.

use crate::credentials;
use crate::credentials::Credentials;
use crate::credentials::HubEndpoint;
use crate::credentials::Invalid;
use crate::credentials::keys;
use crate::secrets::Seen;
use hyades_api::identity::AgentIdentity;
use jiff::Timestamp;

/// A hub the agent may present itself to, with the first credentials for it.
#[derive(Clone, PartialEq)]
pub(super) struct Candidate {
    /// The Secret that names it.
    pub(super) secret: String,
    /// The kubeconfig in that Secret.
    pub(super) kubeconfig: String,
    /// Where the hub is.
    pub(super) endpoint: HubEndpoint,
}

/// Without the kubeconfig, which holds a token.
impl std::fmt::Debug for Candidate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Candidate")
            .field("secret", &self.secret)
            .field("server", &self.endpoint.server())
            .finish_non_exhaustive()
    }
}

/// What to do, given the Secrets.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plan {
    /// Nothing can be done; the text says what is waited for.
    Wait(String),
    /// Find out which of several hubs takes the agent.
    Choose {
        /// The hubs, in order of preference.
        candidates: Vec<Candidate>,
        /// Why the present one is not taken for granted.
        why: String,
    },
    /// Obtain credentials.
    Obtain {
        /// The hub to present the first credentials to.
        candidate: Option<Box<Candidate>>,
        /// Credentials that no longer serve, whose key still proves who the agent is.
        former: Option<Credentials>,
        /// Why there are no others.
        why: Invalid,
        /// The other hubs, for when this one does not answer or never lets the agent in.
        others: Vec<Candidate>,
    },
    /// Present the agent's own.
    Hub(Credentials),
}

/// What the agent has learnt beside what its Secrets hold.
#[derive(Debug, Default)]
pub(super) struct Learnt {
    /// Credentials saved just now.
    pub(super) fresh: Option<Credentials>,
    /// Of several hubs, the Secret of the one that was chosen.
    pub(super) chosen: Option<String>,
    /// Why the present one of several hubs is to be left, if it is.
    pub(super) leaving: Option<String>,
    /// Whether the hub refuses the credentials although they look good.
    pub(super) refused: bool,
}

/// What the agent's Secrets hold, read once.
pub(super) struct Held {
    /// Whether several hubs are named.
    several: bool,
    /// The hubs that can be read, in order of preference.
    candidates: Vec<Candidate>,
    /// What is wrong with the others.
    problems: Vec<String>,
    /// The agent's own credentials, as stored.
    stored: Option<Credentials>,
}

impl Held {
    /// Reads Secrets with first credentials, with their names, one or several in order of
    /// preference, and the one with the agent's own.
    pub(super) fn read(bootstraps: &[(&str, &Seen)], hub: &Seen) -> Self {
        let mut candidates = Vec::new();
        let mut problems = Vec::new();
        for (name, seen) in bootstraps {
            let kubeconfig = seen
                .secret()
                .and_then(|secret| credentials::text(secret, keys::KUBECONFIG));
            let Some(kubeconfig) = kubeconfig else {
                problems.push(format!(
                    "Secret {name} with the hub's bootstrap kubeconfig does not exist: join again"
                ));
                continue;
            };
            match HubEndpoint::of(kubeconfig, name) {
                Ok(endpoint) => candidates.push(Candidate {
                    secret: (*name).to_owned(),
                    kubeconfig: kubeconfig.to_owned(),
                    endpoint,
                }),
                Err(error) => problems.push(error.to_string()),
            }
        }
        Self {
            several: bootstraps.len() > 1,
            candidates,
            problems,
            stored: hub.secret().and_then(Credentials::read),
        }
    }

    /// The agent's own credentials, the newest.
    pub(super) fn credentials<'a>(&'a self, learnt: &'a Learnt) -> Option<&'a Credentials> {
        learnt.fresh.as_ref().or(self.stored.as_ref())
    }

    /// The first credentials for the hub that these are for.
    pub(super) fn candidate_of(&self, credentials: &Credentials) -> Option<&Candidate> {
        self.candidates
            .iter()
            .find(|one| credentials.difference(&one.endpoint).is_none())
    }
}

/// Decides.
pub(super) fn decide(
    held: &Held,
    learnt: &Learnt,
    identity: &AgentIdentity,
    now: Timestamp,
) -> Plan {
    let current = held.credentials(learnt);
    let candidates = &held.candidates;
    let serves =
        |endpoint: Option<&HubEndpoint>| credentials::validate(current, endpoint, identity, now);
    let candidate = match held.several {
        false => candidates.first(),
        true => {
            let chosen = match (&learnt.chosen, &learnt.leaving) {
                (Some(chosen), _) => candidates.iter().find(|one| one.secret == *chosen),
                // What works is not asked about at every start.
                (None, None) => candidates
                    .iter()
                    .find(|one| serves(Some(&one.endpoint)).is_ok()),
                (None, Some(_)) => None,
            };
            match chosen {
                Some(chosen) => Some(chosen),
                None if candidates.is_empty() => return Plan::Wait(held.problems.join("; ")),
                None => {
                    let why = learnt.leaving.clone();
                    let why =
                        why.unwrap_or_else(|| "no credentials for any of them yet".to_owned());
                    let candidates = candidates.clone();
                    return Plan::Choose { candidates, why };
                }
            }
        }
    };
    let why = match serves(candidate.map(|candidate| &candidate.endpoint)) {
        Ok(()) if learnt.refused => Invalid::Refused,
        Ok(()) => {
            let waiting = Plan::Wait("credentials".to_owned());
            return current.cloned().map_or(waiting, Plan::Hub);
        }
        Err(why) => why,
    };
    // The key of another agent proves nothing about this one.
    let proves = matches!(
        why,
        Invalid::Expired(_) | Invalid::Refused | Invalid::OtherHub(_)
    );
    let own = current.filter(|credentials| credentials.belong_to(identity));
    let former = own.filter(|_| proves).cloned();
    if candidate.is_none() && former.is_none() {
        return Plan::Wait(format!("{why}, and {}", held.problems.join("; ")));
    }
    let others = candidates
        .iter()
        .filter(|one| held.several && candidate.is_some_and(|chosen| chosen.secret != one.secret))
        .cloned();
    Plan::Obtain {
        candidate: candidate.cloned().map(Box::new),
        former,
        why,
        others: others.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::tests::LIFE_SECONDS;
    use crate::credentials::tests::after;
    use crate::credentials::tests::credentials;
    use crate::credentials::tests::endpoint;
    use crate::credentials::tests::identity;
    use hyades_pki::kubeconfig::User;
    use hyades_runtime::k8s_openapi::ByteString;
    use hyades_runtime::k8s_openapi::api::core::v1::Secret;

    fn secret(data: impl IntoIterator<Item = (String, ByteString)>) -> Seen {
        Seen::Present(Box::new(Secret {
            data: Some(data.into_iter().collect()),
            ..Secret::default()
        }))
    }

    fn bootstrap(server: &str) -> Seen {
        let user = User {
            token: Some("secret-token".to_owned()),
            ..User::default()
        };
        let text = endpoint(server, "hub").kubeconfig_of(user).expect("YAML");
        secret([(keys::KUBECONFIG.to_owned(), ByteString(text.into_bytes()))])
    }

    fn own() -> Seen {
        let credentials = credentials(&identity().common_name());
        secret(
            credentials
                .secret_data(&identity(), &identity().cluster)
                .expect("data"),
        )
    }

    fn plan(bootstraps: &[(&str, &Seen)], hub: &Seen, learnt: &Learnt, seconds: i64) -> Plan {
        decide(
            &Held::read(bootstraps, hub),
            learnt,
            &identity(),
            after(seconds),
        )
    }

    fn alone(bootstrap: &Seen, hub: &Seen, learnt: &Learnt, seconds: i64) -> Plan {
        plan(
            &[("bootstrap-hub-kubeconfig", bootstrap)],
            hub,
            learnt,
            seconds,
        )
    }

    #[test]
    fn without_credentials_the_agent_bootstraps() {
        let plan = alone(
            &bootstrap("https://hub"),
            &Seen::Absent,
            &Learnt::default(),
            1,
        );
        let Plan::Obtain {
            candidate: Some(candidate),
            former: None,
            why,
            ..
        } = plan
        else {
            panic!("{plan:?}")
        };
        assert_eq!(
            (candidate.endpoint.server(), why),
            ("https://hub", Invalid::Missing)
        );
    }

    #[test]
    fn without_anything_the_agent_says_what_it_waits_for() {
        let Plan::Wait(what) = alone(&Seen::Absent, &Seen::Absent, &Learnt::default(), 1) else {
            panic!("a wait")
        };
        assert!(what.contains("bootstrap-hub-kubeconfig"), "{what}");
        let broken = secret([(
            keys::KUBECONFIG.to_owned(),
            ByteString(b"clusters: 3".to_vec()),
        )]);
        let Plan::Wait(what) = alone(&broken, &Seen::Absent, &Learnt::default(), 1) else {
            panic!("a wait")
        };
        assert!(what.contains("cannot be read"), "{what}");
    }

    #[test]
    fn an_expired_certificate_still_proves_who_the_agent_is_with_or_without_a_token() {
        for bootstrap in [bootstrap("https://hub"), Seen::Absent] {
            let has_token = bootstrap.secret().is_some();
            let plan = alone(&bootstrap, &own(), &Learnt::default(), LIFE_SECONDS + 1);
            let Plan::Obtain {
                candidate,
                former: Some(_),
                why: Invalid::Expired(_),
                ..
            } = plan
            else {
                panic!("{plan:?}")
            };
            assert_eq!(candidate.is_some(), has_token);
        }
    }

    #[test]
    fn the_certificate_of_another_agent_proves_nothing_expired_or_at_another_hub() {
        let renamed = AgentIdentity::new("renamed".parse().expect("a name"), "agent1");
        let renamed = renamed.expect("an agent");
        let plan = |bootstrap: &Seen, seconds| {
            let held = Held::read(&[("bootstrap-hub-kubeconfig", bootstrap)], &own());
            decide(&held, &Learnt::default(), &renamed, after(seconds))
        };
        for (server, seconds) in [
            ("https://hub", 1),
            ("https://hub", LIFE_SECONDS + 1),
            ("https://other", 1),
        ] {
            let plan = plan(&bootstrap(server), seconds);
            assert!(
                matches!(plan, Plan::Obtain { former: None, .. }),
                "{server} after {seconds} s: {plan:?}"
            );
        }
        // There is nothing to come back by.
        assert!(matches!(
            plan(&Seen::Absent, LIFE_SECONDS + 1),
            Plan::Wait(_)
        ));
    }

    #[test]
    fn a_hub_that_refuses_good_credentials_is_asked_for_others() {
        let hub = bootstrap("https://hub");
        assert!(matches!(
            alone(&hub, &own(), &Learnt::default(), 1),
            Plan::Hub(_)
        ));
        let refused = Learnt {
            refused: true,
            ..Learnt::default()
        };
        let plan = alone(&hub, &own(), &refused, 1);
        assert!(
            matches!(
                plan,
                Plan::Obtain {
                    former: Some(_),
                    why: Invalid::Refused,
                    ..
                }
            ),
            "{plan:?}"
        );
    }

    #[test]
    fn a_changed_bootstrap_secret_leads_to_the_hub_it_names() {
        let plan = alone(&bootstrap("https://other"), &own(), &Learnt::default(), 1);
        let Plan::Obtain {
            candidate: Some(candidate),
            why: Invalid::OtherHub(_),
            ..
        } = plan
        else {
            panic!("{plan:?}")
        };
        assert_eq!(candidate.endpoint.server(), "https://other");
    }

    #[test]
    fn of_several_hubs_the_one_with_credentials_is_kept_and_else_one_is_chosen() {
        let (first, second) = (bootstrap("https://first"), bootstrap("https://hub"));
        let both = [("a", &first), ("b", &second)];
        assert!(matches!(
            plan(&both, &own(), &Learnt::default(), 1),
            Plan::Hub(_)
        ));
        let asked = plan(&both, &Seen::Absent, &Learnt::default(), 1);
        let Plan::Choose { candidates, .. } = asked else {
            panic!("{asked:?}")
        };
        let order: Vec<_> = candidates.iter().map(|one| one.secret.as_str()).collect();
        assert_eq!(order, ["a", "b"]);

        let leaving = Learnt {
            leaving: Some("it denies this cluster".to_owned()),
            ..Learnt::default()
        };
        assert!(matches!(
            plan(&both, &own(), &leaving, 1),
            Plan::Choose { .. }
        ));
        let chosen = |secret: &str| Learnt {
            chosen: Some(secret.to_owned()),
            ..Learnt::default()
        };
        assert!(matches!(plan(&both, &own(), &chosen("b"), 1), Plan::Hub(_)));
        let plan = plan(&both, &own(), &chosen("a"), 1);
        let Plan::Obtain {
            why: Invalid::OtherHub(_),
            others,
            ..
        } = plan
        else {
            panic!("{plan:?}")
        };
        // Where to go if that hub never lets the agent in.
        let others: Vec<_> = others.iter().map(|one| one.secret.as_str()).collect();
        assert_eq!(others, ["b"]);
    }

    #[test]
    fn no_token_is_ever_shown() {
        let learnt = Learnt::default();
        let expired = alone(&bootstrap("https://hub"), &own(), &learnt, LIFE_SECONDS + 1);
        let shown = format!("{expired:?}");
        assert!(
            !shown.contains("secret-token") && !shown.contains("KEY"),
            "{shown}"
        );
    }
}
