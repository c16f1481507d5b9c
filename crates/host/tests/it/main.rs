//! The host as its clients see it: real spaces over TLS.

use std::path::Path;

use futures::StreamExt;
use hyades_host::Host;
use hyades_host::HostOptions;
use hyades_runtime::k8s_openapi::api::core::v1::ConfigMap;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Config;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::PostParams;
use hyades_runtime::kube::api::WatchParams;
use hyades_runtime::kube::config::KubeConfigOptions;
use hyades_runtime::kube::config::Kubeconfig;

async fn start(place: &Path) -> Host {
    Host::start(HostOptions {
        data_dir: place.to_owned(),
        listen: "127.0.0.1:0".parse().expect("an address"),
        advertise: None,
        binary: "/bin/true".into(),
        simulation: None,
    })
    .await
    .expect("a host")
}

/// A client by a context of the host's own kubeconfig file.
async fn client(place: &Path, context: &str) -> Client {
    let file = Kubeconfig::read_from(place.join("kubeconfig")).expect("a kubeconfig");
    let options = KubeConfigOptions {
        context: Some(context.to_owned()),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(file, &options)
        .await
        .expect("a context");
    Client::try_from(config).expect("a client")
}

async fn namespaces(client: &Client) -> Vec<String> {
    let api: Api<Namespace> = Api::all(client.clone());
    let list = api.list(&ListParams::default()).await.expect("a list");
    list.items
        .into_iter()
        .filter_map(|item| item.metadata.name)
        .collect()
}

fn config_map(name: &str) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name.to_owned());
    object
}

#[tokio::test(flavor = "multi_thread")]
async fn spaces_are_apart_and_keep_what_they_were_given() {
    hyades_runtime::client::install_crypto();
    let place = tempfile::tempdir().expect("a folder");
    let host = start(place.path()).await;
    host.create_space("its1").await.expect("made");
    host.create_space("wds1").await.expect("made");
    let (its1, wds1) = (
        client(place.path(), "its1").await,
        client(place.path(), "wds1").await,
    );
    assert!(namespaces(&its1).await.contains(&"kube-public".to_owned()));
    let in_default = |client: &Client| Api::<ConfigMap>::namespaced(client.clone(), "default");
    let object = config_map("only-here");
    in_default(&its1)
        .create(&PostParams::default(), &object)
        .await
        .expect("written");
    let elsewhere = in_default(&wds1)
        .get_opt("only-here")
        .await
        .expect("an answer");
    assert!(elsewhere.is_none());
    host.shutdown().await;
    drop(host);

    let host = start(place.path()).await;
    let its1 = client(place.path(), "its1").await;
    in_default(&its1)
        .get("only-here")
        .await
        .expect("still there");
    in_default(&its1)
        .delete("only-here", &DeleteParams::default())
        .await
        .expect("deleted");
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_one_space_is_a_stranger_to_another() {
    hyades_runtime::client::install_crypto();
    let place = tempfile::tempdir().expect("a folder");
    let host = start(place.path()).await;
    host.create_space("its1").await.expect("made");
    host.create_space("wds1").await.expect("made");
    let mut file = Kubeconfig::read_from(place.path().join("kubeconfig")).expect("a kubeconfig");
    for context in &mut file.contexts {
        if let Some(context) = &mut context.context {
            context.user = Some("its1-admin".to_owned());
        }
    }
    let options = KubeConfigOptions {
        context: Some("wds1".to_owned()),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(file, &options)
        .await
        .expect("a context");
    let stranger = Client::try_from(config).expect("a client");
    let api: Api<Namespace> = Api::all(stranger);
    let error = api.list(&ListParams::default()).await.expect_err("refused");
    assert!(error.to_string().contains("Unauthorized"), "{error}");
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_info_tells_strangers_the_address_and_its_authority() {
    hyades_runtime::client::install_crypto();
    let place = tempfile::tempdir().expect("a folder");
    let host = start(place.path()).await;
    let space = host.create_space("its1").await.expect("made");
    let mut config = Config::new(space.url.parse().expect("a URL"));
    let ca = hyades_pki::Certificate::from_pem(&host.ca_pem()).expect("PEM");
    config.root_cert = Some(vec![ca.der().to_vec()]);
    let anonymous = Client::try_from(config).expect("a client");
    let public: Api<ConfigMap> = Api::namespaced(anonymous, "kube-public");
    let object = public.get("cluster-info").await.expect("public");
    let text = &object.data.expect("data")["kubeconfig"];
    let read = hyades_pki::Kubeconfig::parse(text).expect("a kubeconfig");
    let cluster = &read.clusters[0].cluster;
    assert_eq!(cluster.server.as_deref(), Some(space.url.as_str()));
    assert_eq!(cluster.certificate_authority_pem(), Some(host.ca_pem()));
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_host_ends_watches_in_good_order() {
    hyades_runtime::client::install_crypto();
    let place = tempfile::tempdir().expect("a folder");
    let host = start(place.path()).await;
    host.create_space("its1").await.expect("made");
    let its1 = client(place.path(), "its1").await;
    let api: Api<Namespace> = Api::all(its1);
    let watch = api
        .watch(&WatchParams::default(), "0")
        .await
        .expect("a watch");
    let mut watch = watch.boxed();
    watch.next().await.expect("an event").expect("a namespace");
    host.shutdown().await;
    while let Some(event) = watch.next().await {
        event.expect("no broken connection");
    }
}
