//! The way to a server: one line a step, and nothing behind a step that failed.

use super::words;
use crate::hyades::doctor::line::Check;
use crate::hyades::doctor::line::Line;
use crate::hyades::doctor::observed::Answer;
use crate::hyades::doctor::observed::Chain;
use crate::hyades::doctor::observed::Reach;
use crate::hyades::doctor::observed::Tried;
use hyades_runtime::Trouble;
use jiff::Timestamp;

/// Seconds that two clocks may be apart: what API servers tolerate in the times of a token.
const CLOCK_SKEW_SECONDS_MAX: i64 = 60;

/// A certificate that ends sooner is a failure to come, in seconds: a day, so that whoever looks
/// daily sees it.
const CERTIFICATE_SECONDS_MIN: i64 = 24 * 3600;

/// Oldest release of Kubernetes with every API that is used here: `certificates.k8s.io/v1`.
const VERSION_MIN: (u32, u32) = (1, 19);

/// The commands that mend the way to a server.
#[derive(Debug)]
pub struct Remedies {
    /// For a URL at which no server answers.
    pub url: String,
    /// For a server that answers there, and serves no API at the URL's path.
    pub path: String,
    /// For an authority that did not sign the server's certificate.
    pub trust: String,
    /// For a certificate of the server that is out of date.
    pub server_certificate: String,
    /// For credentials that the server does not accept.
    pub credentials: String,
}

/// The lines about the way to a server.
pub fn lines(reach: &Reach, of: &str, now: Timestamp, remedies: &Remedies) -> Vec<Line> {
    let mut lines = vec![
        step(Check::Dns, of, &reach.addresses, &remedies.url, |found| {
            let addresses: Vec<String> = found.iter().map(ToString::to_string).collect();
            format!("{} is {}", host(&reach.url), addresses.join(", "))
        }),
        step(Check::Tcp, of, &reach.connected, &remedies.url, |took| {
            format!("connected in {:.1} ms", took.as_secs_f64() * 1e3)
        }),
        tls(&reach.chain, of, now, remedies),
    ];
    match &reach.answer {
        Tried::Not(why) => {
            let skipped = [Check::Path, Check::Version, Check::Clock, Check::Access];
            lines.extend(skipped.map(|check| Line::skipped(check, of, *why)));
        }
        Tried::Failed(reason) => {
            lines.push(Line::failed(Check::Path, of, reason, &remedies.url));
        }
        Tried::Done(answer) => lines.extend(answered(answer, reach, of, remedies)),
    }
    lines
}

/// The first check that failed, if one did that keeps everything else from being asked.
pub fn obstacle(lines: &[Line]) -> Option<&'static str> {
    let is_obstacle =
        |line: &&Line| line.is_failed() && !matches!(line.check, Check::Clock | Check::Version);
    lines.iter().find(is_obstacle).map(|line| line.check.name())
}

fn step<T>(
    check: Check,
    of: &str,
    tried: &Tried<T>,
    fix: &str,
    facts: impl FnOnce(&T) -> String,
) -> Line {
    match tried {
        Tried::Done(value) => Line::passed(check, of, facts(value)),
        Tried::Failed(reason) => Line::failed(check, of, reason, fix),
        Tried::Not(why) => Line::skipped(check, of, *why),
    }
}

