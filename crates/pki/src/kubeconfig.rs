//! Kubeconfig files: written for our spaces, and merged into files that others wrote.
//!
//! Entries are kept with every field they came with, known here or not, so that a merged file
//! loses nothing but its comments. Entries of ours carry a mark (an extension named
//! [`OWNER_EXTENSION`], ignored by kubectl as it ignores all extensions); only marked entries are
//! ever replaced or removed.

mod entry;

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde_json::Value;

use entry::Entry as _;
use entry::conflicts_of;
use entry::put_all;
use entry::remove_owned;

/// Name of the extension that marks an entry with the host that wrote it.
pub const OWNER_EXTENSION: &str = "hyades.io/host";
/// Largest file read, in bytes: a thousand clusters with embedded certificates take about 4 MiB.
pub const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A kubeconfig file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Kubeconfig {
    /// `v1`.
    #[serde(
        rename = "apiVersion",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub api_version: Option<String>,
    /// `Config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Where API servers are and how to trust them.
    #[serde(default, deserialize_with = "null_as_default")]
    pub clusters: Vec<NamedCluster>,
    /// Which user talks to which cluster.
    #[serde(default, deserialize_with = "null_as_default")]
    pub contexts: Vec<NamedContext>,
    /// The context used when none is named; empty for none.
    #[serde(
        rename = "current-context",
        default,
        deserialize_with = "null_as_default"
    )]
    pub current_context: String,
    /// Credentials.
    #[serde(default, deserialize_with = "null_as_default")]
    pub users: Vec<NamedUser>,
    /// Fields not known here.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// A named cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedCluster {
    /// Name.
    pub name: String,
    /// The cluster.
    #[serde(default, deserialize_with = "null_as_default")]
    pub cluster: Cluster,
}

/// An API server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Certificates to trust: base64 of PEM.
    #[serde(
        rename = "certificate-authority-data",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub certificate_authority_data: Option<String>,
    /// Fields not known here.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// A named user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedUser {
    /// Name.
    pub name: String,
    /// The credentials.
    #[serde(default, deserialize_with = "null_as_default")]
    pub user: User,
}

/// Credentials.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// Client certificate: base64 of PEM.
    #[serde(
        rename = "client-certificate-data",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub client_certificate_data: Option<String>,
    /// Client key: base64 of PEM.
    #[serde(
        rename = "client-key-data",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub client_key_data: Option<String>,
    /// Bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Fields not known here.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// A named context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedContext {
    /// Name.
    pub name: String,
    /// The context.
    #[serde(default, deserialize_with = "null_as_default")]
    pub context: Context,
}

/// A pairing of cluster and user.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Context {
    /// Name of the cluster.
    #[serde(default)]
    pub cluster: String,
    /// Namespace used when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the user.
    #[serde(default)]
    pub user: String,
    /// Fields not known here.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// Why a kubeconfig cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KubeconfigError {
    /// Larger than [`FILE_BYTES_MAX`].
    #[error("the kubeconfig is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    /// Not YAML, or YAML of another shape.
    #[error("the kubeconfig cannot be read: {0}")]
    Unreadable(String),
    /// Entries of the same names exist and were written by others.
    #[error(
        "the kubeconfig already has entries of the same names, written by others: {}; rename or remove them, or choose another file",
        .0.join(", ")
    )]
    Conflicts(Vec<String>),
    /// A context that does not exist.
    #[error("the kubeconfig has no context {name:?}; it has {}", listing(.known))]
    NoContext {
        /// The context wanted.
        name: String,
        /// The contexts there are.
        known: Vec<String>,
    },
}

/// A parser's message without what it quotes of the text, which may be a secret: the lines that it
/// draws below, and values in quotation marks.
fn without_content(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let parts = first.split('"').enumerate();
    let kept = parts.map(|(index, part)| if index % 2 == 0 { part } else { "…" });
    kept.collect::<Vec<_>>().join("\"")
}

fn listing(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(", ")
}

