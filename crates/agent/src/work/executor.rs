//! On whose behalf works are applied.
//!
//! A work may name a service account of the WEC, its executor. Everything about that work's objects
//! is then done as this account, by impersonation: reading, writing, removing. The API server judges
//! each request by the account's rights, escalation by roles and bindings included, so that the
//! agent's own rights lend a work nothing.
//!
//! Beforehand the account's rights are asked for, as upstream does: a work is not half applied for
//! want of one verb, and what could not be removed afterwards is not made.

use super::mapping::Target;
use super::treatment::Strategy;
use super::treatment::Treatment;
use futures::future::try_join_all;
use hyades_api::work::Executor;
use hyades_runtime::client;
use hyades_runtime::client::UserName;
use hyades_runtime::k8s_openapi::api::authorization::v1::ResourceAttributes;
use hyades_runtime::k8s_openapi::api::authorization::v1::SubjectAccessReview;
use hyades_runtime::k8s_openapi::api::authorization::v1::SubjectAccessReviewSpec;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::api::PostParams;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;
use tokio::time::Instant;

/// When an account that lacks a right is asked about again; upstream's number.
pub const DENIED_RECHECK: Duration = Duration::from_secs(60);

/// [`DENIED_RECHECK`] as upstream prints it.
const DENIED_RECHECK_TEXT: &str = "1m0s";

/// How long a granted right is remembered with the gate ExecutorValidatingCaches: what
/// kube-apiserver grants the answers of authorisers outside it. Writing is judged each time all the
/// same.
const GRANT_EXPIRES: Duration = Duration::from_secs(300);

/// Granted rights remembered: five for each of 2,000 objects, some 200 bytes each. Forgotten ones
/// are asked for again.
const GRANTS_MAX: usize = 10_000;

/// Accounts whose clients are kept. Each is a task and a queue before the one connection; a WEC's
/// teams are fewer.
const ACCOUNTS_MAX: usize = 256;

/// A service account of the WEC.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    namespace: String,
    name: String,
    /// What the API server calls it.
    user: UserName,
}

impl Account {
    /// The account that a work names, if it names one.
    ///
    /// # Errors
    ///
    /// In words, when it names something else than an account.
    pub fn of(executor: Option<&Executor>) -> Result<Option<Self>, String> {
        let Some(executor) = executor else {
            return Ok(None);
        };
        let subject = &executor.subject;
        match (subject.r#type.as_str(), &subject.service_account) {
            ("ServiceAccount", Some(account)) => {
                let (namespace, name) = (&account.namespace, &account.name);
                let named = Self::named(namespace, name);
                let wrong = || format!("{namespace:?}/{name:?} is the name of no ServiceAccount");
                named.map(Some).ok_or_else(wrong)
            }
            ("ServiceAccount", None) => Err(
                "the executor is a ServiceAccount and spec.executor.subject.serviceAccount does not say which: name it"
                    .to_owned(),
            ),
            (other, _) => Err(format!(
                "there is no executor of the type {other:?}: only ServiceAccount"
            )),
        }
    }

    /// Reads what [`fmt::Display`] wrote.
    pub fn read(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        Self::named(namespace, name)
    }

    fn named(namespace: &str, name: &str) -> Option<Self> {
        // A colon would name an account of another namespace.
        let is_name = |text: &str| !text.is_empty() && !text.contains([':', '/']);
        if !is_name(namespace) || !is_name(name) {
            return None;
        }
        Some(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            user: UserName::new(&format!("system:serviceaccount:{namespace}:{name}"))?,
        })
    }

    /// The groups that every service account of its namespace belongs to.
    fn groups(&self) -> Vec<String> {
        vec![
            "system:serviceaccounts".to_owned(),
            "system:authenticated".to_owned(),
            format!("system:serviceaccounts:{}", self.namespace),
        ]
    }
}

impl fmt::Display for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// The executor may not do what its work asks for.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error(
    "not allowed to apply the resource {group} {resource}, {namespace} {name}{reason}, \
     will try again in {DENIED_RECHECK_TEXT}"
)]
pub struct Denied {
    group: String,
    resource: String,
    namespace: String,
    name: String,
    /// Empty, or the API server's words after a comma.
    reason: String,
}

impl Denied {
    /// The refusal of one object; `reason` in the API server's words, if it gave one.
    pub fn new(target: &Target, reason: Option<&str>) -> Self {
        Self {
            group: target.resource.group.clone(),
            resource: target.resource.plural.clone(),
            namespace: target.namespace.clone().unwrap_or_default(),
            name: target.name.clone(),
            reason: reason.map_or_else(String::new, |reason| format!(", error: {reason}")),
        }
    }
}

/// Why an executor's rights are not known to suffice.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// They do not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The API server did not say.
    #[error("asked what the executor may do: {0}")]
    Asking(kube::Error),
}

/// Who removes an object: the first, and if he may not, the second.
pub struct Hands {
    /// The executor, or the agent itself.
    pub first: Client,
    /// The agent itself: what a work made under its executor goes with the work, even when the
    /// executor's rights or the account itself went before.
    pub second: Option<Client>,
}

/// A right that was granted, and when.
type Grants = HashMap<Question, Instant>;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Question {
    account: Account,
    verb: &'static str,
    group: String,
    resource: String,
    namespace: String,
    name: String,
}

/// The executors of the works of a session.
pub struct Executors {
    agent: Client,
    clients: Mutex<HashMap<Account, Client>>,
    /// With the gate only.
    grants: Option<Mutex<Grants>>,
}

