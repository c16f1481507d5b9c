//! Acting as another user: the `Impersonate-*` headers.

use http::HeaderMap;
use std::collections::BTreeMap;

use super::ANONYMOUS;
use super::AUTHENTICATED_GROUP;
use super::UNAUTHENTICATED_GROUP;
use super::service_account_groups;
use super::split_service_account;
use crate::identity::Attributes;
use crate::identity::UserInfo;

/// The start of headers that carry extra facts.
const EXTRA_HEADER_START: &str = "impersonate-extra-";

/// How many groups and extra values one request may claim: each is a decision of the authoriser,
/// and no real user is in more groups.
const CLAIMS_MAX: usize = 256;

/// Whom a request wants to act as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impersonation {
    /// The user to act as.
    pub user: UserInfo,
    /// What the real user must be allowed to do for it, in order.
    pub needs: Vec<Attributes>,
}

/// Impersonation headers that make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Groups, uid or extra facts without a user.
    #[error(
        "requested impersonated groups, uid or extra without impersonating a user: set Impersonate-User too"
    )]
    NoUser,
    /// A value that is no text.
    #[error("the header {0} is not valid text")]
    NotText(String),
    /// More claims than [`CLAIMS_MAX`].
    #[error("the request impersonates more than {CLAIMS_MAX} groups and extra values")]
    TooMany,
}

/// Reads the headers; `None` when the request acts as itself.
///
/// # Errors
/// [`HeaderError`].
pub fn requested(headers: &HeaderMap) -> Result<Option<Impersonation>, HeaderError> {
    let name = single(headers, "impersonate-user")?;
    let uid = single(headers, "impersonate-uid")?;
    let mut groups = Vec::new();
    for value in headers.get_all("impersonate-group") {
        groups.push(text("Impersonate-Group", value)?);
    }
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (header, value) in headers {
        if let Some(key) = header.as_str().strip_prefix(EXTRA_HEADER_START) {
            extra
                .entry(percent_decoded(key))
                .or_default()
                .push(text(header.as_str(), value)?);
        }
    }
    let claims = groups.len() + extra.values().map(Vec::len).sum::<usize>();
    if claims > CLAIMS_MAX {
        return Err(HeaderError::TooMany);
    }
    if name.is_empty() {
        return match claims == 0 && uid.is_empty() {
            true => Ok(None),
            false => Err(HeaderError::NoUser),
        };
    }
    Ok(Some(Impersonation {
        needs: needs(&name, &uid, &groups, &extra),
        user: acting_user(name, uid, groups, extra),
    }))
}

fn needs(
    name: &str,
    uid: &str,
    groups: &[String],
    extra: &BTreeMap<String, Vec<String>>,
) -> Vec<Attributes> {
    let impersonate =
        |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
            Attributes::Resource {
                verb: "impersonate".to_owned(),
                group: group.to_owned(),
                version: "v1".to_owned(),
                resource: resource.to_owned(),
                subresource: subresource.to_owned(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }
        };
    let mut needs = vec![match split_service_account(name) {
        Some((namespace, account)) => impersonate("", "serviceaccounts", "", namespace, account),
        None => impersonate("", "users", "", "", name),
    }];
    needs.extend(
        groups
            .iter()
            .map(|group| impersonate("", "groups", "", "", group)),
    );
    for (key, values) in extra {
        needs.extend(
            values
                .iter()
                .map(|value| impersonate("authentication.k8s.io", "userextras", key, "", value)),
        );
    }
    if !uid.is_empty() {
        needs.push(impersonate("authentication.k8s.io", "uids", "", "", uid));
    }
    needs
}

fn acting_user(
    name: String,
    uid: String,
    mut groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
) -> UserInfo {
    if groups.is_empty()
        && let Some((namespace, _)) = split_service_account(&name)
    {
        groups.extend(service_account_groups(namespace));
    }
    let state = if name == ANONYMOUS {
        UNAUTHENTICATED_GROUP
    } else {
        AUTHENTICATED_GROUP
    };
    let states = [AUTHENTICATED_GROUP, UNAUTHENTICATED_GROUP];
    if !groups.iter().any(|group| states.contains(&group.as_str())) {
        groups.push(state.to_owned());
    }
    UserInfo {
        name,
        uid,
        groups,
        extra,
    }
}

fn single(headers: &HeaderMap, name: &str) -> Result<String, HeaderError> {
    headers
        .get(name)
        .map_or_else(|| Ok(String::new()), |value| text(name, value))
}

fn text(name: &str, value: &http::HeaderValue) -> Result<String, HeaderError> {
    std::str::from_utf8(value.as_bytes())
        .map(str::to_owned)
        .map_err(|_| HeaderError::NotText(name.to_owned()))
}

/// Header names carry keys with `/` and other signs percent-encoded; what is no valid encoding
/// stays as it is.
fn percent_decoded(key: &str) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, http::HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_request_without_the_headers_acts_as_itself() {
        assert_eq!(requested(&headers(&[("accept", "*/*")])), Ok(None));
    }

    #[test]
    fn every_claim_needs_its_own_permission() {
        let asked = requested(&headers(&[
            ("impersonate-user", "jane"),
            ("impersonate-group", "a"),
            ("impersonate-group", "b"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-acme.com%2Fteam", "x"),
        ]))
        .unwrap()
        .unwrap();
        assert_eq!(asked.user.groups, ["a", "b", "system:authenticated"]);
        assert_eq!(asked.user.extra["acme.com/team"], ["x"]);
        let resources: Vec<String> = asked
            .needs
            .iter()
            .map(|need| match need {
                Attributes::Resource {
                    resource,
                    subresource,
                    name,
                    ..
                } => format!("{resource}/{subresource}:{name}"),
                Attributes::Path { path, .. } => path.clone(),
            })
            .collect();
        assert_eq!(
            resources,
            [
                "users/:jane",
                "groups/:a",
                "groups/:b",
                "userextras/acme.com/team:x",
                "uids/:7"
            ]
        );
    }

    #[test]
    fn a_service_account_comes_with_its_groups() {
        let asked = requested(&headers(&[(
            "impersonate-user",
            "system:serviceaccount:a:b",
        )]))
        .unwrap()
        .unwrap();
        assert_eq!(
            asked.user.groups,
            [
                "system:serviceaccounts",
                "system:serviceaccounts:a",
                "system:authenticated"
            ]
        );
        assert!(matches!(
            &asked.needs[..],
            [Attributes::Resource { resource, namespace, .. }]
                if resource == "serviceaccounts" && namespace == "a"
        ));
    }

    #[test]
    fn groups_without_a_user_are_refused() {
        assert_eq!(
            requested(&headers(&[("impersonate-group", "a")])),
            Err(HeaderError::NoUser)
        );
    }
}