fn tls(chain: &Tried<Chain>, of: &str, now: Timestamp, remedies: &Remedies) -> Line {
    let chain = match chain {
        Tried::Done(chain) => chain,
        other => {
            return step(Check::Tls, of, other, &remedies.url, |_| String::new());
        }
    };
    let failed =
        |problem: String| Line::failed(Check::Tls, of, problem, &remedies.server_certificate);
    if now < chain.not_before {
        return failed(format!(
            "the certificate of {} is valid from {} only, {} by this machine's clock",
            chain.subject,
            chain.not_before,
            words::relative(chain.not_before, now)
        ));
    }
    if now > chain.not_after {
        return failed(format!(
            "the certificate of {} expired at {}, {}",
            chain.subject,
            chain.not_after,
            words::relative(chain.not_after, now)
        ));
    }
    if let Some(Err(reason)) = &chain.trust {
        return Line::failed(Check::Tls, of, reason, &remedies.trust);
    }
    let left = chain.not_after.as_second() - now.as_second();
    if left < CERTIFICATE_SECONDS_MIN {
        return failed(format!(
            "the certificate of {} expires {}",
            chain.subject,
            words::relative(chain.not_after, now)
        ));
    }
    let trust = match chain.trust {
        Some(_) => "trusted",
        None => "shown",
    };
    let facts = format!("{trust}, valid for {} more", words::seconds(left));
    Line::passed(Check::Tls, of, facts)
}

fn answered(answer: &Answer, reach: &Reach, of: &str, remedies: &Remedies) -> Vec<Line> {
    let mut lines = Vec::new();
    let path = |facts: String| Line::passed(Check::Path, of, facts);
    match &answer.version {
        Ok(version) => {
            lines.push(path(format!("a Kubernetes API answers at {}", reach.url)));
            lines.push(self::version(version, of));
        }
        // Whoever refuses credentials has an API to protect.
        Err(trouble @ (Trouble::Unauthorized(_) | Trouble::Forbidden(_))) => {
            lines.push(path(format!("an API answers at {}", reach.url)));
            lines.push(Line::skipped(
                Check::Version,
                of,
                "it is told to nobody else",
            ));
            lines.push(clock(answer.ahead_seconds, of));
            let problem = trouble.to_string();
            lines.push(Line::failed(
                Check::Access,
                of,
                problem,
                &remedies.credentials,
            ));
            return lines;
        }
        Err(trouble @ Trouble::Untrusted(_)) => {
            let problem = trouble.to_string();
            lines.push(Line::failed(Check::Tls, of, problem, &remedies.trust));
            return lines;
        }
        Err(trouble) => {
            let problem = format!("{}: {trouble}", reach.url);
            lines.push(Line::failed(Check::Path, of, problem, &remedies.path));
            return lines;
        }
    }
    lines.push(clock(answer.ahead_seconds, of));
    lines.push(Line::passed(
        Check::Access,
        of,
        "the credentials are accepted",
    ));
    lines
}

fn version(version: &str, of: &str) -> Line {
    match parse_version(version) {
        Some(found) if found < VERSION_MIN => Line::failed(
            Check::Version,
            of,
            format!(
                "Kubernetes {version} is older than {}.{}, the first with all APIs that are used",
                VERSION_MIN.0, VERSION_MIN.1
            ),
            "kubeadm upgrade plan",
        ),
        _ => Line::passed(Check::Version, of, version),
    }
}

/// Major and minor of `v1.37.1-something`.
fn parse_version(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split('.');
    let number = |part: Option<&str>| part?.parse::<u32>().ok();
    Some((number(parts.next())?, number(parts.next())?))
}

fn clock(ahead_seconds: Option<i64>, of: &str) -> Line {
    let Some(ahead) = ahead_seconds else {
        return Line::skipped(Check::Clock, of, "the server does not tell the time");
    };
    if ahead.abs() <= CLOCK_SKEW_SECONDS_MAX {
        return Line::passed(
            Check::Clock,
            of,
            format!("within {} s of this machine's", ahead.abs().max(1)),
        );
    }
    let direction = if ahead > 0 { "ahead of" } else { "behind" };
    Line::failed(
        Check::Clock,
        of,
        format!(
            "the server's clock is {} {direction} this machine's; tokens and certificates are judged by clocks",
            words::seconds(ahead)
        ),
        "sudo timedatectl set-ntp true",
    )
}

fn host(url: &str) -> String {
    let uri: Option<http::Uri> = url.parse().ok();
    uri.and_then(|uri| uri.host().map(str::to_owned))
        .unwrap_or_else(|| url.to_owned())
}
