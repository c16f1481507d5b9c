//! `accept --replace`: hands a cluster's name over from the agent that owns it to another one.
//!
//! The command names the new agent on the mailbox. The hub approves that agent's next request with the key it showed, moves
//! all rights to it in the same moment, and refuses the old agent from then on.

use super::AcceptArgs;
use super::Failure;
use super::decide::Pinned;
use super::decide::heir;
use super::words;
use crate::clusteradm::session::Session;
use crate::wait;
use crate::wait::Look;
use anyhow::anyhow;
use hyades_api::names::annotations;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use jiff::SignedDuration;
use jiff::Timestamp;
use serde_json::json;

/// How long the new agent has to take over: as long as the bootstrap token with which it asks.
/// Without an end, whoever asks months later with the same common name could have the name.
const HAND_OVER_HOURS: i64 = 1;

/// The agent to which the hub has pinned the cluster's name. Who may not read it approves without
/// it; the hub itself decides in any case.
pub(super) async fn pinned(session: &Session, cluster: &str) -> Option<Pinned> {
    let api: Api<Namespace> = Api::all(session.target.client.clone());
    let mailbox = api.get_opt(cluster).await.ok()??;
    let text = |key: &str| mailbox.annotations().get(key).cloned();
    Some(Pinned {
        agent: text(annotations::PINNED_AGENT)?,
        key_sha256: text(annotations::PINNED_KEY).unwrap_or_default(),
    })
}

/// Hands the name over, if another agent asks for it; whether one does.
pub(super) async fn hand_over(
    session: &Session,
    args: &AcceptArgs,
    cluster: &str,
    requests: &[CertificateSigningRequest],
    pinned: &Pinned,
) -> Result<bool, Failure> {
    let (requesters, any_key) = (&args.requesters, args.skip_approve_check);
    let found = heir(cluster, requests, pinned, requesters, any_key);
    let Some(heir) = found.map_err(|why| anyhow!(why))? else {
        return Ok(false);
    };
    let key = (!any_key).then_some(&heir.key_sha256);
    let heir = &heir.agent;
    let api: Api<Namespace> = Api::all(session.target.client.clone());
    let until = Timestamp::now() + SignedDuration::from_hours(HAND_OVER_HOURS);
    if !session.dry_run {
        let patch = json!({"metadata": {"annotations": {
            annotations::HAND_OVER_TO: heir,
            annotations::HAND_OVER_TO_KEY: key,
            annotations::HAND_OVER_UNTIL: format!("{until:.0}"),
        }}});
        api.patch(cluster, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map_err(|error| {
                let tried = format!("fail to hand over the name of cluster {cluster}");
                words(session, &tried, &error)
            })?;
    }
    let request = match key {
        Some(_) => {
            "its next request with the same key (an agent of OCM's makes a key for each request: run this with --skip-approve-check for one)"
        }
        None => "its next request, whatever the key",
    };
    session.console.line(format!(
        "the name {cluster} is handed over from {} to {heir}, which gets it with {request} until {until:.0}; the former is refused from then on",
        pinned.agent
    ));
    if args.wait && !session.dry_run {
        let what = format!("{heir} to take over the name {cluster}");
        wait::until(&what, session.timeout, || async {
            let owner = self::pinned(session, cluster).await;
            Ok(match owner.map(|owner| owner.agent) {
                Some(agent) if agent == *heir => Look::Done(()),
                Some(agent) => Look::NotYet(format!("the name belongs to {agent}")),
                None => Look::NotYet("the name belongs to nobody".to_owned()),
            })
        })
        .await?;
    }
    Ok(true)
}
