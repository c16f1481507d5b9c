//! The normal phase, under the agent's own identity: lease, status, rotation of the certificate.

use super::Outcome;
use super::Shared;
use super::acceptance;
use super::bootstrap;
use super::bootstrap::Page;
use super::certificate;
use super::certificate::Asking;
use super::certificate::CertificateError;
use super::certificate::Requester;
use super::contact::Contact;
use super::lease;
use super::namespaces;
use super::pending;
use super::relocation;
use super::rotation;
use super::status;
use crate::addon;
use crate::credentials::Credentials;
use crate::credentials::rotation_message;
use crate::session::Session;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_api::conditions::managed_cluster as known;
use hyades_runtime::Cache;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::backoff::Backoff;
use hyades_runtime::backoff::Policy;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::events::EventType;
use hyades_runtime::events::Recorder;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::runtime::watcher;
use jiff::Timestamp;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// An object from the watch that is older than what this agent wrote itself is late, for so long.
/// After that it is the truth: a hub restored from a backup counts its versions from an earlier one.
const OVERTAKEN_FOR: Duration = Duration::from_secs(10);

/// The inventory object as last seen or written.
type Current = watch::Sender<Option<ManagedCluster>>;

/// When this agent last wrote the inventory object.
type Written = Mutex<Option<Instant>>;

/// Works for the hub until something ends that.
pub(super) async fn run(shared: &Shared<'_>, credentials: Credentials, several: bool) -> Outcome {
    let identity = shared.identity.clone();
    let session = match Session::open(&credentials, identity, "registration-agent").await {
        Ok(session) => session,
        Err(error) => {
            let message = format!("{error}; waiting for another");
            shared.warn("HubKubeconfigUnusable", &message).await;
            std::future::pending().await
        }
    };
    let end = end_of(&credentials);
    shared.expires_at.store(end.as_second(), Ordering::Relaxed);
    let current = watch::Sender::new(None);
    let statements = watch::Sender::new(rotation_statement(&credentials));
    let contact = Contact::default();
    tokio::select! {
        rotated = rotate(shared, &session, &credentials, &statements) => Outcome::Obtained(rotated),
        () = rotation::until(shared.clock, end) => {
            let message = format!("the agent's certificate expired at {end}");
            shared.warn("CertificateExpired", &message).await;
            Outcome::Expired
        }
        moved = relocation::follow(shared, &credentials, current.subscribe()) => {
            Outcome::Obtained(moved)
        }
        () = contact.refused() => {
            let server = &session.server;
            let message = format!("the hub at {server} refuses the agent's certificate (401)");
            shared.warn("CertificateRefused", &message).await;
            Outcome::Refused
        }
        why = leave(shared, &contact, current.subscribe()), if several => {
            shared.warn("LeavingHub", &format!("leaving the hub at {}: {why}", session.server)).await;
            Outcome::Leaving(why)
        }
        never = registered(shared, &session, &credentials, &current, &contact, &statements) => match never {},
    }
}

/// Waits until there is a reason to look for another of several hubs.
async fn leave(
    shared: &Shared<'_>,
    contact: &Contact,
    mut current: watch::Receiver<Option<ManagedCluster>>,
) -> String {
    let seconds = shared.options.hub_connection_timeout_seconds;
    let limit = Duration::from_secs(u64::from(seconds));
    tokio::select! {
        () = contact.lost(limit) => format!("no contact for {seconds} s"),
        why = turned_away(&mut current, limit) => why,
    }
}

/// Waits until the inventory object says that the hub does not want this cluster, or is gone; or
/// until the hub has not shown it for `limit`.
async fn turned_away(
    current: &mut watch::Receiver<Option<ManagedCluster>>,
    limit: Duration,
) -> String {
    let shown = tokio::time::timeout(limit, current.wait_for(Option::is_some)).await;
    if shown.is_err() {
        let seconds = limit.as_secs();
        return format!("it has given this agent no rights within {seconds} s");
    }
    drop(shown);
    let unwanted = |object: &Option<ManagedCluster>| {
        object
            .as_ref()
            .is_none_or(|object| !object.spec.hub_accepts_client)
    };
    let is_gone = current
        .wait_for(unwanted)
        .await
        .map(|object| object.is_none());
    match is_gone {
        Ok(true) => "it has deregistered this cluster".to_owned(),
        Ok(false) => "it does not accept this cluster (any more)".to_owned(),
        Err(_) => std::future::pending().await,
    }
}

