//! The connection between agent and hub is cut at every step of a join: before the hub has seen the
//! request, or before the agent has seen the answer. Each join ends complete all the same.

use crate::hub::Hub;
use crate::serve::Lost;
use crate::until;
use crate::wec::Wec;
use hyades_agent::install::Mode;
use hyades_api::names;
use std::time::Duration;
use tokio::task::LocalSet;

/// More requests than an agent makes until it is Joined and Available.
const STEPS_MAX: usize = 60;

/// How long the connection stays cut: longer than the first pauses between attempts.
const CUT: Duration = Duration::from_millis(150);

async fn joins_whatever_step_is_lost(lost: Lost) {
    let hub = Hub::start(true).await;
    let mut cut = 0;
    for step in 0..STEPS_MAX {
        let name = format!("cluster{step}");
        let wec = Wec::start(&name).await;
        wec.join(&hub, &name, Mode::Singleton).await;
        let operator = wec.start_operator();
        wec.deployment("klusterlet-agent").await;
        // The operator asks the hub about the agent's Secrets, and only the agent is to be counted.
        wec.until_asked().await;
        operator.cancel();
        hub.gate.close_after(step, lost);
        let agent = wec.start_agent().await;
        let shut = async {
            while !hub.gate.is_shut() {
                tokio::time::sleep(crate::LOOK_EVERY).await;
            }
            tokio::time::sleep(CUT).await;
            hub.gate.open();
        };
        let joined = hub.until_available(&name);
        let was_cut = tokio::select! {
            () = shut => true,
            () = joined => false,
        };
        hub.gate.open();
        hub.until_available(&name).await;
        let secrets = wec.secrets();
        until("the credentials are saved", async || {
            secrets
                .get_opt(names::HUB_KUBECONFIG_SECRET)
                .await
                .expect("an answer")
        })
        .await;
        agent.cancel();
        cut += usize::from(was_cut);
        if !was_cut {
            println!("{lost:?}: a join takes {step} requests; each of {cut} was lost once");
            assert!(cut >= 8, "a join is more than {cut} requests");
            return;
        }
    }
    panic!("a join takes more than {STEPS_MAX} requests");
}

#[tokio::test]
async fn a_join_whose_requests_are_lost_at_any_step_is_completed() {
    LocalSet::new()
        .run_until(joins_whatever_step_is_lost(Lost::Request))
        .await;
}

#[tokio::test]
async fn a_join_whose_answers_are_lost_at_any_step_is_completed() {
    LocalSet::new()
        .run_until(joins_whatever_step_is_lost(Lost::Answer))
        .await;
}
