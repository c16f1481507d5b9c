//! The hub and its operator against a real space, in process, under the accounts and rights that
//! they have in production: what RBAC does not allow them fails here.

mod addons;
mod admission;
mod cleanup;
mod fixture;
mod handover;
mod identities;
mod importer;
mod joining;
mod liveness;
mod mailboxes;
mod operator;
mod placement;
mod placement_costs;
mod registration;
mod replica_sets;
mod rows;
mod sets;
mod threads;
