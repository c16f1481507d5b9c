//! Bootstrap tokens: `id.secret` pairs kept as Secrets in `kube-system`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyades_pki::BootstrapToken;
use jiff::Timestamp;
use serde_json::Value;

use crate::identity::UserInfo;

/// The type of Secrets that hold a bootstrap token.
pub const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";

/// The group of every user of a bootstrap token; further groups have it as their first part.
pub const GROUP: &str = "system:bootstrappers";

/// The longest rest of an extra group's name, after `system:bootstrappers:`.
const EXTRA_GROUP_CHARACTERS_MAX: usize = 256;

/// The store key of a token's Secret.
pub fn secret_key(id: &str) -> String {
    format!("core/secrets/kube-system/bootstrap-token-{id}")
}

/// When the token in a Secret ends; `None` when it does not.
///
/// # Errors
/// The unreadable text: such a token counts as expired.
pub fn expiration(secret: &Value) -> Result<Option<Timestamp>, String> {
    match datum(secret, "expiration") {
        None => Ok(None),
        Some(text) if text.is_empty() => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| text),
    }
}

/// The user a token proves, judged by its Secret; `None` when the Secret does not vouch for it.
pub fn user(token: &BootstrapToken, secret: &Value, now: Timestamp) -> Option<UserInfo> {
    let vouches = secret["type"] == SECRET_TYPE
        && secret["metadata"].get("deletionTimestamp").is_none()
        && datum(secret, "token-id").as_deref() == Some(token.id())
        && datum(secret, "token-secret").is_some_and(|stored| token.has_secret(&stored))
        && datum(secret, "usage-bootstrap-authentication").as_deref() == Some("true")
        && expiration(secret).is_ok_and(|end| end.is_none_or(|end| now < end));
    if !vouches {
        return None;
    }
    let mut groups = vec![GROUP.to_owned()];
    if let Some(extra) = datum(secret, "auth-extra-groups").filter(|extra| !extra.is_empty()) {
        for group in extra.split(',') {
            if !is_extra_group(group) {
                return None;
            }
            groups.push(group.to_owned());
        }
    }
    Some(UserInfo {
        name: format!("system:bootstrap:{}", token.id()),
        groups,
        ..UserInfo::default()
    })
}

/// One entry of a Secret's data, decoded; `None` when absent or no text.
fn datum(secret: &Value, key: &str) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(secret["data"][key].as_str()?).ok()?;
    String::from_utf8(bytes).ok()
}

fn is_extra_group(group: &str) -> bool {
    let Some(rest) = group
        .strip_prefix(GROUP)
        .and_then(|rest| rest.strip_prefix(':'))
    else {
        return false;
    };
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    rest.len() <= EXTRA_GROUP_CHARACTERS_MAX
        && rest.bytes().last().is_some_and(letter)
        && rest
            .bytes()
            .all(|byte| letter(byte) || byte == b':' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(changes: &[(&str, Option<&str>)]) -> Value {
        let mut secret = json!({"type": SECRET_TYPE, "metadata": {}, "data": {}});
        let usual = [
            ("token-id", Some("abcdef")),
            ("token-secret", Some("0123456789abcdef")),
            ("usage-bootstrap-authentication", Some("true")),
            (
                "auth-extra-groups",
                Some("system:bootstrappers:managedcluster"),
            ),
        ];
        for (key, value) in usual.iter().chain(changes) {
            match value {
                Some(text) => secret["data"][*key] = BASE64_STANDARD.encode(text).into(),
                None => {
                    secret["data"].as_object_mut().unwrap().remove(*key);
                }
            }
        }
        secret
    }

    fn proves(secret: &Value) -> Option<UserInfo> {
        let token: BootstrapToken = "abcdef.0123456789abcdef".parse().unwrap();
        user(&token, secret, "2026-11-24T06:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_good_token_proves_its_user_and_groups() {
        let user = proves(&secret(&[])).unwrap();
        assert_eq!(user.name, "system:bootstrap:abcdef");
        assert_eq!(
            user.groups,
            [
                "system:bootstrappers",
                "system:bootstrappers:managedcluster"
            ]
        );
    }

    #[test]
    fn each_missing_or_wrong_fact_refuses_the_token() {
        let cases: &[(&str, Option<&str>)] = &[
            ("token-id", Some("abcdeg")),
            ("token-secret", Some("0123456789abcdeg")),
            ("token-secret", None),
            ("usage-bootstrap-authentication", None),
            ("usage-bootstrap-authentication", Some("yes")),
            ("expiration", Some("2026-11-24T05:59:59Z")),
            ("expiration", Some("tomorrow")),
            ("auth-extra-groups", Some("system:masters")),
            ("auth-extra-groups", Some("system:bootstrappers:")),
            (
                "auth-extra-groups",
                Some("system:bootstrappers:a,system:bootstrappersb"),
            ),
        ];
        for case in cases {
            assert_eq!(proves(&secret(&[*case])), None, "{case:?}");
        }
        let mut other = secret(&[]);
        other["type"] = "Opaque".into();
        assert_eq!(proves(&other), None);
    }

    #[test]
    fn a_token_holds_until_its_expiration() {
        assert!(proves(&secret(&[("expiration", Some("2026-11-24T06:00:01Z"))])).is_some());
    }
}
