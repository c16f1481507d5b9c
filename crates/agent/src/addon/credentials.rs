//! One keeper per registration: obtains its credentials, stores them, renews them in time.

use super::Registration;
use super::Scene;
use super::certificate;
use super::report::Reporter;
use super::token;
use crate::credentials;
use crate::credentials::keys;
use crate::registration::rotation::RENEWAL_SHARE;
use hyades_api::addon::conditions as known;
use hyades_api::conditions::Statement;
use hyades_api::names::labels;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::backoff::Backoff;
use hyades_runtime::backoff::Policy;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Longest single sleep before looking at clock and Secret again: a suspended machine must not
/// oversleep, and a deleted Secret must come back.
const CHECK: Duration = Duration::from_secs(300);

/// The manager of the fields of an add-on's Secret.
const FIELD_MANAGER: &str = "hyades-addon-registration";

/// What a Secret holds, by key.
pub(super) type Data = BTreeMap<String, ByteString>;

/// Keeps the credentials of a registration until the task is aborted.
pub(super) async fn keep(scene: Arc<Scene>, registration: Registration, reporter: Reporter) {
    let is_token = scene.settings.is_token() && registration.is_for_hub();
    let driver = registration
        .is_for_hub()
        .then_some(if is_token { "token" } else { "csr" });
    let name = registration.addon.to_string();
    let mut backoff = Backoff::new(Policy::API);
    let share = rand::random_range(RENEWAL_SHARE);
    loop {
        let problem = match turn(&scene, &registration, is_token, share).await {
            Ok((until, statement)) => {
                backoff.reset();
                reporter.say(&name, &statement, driver).await;
                let seconds = until.as_second() - scene.clock.now().as_second();
                let wait = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
                tokio::time::sleep(wait.min(CHECK)).await;
                continue;
            }
            Err(problem) => problem,
        };
        let failed = if is_token {
            known::TOKEN_UPDATE_FAILED
        } else {
            known::CERTIFICATE_UPDATE_FAILED
        };
        let delay = backoff.next_delay();
        tracing::warn!(
            "credentials of add-on {name} for {}: {problem}; trying again in {:.1} s",
            registration.config.signer_name,
            delay.as_secs_f64()
        );
        reporter
            .say(&name, &failed.with_message(problem), driver)
            .await;
        tokio::time::sleep(delay).await;
    }
}

/// Looks at the Secret, and obtains and stores what it lacks. Returns until when nothing is
/// to be done, and what to say.
async fn turn(
    scene: &Scene,
    registration: &Registration,
    is_token: bool,
    share: f64,
) -> Result<(Timestamp, Statement), String> {
    let api: Api<Secret> = Api::namespaced(scene.wec.clone(), &registration.namespace);
    let name = registration.secret_name();
    let place = format!("Secret {}/{name}", registration.namespace);
    let stored = api
        .get_opt(&name)
        .await
        .map_err(|error| format!("read {place}: {}", Trouble::of(&error)))?;
    let data = stored.and_then(|secret| secret.data).unwrap_or_default();
    let now = scene.clock.now();
    let judge = |data: &Data| {
        let judged = if is_token {
            token::judge(scene, registration, data, share)
        } else {
            certificate::judge(scene, registration, data, share)
        };
        judged.filter(|(due, _)| *due > now)
    };
    if let Some((due, statement)) = judge(&data) {
        return Ok((due, statement));
    }
    let fresh = if is_token {
        token::obtain(scene, registration).await?
    } else {
        certificate::obtain(scene, registration).await?
    };
    // What is of no use when it is new would be asked for again and again.
    let (due, statement) = judge(&fresh).ok_or("the hub issued credentials of no use")?;
    store(scene, registration, &name, fresh)
        .await
        .map_err(|error| format!("stored {place}: {error}"))?;
    tracing::info!("{place} holds fresh credentials");
    Ok((due, statement))
}

async fn store(
    scene: &Scene,
    registration: &Registration,
    name: &str,
    data: Data,
) -> Result<(), apply::ApplyError> {
    let cluster = scene.session.identity.cluster.as_str();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": registration.namespace,
            "labels": {
                labels::CLUSTER_NAME: cluster,
                labels::ADDON_NAME: registration.addon.as_str(),
            },
        },
        "type": "Opaque",
        "data": data,
    });
    let applied = apply::ensure(&scene.wec, FIELD_MANAGER, &secret).await;
    applied.map(drop)
}

/// The text of a key of a Secret.
pub(super) fn text<'a>(data: &'a Data, key: &str) -> Option<&'a str> {
    std::str::from_utf8(&data.get(key)?.0).ok()
}

/// The data that certificates and tokens share: where the hub is, and for which WEC.
pub(super) fn hub_data(scene: &Scene, kubeconfig: String) -> Data {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let cluster = scene.session.identity.cluster.as_str();
    Data::from([
        (keys::KUBECONFIG.to_owned(), bytes(&kubeconfig)),
        (keys::CLUSTER_NAME.to_owned(), bytes(cluster)),
    ])
}

/// When a certificate is due for renewal, and what to say of it.
pub(super) fn certificate_due(pem: &str, share: f64) -> Option<(Timestamp, Statement)> {
    let due = credentials::renew_at(pem, share)?;
    let message = credentials::rotation_message(pem)?;
    Some((due, known::CERTIFICATE_UPDATED.with_message(message)))
}
