//! The agent's heartbeat: the lease that the hub made for it, renewed while the hub accepts it.
//! While it does not, the agent only asks now and then whether the hub is there and knows it.

use super::contact::Contact;
use crate::clock::Clock;
use hyades_api::cluster::ManagedCluster;
use hyades_api::identity::ClusterName;
use hyades_api::names;
use hyades_runtime::Trouble;
use hyades_runtime::backoff;
use hyades_runtime::backoff::Backoff;
use hyades_runtime::backoff::Policy;
use hyades_runtime::k8s_openapi::api::coordination::v1::Lease;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::api::PostParams;
use hyades_runtime::kube::core::PartialObjectMeta;
use jiff::Timestamp;
use std::time::Duration;
use tokio::sync::watch;

/// Renewals in one lease duration. The lease promises that one comes within each duration; two may
/// get lost, and a death is noticed within one.
const RENEWALS_PER_LEASE: u32 = 3;

/// Renewals are spread by up to this share, so that a fleet started at once does not stay in step.
const JITTER: f64 = 0.25;

/// A lease that cannot be renewed is tried again within its own duration, however long the
/// trouble lasts.
const RETRY: Policy = Policy {
    base: Duration::from_millis(20),
    cap: Duration::from_secs(10),
    factor: 2.0,
    jitter: 0.5,
};

/// How often an agent without a lease to renew makes sure of its hub, spread like renewals: as
/// often as an agent that waits for its acceptance asks at least.
const PROBE_PERIOD: Duration = Duration::from_secs(15);

/// Renews the lease for ever. `duration` holds the lease's duration while the hub accepts the
/// agent, and nothing while it does not.
pub(super) async fn renew(
    client: Client,
    cluster: &ClusterName,
    clock: Clock,
    contact: &Contact,
    mut duration: watch::Receiver<Option<Duration>>,
) {
    let objects: Api<PartialObjectMeta<ManagedCluster>> = Api::all(client.clone());
    let api: Api<Lease> = Api::namespaced(client, names::mailbox(cluster));
    let mut held = None;
    let mut backoff = Backoff::new(RETRY);
    loop {
        let period = *duration.borrow_and_update();
        let wait = match period {
            None => {
                // Whatever it answers, contact tells the difference between a hub that has turned
                // this cluster away and one that is lost or knows the agent no longer.
                match objects.get(cluster.as_str()).await {
                    Ok(_) => contact.succeeded(),
                    Err(error) => contact.failed(&Trouble::of(&error)),
                }
                backoff::jitter(PROBE_PERIOD, JITTER)
            }
            Some(period) => match renew_once(&api, held.take(), clock, period).await {
                Ok(lease) => {
                    contact.succeeded();
                    backoff.reset();
                    held = Some(lease);
                    // Sliding: the wait starts when the call has ended.
                    backoff::jitter(period / RENEWALS_PER_LEASE, JITTER)
                }
                Err(error) => {
                    let trouble = Trouble::of(&error);
                    contact.failed(&trouble);
                    let delay = backoff.next_delay().min(period / RENEWALS_PER_LEASE);
                    report(&trouble, &backoff, delay);
                    delay
                }
            },
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = duration.changed() => if changed.is_err() { return },
        }
    }
}

fn report(trouble: &Trouble, backoff: &Backoff, delay: Duration) {
    let seconds = delay.as_secs_f64();
    // Right after acceptance the hub may still be making the lease.
    if trouble.is_not_found() && backoff.failures() < 5 {
        tracing::debug!("the hub has not made the lease yet; trying again in {seconds:.2} s");
    } else {
        tracing::warn!(
            "renewing the lease {}: {trouble}; trying again in {seconds:.1} s",
            names::LEASE
        );
    }
}

/// Writes the time into the lease: over the one held, or, if that is stale, over a fresh one.
async fn renew_once(
    api: &Api<Lease>,
    held: Option<Lease>,
    clock: Clock,
    period: Duration,
) -> kube::Result<Lease> {
    if let Some(lease) = held {
        match api
            .replace(
                names::LEASE,
                &PostParams::default(),
                &renewed(lease, clock.now(), period),
            )
            .await
        {
            Err(error) if Trouble::of(&error).is_conflict() => {}
            other => return other,
        }
    }
    let lease = api.get(names::LEASE).await?;
    api.replace(
        names::LEASE,
        &PostParams::default(),
        &renewed(lease, clock.now(), period),
    )
    .await
}

