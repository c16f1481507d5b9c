//! Which certificate signing requests an `accept` approves: pure.

use hyades_api::names;
use hyades_pki::CertificateRequest;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use std::collections::BTreeSet;

/// Starts of the user names that new agents have. Each is followed by a token id, or by nothing.
const BOOTSTRAP_USERS: [&str; 3] = [
    "system:bootstrap:",
    names::BOOTSTRAP_SERVICE_ACCOUNT_USER,
    "system:serviceaccount:open-cluster-management-hub:grpc-server-sa",
];

/// Groups of new agents.
const BOOTSTRAP_GROUPS: [&str; 3] = [
    names::BOOTSTRAP_TOKEN_GROUP,
    "system:serviceaccounts:open-cluster-management",
    "system:serviceaccounts:open-cluster-management-hub",
];

/// What the user wants.
#[derive(Debug, Default)]
pub struct Wish<'a> {
    /// Take every request for the cluster, whoever made it.
    pub skip_approve_check: bool,
    /// Common names to approve; every one if empty.
    pub requesters: &'a [String],
    /// Whom the hub has pinned the cluster's name to, if it has.
    pub pinned: Option<&'a Pinned>,
    /// Let another key take the place of the one that owns the name.
    pub replace: bool,
}

/// The agent that owns a cluster's name.
#[derive(Debug, PartialEq, Eq)]
pub struct Pinned {
    /// Its common name.
    pub agent: String,
    /// SHA-256 of the key that the name belongs to; empty if the hub does not say.
    pub key_sha256: String,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Lines for standard output, in order.
    pub lines: Vec<String>,
    /// Lines for standard error, in order.
    pub warnings: Vec<String>,
    /// Names of the requests to approve.
    pub approve: Vec<String>,
    /// Whether some request has been approved already.
    pub approved_already: bool,
    /// Why requests of another agent are left alone.
    pub refused: Vec<String>,
}

/// Decides about the requests that carry the cluster's label.
pub fn decide(cluster: &str, requests: &[CertificateSigningRequest], wish: &Wish) -> Decision {
    let mut decision = Decision::default();
    let mut candidates = Vec::new();
    for request in requests {
        let name = request.metadata.name.as_deref().unwrap_or_default();
        if !wish.skip_approve_check && !is_bootstrap(request) {
            continue;
        }
        let (requester, key) = match requester(request) {
            Ok(read) => read,
            Err(reason) => {
                decision
                    .warnings
                    .push(format!("csr {name} is not valid: {reason}"));
                continue;
            }
        };
        if let Some(pinned) = wish.pinned
            && let Some(why) = refusal(cluster, name, &requester, &key, pinned, wish.replace)
        {
            let is_decided = has(request, "Denied") || has(request, "Approved");
            let is_strangers = requester != pinned.agent;
            if !has(request, "Denied") && (is_strangers || !is_decided) {
                decision.refused.push(why);
            }
            if is_strangers || !is_decided {
                continue;
            }
        }
        candidates.push((name, requester, request));
    }
    let distinct: BTreeSet<&str> = candidates
        .iter()
        .map(|(_, requester, _)| requester.as_str())
        .collect();
    if distinct.len() > 1 && !wish.skip_approve_check {
        let names: Vec<&str> = distinct.into_iter().collect();
        decision.lines.push(format!(
            "There are CSRs of different requesters: {}, approve is skipped please specify the certain requesters with --requesters or set --skip-approve-check if all CSRs need to be approved",
            names.join(",")
        ));
        // Naming them with --requesters must help, as the line says.
        if wish.requesters.is_empty() {
            return decision;
        }
    }
    for (name, requester, request) in candidates {
        let listed = wish.requesters.is_empty() || wish.requesters.contains(&requester);
        if !listed {
            decision.lines.push(format!(
                "CSR {name} with requester {requester} is not in the approve list"
            ));
        } else if has(request, "Denied") {
            decision.lines.push(format!("CSR {name} already denied"));
        } else if has(request, "Approved") {
            decision.lines.push(format!("CSR {name} already approved"));
            decision.approved_already = true;
        } else {
            decision.approve.push(name.to_owned());
        }
    }
    decision
}

/// Why a request may not be approved for a name that has an owner.
fn refusal(
    cluster: &str,
    name: &str,
    requester: &str,
    key: &str,
    pinned: &Pinned,
    replace: bool,
) -> Option<String> {
    if requester != pinned.agent {
        return Some(format!(
            "CSR {name} is not approved: it asks for {requester}, and the name {cluster} is taken by {}; \
             join that cluster under another name, or hand the name over with --replace",
            pinned.agent
        ));
    }
    let is_other_key = !pinned.key_sha256.is_empty() && pinned.key_sha256 != key;
    (is_other_key && !replace).then(|| {
        format!(
            "CSR {name} is not approved: it asks for {requester} with another key than the one that owns the name {cluster}; \
             if the agent has lost its key, add --replace"
        )
    })
}

