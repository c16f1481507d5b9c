use super::*;

const FOREIGN: &str = r#"apiVersion: v1
clusters:
- cluster:
    certificate-authority: /etc/ca.crt
    extensions:
    - extension:
        provider: minikube.sigs.k8s.io
      name: cluster_info
    server: https://192.0.2.1:8443
  name: work
contexts:
- context:
    cluster: work
    user: work
    namespace: "1234"
  name: work
current-context: work
kind: Config
preferences:
  colors: true
users:
- name: work
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      args: ["yes", "0x10", "~"]
      command: login
      env: null
"#;

fn ours(server: &str) -> Kubeconfig {
    let credentials = Credentials::Token("secret".to_owned());
    Kubeconfig::for_server("its1", server, "CA", &credentials)
}

fn value(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("YAML")
}

#[test]
fn a_foreign_file_loses_nothing() {
    let file = Kubeconfig::parse(FOREIGN).expect("a kubeconfig");
    let written = file.to_yaml().expect("YAML");
    assert_eq!(value(&written), value(FOREIGN), "{written}");
}

#[test]
fn merging_adds_our_entries_and_keeps_the_others() {
    let mut file = Kubeconfig::parse(FOREIGN).expect("a kubeconfig");
    file.merge(&ours("https://a"), "host-1")
        .expect("no conflict");
    let read = Kubeconfig::parse(&file.to_yaml().expect("YAML")).expect("a kubeconfig");
    assert_eq!(read, file);
    assert_eq!(read.current_context, "work");
    assert_eq!(read.context("its1").expect("ours").user, "its1-user");

    // The same host may move its own entries, and take them away.
    file.merge(&ours("https://b"), "host-1")
        .expect("our own entries");
    assert_eq!(
        file.clusters[1].cluster.server.as_deref(),
        Some("https://b")
    );
    assert!(file.remove("its1", "host-1"));
    assert!(!file.remove("work", "host-1"));
    assert_eq!(file, Kubeconfig::parse(FOREIGN).expect("a kubeconfig"));
}

#[test]
fn entries_of_others_are_never_overwritten() {
    let mut file = Kubeconfig::empty();
    file.merge(&ours("https://a"), "host-1")
        .expect("no conflict");
    let before = file.clone();
    let error = file
        .merge(&ours("https://b"), "host-2")
        .expect_err("another host's");
    assert_eq!(
        error.to_string(),
        "the kubeconfig already has entries of the same names, written by others: \
         cluster \"its1\", context \"its1\", user \"its1-user\"; rename or remove them, or choose another file"
    );
    assert_eq!(file, before);
}

#[test]
fn empty_lists_and_empty_files_are_files_without_entries() {
    let nulls = "apiVersion: v1\nkind: Config\nclusters: null\ncontexts: null\nusers: null\ncurrent-context: \"\"\n";
    assert_eq!(
        Kubeconfig::parse(nulls).expect("nulls"),
        Kubeconfig::empty()
    );
    assert_eq!(Kubeconfig::parse("\n").expect("empty"), Kubeconfig::empty());
}

#[test]
fn errors_say_what_is_wrong_without_showing_the_file() {
    let error = Kubeconfig::parse("users: [\n  token: hunter2").expect_err("broken YAML");
    let message = error.to_string();
    assert!(
        message.starts_with("the kubeconfig cannot be read: "),
        "{message}"
    );
    assert!(!message.contains("hunter2"), "{message}");
    let error = Kubeconfig::parse("clusters: 3").expect_err("another shape");
    assert!(error.to_string().contains("invalid type"), "{error}");
    let error = ours("https://a").context("its2").expect_err("absent");
    assert_eq!(
        error.to_string(),
        "the kubeconfig has no context \"its2\"; it has its1"
    );
}

#[test]
fn what_is_wrong_with_a_file_is_told_without_quoting_it() {
    for text in [
        "users: [{name: u, user: {token: [secret]}}]",
        "users: secret",
        "clusters: 3\nusers: [{name: u, user: {token: secret: [}}]",
    ] {
        let error = Kubeconfig::parse(text).expect_err(text).to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
