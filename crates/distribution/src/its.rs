//! The ITS of a WDS: where its address and the token for it lie, and how the token stays valid.
//!
//! Both lie in a Secret beside the program. Half-way through the token's life the program asks the
//! ITS for another, writes it into the Secret and ends; its pod starts again with it. A Secret that
//! somebody else writes has the same effect.

use crate::install::WdsName;
use hyades_api::control::names::ITS_SECRET;
use hyades_api::control::names::SYSTEM_NAMESPACE;
use hyades_runtime::Trouble;
use hyades_runtime::backoff::Policy;
use hyades_runtime::client;
use hyades_runtime::client::ClientError;
use hyades_runtime::component;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::authentication::v1::TokenRequest;
use hyades_runtime::k8s_openapi::api::authentication::v1::TokenRequestSpec;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::k8s_openapi::api::core::v1::ServiceAccount;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use hyades_runtime::kube::runtime::watcher;
use jiff::SignedDuration;
use jiff::Timestamp;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How long a token shall live. Longer than any outage that nobody notices, and short enough that
/// one that was copied does not open the ITS for ever; an ITS may grant less.
const TOKEN_SECONDS: i64 = 30 * 24 * 3600;

/// Key of the Secret: a kubeconfig that names the ITS, without credentials.
const KUBECONFIG: &str = "kubeconfig";
/// Key of the Secret: the token.
const TOKEN: &str = "token";
/// Key of the Secret: from when on another token is to be asked for, as RFC 3339.
const RENEW_AFTER: &str = "renew-after";

/// Why the ITS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ItsError {
    /// The Secret cannot be read.
    #[error("read the Secret {SYSTEM_NAMESPACE}/{ITS_SECRET}: {0}; run 'hyades wds init' again")]
    Unreadable(Trouble),
    /// The Secret lacks something.
    #[error(
        "the Secret {SYSTEM_NAMESPACE}/{ITS_SECRET} has no {0}; write it anew with 'hyades wds init'"
    )]
    Incomplete(&'static str),
    /// Its kubeconfig is none.
    #[error(transparent)]
    Unusable(#[from] ClientError),
    /// The ITS gives no token.
    #[error("asked the ITS for a token of {account}: {reason}")]
    NoToken {
        /// The account.
        account: String,
        /// What happened.
        reason: String,
    },
}

/// A token, and when another is due.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    token: String,
    renew_after: Timestamp,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Token")
            .field("renew_after", &self.renew_after)
            .finish_non_exhaustive()
    }
}

impl Token {
    /// Asks an ITS for a token of a WDS's account.
    ///
    /// # Errors
    /// When the ITS gives none.
    pub async fn request(its: &Client, wds: &WdsName) -> Result<Self, ItsError> {
        let account = wds.account();
        let api = Api::<ServiceAccount>::namespaced(its.clone(), SYSTEM_NAMESPACE);
        let asked = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(TOKEN_SECONDS),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let parameters = PostParams::default();
        let answer = api.create_token_request(&account, &parameters, &asked);
        let refused = |reason: String| ItsError::NoToken {
            account: account.clone(),
            reason,
        };
        let answer = answer
            .await
            .map_err(|error| refused(Trouble::of(&error).to_string()))?;
        let status = answer.status.unwrap_or_default();
        if status.token.as_ref().is_none_or(String::is_empty) {
            return Err(refused("the answer has no token".to_owned()));
        }
        let now = Timestamp::now();
        let end = status.expiration_timestamp.map_or(now, |time| time.0);
        let half_life = SignedDuration::from_secs((end.as_second() - now.as_second()).max(0) / 2);
        Ok(Self {
            token: status.token.unwrap_or_default(),
            renew_after: now.checked_add(half_life).unwrap_or(now),
        })
    }

    /// No token, in the place of one.
    pub(crate) fn none() -> Self {
        Self {
            token: String::new(),
            renew_after: Timestamp::UNIX_EPOCH,
        }
    }

    fn of(secret: &Secret) -> Result<Self, ItsError> {
        let renew_after = text(secret, RENEW_AFTER)?;
        Ok(Self {
            token: text(secret, TOKEN)?,
            renew_after: renew_after
                .parse()
                .map_err(|_| ItsError::Incomplete(RENEW_AFTER))?,
        })
    }

