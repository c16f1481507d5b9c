//! Tokens of service accounts: asking an API server for one, and what it says of itself.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyades_runtime::Trouble;
use hyades_runtime::k8s_openapi::api::authentication::v1::TokenRequest;
use hyades_runtime::k8s_openapi::api::authentication::v1::TokenRequestSpec;
use hyades_runtime::k8s_openapi::api::core::v1::ServiceAccount;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::PostParams;
use jiff::Timestamp;
use serde::Deserialize;

/// What a token says of itself. Whether it is true its API server knows; here it only tells when to
/// ask for another.
#[derive(Deserialize)]
pub(crate) struct Claims {
    #[serde(rename = "iat")]
    issued: i64,
    #[serde(rename = "exp")]
    expires: i64,
    #[serde(rename = "kubernetes.io", default)]
    kubernetes: Kubernetes,
}

#[derive(Default, Deserialize)]
struct Kubernetes {
    serviceaccount: Option<Account>,
}

#[derive(Deserialize)]
struct Account {
    uid: String,
}

impl Claims {
    /// Reads the claims, unverified; nothing if there are none.
    pub(crate) fn read(token: &str) -> Option<Self> {
        let claims = token.split('.').nth(1)?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }

    /// Uid of the account.
    pub(crate) fn account_uid(&self) -> Option<&str> {
        Some(self.kubernetes.serviceaccount.as_ref()?.uid.as_str())
    }

    /// When the token ends.
    pub(crate) fn end(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.expires).ok()
    }

    /// When another is due: while this share of the token's life remains.
    pub(crate) fn due(&self, share: f64) -> Option<Timestamp> {
        let life_seconds = self.expires.saturating_sub(self.issued).max(0) as f64;
        let remaining_seconds = (life_seconds * share) as i64;
        Timestamp::from_second(self.expires.saturating_sub(remaining_seconds)).ok()
    }
}

/// Asks for a token of an account.
///
/// # Errors
///
/// What happened, in words; never shows a token.
pub(crate) async fn request(
    api: &Api<ServiceAccount>,
    account: &str,
    expiration_seconds: i64,
) -> Result<String, String> {
    let asked = TokenRequest {
        spec: Some(TokenRequestSpec {
            expiration_seconds: Some(expiration_seconds),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let answer = api
        .create_token_request(account, &PostParams::default(), &asked)
        .await
        .map_err(|error| Trouble::of(&error).to_string())?;
    let token = answer.status.and_then(|status| status.token);
    token.ok_or_else(|| "the answer has no token".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use serde_json::json;

    fn token(payload: &Value) -> String {
        format!("h.{}.s", URL_SAFE_NO_PAD.encode(payload.to_string()))
    }

    #[test]
    fn a_token_says_whose_it_is_and_when_it_is_due() {
        let text = token(&json!({
            "iat": 1000, "exp": 2000, "kubernetes.io": {"serviceaccount": {"uid": "u"}},
        }));
        let claims = Claims::read(&text).expect("claims");
        assert_eq!(claims.account_uid(), Some("u"));
        let due = claims.due(0.2).expect("a time");
        assert_eq!(due.as_second(), 1800, "a fifth of its life remains");
        for bad in ["", "a.b", "a.b.c", &token(&json!({"iat": 1}))] {
            assert!(Claims::read(bad).is_none(), "{bad}");
        }
    }
}
