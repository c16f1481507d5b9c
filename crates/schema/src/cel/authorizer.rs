//! The `authorizer` library: expressions that ask what a user may do.
//!
//! `authorizer.group('apps').resource('deployments').name('a').check('get').allowed()` builds an
//! [`Inquiry`] step by step, puts it to the [`Authorizer`] and reads the [`Verdict`].

use std::fmt;
use std::sync::Arc;

use kube_cel::cel::Context;
use kube_cel::cel::ExecutionError;
use kube_cel::cel::Value;
use kube_cel::cel::extractors::This;
use kube_cel::cel::objects::Opaque;

/// Answers inquiries.
pub trait Authorizer: Send + Sync {
    /// Whether the inquiry's subject may do what it says.
    fn decide(&self, inquiry: &Inquiry, verb: &str) -> Verdict;
}

/// Whose rights an inquiry is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Subject {
    /// The user who makes the request.
    #[default]
    Requester,
    /// A service account.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// How far an inquiry has been built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Start,
    Path,
    Group,
    Resource,
}

/// A question about rights, without its verb.
#[derive(Clone)]
pub struct Inquiry {
    authorizer: Arc<dyn Authorizer>,
    stage: Stage,
    /// Whose rights.
    pub subject: Subject,
    /// The path; empty when a resource is asked about.
    pub path: String,
    /// API group.
    pub group: String,
    /// Resource, in the plural.
    pub resource: String,
    /// Subresource; empty when none.
    pub subresource: String,
    /// Namespace; empty for the cluster scope.
    pub namespace: String,
    /// Object name; empty for any.
    pub name: String,
}

impl Inquiry {
    /// What `authorizer` is: a question not yet put.
    pub fn new(authorizer: Arc<dyn Authorizer>) -> Inquiry {
        Inquiry {
            authorizer,
            stage: Stage::Start,
            subject: Subject::Requester,
            path: String::new(),
            group: String::new(),
            resource: String::new(),
            subresource: String::new(),
            namespace: String::new(),
            name: String::new(),
        }
    }

    /// The same question about a resource: what `authorizer.requestResource` is.
    #[must_use]
    pub fn about(self, group: &str, resource: &str) -> Inquiry {
        Inquiry {
            stage: Stage::Resource,
            group: group.to_owned(),
            resource: resource.to_owned(),
            ..self
        }
    }

    /// Whether a path is asked about, rather than a resource.
    pub fn is_path(&self) -> bool {
        self.stage == Stage::Path
    }

    fn decide(&self, verb: &str) -> Verdict {
        self.authorizer.decide(self, verb)
    }
}

impl fmt::Debug for Inquiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("authorizer")
    }
}

impl PartialEq for Inquiry {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.authorizer, &other.authorizer)
            && self.stage == other.stage
            && self.subject == other.subject
            && self.path == other.path
            && self.group == other.group
            && self.resource == other.resource
            && self.subresource == other.subresource
            && self.namespace == other.namespace
            && self.name == other.name
    }
}

impl Eq for Inquiry {}

impl Opaque for Inquiry {
    fn runtime_type_name(&self) -> &str {
        match self.stage {
            Stage::Start => "kubernetes.authorization.Authorizer",
            Stage::Path => "kubernetes.authorization.PathCheck",
            Stage::Group => "kubernetes.authorization.GroupCheck",
            Stage::Resource => "kubernetes.authorization.ResourceCheck",
        }
    }
}

/// The answer to an inquiry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, in the authoriser's words; may be empty.
    pub reason: String,
    /// What kept the authoriser from answering; empty when nothing did.
    pub error: String,
}

impl Opaque for Verdict {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.authorization.Decision"
    }
}

type Answer = Result<Value, ExecutionError>;
type Target = This<Arc<dyn Opaque>>;

/// Builds on an inquiry that has come as far as `stage`.
fn step(
    target: &Target,
    stage: Stage,
    build: impl FnOnce(Inquiry) -> Result<Inquiry, ExecutionError>,
) -> Answer {
    let inquiry = target.0.downcast_ref::<Inquiry>();
    let inquiry = inquiry.filter(|inquiry| inquiry.stage == stage);
    let inquiry = inquiry.ok_or(ExecutionError::NoSuchOverload)?;
    let built: Arc<dyn Opaque> = Arc::new(build(inquiry.clone())?);
    Ok(Value::Opaque(built))
}

