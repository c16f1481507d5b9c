//! What a WEC holds: what `join` put there, what the agent keeps there, and the hub behind it.
//!
//! The credentials are used where they are read, and nothing but facts about them is kept.

use super::ask;
use super::hub::renewed;
use super::is_hub;
use super::logs;
use super::optional;
use super::pods;
use super::reach;
use super::reach::Way;
use super::requests;
use crate::hyades::doctor::observed::As;
use crate::hyades::doctor::observed::Endpoint;
use crate::hyades::doctor::observed::HubFromWec;
use crate::hyades::doctor::observed::OwnFacts;
use crate::hyades::doctor::observed::Read;
use crate::hyades::doctor::observed::TokenFacts;
use crate::hyades::doctor::observed::Tried;
use crate::hyades::doctor::observed::WecSide;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyades_agent::credentials::Credentials;
use hyades_agent::credentials::HubEndpoint;
use hyades_agent::credentials::keys;
use hyades_agent::credentials::text;
use hyades_api::cluster::ManagedCluster;
use hyades_api::names;
use hyades_api::names::apps;
use hyades_api::names::namespaces;
use hyades_api::operator::Klusterlet;
use hyades_api::work::AppliedManifestWork;
use hyades_pki::BootstrapToken;
use hyades_pki::Certificate;
use hyades_pki::Kubeconfig;
use hyades_runtime::Trouble;
use hyades_runtime::client;
use hyades_runtime::component;
use hyades_runtime::k8s_openapi::api::coordination::v1::Lease;
use hyades_runtime::k8s_openapi::api::core::v1::Event;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::k8s_openapi::api::core::v1::Node;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ListParams;
use jiff::Timestamp;
use serde_json::Value;

/// Most works, events and nodes that are looked at.
const LIST_MAX: u32 = 100;

/// Looks at the WEC side of a cluster, or at nothing if no agent was ever installed in it.
pub async fn observe(client: &Client) -> Read<Option<WecSide>> {
    let klusterlets: Api<Klusterlet> = Api::all(client.clone());
    let namespaces_of: Api<Namespace> = Api::all(client.clone());
    let (klusterlet, namespace) = tokio::join!(
        ask("the Klusterlet", klusterlets.get_opt(names::KLUSTERLET)),
        ask(
            "the agent's namespace",
            namespaces_of.get_opt(namespaces::AGENT)
        ),
    );
    // A missing kind and a missing object are both 404; only a list tells them apart.
    let one = ListParams::default().limit(1);
    let listed = klusterlets.list_metadata(&one);
    let has_definition = !matches!(
        ask("Klusterlets", listed).await,
        Err(Trouble::NotFound(_) | Trouble::NotAnApiServer(_))
    );
    let klusterlet = optional(klusterlet);
    if matches!((&klusterlet, &namespace), (Ok(None), Ok(None))) {
        return Ok(None);
    }
    let agents = [
        apps::REGISTRATION_AGENT,
        apps::WORK_AGENT,
        apps::KLUSTERLET_AGENT,
    ];
    let (operator, agent, last_warning, is_served_by_host, stuck_works, bootstrap, own) = tokio::join!(
        pods::observe(client, namespaces::OPERATOR, &[apps::KLUSTERLET]),
        pods::observe(client, namespaces::AGENT, &agents),
        last_warning(client),
        is_served_by_host(client),
        stuck_works(client),
        secret(client, names::BOOTSTRAP_HUB_KUBECONFIG_SECRET),
        secret(client, names::HUB_KUBECONFIG_SECRET),
    );
    let hub = hub(&klusterlet, &bootstrap, &own).await;
    Ok(Some(WecSide {
        has_definition,
        klusterlet,
        is_served_by_host,
        operator,
        agent,
        last_warning,
        bootstrap: bootstrap.map(|secret| secret.as_ref().map(endpoint)),
        // The Secret exists before there is a certificate in it.
        own: own.map(|secret| {
            let has_certificate = |secret: &&Secret| text(secret, keys::CERTIFICATE).is_some();
            secret.as_ref().filter(has_certificate).map(own_facts)
        }),
        stuck_works,
        hub,
    }))
}

async fn secret(client: &Client, name: &str) -> Read<Option<Secret>> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespaces::AGENT);
    ask(&format!("the Secret {name}"), api.get_opt(name)).await
}

/// Whether the nodes are those of a host of this project, whose pods are processes of its machine.
async fn is_served_by_host(client: &Client) -> bool {
    let nodes: Api<Node> = Api::all(client.clone());
    let listed = ask("nodes", nodes.list(&ListParams::default().limit(LIST_MAX))).await;
    let is_ours = |node: &Node| {
        let info = node
            .status
            .as_ref()
            .and_then(|status| status.node_info.as_ref());
        info.is_some_and(|info| info.container_runtime_version.starts_with("hyades://"))
    };
    listed.is_ok_and(|list| list.items.iter().any(is_ours))
}

