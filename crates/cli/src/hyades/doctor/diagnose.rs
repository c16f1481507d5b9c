//! What is wrong, from what was observed. Pure.
//!
//! ```text
//! Observed ─▶ reach: dns, tcp, tls, path, version, clock, access ─┬▶ hub: pods, bootstrap, each WEC
//!                                                                 └▶ wec: pods, token, the hub again
//! ```
//!
//! A check that depends on one that failed is skipped and says so, so that the first failed line
//! is the place to begin.

mod hub;
mod reach;
mod registration;
mod wec;
mod words;

use super::line::Check;
use super::line::Line;
use super::observed::Observed;
use super::observed::PodFacts;
use super::observed::Pods;
use super::observed::Read;
use hyades_api::names::namespaces;
use reach::Remedies;

/// Stands in a command for the context of the hub, where no context is known to mean it.
const ITS_CONTEXT: &str = "<its-context>";
/// Stands in a command for the context of a WEC.
const WEC_CONTEXT: &str = "<wec-context>";
/// Stands in a command for the URL of the hub.
const HUB_URL: &str = "<hub-url>";
/// Part of the URL of every space that a host serves.
const SPACES: &str = "/spaces/";

/// All lines about what was observed, in the order in which things depend on each other.
pub fn diagnose(observed: &Observed) -> Vec<Line> {
    let context = observed.context.as_str();
    let mut lines = reach::lines(
        &observed.own,
        context,
        observed.now,
        &own_remedies(observed),
    );
    if let Some(reason) = reach::obstacle(&lines) {
        lines.push(Line::skipped(
            Check::Its,
            context,
            format!("the {reason} check failed"),
        ));
        return lines;
    }
    match &observed.hub {
        Ok(Some(hub)) => lines.extend(hub::lines(observed, hub)),
        Ok(None) => {}
        Err(trouble) => lines.push(unreadable(Check::Its, context, trouble, observed)),
    }
    match &observed.wec {
        Ok(Some(wec)) => lines.extend(wec::lines(observed, wec)),
        Ok(None) => {}
        Err(trouble) => lines.push(unreadable(Check::Klusterlet, context, trouble, observed)),
    }
    if matches!((&observed.hub, &observed.wec), (Ok(None), Ok(None))) {
        lines.push(Line::failed(
            Check::Its,
            context,
            "it is no hub (it serves no managedclusters; 'clusteradm init' makes it one), and no agent was installed in it",
            observed.join_command(WEC_NAME, context, ITS_CONTEXT, ""),
        ));
    }
    lines
}

/// Stands in a command for a name that nobody has chosen yet.
const WEC_NAME: &str = "<cluster_name>";

/// What may not be read is told with the right that is missing.
fn unreadable(
    check: Check,
    of: &str,
    trouble: &hyades_runtime::Trouble,
    observed: &Observed,
) -> Line {
    let fix = format!("kubectl --context {} auth whoami", observed.context);
    Line::failed(check, of, format!("it could not be read: {trouble}"), fix)
}

fn own_remedies(observed: &Observed) -> Remedies {
    let context = &observed.context;
    let is_served = observed.own.url.contains(SPACES);
    let set_cluster = |flag: &str| {
        format!(
            "kubectl config set-cluster \"$(kubectl config view -o jsonpath='{{.contexts[?(@.name==\"{context}\")].context.cluster}}')\" {flag}"
        )
    };
    Remedies {
        url: match is_served {
            true => "hyades up --detach".to_owned(),
            false => set_cluster("--server <url>"),
        },
        trust: set_cluster("--certificate-authority <file> --embed-certs"),
        server_certificate: server_certificate(is_served),
        credentials: match observed.own.url.rsplit_once(SPACES) {
            Some((_, space)) => format!("hyades space kubeconfig {space}"),
            None => format!("kubectl config set-context {context} --user <user>"),
        },
    }
}

/// What renews the certificate of an API server, on its machine.
fn server_certificate(is_served: bool) -> String {
    let command = match is_served {
        true => "hyades down && hyades up --detach",
        false => "kubeadm certs renew apiserver",
    };
    command.to_owned()
}

impl Observed {
    /// The context that means this server; `otherwise` if none does.
    fn context_of<'a>(&'a self, server: &str, otherwise: &'a str) -> &'a str {
        let same = |url: &str| url.trim_end_matches('/') == server.trim_end_matches('/');
        if same(&self.own.url) {
            return &self.context;
        }
        let known = self.contexts.iter().find(|known| same(&known.server));
        known.map_or(otherwise, |known| &known.name)
    }