fn verdict(target: &Target) -> Result<&Verdict, ExecutionError> {
    target
        .0
        .downcast_ref::<Verdict>()
        .ok_or(ExecutionError::NoSuchOverload)
}

fn check(target: Target, verb: Arc<String>) -> Answer {
    let inquiry = target.0.downcast_ref::<Inquiry>();
    let inquiry = inquiry.ok_or(ExecutionError::NoSuchOverload)?;
    if !matches!(inquiry.stage, Stage::Path | Stage::Resource) {
        return Err(ExecutionError::NoSuchOverload);
    }
    let verdict: Arc<dyn Opaque> = Arc::new(inquiry.decide(&verb));
    Ok(Value::Opaque(verdict))
}

fn path(target: Target, path: Arc<String>) -> Answer {
    step(&target, Stage::Start, |inquiry| {
        if path.is_empty() {
            let why = "path must not be empty";
            return Err(ExecutionError::function_error("path", why));
        }
        Ok(Inquiry {
            stage: Stage::Path,
            path: path.to_string(),
            ..inquiry
        })
    })
}

fn group(target: Target, group: Arc<String>) -> Answer {
    step(&target, Stage::Start, |inquiry| {
        Ok(Inquiry {
            stage: Stage::Group,
            group: group.to_string(),
            ..inquiry
        })
    })
}

fn service_account(target: Target, namespace: Arc<String>, name: Arc<String>) -> Answer {
    step(&target, Stage::Start, |inquiry| {
        if namespace.is_empty() || name.is_empty() {
            let why = "service account namespace and name must not be empty";
            return Err(ExecutionError::function_error("serviceAccount", why));
        }
        Ok(Inquiry {
            subject: Subject::ServiceAccount {
                namespace: namespace.to_string(),
                name: name.to_string(),
            },
            ..inquiry
        })
    })
}

fn resource(target: Target, resource: Arc<String>) -> Answer {
    step(&target, Stage::Group, |inquiry| {
        Ok(Inquiry {
            stage: Stage::Resource,
            resource: resource.to_string(),
            ..inquiry
        })
    })
}

fn subresource(target: Target, subresource: Arc<String>) -> Answer {
    step(&target, Stage::Resource, |inquiry| {
        Ok(Inquiry {
            subresource: subresource.to_string(),
            ..inquiry
        })
    })
}

fn namespace(target: Target, namespace: Arc<String>) -> Answer {
    step(&target, Stage::Resource, |inquiry| {
        Ok(Inquiry {
            namespace: namespace.to_string(),
            ..inquiry
        })
    })
}

fn name(target: Target, name: Arc<String>) -> Answer {
    step(&target, Stage::Resource, |inquiry| {
        Ok(Inquiry {
            name: name.to_string(),
            ..inquiry
        })
    })
}

/// Selectors narrow a question; authorisation by roles does not look at them.
fn selector(target: Target, _selector: Arc<String>) -> Answer {
    step(&target, Stage::Resource, Ok)
}

pub(super) fn register(context: &mut Context<'_>) {
    context.add_function("path", path);
    context.add_function("group", group);
    context.add_function("serviceAccount", service_account);
    context.add_function("resource", resource);
    context.add_function("subresource", subresource);
    context.add_function("namespace", namespace);
    context.add_function("name", name);
    context.add_function("fieldSelector", selector);
    context.add_function("labelSelector", selector);
    context.add_function("check", check);
    context.add_function("allowed", |target: Target| -> Answer {
        Ok(Value::Bool(verdict(&target)?.allowed))
    });
    context.add_function("reason", |target: Target| -> Answer {
        Ok(Value::String(Arc::new(verdict(&target)?.reason.clone())))
    });
    context.add_function("errored", |target: Target| -> Answer {
        Ok(Value::Bool(!verdict(&target)?.error.is_empty()))
    });
    context.add_function("error", |target: Target| -> Answer {
        Ok(Value::String(Arc::new(verdict(&target)?.error.clone())))
    });
}
