//! The holder of a client certificate that has run out, who may ask for another and nothing else.
//!
//! A client that was cut off while its certificate expired has no other proof of who it is than the
//! key it still holds. The handshake shows that it holds it. So the certificate counts for two
//! requests only (see [`crate::request::Target::renews_a_certificate`]), and not as its user but as
//! one of its own name, in a group of its own, with the certificate's end and key as extras. That
//! user has no rights until somebody gives the group some, and whatever rights those are, it uses
//! them for two things only: to ask for a certificate for its own name ([`may_ask`]), and to look at
//! what it asked for ([`confine`]). The key asked for may be a newer one, whose certificate it was cut
//! off from: a request is signed by its own key. It is approved by whoever knows whether that key may
//! come back, and after how long.

use hyades_pki::Certificate;
use hyades_pki::CertificateRequest;
use hyades_pki::VerifyError;
use hyades_pki::verify_client;
use hyades_store::Store;
use jiff::SignedDuration;
use jiff::Timestamp;

use crate::identity::Attributes;
use crate::identity::UserInfo;
use crate::names;
use crate::names::Gvr;
use crate::object;

/// Start of the user's name; the certificate's common name follows.
pub const USER_PREFIX: &str = "hyades.io:expired:";

/// The user's only group. It is not `system:authenticated`: nobody has been authenticated.
pub const GROUP: &str = "hyades.io:expired-certificates";

/// Extra: when the certificate ended.
pub const EXPIRED_AT: &str = "hyades.io/certificate-expired-at";

/// Extra: SHA-256 of the certificate's public key, in hexadecimal.
pub const KEY: &str = "hyades.io/certificate-key-sha256";

/// No certificate counts for longer after its end, whatever those who approve think of it: as long
/// as certificates usually live, one year, and a month.
const AGE_MAX: SignedDuration = SignedDuration::from_hours(396 * 24);

/// The user that an expired certificate stands for; nothing if it is good, or wrong in any other
/// way, or has expired too long ago.
pub fn user(der: &[u8], authority: &Certificate, now: Timestamp) -> Option<UserInfo> {
    let Err(VerifyError::Expired { not_after, .. }) = verify_client(der, authority, now) else {
        return None;
    };
    if now.duration_since(not_after) > AGE_MAX {
        return None;
    }
    // Everything else must be in order, as of when it ended.
    let subject = verify_client(der, authority, not_after).ok()?;
    if subject.common_name.is_empty() {
        return None;
    }
    let key = Certificate::from_der(der).ok()?.public_key_sha256();
    Some(UserInfo {
        name: format!("{USER_PREFIX}{}", subject.common_name),
        groups: vec![GROUP.to_owned()],
        extra: [
            (EXPIRED_AT.to_owned(), vec![format!("{not_after:.0}")]),
            (KEY.to_owned(), vec![key]),
        ]
        .into(),
        uid: String::new(),
    })
}

/// What such a user may ask of the space, whatever rights its group was given. Others are not
/// concerned.
///
/// # Errors
/// Why not.
pub fn confine(store: &Store, user: &UserInfo, asked: &Attributes) -> Result<(), String> {
    if !is_expired(user) {
        return Ok(());
    }
    let nothing_else = || {
        Err(
            "an expired certificate serves to ask for another one and to look at that request, and \
             for nothing else"
                .to_owned(),
        )
    };
    let Attributes::Resource {
        verb,
        group,
        resource,
        subresource,
        name,
        ..
    } = asked
    else {
        return nothing_else();
    };
    let requests = &Gvr::CERTIFICATE_SIGNING_REQUESTS;
    if *group != requests.group || *resource != requests.resource || !subresource.is_empty() {
        return nothing_else();
    }
    match verb.as_str() {
        "create" => Ok(()),
        "get" if is_own_or_absent(store, user, name) => Ok(()),
        "get" => Err("the request was not made with this certificate".to_owned()),
        _ => nothing_else(),
    }
}

/// Whether such a user may make this request for a certificate: it is for its own name. Others are
/// not concerned.
///
/// # Errors
/// Why not.
pub fn may_ask(user: &UserInfo, request: Option<&CertificateRequest>) -> Result<(), String> {
    if !is_expired(user) {
        return Ok(());
    }
    let own_name = user.name.strip_prefix(USER_PREFIX).unwrap_or_default();
    if request.is_some_and(|request| request.subject().common_name == own_name) {
        return Ok(());
    }
    Err(format!(
        "the expired certificate was for {own_name:?}, and serves to ask for another one for that \
         common name only"
    ))
}

fn is_expired(user: &UserInfo) -> bool {
    user.groups.iter().any(|group| group == GROUP)
}

/// Whether a request was made with the certificate of this user. One that is absent belongs to
/// nobody, and its absence is what an agent whose request was deleted has to learn.
fn is_own_or_absent(store: &Store, user: &UserInfo, name: &str) -> bool {
    let Gvr {
        group, resource, ..
    } = &Gvr::CERTIFICATE_SIGNING_REQUESTS;
    let prefix = names::resource_prefix(group, resource);
    let Some(entry) = store.get(&names::object_key(&prefix, "", name)) else {
        return true;
    };
    let spec = &object::decode(&entry.value)["spec"];
    let own_key = user.extra.get(KEY).map(|key| serde_json::json!(key));
    spec["username"] == *user.name && own_key.is_some_and(|key| spec["extra"][KEY] == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_pki::Authority;
    use hyades_pki::Validity;

    const HOUR: i64 = 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn authority() -> Authority {
        Authority::new("clients", Validity::starting(at(0), 1000 * 24 * HOUR))
            .expect("an authority")
    }

    fn certificate(authority: &Authority) -> Certificate {
        let valid = Validity {
            not_before: at(0),
            not_after: at(HOUR),
        };
        let groups = ["system:masters".to_owned()];
        authority
            .issue_client("somebody", &groups, valid)
            .expect("a certificate")
            .0
    }

    #[test]
    fn an_expired_certificate_gives_a_user_of_its_own_with_none_of_the_groups() {
        let authority = authority();
        let certificate = certificate(&authority);
        let user = user(certificate.der(), authority.certificate(), at(HOUR + 60)).expect("a user");
        assert_eq!(user.name, "hyades.io:expired:somebody");
        assert_eq!(user.groups, [GROUP]);
        assert_eq!(user.extra[EXPIRED_AT], [format!("{:.0}", at(HOUR))]);
        assert_eq!(user.extra[KEY], [certificate.public_key_sha256()]);
    }

    #[test]
    fn good_foreign_and_ancient_certificates_give_none() {
        let ours = authority();
        let certificate = certificate(&ours);
        let user = |authority: &Authority, second| {
            user(certificate.der(), authority.certificate(), at(second))
        };
        assert!(user(&ours, 60).is_none(), "still good");
        assert!(user(&ours, -60).is_none(), "not yet good");
        assert!(
            user(&authority(), HOUR + 60).is_none(),
            "another authority's"
        );
        assert!(
            user(&ours, HOUR + 397 * 24 * HOUR).is_none(),
            "too long ago"
        );
    }
}
