//! Jobs: made once, run once. Pure.
//!
//! Kubernetes fills in most of a Job's spec and lets little of it change, so that replacing it by its
//! manifest, as is done with other kinds, would be refused for ever. What a manifest says is laid
//! over what the Job is instead, and a refusal of that is final until the manifest changes.
//!
//! A Job that was to vanish after its time is not missed: made anew, it would run again and again.

use super::merge;
use super::merge::Owner;
use hyades_runtime::apply::is_empty;
use serde_json::Value;

/// What the status says of an object that came to its end and is gone.
pub const GONE: &str = "it came to its end and is gone; it is made again when the work changes";

/// Whether a manifest is a Job's.
pub fn is_job(manifest: &Value) -> bool {
    manifest["kind"] == "Job" && manifest["apiVersion"] == "batch/v1"
}

/// Whether a manifest is that of a Job that the cluster removes by itself some time after its end.
pub fn vanishes(manifest: &Value) -> bool {
    is_job(manifest) && manifest["spec"]["ttlSecondsAfterFinished"].is_u64()
}

/// The Job to write over `live`, or nothing if it is as wanted. What the manifest does not mention
/// stays.
pub fn updated(live: &Value, manifest: &Value, owner: &Owner) -> Option<Value> {
    let mut object = live.clone();
    let merged = merge::merge_metadata(&mut object, manifest, owner);
    let laid = match manifest.get("spec") {
        Some(spec) => overlay(&mut object["spec"], spec),
        None => false,
    };
    (merged || laid).then_some(object)
}

/// Lays `wanted` over `value`; whether that changed anything. Lists of one length are laid item over
/// item, so that what the server filled into the items stays.
fn overlay(value: &mut Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(fields), Value::Object(wanted)) => {
            let mut changed = false;
            for (key, wanted) in wanted {
                changed |= match fields.get_mut(key) {
                    Some(value) => overlay(value, wanted),
                    // Absent and empty are one to the server.
                    None if is_empty(wanted) => false,
                    None => fields.insert(key.clone(), wanted.clone()).is_none(),
                };
            }
            changed
        }
        (Value::Array(items), Value::Array(wanted)) if items.len() == wanted.len() => {
            let pairs = items.iter_mut().zip(wanted);
            pairs.fold(false, |changed, (item, wanted)| {
                overlay(item, wanted) || changed
            })
        }
        (value, wanted) if value == wanted => false,
        (value, wanted) => {
            value.clone_from(wanted);
            true
        }
    }
}

/// Why a Job is not as its manifest says, and what to do.
pub fn refusal(words: &str) -> String {
    format!(
        "the Job exists, and what the manifest changes cannot be changed in a Job: {words}; give the \
         manifest another name, or delete the Job to have it run as the manifest says"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::merge::tests::owner;
    use serde_json::json;

    fn manifest() -> Value {
        json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "n"},
            "spec": {"ttlSecondsAfterFinished": 60, "parallelism": 1, "template": {
                "metadata": {"labels": {}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
        })
    }

    /// As the API server and the Job controller make it.
    fn running() -> Value {
        let mut job = merge::created(&manifest(), &owner("u", false));
        job["spec"]["selector"] = json!({"matchLabels": {"controller-uid": "1"}});
        job["spec"]["completions"] = json!(1);
        job["spec"]["template"]["metadata"]["labels"] = json!({"controller-uid": "1"});
        job["spec"]["template"]["spec"]["dnsPolicy"] = json!("ClusterFirst");
        job["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
        job["status"] = json!({"active": 1});
        job
    }

    #[test]
    fn what_the_cluster_fills_into_a_job_is_no_difference() {
        assert_eq!(updated(&running(), &manifest(), &owner("u", false)), None);
    }

    #[test]
    fn what_the_manifest_changes_is_laid_over_the_job() {
        let mut wanted = manifest();
        wanted["spec"]["parallelism"] = json!(3);
        wanted["spec"]["suspend"] = json!(true);
        let job = updated(&running(), &wanted, &owner("u", false)).expect("a change");
        let mut expected = running();
        expected["spec"]["parallelism"] = json!(3);
        expected["spec"]["suspend"] = json!(true);
        assert_eq!(job, expected);
        wanted["spec"]["template"]["spec"]["containers"] = json!([]);
        let job = updated(&running(), &wanted, &owner("u", false)).expect("a change");
        assert_eq!(job["spec"]["template"]["spec"]["containers"], json!([]));
    }

    #[test]
    fn jobs_that_vanish_are_told_from_others() {
        assert!(vanishes(&manifest()));
        let mut lasting = manifest();
        lasting["spec"]["ttlSecondsAfterFinished"] = Value::Null;
        assert!(is_job(&lasting) && !vanishes(&lasting));
        assert!(!is_job(&json!({"apiVersion": "v1", "kind": "Pod"})));
    }
}
