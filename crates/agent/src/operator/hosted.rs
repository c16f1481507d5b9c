//! Hosted agents: the way to a WEC in which neither operator nor agent runs.
//!
//! The user gives a kubeconfig (Secret `external-managed-kubeconfig`); the operator makes accounts
//! in the WEC with it and gives each agent a kubeconfig with a token of its own account, so that no
//! agent holds the user's rights.

use super::manifests::Plan;
use crate::credentials;
use crate::credentials::HubEndpoint;
use crate::credentials::keys;
use crate::install;
use crate::token;
use crate::token::Claims;
use hyades_api::labelling;
use hyades_api::names;
use hyades_pki::kubeconfig::User;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::client;
use hyades_runtime::component;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::k8s_openapi::api::core::v1::ServiceAccount;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use jiff::Timestamp;
use serde_json::json;

/// Lifetime asked for an agent's token in the WEC, in seconds: upstream's 360 days.
const TOKEN_SECONDS: i64 = 8640 * 3600;

/// A token is replaced when less than this share of its life is left.
const RENEWAL_SHARE: f64 = 0.2;

/// Why a hosted agent cannot be given its way to the WEC; in words for the status.
pub(super) type Unprepared = String;

/// A client for the WEC of a hosted agent, tried once.
pub(super) async fn managed_client(secret: Option<&Secret>) -> Result<Client, Unprepared> {
    let name = names::EXTERNAL_MANAGED_KUBECONFIG_SECRET;
    let secret = secret.ok_or_else(|| {
        format!("Secret {name} does not exist; write the kubeconfig of the managed cluster there")
    })?;
    let text = kubeconfig_of(secret)?;
    let endpoint = HubEndpoint::of(text, name).map_err(|error| error.to_string())?;
    refuse_unverified(&endpoint)?;
    let origin = format!("in Secret {name}");
    let client = client::from_kubeconfig(text, &origin, &component::user_agent("klusterlet"))
        .await
        .map_err(|error| error.to_string())?;
    client.apiserver_version().await.map_err(|error| {
        let trouble = Trouble::of(&error);
        format!("asked the managed cluster of Secret {name} for its version: {trouble}")
    })?;
    Ok(client)
}

/// The kubeconfig's word for not verifying a server.
const UNVERIFIED: &str = "insecure-skip-tls-verify";

/// No agent goes to a WEC whose API server it cannot tell from another.
fn refuse_unverified(endpoint: &HubEndpoint) -> Result<(), Unprepared> {
    match endpoint.cluster.other.get(UNVERIFIED) {
        Some(value) if *value == json!(true) => Err(format!(
            "the kubeconfig in Secret {} says {UNVERIFIED}: put certificate-authority-data in its place",
            names::EXTERNAL_MANAGED_KUBECONFIG_SECRET
        )),
        _ => Ok(()),
    }
}

fn kubeconfig_of(secret: &Secret) -> Result<&str, Unprepared> {
    credentials::text(secret, keys::KUBECONFIG).ok_or_else(|| {
        let name = secret.metadata.name.as_deref().unwrap_or_default();
        format!("Secret {name} has no key {:?}", keys::KUBECONFIG)
    })
}

/// The agents' Secrets, with the accounts whose tokens they hold.
fn wanted(plan: &Plan) -> Vec<(String, &'static str)> {
    let secrets = match plan.mode.is_singleton() {
        true => vec![names::EXTERNAL_MANAGED_KUBECONFIG_AGENT_SECRET],
        false => vec![
            names::EXTERNAL_MANAGED_KUBECONFIG_REGISTRATION_SECRET,
            names::EXTERNAL_MANAGED_KUBECONFIG_WORK_SECRET,
        ],
    };
    plan.account_names().into_iter().zip(secrets).collect()
}

/// The names of all Secrets that may have been made for a hosted agent.
pub(super) const SECRETS: [&str; 4] = [
    names::EXTERNAL_MANAGED_KUBECONFIG_SECRET,
    names::EXTERNAL_MANAGED_KUBECONFIG_REGISTRATION_SECRET,
    names::EXTERNAL_MANAGED_KUBECONFIG_WORK_SECRET,
    names::EXTERNAL_MANAGED_KUBECONFIG_AGENT_SECRET,
];