/// How a user proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// By a client certificate and its key, both PEM.
    Certificate {
        /// The certificate.
        certificate_pem: String,
        /// The key.
        key_pem: String,
    },
    /// By a bearer token.
    Token(String),
}

impl Kubeconfig {
    /// A file with one context `name`, its cluster of the same name and its user `NAME-admin` or,
    /// for a token, `NAME-user`; the context is the current one.
    pub fn for_server(
        name: &str,
        server: &str,
        ca_pem: &str,
        credentials: &Credentials,
    ) -> Kubeconfig {
        let (user_name, user) = match credentials {
            Credentials::Certificate {
                certificate_pem,
                key_pem,
            } => (
                format!("{name}-admin"),
                User {
                    client_certificate_data: Some(STANDARD.encode(certificate_pem)),
                    client_key_data: Some(STANDARD.encode(key_pem)),
                    ..User::default()
                },
            ),
            Credentials::Token(token) => (
                format!("{name}-user"),
                User {
                    token: Some(token.clone()),
                    ..User::default()
                },
            ),
        };
        Kubeconfig {
            clusters: vec![NamedCluster {
                name: name.to_owned(),
                cluster: Cluster::new(server, ca_pem),
            }],
            contexts: vec![NamedContext {
                name: name.to_owned(),
                context: Context {
                    cluster: name.to_owned(),
                    user: user_name.clone(),
                    ..Context::default()
                },
            }],
            current_context: name.to_owned(),
            users: vec![NamedUser {
                name: user_name,
                user,
            }],
            ..Kubeconfig::empty()
        }
    }

    /// A file without entries.
    pub fn empty() -> Kubeconfig {
        Kubeconfig {
            api_version: Some("v1".to_owned()),
            kind: Some("Config".to_owned()),
            ..Kubeconfig::default()
        }
    }

    /// Reads a file's text; an empty one is a file without entries.
    ///
    /// # Errors
    /// [`KubeconfigError::TooLarge`], [`KubeconfigError::Unreadable`] with the place and reason.
    pub fn parse(text: &str) -> Result<Kubeconfig, KubeconfigError> {
        if text.len() > FILE_BYTES_MAX {
            return Err(KubeconfigError::TooLarge);
        }
        if text.trim().is_empty() {
            return Ok(Kubeconfig::empty());
        }
        let value: Value = serde_saphyr::from_str(text)
            .map_err(|error| KubeconfigError::Unreadable(without_content(&error.to_string())))?;
        serde_json::from_value(value)
            .map_err(|error| KubeconfigError::Unreadable(without_content(&error.to_string())))
    }

    /// The file's text.
    ///
    /// # Errors
    /// [`KubeconfigError::Unreadable`] when a value has no YAML form.
    pub fn to_yaml(&self) -> Result<String, KubeconfigError> {
        serde_saphyr::to_string(self)
            .map_err(|error| KubeconfigError::Unreadable(error.to_string()))
    }

    /// Marks every entry as written by `owner`.
    pub fn mark(&mut self, owner: &str) {
        let mark = |other: &mut BTreeMap<String, Value>| {
            let extension =
                serde_json::json!({"name": OWNER_EXTENSION, "extension": {"id": owner}});
            other.insert("extensions".to_owned(), Value::Array(vec![extension]));
        };
        self.clusters
            .iter_mut()
            .for_each(|entry| mark(&mut entry.cluster.other));
        self.contexts
            .iter_mut()
            .for_each(|entry| mark(&mut entry.context.other));
        self.users
            .iter_mut()
            .for_each(|entry| mark(&mut entry.user.other));
    }

