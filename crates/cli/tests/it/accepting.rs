//! `clusteradm accept` beyond upstream: as clusters come, and from one agent to another.

use crate::beside::Beside;
use crate::upstream::Its;
use crate::upstream::agent;
use crate::upstream::agent::Agent;
use crate::upstream::agent::Asked;
use crate::upstream::condition_of;
use crate::upstream::identity;

fn certificate(its: &Its, cluster: &str, name: &str, asked: Asked) -> Agent {
    agent::await_certificate(&its.wire, &its.bootstrap, &identity(cluster, name), asked)
}

#[track_caller]
fn until_may_work(its: &Its, agent: &Agent) {
    let path = agent::lease(agent.cluster());
    agent.caller.until(&path, |answer| answer.code == 200);
    its.until_accepted(agent.cluster());
}

#[test]
fn clusters_are_accepted_as_they_come_until_ctrl_c() {
    let its = Its::start();
    agent::announce(&its.bootstrap, "early");
    let early = its.ask(&identity("early", "a"));
    agent::announce(&its.bootstrap, "silent");
    agent::announce(&its.bootstrap, "turned-away");
    its.set_accepted("turned-away", true);
    its.until_accepted("turned-away");
    its.set_accepted("turned-away", false);
    its.until_denied("turned-away");
    its.ask(&identity("turned-away", "a"));

    let watch = Beside::start(&its.host, "clusteradm --context its1 accept --watch");
    watch.until_said(&["Ctrl-C ends this", "cluster early accepted"]);
    agent::announce(&its.bootstrap, "late");
    let late = its.ask(&identity("late", "a"));
    watch.until_said(&["cluster late accepted"]);
    until_may_work(&its, &certificate(&its, "early", "a", early));
    until_may_work(&its, &certificate(&its, "late", "a", late));
    let said = watch.interrupt();

    assert_eq!(said.lines().count(), 4, "one line each: {said}");
    assert!(said.ends_with("2 clusters accepted\n"), "{said}");
    for cluster in ["silent", "turned-away"] {
        let object = its.admin.get(&agent::inventory_object(cluster)).ok();
        assert_ne!(object["spec"]["hubAcceptsClient"], true, "{cluster}");
    }
    let events = "kubectl --context its1 -n late get events -o yaml";
    its.host
        .until_seen(events, &["Accepted by ", "with clusteradm"]);
}

#[test]
fn only_the_named_clusters_are_accepted_as_they_come() {
    let its = Its::start();
    let command = "clusteradm --context its1 accept --watch --clusters mine";
    let watch = Beside::start(&its.host, command);
    watch.until_said(&["Accepting mine as they ask to join"]);
    for cluster in ["mine2", "mine"] {
        agent::announce(&its.bootstrap, cluster);
        its.ask(&identity(cluster, "a"));
    }
    watch.until_said(&["cluster mine accepted"]);
    let said = watch.interrupt();
    assert!(said.ends_with("1 clusters accepted\n"), "{said}");
    let other = its.admin.get(&agent::inventory_object("mine2")).ok();
    assert_ne!(other["spec"]["hubAcceptsClient"], true);
}

#[test]
fn a_name_is_handed_over_by_command_and_the_old_key_is_refused_from_then_on() {
    let its = Its::start();
    let on_hub = |words: &str| {
        its.host
            .run(&format!("clusteradm --context its1 --timeout 60 {words}"))
    };
    let old = its.register("c1", "old");
    let said = on_hub("accept --clusters c1 --replace").ok();
    assert!(said.contains("nothing is replaced"), "{said}");

    let denied = its.ask(&identity("c1", "new"));
    let path = format!("{}/{}", agent::REQUESTS, denied.name);
    its.admin.until(&path, |answer| {
        condition_of(&answer.body, "Denied")["reason"] == "ClusterNameTaken"
    });
    let said = on_hub("accept --clusters c1 --replace").ok();
    assert!(
        said.contains("the name c1 is handed over from") && said.contains(":c1:new"),
        "{said}"
    );
    // Its denied request is taken away, so that it asks again.
    its.admin.until(&path, |answer| answer.code == 404);
    // It has another key by now, as OCM's agents have for each request; so would an impostor.
    let another = its.ask(&identity("c1", "new"));
    let path = format!("{}/{}", agent::REQUESTS, another.name);
    its.admin.until(&path, |answer| {
        condition_of(&answer.body, "Denied")["reason"] == "ClusterNameTaken"
    });
    on_hub("accept --clusters c1 --replace --skip-approve-check").ok();
    its.admin.until(&path, |answer| answer.code == 404);
    let asked = its.ask(&identity("c1", "new"));
    let new = certificate(&its, "c1", "new", asked);
    until_may_work(&its, &new);

    let inventory = agent::inventory_object("c1");
    old.caller.until(&inventory, |answer| answer.code == 403);
    old.caller.get(&agent::lease("c1")).refused(403);
    let renewal = its.ask_by(&old.caller, &old.identity);
    assert_eq!(renewal.code, 403, "the old key gets no new certificate");
    let back = its.ask(&identity("c1", "old"));
    let path = format!("{}/{}", agent::REQUESTS, back.name);
    its.admin.until(&path, |answer| {
        condition_of(&answer.body, "Denied")["reason"] == "ClusterNameTaken"
    });
}

#[test]
fn an_agent_that_lost_its_key_gets_another_only_with_replace() {
    let its = Its::start();
    its.register("c1", "a");
    let again = its.ask(&identity("c1", "a"));
    let on_hub = |words: &str| its.host.run(&format!("clusteradm --context its1 {words}"));
    let refusal = on_hub("accept --clusters c1");
    let said = refusal.all();
    assert!(
        said.contains("with another key") && said.contains("--replace"),
        "{said}"
    );
    let said = on_hub("accept --clusters c1 --replace").ok();
    assert!(
        said.contains(&format!("CSR {} approved", again.name)),
        "{said}"
    );
    until_may_work(&its, &certificate(&its, "c1", "a", again));
}