fn end_of(credentials: &Credentials) -> Timestamp {
    credentials.expires().unwrap_or(Timestamp::MAX)
}

fn rotation_statement(credentials: &Credentials) -> Option<Statement> {
    let message = rotation_message(&credentials.certificate_pem)?;
    Some(known::CERTIFICATE_UPDATED.with_message(message))
}

/// Obtains a new certificate when it is due, and saves it.
async fn rotate(
    shared: &Shared<'_>,
    session: &Session,
    credentials: &Credentials,
    statements: &watch::Sender<Option<Statement>>,
) -> Credentials {
    let ask = async || {
        let denied = async |message: &str| shared.warn("CertificateRequestDenied", message).await;
        let asking = Asking {
            client: &session.client,
            identity: &shared.identity,
            requester: Requester::Agent,
            key: pending::next(shared, Some(credentials)).await,
            expiration_seconds: shared.options.client_cert_expiration_seconds,
        };
        certificate::obtain(asking, denied).await
    };
    let failed = async |error: &CertificateError| {
        let message = match error {
            CertificateError::TooMany(_) => error.to_string(),
            _ => format!("Failed to rotated client certificate {error}"),
        };
        let statement = known::CERTIFICATE_UPDATE_FAILED.with_message(&message);
        statements.send_replace(Some(statement));
        shared.warn("CertificateNotRenewed", &message).await;
    };
    let issued = rotation::next(shared.clock, &credentials.certificate_pem, ask, failed).await;
    let renewed = credentials.renewed(issued);
    bootstrap::save(shared, &renewed, Page::Keep).await;
    renewed
}

/// Lease and status, from acceptance on.
async fn registered(
    shared: &Shared<'_>,
    session: &Session,
    credentials: &Credentials,
    current: &Current,
    contact: &Contact,
    statements: &watch::Sender<Option<Statement>>,
) -> Infallible {
    let first = acceptance::wait(shared, session, contact).await;
    // Works have no rights before, so nobody needs the session before.
    shared.sessions.send_replace(Some(Session {
        is_admitted: true,
        ..session.clone()
    }));
    let (lease_sender, lease_duration) = watch::channel(lease_duration(&first));
    current.send_replace(Some(first));
    let written = Arc::new(Written::default());
    let _cache = watch_inventory_object(session, current.clone(), lease_sender, written.clone());
    let client = session.client.clone();
    let cluster = &session.identity.cluster;
    tokio::join!(
        lease::renew(client, cluster, shared.clock, contact, lease_duration),
        report(shared, session, current, statements, &written),
        namespaces::keep(shared, &session.server, current.subscribe()),
        keep_addons(shared, session, credentials),
    );
    std::future::pending().await
}

/// Looks after the add-ons, unless their gate is closed.
async fn keep_addons(shared: &Shared<'_>, session: &Session, credentials: &Credentials) {
    if !shared.with_addons {
        return;
    }
    let never = addon::keep(addon::Scene {
        session: session.clone(),
        endpoint: credentials.endpoint.clone(),
        wec: shared.wec.client.clone(),
        clock: shared.clock,
        settings: shared.options.addon.clone(),
        expiration_seconds: shared.options.client_cert_expiration_seconds,
    });
    match never.await {}
}

fn lease_duration(cluster: &ManagedCluster) -> Option<Duration> {
    let seconds = u64::try_from(cluster.spec.effective_lease_duration_seconds()).unwrap_or(60);
    status::is_accepted(cluster).then(|| Duration::from_secs(seconds))
}

