//! Both sides of a registration as the doctor sees them, healthy unless a test says otherwise.

use crate::hyades::doctor::observed::*;
use crate::target::KnownContext;
use hyades_api::cluster::ManagedCluster;
use hyades_api::operator::Klusterlet;
use jiff::SignedDuration;
use jiff::Timestamp;
use serde_json::json;
use std::time::Duration;

pub(super) const ITS_URL: &str = "https://hub.example:6443";
pub(super) const WEC_URL: &str = "https://wec.example:6443";

pub(super) fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().expect("a time")
}

pub(super) fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

pub(super) fn reach(url: &str) -> Reach {
    Reach {
        url: url.to_owned(),
        addresses: Tried::Done(vec!["10.0.0.1".parse().expect("an address")]),
        connected: Tried::Done(Duration::from_millis(1)),
        chain: Tried::Done(Chain {
            subject: "hub".to_owned(),
            not_before: ago(3600),
            not_after: ago(-365 * 24 * 3600),
            names: vec!["hub.example".to_owned()],
            trust: Some(Ok(())),
        }),
        answer: Tried::Done(Answer {
            version: Ok("v1.36.0".to_owned()),
            ahead_seconds: Some(0),
        }),
    }
}

pub(super) fn pods(namespace: &'static str, name: &str) -> Pods {
    Pods {
        namespace,
        deployments: Ok(vec![name.to_owned()]),
        pods: Ok(vec![PodFacts {
            name: format!("{name}-1"),
            is_ready: true,
            state: "Running".to_owned(),
            ..PodFacts::default()
        }]),
    }
}

pub(super) fn condition(type_: &str, status: &str, message: &str) -> serde_json::Value {
    json!({
        "type": type_, "status": status, "reason": "R", "message": message,
        "lastTransitionTime": "2026-11-24T11:00:00Z",
    })
}

pub(super) fn cluster(accepted: bool, conditions: &[serde_json::Value]) -> ManagedCluster {
    serde_json::from_value(json!({
        "metadata": {"name": "cluster1"},
        "spec": {"hubAcceptsClient": accepted},
        "status": {"conditions": conditions},
    }))
    .expect("a managed cluster")
}

pub(super) fn healthy_cluster() -> ManagedCluster {
    cluster(
        true,
        &[
            condition("HubAcceptedManagedCluster", "True", ""),
            condition("ManagedClusterJoined", "True", ""),
            condition("ManagedClusterConditionAvailable", "True", ""),
        ],
    )
}

pub(super) fn request(state: RequestState, requester: &str) -> Request {
    Request {
        name: "cluster1-abcde".to_owned(),
        requester: Some(requester.to_owned()),
        created: Some(ago(300)),
        state,
    }
}

pub(super) const AGENT: &str = "system:open-cluster-management:cluster1:a";

pub(super) fn wec_on_hub() -> WecOnHub {
    WecOnHub {
        name: "cluster1".to_owned(),
        cluster: Ok(Some(healthy_cluster())),
        requests: Ok(vec![request(RequestState::Issued, AGENT)]),
        owner: Some(AGENT.to_owned()),
        missing: Ok(vec![]),
        lease: Ok(Some(Some(ago(20)))),
        works: Ok(0),
    }
}

pub(super) fn hub_side(wec: WecOnHub) -> Observed {
    let hub = HubSide {
        operator: pods("open-cluster-management", "cluster-manager"),
        controllers: pods("open-cluster-management-hub", "hub"),
        cluster_info: Ok(Some(ITS_URL.to_owned())),
        bootstrap: BootstrapFacts {
            account: Ok(true),
            token: Ok(None),
            missing_rights: Ok(vec![]),
        },
        wecs: Ok(vec![wec]),
        wecs_left_out: 0,
    };
    Observed {
        now: now(),
        context: "its1".to_owned(),
        contexts: contexts(),
        only_hub: None,
        data_dir: None,
        own: reach(ITS_URL),
        hub: Ok(Some(hub)),
        wec: Ok(None),
    }
}

pub(super) fn contexts() -> Vec<KnownContext> {
    let context = |name: &str, server: &str| KnownContext {
        name: name.to_owned(),
        server: server.to_owned(),
        authority: None,
        has_credentials: true,
    };
    vec![context("its1", ITS_URL), context("cluster1", WEC_URL)]
}

pub(super) fn wec_side() -> WecSide {
    let klusterlet = json!({
        "metadata": {"name": "klusterlet"}, "spec": {"clusterName": "cluster1"},
    });
    let klusterlet: Klusterlet = serde_json::from_value(klusterlet).expect("a Klusterlet");
    WecSide {
        has_definition: true,
        klusterlet: Ok(Some(klusterlet)),
        is_served_by_host: false,
        operator: pods("open-cluster-management", "klusterlet"),
        agent: pods("open-cluster-management-agent", "klusterlet-agent"),
        last_warning: None,
        bootstrap: Ok(Some(Ok(Endpoint {
            server: ITS_URL.to_owned(),
            token: Some(TokenFacts::Account {
                subject: "system:serviceaccount:a:b".to_owned(),
                issued: Some(ago(600)),
                expires: Some(ago(-3000)),
            }),
        }))),
        own: Ok(None),
        stuck_works: Ok(vec![]),
        hub: Some(HubFromWec {
            reach: reach(ITS_URL),
            authority: None,
            identity: As::Newcomer,
            is_its: Ok(true),
            cluster: Ok(Some(healthy_cluster())),
            requests: Ok(vec![request(RequestState::Issued, AGENT)]),
            lease: None,
            token_answer: Some(Ok(())),
        }),
    }
}

pub(super) fn on_wec(wec: WecSide) -> Observed {
    Observed {
        now: now(),
        context: "cluster1".to_owned(),
        contexts: contexts(),
        only_hub: None,
        data_dir: None,
        own: reach(WEC_URL),
        hub: Ok(None),
        wec: Ok(Some(wec)),
    }
}

pub(super) fn hub_of(wec: &mut WecSide) -> &mut HubFromWec {
    wec.hub.as_mut().expect("a hub")
}
