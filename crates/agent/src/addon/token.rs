//! Tokens of add-ons' agents: of a service account that the hub made in the mailbox.

use super::Registration;
use super::Scene;
use super::credentials;
use super::credentials::Data;
use crate::credentials::keys;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyades_api::addon::ManagedClusterAddOn;
use hyades_api::addon::conditions as known;
use hyades_api::addon::names as addon_names;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_pki::kubeconfig::User;
use hyades_runtime::Trouble;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::authentication::v1::TokenRequest;
use hyades_runtime::k8s_openapi::api::core::v1::ServiceAccount;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::PostParams;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;

/// Key of the token in an add-on's Secret.
const TOKEN: &str = "token";

/// Uid of the account whose token an add-on shall present, as the hub's condition names it.
pub(super) fn account_uid(addon: &ManagedClusterAddOn) -> Option<String> {
    let all = &addon.status.conditions;
    let ready = conditions::find(all, known::TOKEN_INFRASTRUCTURE_READY)?;
    if ready.status != "True" {
        return None;
    }
    let (_, rest) = ready.message.split_once("(UID: ")?;
    Some(rest.split_once(')')?.0.to_owned())
}

/// What a token says of itself. Whether it is true the hub knows; here it only tells when to renew.
struct Claims {
    issued: i64,
    expires: i64,
    account_uid: String,
}

fn claims(token: &str) -> Option<Claims> {
    let payload = token.split('.').nth(1)?;
    let bytes = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Value = serde_json::from_slice(&bytes).ok()?;
    let uid = claims.pointer("/kubernetes.io/serviceaccount/uid")?;
    Some(Claims {
        issued: claims["iat"].as_i64()?,
        expires: claims["exp"].as_i64()?,
        account_uid: uid.as_str()?.to_owned(),
    })
}

/// When a token is due: while this share of its life remains.
fn due(claims: &Claims, share: f64) -> Option<Timestamp> {
    let life_seconds = (claims.expires - claims.issued).max(0) as f64;
    Timestamp::from_second(claims.expires - (life_seconds * share) as i64).ok()
}

fn kubeconfig(scene: &Scene) -> Option<String> {
    let file = [("tokenFile".to_owned(), json!(TOKEN))];
    let user = User {
        other: file.into(),
        ..User::default()
    };
    scene.endpoint.kubeconfig_of(user).ok()
}

/// When the stored token is due, and what to say of it; nothing if it is of no use.
pub(super) fn judge(
    scene: &Scene,
    registration: &Registration,
    data: &Data,
    share: f64,
) -> Option<(Timestamp, Statement)> {
    let claims = claims(credentials::text(data, TOKEN)?)?;
    let stated = credentials::text(data, keys::KUBECONFIG);
    if claims.account_uid != registration.account_uid || stated != kubeconfig(scene).as_deref() {
        return None;
    }
    let end = Timestamp::from_second(claims.expires).ok()?;
    let message = format!("token is valid until {end}");
    Some((
        due(&claims, share)?,
        known::TOKEN_UPDATED.with_message(message),
    ))
}

/// Asks the hub for a token.
///
/// # Errors
///
/// Says what was tried and what happened; never shows a token.
pub(super) async fn obtain(scene: &Scene, registration: &Registration) -> Result<Data, String> {
    if registration.account_uid.is_empty() {
        return Err(format!(
            "the hub has not made ServiceAccount {} yet (condition {})",
            addon_names::token_account(&registration.addon),
            known::TOKEN_INFRASTRUCTURE_READY
        ));
    }
    let cluster = scene.session.identity.cluster.as_str();
    let api: Api<ServiceAccount> = Api::namespaced(scene.session.client.clone(), cluster);
    let name = addon_names::token_account(&registration.addon);
    let asked: TokenRequest = serde_json::from_value(json!({
        "spec": {"audiences": [], "expirationSeconds": scene.settings.addon_token_expiration_seconds},
    }))
    .map_err(|error| error.to_string())?;
    let answer = api
        .create_token_request(&name, &PostParams::default(), &asked)
        .await
        .map_err(|error| {
            let trouble = Trouble::of(&error);
            format!("asked for a token of ServiceAccount {cluster}/{name}: {trouble}")
        })?;
    let token = answer
        .status
        .and_then(|status| status.token)
        .unwrap_or_default();
    let is_fitting =
        claims(&token).is_some_and(|claims| claims.account_uid == registration.account_uid);
    if !is_fitting {
        return Err(format!(
            "the token issued for ServiceAccount {cluster}/{name} is not for its present uid"
        ));
    }
    let kubeconfig = kubeconfig(scene).ok_or("the hub's kubeconfig cannot be written")?;
    let mut data = credentials::hub_data(scene, kubeconfig);
    data.insert(TOKEN.to_owned(), ByteString(token.into_bytes()));
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &Value) -> String {
        format!("h.{}.s", URL_SAFE_NO_PAD.encode(payload.to_string()))
    }

    #[test]
    fn a_token_says_whose_it_is_and_when_it_is_due() {
        let text = token(&json!({
            "iat": 1000, "exp": 2000, "kubernetes.io": {"serviceaccount": {"uid": "u"}},
        }));
        let claims = claims(&text).expect("claims");
        assert_eq!(claims.account_uid, "u");
        let due = due(&claims, 0.2).expect("a time");
        assert_eq!(due.as_second(), 1800, "a fifth of its life remains");
        for bad in ["", "a.b", "a.b.c", &token(&json!({"iat": 1}))] {
            assert!(super::claims(bad).is_none(), "{bad}");
        }
    }
}