/// An agent that a name is handed over to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heir {
    /// Its common name.
    pub agent: String,
    /// SHA-256 of the public key in its request. Whoever holds a bootstrap token can ask for the
    /// same common name, but not with this key.
    pub key_sha256: String,
}

/// The agent to hand a cluster's name over to: the only one that asks besides its owner, or the one
/// named.
///
/// # Errors
///
/// Several others ask, and none of them is named; or one asks with several keys, of which only one
/// can be its own. With `any_key` that does not matter.
pub fn heir(
    cluster: &str,
    requests: &[CertificateSigningRequest],
    pinned: &Pinned,
    requesters: &[String],
    any_key: bool,
) -> Result<Option<Heir>, String> {
    let others = requests
        .iter()
        .filter(|request| is_bootstrap(request))
        .filter_map(|request| requester(request).ok())
        .map(|(agent, key_sha256)| Heir { agent, key_sha256 })
        .filter(|other| other.agent != pinned.agent)
        .filter(|other| requesters.is_empty() || requesters.contains(&other.agent));
    let mut others: BTreeSet<Heir> = others.collect();
    let agents: BTreeSet<&str> = others.iter().map(|other| other.agent.as_str()).collect();
    if agents.len() > 1 {
        return Err(format!(
            "several agents ask for the name {cluster}: {}; name the one that shall have it with --requesters",
            agents.into_iter().collect::<Vec<_>>().join(",")
        ));
    }
    if others.len() > 1 && !any_key {
        let keys: Vec<&str> = others
            .iter()
            .map(|other| other.key_sha256.as_str())
            .collect();
        return Err(format!(
            "an agent asks for the name {cluster} with {} different keys (SHA-256 {}), of which only one can be its own: delete the requests of the others with 'kubectl delete csr' and run this again; add --skip-approve-check to hand the name over to whichever asks first, as for an agent of OCM's, which makes a key for each request",
            keys.len(),
            keys.join(", ")
        ));
    }
    Ok(others.pop_first())
}

fn is_bootstrap(request: &CertificateSigningRequest) -> bool {
    let user = request.spec.username.as_deref().unwrap_or_default();
    let groups = request.spec.groups.as_deref().unwrap_or_default();
    BOOTSTRAP_USERS.iter().any(|start| user.starts_with(start))
        && groups
            .iter()
            .any(|group| BOOTSTRAP_GROUPS.contains(&group.as_str()))
}

/// The common name that a request asks for, and SHA-256 of its key.
fn requester(request: &CertificateSigningRequest) -> Result<(String, String), String> {
    let text = std::str::from_utf8(&request.spec.request.0).map_err(|error| error.to_string())?;
    let parsed = CertificateRequest::parse_pem(text).map_err(|error| error.to_string())?;
    Ok((
        parsed.subject().common_name.clone(),
        parsed.public_key_sha256(),
    ))
}

