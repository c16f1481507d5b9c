use super::*;
use crate::VerifyError;
use crate::verify_client;

fn now() -> Timestamp {
    "2026-11-24T07:00:00Z".parse().expect("a time")
}

fn authority(name: &str) -> Authority {
    Authority::new(name, Validity::starting(now(), 3600)).expect("an authority")
}

fn client(authority: &Authority) -> Certificate {
    let valid = Validity::starting(now(), 600);
    let groups = ["system:masters".to_owned()];
    authority
        .issue_client("admin", &groups, valid)
        .expect("a certificate")
        .0
}

#[test]
fn a_client_is_who_its_certificate_says() {
    let authority = authority("its1");
    let certificate = client(&authority);
    let subject = verify_client(certificate.der(), authority.certificate(), now()).expect("valid");
    assert_eq!(subject, Subject::new("admin", ["system:masters"]));
    assert!(!certificate.is_ca());
    assert!(authority.certificate().is_ca());
    assert_eq!(certificate.serial().len(), 2 * SERIAL_BYTES);
}

#[test]
fn the_recorded_request_is_signed_with_its_very_subject() {
    let authority = authority("its1");
    let pem = include_str!("../../testdata/ocm-agent.csr.pem");
    let request = CertificateRequest::parse_pem(pem).expect("upstream's request");
    let valid = Validity::starting(now(), 600);
    let options = SignOptions {
        not_before: valid.not_before,
        not_after: valid.not_after,
        usages: vec![Usage::ClientAuth],
    };
    let certificate = authority.sign_request(&request, &options).expect("signed");
    assert_eq!(certificate.name(), request.name());
    assert_eq!(certificate.public_key_sha256(), request.public_key_sha256());
    assert_eq!(certificate.not_after(), valid.not_after);
    assert_eq!(certificate.usages(), [Usage::ClientAuth]);
    let subject = verify_client(certificate.der(), authority.certificate(), now());
    assert_eq!(subject.expect("valid"), *request.subject());
}

#[test]
fn each_reason_to_refuse_a_client_is_told() {
    let authority = authority("its1");
    let certificate = client(&authority);
    let at = |text: &str| text.parse::<Timestamp>().expect("a time");
    let judge = |der: &[u8], authority: &Authority, now| {
        verify_client(der, authority.certificate(), now).expect_err("refused")
    };

    let other = self::authority("its2");
    let error = judge(certificate.der(), &other, now());
    assert_eq!(
        error.to_string(),
        "the certificate was issued by \"CN=its1\", not by \"CN=its2\""
    );
    let namesake = self::authority("its1");
    let error = judge(certificate.der(), &namesake, now());
    assert!(matches!(error, VerifyError::Signature(_)), "{error}");
    let error = judge(certificate.der(), &authority, at("2026-11-24T06:54:59Z"));
    assert_eq!(
        error.to_string(),
        "the client certificate is valid from 2026-11-24T06:55:00Z, and it is 2026-11-24T06:54:59Z"
    );
    let error = judge(certificate.der(), &authority, at("2026-11-24T07:10:01Z"));
    assert!(matches!(error, VerifyError::Expired { .. }), "{error}");
    let names = ["localhost".to_owned()];
    let valid = Validity::starting(now(), 600);
    let (server, _) = authority.issue_server(&names, valid).expect("issued");
    let error = judge(server.der(), &authority, now());
    assert!(matches!(error, VerifyError::Usage), "{error}");
    let error = judge(b"rubbish", &authority, now());
    assert!(matches!(error, VerifyError::Unreadable(_)), "{error}");
}

#[test]
fn a_server_certificate_carries_names_and_addresses() {
    let names: Vec<String> = ["localhost", "*.example.org", "127.0.0.1", "::1"]
        .map(str::to_owned)
        .into();
    let valid = Validity::starting(now(), 600);
    let (certificate, key) = authority("host")
        .issue_server(&names, valid)
        .expect("issued");
    assert_eq!(certificate.server_names(), names);
    assert_eq!(certificate.public_key_sha256(), key.public_key_sha256());
    for bad in ["", "a b", "a..b", "*", "https://x"] {
        let error = authority("host")
            .issue_server(&[bad.to_owned()], valid)
            .expect_err(bad);
        assert!(matches!(error, Error::BadServerName(_)), "{error}");
    }
}

#[test]
fn an_authority_reads_back_and_strangers_do_not() {
    let authority = authority("its1");
    let read = Authority::from_pem(&authority.certificate_pem(), &authority.key_pem());
    let read = read.expect("an authority just written");
    assert_eq!(read.certificate_der(), authority.certificate_der());
    let mismatch = Authority::from_pem(&authority.certificate_pem(), &Key::generate().to_ec_pem());
    assert!(matches!(mismatch, Err(Error::KeyMismatch)));
    let valid = Validity::starting(now(), 600);
    let (leaf, key) = authority.issue_client("a", &[], valid).expect("issued");
    let leaf = Authority::from_pem(&leaf.to_pem(), &key.to_ec_pem());
    assert!(matches!(leaf, Err(Error::NotAnAuthority)));
}
