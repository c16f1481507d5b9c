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

/// How often hubs are asked again when none took the agent.
const RETRY: Policy = Policy {
    base: std::time::Duration::from_secs(5),
    cap: std::time::Duration::from_secs(60),
    factor: 2.0,
    jitter: 0.25,
};

/// What a hub says to the agent before it has joined there. The order is that of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// It takes the agent, or may.
    Welcome,
    /// It cannot be used; the text says why.
    Useless(String),
}

/// Which hub to take: the present one if it is good, else the first that is.
fn decide(answers: &[Answer], present: Option<usize>) -> Option<usize> {
    let good = |index: &usize| answers[*index] == Answer::Welcome;
    let first = || (0..answers.len()).find(good);
    present.filter(good).or_else(first)
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
                Answer::Welcome => String::new(),
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
        Ok(None) => Answer::Welcome,
        Ok(Some(object)) if object.spec.hub_accepts_client => Answer::Welcome,
        Ok(Some(_)) => Answer::Useless(format!("it has not accepted the cluster {cluster}")),
        Err(error) => Answer::Useless(Trouble::of(&error).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_present_hub_is_kept_while_it_is_good_and_else_the_first_good_one_is_taken() {
        let bad = || Answer::Useless("gone".to_owned());
        let good = || Answer::Welcome;
        assert_eq!(decide(&[good(), good()], Some(1)), Some(1));
        assert_eq!(decide(&[good(), bad()], Some(1)), Some(0));
        assert_eq!(decide(&[bad(), good()], None), Some(1));
        assert_eq!(decide(&[bad(), bad()], Some(0)), None);
        assert_eq!(decide(&[], None), None);
    }
}
