//! `DATA_DIR/kubeconfig`: one context for each space, as its administrator.

use hyades_pki::Authority;
use hyades_pki::Certificate;
use hyades_pki::Kubeconfig;
use hyades_pki::KubeconfigError;
use hyades_pki::Validity;
use hyades_pki::kubeconfig::Credentials;
use jiff::Timestamp;

use crate::HostError;
use crate::folder;
use crate::folder::Folder;

const DAY_SECONDS: i64 = 24 * 3600;
/// An administrator's certificate lasts a year, as kubeadm's does.
const ADMIN_SECONDS: i64 = 365 * DAY_SECONDS;
/// It is replaced at a start that finds less than this left.
const RENEW_BEFORE_SECONDS: i64 = 30 * DAY_SECONDS;
/// The group that may do everything.
const ADMIN_GROUP: &str = "system:masters";
/// The administrator's name.
const ADMIN_USER: &str = "kubernetes-admin";

/// The file's name in the data folder.
pub(crate) const FILE: &str = "kubeconfig";

/// A context that should be in the file.
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    pub(crate) url: String,
    pub(crate) client_ca: &'a Authority,
}

/// Brings the file up to date with the spaces there are; a file that is writes nothing.
pub(crate) fn update(
    folder: &Folder,
    owner: &str,
    ca_pem: &str,
    wanted: &[Wanted<'_>],
    now: Timestamp,
) -> Result<(), HostError> {
    let path = folder.path(FILE);
    let broken = |error: KubeconfigError| HostError::Content {
        path: path.clone(),
        reason: error.to_string(),
    };
    let text = folder::read(&path)?.unwrap_or_default();
    let before = Kubeconfig::parse(&text).map_err(broken)?;
    let after = updated(&before, owner, ca_pem, wanted, now)?.map_err(broken)?;
    if after == before && !text.is_empty() {
        return Ok(());
    }
    folder::write(&path, &after.to_yaml().map_err(broken)?)
}

/// The one context of a space, from the file.
pub(crate) fn one(folder: &Folder, name: &str) -> Result<Kubeconfig, HostError> {
    let path = folder.path(FILE);
    let text = folder::read_required(&path)?;
    Kubeconfig::parse(&text)
        .and_then(|file| file.only(name))
        .map_err(|error| HostError::Content {
            path,
            reason: error.to_string(),
        })
}

/// The file as it should be: ours that are wanted, with credentials kept while they are good;
/// none of ours that are not; all of others.
fn updated(
    before: &Kubeconfig,
    owner: &str,
    ca_pem: &str,
    wanted: &[Wanted<'_>],
    now: Timestamp,
) -> Result<Result<Kubeconfig, KubeconfigError>, HostError> {
    let mut after = before.clone();
    let is_wanted = |name: &str| wanted.iter().any(|wanted| wanted.name == name);
    for context in &before.contexts {
        if !is_wanted(&context.name) {
            after.remove(&context.name, owner);
        }
    }
    for wanted in wanted {
        let credentials = match kept(before, wanted, now) {
            Some(credentials) => credentials,
            None => issue(wanted.client_ca, now)?,
        };
        let context = Kubeconfig::for_server(wanted.name, &wanted.url, ca_pem, &credentials);
        if let Err(error) = after.merge(&context, owner) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(after))
}

/// The credentials in the file, if they are this space's and will last.
fn kept(file: &Kubeconfig, wanted: &Wanted<'_>, now: Timestamp) -> Option<Credentials> {
    let user = file.user_of(wanted.name)?;
    let (certificate_pem, key_pem) = (user.client_certificate_pem()?, user.client_key_pem()?);
    let certificate = Certificate::from_pem(&certificate_pem).ok()?;
    certificate
        .verify_issuer(wanted.client_ca.certificate())
        .ok()?;
    let left = certificate.not_after().as_second() - now.as_second();
    (left > RENEW_BEFORE_SECONDS).then_some(Credentials::Certificate {
        certificate_pem,
        key_pem,
    })
}

fn issue(client_ca: &Authority, now: Timestamp) -> Result<Credentials, HostError> {
    let valid = Validity::starting(now, ADMIN_SECONDS);
    let groups = [ADMIN_GROUP.to_owned()];
    let (certificate, key) = client_ca.issue_client(ADMIN_USER, &groups, valid)?;
    Ok(Credentials::Certificate {
        certificate_pem: certificate.to_pem(),
        key_pem: key.to_ec_pem(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: &str = "host-1";

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn run(before: &Kubeconfig, spaces: &[(&str, &Authority)], now: Timestamp) -> Kubeconfig {
        let wanted: Vec<Wanted<'_>> = spaces
            .iter()
            .map(|&(name, client_ca)| Wanted {
                name,
                url: format!("https://h/spaces/{name}"),
                client_ca,
            })
            .collect();
        updated(before, OWNER, "CA", &wanted, now)
            .expect("certificates")
            .expect("no conflict")
    }

    fn names(file: &Kubeconfig) -> Vec<&str> {
        file.contexts
            .iter()
            .map(|context| context.name.as_str())
            .collect()
    }

    #[test]
    fn contexts_follow_the_spaces_and_good_credentials_stay() {
        let now = at("2026-11-24T07:00:00Z");
        let authority = || Authority::new("a", Validity::starting(now, 10 * ADMIN_SECONDS));
        let (its1, wds1) = (authority().expect("made"), authority().expect("made"));
        let first = run(
            &Kubeconfig::empty(),
            &[("its1", &its1), ("wds1", &wds1)],
            now,
        );
        assert_eq!(names(&first), ["its1", "wds1"]);
        assert_eq!(first.current_context, "its1");
        let same = run(&first, &[("its1", &its1), ("wds1", &wds1)], now);
        assert_eq!(same, first, "an unchanged file is not written");
        let late = at("2027-11-01T07:00:00Z");
        let renewed = run(&first, &[("its1", &its1), ("wds1", &wds1)], late);
        assert_ne!(renewed.user_of("its1"), first.user_of("its1"));
        // A space deleted and made anew has another authority.
        let anew = authority().expect("made");
        let replaced = run(&first, &[("its1", &anew)], now);
        assert_eq!(names(&replaced), ["its1"]);
        assert_ne!(replaced.user_of("its1"), first.user_of("its1"));
    }
}
