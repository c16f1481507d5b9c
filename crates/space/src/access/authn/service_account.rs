//! Service-account tokens: signature, times and audience by `pki`, and the space's state here. The
//! account, and the object a token is bound to, must still be the very ones it was issued for.

use hyades_pki::Claims;
use hyades_pki::ObjectClaim;
use hyades_pki::ServiceAccountKey;
use hyades_pki::TokenError;
use hyades_store::Store;
use jiff::Timestamp;
use serde_json::Value;

use super::CREDENTIAL_ID;
use super::cache::Verified;
use super::cache::Witness;
use super::service_account_groups;
use super::service_account_user_name;
use super::stored;
use crate::identity::UserInfo;

/// How long an object may have been going before a token bound to it no longer holds, in seconds:
/// what runs in a pod needs its token while it shuts down.
const DELETION_LEEWAY_SECONDS: i64 = 60;

/// Why a token does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no token of this issuer's.
    #[error("the token is of another issuer")]
    Foreign,
    /// The signature, the times or the audience do not hold.
    #[error("{0}")]
    Token(#[from] TokenError),
    /// It is meant for others.
    #[error("token audiences {found:?} is invalid for the target audiences {wanted:?}")]
    Audience {
        /// The token's audiences.
        found: Vec<String>,
        /// Those that would do.
        wanted: Vec<String>,
    },
    /// Subject and claims contradict each other.
    #[error("the token's subject is not the service account in its claims")]
    Subject,
    /// The account or a bound object is gone or another of the same name.
    #[error("{what} {name} of the token has been deleted or replaced")]
    Gone {
        /// What kind of object.
        what: &'static str,
        /// `namespace/name`, or the name.
        name: String,
    },
}

/// Verifies tokens of one issuer.
#[derive(Debug)]
pub struct Verifier {
    key: ServiceAccountKey,
    issuer: String,
}

impl Verifier {
    /// A verifier of tokens signed by `key` as `issuer`.
    pub fn new(key: ServiceAccountKey, issuer: String) -> Verifier {
        Verifier { key, issuer }
    }

    /// The signing key.
    pub fn key(&self) -> &ServiceAccountKey {
        &self.key
    }

    /// The issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What a token proves, whatever its audience.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn verify(&self, store: &Store, token: &str, now: Timestamp) -> Result<Verified, Refused> {
        let claims = self
            .key
            .verify(token, now, &[])
            .map_err(|error| match error {
                TokenError::Malformed(_) | TokenError::UnknownKey => Refused::Foreign,
                other => Refused::Token(other),
            })?;
        if claims.iss != self.issuer {
            return Err(Refused::Foreign);
        }
        let facts = &claims.kubernetes;
        let namespace = &facts.namespace;
        let account = &facts.serviceaccount;
        if claims.sub != service_account_user_name(namespace, &account.name) {
            return Err(Refused::Subject);
        }
        let mut witnesses = vec![present(
            store,
            "service account",
            "serviceaccounts",
            namespace,
            account,
            now,
        )?];
        if let Some(pod) = &facts.pod {
            witnesses.push(present(store, "pod", "pods", namespace, pod, now)?);
        }
        if let Some(secret) = &facts.secret {
            witnesses.push(present(store, "secret", "secrets", namespace, secret, now)?);
        }
        // A pod's token tells its node but does not depend on it.
        if let (Some(node), None) = (&facts.node, &facts.pod) {
            witnesses.push(present(store, "node", "nodes", "", node, now)?);
        }
        Ok(Verified {
            user: user(&claims),
            expires: Timestamp::from_second(claims.exp).ok(),
            audiences: claims.aud,
            witnesses,
        })
    }
}

/// Checks that a claimed object is still there, the same one, and not long on its way out.
fn present(
    store: &Store,
    what: &'static str,
    resource: &str,
    namespace: &str,
    claim: &ObjectClaim,
    now: Timestamp,
) -> Result<Witness, Refused> {
    let key = format!("core/{resource}/{namespace}/{}", claim.name);
    match stored(store, key) {
        Some((object, witness)) if is_claimed(&object, claim, now) => Ok(witness),
        _ => Err(Refused::Gone {
            what,
            name: match namespace {
                "" => claim.name.clone(),
                namespace => format!("{namespace}/{}", claim.name),
            },
        }),
    }
}

fn is_claimed(object: &Value, claim: &ObjectClaim, now: Timestamp) -> bool {
    let meta = &object["metadata"];
    let going = meta["deletionTimestamp"]
        .as_str()
        .and_then(|text| text.parse::<Timestamp>().ok());
    meta["uid"] == claim.uid.as_str()
        && going.is_none_or(|since| {
            now.as_second() <= since.as_second().saturating_add(DELETION_LEEWAY_SECONDS)
        })
}

/// The user in a token's claims.
fn user(claims: &Claims) -> UserInfo {
    let facts = &claims.kubernetes;
    let mut user = UserInfo {
        name: claims.sub.clone(),
        uid: facts.serviceaccount.uid.clone(),
        groups: service_account_groups(&facts.namespace).into(),
        extra: std::collections::BTreeMap::new(),
    };
    let mut tell = |key: &str, value: String| {
        user.extra.insert(key.to_owned(), vec![value]);
    };
    if !claims.jti.is_empty() {
        tell(CREDENTIAL_ID, format!("JTI={}", claims.jti));
    }
    let bound = [("pod", &facts.pod), ("node", &facts.node)];
    for (what, claim) in bound {
        if let Some(claim) = claim {
            tell(
                &format!("authentication.kubernetes.io/{what}-name"),
                claim.name.clone(),
            );
            tell(
                &format!("authentication.kubernetes.io/{what}-uid"),
                claim.uid.clone(),
            );
        }
    }
    user
}
