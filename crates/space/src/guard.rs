//! The seam between the pipeline and access control.
//!
//! The pipeline asks these questions of every request, whoever sent it; `access` answers them. The
//! trait keeps the two rooms of this crate apart and lets tests judge requests by a rule of their own.

use http::HeaderMap;
use hyades_schema::selector::Selector;
use serde_json::Value;

use crate::identity::Attributes;
use crate::identity::UserInfo;
use crate::names::Gvr;
use crate::status::Status;

/// What a request carries to prove who sent it.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    /// The client certificate (DER) whose key the TLS handshake proved possession of.
    pub peer_certificate: Option<&'a [u8]>,
    /// All request headers: `Authorization` and the `Impersonate-*` ones matter.
    pub headers: &'a HeaderMap,
    /// Whether the request asks for a certificate, or looks at one such request: then a client
    /// certificate that has expired proves something, too.
    pub renews_a_certificate: bool,
}

/// What a write does to its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The object comes into being.
    Create,
    /// The object changes.
    Update,
    /// The object is being deleted.
    Delete,
}

/// A write that is about to be committed.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// What it does.
    pub operation: Operation,
    /// The resource.
    pub resource: &'a Gvr,
    /// The subresource written through; empty when none.
    pub subresource: &'a str,
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// The object's name.
    pub name: &'a str,
    /// The stored object; absent on creation.
    pub old: Option<&'a Value>,
    /// The object to be stored; absent on deletion.
    pub new: Option<&'a Value>,
}

/// Who may do what.
pub trait Guard: Send + Sync + 'static {
    /// The user a request acts as, impersonation included; requests without credentials are
    /// [`UserInfo::anonymous`].
    ///
    /// # Errors
    /// 401 for credentials that are not valid; 403 for an impersonation that is not allowed.
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<UserInfo, Status>;

    /// The user that a request acts as which this process makes as `user`: himself, or whom the
    /// request's `Impersonate-*` headers name.
    ///
    /// # Errors
    /// 400 for headers that make no sense; 403 for an impersonation that is not allowed.
    fn acting_as(&self, user: UserInfo, headers: &HeaderMap) -> Result<UserInfo, Status>;

    /// Whether the user may do this.
    ///
    /// # Errors
    /// 403 in the API server's words.
    fn authorize(&self, user: &UserInfo, attributes: &Attributes) -> Result<(), Status>;

    /// Whether the user may do this to what these labels select: a right to a collection may be one
    /// to a part of it.
    ///
    /// # Errors
    /// 403 in the API server's words.
    fn authorize_selected(
        &self,
        user: &UserInfo,
        attributes: &Attributes,
        labels: &Selector,
    ) -> Result<(), Status>;

    /// A number that is another one whenever what somebody may do may have changed: as long as it
    /// stands, an answer of [`Guard::authorize`] does, too.
    fn rights_version(&self) -> u64;

    /// Whether the user may make this very write, whose content is known by now: escalation by
    /// roles and bindings, approval of certificates for a signer.
    ///
    /// # Errors
    /// 403 in the API server's words.
    fn admit(&self, user: &UserInfo, write: &Write<'_>) -> Result<(), Status>;

    /// Answers a review (`TokenReview`, `SubjectAccessReview`, …): the body with its status.
    ///
    /// # Errors
    /// 422 for an incomplete review.
    fn review(
        &self,
        resource: &Gvr,
        namespace: &str,
        user: &UserInfo,
        body: Value,
    ) -> Result<Value, Status>;

    /// Issues a token for a service account: the `TokenRequest` with its status.
    ///
    /// # Errors
    /// 404 when the account does not exist; 409 or 422 when the request does not fit it.
    fn request_token(&self, namespace: &str, name: &str, body: Value) -> Result<Value, Status>;

    /// The document at `/.well-known/openid-configuration`.
    fn openid_configuration(&self) -> Value;

    /// The public keys at `/openid/v1/jwks`.
    fn json_web_keys(&self) -> Value;
}
