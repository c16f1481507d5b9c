use super::*;
use clap::Parser;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: JoinArgs,
}

const COMPLETE: [&str; 6] = [
    "--hub-token",
    "t",
    "--hub-apiserver",
    "https://hub:9443/spaces/its1",
    "--cluster-name",
    "cluster1",
];

fn planned(words: &[&str]) -> Result<Plan, String> {
    let words = [&["join"], words].concat();
    let args = Line::try_parse_from(words).expect("readable").args;
    plan(&args).map_err(|error| format!("{error:#}"))
}

fn complete(words: &[&str]) -> Result<Plan, String> {
    planned(&[&COMPLETE, words].concat())
}

#[test]
fn what_is_missing_is_named_in_upstreams_words() {
    let missing = |words: &[&str]| planned(words).expect_err("incomplete");
    assert!(missing(&[]).starts_with("token is missing"));
    assert!(missing(&["--hub-token", "t"]).starts_with("hub-server is missing"));
    assert!(missing(&COMPLETE[..4]).starts_with("cluster-name is missing"));
}

#[test]
fn the_pages_command_is_understood() {
    let plan = complete(&["--singleton", "--force-internal-endpoint-lookup"]).expect("a plan");
    assert_eq!(plan.mode, Mode::Singleton);
    assert_eq!(plan.hub, "https://hub:9443/spaces/its1");
    assert_eq!(complete(&[]).expect("a plan").mode, Mode::Default);
}

#[test]
fn names_and_urls_are_checked() {
    let with = |url: &str, name: &str| {
        planned(&[
            "--hub-token",
            "t",
            "--hub-apiserver",
            url,
            "--cluster-name",
            name,
        ])
    };
    let error = with("hub:9443", "c").expect_err("no scheme");
    assert!(error.starts_with("--hub-apiserver should start with http:// or https://"));
    let error = with("https://", "c").expect_err("no host");
    assert!(error.contains("--hub-apiserver"), "{error}");
    let error = with("https://hub", "Cluster_1").expect_err("no label");
    assert!(error.contains("is invalid"), "{error}");
    let error = with("https://hub", "kube-system").expect_err("reserved");
    assert!(error.contains("is reserved"), "{error}");
    assert_eq!(
        with("https://hub/", "c").expect("a plan").hub,
        "https://hub"
    );
}

#[test]
fn what_cannot_be_had_is_refused_by_name() {
    for words in [
        &["--registration-auth", "grpc"][..],
        &["--registration-auth", "awsirsa"],
        &["--grpc-server", "x"],
        &["--grpc-ca-file", "x"],
        &["--hub-cluster-arn", "x"],
        &["--managed-cluster-arn", "x"],
    ] {
        let error = complete(words).expect_err("refused");
        assert!(error.contains("not supported"), "{error}");
    }
    for (words, flag) in [
        (
            &["--klusterlet-values-file", "x"][..],
            "--klusterlet-values-file",
        ),
        (
            &[
                "--enable-sync-labels",
                "--mode",
                "hosted",
                "--managed-cluster-kubeconfig",
                "x",
            ],
            "--enable-sync-labels",
        ),
        (
            &["--feature-gates", "V1beta1CSRAPICompatibility=true"],
            "V1beta1CSRAPICompatibility",
        ),
    ] {
        let error = complete(words).expect_err("refused");
        assert!(
            error.contains(flag) && error.contains("cannot be used"),
            "{error}"
        );
    }
    assert!(
        complete(&["--registration-auth", "x"])
            .expect_err("unknown")
            .starts_with("invalid registration-Auth type")
    );
    let error = complete(&["--mode", "x"]).expect_err("unknown");
    assert!(error.starts_with("deploy mode should be default or hosted"));
    let error = complete(&["--client-cert-expiration-seconds", "60"]).expect_err("too short");
    assert!(error.contains("at least 3600"), "{error}");
}

