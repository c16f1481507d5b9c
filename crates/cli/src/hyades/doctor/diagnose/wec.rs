//! A WEC from its own side: what was installed, what it presents, and the hub it presents it to.

use super::HUB_URL;
use super::ITS_CONTEXT;
use super::Programs;
use super::known;
use super::reach;
use super::reach::Remedies;
use super::registration;
use super::registration::Registration;
use super::restart_operator;
use super::words;
use crate::hyades::doctor::line::Check;
use crate::hyades::doctor::line::Line;
use crate::hyades::doctor::observed::As;
use crate::hyades::doctor::observed::Endpoint;
use crate::hyades::doctor::observed::HubFromWec;
use crate::hyades::doctor::observed::Observed;
use crate::hyades::doctor::observed::OwnFacts;
use crate::hyades::doctor::observed::Reach;
use crate::hyades::doctor::observed::TokenFacts;
use crate::hyades::doctor::observed::Tried;
use crate::hyades::doctor::observed::WecSide;
use hyades_runtime::Trouble;
use std::net::IpAddr;

/// Lines of the hub's reach speak of it under this name.
const HUB: &str = "its hub";

/// Lets the agent use the URL that the hub names itself.
const INNER_URL: &str = " --force-internal-endpoint-lookup";

/// What the commands about a WEC need.
struct Wec<'a> {
    observed: &'a Observed,
    side: &'a WecSide,
    /// The name it registers under.
    name: String,
    /// The context of its hub.
    its: String,
    /// URL of its hub, for a command that joins it again.
    url: String,
    /// What such a command needs besides, if that URL is not for the agent's pods.
    lookup: &'static str,
}

/// The lines about a WEC.
pub fn lines(observed: &Observed, side: &WecSide) -> Vec<Line> {
    let wec = Wec::of(observed, side);
    let context = observed.context.as_str();
    let mut lines = vec![
        wec.klusterlet(),
        Programs {
            check: Check::Operator,
            context,
            pods: &side.operator,
            absent: "the agent's operator is not installed",
            install: wec.join(),
            warning: None,
        }
        .line(),
        wec.agent(),
        wec.token(),
        wec.certificate(),
    ];
    if let Some(line) = wec.removal() {
        lines.push(line);
    }
    match &side.hub {
        None => lines.push(Line::skipped(
            Check::Dns,
            HUB,
            "no kubeconfig in the WEC says where it is",
        )),
        Some(hub) => lines.extend(wec.hub(hub)),
    }
    lines
}