/// The newest warning in the agent's namespace.
async fn last_warning(client: &Client) -> Option<String> {
    let events: Api<Event> = Api::namespaced(client.clone(), namespaces::AGENT);
    let parameters = ListParams::default().fields("type=Warning").limit(LIST_MAX);
    let list = ask("events", events.list(&parameters)).await.ok()?;
    let newest = list.items.into_iter().max_by_key(|event| {
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        last.max(event.event_time.as_ref().map(|time| time.0))
    })?;
    newest.message.map(|message| logs::redacted(&message))
}

async fn stuck_works(client: &Client) -> Read<Vec<String>> {
    let works: Api<AppliedManifestWork> = Api::all(client.clone());
    let some = ListParams::default().limit(LIST_MAX);
    let listed = works.list_metadata(&some);
    let list = optional(ask("applied works", listed).await.map(Some))?;
    let works = list.map(|list| list.items).unwrap_or_default();
    let stuck = works
        .iter()
        .filter(|work| work.metadata.deletion_timestamp.is_some());
    Ok(stuck.map(ResourceExt::name_any).collect())
}

/// What the bootstrap Secret says.
fn endpoint(secret: &Secret) -> Result<Endpoint, String> {
    let name = names::BOOTSTRAP_HUB_KUBECONFIG_SECRET;
    let kubeconfig = text(secret, keys::KUBECONFIG)
        .ok_or_else(|| format!("the Secret {name} holds no kubeconfig"))?;
    let endpoint = HubEndpoint::of(kubeconfig, name).map_err(|error| error.to_string())?;
    Ok(Endpoint {
        server: endpoint.server().to_owned(),
        token: token(kubeconfig).map(|token| token_facts(&token)),
    })
}

/// The token in a kubeconfig's current context.
fn token(kubeconfig: &str) -> Option<String> {
    let parsed = Kubeconfig::parse(kubeconfig).ok()?;
    let user = parsed.user_of(&parsed.current_context)?;
    user.token.clone().filter(|token| !token.is_empty())
}

/// What a token says about itself. Its signature is the hub's to judge.
fn token_facts(token: &str) -> TokenFacts {
    if token.parse::<BootstrapToken>().is_ok() {
        return TokenFacts::Bootstrap;
    }
    let claims = || {
        let payload = token.split('.').nth(1)?;
        let bytes = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let claims: Value = serde_json::from_slice(&bytes).ok()?;
        claims.is_object().then_some(claims)
    };
    let Some(claims) = claims() else {
        return TokenFacts::Unreadable;
    };
    let time = |key: &str| Timestamp::from_second(claims[key].as_i64()?).ok();
    TokenFacts::Account {
        subject: claims["sub"].as_str().unwrap_or("nobody").to_owned(),
        issued: time("iat"),
        expires: time("exp"),
    }
}

/// What the agent's own Secret says.
fn own_facts(secret: &Secret) -> Result<OwnFacts, String> {
    let name = names::HUB_KUBECONFIG_SECRET;
    let credentials =
        Credentials::read(secret).ok_or_else(|| format!("the Secret {name} is not complete"))?;
    let certificates = Certificate::parse_pem_bundle(&credentials.certificate_pem)
        .map_err(|error| format!("the certificate in the Secret {name}: {error}"))?;
    let certificate = certificates
        .first()
        .ok_or_else(|| format!("the Secret {name} holds no certificate"))?;
    Ok(OwnFacts {
        cluster: text(secret, keys::CLUSTER_NAME)
            .unwrap_or_default()
            .to_owned(),
        server: credentials.endpoint.server().to_owned(),
        common_name: certificate.subject().common_name.clone(),
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
    })
}