    /// As the data of the Secret.
    fn data(&self) -> serde_json::Value {
        json!({
            TOKEN: ByteString(self.token.clone().into_bytes()),
            RENEW_AFTER: ByteString(self.renew_after.to_string().into_bytes()),
        })
    }
}

/// The Secret with a kubeconfig that names the ITS, and a token for it.
pub(crate) fn secret(kubeconfig: &str, token: &Token) -> serde_json::Value {
    let mut data = token.data();
    data[KUBECONFIG] = json!(ByteString(kubeconfig.as_bytes().to_vec()));
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": ITS_SECRET, "namespace": SYSTEM_NAMESPACE},
        "data": data,
    })
}

fn text(secret: &Secret, key: &'static str) -> Result<String, ItsError> {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    let value = value.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
    value.ok_or(ItsError::Incomplete(key))
}

/// The way to the ITS.
pub(crate) struct Access {
    /// Talks to the ITS.
    pub(crate) client: Client,
    token: Token,
}

impl Access {
    /// Reads the Secret of a WDS.
    pub(crate) async fn read(wds: &Client) -> Result<Self, ItsError> {
        let api = Api::<Secret>::namespaced(wds.clone(), SYSTEM_NAMESPACE);
        let secret = api.get(ITS_SECRET).await;
        let secret = secret.map_err(|error| ItsError::Unreadable(Trouble::of(&error)))?;
        let token = Token::of(&secret)?;
        let origin = format!("in the Secret {SYSTEM_NAMESPACE}/{ITS_SECRET}");
        let kubeconfig = text(&secret, KUBECONFIG)?;
        let mut config = client::config_from_text(&kubeconfig, &origin).await?;
        let bearer = json!({"token": token.token});
        config.auth_info =
            serde_json::from_value(bearer).map_err(|_| ItsError::Incomplete(TOKEN))?;
        let client = client::connect(config, &component::user_agent("distribution"))?;
        Ok(Self { client, token })
    }

    /// Keeps the token valid. Returns when the Secret holds another, so that the program can start
    /// again with it.
    pub(crate) async fn keep(&self, wds: &Client, name: &WdsName) {
        let changed = Arc::new(Notify::new());
        let (known, notified) = (self.token.clone(), changed.clone());
        let api = Api::<Secret>::namespaced(wds.clone(), SYSTEM_NAMESPACE);
        let config = watcher::Config::default().fields(&format!("metadata.name={ITS_SECRET}"));
        let _watch = controller::watch(api.clone(), config, move |change| {
            if let Change::Applied(secret) = change
                && Token::of(secret).is_ok_and(|token| token != known)
            {
                notified.notify_one();
            }
        });
        tokio::select! {
            () = changed.notified() => {}
            () = self.renew(&api, name) => {}
        }
        tracing::info!("the token for the ITS was replaced: starting again with the new one");
    }

    /// Writes a new token once it is due.
    async fn renew(&self, api: &Api<Secret>, name: &WdsName) {
        let left = self.token.renew_after.duration_since(Timestamp::now());
        tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
        let mut failures = 0;
        while let Err(problem) = self.replace(api, name).await {
            failures += 1;
            let pause = Policy::RECONCILE.jittered(failures);
            let seconds = pause.as_secs_f64();
            tracing::warn!(
                "renewed the token for the ITS: {problem}; trying again in {seconds:.1} s"
            );
            tokio::time::sleep(pause).await;
        }
    }

    async fn replace(&self, api: &Api<Secret>, name: &WdsName) -> Result<(), ItsError> {
        let token = Token::request(&self.client, name).await?;
        let patch = Patch::Merge(json!({"data": token.data()}));
        let patched = api.patch(ITS_SECRET, &PatchParams::default(), &patch).await;
        patched
            .map(|_| ())
            .map_err(|error| ItsError::Unreadable(Trouble::of(&error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_from_its_secret_and_is_not_shown() {
        let token = Token {
            token: "secret".to_owned(),
            renew_after: Timestamp::UNIX_EPOCH,
        };
        let secret: Secret = serde_json::from_value(secret("kubeconfig", &token)).expect("one");
        assert_eq!(Token::of(&secret).expect("a token"), token);
        assert!(!format!("{token:?}").contains("secret"));
        let empty = Token::of(&Secret::default());
        assert!(matches!(empty, Err(ItsError::Incomplete(_))));
    }
}
