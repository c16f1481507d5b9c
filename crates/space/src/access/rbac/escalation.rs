//! Nobody grants what they do not hold: checks on writes of roles and bindings.
//!
//! A writer of a role needs every permission in it, or the verb `escalate` on the role; a writer of
//! a binding needs every permission of the bound role, or the verb `bind` on it.

use super::Authoriser;
use super::GROUP;
use super::PRIVILEGED_GROUP;
use super::index::RoleKind;
use super::index::RoleRef;
use super::rule::PolicyRule;
use super::rule::compact;
use super::rule::missing;
use super::rule::quoted_list;
use crate::identity::Attributes;
use crate::identity::UserInfo;

/// How many single permissions a role may amount to when its writer has to hold each of them. The
/// largest role known grants some hundred; a body of 3 MiB could spell out more than memory holds.
const PARTS_MAX: usize = 10_000;

/// Why a role or binding may not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Escalation {
    /// The writer lacks permissions it would grant; the text is the API server's.
    #[error("{0}")]
    Lacking(String),
    /// The binding's role does not exist, so that what it would grant is unknown.
    #[error("{}", .0.not_found_text())]
    NoSuchRole(RoleRef),
}

impl Authoriser {
    /// Whether the user may write a role with these rules (`namespace` is empty for a ClusterRole).
    ///
    /// # Errors
    /// [`Escalation::Lacking`], listing what the user does not hold.
    pub fn confirm_role(
        &self,
        user: &UserInfo,
        namespace: &str,
        name: &str,
        rules: &[PolicyRule],
    ) -> Result<(), Escalation> {
        let resource = if namespace.is_empty() {
            "clusterroles"
        } else {
            "roles"
        };
        if is_privileged(user) || self.holds_verb(user, "escalate", resource, namespace, name) {
            return Ok(());
        }
        self.confirm_rules(user, namespace, rules)
    }

    /// Whether the user may write a ClusterRole that collects the rules of others: it could come to
    /// grant anything, so only one who holds everything, or may escalate, may.
    ///
    /// # Errors
    /// [`Escalation::Lacking`].
    pub fn confirm_aggregation(&self, user: &UserInfo, name: &str) -> Result<(), Escalation> {
        let everything = |list: &str| vec![list.to_owned()];
        let resources = PolicyRule {
            verbs: everything("*"),
            api_groups: everything("*"),
            resources: everything("*"),
            ..PolicyRule::default()
        };
        let paths = PolicyRule {
            verbs: everything("*"),
            non_resource_urls: everything("*"),
            ..PolicyRule::default()
        };
        if is_privileged(user) || self.holds_verb(user, "escalate", "clusterroles", "", name) {
            return Ok(());
        }
        self.confirm_rules(user, "", &[resources, paths])
            .map_err(|_| {
                Escalation::Lacking(
                    "must have cluster-admin privileges to use the aggregationRule".to_owned(),
                )
            })
    }

    /// Whether the user may write a binding of this role (`namespace` is empty for a
    /// ClusterRoleBinding).
    ///
    /// # Errors
    /// [`Escalation::Lacking`] or [`Escalation::NoSuchRole`].
    pub fn confirm_binding(
        &self,
        user: &UserInfo,
        namespace: &str,
        role: &RoleRef,
    ) -> Result<(), Escalation> {
        let resource = match role.kind {
            RoleKind::Role => "roles",
            RoleKind::ClusterRole => "clusterroles",
        };
        if is_privileged(user) || self.holds_verb(user, "bind", resource, namespace, &role.name) {
            return Ok(());
        }
        let rules = self.index().rules(role, namespace).cloned();
        match rules {
            Some(rules) => self.confirm_rules(user, namespace, &rules),
            None => Err(Escalation::NoSuchRole(role.clone())),
        }
    }

    fn holds_verb(
        &self,
        user: &UserInfo,
        verb: &str,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> bool {
        self.decide(
            user,
            &Attributes::Resource {
                verb: verb.to_owned(),
                group: GROUP.to_owned(),
                version: "v1".to_owned(),
                resource: resource.to_owned(),
                subresource: String::new(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            },
        )
        .is_allowed()
    }

    fn confirm_rules(
        &self,
        user: &UserInfo,
        namespace: &str,
        rules: &[PolicyRule],
    ) -> Result<(), Escalation> {
        let counts = rules.iter().map(PolicyRule::part_count);
        let parts = counts.fold(0, usize::saturating_add);
        if parts > PARTS_MAX {
            return Err(Escalation::Lacking(format!(
                "the rules amount to {parts} single permissions, more than the {PARTS_MAX} that \
                 are checked one by one; use \"*\", or split the role"
            )));
        }
        let held = self.rules_of(user, namespace);
        let lacking = missing(&held.rules, rules);
        if lacking.is_empty() {
            return Ok(());
        }
        let mut lines: Vec<String> = compact(lacking)
            .iter()
            .map(PolicyRule::compact_text)
            .collect();
        lines.sort();
        lines.dedup();
        let mut text = format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            quoted_list(&user.groups),
            lines.join("\n")
        );
        if !held.errors.is_empty() {
            text.push_str(&format!("; resolution errors: [{}]", held.errors.join(" ")));
        }
        Err(Escalation::Lacking(text))
    }
}

fn is_privileged(user: &UserInfo) -> bool {
    user.groups.iter().any(|group| group == PRIVILEGED_GROUP)
}
