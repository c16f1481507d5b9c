//! The roles and bindings of a space, indexed by who they are for.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::narrowing::Narrowing;
use super::rule::PolicyRule;
use crate::access::authn::service_account_user_name;
use crate::identity::UserInfo;

/// The rules of one Role or ClusterRole, shared with running decisions.
pub type Rules = Arc<[PolicyRule]>;

/// Which kind of role a binding names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleKind {
    /// A Role of the binding's namespace.
    Role,
    /// A ClusterRole.
    ClusterRole,
}

impl RoleKind {
    /// The kind's name, as `roleRef.kind` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            RoleKind::Role => "Role",
            RoleKind::ClusterRole => "ClusterRole",
        }
    }

    /// The singular name, as `not found` errors have it.
    pub fn singular(self) -> &'static str {
        match self {
            RoleKind::Role => "role",
            RoleKind::ClusterRole => "clusterrole",
        }
    }
}

/// `roleRef` of a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRef {
    /// Role or ClusterRole.
    pub kind: RoleKind,
    /// The role's name.
    pub name: String,
}

impl RoleRef {
    /// Reads a `roleRef`; `None` for a kind that is neither Role nor ClusterRole, which validation
    /// refuses.
    pub fn from_json(reference: &Value) -> Option<RoleRef> {
        let kind = match reference["kind"].as_str()? {
            "Role" => RoleKind::Role,
            "ClusterRole" => RoleKind::ClusterRole,
            _ => return None,
        };
        Some(RoleRef {
            kind,
            name: reference["name"].as_str()?.to_owned(),
        })
    }

    /// What a role that does not exist adds to a refusal.
    pub fn not_found_text(&self) -> String {
        format!(
            "{}.{} {:?} not found",
            self.kind.singular(),
            super::GROUP,
            self.name
        )
    }
}

/// Whom a binding is for. A service account matches as the user it authenticates as.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

impl Subject {
    fn from_json(subject: &Value, binding_namespace: &str) -> Option<Subject> {
        let name = subject["name"].as_str()?.to_owned();
        match subject["kind"].as_str()? {
            "User" => Some(Subject::User(name)),
            "Group" => Some(Subject::Group(name)),
            "ServiceAccount" => {
                let namespace = match subject["namespace"].as_str() {
                    Some(namespace) if !namespace.is_empty() => namespace,
                    _ => binding_namespace,
                };
                (!namespace.is_empty()).then(|| Subject::ServiceAccount {
                    namespace: namespace.to_owned(),
                    name,
                })
            }
            _ => None,
        }
    }

    fn is(&self, user: &UserInfo) -> bool {
        match self {
            Subject::User(name) => *name == user.name,
            Subject::Group(name) => user.groups.contains(name),
            Subject::ServiceAccount { namespace, name } => {
                user.name == service_account_user_name(namespace, name)
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            Subject::User(name) => format!("User {name:?}"),
            Subject::Group(name) => format!("Group {name:?}"),
            Subject::ServiceAccount { namespace, name } => {
                format!("ServiceAccount {:?}", format!("{name}/{namespace}"))
            }
        }
    }
}

/// One RoleBinding or ClusterRoleBinding.
#[derive(Debug)]
pub struct Binding {
    /// Empty for a ClusterRoleBinding.
    namespace: String,
    name: String,
    /// The role it grants.
    pub role: RoleRef,
    subjects: Vec<Subject>,
}

impl Binding {
    fn from_json(namespace: &str, name: &str, binding: &Value) -> Option<Binding> {
        Some(Binding {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            role: RoleRef::from_json(&binding["roleRef"])?,
            subjects: binding["subjects"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|subject| Subject::from_json(subject, namespace))
                .collect(),
        })
    }

    /// How access reviews explain a permission that comes from this binding.
    pub fn describe_for(&self, user: &UserInfo) -> String {
        let subject = self
            .subjects
            .iter()
            .find(|subject| subject.is(user))
            .map(Subject::describe)
            .unwrap_or_default();
        let (kind, name) = if self.namespace.is_empty() {
            ("ClusterRoleBinding", self.name.clone())
        } else {
            ("RoleBinding", format!("{}/{}", self.name, self.namespace))
        };
        format!(
            "{kind} {name:?} of {} {:?} to {subject}",
            self.role.kind.as_str(),
            self.role.name
        )
    }
}

/// Bindings of one scope, findable by subject.
#[derive(Debug, Default)]
pub struct Bindings {
    by_name: BTreeMap<String, Arc<Binding>>,
    by_user: HashMap<String, BTreeMap<String, Arc<Binding>>>,
    by_group: HashMap<String, BTreeMap<String, Arc<Binding>>>,
}

impl Bindings {
    fn put(&mut self, binding: Binding) {
        self.remove(&binding.name);
        let binding = Arc::new(binding);
        for subject in &binding.subjects {
            let (index, key) = self.index_of(subject);
            index
                .entry(key)
                .or_default()
                .insert(binding.name.clone(), Arc::clone(&binding));
        }
        self.by_name.insert(binding.name.clone(), binding);
    }

    fn remove(&mut self, name: &str) {
        let Some(binding) = self.by_name.remove(name) else {
            return;
        };
        for subject in &binding.subjects {
            let (index, key) = self.index_of(subject);
            if let Some(bindings) = index.get_mut(&key) {
                bindings.remove(name);
                if bindings.is_empty() {
                    index.remove(&key);
                }
            }
        }
    }