fn renewed(mut lease: Lease, now: Timestamp, period: Duration) -> Lease {
    // The fields' owners are the server's affair; sending them back only costs bytes.
    lease.metadata.managed_fields = None;
    let spec = lease.spec.get_or_insert_default();
    spec.renew_time = Some(MicroTime(now));
    spec.lease_duration_seconds = i32::try_from(period.as_secs()).ok();
    lease
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_runtime::kube::client::Body;
    use hyper::Request;
    use hyper::Response;
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::Mutex;

    #[test]
    fn a_renewal_changes_nothing_but_the_time_and_the_promise() {
        let mut lease = Lease::default();
        lease.metadata.resource_version = Some("7".to_owned());
        lease.spec.get_or_insert_default().holder_identity = Some("x".to_owned());
        let period = Duration::from_secs(5);
        let mut renewed = renewed(lease.clone(), Timestamp::UNIX_EPOCH, period);
        let spec = renewed.spec.as_mut().expect("a spec");
        assert!(spec.renew_time.take().is_some());
        assert_eq!(spec.lease_duration_seconds.take(), Some(5));
        assert_eq!(renewed, lease);
    }

    /// A hub that keeps one lease, by a simulated clock, and is away at times.
    #[derive(Clone)]
    struct Keeper {
        lease: Arc<Mutex<Lease>>,
        renewals: Arc<Mutex<Vec<i64>>>,
        clock: Clock,
        away: std::ops::Range<i64>,
    }

    impl Keeper {
        fn second(&self) -> i64 {
            self.clock.now().as_second()
        }

        async fn answer(self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
            let away = self.away.contains(&self.second());
            let (status, body) = match (away, request.method().as_str()) {
                (true, _) => {
                    let status = serde_json::json!({"kind": "Status", "apiVersion": "v1",
                        "status": "Failure", "code": 503, "reason": "ServiceUnavailable",
                        "message": "away"});
                    (503, status.to_string().into_bytes())
                }
                (false, "PUT") => {
                    let bytes = request.into_body().collect_bytes().await.expect("a body");
                    *self.lease.lock().expect("a lease") =
                        serde_json::from_slice(&bytes).expect("a lease");
                    self.renewals.lock().expect("renewals").push(self.second());
                    (200, bytes.to_vec())
                }
                _ => {
                    let lease = self.lease.lock().expect("a lease").clone();
                    (200, serde_json::to_vec(&lease).expect("JSON"))
                }
            };
            let response = Response::builder().status(status).body(Body::from(body));
            Ok(response.expect("a response"))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_was_turned_away_still_notices_that_its_hub_is_lost_or_refuses_it() {
        let answers = |code: u16| {
            let service = tower::service_fn(move |_: Request<Body>| async move {
                let status = serde_json::json!({"kind": "Status", "apiVersion": "v1",
                    "status": "Failure", "code": code, "reason": "", "message": "no"});
                let body = Body::from(status.to_string().into_bytes());
                let response = Response::builder().status(code).body(body);
                Ok::<_, Infallible>(response.expect("a response"))
            });
            Client::new(service, "default")
        };
        let cluster = "cluster1".parse().expect("a name");
        let clock = Clock::starting(Timestamp::UNIX_EPOCH);
        let limit = Duration::from_secs(600);
        for (code, is_refused, is_lost) in
            [(401, true, true), (503, false, true), (403, false, false)]
        {
            let (_sender, duration) = watch::channel(None);
            let contact = Contact::default();
            let renewing = renew(answers(code), &cluster, clock, &contact, duration);
            let both = async {
                tokio::join!(
                    tokio::time::timeout(limit, contact.refused()),
                    tokio::time::timeout(2 * limit, contact.lost(limit)),
                )
            };
            let (refused, lost) = tokio::select! {
                both = both => both,
                () = renewing => panic!("it never ends"),
            };
            assert_eq!(
                (refused.is_ok(), lost.is_ok()),
                (is_refused, is_lost),
                "{code}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_month_of_renewals_keeps_its_period_and_resumes_seconds_after_an_outage() {
        const HOUR: i64 = 3600;
        const MONTH: i64 = 28 * 24 * HOUR;
        let clock = Clock::starting(Timestamp::UNIX_EPOCH);
        let keeper = Keeper {
            lease: Arc::default(),
            renewals: Arc::default(),
            clock,
            away: 100 * HOUR..103 * HOUR,
        };
        let serving = keeper.clone();
        let service = tower::service_fn(move |request| serving.clone().answer(request));
        let client = Client::new(service, "default");
        let (_sender, duration) = watch::channel(Some(Duration::from_secs(60)));
        let contact = Contact::default();
        let cluster = "cluster1".parse().expect("a name");
        let month = Duration::from_secs(MONTH as u64);
        let renewing = renew(client, &cluster, clock, &contact, duration);
        assert!(
            tokio::time::timeout(month, renewing).await.is_err(),
            "it never ends"
        );
        let renewals = keeper.renewals.lock().expect("renewals").clone();
        let pauses: Vec<_> = renewals.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let third = 60 / i64::from(RENEWALS_PER_LEASE);
        let longest = third + third / 4 + 1;
        let (long, usual): (Vec<_>, Vec<_>) =
            pauses.into_iter().partition(|pause| *pause > longest);
        assert_eq!(long.len(), 1, "one outage: {long:?}");
        assert!(long[0] <= 3 * HOUR + longest + 15, "{long:?}");
        assert!(
            usual.iter().all(|pause| *pause >= third - 1),
            "{:?}",
            usual.iter().min()
        );
        let mean = usual.iter().sum::<i64>() as f64 / usual.len() as f64;
        let least = third as f64 * 1.05;
        assert!(
            (least..least * 1.15).contains(&mean),
            "jitter spreads them: {mean}"
        );
    }
}
