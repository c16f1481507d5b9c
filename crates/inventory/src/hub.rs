//! The hub: keeps every inventory object, its mailbox, its rights and its lease as they should be.
//!
//! ```text
//! ManagedCluster ─┐                          ┌▶ metadata and spec, in one patch
//! Namespace ──────┤                          ├▶ mailbox, ClusterRole, three bindings
//! RBAC, Lease ────┼▶ one key per WEC ▶ agent ┼▶ Lease
//! requests ───────┤          (cluster)       ├▶ status, in one patch
//! timers ─────────┘                          └▶ on deregistration: works, add-ons, requests
//!
//! CertificateSigningRequest ▶ one key per request ▶ approve, deny or leave (requests)
//! ManagedClusterSet, binding ▶ one key per set ▶ members, conditions (sets)
//! set, binding, member ▶ one key per namespace and WEC ▶ ClusterProfile (profiles)
//! ManagedCluster, Cluster ▶ one key per WEC ▶ agent put into it (importer)
//! JoinRule ▶ one key per rule ▶ count, condition (joining)
//! Placement ▶ one key per placement ▶ decisions, conditions (crate::placement)
//! ManifestWorkReplicaSet ▶ one key per set ▶ works, status (crate::works)
//! ```
//!
//! Each module decides with pure functions over what was seen; `cluster` alone talks to the server
//! about a WEC, so that one change costs one patch and not one a controller.
//!
//! # Where this hub is stricter than upstream's
//!
//! - **A name is pinned** (`pins`). The first agent whose bootstrap request was approved owns the
//!   WEC's name until deregistration. Requests of others are denied and told by whom it is taken.
//! - **Rights go to the pinned user**, not to the group of the WEC's name, which any holder of an
//!   older certificate for the same name belongs to as well. Credentials of a replaced or
//!   deregistered agent are therefore refused although the certificate itself is still valid.
//! - **Requests go with the WEC**: an approval of a former life cannot pin the name in the next.
//! - **Names that would give rights elsewhere** (`kube-system`, `managed-clusters`, …) are refused.
//! - **One WEC is written to once a second at most** (`budget`) when its agent makes a storm.
//! - **Liveness is judged by when this hub saw a renewal** (`liveness`), not by the agent's clock.
//! - **A lease without the hub's label** is labelled and used; upstream stumbles over it for ever.

mod acceptance;
mod budget;
mod cleanup;
mod cluster;
mod deregistration;
mod grants;
mod importer;
mod joining;
mod lease;
mod liveness;
mod namespaces;
mod observed;
mod options;
mod pins;
mod profiles;
mod recovery;
mod requests;
mod rights;
mod rules;
mod sets;
mod taints;

pub use importer::NewAgent;
pub use importer::RenderAgent;
pub use options::Options;
pub use options::OptionsError;
use options::Settings;
pub(crate) use rights::own_requests;
pub use rules::rules;

use crate::addon;
use crate::hub::joining::Invitation;
use crate::hub::observed::Observed;
use crate::hub::pins::Pin;
use crate::hub::requests::Owner;
use crate::hub::requests::Request;
use crate::placement;
use crate::works;
use hyades_api::features;
use hyades_api::identity::ClusterName;
use hyades_runtime::Context;
use hyades_runtime::controller;
use hyades_runtime::events::Recorder;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// WECs worked on at a time. Reconciliations wait for the server most of their time: where a
/// thousand agents ask it too, it answers each call after some 30 ms, and a WEC takes about eight,
/// so that 96 of them are 400 WECs a second. It bounds what is in memory, too.
const CLUSTER_WORKERS: usize = 96;

/// Requests worked on at a time: two calls each, as above.
const REQUEST_WORKERS: usize = 32;

/// Sets worked on at a time. Sets are few.
const SET_WORKERS: usize = 2;

/// Cluster profiles worked on at a time: two calls each, and nobody waits for them.
const PROFILE_WORKERS: usize = 4;

/// Rules worked on at a time. Rules are few.
const RULE_WORKERS: usize = 2;

/// What every part of the hub holds.
struct Hub {
    client: Client,
    settings: Settings,
    events: Recorder,
    observed: Observed,
    /// Names given to agents whose requests this process approves; each stands until the pin is
    /// written, so that two requests approved in the same moment cannot both get the name.
    claims: RefCell<HashMap<ClusterName, Claim>>,
    /// Pins of mailboxes that somebody deleted under a living WEC: they go into the next ones.
    orphaned_pins: RefCell<HashMap<ClusterName, Pin>>,
}

