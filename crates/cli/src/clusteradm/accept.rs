//! `clusteradm accept`: lets clusters that asked into the hub.
//!
//! ```text
//! inventory object ─┐
//! requests ─────────┼▶ decide ▶ approve each ▶ set hubAcceptsClient ▶ text
//! pinned name ──────┘
//! ```
//!
//! Requests are approved first: a hub that sees an accepted cluster gives rights to whoever holds
//! its approved request.

mod decide;
mod replace;
mod watch;

use super::flags::ClusterOption;
use super::preflight;
use super::session::Session;
use crate::wait;
use crate::wait::Look;
use anyhow::anyhow;
use anyhow::bail;
use decide::Wish;
use decide::decide;
use decide::has;
use hyades_api::cluster::ManagedCluster;
use hyades_api::names::annotations;
use hyades_api::names::labels;
use hyades_runtime::Trouble;
use hyades_runtime::k8s_openapi::api::authentication::v1::SelfSubjectReview;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use serde_json::json;

/// Set by agents that register with AWS IAM; they make no request to approve.
const AWS_ARN: &str = "agent.open-cluster-management.io/managed-cluster-arn";

/// The command line.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AcceptArgs {
    #[command(flatten)]
    clusters: ClusterOption,
    /// Wait until there is something to accept
    #[arg(long)]
    wait: bool,
    /// Approve every request for the cluster, whoever made it
    #[arg(long)]
    skip_approve_check: bool,
    /// Common names whose requests are approved
    #[arg(long, value_delimiter = ',')]
    requesters: Vec<String>,
    /// Keep accepting clusters as they ask, all or those named, until Ctrl-C
    #[arg(long, conflicts_with_all = ["wait", "replace"])]
    watch: bool,
    /// Hand the cluster's name over from the agent that owns it to the one that asks for it; the
    /// former is refused from then on
    #[arg(long)]
    replace: bool,
}

/// Why a cluster was not accepted: several reasons are told together.
#[derive(Debug, Default)]
struct Failures(Vec<String>);

impl Failures {
    fn conclude(self) -> anyhow::Result<()> {
        match self.0.as_slice() {
            [] => Ok(()),
            [one] => Err(anyhow!("{one}")),
            several => Err(anyhow!("[{}]", several.join(", "))),
        }
    }
}

/// What one attempt came to.
enum Attempt {
    Accepted,
    NothingApproved,
}

/// What becomes of a cluster none of whose requests is approved.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unapproved {
    /// It is accepted all the same, as upstream does, and the lines on the terminal say why it gets
    /// no certificate yet.
    Accept,
    /// It is left alone, and those lines are the error: nobody reads this attempt's terminal, and an
    /// accepted cluster without a certificate looks settled to whoever comes later.
    Refuse,
}

/// What approving came to.
struct Approved {
    /// Whether anything is approved now.
    any: bool,
    /// Why not more is.
    reasons: Vec<String>,
}

impl Approved {
    fn all() -> Self {
        Self {
            any: true,
            reasons: Vec::new(),
        }
    }

    /// # Errors
    ///
    /// Nothing is approved, and such a cluster is not to be accepted.
    fn check(&self, cluster: &str, unapproved: Unapproved) -> anyhow::Result<()> {
        if self.any || unapproved == Unapproved::Accept {
            return Ok(());
        }
        match self.reasons.as_slice() {
            [] => bail!("no csr is approved yet for cluster {cluster}"),
            reasons => bail!("{}", reasons.join("; ")),
        }
    }
}

/// Runs `accept`.
///
/// # Errors
///
/// Not a hub; for each cluster, what failed.
pub async fn run(session: &Session, args: &AcceptArgs) -> anyhow::Result<()> {
    let clusters = match args.watch {
        true => args.clusters.optional()?,
        false => args.clusters.required()?,
    };
    session.announce_dry_run();
    preflight::is_hub(&session.target).await?;
    if args.watch {
        return watch::run(session, args, &clusters).await;
    }
    let mut failures = Failures::default();
    let mut unknown = Vec::new();
    for cluster in &clusters {
        if args.wait {
            let waited = wait_and_accept(session, args, cluster).await;
            let advice = |error| {
                format!(
                    "{error:#}; run '{} join' on the cluster, and 'hyades doctor' where it has not asked since",
                    session.header
                )
            };
            failures.0.extend(waited.err().map(advice));
            continue;
        }
        match accept(session, args, cluster, Unapproved::Accept).await {
            Ok(Attempt::Accepted) => continue,
            Ok(Attempt::NothingApproved) => {}
            Err(Failure { text, not_found }) => {
                failures.0.push(text);
                unknown.extend(not_found.then_some(cluster.as_str()));
            }
        }
        failures
            .0
            .push(format!("no csr is approved yet for cluster {cluster}"));
    }
    failures.conclude().map_err(|error| match unknown.is_empty() {
        true => error,
        false => anyhow!(
            "{error}\nNo cluster asked to join as {}: run '{} join' on the cluster first, or add --wait if that has just been done; 'kubectl get managedclusters' lists those that asked.",
            unknown.join(", "),
            session.header
        ),
    })
}

