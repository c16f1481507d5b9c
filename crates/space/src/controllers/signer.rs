//! Signs approved certificate requests for clients of the space
//! (`kubernetes.io/kube-apiserver-client`).

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyades_pki::Authority;
use hyades_pki::CertificateRequest;
use hyades_pki::SignOptions;
use hyades_pki::Usage;
use hyades_pki::Validity;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::absent_is_done;
use super::queue::Queue;
use super::work;
use crate::access::admission::CLIENT_SIGNER;
use crate::loopback::Loopback;
use crate::names::Gvr;
use crate::names::resource_prefix;
use crate::names::split_key;
use crate::object;
use crate::status::Status;

/// The longest life of a certificate, in seconds, and that of one whose request does not say: one
/// year, as upstream's `--cluster-signing-duration`.
const SECONDS_MAX: i64 = 365 * 24 * 3600;

/// The usages a client's certificate may have.
const USAGES: [&str; 3] = ["digital signature", "key encipherment", "client auth"];

/// What to do about a request.
#[derive(Debug)]
enum Decision {
    /// Not approved, not ours, or done.
    Leave,
    /// Sign it for so many seconds.
    Sign(Box<CertificateRequest>, i64),
    /// It can never be signed, and why.
    Fail(String),
}

/// Starts the controller.
pub fn spawn(
    space: &Loopback,
    authority: Arc<Authority>,
    stop: &CancellationToken,
) -> JoinHandle<()> {
    let queue: Queue<String> = Queue::default();
    let feed = queue.clone();
    let resource = &Gvr::CERTIFICATE_SIGNING_REQUESTS;
    space.store().hook(
        &resource_prefix(&resource.group, &resource.resource),
        Box::new(move |event| {
            if let (Some(_), Some((_, name))) = (&event.value, split_key(&event.key)) {
                feed.add(name.to_owned());
            }
        }),
    );
    let space = space.clone();
    work("certificate signer", queue, stop, move |name| {
        let (space, authority) = (space.clone(), Arc::clone(&authority));
        async move { reconcile(&space, &authority, &name).await }
    })
}

async fn reconcile(space: &Loopback, authority: &Authority, name: &str) -> Result<(), Status> {
    let resource = &Gvr::CERTIFICATE_SIGNING_REQUESTS;
    let mut request = match space.get(resource, None, name) {
        Ok(request) => request,
        Err(status) => return absent_is_done::<()>(Err(status)),
    };
    let now = Timestamp::now();
    match decide(&request) {
        Decision::Leave => return Ok(()),
        Decision::Sign(parsed, seconds) => match sign(authority, &parsed, seconds, now) {
            Ok(pem) => request["status"]["certificate"] = BASE64_STANDARD.encode(pem).into(),
            Err(why) => fail(&mut request, &why, now),
        },
        Decision::Fail(why) => fail(&mut request, &why, now),
    }
    absent_is_done(space.update_status(resource, None, request).await)
}