/// A name given to an agent.
#[derive(Clone, Debug)]
struct Claim {
    owner: Owner,
    /// What the WEC is let in as, if a rule lets it in.
    invitation: Option<Invitation>,
    /// Whether the API server has taken the approval.
    is_approved: bool,
}

impl Hub {
    /// The agent that has a WEC's name: by a claim, by its pin, or by the first approval that has
    /// not become a pin yet.
    fn owner_of(&self, cluster: &ClusterName) -> Option<Owner> {
        if let Some(claim) = self.claims.borrow().get(cluster) {
            return Some(claim.owner.clone());
        }
        if let Some(mailbox) = self.observed.mailboxes.get(cluster.as_str())
            && let Some(pin) = pins::read(&mailbox.metadata)
        {
            return Some(Owner {
                agent: pin.agent,
                key_sha256: pin.key_sha256,
            });
        }
        if let Some(pin) = self.orphaned_pin(cluster) {
            return Some(Owner {
                agent: pin.agent,
                key_sha256: pin.key_sha256,
            });
        }
        let requests = self.observed.requests_of(cluster.as_str());
        requests::first_approved(&requests).map(|first| Owner {
            agent: first.request.agent,
            key_sha256: first.request.key_sha256,
        })
    }

    fn claim(&self, request: &Request, invitation: Option<Invitation>) {
        let claim = Claim {
            owner: Owner {
                agent: request.agent.clone(),
                key_sha256: request.key_sha256.clone(),
            },
            invitation,
            is_approved: false,
        };
        let cluster = request.agent.cluster.clone();
        self.claims.borrow_mut().insert(cluster, claim);
    }

    /// Takes note that the approval behind a claim is written.
    fn confirm(&self, cluster: &ClusterName) {
        if let Some(claim) = self.claims.borrow_mut().get_mut(cluster) {
            claim.is_approved = true;
        }
    }

    fn release(&self, cluster: &ClusterName) {
        self.claims.borrow_mut().remove(cluster);
    }

    /// Drops a claim that has become a pin. One whose approval is under way stands.
    fn release_settled(&self, cluster: &ClusterName) {
        let mut claims = self.claims.borrow_mut();
        if claims.get(cluster).is_some_and(|claim| claim.is_approved) {
            claims.remove(cluster);
        }
    }

    fn claim_of(&self, cluster: &ClusterName) -> Option<Claim> {
        self.claims.borrow().get(cluster).cloned()
    }

    /// The pin of a WEC whose mailbox was deleted: as this process or a former one kept it.
    fn orphaned_pin(&self, cluster: &ClusterName) -> Option<Pin> {
        let kept = self.orphaned_pins.borrow().get(cluster).cloned();
        kept.or_else(|| {
            let bindings = &self.observed.cluster_role_bindings;
            let binding = bindings.get(&hyades_api::names::cluster_role(cluster))?;
            pins::read_kept(&binding.metadata, cluster)
        })
    }

    /// The invitation by the rule of this name.
    fn invitation_by(&self, rule: &str) -> Invitation {
        Invitation::by(rule, self.observed.rules.get(rule).as_deref())
    }

    /// Counts the WECs that rules had let in before this process started and whose mailboxes do not
    /// say so yet.
    fn recover_places(&self) {
        for object in self.observed.clusters.list() {
            let Ok(cluster) = object.name_any().parse() else {
                continue;
            };
            if let Some(invitation) = self.invitation_of(&cluster)
                && !self.is_pinned(&cluster)
            {
                let tally = &self.observed.tally;
                tally.recover(cluster.as_str(), &invitation.rule);
            }
        }
    }

    /// Whether a WEC's mailbox names an owner.
    fn is_pinned(&self, cluster: &ClusterName) -> bool {
        let mailbox = self.observed.mailboxes.get(cluster.as_str());
        mailbox.is_some_and(|mailbox| pins::read(&mailbox.metadata).is_some())
    }

    /// What a WEC is let in as: by a claim, or by an approval whose acceptance was interrupted.
    fn invitation_of(&self, cluster: &ClusterName) -> Option<Invitation> {
        if let Some(claim) = self.claims.borrow().get(cluster) {
            return claim.invitation.clone();
        }
        let requests = self.observed.requests_of(cluster.as_str());
        let rule = requests::first_approved(&requests)?.by_rule?;
        Some(self.invitation_by(&rule))
    }
}

