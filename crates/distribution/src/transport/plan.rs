//! Which works a Binding means, and what is to be done so that the ITS has exactly those.

use super::expand::Templates;
use super::model::Known;
use super::model::Model;
use super::seen::Mailboxes;
use super::wrap::Limits;
use super::wrap::Manifest;
use super::wrap::Origin;
use super::wrap::Work;
use super::wrap::name_of_single;
use super::wrap::wrap;
use crate::object::ObjectKey;
use hyades_api::control::Binding;
use hyades_api::control::BoundObject;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Errors of one kind that the status of a Binding tells, at most: a status is to be read, and each
/// error has up to a kilobyte.
const MAX_ERRORS: usize = 20;

/// Works by name.
type Works = HashMap<String, Arc<Work>>;

/// What a Binding means.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// For each WEC that has a mailbox, its works.
    pub(super) mailboxes: BTreeMap<String, Mailbox>,
    /// WECs that are meant and not accepted; what they have stays as it is.
    pub(super) unaccepted: BTreeSet<String>,
    /// Objects that are named and not there, or cannot be read.
    pub(super) missing: Vec<ObjectKey>,
    /// What is wrong with objects.
    pub(super) errors: Vec<String>,
    /// How many objects the Binding names.
    pub(super) objects: usize,
    /// Whether the works depend on the WECs' properties.
    pub(super) is_customised: bool,
}

/// What one mailbox is to hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Mailbox {
    /// Works that all WECs have.
    shared: Arc<Works>,
    /// Works of this WEC alone.
    own: Works,
    /// Names of works that stay as they are, because what they are to say cannot be told now.
    kept: BTreeSet<String>,
    kept_everywhere: Arc<BTreeSet<String>>,
    /// Whether all stays as it is.
    is_kept: bool,
    /// Whether nothing is deleted, because some object may merely not be seen.
    keeps_all: bool,
}

impl Mailbox {
    /// The work of that name.
    fn get(&self, name: &str) -> Option<&Arc<Work>> {
        self.own.get(name).or_else(|| self.shared.get(name))
    }

    pub(super) fn works(&self) -> impl Iterator<Item = &Arc<Work>> {
        self.shared.values().chain(self.own.values())
    }

    /// Whether all stays as it is, whatever it is to hold.
    pub(super) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// How many works it is to hold.
    pub(super) fn len(&self) -> usize {
        self.shared.len() + self.own.len()
    }

    /// Whether a work of that name may stay.
    fn keeps(&self, name: &str) -> bool {
        self.is_kept
            || self.keeps_all
            || self.kept.contains(name)
            || self.kept_everywhere.contains(name)
            || self.get(name).is_some()
    }
}

/// Something to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Create { mailbox: String, work: Arc<Work> },
    Update { mailbox: String, work: Arc<Work> },
    Delete { mailbox: String, name: String },
}

/// An object on its way.
enum Prepared {
    /// The same in all WECs.
    Shared(Arc<Manifest>),
    /// Another in each.
    Customised(Box<Templates>, Manifest),
    /// Its templates are none.
    Broken(String),
}

/// Decides what a Binding means.
pub(super) fn plan(binding: &Binding, model: &Model, limits: Limits, origin: &Origin) -> Plan {
    let workload = &binding.spec.workload;
    let named: Vec<&BoundObject> = workload
        .cluster_scope
        .iter()
        .chain(&workload.namespace_scope)
        .collect();
    let mut plan = Plan {
        objects: named.len(),
        ..Plan::default()
    };
    let mut prepared = Vec::with_capacity(named.len());
    for bound in named {
        if let Some(object) = prepare(bound, model, &mut plan) {
            prepared.push(object);
        }
    }
    plan.is_customised = prepared
        .iter()
        .any(|one| matches!(one, Prepared::Customised(..)));
    if limits.max_objects <= 1 {
        fill_singly(&mut plan, binding, model, &prepared, limits, origin);
    } else {
        fill_bundled(&mut plan, binding, model, &prepared, limits, origin);
    }
    plan.errors = limited(std::mem::take(&mut plan.errors), "errors");
    plan
}

/// As many errors as a status tells, and the number of the others.
pub(super) fn limited(errors: impl IntoIterator<Item = String>, what: &str) -> Vec<String> {
    let mut errors = errors.into_iter();
    let mut told: Vec<String> = errors.by_ref().take(MAX_ERRORS).collect();
    let more = errors.count();
    if more > 0 {
        told.push(format!("and {more} more {what}"));
    }
    told
}

