//! A space in a temporary folder, and requests to it.

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyades_schema::selector::Selector;
use hyades_space::Space;
use hyades_space::SpaceService;
use hyades_space::guard::Credentials;
use hyades_space::guard::Guard;
use hyades_space::guard::Write;
use hyades_space::identity::Attributes;
use hyades_space::identity::UserInfo;
use hyades_space::names::Gvr;
use hyades_space::status::Status;
use hyades_store::Options;
use hyades_store::Store;
use serde_json::Value;
use serde_json::json;
use tower::Service;

/// Lets everyone do everything, for tests of what comes after.
struct Open;

impl Guard for Open {
    fn authenticate(&self, _: &Credentials<'_>) -> Result<UserInfo, Status> {
        Ok(UserInfo::apiserver())
    }

    fn acting_as(&self, user: UserInfo, _: &http::HeaderMap) -> Result<UserInfo, Status> {
        Ok(user)
    }

    fn authorize(&self, _: &UserInfo, _: &Attributes) -> Result<(), Status> {
        Ok(())
    }

    fn authorize_selected(
        &self,
        user: &UserInfo,
        attributes: &Attributes,
        _: &Selector,
    ) -> Result<(), Status> {
        self.authorize(user, attributes)
    }

    fn rights_version(&self) -> u64 {
        0
    }

    fn admit(&self, _: &UserInfo, _: &Write<'_>) -> Result<(), Status> {
        Ok(())
    }

    fn review(&self, _: &Gvr, _: &str, _: &UserInfo, body: Value) -> Result<Value, Status> {
        Ok(body)
    }

    fn request_token(&self, _: &str, _: &str, body: Value) -> Result<Value, Status> {
        Ok(body)
    }

    fn openid_configuration(&self) -> Value {
        json!({})
    }

    fn json_web_keys(&self) -> Value {
        json!({"keys": []})
    }
}

/// A space that lives as long as the value.
pub(crate) struct TestSpace {
    pub(crate) space: Space,
    _folder: tempfile::TempDir,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) warnings: Vec<String>,
    pub(crate) content_type: String,
    pub(crate) bytes: Bytes,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|_| String::from_utf8_lossy(&self.bytes).into_owned().into())
    }
}

/// One request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) accept: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl TestSpace {
    /// A space with the namespaces `default`, `kube-system` and `o1`, where everything is allowed.
    pub(crate) async fn open() -> TestSpace {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::default();
        let store = Store::open(&folder.path().join("store.redb"), options).unwrap();
        let test = TestSpace {
            space: Space::bare("test", store, std::sync::Arc::new(Open), None),
            _folder: folder,
        };
        for name in ["default", "kube-system"] {
            let body = json!({"metadata": {"name": name}});
            assert_eq!(test.post("/api/v1/namespaces", &body).await.code, 201);
        }
        test
    }

    pub(crate) fn service(&self) -> SpaceService {
        let credential =
            "X509SHA256=d647d92ca6c48419c1993def42442cd967f1dca1c9eed334e551f1a1bececbd8";
        let admin = UserInfo {
            name: "admin".to_owned(),
            extra: [(
                "authentication.kubernetes.io/credential-id".to_owned(),
                vec![credential.to_owned()],
            )]
            .into(),
            ..UserInfo::apiserver()
        };
        self.space.service_as(admin)
    }

    pub(crate) async fn ask(&self, ask: Ask) -> Reply {
        ask_service(self.service(), ask).await
    }

    async fn send(&self, method: &str, path: &str, content_type: &str, body: &Value) -> Reply {
        self.ask(Ask {
            method: method.to_owned(),
            path: path.to_owned(),
            content_type: Some(content_type.to_owned()),
            body: Bytes::from(serde_json::to_vec(body).unwrap()),
            ..Ask::default()
        })
        .await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.ask(Ask {
            method: "GET".to_owned(),
            path: path.to_owned(),
            ..Ask::default()
        })
        .await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, "application/json", body).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Reply {
        self.send("PUT", path, "application/json", body).await
    }

    pub(crate) async fn merge_patch(&self, path: &str, body: &Value) -> Reply {
        self.send("PATCH", path, "application/merge-patch+json", body)
            .await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.ask(Ask {
            method: "DELETE".to_owned(),
            path: path.to_owned(),
            ..Ask::default()
        })
        .await
    }
}

/// Sends one request and reads the answer to its end.
pub(crate) async fn ask_service(mut service: SpaceService, ask: Ask) -> Reply {
    let mut request = Request::builder().method(&*ask.method).uri(&ask.path);
    if let Some(accept) = &ask.accept {
        request = request.header("accept", accept);
    }
    if let Some(content_type) = &ask.content_type {
        request = request.header("content-type", content_type);
    }
    for (name, value) in &ask.headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(ask.body)).unwrap();
    let Ok(response) = service.call(request).await;
    let headers = response.headers().clone();
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    Reply {
        code: response.status().as_u16(),
        warnings: headers.get_all("warning").iter().map(text).collect(),
        content_type: headers.get("content-type").map(text).unwrap_or_default(),
        bytes: response.into_body().collect().await.unwrap().to_bytes(),
    }
}
