//! Certificate signing requests of one WEC.

use super::ask;
use crate::hyades::doctor::observed::Read;
use crate::hyades::doctor::observed::Request;
use crate::hyades::doctor::observed::RequestState;
use hyades_api::names::labels;
use hyades_pki::CertificateRequest;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ListParams;

/// The requests of a WEC, newest first. Those of add-ons are not among them.
pub async fn of_wec(client: &Client, name: &str) -> Read<Vec<Request>> {
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    let selector = format!("{}={name},!{}", labels::CLUSTER_NAME, labels::ADDON_NAME);
    let parameters = ListParams::default().labels(&selector);
    let what = format!("the certificate signing requests of {name}");
    let found = ask(&what, api.list(&parameters)).await?;
    let mut requests: Vec<Request> = found.items.iter().map(facts).collect();
    requests.sort_by_key(|request| std::cmp::Reverse(request.created));
    Ok(requests)
}

fn facts(request: &CertificateSigningRequest) -> Request {
    let pem = std::str::from_utf8(&request.spec.request.0).ok();
    let parsed = pem.and_then(|pem| CertificateRequest::parse_pem(pem).ok());
    Request {
        name: request.name_any(),
        requester: parsed.map(|parsed| parsed.subject().common_name.clone()),
        created: request.creation_timestamp().map(|time| time.0),
        state: state(request),
    }
}

fn state(request: &CertificateSigningRequest) -> RequestState {
    let Some(status) = &request.status else {
        return RequestState::Pending;
    };
    let words = |type_: &str| {
        let mut conditions = status.conditions.iter().flatten();
        let found = conditions.find(|condition| condition.type_ == type_)?;
        let words = [found.reason.as_deref(), found.message.as_deref()];
        let words: Vec<&str> = words.into_iter().flatten().collect();
        Some(words.join(": "))
    };
    let has_certificate = status
        .certificate
        .as_ref()
        .is_some_and(|bytes| !bytes.0.is_empty());
    match (words("Denied"), words("Failed"), words("Approved")) {
        (Some(words), _, _) => RequestState::Denied(words),
        (_, Some(words), _) => RequestState::Failed(words),
        _ if has_certificate => RequestState::Issued,
        (_, _, Some(_)) => RequestState::Approved,
        _ => RequestState::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_is_in_the_state_its_conditions_and_certificate_say() {
        let state = |status: serde_json::Value| {
            let request = json!({
                "metadata": {"name": "r"},
                "spec": {"request": "", "signerName": "s"},
                "status": status,
            });
            super::state(&serde_json::from_value(request).expect("a request"))
        };
        let condition =
            |type_: &str| json!({"type": type_, "status": "True", "reason": "R", "message": "m"});
        assert_eq!(state(json!({})), RequestState::Pending);
        let approved = json!({"conditions": [condition("Approved")]});
        assert_eq!(state(approved), RequestState::Approved);
        let issued = json!({"conditions": [condition("Approved")], "certificate": "UEVN"});
        assert_eq!(state(issued), RequestState::Issued);
        let denied = json!({"conditions": [condition("Denied")]});
        assert_eq!(state(denied), RequestState::Denied("R: m".to_owned()));
        let failed = json!({"conditions": [condition("Approved"), condition("Failed")]});
        assert_eq!(state(failed), RequestState::Failed("R: m".to_owned()));
    }
}
