//! Tokens of add-ons' agents: of a service account that the hub made in the mailbox.

use super::Registration;
use super::Scene;
use super::credentials;
use super::credentials::Data;
use crate::credentials::keys;
use crate::token;
use crate::token::Claims;
use hyades_api::addon::ManagedClusterAddOn;
use hyades_api::addon::conditions as known;
use hyades_api::addon::names as addon_names;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_pki::kubeconfig::User;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::core::v1::ServiceAccount;
use hyades_runtime::kube::Api;
use jiff::Timestamp;
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
    let claims = Claims::read(credentials::text(data, TOKEN)?)?;
    let stated = credentials::text(data, keys::KUBECONFIG);
    let is_ours = claims.account_uid() == Some(&registration.account_uid);
    if !is_ours || stated != kubeconfig(scene).as_deref() {
        return None;
    }
    let message = format!("token is valid until {}", claims.end()?);
    let statement = known::TOKEN_UPDATED.with_message(message);
    Some((claims.due(share)?, statement))
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
    let seconds = scene.settings.addon_token_expiration_seconds;
    let token = token::request(&api, &name, seconds)
        .await
        .map_err(|what| format!("asked for a token of ServiceAccount {cluster}/{name}: {what}"))?;
    let is_fitting = Claims::read(&token)
        .is_some_and(|claims| claims.account_uid() == Some(&registration.account_uid));
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
