//! Which of several hubs to go to.

use super::Shared;
use super::bootstrap;
use super::plan::Candidate;
use crate::review;
use hyades_api::cluster::ManagedCluster;
use hyades_runtime::Trouble;
use hyades_runtime::backoff::Backoff;
use hyades_runtime::backoff::Policy;
use hyades_runtime::kube::Api;
use std::time::Duration;

/// How often hubs are asked again when none took the agent.
const RETRY: Policy = Policy {
    base: Duration::from_secs(5),
    cap: Duration::from_secs(60),
    factor: 2.0,
    jitter: 0.25,
};

/// What a hub says to the agent before it has joined there. The order is that of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// It takes the agent, or may.
    Welcome,
    /// It has deregistered this cluster, which may come back only where no other takes it.
    Deregistered,
    /// It cannot be used; the text says why.
    Useless(String),
}

/// Which hub to take: the present one if it is good, else the first that is, else one that has
/// deregistered the cluster.
fn decide(answers: &[Answer], present: Option<usize>) -> Option<usize> {
    let good = |index: &usize| answers[*index] == Answer::Welcome;
    let first = || (0..answers.len()).find(good);
    let last = || answers.iter().position(|one| *one == Answer::Deregistered);
    present.filter(good).or_else(first).or_else(last)
}

/// Asks the hubs until one takes the agent; returns its Secret.
pub(super) async fn run(shared: &Shared<'_>, candidates: &[Candidate], why: &str) -> String {
    tracing::info!("choosing one of {} hubs: {why}", candidates.len());
    let present = shared.in_use().server.clone();
    let present = candidates
        .iter()
        .position(|one| Some(one.endpoint.server()) == present.as_deref());
    let mut backoff = Backoff::new(RETRY);
    loop {
        let asking = candidates.iter().map(|candidate| ask(shared, candidate));
        let answers = futures::future::join_all(asking).await;
        if let Some(index) = decide(&answers, present) {
            let chosen = &candidates[index];
            tracing::info!(
                "hub {} of Secret {} it is",
                chosen.endpoint.server(),
                chosen.secret
            );
            return chosen.secret.clone();
        }
        let reasons = candidates
            .iter()
            .zip(&answers)
            .map(|(candidate, answer)| match answer {
                Answer::Welcome | Answer::Deregistered => String::new(),
                Answer::Useless(why) => format!("Secret {}: {why}", candidate.secret),
            });
        let reasons = reasons.collect::<Vec<_>>().join("; ");
        shared
            .warn(
                "NoHubTakesThisCluster",
                &format!("no hub takes this cluster: {reasons}"),
            )
            .await;
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// Gives the chosen hub its time to let the agent in, and then waits until one of the `others`
/// takes it; returns why the chosen one is left. For ever if there are no others.
pub(super) async fn another(shared: &Shared<'_>, others: &[Candidate]) -> String {
    let seconds = shared.options.hub_connection_timeout_seconds;
    let ask = async || {
        let asking = others.iter().map(|one| ask(shared, one));
        futures::future::join_all(asking).await
    };
    let limit = Duration::from_secs(u64::from(seconds));
    let index = welcomed(limit, ask).await;
    let server = others[index].endpoint.server();
    format!("no credentials for the chosen hub within {seconds} s, and the one at {server} is good")
}

/// Which hub takes the agent, asked again and again from `limit` on.
async fn welcomed(limit: Duration, ask: impl AsyncFn() -> Vec<Answer>) -> usize {
    tokio::time::sleep(limit).await;
    let mut backoff = Backoff::new(RETRY);
    loop {
        let answers = ask().await;
        if let Some(index) = answers.iter().position(|one| *one == Answer::Welcome) {
            return index;
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// A hub is good if the first credentials have their rights there, and it has not turned this
/// cluster away.
async fn ask(shared: &Shared<'_>, candidate: &Candidate) -> Answer {
    let client = match bootstrap::client(&candidate.kubeconfig).await {
        Ok(client) => client,
        Err(error) => return Answer::Useless(error.to_string()),
    };
    match review::missing(&client, &review::BOOTSTRAP_RIGHTS).await {
        Ok(missing) if missing.is_empty() => {}
        Ok(missing) => {
            return Answer::Useless(format!("it gives no right to {}", missing.join(", ")));
        }
        Err(trouble) => return Answer::Useless(trouble),
    }
    let api: Api<ManagedCluster> = Api::all(client);
    let cluster = &shared.identity.cluster;
    match api.get_opt(cluster.as_str()).await {
        // An agent with credentials for a hub has had an object there.
        Ok(None) if shared.in_use().server.as_deref() == Some(candidate.endpoint.server()) => {
            Answer::Deregistered
        }
        Ok(None) => Answer::Welcome,
        Ok(Some(object)) if object.spec.hub_accepts_client => Answer::Welcome,
        Ok(Some(_)) => Answer::Useless(format!("it has not accepted the cluster {cluster}")),
        Err(error) => Answer::Useless(Trouble::of(&error).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_chosen_hub_that_never_lets_the_agent_in_is_left_for_one_that_is_good() {
        let started = tokio::time::Instant::now();
        let limit = Duration::from_secs(600);
        let back = limit + Duration::from_secs(7200);
        let ask = async || {
            assert!(started.elapsed() >= limit, "the chosen one has its time");
            let answer = match started.elapsed() < back {
                true => Answer::Useless("away".to_owned()),
                false => Answer::Welcome,
            };
            vec![Answer::Useless("denied".to_owned()), answer]
        };
        assert_eq!(welcomed(limit, ask).await, 1);
        let late = started.elapsed() - back;
        assert!(late <= Duration::from_secs(75), "{late:?} after its return");
        let none = welcomed(limit, async || Vec::new());
        assert!(tokio::time::timeout(back, none).await.is_err());
    }

    #[test]
    fn the_present_hub_is_kept_while_it_is_good_and_else_the_first_good_one_is_taken() {
        let bad = || Answer::Useless("gone".to_owned());
        let good = || Answer::Welcome;
        assert_eq!(decide(&[good(), good()], Some(1)), Some(1));
        assert_eq!(decide(&[good(), bad()], Some(1)), Some(0));
        assert_eq!(decide(&[bad(), good()], None), Some(1));
        assert_eq!(decide(&[bad(), bad()], Some(0)), None);
        assert_eq!(decide(&[], None), None);
        let left = || Answer::Deregistered;
        assert_eq!(decide(&[left(), good()], Some(0)), Some(1));
        assert_eq!(
            decide(&[left(), bad()], Some(0)),
            Some(0),
            "better than none"
        );
    }
}