#[test]
fn a_hosted_agent_needs_a_kubeconfig_and_no_other_may_have_one() {
    let plan = |words: &[&str]| complete(words);
    let hosted = plan(&["--mode", "hosted", "--managed-cluster-kubeconfig", "f"]).expect("a plan");
    assert_eq!(hosted.mode, Mode::Hosted);
    assert_eq!(hosted.source, Some(Source::File("f".into())));
    let words = [
        "--mode",
        "Hosted",
        "--singleton",
        "--capi-import",
        "--capi-cluster-name",
        "n/c",
    ];
    let hosted = plan(&words).expect("a plan");
    assert_eq!(hosted.mode, Mode::SingletonHosted);
    let Some(Source::Capi(cluster)) = hosted.source else {
        panic!("{:?}", hosted.source);
    };
    assert_eq!(
        (cluster.namespace.as_str(), cluster.name.as_str()),
        ("n", "c")
    );
    for (words, part) in [
        (&["--mode", "hosted"][..], "should be set in hosted mode"),
        (&["--managed-cluster-kubeconfig", "f"], "--mode hosted"),
        (
            &["--force-internal-endpoint-lookup-managed"],
            "--mode hosted",
        ),
        (&["--capi-import"], "capi-cluster-name is missing"),
        (&["--capi-cluster-name", "c"], "--capi-import only"),
        (&["--capi-kubeconfig", "f"], "--capi-import only"),
        (
            &["--capi-import", "--capi-cluster-name", "a/b/c"],
            "RFC 1123",
        ),
        (
            &[
                "--mode",
                "hosted",
                "--managed-cluster-kubeconfig",
                "f",
                "--capi-import",
                "--capi-cluster-name",
                "c",
            ],
            "in one way",
        ),
    ] {
        let error = plan(words).expect_err("refused");
        assert!(error.contains(part), "{words:?}: {error}");
    }
}

#[test]
fn annotations_get_the_prefix_that_the_agent_passes_on() {
    let words = [
        "--klusterlet-annotation",
        "a=1",
        "--klusterlet-annotation",
        "agent.open-cluster-management.io/b=2",
    ];
    let plan = complete(&words).expect("a plan");
    let keys: Vec<_> = plan.annotations.into_iter().collect();
    assert_eq!(
        keys,
        [
            (
                "agent.open-cluster-management.io/a".to_owned(),
                "1".to_owned()
            ),
            (
                "agent.open-cluster-management.io/b".to_owned(),
                "2".to_owned()
            ),
        ]
    );
}

#[test]
fn addons_register_by_certificates_or_tokens() {
    let auth = "--addon-kubeclient-registration-auth";
    let life = "--addon-token-expiration-seconds";
    let driver = |words: &[&str]| complete(words).expect("a plan").addon_registration;
    assert_eq!(driver(&[auth, "csr"]), None);
    let token = driver(&[auth, "token"]).expect("a driver");
    assert_eq!((token.auth_type.as_str(), token.token), ("token", None));
    let token = driver(&[auth, "token", life, "600"]).expect("a driver");
    assert_eq!(token.token.map(|token| token.expiration_seconds), Some(600));
    for (words, part) in [
        (&[life, "600"][..], "token only"),
        (&[auth, "token", life, "599"], "at least 600"),
        (&[auth, "token", life, "-1"], "at least 600"),
        (&[auth, "x"], "use csr or token"),
    ] {
        let error = complete(words).expect_err("refused");
        assert!(error.contains(part), "{words:?}: {error}");
    }
}

#[test]
fn an_annotation_that_the_hub_would_refuse_is_refused_first() {
    let error = complete(&["--klusterlet-annotation", "no spaces=1"]).expect_err("refused");
    assert!(
        error.starts_with("read --klusterlet-annotation: annotation key"),
        "{error}"
    );
    let error = complete(&["--proxy-ca-file", "f"]).expect_err("no proxy");
    assert!(error.contains("--proxy-url only"), "{error}");
}

#[test]
fn an_authority_that_is_none_is_refused() {
    let error = complete(&["--ca-file", "/nonexistent/ca.pem"]).expect_err("absent");
    assert!(error.starts_with("read the certificate authority /nonexistent/ca.pem"));
}