fn prepare(bound: &BoundObject, model: &Model, plan: &mut Plan) -> Option<Prepared> {
    let key = ObjectKey::of(bound);
    let Known::There(source) = model.object(&key) else {
        plan.missing.push(key);
        return None;
    };
    let mut object = source.object.clone();
    model.transforms.apply(&key.resource, &mut object);
    let manifest = |json: String| Manifest {
        key,
        uid: source.uid.clone(),
        create_only: bound.modulation.create_only,
        json,
    };
    Some(match Templates::of(&object) {
        Ok(None) => Prepared::Shared(Arc::new(manifest(object.to_string()))),
        Ok(Some(templates)) => Prepared::Customised(Box::new(templates), manifest(String::new())),
        Err(errors) => {
            plan.errors.extend(errors);
            Prepared::Broken(source.uid.clone())
        }
    })
}

/// The destinations that have a mailbox; notes those that have none.
fn destinations<'b>(plan: &mut Plan, binding: &'b Binding, model: &Model) -> Vec<&'b str> {
    let mut accepted = Vec::new();
    for destination in &binding.spec.destinations {
        let name = destination.cluster_id.as_str();
        if model.wec(name).is_some_and(|wec| wec.is_accepted) {
            accepted.push(name);
        } else {
            plan.unaccepted.insert(name.to_owned());
        }
    }
    accepted
}

/// Wraps, and notes what is too large.
fn wrap_all(
    manifests: &[Arc<Manifest>],
    limits: Limits,
    origin: &Origin,
    kept: &mut BTreeSet<String>,
    errors: &mut Vec<String>,
) -> Works {
    let (works, too_large) = wrap(manifests, limits, origin);
    for object in too_large {
        errors.push(format!(
            "{} has {} bytes as JSON, more than the limit of {} for a work: WECs keep what they have of it; make it smaller",
            object.key, object.bytes, limits.max_bytes
        ));
        kept.insert(object.work);
    }
    works
        .into_iter()
        .map(|work| (work.name.clone(), Arc::new(work)))
        .collect()
}

/// Each object has its own work: one that is in doubt leaves the others alone.
fn fill_singly(
    plan: &mut Plan,
    binding: &Binding,
    model: &Model,
    prepared: &[Prepared],
    limits: Limits,
    origin: &Origin,
) {
    let mut kept = BTreeSet::new();
    let mut same = Vec::new();
    for object in prepared {
        match object {
            Prepared::Shared(manifest) => same.push(manifest.clone()),
            Prepared::Broken(uid) => {
                kept.insert(name_of_single(origin, uid));
            }
            Prepared::Customised(..) => {}
        }
    }
    let shared = Arc::new(wrap_all(&same, limits, origin, &mut kept, &mut plan.errors));
    let mut mailbox = Mailbox {
        shared,
        kept_everywhere: Arc::new(kept),
        keeps_all: !plan.missing.is_empty(),
        ..Mailbox::default()
    };
    let mut failures = Failures::default();
    for name in destinations(plan, binding, model) {
        mailbox.own = Works::new();
        mailbox.kept = BTreeSet::new();
        for object in prepared {
            let Prepared::Customised(templates, manifest) = object else {
                continue;
            };
            match customise(templates, manifest, name, model) {
                Ok(manifest) => {
                    let mut errors = Vec::new();
                    let single = [Arc::new(manifest)];
                    let kept = &mut mailbox.kept;
                    mailbox
                        .own
                        .extend(wrap_all(&single, limits, origin, kept, &mut errors));
                    failures.note(&single[0].key, errors);
                }
                Err(errors) => {
                    mailbox.kept.insert(name_of_single(origin, &manifest.uid));
                    failures.note(&manifest.key, errors);
                }
            }
        }
        plan.mailboxes.insert(name.to_owned(), mailbox.clone());
    }
    plan.errors.extend(failures.told());
}

