//! What a hub holds: its programs, what new agents need, and each WEC.

use super::ask;
use super::is_hub;
use super::pods;
use super::requests;
use crate::clusteradm::cluster_info;
use crate::hyades::doctor::observed::BootstrapFacts;
use crate::hyades::doctor::observed::HubSide;
use crate::hyades::doctor::observed::Read;
use crate::hyades::doctor::observed::WecOnHub;
use futures::StreamExt;
use futures::stream;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::conditions::managed_cluster as known;
use hyades_api::identity::ClusterName;
use hyades_api::names;
use hyades_api::names::annotations;
use hyades_api::names::apps;
use hyades_api::names::labels;
use hyades_api::names::namespaces;
use hyades_api::work::ManifestWork;
use hyades_runtime::k8s_openapi::api::authorization::v1::ResourceAttributes;
use hyades_runtime::k8s_openapi::api::authorization::v1::SubjectAccessReview;
use hyades_runtime::k8s_openapi::api::authorization::v1::SubjectAccessReviewSpec;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::api::coordination::v1::Lease;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::k8s_openapi::api::core::v1::ServiceAccount;
use hyades_runtime::k8s_openapi::api::rbac::v1::ClusterRole;
use hyades_runtime::k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use hyades_runtime::k8s_openapi::api::rbac::v1::RoleBinding;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::PostParams;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Most WECs looked at: each costs about nine requests, and a report of more than this many is
/// read by nobody. Those that are not well come first.
const WECS_MAX: usize = 50;

/// Most inventory objects and requests that are listed to choose among: what one answer should
/// hold of a fleet of any size.
const LIST_MAX: u32 = 500;

/// The group of the accounts that the bootstrap account is one of.
const ACCOUNTS_GROUP: &str = "system:serviceaccounts:open-cluster-management";

/// WECs looked at at a time.
const AT_A_TIME: usize = 4;

/// Looks at the hub side of a cluster, or at nothing if it is no hub.
pub async fn observe(client: &Client, cluster: Option<&str>) -> Read<Option<HubSide>> {
    if !is_hub(client).await? {
        return Ok(None);
    }
    let (operator, controllers, cluster_info, bootstrap, chosen) = tokio::join!(
        pods::observe(client, namespaces::OPERATOR, &[apps::CLUSTER_MANAGER]),
        pods::observe(client, namespaces::HUB, &[apps::HUB]),
        cluster_info(client),
        bootstrap(client),
        choose(client, cluster),
    );
    let (wecs, wecs_left_out) = match chosen {
        Err(trouble) => (Err(trouble), 0),
        Ok((names, left_out)) => {
            let looks = stream::iter(names).map(|name| async move { wec(client, name).await });
            (Ok(looks.buffered(AT_A_TIME).collect().await), left_out)
        }
    };
    Ok(Some(HubSide {
        operator,
        controllers,
        cluster_info,
        bootstrap,
        wecs,
        wecs_left_out,
    }))
}

async fn cluster_info(client: &Client) -> Read<Option<String>> {
    let api = cluster_info::api(client);
    let map = ask("cluster-info", api.get_opt(cluster_info::NAME)).await?;
    let text = map.as_ref().and_then(cluster_info::kubeconfig);
    Ok(text
        .and_then(|text| cluster_info::parse(text).ok())
        .and_then(|info| info.server))
}

async fn bootstrap(client: &Client) -> BootstrapFacts {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespaces::OPERATOR);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespaces::KUBE_SYSTEM);
    let (account, token) = tokio::join!(
        ask(
            "the bootstrap account",
            accounts.get_opt(names::BOOTSTRAP_SERVICE_ACCOUNT)
        ),
        ask(
            "the bootstrap token",
            secrets.get_opt(names::BOOTSTRAP_TOKEN_SECRET)
        ),
    );
    let account = account.map(|found| found.is_some());
    let newcomer = match account {
        Ok(false) => (names::BOOTSTRAP_TOKEN_USER, names::BOOTSTRAP_TOKEN_GROUP),
        _ => (names::BOOTSTRAP_SERVICE_ACCOUNT_USER, ACCOUNTS_GROUP),
    };
    BootstrapFacts {
        account,
        token: token.map(|found| found.map(|secret| expiration(&secret))),
        missing_rights: missing_rights(client, newcomer).await,
    }
}

