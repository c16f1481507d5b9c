//! Registration: from a bootstrap token to a WEC that its hub knows as Joined and Available.
//!
//! ```text
//!            ┌───────── Plan: decided from the agent's Secrets, at each of their changes ─────┐
//!            ▼                              ▼                                                 ▼
//!   Wait: no bootstrap Secret   Obtain: inventory object + certificate         Hub: lease, status, rotation,
//!   Choose: several hubs        (bootstrap), or by a former key (recovery)          following a hub that moves
//!            │                              │ saved in the hub Secret                │ certificate due, expired
//!            │                              │                                        │ or refused; hub lost
//!            └──────────────────────────────┴────────────▶ plan again ◀──────────────┘
//! ```
//!
//! The switch from the bootstrap identity to the agent's own happens in this process, at once.
//! Everything reacts to watch events; only the lease, the probe of the WEC and retries run on
//! time.

mod acceptance;
mod bootstrap;
pub(crate) mod certificate;
mod choice;
mod claims;
mod contact;
mod expiry;
mod hub;
mod lease;
mod namespaces;
mod observation;
mod pending;
mod plan;
mod recovery;
mod relocation;
mod resources;
pub(crate) mod rotation;
mod status;

use crate::clock::Clock;
use crate::credentials;
use crate::credentials::Credentials;
use crate::credentials::HubEndpoint;
use crate::credentials::keys;
use crate::error::AgentError;
use crate::options::CommonOptions;
use crate::options::RegistrationAgentOptions;
use crate::options::RegistrationOptions;
use crate::options::cluster_name;
use crate::secrets::WatchedSecret;
use crate::session::Sessions;
use crate::wec::Wec;
use crate::wec::with_wec;
use expiry::Expiry;
use hyades_api::features;
use hyades_api::features::FeatureGates;
use hyades_api::identity::AgentIdentity;
use hyades_api::identity::ClusterName;
use hyades_runtime::Context;
use hyades_runtime::events::EventType;
use hyades_runtime::events::Recorder;
use hyades_runtime::k8s_openapi::api::core::v1::ObjectReference;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use observation::Observation;
use plan::Candidate;
use plan::Held;
use plan::Learnt;
use plan::Plan;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;
use tokio::sync::watch;

/// Characters of a random agent name: upstream's, without those mistaken for others.
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Length of a random agent name.
const NAME_LENGTH: usize = 5;

/// Runs the component `registration-agent` until shutdown.
///
/// # Errors
///
/// Flags that do not fit together.
pub async fn run(options: RegistrationAgentOptions, context: Context) -> Result<(), AgentError> {
    with_wec(&options.common, &context, async |wec| {
        let sessions = watch::Sender::new(None);
        let registration = options.registration.clone();
        run_with(
            &options.common,
            registration,
            context.clone(),
            wec,
            &sessions,
        )
        .await
    })
    .await
}

/// Registers the WEC and keeps it registered until shutdown, publishing each session.
pub(crate) async fn run_with(
    common: &CommonOptions,
    options: RegistrationOptions,
    context: Context,
    wec: Wec,
    sessions: &Sessions,
) -> Result<(), AgentError> {
    run_by(Clock::SYSTEM, common, options, context, wec, sessions).await
}

async fn run_by(
    clock: Clock,
    common: &CommonOptions,
    options: RegistrationOptions,
    context: Context,
    wec: Wec,
    sessions: &Sessions,
) -> Result<(), AgentError> {
    let gates = common.gates()?;
    let observation = Observation::start(wec.client.clone(), &options, &gates);
    let expiry = Expiry::watched(&context.health, clock);
    let registering = async {
        let hub_secret = common.hub_kubeconfig_secret.as_str();
        let mut hub = WatchedSecret::start(context.client.clone(), &context.namespace, hub_secret);
        let identity = resolve_identity(common, hub.read().await.secret())?;
        let pod = &context.pod_name;
        let shared = Shared {
            clock,
            options: &options,
            context: &context,
            wec: &wec,
            observation: &observation,
            sessions,
            with_addons: gates.enabled(features::ADDON_MANAGEMENT),
            identity,
            hub_secret,
            recorder: Recorder::new(context.client.clone(), "klusterlet-agent", pod),
            expires_at: expiry.seconds(),
            in_use: Mutex::default(),
            key_may_be_written_down: AtomicBool::new(true),
        };
        supervise(common, &gates, shared, hub).await
    };
    tokio::select! {
        () = context.shutdown.cancelled() => Ok(()),
        () = observation.probe(options.cluster_healthcheck_period) => Ok(()),
        result = registering => result,
    }
}

