//! Registration: from a bootstrap token to a WEC that its hub knows as Joined and Available.
//!
//! ```text
//!            ┌───────── Plan: decided from the two Secrets, at each of their changes ─────────┐
//!            ▼                              ▼                                                 ▼
//!   Wait: no bootstrap Secret   Bootstrap: inventory object + certificate      Hub: lease, status, rotation
//!            │                              │ saved in the hub Secret                │ certificate due or expired
//!            └──────────────────────────────┴────────────▶ plan again ◀──────────────┘
//! ```
//!
//! The switch from the bootstrap identity to the agent's own happens in this process, at once.
//! Everything reacts to watch events; only the lease, the probe of the WEC and retries run on
//! time.

mod acceptance;
mod bootstrap;
mod certificate;
mod claims;
mod hub;
mod lease;
mod namespaces;
mod observation;
mod resources;
mod status;

use crate::credentials;
use crate::credentials::Credentials;
use crate::credentials::HubEndpoint;
use crate::credentials::Invalid;
use crate::credentials::keys;
use crate::error::AgentError;
use crate::options::CommonOptions;
use crate::options::RegistrationAgentOptions;
use crate::options::RegistrationOptions;
use crate::options::cluster_name;
use crate::secrets::Seen;
use crate::secrets::WatchedSecret;
use crate::session::Sessions;
use crate::wec::Wec;
use crate::wec::with_wec;
use hyades_api::identity::AgentIdentity;
use hyades_api::identity::ClusterName;
use hyades_runtime::Context;
use hyades_runtime::events::EventType;
use hyades_runtime::events::Recorder;
use hyades_runtime::k8s_openapi::api::core::v1::ObjectReference;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use jiff::Timestamp;
use observation::Observation;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;
use tokio::sync::watch;

/// Characters of a random agent name: upstream's, without those mistaken for others.
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Length of a random agent name.
const NAME_LENGTH: usize = 5;

/// Seconds past a certificate's end after which the process calls itself unhealthy: the agent
/// goes back to bootstrapping by itself, so being still there means that it is stuck.
const EXPIRY_GRACE_SECONDS: i64 = 60;

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
    let observation = Observation::start(wec.client.clone(), &options, &common.gates()?);
    let shutdown = context.shutdown.clone();
    let period = options.cluster_healthcheck_period;
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        () = observation.probe(period) => Ok(()),
        result = supervise(common, &options, &context, &wec, &observation, sessions) => result,
    }
}

/// What a phase needs to know.
struct Shared<'a> {
    options: &'a RegistrationOptions,
    context: &'a Context,
    wec: &'a Wec,
    observation: &'a Observation,
    sessions: &'a Sessions,
    identity: AgentIdentity,
    hub_secret: &'a str,
    bootstrap_secret: &'a str,
    recorder: Recorder,
    /// End of the certificate in use, in seconds of the epoch; 0 while there is none.
    expires_at: Arc<AtomicI64>,
}

impl Shared<'_> {
    /// The bootstrap kubeconfig as it is now, if there is one.
    async fn bootstrap_kubeconfig(&self) -> Option<String> {
        let api: Api<Secret> =
            Api::namespaced(self.context.client.clone(), &self.context.namespace);
        let secret = api.get_opt(self.bootstrap_secret).await.ok()??;
        credentials::text(&secret, keys::KUBECONFIG).map(str::to_owned)
    }

    /// Tells trouble in the log and, for `kubectl get events`, in the agent's namespace.
    async fn warn(&self, reason: &str, message: &str) {
        tracing::warn!("{message}");
        let pod = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(self.context.pod_name.clone()),
            namespace: Some(self.context.namespace.clone()),
            ..ObjectReference::default()
        };
        self.recorder
            .record_core(
                &self.context.namespace,
                &pod,
                EventType::Warning,
                reason,
                message,
            )
            .await;
    }
}

/// What to do, given the two Secrets.
#[derive(Clone, Debug, PartialEq)]
enum Plan {
    /// Nothing can be done; the text says what is waited for.
    Wait(String),
    /// Present the bootstrap credentials.
    Bootstrap {
        kubeconfig: String,
        endpoint: HubEndpoint,
        why: Invalid,
    },
    /// Present the agent's own.
    Hub(Credentials),
}

/// Decides from what the Secrets hold. `fresh` are credentials saved just now.
fn plan(
    bootstrap: &Seen,
    hub: &Seen,
    fresh: Option<&Credentials>,
    bootstrap_name: &str,
    identity: &AgentIdentity,
    now: Timestamp,
) -> Plan {
    let stored = hub.secret().and_then(Credentials::read);
    let current = fresh.or(stored.as_ref());
    let kubeconfig = bootstrap
        .secret()
        .and_then(|secret| credentials::text(secret, keys::KUBECONFIG));
    let endpoint = kubeconfig.map(|text| HubEndpoint::of(text, bootstrap_name));
    let known = endpoint
        .as_ref()
        .and_then(|endpoint| endpoint.as_ref().ok());
    let why = match credentials::validate(current, known, identity, now) {
        Ok(()) => {
            return current
                .cloned()
                .map_or(Plan::Wait("credentials".to_owned()), Plan::Hub);
        }
        Err(why) => why,
    };
    match (kubeconfig, endpoint) {
        (Some(kubeconfig), Some(Ok(endpoint))) => Plan::Bootstrap {
            kubeconfig: kubeconfig.to_owned(),
            endpoint,
            why,
        },
        (_, Some(Err(error))) => Plan::Wait(format!("{why}, and {error}")),
        _ => Plan::Wait(format!(
            "{why}, and Secret {bootstrap_name} with the hub's bootstrap kubeconfig does not exist: join again"
        )),
    }
}

