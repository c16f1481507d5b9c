//! `clusteradm get token`: what a new cluster presents itself with.

use super::apply;
use super::preflight;
use super::session::Session;
use crate::console::Output;
use anyhow::Context;
use hyades_api::names;
use hyades_api::names::apps;
use hyades_api::names::labels;
use hyades_api::names::namespaces;
use hyades_runtime::Trouble;
use hyades_runtime::k8s_openapi::api::authentication::v1::TokenRequest;
use hyades_runtime::k8s_openapi::api::authentication::v1::TokenRequestSpec;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::k8s_openapi::api::core::v1::ServiceAccount;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::PostParams;
use std::path::PathBuf;

/// Lifetime of the token, in seconds, as upstream asks for it.
const TOKEN_SECONDS: i64 = 3600;
/// Start of the names of bootstrap tokens' Secrets.
const TOKEN_SECRET_PREFIX: &str = "bootstrap-token-";

/// Which kind of token agents bootstrap with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// That of a service account; it lives an hour.
    ServiceAccount,
    /// A bootstrap token; it does not expire.
    Bootstrap,
}

impl TokenKind {
    /// As `--use-bootstrap-token` says.
    pub fn of_flag(use_bootstrap_token: bool) -> Self {
        match use_bootstrap_token {
            true => Self::Bootstrap,
            false => Self::ServiceAccount,
        }
    }
}

/// The command line.
#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    /// Also write the command that joins a cluster to this file
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
    /// Get the bootstrap token rather than a token of the bootstrap service account
    #[arg(long)]
    use_bootstrap_token: bool,
    /// text or json
    #[arg(short, long, default_value = "text")]
    output: Output,
}

/// Runs `get token`.
///
/// # Errors
///
/// Not a hub, or no token to be had.
pub async fn run(session: &Session, args: &TokenArgs) -> anyhow::Result<()> {
    session.announce_dry_run();
    preflight::is_hub(&session.target).await?;
    let token = obtain(session, TokenKind::of_flag(args.use_bootstrap_token)).await?;
    let command = join_command(session, &token, "");
    match args.output {
        Output::Json => session.console.line(json(&token, &session.target.server)),
        Output::Text => session.console.line(format!(
            "token={token}\nplease log on spoke and run:\n{command}"
        )),
    }
    match &args.output_file {
        // The command holds a token.
        Some(path) => apply::write_file(path, &format!("{command}\n"), 0o600),
        None => Ok(()),
    }
}

/// The command that joins a cluster; `extra` is put before the cluster's name.
pub fn join_command(session: &Session, token: &str, extra: &str) -> String {
    format!(
        "{} join --hub-token {token} --hub-apiserver {}{extra} --cluster-name <cluster_name>",
        session.header, session.target.server
    )
}

/// Token and URL for programs.
pub fn json(token: &str, server: &str) -> String {
    format!(
        "{{\n  \"hub-token\": {},\n  \"hub-apiserver\": {}\n}}",
        serde_json::Value::from(token),
        serde_json::Value::from(server)
    )
}

/// Obtains a token from the hub.
///
/// # Errors
///
/// The hub refuses, or has none of this kind.
pub async fn obtain(session: &Session, kind: TokenKind) -> anyhow::Result<String> {
    match kind {
        TokenKind::ServiceAccount => of_service_account(session).await,
        TokenKind::Bootstrap => of_secret(session).await,
    }
}

async fn of_service_account(session: &Session) -> anyhow::Result<String> {
    let target = &session.target;
    let account = names::BOOTSTRAP_SERVICE_ACCOUNT;
    let api: Api<ServiceAccount> = Api::namespaced(target.client.clone(), namespaces::OPERATOR);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let tried = format!(
        "failed to get token from sa {}/{account}",
        namespaces::OPERATOR
    );
    let answer = api
        .create_token_request(account, &PostParams::default(), &request)
        .await
        .map_err(|error| match Trouble::of(&error).is_not_found() {
            true => target.explain(&tried, &error).context(format!(
                "the hub has no such account: run '{} init' there, or use --use-bootstrap-token if it was initialised so",
                session.header
            )),
            false => target.explain(&tried, &error),
        })?;
    let token = answer.status.and_then(|status| status.token);
    token.with_context(|| format!("{tried}: the answer has no token"))
}

async fn of_secret(session: &Session) -> anyhow::Result<String> {
    let target = &session.target;
    let secrets = bootstrap_secrets(session).await?;
    newest(&secrets).and_then(token_in).with_context(|| {
        format!(
            "context {:?} at {} has no bootstrap token in kube-system; run '{} init --use-bootstrap-token' there, or leave out --use-bootstrap-token",
            target.name, target.server, session.header
        )
    })
}

/// The name of the Secret that holds the newest bootstrap token, if there is one.
///
/// # Errors
///
/// The hub cannot be asked, or refuses.
pub async fn newest_secret(session: &Session) -> anyhow::Result<Option<String>> {
    let secrets = bootstrap_secrets(session).await?;
    Ok(newest(&secrets).and_then(|secret| secret.metadata.name.clone()))
}

async fn bootstrap_secrets(session: &Session) -> anyhow::Result<Vec<Secret>> {
    let target = &session.target;
    let api: Api<Secret> = Api::namespaced(target.client.clone(), namespaces::KUBE_SYSTEM);
    let selector = format!("{} = {}", labels::APP, apps::CLUSTER_MANAGER);
    let secrets = api.list(&ListParams::default().labels(&selector)).await;
    let secrets = secrets
        .map_err(|error| target.explain("list the bootstrap tokens in kube-system", &error))?;
    Ok(secrets.items)
}

/// The newest of the Secrets that hold a token.
fn newest(secrets: &[Secret]) -> Option<&Secret> {
    let holds_token = |secret: &&Secret| {
        let name = secret.metadata.name.as_deref().unwrap_or_default();
        name.starts_with(TOKEN_SECRET_PREFIX)
    };
    let created = |secret: &&Secret| {
        let created = secret.metadata.creation_timestamp.as_ref();
        created.map(|time| time.0)
    };
    secrets.iter().filter(holds_token).max_by_key(created)
}

fn token_in(secret: &Secret) -> Option<String> {
    let text = |key: &str| {
        let bytes = secret.data.as_ref()?.get(key)?;
        std::str::from_utf8(&bytes.0).ok()
    };
    Some(format!("{}.{}", text("token-id")?, text("token-secret")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_upstreams_keys_and_indent() {
        assert_eq!(
            json("a.b.c", "https://hub:1/spaces/its1"),
            "{\n  \"hub-token\": \"a.b.c\",\n  \"hub-apiserver\": \"https://hub:1/spaces/its1\"\n}"
        );
    }

    #[test]
    fn the_newest_bootstrap_token_counts() {
        let secret = |name: &str, day: &str, id: &str| -> Secret {
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": name, "creationTimestamp": format!("2026-01-{day}T00:00:00Z")},
                "data": {"token-id": id, "token-secret": "c2VjcmV0"},
            }))
            .expect("a Secret")
        };
        let secrets = [
            secret("bootstrap-token-a", "01", "b2xk"),
            secret("bootstrap-token-b", "03", "bmV3"),
            secret("another", "05", "eA=="),
        ];
        let token = newest(&secrets).and_then(token_in);
        assert_eq!(token.as_deref(), Some("new.secret"));
        assert!(newest(&secrets[2..]).is_none());
    }
}