impl Executors {
    /// Nothing known yet. `remembers` says whether granted rights are remembered for a while.
    pub fn new(agent: Client, remembers: bool) -> Self {
        Self {
            agent,
            clients: Mutex::default(),
            grants: remembers.then(Mutex::default),
        }
    }

    /// The client that acts as an account, or as the agent itself.
    pub fn client(&self, account: Option<&Account>) -> Client {
        let Some(account) = account else {
            return self.agent.clone();
        };
        let mut clients = locked(&self.clients);
        if let Some(known) = clients.get(account) {
            return known.clone();
        }
        let client = client::acting_as(&self.agent, &account.user);
        if clients.len() >= ACCOUNTS_MAX {
            clients.clear();
        }
        clients.insert(account.clone(), client.clone());
        client
    }

    /// Who removes the objects of a work.
    pub fn hands(&self, account: Option<&Account>) -> Hands {
        Hands {
            first: self.client(account),
            second: account.map(|_| self.agent.clone()),
        }
    }

    /// Makes sure that an account may do all that following a manifest takes.
    pub async fn check(
        &self,
        account: &Account,
        target: &Target,
        treatment: &Treatment,
    ) -> Result<(), CheckError> {
        let questions = verbs(treatment).iter().map(|&verb| Question {
            account: account.clone(),
            verb,
            group: target.resource.group.clone(),
            resource: target.resource.plural.clone(),
            namespace: target.namespace.clone().unwrap_or_default(),
            name: target.name.clone(),
        });
        let answers = try_join_all(questions.map(|question| self.is_granted(question))).await;
        match answers.map_err(CheckError::Asking)?.contains(&false) {
            true => Err(Denied::new(target, None).into()),
            false => Ok(()),
        }
    }

    async fn is_granted(&self, question: Question) -> kube::Result<bool> {
        let is_fresh = |granted: &Instant| granted.elapsed() < GRANT_EXPIRES;
        if let Some(grants) = &self.grants
            && locked(grants).get(&question).is_some_and(is_fresh)
        {
            return Ok(true);
        }
        let api: Api<SubjectAccessReview> = Api::all(self.agent.clone());
        let answer = api
            .create(&PostParams::default(), &review(&question))
            .await?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        if let Some(grants) = &self.grants
            && allowed
        {
            let mut grants = locked(grants);
            if grants.len() >= GRANTS_MAX {
                grants.clear();
            }
            grants.insert(question, Instant::now());
        }
        Ok(allowed)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each is whole between any two statements.
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// What an account must be allowed to do with an object.
fn verbs(treatment: &Treatment) -> &'static [&'static str] {
    match (&treatment.strategy, treatment.orphan) {
        (Strategy::ReadOnly, _) => &["get"],
        (_, true) => &["create", "update", "patch", "get"],
        (_, false) => &["create", "update", "patch", "get", "delete"],
    }
}

fn review(question: &Question) -> SubjectAccessReview {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(question.account.user.as_str().to_owned()),
            groups: Some(question.account.groups()),
            resource_attributes: Some(ResourceAttributes {
                verb: given(question.verb),
                group: given(&question.group),
                resource: given(&question.resource),
                namespace: given(&question.namespace),
                name: given(&question.name),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::mapping::tests::target;
    use serde_json::Value;
    use serde_json::json;

    fn account(executor: Value) -> Result<Option<Account>, String> {
        let executor: Executor = serde_json::from_value(executor).expect("an executor");
        Account::of(Some(&executor))
    }

    #[test]
    fn an_executor_is_an_account_and_nothing_else() {
        assert_eq!(Account::of(None), Ok(None));
        let named = json!({"subject": {"type": "ServiceAccount", "serviceAccount": {"namespace": "n", "name": "a"}}});
        let found = account(named).expect("an account").expect("one");
        assert_eq!(found.user.as_str(), "system:serviceaccount:n:a");
        assert_eq!(Account::read(&found.to_string()), Some(found));
        let unnamed = account(json!({"subject": {"type": "ServiceAccount"}}));
        assert!(unnamed.unwrap_err().contains("name it"));
        assert!(account(json!({"subject": {"type": "User"}})).is_err());
        for text in ["alone", "n/", "/a", "n/a:b", "kube-system:x/a", "n/a\n"] {
            assert_eq!(Account::read(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_refusal_reads_as_upstreams() {
        let target = target("apps", "v1", "Deployment", "deployments", "n", "web");
        assert_eq!(
            Denied::new(&target, None).to_string(),
            "not allowed to apply the resource apps deployments, n web, will try again in 1m0s"
        );
        assert_eq!(
            Denied::new(&target, Some("roles may not escalate")).to_string(),
            "not allowed to apply the resource apps deployments, n web, error: roles may not escalate, \
             will try again in 1m0s"
        );
    }

    #[test]
    fn the_right_to_delete_is_needed_for_what_goes_with_the_work() {
        let treatment = |strategy, orphan| Treatment {
            strategy,
            orphan,
            feedback: Vec::new(),
            conditions: Vec::new(),
        };
        assert!(verbs(&treatment(Strategy::Update, false)).contains(&"delete"));
        assert!(!verbs(&treatment(Strategy::Update, true)).contains(&"delete"));
        assert_eq!(verbs(&treatment(Strategy::ReadOnly, false)), ["get"]);
    }
}
