//! Removing what works of a lost hub left behind.

use super::reconcile::Worker;
use super::records;
use hyades_api::work::AppliedManifestWork;
use hyades_runtime::Trouble;
use hyades_runtime::kube;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DeleteParams;
use jiff::Timestamp;
use std::time::Duration;

/// A grace period of a hundred years or more means: never evict.
const NEVER_EVICT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Worker {
    /// Deletes AppliedManifestWorks of this agent that no hub has wanted for the grace period.
    pub async fn evict(&self) {
        for applied in self.stores.applied.list() {
            if let Err(error) = self.evict_one(&applied).await {
                tracing::warn!("judging {}: {}", applied.name_any(), Trouble::of(&error));
            }
        }
    }

    async fn evict_one(&self, applied: &AppliedManifestWork) -> kube::Result<()> {
        let same_hub = applied.spec.hub_hash == self.identity.hub_hash;
        let same_agent = applied.spec.agent_id == self.identity.agent_id;
        if applied.metadata.deletion_timestamp.is_some() || !(same_hub || same_agent) {
            return Ok(());
        }
        let wanted = same_hub
            && self
                .stores
                .works
                .get_in(&self.mailbox, &applied.spec.manifest_work_name)
                .is_some();
        let start = applied
            .status
            .eviction_start_time
            .as_ref()
            .map(|time| time.0);
        match eviction(wanted, start, self.eviction_grace, Timestamp::now()) {
            Eviction::Nothing => Ok(()),
            Eviction::Clear => {
                records::write_eviction_start(&self.applied_api, applied, None).await
            }
            Eviction::Start => {
                tracing::info!("no hub wants {} any more", applied.name_any());
                records::write_eviction_start(&self.applied_api, applied, Some(Self::now())).await
            }
            Eviction::Delete => {
                tracing::info!(
                    "removing {}: no hub has wanted it for the grace period",
                    applied.name_any()
                );
                self.applied_api
                    .delete(&applied.name_any(), &DeleteParams::default())
                    .await
                    .map(drop)
            }
        }
    }
}

/// What to do about an AppliedManifestWork of this agent.
#[derive(Debug, PartialEq)]
enum Eviction {
    Nothing,
    Clear,
    Start,
    Delete,
}

fn eviction(wanted: bool, start: Option<Timestamp>, grace: Duration, now: Timestamp) -> Eviction {
    match (wanted, start) {
        (true, None) => Eviction::Nothing,
        (true, Some(_)) => Eviction::Clear,
        (false, _) if grace >= NEVER_EVICT => Eviction::Nothing,
        (false, None) => Eviction::Start,
        (false, Some(start)) => {
            let waited = now
                .as_second()
                .saturating_sub(start.as_second())
                .max(0)
                .unsigned_abs();
            if waited >= grace.as_secs() {
                Eviction::Delete
            } else {
                Eviction::Nothing
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_unwanted_for_the_grace_period_is_evicted() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let grace = Duration::from_secs(60);
        let judge =
            |wanted, start: Option<i64>, grace| eviction(wanted, start.map(at), grace, at(1000));
        assert_eq!(judge(true, None, grace), Eviction::Nothing);
        assert_eq!(judge(true, Some(1), grace), Eviction::Clear);
        assert_eq!(judge(false, None, grace), Eviction::Start);
        assert_eq!(judge(false, Some(941), grace), Eviction::Nothing);
        assert_eq!(judge(false, Some(940), grace), Eviction::Delete);
        assert_eq!(judge(false, Some(1), NEVER_EVICT), Eviction::Nothing);
    }
}