/// What a phase needs to know.
struct Shared<'a> {
    clock: Clock,
    options: &'a RegistrationOptions,
    context: &'a Context,
    wec: &'a Wec,
    observation: &'a Observation,
    sessions: &'a Sessions,
    /// Whether add-ons are looked after.
    with_addons: bool,
    identity: AgentIdentity,
    hub_secret: &'a str,
    recorder: Recorder,
    /// End of the certificate in use, in seconds of the epoch; 0 while there is none.
    expires_at: &'a AtomicI64,
    /// The hub last in use, and the first credentials for it.
    in_use: Mutex<InUse>,
    /// Whether the key of a certificate that is not there yet may lie in a Secret: also one that an
    /// earlier life of this process left there.
    key_may_be_written_down: AtomicBool,
}

/// The hub in use.
#[derive(Default)]
struct InUse {
    server: Option<String>,
    candidate: Option<Candidate>,
}

impl InUse {
    fn of(held: &Held, learnt: &Learnt) -> Self {
        let Some(credentials) = held.credentials(learnt) else {
            return Self::default();
        };
        Self {
            candidate: held.candidate_of(credentials).cloned(),
            server: Some(credentials.endpoint.server().to_owned()),
        }
    }
}

impl Shared<'_> {
    fn in_use(&self) -> MutexGuard<'_, InUse> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same credentials for a hub that is elsewhere now.
    fn moved(&self, credentials: &Credentials, endpoint: HubEndpoint) -> Credentials {
        let named = self
            .in_use()
            .candidate
            .as_ref()
            .map(|one| one.endpoint.clone());
        let named = named.filter(|named| *named != endpoint);
        Credentials {
            moved_from: named.map(|named| named.fingerprint()),
            endpoint,
            ..credentials.clone()
        }
    }

    /// Tells trouble in the log and, for `kubectl get events`, in the agent's namespace.
    async fn warn(&self, reason: &str, message: &str) {
        tracing::warn!("{message}");
        self.record(EventType::Warning, reason, message).await;
    }

    /// Tells good news in the same places.
    async fn tell(&self, reason: &str, message: &str) {
        tracing::info!("{message}");
        self.record(EventType::Normal, reason, message).await;
    }

    async fn record(&self, kind: EventType, reason: &str, message: &str) {
        let pod = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(self.context.pod_name.clone()),
            namespace: Some(self.context.namespace.clone()),
            ..ObjectReference::default()
        };
        let namespace = &self.context.namespace;
        self.recorder
            .record_core(namespace, &pod, kind, reason, message)
            .await;
    }
}

/// How a phase ended.
enum Outcome {
    /// There are new credentials, already saved.
    Obtained(Credentials),
    /// The certificate has run out.
    Expired,
    /// The hub does not know the certificate.
    Refused,
    /// Of several hubs, the one that this Secret names was chosen.
    Chosen(String),
    /// The present one of several hubs is no longer good, for this reason.
    Leaving(String),
}

async fn supervise(
    common: &CommonOptions,
    gates: &FeatureGates,
    shared: Shared<'_>,
    mut hub: WatchedSecret,
) -> Result<(), AgentError> {
    let context = shared.context;
    let names = shared.options.bootstrap_secrets(common, gates)?;
    let watched =
        |name: &String| WatchedSecret::start(context.client.clone(), &context.namespace, name);
    let mut bootstraps: Vec<_> = names.iter().map(watched).collect();
    futures::future::join_all(bootstraps.iter_mut().map(WatchedSecret::read)).await;
    tracing::info!("this agent is {}", shared.identity);
    let several = names.len() > 1;
    let mut learnt = Learnt::default();
    loop {
        let current = plan(&mut bootstraps, &mut hub, &learnt, &shared);
        let mut phase = std::pin::pin!(follow(&shared, current.clone(), several));
        loop {
            tokio::select! {
                outcome = &mut phase => {
                    learnt.note(outcome);
                    break;
                }
                () = any_changed(&mut bootstraps) => learnt.leaving = None,
                () = hub.changed() => learnt.fresh = None,
            }
            if plan(&mut bootstraps, &mut hub, &learnt, &shared) != current {
                tracing::info!("a Secret of the agent changed: planning anew");
                learnt.refused = false;
                break;
            }
        }
    }
}

/// Decides from what the Secrets hold now.
fn plan(
    bootstraps: &mut [WatchedSecret],
    hub: &mut WatchedSecret,
    learnt: &Learnt,
    shared: &Shared<'_>,
) -> Plan {
    let seen: Vec<_> = bootstraps.iter_mut().map(WatchedSecret::current).collect();
    let named: Vec<_> = bootstraps
        .iter()
        .map(|one| one.name.as_str())
        .zip(&seen)
        .collect();
    let held = Held::read(&named, &hub.current());
    *shared.in_use() = InUse::of(&held, learnt);
    plan::decide(&held, learnt, &shared.identity, shared.clock.now())
}