    fn index_of(
        &mut self,
        subject: &Subject,
    ) -> (&mut HashMap<String, BTreeMap<String, Arc<Binding>>>, String) {
        match subject {
            Subject::User(name) => (&mut self.by_user, name.clone()),
            Subject::Group(name) => (&mut self.by_group, name.clone()),
            Subject::ServiceAccount { namespace, name } => (
                &mut self.by_user,
                service_account_user_name(namespace, name),
            ),
        }
    }

    /// Bindings for the user, each once even when several of its subjects match.
    pub fn of<'a>(&'a self, user: &'a UserInfo) -> impl Iterator<Item = &'a Arc<Binding>> {
        let own = self.by_user.get(&user.name);
        let groups = user
            .groups
            .iter()
            .enumerate()
            .filter(|(place, group)| !user.groups[..*place].contains(group))
            .filter_map(|(_, group)| self.by_group.get(group));
        let mut seen: Vec<*const Binding> = Vec::new();
        own.into_iter()
            .chain(groups)
            .flat_map(BTreeMap::values)
            .filter(move |binding| {
                let address = Arc::as_ptr(binding);
                let new = !seen.contains(&address);
                if new {
                    seen.push(address);
                }
                new
            })
    }

    fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// One of the four stored kinds, as its store key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored<'a> {
    ClusterRole(&'a str),
    Role(&'a str, &'a str),
    ClusterRoleBinding(&'a str),
    RoleBinding(&'a str, &'a str),
}

impl<'a> Stored<'a> {
    fn of(key: &'a str) -> Option<Stored<'a>> {
        let mut parts = key.strip_prefix(super::STORE_PREFIX)?.splitn(3, '/');
        let (resource, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
        match resource {
            "clusterroles" => Some(Stored::ClusterRole(name)),
            "roles" => Some(Stored::Role(namespace, name)),
            "clusterrolebindings" => Some(Stored::ClusterRoleBinding(name)),
            "rolebindings" => Some(Stored::RoleBinding(namespace, name)),
            _ => None,
        }
    }
}

/// Every role and binding of a space.
#[derive(Debug, Default)]
pub struct Index {
    cluster_roles: HashMap<String, Rules>,
    /// Of the ClusterRoles that grant some collections in part only.
    narrowings: HashMap<String, Narrowing>,
    roles: HashMap<String, HashMap<String, Rules>>,
    cluster_bindings: Bindings,
    bindings: HashMap<String, Bindings>,
}

impl Index {
    /// Takes in the new state of a stored object; `None` when it is gone.
    pub fn apply(&mut self, key: &str, object: Option<&Value>) {
        let Some(stored) = Stored::of(key) else {
            return;
        };
        match (stored, object) {
            (Stored::ClusterRole(name), Some(role)) => {
                self.cluster_roles.insert(
                    name.to_owned(),
                    PolicyRule::list_from_json(&role["rules"]).into(),
                );
                match Narrowing::of_role(role) {
                    Some(narrowing) => self.narrowings.insert(name.to_owned(), narrowing),
                    None => self.narrowings.remove(name),
                };
            }
            (Stored::ClusterRole(name), None) => {
                self.cluster_roles.remove(name);
                self.narrowings.remove(name);
            }
            (Stored::Role(namespace, name), Some(role)) => {
                self.roles.entry(namespace.to_owned()).or_default().insert(
                    name.to_owned(),
                    PolicyRule::list_from_json(&role["rules"]).into(),
                );
            }
            (Stored::Role(namespace, name), None) => {
                if let Some(roles) = self.roles.get_mut(namespace) {
                    roles.remove(name);
                    if roles.is_empty() {
                        self.roles.remove(namespace);
                    }
                }
            }
            (Stored::ClusterRoleBinding(name), binding) => {
                match binding.and_then(|binding| Binding::from_json("", name, binding)) {
                    Some(binding) => self.cluster_bindings.put(binding),
                    None => self.cluster_bindings.remove(name),
                }
            }
            (Stored::RoleBinding(namespace, name), binding) => {
                let bindings = self.bindings.entry(namespace.to_owned()).or_default();
                match binding.and_then(|binding| Binding::from_json(namespace, name, binding)) {
                    Some(binding) => bindings.put(binding),
                    None => bindings.remove(name),
                }
                if bindings.is_empty() {
                    self.bindings.remove(namespace);
                }
            }
        }
    }

    /// The rules of the role that a binding (or a request to bind) in `namespace` names.
    pub fn rules(&self, role: &RoleRef, namespace: &str) -> Option<&Rules> {
        match role.kind {
            RoleKind::ClusterRole => self.cluster_roles.get(&role.name),
            RoleKind::Role => self.roles.get(namespace)?.get(&role.name),
        }
    }

    /// How the collections that a role grants must be selected.
    pub fn narrowing(&self, role: &RoleRef) -> Option<&Narrowing> {
        match role.kind {
            RoleKind::ClusterRole => self.narrowings.get(&role.name),
            RoleKind::Role => None,
        }
    }

    /// The user's cluster-wide bindings, then those of `namespace`.
    pub fn bindings_of<'a>(
        &'a self,
        user: &'a UserInfo,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Binding>> {
        let local = self.bindings.get(namespace);
        self.cluster_bindings.of(user).chain(
            local
                .into_iter()
                .flat_map(move |bindings| bindings.of(user)),
        )
    }
}