impl<'a> Wec<'a> {
    fn of(observed: &'a Observed, side: &'a WecSide) -> Self {
        let of_klusterlet = match &side.klusterlet {
            Ok(Some(klusterlet)) => Some(klusterlet.spec.cluster_name.clone()),
            _ => None,
        };
        let name = own(side).map(|own| own.cluster.clone()).or(of_klusterlet);
        let hub = side.hub.as_ref();
        let its = hub.and_then(|hub| {
            let authority = hub.authority.as_deref();
            observed.context_of(&hub.reach.url, authority)
        });
        // The agent keeps its URL unless that is what is wrong.
        let url = match (hub.filter(|hub| is_api(&hub.reach)), its) {
            (Some(hub), _) => hub.reach.url.as_str(),
            (None, Some(known)) => &known.server,
            (None, None) => HUB_URL,
        };
        let lookup = match is_loopback(url) && !side.is_served_by_host {
            true => INNER_URL,
            false => "",
        };
        Self {
            observed,
            side,
            name: name
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| observed.name_for_wec().to_owned()),
            its: its.map_or(ITS_CONTEXT, |known| &known.name).to_owned(),
            url: url.to_owned(),
            lookup,
        }
    }

    fn context(&self) -> &str {
        &self.observed.context
    }

    fn join(&self) -> String {
        self.observed.join_command(
            &self.name,
            self.context(),
            &self.its,
            &self.url,
            self.lookup,
        )
    }

    fn klusterlet(&self) -> Line {
        let (check, of) = (Check::Klusterlet, self.context());
        if !self.side.has_definition {
            return Line::failed(
                check,
                of,
                "no matches for kind Klusterlet: its definition is missing, so the join did not get far",
                self.join(),
            );
        }
        match known(&self.side.klusterlet, check, of, self.observed) {
            Err(line) => line,
            Ok(None) => Line::failed(
                check,
                of,
                "there is no Klusterlet: the join did not get that far, or 'unjoin' took it away",
                self.join(),
            ),
            Ok(Some(found)) if found.metadata.deletion_timestamp.is_some() => Line::failed(
                check,
                of,
                "the Klusterlet is being deleted",
                format!(
                    "clusteradm --context {of} unjoin --cluster-name {}",
                    self.name
                ),
            ),
            Ok(Some(found)) => Line::passed(
                check,
                of,
                format!("registers as {:?}", found.spec.cluster_name),
            ),
        }
    }

    fn agent(&self) -> Line {
        let context = self.context();
        Programs {
            check: Check::Agent,
            context,
            pods: &self.side.agent,
            absent: "the operator has not started the agent",
            install: restart_operator(context),
            warning: self.side.last_warning.as_deref(),
        }
        .line()
    }

    fn token(&self) -> Line {
        let (check, of) = (Check::Token, self.context());
        let present = match known(&self.side.bootstrap, check, of, self.observed) {
            Ok(present) => present,
            Err(line) => return line,
        };
        let has_own = own(self.side).is_some_and(|own| own.not_after > self.observed.now);
        let endpoint = match present {
            Some(Ok(endpoint)) => endpoint,
            Some(Err(reason)) => return Line::failed(check, of, reason, self.join()),
            None if has_own => {
                return Line::skipped(check, of, "no longer needed: the agent has a certificate");
            }
            None => {
                return Line::failed(
                    check,
                    of,
                    "the Secret bootstrap-hub-kubeconfig is missing",
                    self.join(),
                );
            }
        };
        match self.token_problem(endpoint) {
            Ok(facts) => Line::passed(check, of, facts),
            Err(problem) if has_own => Line::skipped(
                check,
                of,
                format!("no longer needed: the agent has a certificate; {problem}"),
            ),
            Err(problem) => Line::failed(check, of, problem, self.join()),
        }
    }

    /// Facts about the token, or what is wrong with it.
    fn token_problem(&self, endpoint: &Endpoint) -> Result<String, String> {
        let now = self.observed.now;
        let facts = match &endpoint.token {
            None => return Err("the bootstrap kubeconfig holds no token".to_owned()),
            Some(TokenFacts::Unreadable) => {
                return Err(
                    "it is neither a service-account token nor a bootstrap token".to_owned(),
                );
            }
            Some(TokenFacts::Bootstrap) => "a bootstrap token".to_owned(),
            Some(TokenFacts::Account {
                subject,
                issued,
                expires,
            }) => {
                let age = issued.map(|at| format!(", issued {}", words::relative(at, now)));
                let age = age.unwrap_or_default();
                match expires {
                    Some(end) if *end <= now => {
                        return Err(format!(
                            "the token of {subject}{age}, expired {}",
                            words::relative(*end, now)
                        ));
                    }
                    Some(end) => {
                        format!("of {subject}{age}, expires {}", words::relative(*end, now))
                    }
                    None => format!("of {subject}{age}"),
                }
            }
        };
        let answer = self
            .side
            .hub
            .as_ref()
            .and_then(|hub| hub.token_answer.as_ref());
        match answer {
            Some(Err(trouble @ Trouble::Unauthorized(_))) => {
                Err(format!("{facts}; but the hub says: {trouble}"))
            }
            Some(Ok(())) => Ok(format!("{facts}; the hub accepts it")),
            _ => Ok(facts),
        }
    }

    fn certificate(&self) -> Line {
        let (check, of) = (Check::Certificate, self.context());
        let present = match known(&self.side.own, check, of, self.observed) {
            Ok(present) => present,
            Err(line) => return line,
        };
        let own = match present {
            None => return Line::skipped(check, of, "the agent has not got one yet"),
            Some(Err(reason)) => return Line::failed(check, of, reason, self.join()),
            Some(Ok(own)) => own,
        };
        let now = self.observed.now;
        if own.not_after <= now {
            let problem = format!(
                "the certificate of {} expired {}",
                own.common_name,
                words::relative(own.not_after, now)
            );
            return Line::failed(check, of, problem, self.join());
        }
        if own.not_before > now {
            return Line::failed(
                check,
                of,
                format!(
                    "the certificate of {} is valid only {}: the clocks disagree",
                    own.common_name,
                    words::relative(own.not_before, now)
                ),
                "sudo timedatectl set-ntp true",
            );
        }
        Line::passed(
            check,
            of,
            format!(
                "of {}, expires {}",
                own.common_name,
                words::relative(own.not_after, now)
            ),
        )
    }

    /// Works that hold up the removal of the agent.
    fn removal(&self) -> Option<Line> {
        let stuck = self.side.stuck_works.as_ref().ok()?;
        let first = stuck.first()?;
        Some(Line::failed(
            Check::Removal,
            self.context(),
            format!(
                "applied works are being removed and do not go: {}",
                stuck.join(", ")
            ),
            format!(
                "kubectl --context {} patch appliedmanifestwork {first} --type merge -p '{{\"metadata\":{{\"finalizers\":null}}}}'",
                self.context()
            ),
        ))
    }

    /// The hub, with the credentials in the WEC.
    fn hub(&self, hub: &HubFromWec) -> Vec<Line> {
        let remedies = self.remedies(&hub.reach.url);
        let mut lines = reach::lines(&hub.reach, HUB, self.observed.now, &remedies);
        if let Some(line) = self.loopback(hub) {
            // A loopback address answers here, and means another machine to the agent's pods.
            lines.insert(0, line);
        }
        if let Some(reason) = reach::obstacle(&lines) {
            let why = format!("the {reason} check failed");
            let skipped = [
                Check::Its,
                Check::Inventory,
                Check::Request,
                Check::Acceptance,
                Check::Lease,
                Check::Available,
            ];
            lines.extend(skipped.map(|check| Line::skipped(check, &self.name, &why)));
            return lines;
        }
        match &hub.is_its {
            Ok(true) => lines.push(Line::passed(Check::Its, HUB, "it serves managedclusters")),
            Ok(false) => {
                lines.push(Line::failed(
                    Check::Its,
                    HUB,
                    format!(
                        "{} is an API server and no hub: it serves no managedclusters",
                        hub.reach.url
                    ),
                    format!("clusteradm --context {} init", self.its),
                ));
                return lines;
            }
            Err(trouble) => {
                lines.push(super::unreadable(Check::Its, HUB, trouble, self.observed));
                return lines;
            }
        }
        lines.extend(self.registration(hub));
        lines
    }

    fn remedies(&self, url: &str) -> Remedies {
        Remedies {
            url: self.join(),
            path: self.join(),
            trust: self.join(),
            server_certificate: super::server_certificate(self.observed, url),
            credentials: self.join(),
        }
    }

    /// A URL that means the pod itself to the agent.
    fn loopback(&self, hub: &HubFromWec) -> Option<Line> {
        let addresses = match &hub.reach.addresses {
            Tried::Done(addresses) => addresses,
            _ => return None,
        };
        let is_loopback = !addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback);
        let works = hub.identity == As::Agent;
        (is_loopback && !self.side.is_served_by_host && !works).then(|| {
            Line::failed(
                Check::Dns,
                HUB,
                format!(
                    "the agent was given {}, which inside its pod means the pod itself",
                    hub.reach.url
                ),
                self.join(),
            )
        })
    }

    /// Rights that are missing: an agent gets them by acceptance, a newcomer by `init`.
    fn refused(&self, hub: &HubFromWec, trouble: &Trouble) -> Line {
        let (its, name) = (&self.its, &self.name);
        let (problem, fix) = match hub.identity {
            As::Agent => (
                "the agent may not read its own managed cluster",
                format!("clusteradm --context {its} accept --clusters {name}"),
            ),
            As::Newcomer => (
                "the hub lets new agents ask for nothing",
                format!("clusteradm --context {its} init"),
            ),
        };
        Line::failed(Check::Rbac, name, format!("{problem}: {trouble}"), fix)
    }

    fn registration(&self, hub: &HubFromWec) -> Vec<Line> {
        let registration = Registration {
            name: &self.name,
            its: &self.its,
            owner: None,
            ask: super::restart_agent(self.context()),
            join: self.join(),
            now: self.observed.now,
        };
        let of = self.name.as_str();
        let is_refused = |trouble: &Trouble| matches!(trouble, Trouble::Forbidden(_));
        let cluster = match &hub.cluster {
            Ok(cluster) => cluster.as_ref(),
            Err(trouble) if is_refused(trouble) => return vec![self.refused(hub, trouble)],
            Err(trouble) => {
                return vec![super::unreadable(
                    Check::Inventory,
                    of,
                    trouble,
                    self.observed,
                )];
            }
        };
        let requests = hub.requests.as_deref().unwrap_or_default();
        let mut lines = vec![registration.inventory(cluster, requests)];
        let is_joined = registration::is_joined(cluster);
        lines.push(match &hub.requests {
            Ok(requests) => registration.request(requests, is_joined),
            Err(trouble) => Line::skipped(Check::Request, of, trouble.to_string()),
        });
        let Some(cluster) = cluster else { return lines };
        lines.push(registration.acceptance(cluster));
        let duration = i64::from(cluster.spec.effective_lease_duration_seconds());
        lines.push(match &hub.lease {
            None => Line::skipped(
                Check::Lease,
                of,
                "only the agent's own certificate may see it",
            ),
            Some(Err(trouble)) => Line::skipped(Check::Lease, of, trouble.to_string()),
            Some(Ok(renewed)) => registration.lease(*renewed, duration),
        });
        lines.extend(registration.clock(cluster));
        lines.push(match cluster.spec.hub_accepts_client {
            true => registration.available(cluster),
            false => Line::skipped(Check::Available, of, "it is not accepted"),
        });
        lines
    }
}

/// Whether an API server answers there, be it with a refusal.
fn is_api(reach: &Reach) -> bool {
    let answer = reach.answer.done();
    answer.is_some_and(|answer| {
        let version = answer.version.as_ref();
        matches!(
            version,
            Ok(_) | Err(Trouble::Unauthorized(_) | Trouble::Forbidden(_))
        )
    })
}

/// Whether a URL means the machine that it is used on.
fn is_loopback(url: &str) -> bool {
    let uri: Option<http::Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The agent's own credentials, if there are any that can be read.
fn own(side: &WecSide) -> Option<&OwnFacts> {
    side.own.as_ref().ok()?.as_ref()?.as_ref().ok()
}
