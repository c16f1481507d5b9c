//! Service-account tokens: JWTs signed with ES256 (RFC 7515, 7518, 7519), claims as Kubernetes
//! lays them out.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use sha2::Digest;
use sha2::Sha256;

use crate::Error;
use crate::Key;

/// Longest token read, in bytes: a bound token is about 1 KiB, and headers are limited anyway.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// How far another clock may be ahead when it states "not before", in seconds.
const CLOCK_SKEW_SECONDS: i64 = 60;

/// An object a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectClaim {
    /// Name.
    pub name: String,
    /// Uid; a new object of the same name has another.
    pub uid: String,
}

/// The `kubernetes.io` claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubernetesClaims {
    /// The service account's namespace.
    pub namespace: String,
    /// The node of the pod the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<ObjectClaim>,
    /// The pod the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<ObjectClaim>,
    /// The secret the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ObjectClaim>,
    /// The service account.
    pub serviceaccount: ObjectClaim,
}

/// What a token says. Times are in seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Audiences.
    pub aud: Vec<String>,
    /// Expiry.
    pub exp: i64,
    /// Issue.
    pub iat: i64,
    /// Issuer.
    pub iss: String,
    /// The token's own id, a UUID.
    pub jti: String,
    /// Facts about the account and what the token is bound to.
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: KubernetesClaims,
    /// Start of validity.
    pub nbf: i64,
    /// `system:serviceaccount:NAMESPACE:NAME`.
    pub sub: String,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is no signed JWT with the claims of a service account.
    #[error("the token is not a service-account token: {0}")]
    Malformed(&'static str),
    /// It was signed by another key or another algorithm.
    #[error("the token was signed by another issuer's key")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// It is not valid yet.
    #[error("the token is valid from {not_before} only")]
    NotYetValid {
        /// Start of its validity.
        not_before: Timestamp,
    },
    /// It has expired.
    #[error("the token expired at {expired}")]
    Expired {
        /// End of its validity.
        expired: Timestamp,
    },
    /// None of its audiences is wanted.
    #[error("the token is meant for {found:?}, not for any of {wanted:?}")]
    Audience {
        /// The audiences accepted.
        wanted: Vec<String>,
        /// The audiences of the token.
        found: Vec<String>,
    },
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

/// The key that signs and verifies the service-account tokens of a space.
#[derive(Debug, Clone)]
pub struct ServiceAccountKey {
    key: Key,
    key_id: String,
}

impl ServiceAccountKey {
    /// A new key.
    pub fn generate() -> ServiceAccountKey {
        ServiceAccountKey::from_key(Key::generate())
    }

    /// Reads a key from PEM.
    ///
    /// # Errors
    /// As [`Key::from_pem`].
    pub fn from_pem(text: &str) -> Result<ServiceAccountKey, Error> {
        Key::from_pem(text).map(ServiceAccountKey::from_key)
    }

    /// The key as PEM.
    pub fn to_pem(&self) -> String {
        self.key.to_ec_pem()
    }

    fn from_key(key: Key) -> ServiceAccountKey {
        let key_id = URL_SAFE_NO_PAD.encode(Sha256::digest(key.public().to_der()));
        ServiceAccountKey { key, key_id }
    }

    /// The key id in token headers and in the key set: the base64url SHA-256 of the public key's
    /// SubjectPublicKeyInfo, as upstream derives it.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Signs a token.
    pub fn mint(&self, claims: &Claims) -> String {
        let header = Header {
            alg: "ES256".to_owned(),
            kid: self.key_id.clone(),
        };
        let encode = |json: serde_json::Result<Vec<u8>>| {
            URL_SAFE_NO_PAD.encode(json.expect("plain strings and numbers are always JSON"))
        };
        let mut token = encode(serde_json::to_vec(&header));
        token.push('.');
        token.push_str(&encode(serde_json::to_vec(claims)));
        let signature = self.key.sign_fixed(token.as_bytes());
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        token
    }

    /// Verifies a token's signature, its times against `now`, and that it is meant for one of
    /// `audiences` (any, when the list is empty). Issuer and bound objects are for the caller to
    /// check: they need the space's state.
    ///
    /// # Errors
    /// [`TokenError`] names the first thing that is wrong.
    pub fn verify(
        &self,
        token: &str,
        now: Timestamp,
        audiences: &[String],
    ) -> Result<Claims, TokenError> {
        let claims = self.verified_claims(token)?;
        let second = now.as_second();
        let time = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        if claims.nbf > second.saturating_add(CLOCK_SKEW_SECONDS) {
            return Err(TokenError::NotYetValid {
                not_before: time(claims.nbf),
            });
        }
        if claims.exp < second {
            return Err(TokenError::Expired {
                expired: time(claims.exp),
            });
        }
        let meant = |audience: &String| claims.aud.contains(audience);
        if !audiences.is_empty() && !audiences.iter().any(meant) {
            return Err(TokenError::Audience {
                wanted: audiences.to_vec(),
                found: claims.aud,
            });
        }
        Ok(claims)
    }

    /// The claims of a token whose signature holds.
    fn verified_claims(&self, token: &str) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed("it is longer than 16 KiB"));
        }
        let malformed = TokenError::Malformed("it does not have three base64url parts");
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, signature] = parts[..] else {
            return Err(malformed);
        };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed.clone());
        let (header_json, claims_json) = (decode(header)?, decode(claims)?);
        let header_fields: Header = serde_json::from_slice(&header_json)
            .map_err(|_| TokenError::Malformed("its header does not name algorithm and key"))?;
        if header_fields.alg != "ES256" || header_fields.kid != self.key_id {
            return Err(TokenError::UnknownKey);
        }
        let message = &token[..header.len() + 1 + claims.len()];
        let public = self.key.public();
        if !public.verifies_fixed(message.as_bytes(), &decode(signature)?) {
            return Err(TokenError::BadSignature);
        }
        serde_json::from_slice(&claims_json)
            .map_err(|_| TokenError::Malformed("its claims are not a service account's"))
    }

    /// The public key as a JSON Web Key Set (RFC 7517), as served at `/openid/v1/jwks`.
    pub fn key_set(&self) -> serde_json::Value {
        let (x, y) = self.key.public().coordinates();
        serde_json::json!({
            "keys": [{
                "use": "sig",
                "kty": "EC",
                "kid": self.key_id,
                "crv": "P-256",
                "alg": "ES256",
                "x": URL_SAFE_NO_PAD.encode(x),
                "y": URL_SAFE_NO_PAD.encode(y),
            }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUED: i64 = 1_795_000_000;

    fn claims() -> Claims {
        let object = |name: &str| ObjectClaim {
            name: name.to_owned(),
            uid: format!("{name}-uid"),
        };
        Claims {
            aud: vec!["https://issuer".to_owned()],
            exp: ISSUED + 3600,
            iat: ISSUED,
            iss: "https://issuer".to_owned(),
            jti: "id".to_owned(),
            kubernetes: KubernetesClaims {
                namespace: "default".to_owned(),
                node: None,
                pod: Some(object("pod")),
                secret: None,
                serviceaccount: object("account"),
            },
            nbf: ISSUED,
            sub: "system:serviceaccount:default:account".to_owned(),
        }
    }

    fn at(offset: i64) -> Timestamp {
        Timestamp::from_second(ISSUED + offset).expect("a time")
    }

    #[test]
    fn a_token_reads_back_and_is_laid_out_as_upstreams() {
        let key = ServiceAccountKey::generate();
        let token = key.mint(&claims());
        let audiences = ["https://issuer".to_owned()];
        assert_eq!(key.verify(&token, at(0), &audiences), Ok(claims()));
        assert_eq!(key.verify(&token, at(0), &[]), Ok(claims()));
        let body = token.split('.').nth(1).expect("claims");
        let body = URL_SAFE_NO_PAD.decode(body).expect("base64url");
        expect_test::expect![[r#"{"aud":["https://issuer"],"exp":1795003600,"iat":1795000000,"iss":"https://issuer","jti":"id","kubernetes.io":{"namespace":"default","pod":{"name":"pod","uid":"pod-uid"},"serviceaccount":{"name":"account","uid":"account-uid"}},"nbf":1795000000,"sub":"system:serviceaccount:default:account"}"#]]
            .assert_eq(std::str::from_utf8(&body).expect("text"));
    }

    #[test]
    fn each_reason_to_refuse_a_token_is_told() {
        let key = ServiceAccountKey::generate();
        let token = key.mint(&claims());
        let refused = |token: &str, now, audiences: &[String]| {
            key.verify(token, now, audiences)
                .expect_err("refused")
                .to_string()
        };
        assert_eq!(
            refused(&token, at(3601), &[]),
            "the token expired at 2026-11-18T12:06:40Z"
        );
        assert_eq!(
            refused(&token, at(-61), &[]),
            "the token is valid from 2026-11-18T11:06:40Z only"
        );
        assert_eq!(
            refused(&token, at(0), &["other".to_owned()]),
            "the token is meant for [\"https://issuer\"], not for any of [\"other\"]"
        );
        let other = ServiceAccountKey::generate().mint(&claims());
        assert_eq!(
            refused(&other, at(0), &[]),
            "the token was signed by another issuer's key"
        );
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let forged = format!("{}A.{signature}", &signed[..signed.len() - 1]);
        assert_eq!(
            refused(&forged, at(0), &[]),
            "the token's signature is wrong"
        );
        assert_eq!(
            refused("a.b", at(0), &[]),
            "the token is not a service-account token: it does not have three base64url parts"
        );
    }

    #[test]
    fn a_token_without_signature_algorithm_is_refused() {
        let key = ServiceAccountKey::generate();
        let encode = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let header = encode(serde_json::json!({"alg": "none", "kid": key.key_id()}));
        let body = encode(serde_json::to_value(claims()).expect("JSON"));
        let token = format!("{header}.{body}.");
        assert_eq!(key.verify(&token, at(0), &[]), Err(TokenError::UnknownKey));
    }

    #[test]
    fn the_key_reads_back_with_the_same_id_and_key_set() {
        let key = ServiceAccountKey::generate();
        let read = ServiceAccountKey::from_pem(&key.to_pem()).expect("a key just written");
        assert_eq!(read.key_set(), key.key_set());
        assert_eq!(read.key_id().len(), 43);
    }
}