/// Gives each agent a kubeconfig for the WEC, and another before its token ends.
pub(super) async fn ensure_kubeconfigs(
    management: &Client,
    managed: &Client,
    plan: &Plan,
    external: &Secret,
) -> Result<(), Unprepared> {
    let text = kubeconfig_of(external)?;
    let name = names::EXTERNAL_MANAGED_KUBECONFIG_SECRET;
    let endpoint = HubEndpoint::of(text, name).map_err(|error| error.to_string())?;
    let secrets: Api<Secret> = Api::namespaced(management.clone(), &plan.namespace);
    for (account, name) in wanted(plan) {
        let told = |action: &str, trouble: Trouble| format!("{action} {name}: {trouble}");
        let present = secrets
            .get_opt(name)
            .await
            .map_err(|error| told("read Secret", Trouble::of(&error)))?;
        let stored = present
            .as_ref()
            .and_then(|secret| kubeconfig_of(secret).ok());
        if stored.is_some_and(|stored| holds(stored, &endpoint, Timestamp::now())) {
            continue;
        }
        let token = token(managed, &plan.managed_namespace, &account).await?;
        let user = User {
            token: Some(token),
            ..User::default()
        };
        let text = endpoint
            .kubeconfig_of(user)
            .map_err(|error| error.to_string())?;
        let mut secret = install::kubeconfig_secret(&plan.namespace, name, &text);
        labelling::add(&mut secret, &plan.inherited);
        apply::ensure(management, super::reconcile::MANAGER, &secret)
            .await
            .map_err(|error| error.to_string())?;
        tracing::info!("Secret {name} has a new token of {account}");
    }
    Ok(())
}

async fn token(managed: &Client, namespace: &str, account: &str) -> Result<String, Unprepared> {
    let api: Api<ServiceAccount> = Api::namespaced(managed.clone(), namespace);
    let asked = token::request(&api, account, TOKEN_SECONDS).await;
    asked.map_err(|what| format!("asked the managed cluster for a token of {account}: {what}"))
}

/// Whether a kubeconfig is for this WEC and its token has enough of its life left.
fn holds(kubeconfig: &str, endpoint: &HubEndpoint, now: Timestamp) -> bool {
    let Ok(present) = HubEndpoint::of(kubeconfig, "") else {
        return false;
    };
    let parsed = hyades_pki::Kubeconfig::parse(kubeconfig).ok();
    let token = parsed.and_then(|parsed| parsed.users.into_iter().next()?.user.token);
    let due = token.as_deref().and_then(Claims::read);
    let due = due.and_then(|claims| claims.due(RENEWAL_SHARE));
    // One that is off is left out of what is written.
    let mut written = endpoint.clone();
    written.cluster.other.remove(UNVERIFIED);
    present == written && due.is_some_and(|due| now <= due)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn kubeconfig(server: &str, iat: i64, exp: i64) -> String {
        let claims = URL_SAFE_NO_PAD.encode(json!({"iat": iat, "exp": exp}).to_string());
        let user = User {
            token: Some(format!("head.{claims}.signature")),
            ..User::default()
        };
        let endpoint = crate::credentials::tests::endpoint(server, "wec");
        endpoint.kubeconfig_of(user).expect("YAML")
    }

    #[test]
    fn a_token_is_replaced_in_the_last_fifth_of_its_life_and_when_the_wec_moves() {
        let endpoint = crate::credentials::tests::endpoint("https://wec", "wec");
        let at = |second| Timestamp::from_second(second).expect("a time");
        let text = kubeconfig("https://wec", 0, 1000);
        assert!(holds(&text, &endpoint, at(800)));
        assert!(!holds(&text, &endpoint, at(801)));
        let moved = crate::credentials::tests::endpoint("https://elsewhere", "wec");
        assert!(!holds(&text, &moved, at(1)));
        assert!(!holds("rubbish", &endpoint, at(1)));
    }

    #[test]
    fn a_wec_that_is_not_to_be_verified_is_refused_and_a_flag_that_is_off_changes_no_token() {
        let mut endpoint = crate::credentials::tests::endpoint("https://wec", "wec");
        let flag = |endpoint: &mut HubEndpoint, on: bool| {
            let other = &mut endpoint.cluster.other;
            other.insert(UNVERIFIED.to_owned(), json!(on));
        };
        flag(&mut endpoint, false);
        assert_eq!(refuse_unverified(&endpoint), Ok(()));
        let text = kubeconfig("https://wec", 0, 1000);
        let early = Timestamp::from_second(1).expect("a time");
        assert!(holds(&text, &endpoint, early), "or each look makes a token");
        flag(&mut endpoint, true);
        let why = refuse_unverified(&endpoint).expect_err("refused");
        assert!(why.contains("insecure-skip-tls-verify"), "{why}");
    }
}