async fn supervise(
    common: &CommonOptions,
    options: &RegistrationOptions,
    context: &Context,
    wec: &Wec,
    observation: &Observation,
    sessions: &Sessions,
) -> Result<(), AgentError> {
    let watched =
        |name: &str| WatchedSecret::start(context.client.clone(), &context.namespace, name);
    let mut bootstrap = watched(&common.bootstrap_kubeconfig_secret);
    let mut hub = watched(&common.hub_kubeconfig_secret);
    let (_, stored) = tokio::join!(bootstrap.read(), hub.read());
    let shared = Shared {
        options,
        context,
        wec,
        observation,
        sessions,
        identity: resolve_identity(common, stored.secret())?,
        hub_secret: &common.hub_kubeconfig_secret,
        bootstrap_secret: &common.bootstrap_kubeconfig_secret,
        recorder: Recorder::new(
            context.client.clone(),
            "klusterlet-agent",
            &context.pod_name,
        ),
        expires_at: watch_expiry(context),
    };
    tracing::info!("this agent is {}", shared.identity);
    let mut fresh = None;
    loop {
        let bootstrap_name = common.bootstrap_kubeconfig_secret.as_str();
        let decide = |bootstrap: &Seen, hub: &Seen, fresh: Option<&Credentials>| {
            plan(
                bootstrap,
                hub,
                fresh,
                bootstrap_name,
                &shared.identity,
                Timestamp::now(),
            )
        };
        let current = decide(&bootstrap.current(), &hub.current(), fresh.as_ref());
        let mut phase = std::pin::pin!(follow(&shared, current.clone()));
        loop {
            tokio::select! {
                result = &mut phase => {
                    fresh = result;
                    break;
                }
                () = bootstrap.changed() => {}
                () = hub.changed() => fresh = None,
            }
            let (first, own) = (bootstrap.current(), hub.current());
            if decide(&first, &own, fresh.as_ref()) != current {
                tracing::info!("a Secret of the agent changed: planning anew");
                break;
            }
        }
    }
}

/// Follows a plan until something changes; returns credentials it obtained.
async fn follow(shared: &Shared<'_>, plan: Plan) -> Option<Credentials> {
    match plan {
        Plan::Wait(what) => {
            shared.sessions.send_replace(None);
            shared
                .warn(
                    "WaitingForBootstrap",
                    &format!("cannot reach a hub: {what}"),
                )
                .await;
            std::future::pending().await
        }
        Plan::Bootstrap {
            kubeconfig,
            endpoint,
            why,
        } => {
            shared.sessions.send_replace(None);
            shared.expires_at.store(0, Ordering::Relaxed);
            tracing::info!("bootstrapping at {}: {why}", endpoint.server());
            Some(bootstrap::run(shared, &kubeconfig, endpoint).await)
        }
        Plan::Hub(credentials) => hub::run(shared, credentials).await,
    }
}

fn watch_expiry(context: &Context) -> Arc<AtomicI64> {
    let expires_at = Arc::new(AtomicI64::new(0));
    let seen = expires_at.clone();
    context.health.add_live("hub-kube-config", move || {
        let end = seen.load(Ordering::Relaxed);
        if end == 0 || Timestamp::now().as_second() <= end + EXPIRY_GRACE_SECONDS {
            return Ok(());
        }
        Err("the client certificate expires and rebootstrap is required.".to_owned())
    });
    expires_at
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
    use hyades_runtime::k8s_openapi::ByteString;

    const BOOTSTRAP: &str = "clusters: [{name: hub, cluster: {server: 'https://hub'}}]\ncontexts: [{name: c, context: {cluster: hub, user: u}}]\ncurrent-context: c\n";

    fn secret(pairs: &[(&str, &str)]) -> Seen {
        let data = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Seen::Present(Box::new(Secret {
            data: Some(data.collect()),
            ..Secret::default()
        }))
    }

    fn decide(bootstrap: &Seen, hub: &Seen) -> Plan {
        let identity = credentials::tests::identity();
        plan(
            bootstrap,
            hub,
            None,
            "bootstrap-hub-kubeconfig",
            &identity,
            Timestamp::now(),
        )
    }

    #[test]
    fn without_credentials_the_agent_bootstraps() {
        let plan = decide(&secret(&[(keys::KUBECONFIG, BOOTSTRAP)]), &Seen::Absent);
        assert!(
            matches!(
                plan,
                Plan::Bootstrap {
                    why: Invalid::Missing,
                    ..
                }
            ),
            "{plan:?}"
        );
    }

    #[test]
    fn without_anything_the_agent_says_what_it_waits_for() {
        let Plan::Wait(what) = decide(&Seen::Absent, &Seen::Absent) else {
            panic!("a wait")
        };
        assert!(what.contains("bootstrap-hub-kubeconfig"), "{what}");
        let Plan::Wait(what) = decide(&secret(&[(keys::KUBECONFIG, "clusters: 3")]), &Seen::Absent)
        else {
            panic!("a wait")
        };
        assert!(what.contains("cannot be read"), "{what}");
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