fn watch_inventory_object(
    session: &Session,
    current: Current,
    lease: watch::Sender<Option<Duration>>,
    written: Arc<Written>,
) -> Cache<ManagedCluster> {
    let name = session.identity.cluster.clone();
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let tell = move |object: Option<&ManagedCluster>| {
        let at = *written.lock().unwrap_or_else(PoisonError::into_inner);
        let just_wrote = at.is_some_and(|at| at.elapsed() < OVERTAKEN_FOR);
        let is_late = |object| just_wrote && is_older(object, current.borrow().as_ref());
        if object.is_some_and(is_late) {
            return;
        }
        let duration = object.and_then(lease_duration);
        lease.send_if_modified(|known| std::mem::replace(known, duration) != duration);
        current.send_replace(object.cloned());
    };
    controller::watch(
        Api::all(session.client.clone()),
        config,
        move |change| match change {
            Change::Applied(object) => tell(Some(object)),
            Change::Deleted(_) => {
                tracing::warn!(
                    "the inventory object {name} was deleted from the hub: this cluster is deregistered; join again to come back"
                );
                tell(None);
            }
            Change::Synced => {}
        },
    )
}

/// Whether an object from the watch was overtaken by what this agent wrote itself.
fn is_older(seen: &ManagedCluster, known: Option<&ManagedCluster>) -> bool {
    let version = |object: &ManagedCluster| {
        object
            .metadata
            .resource_version
            .as_ref()?
            .parse::<u64>()
            .ok()
    };
    let known = known.filter(|known| known.metadata.uid == seen.metadata.uid);
    matches!((version(seen), known.and_then(version)), (Some(seen), Some(known)) if seen < known)
}

