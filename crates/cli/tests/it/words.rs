//! What the binary prints, and how it ends, as far as it needs no server.

use expect_test::expect;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::process::Output;

const BINARY: &str = env!("CARGO_BIN_EXE_hyades");

/// A kubeconfig whose only server answers nothing: port 1 is never listened on.
const DEAD: &str = "apiVersion: v1
kind: Config
current-context: dead
contexts: [{name: dead, context: {cluster: dead, user: u}}]
clusters: [{name: dead, cluster: {server: 'https://127.0.0.1:1/spaces/its1'}}]
users: [{name: u, user: {token: t}}]
";

fn command(name: &str, words: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.arg0(name).args(words);
    command.env_remove("KUBECONFIG").env_remove("RUST_LOG");
    command
}

/// Everything printed, standard output first, and the exit code.
fn transcript(output: &Output) -> String {
    format!(
        "{}{}exit {}\n",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        output.status.code().unwrap_or(-1)
    )
}

fn run(name: &str, words: &[&str]) -> String {
    transcript(&command(name, words).output().expect("the binary runs"))
}

fn clusteradm(words: &[&str]) -> String {
    run("clusteradm", words)
}

fn with_file(text: &str, test: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kubeconfig");
    std::fs::write(&file, text).expect("written");
    test(&file);
}