    /// Adds the entries of `addition`, marked with `owner`. An entry of the same name is replaced
    /// when it carries the same mark; the current context is set only when there is none.
    ///
    /// # Errors
    /// [`KubeconfigError::Conflicts`] lists the entries of the same names that others wrote;
    /// nothing is changed then.
    pub fn merge(&mut self, addition: &Kubeconfig, owner: &str) -> Result<(), KubeconfigError> {
        let mut addition = addition.clone();
        addition.mark(owner);
        let mut conflicts = Vec::new();
        conflicts_of(&self.clusters, &addition.clusters, owner, &mut conflicts);
        conflicts_of(&self.contexts, &addition.contexts, owner, &mut conflicts);
        conflicts_of(&self.users, &addition.users, owner, &mut conflicts);
        if !conflicts.is_empty() {
            return Err(KubeconfigError::Conflicts(conflicts));
        }
        put_all(&mut self.clusters, addition.clusters);
        put_all(&mut self.contexts, addition.contexts);
        put_all(&mut self.users, addition.users);
        if self.current_context.is_empty() {
            self.current_context = addition.current_context;
        }
        self.api_version.get_or_insert("v1".to_owned());
        self.kind.get_or_insert("Config".to_owned());
        Ok(())
    }

    /// Removes the context `name` with its cluster and user, as far as they carry the mark of
    /// `owner`; says whether anything was removed.
    pub fn remove(&mut self, name: &str, owner: &str) -> bool {
        let doomed = self.contexts.iter().find(|entry| entry.name == name);
        let Some(doomed) = doomed.filter(|entry| entry.owner() == Some(owner)).cloned() else {
            return false;
        };
        remove_owned(&mut self.contexts, name, owner);
        remove_owned(&mut self.clusters, &doomed.context.cluster, owner);
        remove_owned(&mut self.users, &doomed.context.user, owner);
        if self.current_context == name {
            self.current_context = String::new();
        }
        true
    }

    /// The user of the context of this name, if both exist.
    pub fn user_of(&self, context: &str) -> Option<&User> {
        let name = &self.context(context).ok()?.user;
        let user = self.users.iter().find(|entry| entry.name == *name);
        user.map(|entry| &entry.user)
    }

    /// A file with this context, its cluster and its user alone, and the context current.
    ///
    /// # Errors
    /// [`KubeconfigError::NoContext`] lists the contexts there are.
    pub fn only(&self, name: &str) -> Result<Kubeconfig, KubeconfigError> {
        let context = self.context(name)?;
        let mut only = self.clone();
        only.contexts.retain(|entry| entry.name == name);
        only.clusters.retain(|entry| entry.name == context.cluster);
        only.users.retain(|entry| entry.name == context.user);
        only.current_context = name.to_owned();
        Ok(only)
    }

    /// The context of this name.
    ///
    /// # Errors
    /// [`KubeconfigError::NoContext`] lists the contexts there are.
    pub fn context(&self, name: &str) -> Result<&Context, KubeconfigError> {
        let found = self.contexts.iter().find(|entry| entry.name == name);
        found
            .map(|entry| &entry.context)
            .ok_or_else(|| KubeconfigError::NoContext {
                name: name.to_owned(),
                known: self
                    .contexts
                    .iter()
                    .map(|entry| entry.name.clone())
                    .collect(),
            })
    }
}

impl User {
    /// The client certificate embedded in the file, as PEM.
    pub fn client_certificate_pem(&self) -> Option<String> {
        decoded(self.client_certificate_data.as_deref()?)
    }

    /// The client key embedded in the file, as PEM.
    pub fn client_key_pem(&self) -> Option<String> {
        decoded(self.client_key_data.as_deref()?)
    }
}

impl Cluster {
    /// A server and the authorities it is trusted by, PEM.
    pub fn new(server: &str, ca_pem: &str) -> Cluster {
        Cluster {
            server: Some(server.to_owned()),
            certificate_authority_data: Some(STANDARD.encode(ca_pem)),
            ..Cluster::default()
        }
    }

    /// The authorities embedded in the file, as PEM.
    pub fn certificate_authority_pem(&self) -> Option<String> {
        decoded(self.certificate_authority_data.as_deref()?)
    }
}

/// Text that the file holds as base64.
fn decoded(data: &str) -> Option<String> {
    let bytes = STANDARD.decode(data.trim()).ok()?;
    String::from_utf8(bytes).ok()
}

/// kubectl writes empty lists as `null`.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests;