async fn wait_and_accept(
    session: &Session,
    args: &AcceptArgs,
    cluster: &str,
) -> anyhow::Result<()> {
    let what = format!("cluster {cluster} to ask for acceptance");
    wait::until(&what, session.timeout, || async {
        Ok(
            match accept(session, args, cluster, Unapproved::Accept).await {
                Ok(Attempt::Accepted) => Look::Done(()),
                Ok(Attempt::NothingApproved) => {
                    Look::NotYet(format!("no csr is approved yet for cluster {cluster}"))
                }
                // A cluster that has not asked yet is what is waited for; other troubles pass too.
                Err(failure) => Look::NotYet(failure.text),
            },
        )
    })
    .await
}

/// Why an attempt failed.
struct Failure {
    text: String,
    /// Whether the reason is that the cluster never asked.
    not_found: bool,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self {
            text: format!("{error:#}"),
            not_found: false,
        }
    }
}

/// The server's own words, which upstream prints, or else an explanation.
fn words(session: &Session, tried: &str, error: &kube::Error) -> Failure {
    let trouble = hyades_runtime::Trouble::of(error);
    let text = match error {
        kube::Error::Api(status) if !status.message.is_empty() => {
            format!("{tried}: {}", status.message)
        }
        _ => format!("{:#}", session.target.explain(tried, error)),
    };
    Failure {
        text,
        not_found: trouble.is_not_found(),
    }
}

async fn accept(
    session: &Session,
    args: &AcceptArgs,
    cluster: &str,
    unapproved: Unapproved,
) -> Result<Attempt, Failure> {
    let clusters: Api<ManagedCluster> = Api::all(session.target.client.clone());
    let found = clusters.get(cluster).await.map_err(|error| {
        words(
            session,
            &format!("fail to get managedcluster {cluster}"),
            &error,
        )
    })?;
    let approved = match found.annotations().contains_key(AWS_ARN) {
        true => Approved::all(),
        false => approve(session, args, cluster).await?,
    };
    approved.check(cluster, unapproved)?;
    let console = session.console;
    if found.spec.hub_accepts_client {
        console.line(format!(
            "hubAcceptsClient already set for managed cluster {cluster}"
        ));
    } else {
        if !session.dry_run {
            let by = user(session).await;
            let patch = Patch::Merge(json!({
                "metadata": {"annotations": {annotations::ACCEPTED_BY: by}},
                "spec": {"hubAcceptsClient": true},
            }));
            clusters
                .patch(cluster, &PatchParams::default(), &patch)
                .await
                .map_err(|error| {
                    words(
                        session,
                        &format!("fail to accept managedcluster {cluster}"),
                        &error,
                    )
                })?;
        }
        console.line(format!(
            "set hubAcceptsClient to true for managed cluster {cluster}"
        ));
    }
    console.line(format!(
        "\n Your managed cluster {cluster} has joined the Hub successfully. Visit https://open-cluster-management.io/scenarios or https://github.com/open-cluster-management-io/OCM/tree/main/solutions for next steps."
    ));
    Ok(match approved.any {
        true => Attempt::Accepted,
        false => Attempt::NothingApproved,
    })
}

