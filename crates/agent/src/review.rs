//! Asking an API server what its caller may do.

use hyades_api::names;
use hyades_runtime::Trouble;
use hyades_runtime::k8s_openapi::api::authorization::v1::ResourceAttributes;
use hyades_runtime::k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use hyades_runtime::k8s_openapi::api::authorization::v1::SelfSubjectAccessReviewSpec;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::api::PostParams;

/// A right to ask for: group, resource with its subresource, namespace, name, verbs.
pub(crate) type Right<'a> = (&'a str, &'a str, &'a str, &'a str, &'a [&'a str]);

/// What the first credentials for a hub must be good for.
pub(crate) const BOOTSTRAP_RIGHTS: [Right<'static>; 2] = [
    (
        names::CLUSTER_GROUP,
        "managedclusters",
        "",
        "",
        &["create", "get"],
    ),
    (
        "certificates.k8s.io",
        "certificatesigningrequests",
        "",
        "",
        &["create", "get", "list", "watch"],
    ),
];

/// Asks for every right; returns those that are missing, in words. The first alone: questions asked
/// before a connection stands would open one each.
///
/// # Errors
///
/// What stands in the way of asking, in words.
pub(crate) async fn missing(client: &Client, rights: &[Right<'_>]) -> Result<Vec<String>, String> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let asked: Vec<_> = rights
        .iter()
        .flat_map(|right| right.4.iter().map(move |verb| (*right, *verb)))
        .map(|(right, verb)| ask(&api, right, verb))
        .collect();
    let mut asked = asked.into_iter();
    let mut missing = Vec::new();
    if let Some(first) = asked.next() {
        missing.extend(first.await?);
    }
    for answer in futures::future::join_all(asked).await {
        missing.extend(answer?);
    }
    Ok(missing)
}

async fn ask(
    api: &Api<SelfSubjectAccessReview>,
    right: Right<'_>,
    verb: &str,
) -> Result<Option<String>, String> {
    let (group, path, namespace, name, _) = right;
    let (resource, subresource) = path.split_once('/').unwrap_or((path, ""));
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: given(group),
                resource: given(resource),
                subresource: given(subresource),
                namespace: given(namespace),
                name: given(name),
                verb: given(verb),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    match api.create(&PostParams::default(), &review).await {
        Ok(answer) if answer.status.as_ref().is_some_and(|status| status.allowed) => Ok(None),
        Ok(_) => Ok(Some(format!("{verb} {path}"))),
        Err(error) => Err(Trouble::of(&error).to_string()),
    }
}
