//! TokenRequest: issuing tokens for service accounts; and the OpenID discovery documents by which
//! others verify them.

use hyades_pki::Claims;
use hyades_pki::KubernetesClaims;
use hyades_pki::ObjectClaim;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;

use super::Access;
use super::authn::service_account_user_name;
use super::invalid_value;
use crate::names::Gvr;
use crate::names::split_api_version;
use crate::status::Qualified;
use crate::status::Status;

/// How long a token lasts when its request does not say, in seconds.
const DEFAULT_SECONDS: i64 = 3600;

/// The shortest life of a token, in seconds.
const SECONDS_MIN: i64 = 600;

/// The longest life of a token, in seconds: 2^32, upstream's limit.
const SECONDS_MAX: i64 = 1 << 32;

/// The kind of the request, as errors name it.
const TOKEN_REQUEST: Qualified<'static> = Qualified {
    group: "authentication.k8s.io",
    name: "TokenRequest",
};

/// What a valid request asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    audiences: Vec<String>,
    seconds: i64,
    bound: Option<BoundReference>,
}

/// `spec.boundObjectRef`.
#[derive(Debug, PartialEq, Eq)]
struct BoundReference {
    api_version: String,
    kind: String,
    name: String,
    uid: String,
}

impl Asked {
    fn from_body(body: &Value, issuer: &str) -> Result<Asked, Status> {
        let spec = &body["spec"];
        let seconds = spec["expirationSeconds"]
            .as_i64()
            .unwrap_or(DEFAULT_SECONDS);
        let problem = if seconds < SECONDS_MIN {
            Some("may not specify a duration less than 10 minutes")
        } else if seconds > SECONDS_MAX {
            Some("may not specify a duration larger than 2^32 seconds")
        } else {
            None
        };
        if let Some(problem) = problem {
            let cause = invalid_value("spec.expirationSeconds", &seconds.into(), problem);
            return Err(Status::invalid(TOKEN_REQUEST, "", vec![cause]));
        }
        let mut audiences: Vec<String> = spec["audiences"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|audience| audience.as_str().map(str::to_owned))
            .collect();
        if audiences.is_empty() {
            audiences.push(issuer.to_owned());
        }
        let text = |field: &str| {
            spec["boundObjectRef"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let bound = spec["boundObjectRef"].is_object().then(|| BoundReference {
            api_version: text("apiVersion"),
            kind: text("kind"),
            name: text("name"),
            uid: text("uid"),
        });
        Ok(Asked {
            audiences,
            seconds,
            bound,
        })
    }
}

impl Access {
    /// Issues a token for a service account: the request with its status filled in.
    ///
    /// # Errors
    /// 404 when the account or the bound object does not exist, 400 or 409 when the bound object
    /// does not fit, 422 for an invalid request.
    pub fn issue_token(
        &self,
        namespace: &str,
        name: &str,
        body: Value,
        now: Timestamp,
    ) -> Result<Value, Status> {
        let account = self.present(&Gvr::SERVICE_ACCOUNTS, namespace, name)?;
        let requested_name = body["metadata"]["name"].as_str().unwrap_or_default();
        if !requested_name.is_empty() && requested_name != name {
            let cause = invalid_value(
                "metadata.name",
                &requested_name.into(),
                "must match the service account name if specified",
            );
            return Err(Status::invalid(TOKEN_REQUEST, requested_name, vec![cause]));
        }
        let asked = Asked::from_body(&body, self.authenticator.issuer())?;
        let uid = account["metadata"]["uid"].as_str().unwrap_or_default();
        let mut facts = KubernetesClaims {
            namespace: namespace.to_owned(),
            node: None,
            pod: None,
            secret: None,
            serviceaccount: ObjectClaim {
                name: name.to_owned(),
                uid: uid.to_owned(),
            },
        };
        if let Some(bound) = &asked.bound {
            self.bind(&mut facts, bound)?;
        }
        let issued = now.as_second();
        let claims = Claims {
            aud: asked.audiences.clone(),
            exp: issued + asked.seconds,
            iat: issued,
            iss: self.authenticator.issuer().to_owned(),
            jti: uuid::Uuid::new_v4().to_string(),
            kubernetes: facts,
            nbf: issued,
            sub: service_account_user_name(namespace, name),
        };
        let expires = Timestamp::from_second(claims.exp).map_err(|error| {
            Status::internal(&format!("the token's expiry is out of range: {error}"))
        })?;
        let created = Timestamp::from_second(issued).unwrap_or(now);
        Ok(json!({
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {
                "name": name, "namespace": namespace, "uid": uid,
                "creationTimestamp": created.to_string(),
            },
            "spec": {
                "audiences": asked.audiences,
                "expirationSeconds": asked.seconds,
                "boundObjectRef": body["spec"]["boundObjectRef"],
            },
            "status": {
                "token": self.authenticator.service_account_key().mint(&claims),
                "expirationTimestamp": expires.to_string(),
            },
        }))
    }

    /// Checks the object a token is to be bound to and notes it in the claims.
    fn bind(&self, facts: &mut KubernetesClaims, bound: &BoundReference) -> Result<(), Status> {
        let (group, version) = split_api_version(&bound.api_version);
        let account = facts.serviceaccount.name.clone();
        let namespace = facts.namespace.clone();
        let object = match (group, bound.kind.as_str()) {
            ("", "Pod") => {
                let pod = self.present(&Gvr::PODS, &namespace, &bound.name)?;
                if pod["spec"]["serviceAccountName"] != account.as_str() {
                    return Err(Status::bad_request(format!(
                        "cannot bind token for serviceaccount {account:?} to pod running with \
                         different serviceaccount name."
                    )));
                }
                facts.pod = Some(claim(&pod));
                facts.node = self.node_of(&pod);
                pod
            }
            ("", "Secret") => {
                let secret = self.present(&Gvr::SECRETS, &namespace, &bound.name)?;
                facts.secret = Some(claim(&secret));
                secret
            }
            ("", "Node") => {
                let node = self.present(&Gvr::NODES, "", &bound.name)?;
                facts.node = Some(claim(&node));
                node
            }
            (group, kind) => {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount {account:?} to object of type \
                     \"{group}/{version}, Kind={kind}\""
                )));
            }
        };
        if !bound.uid.is_empty() && object["metadata"]["uid"] != bound.uid.as_str() {
            let kind = Qualified {
                group,
                name: &bound.kind,
            };
            return Err(Status::conflict(
                kind,
                &bound.name,
                &format!(
                    "the UID in the bound object reference ({}) does not match the UID in record. \
                     The object might have been deleted and then recreated",
                    bound.uid
                ),
            ));
        }
        Ok(())
    }

    fn node_of(&self, pod: &Value) -> Option<ObjectClaim> {
        let name = pod["spec"]["nodeName"]
            .as_str()
            .filter(|name| !name.is_empty())?;
        self.present(&Gvr::NODES, "", name)
            .ok()
            .map(|node| claim(&node))
    }

    /// The document at `/.well-known/openid-configuration`.
    pub fn openid_configuration(&self) -> Value {
        json!({
            "issuer": self.authenticator.issuer(),
            "jwks_uri": format!("{}/openid/v1/jwks", self.public_url.trim_end_matches('/')),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }
}

fn claim(object: &Value) -> ObjectClaim {
    let text = |field: &str| {
        object["metadata"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    ObjectClaim {
        name: text("name"),
        uid: text("uid"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Cause;

    #[test]
    fn a_request_without_wishes_gets_the_issuer_for_an_hour() {
        let asked = Asked::from_body(&json!({"spec": {}}), "https://issuer").unwrap();
        assert_eq!(asked.audiences, ["https://issuer"]);
        assert_eq!(asked.seconds, 3600);
        assert_eq!(asked.bound, None);
    }

    #[test]
    fn too_short_a_life_is_refused_as_recorded() {
        let body = json!({"spec": {"expirationSeconds": 5}});
        let refused = Asked::from_body(&body, "https://issuer").unwrap_err();
        assert_eq!(
            refused.message,
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid \
             value: 5: may not specify a duration less than 10 minutes"
        );
        assert_eq!(
            refused.details.unwrap().causes,
            [Cause {
                reason: "FieldValueInvalid".to_owned(),
                message: "Invalid value: 5: may not specify a duration less than 10 minutes"
                    .to_owned(),
                field: "spec.expirationSeconds".to_owned(),
            }]
        );
    }
}