/// Whether a request has a condition of this type.
pub fn has(request: &CertificateSigningRequest, type_: &str) -> bool {
    let status = request.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|conditions| conditions.iter().any(|found| found.type_ == type_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_pki::Key;
    use hyades_pki::Subject;
    use serde_json::json;

    const AGENT: &str = "system:open-cluster-management:cluster1:aaaaa";
    const OTHER: &str = "system:open-cluster-management:cluster1:bbbbb";

    fn request(name: &str, common_name: &str, conditions: &[&str]) -> CertificateSigningRequest {
        let subject = Subject {
            common_name: common_name.to_owned(),
            ..Subject::default()
        };
        let pem = CertificateRequest::new(&Key::generate(), &subject).expect("a request");
        let bytes = hyades_runtime::k8s_openapi::ByteString(pem.into_bytes());
        let conditions: Vec<_> = conditions
            .iter()
            .map(|type_| json!({"type": type_, "status": "True"}))
            .collect();
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "request": bytes,
                "signerName": names::CLIENT_SIGNER,
                "username": names::BOOTSTRAP_SERVICE_ACCOUNT_USER,
                "groups": ["system:serviceaccounts", "system:serviceaccounts:open-cluster-management"],
            },
            "status": {"conditions": conditions},
        }))
        .expect("a request")
    }

    #[test]
    fn a_pending_request_is_approved_and_an_approved_one_counts() {
        let pending = [request("r1", AGENT, &[])];
        let decision = decide("cluster1", &pending, &Wish::default());
        assert_eq!(decision.approve, ["r1"]);
        assert!(!decision.approved_already);

        let requests = [
            request("r1", AGENT, &["Approved"]),
            request("r2", AGENT, &["Denied"]),
        ];
        let decision = decide("cluster1", &requests, &Wish::default());
        assert_eq!(
            decision.lines,
            ["CSR r1 already approved", "CSR r2 already denied"]
        );
        assert!(decision.approved_already && decision.approve.is_empty());
    }

    #[test]
    fn requests_of_others_than_new_agents_are_not_seen_unless_asked_for() {
        let mut renewal = request("r1", AGENT, &[]);
        renewal.spec.username = Some(AGENT.to_owned());
        let requests = [renewal];
        assert_eq!(
            decide("cluster1", &requests, &Wish::default()),
            Decision::default()
        );
        let wish = Wish {
            skip_approve_check: true,
            ..Wish::default()
        };
        assert_eq!(decide("cluster1", &requests, &wish).approve, ["r1"]);
    }

    #[test]
    fn two_requesters_are_told_apart_and_nobody_is_approved_unless_named() {
        let requests = [request("r1", AGENT, &[]), request("r2", OTHER, &[])];
        let decision = decide("cluster1", &requests, &Wish::default());
        assert!(decision.approve.is_empty());
        assert!(decision.lines[0].starts_with(&format!(
            "There are CSRs of different requesters: {AGENT},{OTHER}, approve is skipped"
        )));
        let named = [OTHER.to_owned()];
        let wish = Wish {
            requesters: &named,
            ..Wish::default()
        };
        assert_eq!(decide("cluster1", &requests, &wish).approve, ["r2"]);
        let wish = Wish {
            skip_approve_check: true,
            ..Wish::default()
        };
        assert_eq!(decide("cluster1", &requests, &wish).approve, ["r1", "r2"]);
    }

    fn owner(key_sha256: &str) -> Pinned {
        Pinned {
            agent: AGENT.to_owned(),
            key_sha256: key_sha256.to_owned(),
        }
    }

    #[test]
    fn a_name_that_is_taken_is_not_given_to_another_agent() {
        let requests = [request("r1", AGENT, &[]), request("r2", OTHER, &[])];
        let pinned = owner("");
        let wish = Wish {
            pinned: Some(&pinned),
            ..Wish::default()
        };
        let decision = decide("cluster1", &requests, &wish);
        assert_eq!(decision.approve, ["r1"]);
        assert_eq!(decision.refused.len(), 1);
        assert!(decision.refused[0].contains(&format!("the name cluster1 is taken by {AGENT}")));
    }

    #[test]
    fn another_key_of_the_owner_is_approved_only_in_its_place() {
        let requests = [
            request("r1", AGENT, &[]),
            request("r2", AGENT, &["Approved"]),
        ];
        let pinned = owner("another");
        let wish = |replace| Wish {
            pinned: Some(&pinned),
            replace,
            ..Wish::default()
        };
        let decision = decide("cluster1", &requests, &wish(false));
        assert!(decision.approve.is_empty() && decision.approved_already);
        assert!(decision.refused[0].contains("with another key"));
        assert_eq!(decide("cluster1", &requests, &wish(true)).approve, ["r1"]);
        let (_, key) = requester(&requests[0]).expect("a request");
        let same = owner(&key);
        let wish = Wish {
            pinned: Some(&same),
            ..Wish::default()
        };
        assert_eq!(decide("cluster1", &requests, &wish).approve, ["r1"]);
    }

    #[test]
    fn the_heir_is_the_only_other_who_asks_or_the_one_named() {
        const THIRD: &str = "system:open-cluster-management:cluster1:ccccc";
        let own = request("r1", AGENT, &[]);
        let other = request("r2", OTHER, &["Denied"]);
        let third = request("r3", THIRD, &[]);
        let pinned = owner("");
        let find = |requests: &[CertificateSigningRequest], named: &[String]| {
            let heir = heir("cluster1", requests, &pinned, named, false)?;
            Ok::<_, String>(heir.map(|heir| heir.agent))
        };
        assert_eq!(find(std::slice::from_ref(&own), &[]), Ok(None));
        let two = [own.clone(), other.clone()];
        assert_eq!(find(&two, &[]), Ok(Some(OTHER.to_owned())));
        let all = [own, other, third];
        let error = find(&all, &[]).expect_err("several ask");
        assert!(
            error.contains(OTHER) && error.contains("--requesters"),
            "{error}"
        );
        let named = [THIRD.to_owned()];
        assert_eq!(find(&all, &named), Ok(Some(THIRD.to_owned())));
    }

    #[test]
    fn an_heir_that_asks_with_several_keys_is_not_guessed_at() {
        let (one, two) = (request("r1", OTHER, &[]), request("r2", OTHER, &["Denied"]));
        let (_, key_sha256) = requester(&one).expect("a request");
        let pinned = owner("");
        let agent = OTHER.to_owned();
        assert_eq!(
            heir("cluster1", std::slice::from_ref(&one), &pinned, &[], false),
            Ok(Some(Heir { agent, key_sha256 }))
        );
        let both = [one, two];
        let error = heir("cluster1", &both, &pinned, &[], false).expect_err("two keys");
        assert!(error.contains("2 different keys"), "{error}");
        assert!(heir("cluster1", &both, &pinned, &[], true).is_ok());
    }

    #[test]
    fn what_is_no_request_is_reported() {
        let mut broken = request("r1", AGENT, &[]);
        broken.spec.request.0 = b"rubbish".to_vec();
        let decision = decide("cluster1", &[broken], &Wish::default());
        assert!(decision.warnings[0].starts_with("csr r1 is not valid: "));
        assert!(decision.approve.is_empty());
    }
}