async fn any_changed(secrets: &mut [WatchedSecret]) {
    let changes = secrets.iter_mut().map(|secret| Box::pin(secret.changed()));
    futures::future::select_all(changes).await;
}

impl Learnt {
    fn note(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Obtained(credentials) => {
                self.fresh = Some(credentials);
                self.refused = false;
            }
            // The plan sees that by itself.
            Outcome::Expired => {}
            Outcome::Refused => self.refused = true,
            Outcome::Chosen(secret) => {
                self.chosen = Some(secret);
                self.leaving = None;
            }
            Outcome::Leaving(why) => {
                self.chosen = None;
                self.leaving = Some(why);
            }
        }
    }
}

/// Follows a plan until it ends or something changes.
async fn follow(shared: &Shared<'_>, plan: Plan, several: bool) -> Outcome {
    if !matches!(plan, Plan::Hub(_)) {
        shared.sessions.send_replace(None);
        shared.expires_at.store(0, Ordering::Relaxed);
    }
    match plan {
        Plan::Wait(what) => {
            let message = format!("cannot reach a hub: {what}");
            shared.warn("WaitingForBootstrap", &message).await;
            std::future::pending().await
        }
        Plan::Choose { candidates, why } => {
            Outcome::Chosen(choice::run(shared, &candidates, &why).await)
        }
        Plan::Obtain {
            candidate,
            former,
            why,
            others,
        } => {
            let server = candidate
                .as_ref()
                .map(|candidate| candidate.endpoint.server());
            tracing::info!(
                "bootstrapping at {}: {why}",
                server.unwrap_or("the former hub")
            );
            // On the heap: what is needed once in a life shall not be kept for all of it.
            let obtained = Box::pin(bootstrap::run(
                shared,
                candidate.map(|one| *one),
                former,
                &why,
            ));
            tokio::select! {
                credentials = obtained => Outcome::Obtained(credentials),
                why = choice::another(shared, &others) => {
                    shared.warn("LeavingHub", &why).await;
                    Outcome::Leaving(why)
                }
            }
        }
        Plan::Hub(credentials) => {
            let saved = credentials.clone();
            let session = hub::run(shared, credentials, several);
            let (outcome, ()) = tokio::join!(session, pending::forget(shared, &saved));
            outcome
        }
    }
}

/// Who this agent is: by flag, else as before, else at random.
fn resolve_identity(
    common: &CommonOptions,
    stored: Option<&Secret>,
) -> Result<AgentIdentity, AgentError> {
    let stored = |key: &str| {
        stored
            .and_then(|secret| credentials::text(secret, key))
            .unwrap_or_default()
            .to_owned()
    };
    let cluster: ClusterName = match cluster_name(&common.spoke_cluster_name)? {
        Some(name) => name,
        None => match cluster_name(&stored(keys::CLUSTER_NAME))? {
            Some(name) => name,
            None => random_uuid().parse()?,
        },
    };
    let agent = [common.agent_id.clone(), stored(keys::AGENT_NAME)]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or_else(random_agent_name);
    Ok(AgentIdentity::new(cluster, &agent)?)
}

fn random_agent_name() -> String {
    (0..NAME_LENGTH)
        .map(|_| char::from(NAME_ALPHABET[rand::random_range(0..NAME_ALPHABET.len())]))
        .collect()
}

/// A random (version 4) UUID.
fn random_uuid() -> String {
    let bits = (rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::tests::parse;
    use crate::secrets::Seen;
    use hyades_runtime::k8s_openapi::ByteString;

    fn secret(pairs: &[(&str, &str)]) -> Seen {
        let data = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Seen::Present(Box::new(Secret {
            data: Some(data.collect()),
            ..Secret::default()
        }))
    }

    #[test]
    fn names_come_from_flags_then_the_secret_then_chance() {
        let stored = secret(&[(keys::CLUSTER_NAME, "stored"), (keys::AGENT_NAME, "old")]);
        let resolve = |flags: &[&str], stored: &Seen| {
            let options = parse(flags).expect("flags");
            resolve_identity(&options.common, stored.secret())
        };
        let identity =
            resolve(&["--spoke-cluster-name=flag", "--agent-id=new"], &stored).expect("names");
        assert_eq!(
            (identity.cluster.as_str(), identity.agent()),
            ("flag", "new")
        );
        let identity = resolve(&[], &stored).expect("names");
        assert_eq!(
            (identity.cluster.as_str(), identity.agent()),
            ("stored", "old")
        );
        let identity = resolve(&[], &Seen::Absent).expect("names");
        assert_eq!(
            (identity.cluster.as_str().len(), identity.agent().len()),
            (36, NAME_LENGTH)
        );
        assert!(resolve(&["--spoke-cluster-name=kube-system"], &Seen::Absent).is_err());
    }
}
