//! Authentication: who sent a request.
//!
//! ```text
//!  client certificate ─┐
//!  service-account JWT ┼─▶ cache by digest ─▶ verify ─▶ UserInfo ─▶ impersonation
//!  bootstrap token ────┘
//! ```
//!
//! A credential is verified once; the cache answers until it expires or a stored object it depends
//! on (the service account, the bound pod, the token's Secret) changes.

pub mod bootstrap_token;
pub mod cache;
pub mod expired;
pub mod impersonation;
pub mod service_account;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use hyades_pki::Authority;
use hyades_pki::BootstrapToken;
use hyades_pki::Certificate;
use hyades_pki::ServiceAccountKey;
use hyades_pki::verify_client;
use hyades_store::Store;
use jiff::Timestamp;
use serde_json::Value;

use self::cache::Cache;
use self::cache::Fingerprint;
use self::cache::Verified;
use self::cache::Witness;
use self::cache::fingerprint;
use crate::identity::UserInfo;

/// The user of a request without credentials.
pub const ANONYMOUS: &str = "system:anonymous";

/// The group of everybody with valid credentials.
pub const AUTHENTICATED_GROUP: &str = "system:authenticated";

/// The group of everybody without.
pub const UNAUTHENTICATED_GROUP: &str = "system:unauthenticated";

/// The extra key that tells which credential was used.
pub(crate) const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// The start of a service account's user name.
const SERVICE_ACCOUNT_START: &str = "system:serviceaccount:";

/// The user name of a service account.
pub fn service_account_user_name(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT_START}{namespace}:{name}")
}

/// The groups of a service account, but for `system:authenticated`.
pub fn service_account_groups(namespace: &str) -> [String; 2] {
    [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
    ]
}

/// Namespace and name of the service account a user name stands for; `None` for other users.
pub fn split_service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT_START)?.split_once(':')?;
    let valid = !namespace.is_empty() && !name.is_empty() && !name.contains(':');
    valid.then_some((namespace, name))
}

/// Why a credential is not accepted. Clients see a bare `Unauthorized`; the log and TokenReview
/// tell more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No authenticator knows tokens of this form, or the bootstrap token's Secret does not vouch
    /// for it.
    #[error("invalid bearer token")]
    UnknownToken,
    /// A service-account token that does not hold.
    #[error("[invalid bearer token, {0}]")]
    ServiceAccount(#[from] service_account::Refused),
    /// A client certificate that does not hold.
    #[error("the client certificate is not accepted: {0}")]
    Certificate(String),
    /// An `Authorization` header that carries no bearer token.
    #[error("the Authorization header carries no bearer token")]
    Scheme,
}

/// Verifies credentials against the state of one space.
#[derive(Debug)]
pub struct Authenticator {
    client_ca: Certificate,
    service_accounts: service_account::Verifier,
    cache: Cache,
}

impl Authenticator {
    /// An authenticator for clients certified by `client_ca` and tokens signed by `key` as `issuer`.
    pub fn new(client_ca: &Authority, key: ServiceAccountKey, issuer: String) -> Authenticator {
        Authenticator {
            client_ca: client_ca.certificate().clone(),
            service_accounts: service_account::Verifier::new(key, issuer),
            cache: Cache::default(),
        }
    }

    /// The user a request's credentials prove; [`UserInfo::anonymous`] when it carries none. The
    /// certificate is tried first, then the token: one that holds is enough. A certificate that has
    /// expired counts for a request that `renews_a_certificate`, as [`expired`] says.
    ///
    /// # Errors
    /// [`Refused`] when credentials were given and none holds.
    pub fn authenticate(
        &self,
        store: &Store,
        headers: &HeaderMap,
        peer_certificate: Option<&[u8]>,
        renews_a_certificate: bool,
        now: Timestamp,
    ) -> Result<UserInfo, Refused> {
        let by_certificate = peer_certificate.map(|der| self.certificate(store, der, now));
        if let Some(Ok(verified)) = by_certificate {
            return Ok(authenticated(verified.user));
        }
        match bearer(headers)? {
            Some(token) => self
                .token(store, token, &[], now)
                .map(|verified| authenticated(verified.user)),
            None => match by_certificate {
                Some(Err(refused)) => peer_certificate
                    .filter(|_| renews_a_certificate)
                    .and_then(|der| expired::user(der, &self.client_ca, now))
                    .ok_or(refused),
                _ => Ok(UserInfo::anonymous()),
            },
        }
    }

    fn certificate(&self, store: &Store, der: &[u8], now: Timestamp) -> Result<Verified, Refused> {
        let digest = fingerprint(der);
        if let Some(verified) = self.cache.get(&digest, store, now) {
            return Ok(verified);
        }
        let refused = |why: &dyn std::fmt::Display| Refused::Certificate(why.to_string());
        let subject = verify_client(der, &self.client_ca, now).map_err(|why| refused(&why))?;
        if subject.common_name.is_empty() {
            return Err(refused(
                &"its subject has no common name, which would be the user's name",
            ));
        }
        let expires = Certificate::from_der(der)
            .map_err(|why| refused(&why))?
            .not_after();
        let verified = Verified {
            user: UserInfo {
                name: subject.common_name,
                groups: subject.organizations,
                extra: [(CREDENTIAL_ID.to_owned(), vec![certificate_id(&digest)])].into(),
                uid: String::new(),
            },
            audiences: Vec::new(),
            expires: Some(expires),
            witnesses: Vec::new(),
        };
        self.cache.put(digest, verified.clone());
        Ok(verified)
    }

