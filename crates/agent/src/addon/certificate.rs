//! Certificates of add-ons' agents: the request to the hub, and whether what is stored still holds.

use super::Registration;
use super::Scene;
use super::credentials;
use super::credentials::Data;
use crate::credentials::keys;
use crate::registration::certificate as requests;
use crate::registration::certificate::CertificateError;
use crate::registration::certificate::Following;
use crate::registration::certificate::Wanted;
use hyades_api::addon::Subject;
use hyades_api::addon::identity;
use hyades_api::addon::names as addon_names;
use hyades_api::conditions::Statement;
use hyades_api::names::labels;
use hyades_pki::Certificate;
use hyades_pki::CertificateRequest;
use hyades_pki::Key;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::kube::Api;
use jiff::Timestamp;

/// Whom a certificate shall be for: as the hub says, with upstream's defaults.
fn subject(scene: &Scene, registration: &Registration) -> hyades_pki::Subject {
    let Subject {
        user,
        groups,
        organization_unit,
    } = registration.config.subject.clone();
    let agent = &scene.session.identity;
    let (cluster, addon) = (&agent.cluster, &registration.addon);
    let user = match user.as_str() {
        "" => identity::default_user(cluster, addon, agent.agent()),
        _ => user,
    };
    let groups = if groups.is_empty() {
        vec![identity::cluster_addon_group(cluster, addon)]
    } else {
        groups
    };
    let mut subject = hyades_pki::Subject::new(user, groups);
    subject.organizational_units = organization_unit;
    subject
}

/// When the stored certificate is due, and what to say of it; nothing if it is of no use.
pub(super) fn judge(
    scene: &Scene,
    registration: &Registration,
    data: &Data,
    share: f64,
) -> Option<(Timestamp, Statement)> {
    let pem = credentials::text(data, keys::CERTIFICATE)?;
    let key = Key::from_pem(credentials::text(data, keys::KEY)?).ok()?;
    let chain = Certificate::parse_pem_bundle(pem).ok()?;
    let certificate = chain.first()?;
    let is_ours = *certificate.subject() == subject(scene, registration)
        && certificate.public_key_sha256() == key.public_key_sha256();
    let leads_to_hub = !registration.is_for_hub()
        || credentials::text(data, keys::KUBECONFIG)
            == scene.endpoint.stored_kubeconfig().ok().as_deref();
    if !is_ours || !leads_to_hub {
        return None;
    }
    credentials::certificate_due(pem, share)
}

/// Asks the hub for a certificate and waits for it.
///
/// # Errors
///
/// Says what was tried and what happened.
pub(super) async fn obtain(scene: &Scene, registration: &Registration) -> Result<Data, String> {
    let api: Api<CertificateSigningRequest> = Api::all(scene.session.client.clone());
    check_quota(scene, registration, &api)
        .await
        .map_err(|error| error.to_string())?;
    let key = Key::generate();
    let subject = subject(scene, registration);
    let body = request(scene, registration, &key, &subject)?;
    let wanted = Wanted {
        key: &key,
        subject: &subject,
    };
    let denied = async |message: &str| tracing::warn!("{message}");
    let pem = requests::issued(&api, &body, wanted, Following::Watching, denied)
        .await
        .map_err(|error| error.to_string())?;
    let mut data = if registration.is_for_hub() {
        let kubeconfig = scene.endpoint.stored_kubeconfig();
        credentials::hub_data(scene, kubeconfig.map_err(|error| error.to_string())?)
    } else {
        Data::new()
    };
    data.insert(keys::CERTIFICATE.to_owned(), ByteString(pem.into_bytes()));
    data.insert(
        keys::KEY.to_owned(),
        ByteString(key.to_ec_pem().into_bytes()),
    );
    Ok(data)
}

async fn check_quota(
    scene: &Scene,
    registration: &Registration,
    api: &Api<CertificateSigningRequest>,
) -> Result<(), CertificateError> {
    let selector = format!(
        "{}={},{}={}",
        labels::CLUSTER_NAME,
        scene.session.identity.cluster,
        labels::ADDON_NAME,
        registration.addon
    );
    // Requests that others sent under the add-on's labels must not fill its quota.
    let own = scene.session.identity.common_name();
    let is_own =
        |request: &&CertificateSigningRequest| request.spec.username.as_deref() == Some(&own);
    let count = |all: &[CertificateSigningRequest]| all.iter().filter(is_own).count();
    requests::check_quota(api, &selector, count).await
}

fn request(
    scene: &Scene,
    registration: &Registration,
    key: &Key,
    subject: &hyades_pki::Subject,
) -> Result<CertificateSigningRequest, String> {
    let (cluster, addon) = (&scene.session.identity.cluster, &registration.addon);
    let dns_name = identity::dns_name(addon);
    let pem = CertificateRequest::with_dns_names(key, subject, &[&dns_name])
        .map_err(|error| error.to_string())?;
    Ok(requests::signing_request(
        pem,
        &registration.config.signer_name,
        addon_names::csr_name_prefix(cluster, addon),
        &[
            (labels::CLUSTER_NAME, cluster.as_str()),
            (labels::ADDON_NAME, addon.as_str()),
        ],
        scene.expiration_seconds,
    ))
}