/// Approves what there is to approve.
async fn approve(session: &Session, args: &AcceptArgs, cluster: &str) -> Result<Approved, Failure> {
    let target = &session.target;
    let api: Api<CertificateSigningRequest> = Api::all(target.client.clone());
    let selector = format!("{} = {cluster}", labels::CLUSTER_NAME);
    let requests = api
        .list(&ListParams::default().labels(&selector))
        .await
        .map_err(|error| {
            words(
                session,
                &format!("fail to list csrs of cluster {cluster}"),
                &error,
            )
        })?
        .items;
    let pinned = replace::pinned(session, cluster).await;
    if args.replace {
        let Some(pinned) = &pinned else {
            let text = format!(
                "the name {cluster} belongs to no agent: accept it without --replace, or see with 'kubectl get namespace {cluster} -o yaml' whether you may read the mailbox"
            );
            return Err(anyhow!(text).into());
        };
        if replace::hand_over(session, args, cluster, &requests, pinned).await? {
            return Ok(Approved::all());
        }
    }
    let wish = Wish {
        skip_approve_check: args.skip_approve_check,
        requesters: &args.requesters,
        pinned: pinned.as_ref(),
        replace: args.replace,
    };
    let decision = decide(cluster, &requests, &wish);
    let console = session.console;
    decision.lines.iter().for_each(|line| console.line(line));
    decision.warnings.iter().for_each(|line| console.warn(line));
    let taken = Failures(decision.refused).conclude();
    if decision.approve.is_empty() {
        taken?;
        if let Some(pinned) = pinned.filter(|_| args.replace) {
            let agent = pinned.agent;
            console.line(format!(
                "nothing is replaced: no other agent or key asks for the name {cluster}, which stays with {agent}"
            ));
        }
        if args.wait {
            console.line(format!("no CSR to approve for cluster {cluster}"));
        }
        return Ok(Approved {
            any: decision.approved_already,
            reasons: [decision.lines, decision.warnings].concat(),
        });
    }
    console.line(format!("Starting approve csrs for the cluster {cluster}"));
    for name in &decision.approve {
        let request = requests.iter().find(|request| &request.name_any() == name);
        if let Some(request) = request.filter(|_| !session.dry_run) {
            put_approval(session, &api, request)
                .await
                .map_err(|error| {
                    let tried = format!("fail to approve the csr for cluster {cluster}");
                    words(session, &tried, &error)
                })?;
        }
        console.line(format!("CSR {name} approved"));
    }
    taken?;
    Ok(Approved::all())
}

async fn put_approval(
    session: &Session,
    api: &Api<CertificateSigningRequest>,
    request: &CertificateSigningRequest,
) -> kube::Result<()> {
    let header = &session.header;
    let mut approved = request.clone();
    let status = approved.status.get_or_insert_default();
    let condition = json!({
        "type": "Approved",
        "status": "True",
        "reason": format!("{header} Approve"),
        "message": format!("This CSR was approved by {header} certificate approve."),
        "lastUpdateTime": Time(jiff::Timestamp::now()),
    });
    let condition = serde_json::from_value(condition).map_err(kube::Error::SerdeError)?;
    status.conditions.get_or_insert_default().push(condition);
    let name = request.name_any();
    let parameters = PostParams::default();
    let put = api.replace_subresource("approval", &name, &parameters, &approved);
    let Err(error) = put.await else {
        return Ok(());
    };
    // The hub approves some requests by itself, perhaps in this very moment.
    match Trouble::of(&error).is_conflict() && has(&api.get(&name).await?, "Approved") {
        true => Ok(()),
        false => Err(error),
    }
}

/// Who accepts, for the Event that tells. A server that does not say leaves the command's name.
async fn user(session: &Session) -> String {
    let header = &session.header;
    let api: Api<SelfSubjectReview> = Api::all(session.target.client.clone());
    let review = api
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await;
    let status = review.ok().and_then(|review| review.status);
    let name = status.and_then(|status| status.user_info?.username);
    match name {
        Some(name) => format!("{name}, with {header}"),
        None => header.clone(),
    }
}

/// Accepts one cluster as a step of another command, which has seen it ask.
///
/// # Errors
///
/// What failed, or that nothing was there to approve.
pub async fn accept_quietly(session: &Session, cluster: &str) -> anyhow::Result<()> {
    match accept(session, &AcceptArgs::default(), cluster, Unapproved::Refuse).await {
        Ok(Attempt::Accepted) => Ok(()),
        Ok(Attempt::NothingApproved) => bail!("no csr is approved yet for cluster {cluster}"),
        Err(failure) => bail!(failure.text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_without_an_approved_request_is_not_accepted_where_nobody_reads_why() {
        let nothing = Approved {
            any: false,
            reasons: vec!["There are CSRs of different requesters".to_owned()],
        };
        assert!(nothing.check("c1", Unapproved::Accept).is_ok());
        let error = nothing.check("c1", Unapproved::Refuse);
        let error = error.expect_err("refused").to_string();
        assert_eq!(error, "There are CSRs of different requesters");
        let silent = Approved {
            any: false,
            reasons: Vec::new(),
        };
        let error = silent.check("c1", Unapproved::Refuse);
        let error = error.expect_err("refused").to_string();
        assert_eq!(error, "no csr is approved yet for cluster c1");
        assert!(Approved::all().check("c1", Unapproved::Refuse).is_ok());
    }
}
