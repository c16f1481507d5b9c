//! Coming back with credentials that no longer serve, by the key that belongs to them.
//!
//! - **Expired during an outage**: the agent presents the expired certificate, whose key it still
//!   holds, and asks for a new one for the same key. A hub that knows how to recover agents lets
//!   such a client do this one thing; any other answers 401.
//! - **Refused, or the hub is said to be elsewhere**: the agent tries the credentials as they are,
//!   there. A hub that was moved or restored knows them.
//!
//! Neither needs a token. Where a bootstrap kubeconfig is at hand, bootstrapping goes on beside it,
//! and the first to succeed ends both.

use super::Shared;
use super::certificate;
use super::certificate::CertificateError;
use super::certificate::Requester;
use super::pending;
use crate::credentials::Credentials;
use crate::credentials::HubEndpoint;
use crate::credentials::Invalid;
use crate::session::Session;
use hyades_api::cluster::ManagedCluster;
use hyades_pki::Key;
use hyades_runtime::Trouble;
use hyades_runtime::backoff::Backoff;
use hyades_runtime::backoff::Policy;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::core::PartialObjectMeta;
use std::time::Duration;
use tokio::sync::Notify;

/// How long recovery alone is tried before bootstrapping begins beside it: several round trips
/// around the earth, and an approval in between.
pub(super) const HEAD_START: Duration = Duration::from_secs(5);

/// How often recovery is tried: at first soon, since a hub that comes back is not complete at once,
/// and then as rarely as a hub that will never take the agent can bear from a whole fleet.
const RETRY: Policy = Policy {
    base: Duration::from_secs(1),
    cap: Duration::from_secs(120),
    factor: 2.0,
    jitter: 0.5,
};

/// What stands in the way, in words.
struct Setback(String);

/// Tries until it succeeds; tells `first` when the first attempt has failed.
pub(super) async fn run(
    shared: &Shared<'_>,
    former: &Credentials,
    endpoint: HubEndpoint,
    why: &Invalid,
    first: &Notify,
) -> Credentials {
    let there = Credentials {
        moved_from: former
            .moved_from
            .clone()
            .filter(|_| endpoint == former.endpoint),
        endpoint,
        ..former.clone()
    };
    let mut backoff = Backoff::new(RETRY);
    loop {
        let is_expired = there.expires().is_none_or(|end| end <= shared.clock.now());
        let attempt = match is_expired {
            true => renew(shared, &there).await,
            false => present(shared, &there, why).await,
        };
        match attempt {
            Ok(credentials) => return credentials,
            Err(Setback(what)) => {
                let delay = backoff.next_delay();
                let seconds = delay.as_secs_f64();
                tracing::info!("coming back by the former key: {what}; again in {seconds:.0} s");
                first.notify_one();
                tokio::time::sleep(delay).await;
            }
        }
    }
}

async fn open(shared: &Shared<'_>, credentials: &Credentials) -> Result<Session, Setback> {
    Session::open(credentials, shared.identity.clone(), "registration-agent")
        .await
        .map_err(|error| Setback(error.to_string()))
}

/// Asks for a certificate for the same key under the expired one, and for the key of a renewal
/// that was cut short: the hub knows which of them owns the name.
async fn renew(shared: &Shared<'_>, expired: &Credentials) -> Result<Credentials, Setback> {
    let session = open(shared, expired).await?;
    let key = Key::from_pem(&expired.key_pem).map_err(|error| Setback(error.to_string()))?;
    let begun = pending::find(shared, Some(expired)).await;
    let attempts = std::iter::once(key).chain(begun).map(|key| {
        let asking = certificate::Asking {
            client: &session.client,
            identity: &shared.identity,
            requester: Requester::Expired,
            key,
            expiration_seconds: shared.options.client_cert_expiration_seconds,
        };
        let denied = async |message: &str| shared.warn("CertificateRequestDenied", message).await;
        Box::pin(certificate::obtain(asking, denied))
    });
    let server = expired.endpoint.server();
    match futures::future::select_ok(attempts).await {
        Ok((issued, _)) => {
            let message =
                format!("the hub at {server} took the agent back by its expired certificate's key");
            shared.tell("Recovered", &message).await;
            Ok(expired.renewed(issued))
        }
        Err(CertificateError::Hub { trouble, .. }) if trouble.is_unauthorized() => Err(Setback(
            format!("the hub at {server} takes no expired certificate (401)"),
        )),
        Err(error) => Err(Setback(error.to_string())),
    }
}

/// Tries the credentials as they are.
async fn present(
    shared: &Shared<'_>,
    credentials: &Credentials,
    why: &Invalid,
) -> Result<Credentials, Setback> {
    let session = open(shared, credentials).await?;
    let api: Api<PartialObjectMeta<ManagedCluster>> = Api::all(session.client);
    let server = credentials.endpoint.server();
    match api.get(shared.identity.cluster.as_str()).await {
        Ok(_) => {}
        Err(error) => match (Trouble::of(&error), why) {
            // After a 401 any answer to this identity says that it is known again. At another hub
            // it does not: there a caller without a known certificate may be anonymous.
            (Trouble::Forbidden(_) | Trouble::NotFound(_), Invalid::Refused) => {}
            (trouble, _) => return Err(Setback(format!("the hub at {server}: {trouble}"))),
        },
    }
    let message = format!("the hub at {server} knows the agent's present certificate");
    shared.tell("Recovered", &message).await;
    Ok(credentials.clone())
}