/// What a new agent may not do, of what it has to; asked of the hub's own authoriser.
async fn missing_rights(client: &Client, (user, group): (&str, &str)) -> Read<Vec<String>> {
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let mut missing = Vec::new();
    for (api_group, resource, verb) in [
        (names::CLUSTER_GROUP, "managedclusters", "create"),
        (
            "certificates.k8s.io",
            "certificatesigningrequests",
            "create",
        ),
        ("certificates.k8s.io", "certificatesigningrequests", "get"),
    ] {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.to_owned()),
                groups: Some(vec![group.to_owned(), "system:authenticated".to_owned()]),
                resource_attributes: Some(ResourceAttributes {
                    group: Some(api_group.to_owned()),
                    resource: Some(resource.to_owned()),
                    verb: Some(verb.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let what = format!("the right to {verb} {resource}");
        let answer = ask(&what, api.create(&PostParams::default(), &review)).await?;
        if !answer.status.is_some_and(|status| status.allowed) {
            missing.push(format!("{verb} {resource}"));
        }
    }
    Ok(missing)
}

/// When a bootstrap token expires; nothing if never.
fn expiration(secret: &Secret) -> Option<Timestamp> {
    let bytes = secret.data.as_ref()?.get("expiration")?;
    std::str::from_utf8(&bytes.0).ok()?.parse().ok()
}

/// The names of the WECs to look at, and how many there are besides.
async fn choose(client: &Client, cluster: Option<&str>) -> Read<(Vec<String>, usize)> {
    if let Some(cluster) = cluster {
        return Ok((vec![cluster.to_owned()], 0));
    }
    let clusters: Api<ManagedCluster> = Api::all(client.clone());
    let requests: Api<CertificateSigningRequest> = Api::all(client.clone());
    let all = ListParams::default().limit(LIST_MAX);
    let labelled = all.clone().labels(labels::CLUSTER_NAME);
    let (clusters, requests) = tokio::join!(
        ask("the managed clusters", clusters.list(&all)),
        ask("the certificate signing requests", requests.list(&labelled)),
    );
    let (clusters, requests) = (clusters?, requests?);
    let unlisted = clusters.metadata.remaining_item_count.unwrap_or_default();
    let of_requests = requests
        .items
        .iter()
        .filter_map(|request| request.labels().get(labels::CLUSTER_NAME));
    let mut chosen = order(&clusters.items, of_requests);
    let more = chosen.len().saturating_sub(WECS_MAX);
    chosen.truncate(WECS_MAX);
    let unlisted = usize::try_from(unlisted).unwrap_or_default();
    Ok((chosen, more + unlisted))
}

/// Every name once: those that are not Available first, each group in order of names.
fn order<'a>(
    clusters: &[ManagedCluster],
    of_requests: impl Iterator<Item = &'a String>,
) -> Vec<String> {
    let mut is_well: BTreeMap<String, bool> = BTreeMap::new();
    for name in of_requests {
        is_well.insert(name.clone(), false);
    }
    for cluster in clusters {
        let well = conditions::is_true(&cluster.status.conditions, known::AVAILABLE);
        is_well.insert(cluster.name_any(), well);
    }
    let (well, ill): (Vec<_>, Vec<_>) = is_well.into_iter().partition(|(_, well)| *well);
    ill.into_iter().chain(well).map(|(name, _)| name).collect()
}

async fn wec(client: &Client, name: String) -> WecOnHub {
    let clusters: Api<ManagedCluster> = Api::all(client.clone());
    let mailboxes: Api<Namespace> = Api::all(client.clone());
    let leases: Api<Lease> = Api::namespaced(client.clone(), &name);
    let works: Api<ManifestWork> = Api::namespaced(client.clone(), &name);
    let some_works = ListParams::default().limit(LIST_MAX);
    let (cluster, requests, mailbox, lease, works) = tokio::join!(
        ask("the managed cluster", clusters.get_opt(&name)),
        requests::of_wec(client, &name),
        ask("the mailbox", mailboxes.get_opt(&name)),
        ask("the lease", leases.get_opt(names::LEASE)),
        ask("the works", works.list_metadata(&some_works)),
    );
    let owner = mailbox.as_ref().ok().and_then(|mailbox| {
        let annotations = mailbox.as_ref()?.annotations();
        annotations.get(annotations::PINNED_AGENT).cloned()
    });
    WecOnHub {
        cluster,
        requests,
        owner,
        missing: missing(client, &name, mailbox).await,
        lease: lease.map(|found| found.map(|lease| renewed(&lease))),
        works: works.map(|list| list.items.len()),
        name,
    }
}

/// When a lease was renewed; nothing if never.
pub fn renewed(lease: &Lease) -> Option<Timestamp> {
    let renewed = lease.spec.as_ref()?.renew_time.as_ref()?;
    Some(renewed.0)
}

/// What of mailbox and rights does not exist.
async fn missing(
    client: &Client,
    name: &str,
    mailbox: Read<Option<Namespace>>,
) -> Read<Vec<String>> {
    let mut missing = Vec::new();
    if mailbox?.is_none() {
        missing.push(format!("Namespace {name}"));
    }
    let Ok(cluster) = name.parse::<ClusterName>() else {
        return Ok(missing);
    };
    let role = names::cluster_role(&cluster);
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), name);
    let registration = names::registration_role_binding(&cluster);
    let work = names::work_role_binding(&cluster);
    let found = tokio::join!(
        absent(
            Api::<ClusterRole>::all(client.clone()),
            "ClusterRole",
            &role
        ),
        absent(
            Api::<ClusterRoleBinding>::all(client.clone()),
            "ClusterRoleBinding",
            &role
        ),
        absent(bindings.clone(), "RoleBinding", &registration),
        absent(bindings, "RoleBinding", &work),
    );
    for one in [found.0, found.1, found.2, found.3] {
        missing.extend(one?);
    }
    Ok(missing)
}

/// The object's kind and name, if it does not exist.
async fn absent<K>(api: Api<K>, kind: &str, name: &str) -> Read<Option<String>>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let found = ask(&format!("the {kind} {name}"), api.get_opt(name)).await?;
    Ok(found.is_none().then(|| format!("{kind} {name}")))
}