/// Keeps the status on the hub as [`status::decide`] wants it.
async fn report(
    shared: &Shared<'_>,
    session: &Session,
    current: &Current,
    statements: &watch::Sender<Option<Statement>>,
    written: &Written,
) {
    let api: Api<ManagedCluster> = Api::all(session.client.clone());
    let recorder = Recorder::new(
        session.client.clone(),
        "klusterlet-agent",
        &shared.context.pod_name,
    );
    let mut observed = shared.observation.subscribe();
    let mut cluster = current.subscribe();
    let mut statement = statements.subscribe();
    let mut backoff = Backoff::new(Policy::API);
    let mut truncated = 0;
    loop {
        let picture = observed.borrow_and_update().clone();
        if std::mem::replace(&mut truncated, picture.claims_truncated) < picture.claims_truncated {
            let most = shared.options.max_custom_cluster_claims;
            let message = format!("{truncated} claims beyond the limit of {most} are not reported");
            shared.warn("CustomClusterClaimsTruncated", &message).await;
        }
        let extra: Vec<Statement> = statement.borrow_and_update().iter().cloned().collect();
        let object = cluster.borrow_and_update().clone();
        let changes = object
            .as_ref()
            .and_then(|object| status::decide(object, &picture, &extra, &Time(shared.clock.now())));
        let retry = match (object, changes) {
            (Some(object), Some(changes)) => {
                let now = Some(Instant::now());
                *written.lock().unwrap_or_else(PoisonError::into_inner) = now;
                send(&api, current, &recorder, &object, changes, &mut backoff).await
            }
            _ => None,
        };
        let retried = async {
            match retry {
                Some(delay) => tokio::time::sleep(delay).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = retried => {}
            Ok(()) = cluster.changed() => {}
            Ok(()) = observed.changed() => {}
            Ok(()) = statement.changed() => {}
        }
    }
}

/// Sends one status patch. Returns after which time to decide again, if it did not succeed.
async fn send(
    api: &Api<ManagedCluster>,
    current: &Current,
    recorder: &Recorder,
    object: &ManagedCluster,
    changes: serde_json::Value,
    backoff: &mut Backoff,
) -> Option<Duration> {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let error = match apply::patch_status(api, object, changes).await {
        Ok(updated) => {
            backoff.reset();
            tell_availability(recorder, object, &updated).await;
            current.send_replace(Some(updated));
            return None;
        }
        Err(error) => error,
    };
    let trouble = Trouble::of(&error);
    let delay = backoff.next_delay();
    if trouble.is_conflict() {
        // Someone wrote meanwhile: decide anew from what is there now, at once.
        if let Ok(newest) = api.get(name).await {
            current.send_replace(Some(newest));
            return Some(if backoff.failures() == 1 {
                Duration::ZERO
            } else {
                delay
            });
        }
    }
    tracing::warn!(
        "reporting status to the hub: {trouble}; trying again in {:.1} s",
        delay.as_secs_f64()
    );
    Some(delay)
}

/// Records an Event in the mailbox when availability changed, as upstream's agent does.
async fn tell_availability(recorder: &Recorder, before: &ManagedCluster, after: &ManagedCluster) {
    let state = |cluster: &ManagedCluster| {
        conditions::find(&cluster.status.conditions, known::AVAILABLE)
            .map(|found| found.status.clone())
    };
    let now = state(after);
    if state(before) == now {
        return;
    }
    let name = after.metadata.name.clone().unwrap_or_default();
    let regarding = after.object_ref(&());
    let (kind, reason, note) = match now.as_deref() {
        Some("True") => (
            EventType::Normal,
            "Available",
            format!("The cluster {name} is available"),
        ),
        _ => (
            EventType::Warning,
            "Unavailable",
            format!("The cluster {name} is not available"),
        ),
    };
    tracing::info!("{note}");
    recorder
        .record(&name, &regarding, kind, reason, &note)
        .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_of_several_hubs_is_left_when_it_denies_forgets_or_never_shows_the_cluster() {
        let limit = Duration::from_secs(600);
        let seen = |accepted| {
            let mut object = ManagedCluster::new("c1", Default::default());
            object.spec.hub_accepts_client = accepted;
            Some(object)
        };
        let told = async |last: Option<ManagedCluster>| {
            let current = Current::new(seen(true));
            let mut receiver = current.subscribe();
            let mut leaving = std::pin::pin!(turned_away(&mut receiver, limit));
            let waiting = tokio::time::timeout(2 * limit, &mut leaving).await;
            assert!(waiting.is_err(), "a hub that wants the cluster is kept");
            current.send_replace(last);
            leaving.await
        };
        assert!(told(None).await.contains("deregistered"));
        assert!(told(seen(false)).await.contains("not accept"));
        let current = Current::new(None);
        let why = turned_away(&mut current.subscribe(), limit).await;
        assert!(why.contains("no rights within 600 s"), "{why}");
    }

    use hyades_runtime::kube::Client;
    use hyades_runtime::kube::client::Body;
    use hyper::Request;
    use hyper::Response;
    use serde_json::Value;
    use serde_json::json;

    fn cluster(available: Option<&str>) -> ManagedCluster {
        let conditions = available.map(|status| {
            json!([{"type": "ManagedClusterConditionAvailable", "status": status, "reason": "r",
                "message": "m", "lastTransitionTime": "2027-01-01T00:00:00Z"}])
        });
        serde_json::from_value(json!({
            "metadata": {"name": "cluster1", "uid": "u"}, "spec": {},
            "status": {"conditions": conditions.unwrap_or_else(|| json!([]))},
        }))
        .expect("an inventory object")
    }

    /// The Events that a hub gets when availability goes from one state to another.
    async fn events(before: Option<&str>, after: Option<&str>) -> Vec<Value> {
        let sent: Arc<Mutex<Vec<Value>>> = Arc::default();
        let kept = sent.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let kept = kept.clone();
            async move {
                assert_eq!(
                    request.uri().path(),
                    "/apis/events.k8s.io/v1/namespaces/cluster1/events"
                );
                let body = request.into_body().collect_bytes().await?;
                let event: Value = serde_json::from_slice(&body)?;
                kept.lock().expect("events").push(event);
                Ok::<_, tower::BoxError>(Response::new(Body::from(body)))
            }
        });
        let recorder = Recorder::new(Client::new(service, "default"), "klusterlet-agent", "pod");
        tell_availability(&recorder, &cluster(before), &cluster(after)).await;
        let sent = sent.lock().expect("events");
        sent.clone()
    }

    #[tokio::test]
    async fn an_event_tells_when_a_cluster_becomes_available_and_when_it_no_longer_is() {
        for (before, after, kind, reason) in [
            (None, Some("True"), "Normal", "Available"),
            (Some("True"), Some("False"), "Warning", "Unavailable"),
            (Some("False"), Some("True"), "Normal", "Available"),
        ] {
            let told = events(before, after).await;
            assert_eq!(told.len(), 1, "{reason}");
            assert_eq!(
                (&told[0]["type"], &told[0]["reason"]),
                (&json!(kind), &json!(reason))
            );
            assert_eq!(told[0]["regarding"]["kind"], "ManagedCluster");
            assert_eq!(told[0]["regarding"]["name"], "cluster1");
        }
        assert!(events(Some("True"), Some("True")).await.is_empty());
    }
}