    /// The context of a WEC: one that is called like it, and is not the hub's.
    fn context_of_wec(&self, name: &str) -> &str {
        let is_it = |known: &&crate::target::KnownContext| {
            known.name == name && known.server != self.own.url
        };
        let known = self.contexts.iter().find(is_it);
        known.map_or(WEC_CONTEXT, |known| &known.name)
    }

    /// The command that joins a WEC (again), with a fresh token that it does not show.
    fn join_command(&self, name: &str, wec: &str, its: &str, extra: &str) -> String {
        let known = self.contexts.iter().find(|known| known.name == its);
        let url = match its == self.context {
            true => self.own.url.as_str(),
            false => known.map_or(HUB_URL, |known| &known.server),
        };
        format!(
            "clusteradm --context {wec} join --cluster-name {name} --hub-apiserver {url} --hub-token \"$(clusteradm --context {its} get token | sed -n s/^token=//p)\"{extra}"
        )
    }
}

/// The programs of one purpose, and what to do about them.
struct Programs<'a> {
    check: Check,
    context: &'a str,
    pods: &'a Pods,
    /// What it means that there are none.
    absent: &'a str,
    /// The command that brings them.
    install: String,
    /// The last warning about them, if one is known.
    warning: Option<&'a str>,
}

impl Programs<'_> {
    /// The line about them: whether a pod is ready, and what its log says last.
    fn line(&self) -> Line {
        match &self.pods.pods {
            Err(trouble) => self.failed(
                format!("its pods could not be listed: {trouble}"),
                "auth can-i list pods",
            ),
            Ok(found) if found.is_empty() => self.without_pods(),
            Ok(found) => self.with_pods(found),
        }
    }

    fn failed(&self, problem: String, command: &str) -> Line {
        let (context, namespace) = (self.context, self.pods.namespace);
        let fix = format!("kubectl --context {context} -n {namespace} {command}");
        Line::failed(self.check, context, problem, fix)
    }

    fn without_pods(&self) -> Line {
        match &self.pods.deployments {
            Ok(deployments) if !deployments.is_empty() => self.failed(
                format!("the Deployment {} has no pods", deployments.join(", ")),
                &format!("scale deployment {} --replicas 1", deployments.join(" ")),
            ),
            _ => {
                let problem = format!("{} in {}", self.absent, self.pods.namespace);
                Line::failed(self.check, self.context, problem, &self.install)
            }
        }
    }

    fn with_pods(&self, found: &[PodFacts]) -> Line {
        let (ready, waiting): (Vec<&PodFacts>, Vec<&PodFacts>) =
            found.iter().partition(|pod| pod.is_ready);
        if !ready.is_empty() {
            let names: Vec<&str> = ready.iter().map(|pod| pod.name.as_str()).collect();
            let facts = format!("{} ready{}", names.join(", "), last_error(&ready));
            return Line::passed(self.check, self.context, facts);
        }
        let states: Vec<String> = waiting
            .iter()
            .map(|pod| format!("{} is {}", pod.name, pod.state))
            .collect();
        let warning = self.warning.map(|words| format!("; last warning: {words}"));
        self.failed(
            format!(
                "{}{}{}",
                states.join(", "),
                last_error(&waiting),
                warning.unwrap_or_default()
            ),
            "rollout restart deployment",
        )
    }
}

fn last_error(pods: &[&PodFacts]) -> String {
    let last = pods.iter().find_map(|pod| pod.last_error.as_ref());
    last.map(|line| format!("; last error in its log: {line}"))
        .unwrap_or_default()
}

/// The value of a read, or the line that says why there is none.
fn known<'a, T>(
    read: &'a Read<T>,
    check: Check,
    of: &str,
    observed: &Observed,
) -> Result<&'a T, Line> {
    read.as_ref()
        .map_err(|trouble| unreadable(check, of, trouble, observed))
}

/// The command that restarts an operator.
fn restart_operator(context: &str) -> String {
    format!(
        "kubectl --context {context} -n {} rollout restart deployment",
        namespaces::OPERATOR
    )
}

/// The command that restarts the agent.
fn restart_agent(context: &str) -> String {
    format!(
        "kubectl --context {context} -n {} rollout restart deployment",
        namespaces::AGENT
    )
}

#[cfg(test)]
mod tests;
