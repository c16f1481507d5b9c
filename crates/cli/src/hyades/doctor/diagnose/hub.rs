//! A hub from its own side: its programs, what new agents need, and each WEC.

use super::Programs;
use super::WEC_CONTEXT;
use super::WEC_NAME;
use super::known;
use super::registration;
use super::registration::Registration;
use super::restart_operator;
use super::words;
use crate::hyades::doctor::line::Check;
use crate::hyades::doctor::line::Line;
use crate::hyades::doctor::observed::HubSide;
use crate::hyades::doctor::observed::Observed;
use crate::hyades::doctor::observed::WecOnHub;

/// The lines about a hub.
pub fn lines(observed: &Observed, hub: &HubSide) -> Vec<Line> {
    let context = observed.context.as_str();
    let url = observed.own.url.as_str();
    let init = format!("clusteradm --context {context} init");
    let mut lines = vec![
        Line::passed(Check::Its, context, "it serves managedclusters"),
        Programs {
            check: Check::Operator,
            context,
            pods: &hub.operator,
            absent: "the hub's operator is not installed",
            install: init.clone(),
            warning: None,
        }
        .line(),
        Programs {
            check: Check::Hub,
            context,
            pods: &hub.controllers,
            absent: "the operator has not started the hub",
            install: restart_operator(context),
            warning: None,
        }
        .line(),
        cluster_info(observed, hub, &init),
    ];
    lines.extend(bootstrap(observed, hub, &init));
    match &hub.wecs {
        Err(trouble) => lines.push(super::unreadable(
            Check::Inventory,
            context,
            trouble,
            observed,
        )),
        Ok(wecs) if wecs.is_empty() => lines.push(Line::skipped(
            Check::Inventory,
            context,
            format!(
                "no cluster has asked to join yet; join one with: {}",
                observed.join_command(WEC_NAME, WEC_CONTEXT, context, url, "")
            ),
        )),
        Ok(wecs) => lines.extend(wecs.iter().flat_map(|wec| of_wec(observed, wec))),
    }
    if hub.wecs_left_out > 0 {
        lines.push(Line::skipped(
            Check::Inventory,
            context,
            format!(
                "{} more clusters were not looked at; name one with --cluster",
                hub.wecs_left_out
            ),
        ));
    }
    lines
}

fn cluster_info(observed: &Observed, hub: &HubSide, init: &str) -> Line {
    let (check, of) = (Check::ClusterInfo, observed.context.as_str());
    match known(&hub.cluster_info, check, of, observed) {
        Err(line) => line,
        Ok(Some(server)) => Line::passed(check, of, format!("names {server}")),
        Ok(None) => Line::failed(
            check,
            of,
            "the ConfigMap kube-public/cluster-info is missing or cannot be read: agents that join learn no authority, and find the server's certificate signed by nobody they know",
            init,
        ),
    }
}

fn bootstrap(observed: &Observed, hub: &HubSide, init: &str) -> Vec<Line> {
    let of = observed.context.as_str();
    let facts = &hub.bootstrap;
    let mut lines = Vec::new();
    let token = match (&facts.account, &facts.token) {
        (Err(trouble), _) | (_, Err(trouble)) => {
            super::unreadable(Check::Bootstrap, of, trouble, observed)
        }
        (Ok(true), _) => Line::passed(
            Check::Bootstrap,
            of,
            "the account of new agents exists; 'clusteradm get token' mints tokens of an hour",
        ),
        (Ok(false), Ok(Some(None))) => Line::passed(
            Check::Bootstrap,
            of,
            "there is a bootstrap token without end",
        ),
        (Ok(false), Ok(Some(Some(end)))) if *end > observed.now => Line::passed(
            Check::Bootstrap,
            of,
            format!(
                "there is a bootstrap token, which expires {}",
                words::relative(*end, observed.now)
            ),
        ),
        (Ok(false), Ok(Some(Some(end)))) => Line::failed(
            Check::Bootstrap,
            of,
            format!(
                "the bootstrap token expired {}",
                words::relative(*end, observed.now)
            ),
            format!("{init} --use-bootstrap-token"),
        ),
        (Ok(false), Ok(None)) => Line::failed(
            Check::Bootstrap,
            of,
            "there is neither an account nor a token for new agents",
            init,
        ),
    };
    lines.push(token);
    lines.push(
        match known(&facts.missing_rights, Check::Rbac, of, observed) {
            Err(line) => line,
            Ok(missing) if missing.is_empty() => {
                Line::passed(Check::Rbac, of, "new agents may ask to join")
            }
            Ok(missing) => Line::failed(
                Check::Rbac,
                of,
                format!("new agents may not {}", missing.join(", ")),
                init,
            ),
        },
    );
    lines
}

fn of_wec(observed: &Observed, wec: &WecOnHub) -> Vec<Line> {
    let context = observed.context.as_str();
    let name = wec.name.as_str();
    let on_wec = observed.context_of_wec(name);
    let registration = Registration {
        name,
        its: context,
        owner: wec.owner.as_deref(),
        ask: format!("hyades doctor --context {on_wec}"),
        join: observed.join_command(name, on_wec, context, &observed.own.url, ""),
        now: observed.now,
    };
    let (cluster, requests) = match (&wec.cluster, &wec.requests) {
        (Ok(cluster), Ok(requests)) => (cluster.as_ref(), requests),
        (Err(trouble), _) => {
            return vec![super::unreadable(Check::Inventory, name, trouble, observed)];
        }
        (_, Err(trouble)) => {
            return vec![super::unreadable(Check::Request, name, trouble, observed)];
        }
    };
    let is_joined = registration::is_joined(cluster);
    let mut lines = vec![registration.inventory(cluster, requests)];
    let Some(cluster) = cluster else { return lines };
    if cluster.metadata.deletion_timestamp.is_some() {
        lines.push(match known(&wec.works, Check::Removal, name, observed) {
            Ok(works) => registration.removal(cluster, *works),
            Err(line) => line,
        });
        return lines;
    }
    lines.push(registration.request(requests, is_joined));
    lines.push(registration.acceptance(cluster));
    if !cluster.spec.hub_accepts_client {
        let skipped = [Check::Rbac, Check::Lease, Check::Available];
        lines.extend(skipped.map(|check| Line::skipped(check, name, "it is not accepted")));
        return lines;
    }
    lines.push(rbac(observed, wec));
    let duration = i64::from(cluster.spec.effective_lease_duration_seconds());
    lines.push(match (&wec.lease, is_joined) {
        (Err(trouble), _) => super::unreadable(Check::Lease, name, trouble, observed),
        (Ok(Some(None)), false) => Line::skipped(Check::Lease, name, "it has not joined yet"),
        (Ok(renewed), _) => registration.lease(*renewed, duration),
    });
    lines.extend(registration.clock(cluster));
    lines.push(registration.available(cluster));
    lines
}

fn rbac(observed: &Observed, wec: &WecOnHub) -> Line {
    let (check, of) = (Check::Rbac, wec.name.as_str());
    let missing = match known(&wec.missing, check, of, observed) {
        Ok(missing) => missing,
        Err(line) => return line,
    };
    match missing.as_slice() {
        [] => Line::passed(check, of, "mailbox and rights stand"),
        missing => Line::failed(
            check,
            of,
            format!(
                "missing: {}; the hub makes them, and did not",
                missing.join(", ")
            ),
            format!(
                "kubectl --context {} -n open-cluster-management-hub rollout restart deployment",
                observed.context
            ),
        ),
    }
}