fn decide(request: &Value) -> Decision {
    let spec = &request["spec"];
    let has = |kind: &str| {
        request["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == kind && condition["status"] == "True")
    };
    let signed = request["status"]["certificate"]
        .as_str()
        .is_some_and(|certificate| !certificate.is_empty());
    if spec["signerName"] != CLIENT_SIGNER
        || object::is_deleting(request)
        || signed
        || !has("Approved")
        || has("Denied")
        || has("Failed")
    {
        return Decision::Leave;
    }
    let usages: Vec<&str> = spec["usages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if let Some(usage) = usages.iter().find(|usage| !USAGES.contains(usage)) {
        return Decision::Fail(format!("invalid usage for client certificate: {usage}"));
    }
    if !usages.contains(&"client auth") {
        return Decision::Fail("missing usage for client certificate: client auth".to_owned());
    }
    let seconds = spec["expirationSeconds"]
        .as_i64()
        .unwrap_or(SECONDS_MAX)
        .min(SECONDS_MAX);
    match parse(spec) {
        Ok(parsed) => Decision::Sign(Box::new(parsed), seconds),
        Err(why) => Decision::Fail(format!("unable to parse csr: {why}")),
    }
}

fn parse(spec: &Value) -> Result<CertificateRequest, String> {
    let bytes = BASE64_STANDARD
        .decode(spec["request"].as_str().unwrap_or_default())
        .map_err(|error| error.to_string())?;
    let pem = String::from_utf8(bytes).map_err(|error| error.to_string())?;
    CertificateRequest::parse_pem(&pem).map_err(|error| error.to_string())
}

/// A certificate for the request, which never outlives its authority.
fn sign(
    authority: &Authority,
    request: &CertificateRequest,
    seconds: i64,
    now: Timestamp,
) -> Result<String, String> {
    let valid = Validity::starting(now, seconds);
    let options = SignOptions {
        not_before: valid.not_before.max(authority.certificate().not_before()),
        not_after: valid.not_after.min(authority.certificate().not_after()),
        usages: vec![Usage::ClientAuth],
    };
    authority
        .sign_request(request, &options)
        .map(|certificate| certificate.to_pem())
        .map_err(|error| error.to_string())
}

fn fail(request: &mut Value, why: &str, now: Timestamp) {
    let condition = json!({
        "type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": why,
        "lastUpdateTime": object::time(now), "lastTransitionTime": object::time(now),
    });
    match request["status"]["conditions"].as_array_mut() {
        Some(conditions) => conditions.push(condition),
        None => request["status"]["conditions"] = json!([condition]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_pki::Key;
    use hyades_pki::Subject;

    fn request(conditions: &[&str]) -> Value {
        let groups = ["system:open-cluster-management:c1"];
        let subject = Subject::new("system:open-cluster-management:c1:a", groups);
        let pem = CertificateRequest::new(&Key::generate(), &subject).unwrap();
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|kind| json!({"type": kind, "status": "True"}))
            .collect();
        json!({
            "metadata": {"name": "c1"},
            "spec": {"request": BASE64_STANDARD.encode(pem), "signerName": CLIENT_SIGNER,
                "usages": USAGES, "expirationSeconds": 86_400},
            "status": {"conditions": conditions},
        })
    }

    #[test]
    fn only_approved_requests_of_this_signer_are_signed() {
        let cases: [(&[&str], bool); 5] = [
            (&["Approved"], true),
            (&[], false),
            (&["Denied"], false),
            (&["Approved", "Denied"], false),
            (&["Approved", "Failed"], false),
        ];
        for (conditions, signs) in cases {
            let signed = matches!(decide(&request(conditions)), Decision::Sign(_, 86_400));
            assert_eq!(signed, signs, "{conditions:?}");
        }
        let mut foreign = request(&["Approved"]);
        foreign["spec"]["signerName"] = "example.com/x".into();
        assert!(matches!(decide(&foreign), Decision::Leave));
        let mut done = request(&["Approved"]);
        done["status"]["certificate"] = "eA==".into();
        assert!(matches!(decide(&done), Decision::Leave));
    }

    #[test]
    fn what_can_never_be_signed_fails_and_says_why() {
        let why = |change: &dyn Fn(&mut Value)| {
            let mut request = request(&["Approved"]);
            change(&mut request);
            match decide(&request) {
                Decision::Fail(why) => why,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            why(&|request| request["spec"]["usages"] = json!(["server auth"])),
            "invalid usage for client certificate: server auth"
        );
        assert_eq!(
            why(&|request| request["spec"]["usages"] = json!(["digital signature"])),
            "missing usage for client certificate: client auth"
        );
        assert!(
            why(&|request| request["spec"]["request"] = "bm8=".into())
                .starts_with("unable to parse csr: ")
        );
    }

    #[test]
    fn a_certificate_has_the_subject_and_life_asked_for_but_never_more_than_its_authority() {
        let now: Timestamp = "2026-11-24T06:00:00Z".parse().unwrap();
        let authority = Authority::new("space", Validity::starting(now, 3600)).unwrap();
        let Decision::Sign(parsed, _) = decide(&request(&["Approved"])) else {
            panic!("the request is approved");
        };
        let end = |seconds| {
            let pem = sign(&authority, &parsed, seconds, now).unwrap();
            let certificate = hyades_pki::Certificate::from_pem(&pem).unwrap();
            assert_eq!(certificate.subject(), parsed.subject());
            assert_eq!(certificate.usages(), [Usage::ClientAuth]);
            certificate.not_after().to_string()
        };
        assert_eq!(end(600), "2026-11-24T06:10:00Z");
        assert_eq!(end(86_400), "2026-11-24T07:00:00Z");
    }

    #[test]
    fn without_a_wish_or_with_too_long_a_one_a_year_is_the_limit() {
        for wish in [Value::Null, json!(SECONDS_MAX + 1)] {
            let mut request = request(&["Approved"]);
            request["spec"]["expirationSeconds"] = wish;
            assert!(matches!(decide(&request), Decision::Sign(_, SECONDS_MAX)));
        }
    }
}
