//! The key of a certificate that is asked for and not there yet.
//!
//! The first key approved under a name owns it. An agent that forgot its key while it waited, or
//! made another because an answer was lost, would find the name taken by its own former self. So
//! there is one key for all attempts, and it is written down before anybody is asked. So is the key
//! of a renewal: once that is approved the hub takes the former key no longer.

use super::Shared;
use crate::credentials;
use crate::credentials::Credentials;
use crate::credentials::keys;
use hyades_api::identity::AgentIdentity;
use hyades_api::names;
use hyades_pki::Key;
use hyades_runtime::Trouble;
use hyades_runtime::backoff::Backoff;
use hyades_runtime::backoff::Policy;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::ObjectMeta;
use hyades_runtime::kube::api::PostParams;
use hyades_runtime::kube::api::Preconditions;
use std::sync::atomic::Ordering;

fn secrets(shared: &Shared<'_>) -> Api<Secret> {
    Api::namespaced(shared.context.client.clone(), &shared.context.namespace)
}

/// The key to ask with next: the one that was written down, else a new one, which then is. Never
/// that of `present` credentials, which a renewal replaces.
pub(super) async fn next(shared: &Shared<'_>, present: Option<&Credentials>) -> Key {
    if let Some(key) = find(shared, present).await {
        return key;
    }
    let key = Key::generate();
    write_down(shared, &key).await;
    key
}

/// The key that was written down, if one was and `present` credentials do not have it already.
pub(super) async fn find(shared: &Shared<'_>, present: Option<&Credentials>) -> Option<Key> {
    let secret = read(shared).await?;
    shared
        .key_may_be_written_down
        .store(true, Ordering::Relaxed);
    awaited(&secret, &shared.identity, present)
}

/// The key in a Secret, if a certificate for it is still to come.
fn awaited(
    secret: &Secret,
    identity: &AgentIdentity,
    present: Option<&Credentials>,
) -> Option<Key> {
    // A key of another identity would prove that two clusters are one.
    let of = credentials::text(secret, keys::AGENT_NAME)?;
    let cluster = credentials::text(secret, keys::CLUSTER_NAME)?;
    let own = of == identity.agent() && cluster == identity.cluster.as_str();
    let pem = credentials::text(secret, keys::KEY).filter(|_| own)?;
    let key = Key::from_pem(pem).ok()?;
    let used = present.and_then(|present| Key::from_pem(&present.key_pem).ok());
    let is_used = used.is_some_and(|used| used.public_key_sha256() == key.public_key_sha256());
    (!is_used).then_some(key)
}

/// Reads the Secret, however often the API server must be asked: an agent that took a failure for
/// an absence would make another key. Only one that may not read at all goes on without.
async fn read(shared: &Shared<'_>) -> Option<Secret> {
    let name = names::PENDING_KEY_SECRET;
    let mut backoff = Backoff::new(Policy::API);
    loop {
        let trouble = match secrets(shared).get_opt(name).await {
            Ok(found) => return found,
            Err(error) => Trouble::of(&error),
        };
        if matches!(trouble, Trouble::Forbidden(_)) {
            tracing::warn!("reading Secret {name}: {trouble}; going on without it");
            return None;
        }
        let delay = backoff.next_delay();
        let seconds = delay.as_secs_f64();
        tracing::warn!("reading Secret {name}: {trouble}; trying again in {seconds:.1} s");
        tokio::time::sleep(delay).await;
    }
}

/// Writes the key down. An agent that cannot registers all the same: it loses the key only if it
/// is restarted before it has its certificate.
async fn write_down(shared: &Shared<'_>, key: &Key) {
    shared
        .key_may_be_written_down
        .store(true, Ordering::Relaxed);
    let data = [
        (keys::KEY, key.to_ec_pem()),
        (keys::AGENT_NAME, shared.identity.agent().to_owned()),
        (
            keys::CLUSTER_NAME,
            shared.identity.cluster.as_str().to_owned(),
        ),
    ];
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(names::PENDING_KEY_SECRET.to_owned()),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        data: Some(
            data.into_iter()
                .map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes())))
                .collect(),
        ),
        ..Secret::default()
    };
    let api = secrets(shared);
    let written = match api.create(&PostParams::default(), &secret).await {
        Err(error) if matches!(Trouble::of(&error), Trouble::AlreadyExists(_)) => {
            let name = names::PENDING_KEY_SECRET;
            api.replace(name, &PostParams::default(), &secret).await
        }
        other => other,
    };
    if let Err(error) = written {
        let trouble = Trouble::of(&error);
        tracing::warn!("writing Secret {}: {trouble}", names::PENDING_KEY_SECRET);
    }
}

/// Forgets the key once its certificate is saved. One whose certificate is still to come stays for
/// the next renewal. Where that fails, the next session with the hub does it.
pub(super) async fn forget(shared: &Shared<'_>, saved: &Credentials) {
    if !shared.key_may_be_written_down.load(Ordering::Relaxed) {
        return;
    }
    let Some(secret) = read(shared).await else {
        return shared
            .key_may_be_written_down
            .store(false, Ordering::Relaxed);
    };
    if awaited(&secret, &shared.identity, Some(saved)).is_some() {
        return;
    }
    let name = names::PENDING_KEY_SECRET;
    // A renewal may be writing the next key down at this moment.
    let this_one = DeleteParams::default().preconditions(Preconditions {
        resource_version: secret.metadata.resource_version,
        uid: secret.metadata.uid,
    });
    if let Err(error) = secrets(shared).delete(name, &this_one).await {
        let trouble = Trouble::of(&error);
        if !trouble.is_not_found() {
            return tracing::warn!("deleting Secret {name}: {trouble}");
        }
    }
    shared
        .key_may_be_written_down
        .store(false, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::tests::credentials;
    use crate::credentials::tests::identity;

    fn written(key_pem: &str, cluster: &str) -> Secret {
        let data = [
            (keys::KEY, key_pem),
            (keys::AGENT_NAME, identity().agent()),
            (keys::CLUSTER_NAME, cluster),
        ]
        .map(|(key, text)| (key.to_owned(), ByteString(text.as_bytes().to_vec())));
        Secret {
            data: Some(data.into()),
            ..Secret::default()
        }
    }

    #[test]
    fn the_key_of_a_renewal_that_was_cut_short_is_awaited_until_it_is_in_use() {
        let own = identity();
        let present = credentials(&own.common_name());
        let renewal = Key::generate().to_ec_pem();
        let secret = written(&renewal, own.cluster.as_str());
        assert!(awaited(&secret, &own, Some(&present)).is_some());
        assert!(awaited(&secret, &own, None).is_some());
        let renewed = Credentials {
            key_pem: renewal.clone(),
            ..present.clone()
        };
        assert!(awaited(&secret, &own, Some(&renewed)).is_none(), "in use");
        let foreign = written(&renewal, "another");
        assert!(awaited(&foreign, &own, Some(&present)).is_none());
    }
}