    /// What a bearer token proves. It must be meant for one of `audiences`; the space's own when
    /// the list is empty. The user has no `system:authenticated` group yet.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn token(
        &self,
        store: &Store,
        token: &str,
        audiences: &[String],
        now: Timestamp,
    ) -> Result<Verified, Refused> {
        let own = [self.issuer().to_owned()];
        let wanted = if audiences.is_empty() {
            &own[..]
        } else {
            audiences
        };
        let digest = fingerprint(token.as_bytes());
        let verified = match self.cache.get(&digest, store, now) {
            Some(verified) => verified,
            None => {
                let verified = self.verify_token(store, token, now)?;
                self.cache.put(digest, verified.clone());
                verified
            }
        };
        if verified
            .audiences
            .iter()
            .any(|audience| wanted.contains(audience))
        {
            Ok(verified)
        } else {
            Err(service_account::Refused::Audience {
                found: verified.audiences,
                wanted: wanted.to_vec(),
            }
            .into())
        }
    }

    fn verify_token(
        &self,
        store: &Store,
        token: &str,
        now: Timestamp,
    ) -> Result<Verified, Refused> {
        if let Ok(token) = token.parse::<BootstrapToken>() {
            return self.bootstrap_token(store, &token, now);
        }
        match self.service_accounts.verify(store, token, now) {
            Ok(verified) => Ok(verified),
            Err(service_account::Refused::Foreign) => Err(Refused::UnknownToken),
            Err(refused) => Err(refused.into()),
        }
    }

    fn bootstrap_token(
        &self,
        store: &Store,
        token: &BootstrapToken,
        now: Timestamp,
    ) -> Result<Verified, Refused> {
        let key = bootstrap_token::secret_key(token.id());
        let (secret, witness) = stored(store, key).ok_or(Refused::UnknownToken)?;
        let user = bootstrap_token::user(token, &secret, now).ok_or(Refused::UnknownToken)?;
        Ok(Verified {
            user,
            audiences: vec![self.issuer().to_owned()],
            expires: bootstrap_token::expiration(&secret).ok().flatten(),
            witnesses: vec![witness],
        })
    }

    /// The key that signs service-account tokens.
    pub fn service_account_key(&self) -> &ServiceAccountKey {
        self.service_accounts.key()
    }

    /// The issuer of service-account tokens, and their audience when none is asked for.
    pub fn issuer(&self) -> &str {
        self.service_accounts.issuer()
    }
}

/// The user with the group that all authenticated users are in.
pub fn authenticated(mut user: UserInfo) -> UserInfo {
    if !user.groups.iter().any(|group| group == AUTHENTICATED_GROUP) {
        user.groups.push(AUTHENTICATED_GROUP.to_owned());
    }
    user
}

/// An object as stored, and the witness that it was in this state.
fn stored(store: &Store, key: String) -> Option<(Value, Witness)> {
    let entry = store.get(&key)?;
    let object = serde_json::from_slice(&entry.value).ok()?;
    let witness = Witness {
        key,
        revision: entry.modified,
    };
    Some((object, witness))
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let text = header.to_str().map_err(|_| Refused::Scheme)?.trim();
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        // Other schemes are not ours to judge: such a request counts as anonymous, as upstream's.
        return Ok(None);
    }
    match token.trim() {
        "" => Err(Refused::Scheme),
        token => Ok(Some(token)),
    }
}

/// How the id of a certificate begins, which is the SHA-256 of it.
const CERTIFICATE_ID_START: &str = "X509SHA256=";

fn certificate_id(digest: &Fingerprint) -> String {
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{CERTIFICATE_ID_START}{hex}")
}

/// Whether it was a certificate that proved who a user is.
pub(crate) fn showed_certificate(user: &UserInfo) -> bool {
    let ids = user.extra.get(CREDENTIAL_ID).into_iter().flatten();
    ids.into_iter()
        .any(|id| id.starts_with(CERTIFICATE_ID_START))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_account_names_come_apart_only_when_they_are_whole() {
        let cases = [
            ("system:serviceaccount:a:b", Some(("a", "b"))),
            ("system:serviceaccount:a:b:c", None),
            ("system:serviceaccount:a:", None),
            ("system:serviceaccount::b", None),
            ("system:serviceaccounts:a:b", None),
            ("bob", None),
        ];
        for (user, parts) in cases {
            assert_eq!(split_service_account(user), parts, "{user}");
        }
    }

    #[test]
    fn bearer_tokens_are_found_whatever_the_scheme_is_spelt_like() {
        let token = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, http::HeaderValue::from_static(text));
            bearer(&headers).map(|token| token.map(str::to_owned))
        };
        assert_eq!(token("Bearer abc"), Ok(Some("abc".to_owned())));
        assert_eq!(token("bearer  abc "), Ok(Some("abc".to_owned())));
        assert_eq!(token("Basic abc"), Ok(None));
        assert_eq!(token("Bearer "), Err(Refused::Scheme));
        assert_eq!(bearer(&HeaderMap::new()), Ok(None));
    }
}
