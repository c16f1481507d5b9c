//! Role-based access control: an index of roles and bindings, and the questions asked of it.
//!
//! ```text
//!  store hook ─▶ Index ─▶ decide: may this user do that, and why
//!                     ├─▶ rules_of: everything the user may do in a namespace
//!                     └─▶ confirm_*: may this user grant that
//! ```
//!
//! The index is fed by a store hook, which runs before a writer is answered: no decision is older
//! than an acknowledged write.

pub mod aggregation;
pub mod escalation;
pub mod index;
pub mod narrowing;
pub mod rule;

use std::sync::Arc;
use std::sync::RwLock;
use std::sync::RwLockReadGuard;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use hyades_schema::selector::Selector;
use hyades_store::Store;
use serde_json::Value;

use self::index::Index;
use self::rule::PolicyRule;
use crate::identity::Attributes;
use crate::identity::UserInfo;

/// The API group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";

/// The start of the store keys of roles and bindings.
pub const STORE_PREFIX: &str = "rbac.authorization.k8s.io/";

/// Members may do everything, whatever the roles say, so that no edit of roles can lock a space's
/// owner out.
pub const PRIVILEGED_GROUP: &str = "system:masters";

/// What an authoriser answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Allowed; the reason is empty for members of [`PRIVILEGED_GROUP`].
    Allowed {
        /// Which binding allowed it, in the words of access reviews.
        reason: String,
    },
    /// Nothing allows it.
    Denied {
        /// Roles that bindings name and that do not exist; empty in the normal case.
        reason: String,
    },
}

impl Decision {
    /// Whether the request may go on.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Decision::Allowed { .. })
    }
}

/// Everything a user may do in one namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldRules {
    /// Rules from cluster-wide bindings, then from the namespace's.
    pub rules: Vec<PolicyRule>,
    /// Roles that bindings name and that do not exist.
    pub errors: Vec<String>,
}

/// Decides by roles and bindings; clones share the index.
#[derive(Debug, Clone, Default)]
pub struct Authoriser {
    index: Arc<RwLock<Index>>,
    /// How many changes of roles and bindings the index has followed.
    version: Arc<AtomicU64>,
}

impl Authoriser {
    /// An authoriser that follows the roles and bindings of a store.
    pub fn following(store: &Store) -> Authoriser {
        let authoriser = Authoriser::default();
        let index = Arc::clone(&authoriser.index);
        let version = Arc::clone(&authoriser.version);
        store.hook(
            STORE_PREFIX,
            Box::new(move |event| {
                let object = event
                    .value
                    .as_ref()
                    .and_then(|entry| serde_json::from_slice::<Value>(&entry.value).ok());
                index
                    .write()
                    .expect("no code panics while it holds the index")
                    .apply(&event.key, object.as_ref());
                version.fetch_add(1, Ordering::Release);
            }),
        );
        authoriser
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index
            .read()
            .expect("no code panics while it holds the index")
    }

    /// How many changes of roles and bindings stand behind the decisions made now.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Whether the user may do what is asked.
    pub fn decide(&self, user: &UserInfo, asked: &Attributes) -> Decision {
        self.decide_selected(user, asked, None)
    }

    /// Whether the user may do what is asked to what these labels select.
    pub fn decide_selected(
        &self,
        user: &UserInfo,
        asked: &Attributes,
        labels: Option<&Selector>,
    ) -> Decision {
        if user.groups.iter().any(|group| group == PRIVILEGED_GROUP) {
            return Decision::Allowed {
                reason: String::new(),
            };
        }
        decide(&self.index(), user, asked, labels)
    }

    /// Everything the user may do in a namespace; cluster-wide rules only when it is empty.
    pub fn rules_of(&self, user: &UserInfo, namespace: &str) -> HeldRules {
        let index = self.index();
        let mut held = HeldRules::default();
        for binding in index.bindings_of(user, namespace) {
            match index.rules(&binding.role, namespace) {
                Some(rules) => held.rules.extend(rules.iter().cloned()),
                None => held.errors.push(binding.role.not_found_text()),
            }
        }
        held
    }
}

fn decide(
    index: &Index,
    user: &UserInfo,
    asked: &Attributes,
    labels: Option<&Selector>,
) -> Decision {
    let namespace = match asked {
        Attributes::Resource { namespace, .. } => namespace.as_str(),
        Attributes::Path { .. } => "",
    };
    let mut lacking = Vec::new();
    for binding in index.bindings_of(user, namespace) {
        match index.rules(&binding.role, namespace) {
            Some(rules) if rules.iter().any(|rule| rule.allows(asked)) => {
                let narrowing = labels.and(index.narrowing(&binding.role));
                let refusal = narrowing.zip(labels);
                match refusal.and_then(|(narrowing, labels)| narrowing.refuses(asked, labels)) {
                    Some(why) => lacking.push(why),
                    None => {
                        return Decision::Allowed {
                            reason: format!("RBAC: allowed by {}", binding.describe_for(user)),
                        };
                    }
                }
            }
            Some(_) => {}
            None => lacking.push(binding.role.not_found_text()),
        }
    }
    Decision::Denied {
        reason: if lacking.is_empty() {
            String::new()
        } else {
            format!("RBAC: {}", joined_errors(&lacking))
        },
    }
}

/// Several errors as one: a single one as it is, more in brackets, repeats once.
pub fn joined_errors(errors: &[String]) -> String {
    let mut distinct: Vec<&str> = Vec::new();
    for error in errors {
        if !distinct.contains(&error.as_str()) {
            distinct.push(error);
        }
    }
    match distinct.as_slice() {
        [single] => (*single).to_owned(),
        several => format!("[{}]", several.join(", ")),
    }
}

/// What a refusal says about the request: `User "x" cannot get resource "y" in API group "" in the
/// namespace "z"`, with `<`, `>` and `&` escaped, as browsers may show it.
pub fn refusal_text(user: &UserInfo, asked: &Attributes, reason: &str) -> String {
    let request = match asked {
        Attributes::Path { verb, path } => {
            format!("User {:?} cannot {verb} path {path:?}", user.name)
        }
        Attributes::Resource {
            verb,
            group,
            resource,
            subresource,
            namespace,
            ..
        } => {
            let resource = match subresource.as_str() {
                "" => resource.clone(),
                subresource => format!("{resource}/{subresource}"),
            };
            let scope = match namespace.as_str() {
                "" => "at the cluster scope".to_owned(),
                namespace => format!("in the namespace {namespace:?}"),
            };
            format!(
                "User {:?} cannot {verb} resource {resource:?} in API group {group:?} {scope}",
                user.name
            )
        }
    };
    let request = request
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    if reason.is_empty() {
        request
    } else {
        format!("{request}: {reason}")
    }
}

#[cfg(test)]
mod tests;