/// Looks at the hub with the agent's own credentials, or else with those of a newcomer.
async fn hub(
    klusterlet: &Read<Option<Klusterlet>>,
    bootstrap: &Read<Option<Secret>>,
    own: &Read<Option<Secret>>,
) -> Option<HubFromWec> {
    let present = |secret: &Read<Option<Secret>>| secret.clone().ok().flatten();
    let (bootstrap, own) = (present(bootstrap), present(own));
    let now = Timestamp::now();
    let facts = own.as_ref().and_then(|secret| own_facts(secret).ok());
    let is_valid = facts.as_ref().is_some_and(|facts| facts.not_after > now);
    let credentials = own.as_ref().and_then(Credentials::read);
    let newcomer = bootstrap
        .as_ref()
        .and_then(|secret| text(secret, keys::KUBECONFIG))
        .map(str::to_owned);
    let of_klusterlet = klusterlet.as_ref().ok().and_then(Option::as_ref);
    let name = facts
        .as_ref()
        .map(|facts| facts.cluster.clone())
        .or_else(|| of_klusterlet.map(|found| found.spec.cluster_name.clone()))
        .unwrap_or_default();
    match credentials.filter(|_| is_valid) {
        Some(credentials) => {
            let kubeconfig = credentials.client_kubeconfig().to_yaml().ok()?;
            let mut seen = look(&kubeconfig, credentials.endpoint, As::Agent, &name).await;
            seen.token_answer = match newcomer {
                Some(kubeconfig) => Some(token_answer(&kubeconfig).await),
                None => None,
            };
            Some(seen)
        }
        None => {
            let kubeconfig = newcomer?;
            let secret = names::BOOTSTRAP_HUB_KUBECONFIG_SECRET;
            let endpoint = HubEndpoint::of(&kubeconfig, secret).ok()?;
            Some(look(&kubeconfig, endpoint, As::Newcomer, &name).await)
        }
    }
}

async fn connect(kubeconfig: &str) -> Result<Client, String> {
    let agent = component::user_agent("doctor");
    let client = client::from_kubeconfig(kubeconfig, "in the WEC", &agent).await;
    // The error tells a place in the file, and no values; and still nothing secret shall pass.
    client.map_err(|error| logs::redacted(&error.to_string()))
}

/// What the hub says to the bootstrap token.
async fn token_answer(kubeconfig: &str) -> Read<()> {
    let client = connect(kubeconfig).await.map_err(Trouble::Other)?;
    ask(
        "the version with the bootstrap token",
        client.apiserver_version(),
    )
    .await
    .map(drop)
}

async fn look(kubeconfig: &str, endpoint: HubEndpoint, identity: As, name: &str) -> HubFromWec {
    let field = |key: &str| endpoint.cluster.other.get(key).and_then(Value::as_str);
    let authority = endpoint.cluster.certificate_authority_pem();
    let way = Way {
        url: endpoint.server(),
        authority: authority.as_deref(),
        server_name: field("tls-server-name"),
        has_proxy: field("proxy-url").is_some(),
    };
    let client = connect(kubeconfig).await;
    let reach = reach::reach(&way, client.as_ref().map_err(Clone::clone)).await;
    let answer = reach.answer.done().map(|answer| answer.version.clone());
    let answers = matches!(answer, Some(Ok(_)));
    let token_answer = match (identity, answer) {
        (As::Newcomer, Some(answer)) => Some(answer.map(drop)),
        _ => None,
    };
    let not_asked = || Trouble::Other("the hub did not answer before".to_owned());
    let mut seen = HubFromWec {
        reach,
        authority,
        identity,
        is_its: Err(not_asked()),
        cluster: Err(not_asked()),
        requests: Err(not_asked()),
        lease: None,
        token_answer,
    };
    let (Ok(client), true) = (client, answers) else {
        return seen;
    };
    let clusters: Api<ManagedCluster> = Api::all(client.clone());
    let leases: Api<Lease> = Api::namespaced(client.clone(), name);
    seen.is_its = is_hub(&client).await;
    seen.cluster = ask("the managed cluster", clusters.get_opt(name)).await;
    seen.requests = requests::of_wec(&client, name).await;
    if identity == As::Agent {
        let lease = ask("the lease", leases.get_opt(names::LEASE)).await;
        seen.lease = Some(lease.map(|found| found.map(|lease| renewed(&lease))));
    }
    if let Tried::Done(answer) = &mut seen.reach.answer
        && let Err(trouble @ Trouble::Unauthorized(_)) = &seen.is_its
    {
        // `/version` is for everybody on some servers; this answer is about the credentials.
        answer.version = Err(trouble.clone());
        if identity == As::Newcomer {
            seen.token_answer = Some(Err(trouble.clone()));
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_apart_without_keeping_them() {
        let claims =
            URL_SAFE_NO_PAD.encode(r#"{"sub":"system:serviceaccount:a:b","iat":1,"exp":3601}"#);
        let facts = token_facts(&format!("eyJhIjoxfQ.{claims}.c2ln"));
        let at = |second| Timestamp::from_second(second).ok();
        assert_eq!(
            facts,
            TokenFacts::Account {
                subject: "system:serviceaccount:a:b".to_owned(),
                issued: at(1),
                expires: at(3601),
            }
        );
        assert_eq!(
            token_facts("ocmhub.0123456789abcdef"),
            TokenFacts::Bootstrap
        );
        for nonsense in ["", "abc", "a.b.c"] {
            assert_eq!(token_facts(nonsense), TokenFacts::Unreadable, "{nonsense}");
        }
    }
}
