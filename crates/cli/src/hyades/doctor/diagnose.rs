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
use crate::data_dir;
use crate::target::KnownContext;
use hyades_api::identity::ClusterName;
use hyades_api::names::namespaces;
use hyades_pki::Certificate;
use reach::Remedies;

// What a command needs and nothing at hand tells. A shell that is given such a command says what is
// missing, and runs nothing.

/// Stands in a command for the context of the hub, where no context is known to mean it.
const ITS_CONTEXT: &str = r#""${ITS:?set it to the context of the hub}""#;
/// Stands in a command for the context of a WEC.
const WEC_CONTEXT: &str = r#""${WEC:?set it to the context of the WEC}""#;
/// Stands in a command for the URL of the hub.
const HUB_URL: &str = r#""${HUB_URL:?set it to the URL that get token prints on the hub}""#;
/// Stands in a command for a name that nobody has chosen yet.
const WEC_NAME: &str = r#""${NAME:?set it to a name for the WEC}""#;
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
        let (its, url) = match &observed.only_hub {
            Some(hub) => (hub.name.as_str(), hub.server.as_str()),
            None => (ITS_CONTEXT, HUB_URL),
        };
        lines.push(Line::failed(
            Check::Its,
            context,
            "it is no hub (it serves no managedclusters; 'clusteradm init' makes it one), and no agent was installed in it",
            observed.join_command(observed.name_for_wec(), context, its, url, ""),
        ));
    }
    lines
}

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
    let space = observed.own.url.rsplit_once(SPACES).map(|(_, space)| space);
    let set_cluster = |flag: &str| {
        format!(
            "kubectl config set-cluster \"$(kubectl config view -o jsonpath='{{.contexts[?(@.name==\"{context}\")].context.cluster}}')\" {flag}"
        )
    };
    let set_url = set_cluster(r#"--server "${URL:?set it to the URL of the API server}""#);
    Remedies {
        url: match space {
            Some(_) => serve(observed, &observed.own.url),
            None => set_url.clone(),
        },
        path: match space {
            Some(_) => format!("hyades space list{}", folder_flag(observed)),
            None => set_url.clone(),
        },
        trust: set_cluster(
            r#"--certificate-authority "${CA_FILE:?set it to the PEM file of the authority}" --embed-certs"#,
        ),
        server_certificate: server_certificate(observed, &observed.own.url),
        credentials: match space {
            Some(space) => format!("hyades space kubeconfig {space}{}", folder_flag(observed)),
            None => format!(
                r#"kubectl config set-context {context} --user "${{ENTRY:?set it to one of kubectl config get-users}}""#
            ),
        },
    }
}

/// What renews the certificate of an API server, on its machine.
fn server_certificate(observed: &Observed, url: &str) -> String {
    match url.contains(SPACES) {
        true => format!(
            "hyades down{} && {}",
            folder_flag(observed),
            serve(observed, url)
        ),
        false => "kubeadm certs renew apiserver".to_owned(),
    }
}

/// What serves again what a host served at a URL.
fn serve(observed: &Observed, url: &str) -> String {
    let uri: Option<http::Uri> = url.parse().ok();
    let port = uri.as_ref().and_then(http::Uri::port_u16);
    let port = port.map(|port| format!(" --port {port}"));
    format!(
        "hyades serve --detach{}{}",
        port.unwrap_or_default(),
        folder_flag(observed)
    )
}

fn folder_flag(observed: &Observed) -> String {
    let folder = observed.data_dir.as_deref().map(data_dir::flag);
    folder.unwrap_or_default()
}

impl Observed {
    /// The context that means a server, if one does: by its URL, or by another URL of the same
    /// server, which has the same authority and path.
    fn context_of(&self, server: &str, authority: Option<&str>) -> Option<&KnownContext> {
        let same = |url: &str| url.trim_end_matches('/') == server.trim_end_matches('/');
        let of_url = |known: &&KnownContext| same(&known.server);
        let own = self
            .contexts
            .iter()
            .find(|known| known.name == self.context);
        let by_url = own.filter(of_url);
        if let Some(known) = by_url.or_else(|| self.contexts.iter().find(of_url)) {
            return Some(known);
        }
        let authority = authority?;
        let is_twin = |known: &&KnownContext| {
            let other = known.authority.as_deref();
            path(&known.server) == path(server)
                && other.is_some_and(|other| share_certificate(other, authority))
        };
        let mut twins = self.contexts.iter().filter(is_twin);
        let first = twins.next()?;
        // An authority of several servers tells nothing.
        twins
            .all(|other| other.server == first.server)
            .then_some(first)
    }

    /// A name for the WEC of the context: that of the context, if a WEC may be called so.
    fn name_for_wec(&self) -> &str {
        match self.context.parse::<ClusterName>() {
            Ok(_) => &self.context,
            Err(_) => WEC_NAME,
        }
    }

    /// The context of a WEC: one that is called like it, and is not the hub's.
    fn context_of_wec(&self, name: &str) -> &str {
        let is_it = |known: &&KnownContext| known.name == name && known.server != self.own.url;
        let known = self.contexts.iter().find(is_it);
        known.map_or(WEC_CONTEXT, |known| &known.name)
    }

    /// The command that joins a WEC (again), with a fresh token that it does not show.
    fn join_command(&self, name: &str, wec: &str, its: &str, url: &str, extra: &str) -> String {
        format!(
            "clusteradm --context {wec} join --cluster-name {name} --hub-apiserver {url} --hub-token \"$(clusteradm --context {its} get token | sed -n s/^token=//p)\"{extra}"
        )
    }
}

/// What follows the host in a URL, and a space is told by.
fn path(url: &str) -> String {
    let uri: Option<http::Uri> = url.parse().ok();
    let path = uri.as_ref().map_or("", http::Uri::path);
    path.trim_end_matches('/').to_owned()
}

fn share_certificate(one: &str, other: &str) -> bool {
    let parsed = |pem| Certificate::parse_pem_bundle(pem).unwrap_or_default();
    let others = parsed(other);
    let is_shared = |one: &Certificate| others.iter().any(|other| one.der() == other.der());
    parsed(one).iter().any(is_shared)
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
        if let Some(pod) = waiting.iter().find(|pod| pod.is_starting) {
            let facts = format!("{} has just started", pod.name);
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