#[test]
fn unknown_commands_are_answered_as_upstream_does() {
    expect![[r#"
        Error: unknown command "no-such-command" for "clusteradm"
        Run 'clusteradm --help' for usage.
        exit 1
    "#]]
    .assert_eq(&clusteradm(&["no-such-command"]));
    expect![[r#"
        Error: unknown command "tokken" for "clusteradm get"
        Run 'clusteradm get --help' for usage.
        exit 1
    "#]]
    .assert_eq(&clusteradm(&["--context", "x", "get", "tokken"]));
    expect![[r#"
        Error: unknown flag: --no-such-flag
        Run 'clusteradm join --help' for usage.
        exit 1
    "#]]
    .assert_eq(&clusteradm(&["join", "--no-such-flag"]));
}

#[test]
fn the_version_needs_no_server() {
    let version = env!("CARGO_PKG_VERSION");
    let expected =
        format!("clusteradm\tversion\t:v{version}\ndefault bundle\tversion\t:{version}\nexit 0\n");
    assert_eq!(clusteradm(&["version"]), expected);
    assert_eq!(run("hyades", &["clusteradm", "version"]), expected);
    assert_eq!(run("/some/where/clusteradm", &["version"]), expected);
    assert_eq!(
        run("hyades", &["version"]),
        format!("hyades v{version}\nexit 0\n")
    );
}

#[test]
fn a_context_that_does_not_exist_is_named_with_those_that_do() {
    with_file(DEAD, |file| {
        let file = file.display().to_string();
        let printed = clusteradm(&["--kubeconfig", &file, "--context", "its1", "get", "token"]);
        let expected = format!(
            "Error: context \"its1\" does not exist in {file}: it has dead; choose one of them with --context, or another file with --kubeconfig\nexit 1\n"
        );
        assert_eq!(printed, expected);
    });
}

#[test]
fn a_broken_kubeconfig_is_explained_without_its_secrets() {
    let broken = "users: [{name: u, user: {token: [s3cret}}]\n";
    with_file(broken, |file| {
        let file = file.display().to_string();
        let printed = clusteradm(&["--kubeconfig", &file, "get", "token"]);
        let start = format!("Error: read the kubeconfig {file}: ");
        assert!(printed.starts_with(&start), "{printed}");
        assert!(!printed.contains("s3cret"), "{printed}");
        assert!(printed.ends_with("exit 1\n"), "{printed}");
    });
}

#[test]
fn a_server_that_does_not_answer_is_named() {
    with_file(DEAD, |file| {
        let file = file.display().to_string();
        let printed = clusteradm(&["--kubeconfig", &file, "get", "token"]);
        expect![[r#"
            Error: ask which resources cluster.open-cluster-management.io/v1 has (context "dead", https://127.0.0.1:1/spaces/its1): nothing answers at the server's address (Connection refused (os error 111)); check the port, and that the server runs
            exit 1
        "#]]
        .assert_eq(&printed);
    });
}

#[test]
fn joins_are_refused_before_any_server_is_asked() {
    with_file(DEAD, |file| {
        let file = file.display().to_string();
        let join = |words: &[&str]| {
            let start = ["--kubeconfig", &file, "join"];
            clusteradm(&[&start, words].concat())
        };
        let complete = [
            "--hub-token=t",
            "--hub-apiserver=https://127.0.0.1:1/spaces/its1",
        ];
        expect![[r#"
            Error: token is missing; give --hub-token, as 'clusteradm get token' prints it on the hub
            exit 1
        "#]]
        .assert_eq(&join(&[]));
        expect![[r#"
            Error: cluster-name is missing; choose one with --cluster-name
            exit 1
        "#]]
        .assert_eq(&join(&complete));
        let named = [&complete[..], &["--cluster_name=c1"]].concat();
        expect![[r#"
            --cluster_name is written with underscores; use --cluster-name instead
            Error: read the ConfigMap kube-public/cluster-info of the hub https://127.0.0.1:1/spaces/its1: nothing answers at the server's address (Connection refused (os error 111)); check the port, and that the server runs; compare --hub-apiserver with what 'clusteradm get token' prints
            exit 1
        "#]]
        .assert_eq(&join(&named));
    });
}

#[test]
fn acceptance_wants_names() {
    with_file(DEAD, |file| {
        let file = file.display().to_string();
        expect![[r#"
            Error: either --cluster or --clusters needs to be set
            exit 1
        "#]]
        .assert_eq(&clusteradm(&["--kubeconfig", &file, "accept"]));
    });
}

#[test]
fn commands_without_a_host_say_how_to_start_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().display().to_string();
    for words in [
        &["down"][..],
        &["space", "list"],
        &["space", "create", "a"],
        &["space", "delete", "a"],
        &["space", "kubeconfig", "a"],
    ] {
        let words = [words, &["--data-dir", &folder]].concat();
        let printed = run("hyades", &words);
        let start = format!("Error: no host runs on data folder {folder}; start one with ");
        assert!(printed.starts_with(&start), "{printed}");
        assert!(printed.ends_with("exit 1\n"), "{printed}");
    }
}

#[test]
fn a_kubeconfig_with_foreign_entries_of_our_names_stops_up_before_it_starts() {
    let foreign = DEAD.replace("dead", "its1");
    with_file(&foreign, |file| {
        let data = file.with_file_name("data");
        let (file_text, data_text) = (file.display().to_string(), data.display().to_string());
        let words = ["up", "--data-dir", &data_text, "--kubeconfig", &file_text];
        let printed = run("hyades", &words);
        assert!(printed.contains("context \"its1\""), "{printed}");
        assert!(printed.ends_with("exit 1\n"), "{printed}");
        assert!(!data.exists(), "nothing may be started");
        assert_eq!(std::fs::read_to_string(file).expect("there"), foreign);
    });
}

#[test]
fn help_lists_what_there_is() {
    let printed = clusteradm(&["--help"]);
    for command in [
        "init",
        "join",
        "accept",
        "unjoin",
        "clean",
        "create",
        "delete",
        "get",
        "clusterset",
        "addon",
        "upgrade",
        "install",
        "uninstall",
        "proxy",
        "config",
        "completion",
        "options",
        "version",
    ] {
        let line = format!("\n  {command} ");
        assert!(printed.contains(&line), "{command}: {printed}");
    }
    let printed = clusteradm(&["init", "--help"]);
    assert!(printed.contains("quay.io/hyades"), "{printed}");
    let printed = run("hyades", &["--help"]);
    assert!(!printed.contains("component"), "{printed}");
}

#[test]
fn what_rests_on_upstreams_own_addons_is_refused_by_name() {
    for (words, parts) in [
        (
            &[
                "install",
                "hub-addon",
                "--names",
                "argocd",
                "--namespace",
                "argocd",
            ][..],
            &[
                "install hub-addon --names argocd cannot be used",
                "images and Helm charts",
            ][..],
        ),
        (
            &[
                "uninstall",
                "hub-addon",
                "--names",
                "governance-policy-framework",
            ],
            &["uninstall hub-addon --names governance-policy-framework cannot be used"],
        ),
        (
            &["install", "hub-addon", "--names", "nothing"],
            &["invalid add-on name", "argocd-agent"],
        ),
        (
            &["proxy", "health"],
            &["proxy health cannot be used", "cluster-proxy"],
        ),
        (
            &[
                "proxy",
                "kubectl",
                "--cluster",
                "c",
                "--sa",
                "s",
                "--args",
                "get pods",
            ],
            &["proxy kubectl cannot be used"],
        ),
        (
            &["--match-server-version", "get", "clusters"],
            &["--match-server-version cannot be used"],
        ),
    ] {
        let printed = clusteradm(words);
        for part in parts {
            assert!(printed.contains(part), "{words:?}: {printed}");
        }
        assert!(
            printed.starts_with("Error: ") && printed.ends_with("exit 1\n"),
            "{printed}"
        );
    }
}

#[test]
fn shells_get_a_script_that_completes_commands() {
    for (shell, mark) in [
        ("bash", "complete -F"),
        ("fish", "complete -c clusteradm"),
        ("powershell", "Register-ArgumentCompleter"),
        ("zsh", "#compdef clusteradm"),
    ] {
        let printed = clusteradm(&["completion", shell]);
        assert!(
            printed.contains(mark) && printed.ends_with("exit 0\n"),
            "{shell}"
        );
        assert!(printed.contains("clusterset"), "{shell}");
    }
    let printed = clusteradm(&["completion", "tcsh"]);
    assert!(
        printed.contains("use bash, fish, powershell, zsh"),
        "{printed}"
    );
    let printed = clusteradm(&["options"]);
    assert!(
        printed.contains("--kubeconfig:") && printed.contains("--timeout:"),
        "{printed}"
    );
}

#[test]
fn a_kubeconfig_is_shown_and_changed_as_kubectl_does() {
    let two = DEAD.replace(
        "contexts: [",
        "contexts: [{name: other, context: {cluster: dead, user: u}}, ",
    );
    with_file(&two, |file| {
        let file = file.display().to_string();
        let config = |words: &[&str]| {
            let start = ["--kubeconfig", &file, "config"];
            clusteradm(&[&start, words].concat())
        };
        assert_eq!(config(&["current-context"]), "dead\nexit 0\n");
        expect![[r#"
            CURRENT   NAME    CLUSTER   AUTHINFO   NAMESPACE
            *         dead    dead      u          
                      other   dead      u          
            exit 0
        "#]]
        .assert_eq(&config(&["get-contexts"]));
        let dry = config(&["use-context", "other", "--dry-run"]);
        assert_eq!(dry, "Switched to context \"other\".\nexit 0\n");
        assert_eq!(config(&["current-context"]), "dead\nexit 0\n");
        let switched = config(&["use-context", "other"]);
        assert_eq!(switched, "Switched to context \"other\".\nexit 0\n");
        assert_eq!(config(&["current-context"]), "other\nexit 0\n");
        let nobody = config(&["use-context", "nobody"]);
        assert!(
            nobody.starts_with("Error: no context exists with the name: \"nobody\""),
            "{nobody}"
        );
        let view = config(&["view", "--minify"]);
        assert!(
            view.contains("REDACTED") && !view.contains("dead:"),
            "{view}"
        );
        let set = config(&["set", "a.b", "c"]);
        assert!(set.contains("use set-context"), "{set}");
        config(&[
            "set-cluster",
            "c2",
            "--server",
            "https://c2",
            "--insecure-skip-tls-verify",
        ]);
        config(&["set-credentials", "u2", "--token", "t"]);
        config(&[
            "set-context",
            "x2",
            "--cluster",
            "c2",
            "--user",
            "u2",
            "--namespace",
            "n",
        ]);
        let raw = config(&["view", "--raw", "-o", "json"]);
        let (raw, _) = raw.rsplit_once("exit").expect("an exit code");
        let raw: serde_json::Value = serde_json::from_str(raw).expect("JSON");
        assert_eq!(
            raw["clusters"][1]["cluster"]["insecure-skip-tls-verify"],
            true
        );
        assert_eq!(raw["users"][1]["user"]["token"], "t");
        assert_eq!(raw["contexts"][2]["context"]["namespace"], "n");
        let deleted = config(&["delete-context", "x2"]);
        assert_eq!(deleted, format!("deleted context x2 from {file}\nexit 0\n"));
    });
}
