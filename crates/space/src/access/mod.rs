//! Who asks, what they may do, and the objects that say so.
//!
//! ```text
//!  credentials ─▶ authn ─▶ UserInfo ─▶ rbac ─▶ allowed, or 403 in the API server's words
//!                            │            ▲
//!                            │            └── roles and bindings, by store hook
//!                            ├─▶ reviews: the same questions, asked through the API
//!                            └─▶ tokens: credentials for service accounts
//!  bootstrap: the roles, bindings and namespaces that every space starts with
//! ```
//!
//! [`Access`] answers for one space; it is the pipeline's [`Guard`].

pub mod admission;
pub mod authn;
pub mod bootstrap;
pub mod rbac;
pub mod reviews;
pub mod tokens;

use std::sync::Arc;

use http::HeaderMap;
use hyades_pki::Authority;
use hyades_pki::ServiceAccountKey;
use hyades_schema::selector::Selector;
use hyades_store::Store;
use jiff::Timestamp;
use serde_json::Value;

use self::authn::Authenticator;
use self::authn::expired;
use self::authn::impersonation;
use self::rbac::Authoriser;
use self::rbac::Decision;
use self::rbac::refusal_text;
use crate::guard::Credentials;
use crate::guard::Guard;
use crate::guard::Write;
use crate::identity::Attributes;
use crate::identity::UserInfo;
use crate::names::Gvr;
use crate::names::object_key;
use crate::names::resource_prefix;
use crate::status::Cause;
use crate::status::Qualified;
use crate::status::Status;

/// The issuer of every space's service-account tokens, as upstream's usual one. It is a name and
/// not an address: tokens outlive a change of the address, and each space has a key of its own.
pub const ISSUER: &str = "https://kubernetes.default.svc";

/// Access control of one space; clones share it.
#[derive(Clone)]
pub struct Access {
    store: Store,
    authenticator: Arc<Authenticator>,
    authoriser: Authoriser,
    public_url: Arc<str>,
}

impl Access {
    /// Access control over a store: clients are certified by `client_ca`, service-account tokens
    /// signed by `service_account_key`; `public_url` is where the space is reached.
    pub fn new(
        store: Store,
        client_ca: &Authority,
        service_account_key: ServiceAccountKey,
        public_url: &str,
    ) -> Access {
        let authoriser = Authoriser::following(&store);
        Access {
            store,
            authenticator: Arc::new(Authenticator::new(
                client_ca,
                service_account_key,
                ISSUER.to_owned(),
            )),
            authoriser,
            public_url: public_url.into(),
        }
    }

    /// The authoriser.
    pub fn authoriser(&self) -> &Authoriser {
        &self.authoriser
    }

    /// A stored object.
    ///
    /// # Errors
    /// 404, or 500 for bytes that are no JSON.
    fn present(&self, resource: &Gvr, namespace: &str, name: &str) -> Result<Value, Status> {
        let prefix = resource_prefix(&resource.group, &resource.resource);
        let entry = self
            .store
            .get(&object_key(&prefix, namespace, name))
            .ok_or_else(|| Status::not_found(resource.qualified(), name))?;
        serde_json::from_slice(&entry.value)
            .map_err(|error| Status::internal(&format!("a stored object is no JSON: {error}")))
    }

    fn judge(&self, user: &UserInfo, asked: &Attributes) -> Result<(), Status> {
        self.judge_selected(user, asked, None)
    }

    fn judge_selected(
        &self,
        user: &UserInfo,
        asked: &Attributes,
        labels: Option<&Selector>,
    ) -> Result<(), Status> {
        let decision = match expired::confine(&self.store, user, asked) {
            Ok(()) => self.authoriser.decide_selected(user, asked, labels),
            Err(reason) => Decision::Denied { reason },
        };
        let Decision::Denied { reason } = decision else {
            return Ok(());
        };
        let why = refusal_text(user, asked, &reason);
        Err(match asked {
            Attributes::Path { .. } => Status::forbidden_path(&why),
            Attributes::Resource {
                group,
                resource,
                name,
                ..
            } => {
                let what = Qualified {
                    group,
                    name: resource,
                };
                Status::forbidden(what, name, &why)
            }
        })
    }

    fn acting_user(&self, user: UserInfo, headers: &HeaderMap) -> Result<UserInfo, Status> {
        let asked = impersonation::requested(headers)
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let Some(asked) = asked else {
            return Ok(user);
        };
        for need in &asked.needs {
            self.judge(&user, need)?;
        }
        Ok(asked.user)
    }
}

impl Guard for Access {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<UserInfo, Status> {
        let user = self
            .authenticator
            .authenticate(
                &self.store,
                credentials.headers,
                credentials.peer_certificate,
                credentials.renews_a_certificate,
                Timestamp::now(),
            )
            .map_err(|refused| {
                tracing::debug!(%refused, "credentials refused");
                Status::unauthorized()
            })?;
        self.acting_user(user, credentials.headers)
    }

    fn acting_as(&self, user: UserInfo, headers: &HeaderMap) -> Result<UserInfo, Status> {
        self.acting_user(user, headers)
    }

    fn authorize(&self, user: &UserInfo, attributes: &Attributes) -> Result<(), Status> {
        self.judge(user, attributes)
    }

    fn authorize_selected(
        &self,
        user: &UserInfo,
        attributes: &Attributes,
        labels: &Selector,
    ) -> Result<(), Status> {
        self.judge_selected(user, attributes, Some(labels))
    }

    fn rights_version(&self) -> u64 {
        self.authoriser.version()
    }

    fn admit(&self, user: &UserInfo, write: &Write<'_>) -> Result<(), Status> {
        admission::admit(&self.authoriser, user, write)
    }

    fn review(
        &self,
        resource: &Gvr,
        namespace: &str,
        user: &UserInfo,
        body: Value,
    ) -> Result<Value, Status> {
        self.answer_review(resource, namespace, user, body, Timestamp::now())
    }

    fn request_token(&self, namespace: &str, name: &str, body: Value) -> Result<Value, Status> {
        self.issue_token(namespace, name, body, Timestamp::now())
    }

    fn openid_configuration(&self) -> Value {
        Access::openid_configuration(self)
    }

    fn json_web_keys(&self) -> Value {
        self.authenticator.service_account_key().key_set()
    }
}

/// A field with a value that is not acceptable, worded as field errors are.
fn invalid_value(field: &str, value: &Value, problem: &str) -> Cause {
    Cause {
        reason: "FieldValueInvalid".to_owned(),
        message: format!("Invalid value: {value}: {problem}"),
        field: field.to_owned(),
    }
}