/// Objects share works: one that is in doubt holds up all that might share one with it.
fn fill_bundled(
    plan: &mut Plan,
    binding: &Binding,
    model: &Model,
    prepared: &[Prepared],
    limits: Limits,
    origin: &Origin,
) {
    let is_broken = prepared
        .iter()
        .any(|one| matches!(one, Prepared::Broken(_)));
    let mut is_kept = is_broken || !plan.missing.is_empty();
    let mut failures = Failures::default();
    let mut common: Option<Arc<Works>> = None;
    for name in destinations(plan, binding, model) {
        let mut mailbox = Mailbox {
            is_kept,
            ..Mailbox::default()
        };
        if let Some(works) = &common {
            mailbox.shared = works.clone();
            plan.mailboxes.insert(name.to_owned(), mailbox);
            continue;
        }
        let mut manifests = Vec::new();
        for object in prepared {
            match object {
                Prepared::Shared(manifest) => manifests.push(manifest.clone()),
                Prepared::Customised(templates, manifest) => {
                    match customise(templates, manifest, name, model) {
                        Ok(manifest) => manifests.push(Arc::new(manifest)),
                        Err(errors) => {
                            failures.note(&manifest.key, errors);
                            mailbox.is_kept = true;
                        }
                    }
                }
                Prepared::Broken(_) => {}
            }
        }
        let mut errors = Vec::new();
        let works = wrap_all(
            &manifests,
            limits,
            origin,
            &mut BTreeSet::new(),
            &mut errors,
        );
        // What is left out may be in any of the works that are there.
        mailbox.is_kept |= !errors.is_empty();
        if plan.is_customised {
            mailbox.own = works;
        } else {
            is_kept = mailbox.is_kept;
            mailbox.shared = Arc::new(works);
            common = Some(mailbox.shared.clone());
        }
        for error in errors {
            if !plan.errors.contains(&error) {
                plan.errors.push(error);
            }
        }
        plan.mailboxes.insert(name.to_owned(), mailbox);
    }
    plan.errors.extend(failures.told());
}

fn customise(
    templates: &Templates,
    manifest: &Manifest,
    wec: &str,
    model: &Model,
) -> Result<Manifest, Vec<String>> {
    let properties = model
        .wec(wec)
        .map(|wec| wec.properties.clone())
        .unwrap_or_default();
    let object = templates.expand(wec, &properties)?;
    Ok(Manifest {
        json: object.to_string(),
        ..manifest.clone()
    })
}

/// What cannot be customised: of each object the errors of the first WEC, and the number of others.
#[derive(Default)]
struct Failures(BTreeMap<ObjectKey, (Vec<String>, usize)>);

impl Failures {
    fn note(&mut self, key: &ObjectKey, errors: Vec<String>) {
        if errors.is_empty() {
            return;
        }
        match self.0.get_mut(key) {
            Some((_, more)) => *more += 1,
            None => {
                self.0.insert(key.clone(), (errors, 0));
            }
        }
    }

    fn told(self) -> impl Iterator<Item = String> {
        self.0.into_iter().flat_map(|(key, (mut errors, more))| {
            if more > 0 {
                errors.push(format!("{key} fails in {more} more WECs"));
            }
            errors
        })
    }
}

impl Action {
    pub(super) fn mailbox(&self) -> &str {
        match self {
            Self::Create { mailbox, .. }
            | Self::Update { mailbox, .. }
            | Self::Delete { mailbox, .. } => mailbox,
        }
    }
}

/// What is to be written so that the ITS has what is planned. An ITS that has it needs nothing.
pub(super) fn actions(plan: &Plan, seen: &Mailboxes) -> Vec<Action> {
    let mut actions = Vec::new();
    for (mailbox, planned) in &plan.mailboxes {
        let there = seen.get(mailbox);
        if !planned.is_kept {
            for work in planned.works() {
                let (mailbox, work) = (mailbox.clone(), work.clone());
                match there.and_then(|works| works.get(&work.name)) {
                    None => actions.push(Action::Create { mailbox, work }),
                    // It comes back when this one is gone.
                    Some(state) if state.is_going => {}
                    Some(state) if state.says(work.digest) => {}
                    Some(_) => actions.push(Action::Update { mailbox, work }),
                }
            }
        }
    }
    for (mailbox, works) in seen {
        if plan.unaccepted.contains(mailbox) {
            continue;
        }
        let planned = plan.mailboxes.get(mailbox);
        for (name, state) in works {
            let is_kept = planned.is_some_and(|planned| planned.keeps(name));
            if !is_kept && !state.is_going {
                let (mailbox, name) = (mailbox.clone(), name.clone());
                actions.push(Action::Delete { mailbox, name });
            }
        }
    }
    actions
}

/// What is to be deleted so that the ITS has nothing of a Binding.
pub(super) fn removal(seen: &Mailboxes) -> Vec<Action> {
    actions(&Plan::default(), seen)
}

/// Written as a request, without the work's content.
impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, name, mailbox) = match self {
            Self::Create { mailbox, work } => ("create", &work.name, mailbox),
            Self::Update { mailbox, work } => ("update", &work.name, mailbox),
            Self::Delete { mailbox, name } => ("delete", name, mailbox),
        };
        write!(formatter, "{verb} work {name} in mailbox {mailbox}")
    }
}
