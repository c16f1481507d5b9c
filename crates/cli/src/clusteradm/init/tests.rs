use super::*;
use clap::Parser;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: InitArgs,
}

fn refusal(words: &[&str]) -> String {
    let words = [&["init"], words].concat();
    let args = Line::try_parse_from(words).expect("readable").args;
    format!("{:#}", plan(&args).expect_err("refused"))
}

#[test]
fn flags_that_do_not_fit_together_are_refused_in_upstreams_words() {
    for (words, expected) in [
        (
            &["--image-registry", ""][..],
            "registry should not be empty",
        ),
        (
            &["--registration-drivers", "x"],
            "only csr,awsirsa and grpc are valid drivers; \"x\" is none",
        ),
        (
            &["--wait", "--output", "json"],
            "output should be text if --wait is set",
        ),
        (
            &["--auto-approved-csr-identities", "bob"],
            "should enable feature gate ManagedClusterAutoApproval before passing list of identities; add --feature-gates ManagedClusterAutoApproval=true",
        ),
    ] {
        assert_eq!(refusal(words), expected);
    }
}

#[test]
fn what_cannot_be_had_is_refused_by_name() {
    for (words, flag) in [
        (&["--singleton"][..], "--singleton"),
        (&["--singleton-name", "x"], "--singleton"),
        (
            &["--cluster-manager-values-file", "x"],
            "--cluster-manager-values-file",
        ),
        (&["-f", "x"], "--values"),
        (&["--set", "a=b"], "--set"),
        (&["--set-string", "a=b"], "--set-string"),
        (&["--set-file", "a=b"], "--set-file"),
        (&["--set-json", "a=b"], "--set-json"),
        (&["--set-literal", "a=b"], "--set-literal"),
        (&["--grpc-server", "x"], "--grpc-server"),
        (&["--grpc-endpoint-type", "x"], "--grpc-endpoint-type"),
        (
            &["--auto-approved-grpc-identities", "x"],
            "--auto-approved-grpc-identities",
        ),
        (&["--hub-cluster-arn", "x"], "--hub-cluster-arn"),
        (&["--aws-resource-tags", "x"], "--aws-resource-tags"),
        (
            &["--auto-approved-arn-patterns", "x"],
            "--auto-approved-arn-patterns",
        ),
        (
            &["--force", "--registration-drivers", "grpc"],
            "driver grpc",
        ),
        (
            &["--feature-gates", "CloudEventsDrivers=true"],
            "CloudEventsDrivers",
        ),
        (&["--registration-drivers", "awsirsa"], "driver awsirsa"),
        (&["--registration-drivers", "csr,grpc"], "driver grpc"),
    ] {
        let error = refusal(words);
        assert!(error.contains(flag), "{error}");
        assert!(error.contains("not supported") || error.contains("cannot be used"));
    }
}

#[test]
fn force_leaves_out_validation() {
    let words = ["init", "--force", "--auto-approved-csr-identities", "bob"];
    let args = Line::try_parse_from(words).expect("readable").args;
    assert!(plan(&args).expect("accepted").force);
}

#[test]
fn names_and_addresses_of_hubs_are_told_apart() {
    for address in ["https://127.0.0.1:9443/spaces/its1", "https://[::1]:1"] {
        assert_eq!(host_check(address), Finding::passed(), "{address}");
    }
    assert_eq!(host_check("https://hub.example.org").warnings.len(), 1);
}

#[test]
fn the_welcome_reads_as_upstreams() {
    expect_test::expect![[r#"
        The multicluster hub control plane has been initialized successfully!

        You can now register cluster(s) to the hub control plane. Log onto those cluster(s) and run the following command:

            clusteradm join …

        Replace <cluster_name> with a cluster name of your choice. For example, cluster1.

    "#]]
    .assert_eq(&welcome("clusteradm join …"));
}