/// Runs the hub until the context's shutdown. `render_agent` renders the agents of the clusters that
/// the hub imports.
///
/// # Errors
///
/// When an option cannot be had. What fails later is tried again and told in the log, in the
/// conditions of inventory objects, and in Events of the mailboxes.
pub async fn run(
    options: Options,
    render_agent: RenderAgent,
    context: Context,
) -> Result<(), OptionsError> {
    let settings = Settings::of(&options)?;
    let wants_profiles = settings.gates.enabled(features::CLUSTER_PROFILE);
    let wants_imports = settings.gates.enabled(features::CLUSTER_IMPORTER);
    let observed = Observed::watch(&context.client, wants_profiles, wants_imports);
    let queues = observed.queues.clone();
    let synced = observed.synced();
    context.health.add_ready("caches", move || {
        if synced.is_cancelled() {
            Ok(())
        } else {
            Err("the first lists are not complete".to_owned())
        }
    });
    tokio::select! {
        () = context.shutdown.cancelled() => return Ok(()),
        () = observed.wait_until_synced() => {}
    }
    let hub = Rc::new(Hub {
        events: Recorder::new(context.client.clone(), "hub", &context.pod_name),
        client: context.client.clone(),
        settings,
        observed,
        claims: RefCell::default(),
        orphaned_pins: RefCell::default(),
    });
    hub.recover_places();
    let shared = placement::Shared {
        wecs: hub.observed.clusters.store(),
        sets: hub.observed.sets.store(),
        bindings: hub.observed.set_bindings.store(),
    };
    let clusters = cluster::Reconciler::new(hub.clone());
    let approver = requests::Approver::new(hub.clone());
    let sets = sets::Reconciler::new(hub.clone(), queues.sets.clone());
    let rules = joining::Reconciler::new(hub.clone());
    let with_addons = hub.settings.gates.enabled(features::ADDON_MANAGEMENT);
    let addons = async {
        if !with_addons {
            return;
        }
        let owners = hub.clone();
        let shared = addon::Shared {
            clusters: hub.observed.clusters.store(),
            changed: queues.addons.clone(),
            agent_of: Box::new(move |cluster| owners.owner_of(cluster).map(|owner| owner.agent)),
        };
        let converting = async {
            if let Some(port) = options.addon_webhook_port {
                addon::webhook::run(&context, port).await;
            }
        };
        tokio::join!(addon::run(&context, shared), converting);
    };
    // Nothing may change after the start, and yet everything is to be looked at once.
    queues.clusters.add(String::new());
    queues.sets.add(String::new());
    let window_seconds = hub.settings.recovery_window_seconds;
    tokio::join!(
        keep_profiles(hub.clone(), &context),
        import(hub.clone(), render_agent, &context),
        placement::run(shared, queues.placements.clone(), &context),
        works::run(&hub.settings.gates, &context),
        addons,
        recovery::prepare(&hub.client, window_seconds, &context.shutdown),
        controller::work(
            "ManagedCluster",
            queues.clusters.clone(),
            CLUSTER_WORKERS,
            context.shutdown.clone(),
            |key| clusters.reconcile(key),
        ),
        controller::work(
            "CertificateSigningRequest",
            queues.requests.clone(),
            REQUEST_WORKERS,
            context.shutdown.clone(),
            |key| approver.reconcile(key),
        ),
        controller::work(
            "ManagedClusterSet",
            queues.sets.clone(),
            SET_WORKERS,
            context.shutdown.clone(),
            |key| sets.reconcile(key),
        ),
        controller::work(
            "JoinRule",
            queues.rules.clone(),
            RULE_WORKERS,
            context.shutdown.clone(),
            |key| rules.reconcile(key),
        ),
    );
    Ok(())
}

/// Imports clusters, if that is wanted.
async fn import(hub: Rc<Hub>, render: RenderAgent, context: &Context) {
    let Some(queue) = hub.observed.queues.imports.clone() else {
        return;
    };
    let importer = importer::Importer::start(hub, queue.clone(), render);
    let shutdown = context.shutdown.clone();
    controller::work("import", queue, importer::WORKERS, shutdown, |key| {
        importer.reconcile(key)
    })
    .await;
}

/// Keeps cluster profiles, if they are wanted.
async fn keep_profiles(hub: Rc<Hub>, context: &Context) {
    let Some(queue) = hub.observed.queues.profiles.queue() else {
        return;
    };
    let profiles = tokio::select! {
        () = context.shutdown.cancelled() => return,
        profiles = profiles::Reconciler::start(hub, queue.clone()) => profiles,
    };
    controller::work(
        "ClusterProfile",
        queue,
        PROFILE_WORKERS,
        context.shutdown.clone(),
        |key| profiles.reconcile(key),
    )
    .await;
}
