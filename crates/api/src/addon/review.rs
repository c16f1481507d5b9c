//! The conversion webhook's exchange: `ConversionReview` of `apiextensions.k8s.io/v1`.

use super::convert;
use serde_json::Value;
use serde_json::json;

/// Most objects in one review. API servers send at most one list page, and no larger body than
/// they take themselves; ten thousand objects of 300 bytes fill 3 MiB.
pub const OBJECTS_MAX: usize = 10_000;

/// Answers a review: all its objects converted, or a failure that says which is not.
///
/// What is no review at all gets a failure too, under an empty uid.
pub fn answer(mut review: Value) -> Value {
    let request = review
        .get_mut("request")
        .map(Value::take)
        .unwrap_or_default();
    let uid = request["uid"].as_str().unwrap_or_default();
    match converted(&request) {
        Ok(objects) => response(json!({
            "uid": uid, "convertedObjects": objects, "result": {"status": "Success"},
        })),
        Err(message) => response(json!({
            "uid": uid, "result": {"status": "Failure", "message": message},
        })),
    }
}

fn converted(request: &Value) -> Result<Vec<Value>, String> {
    let wanted = request["desiredAPIVersion"].as_str().unwrap_or_default();
    let Some(objects) = request["objects"].as_array() else {
        return Err(
            "the body is no ConversionReview with request.objects of apiextensions.k8s.io/v1"
                .to_owned(),
        );
    };
    if objects.len() > OBJECTS_MAX {
        return Err(format!(
            "the review holds {} objects, at most {OBJECTS_MAX} are converted at a time",
            objects.len()
        ));
    }
    let convert = |object: &Value| {
        convert::convert(object.clone(), wanted).map_err(|error| {
            let name = object.pointer("/metadata/name").and_then(Value::as_str);
            format!("object {:?}: {error}", name.unwrap_or_default())
        })
    };
    objects.iter().map(convert).collect()
}

fn response(response: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_comes_back_in_the_wanted_version_and_in_order() {
        let object = |name: &str| {
            json!({
                "apiVersion": "addon.open-cluster-management.io/v1alpha1",
                "kind": "ManagedClusterAddOn", "metadata": {"name": name}, "spec": {},
            })
        };
        let answer = answer(json!({"request": {
            "uid": "u",
            "desiredAPIVersion": "addon.open-cluster-management.io/v1beta1",
            "objects": [object("b"), object("a")],
        }}));
        let response = &answer["response"];
        assert_eq!(response["uid"], "u");
        assert_eq!(response["result"]["status"], "Success");
        let names = [0, 1].map(|index| &response["convertedObjects"][index]["metadata"]["name"]);
        assert_eq!(names, ["b", "a"]);
        assert_eq!(
            response["convertedObjects"][0]["apiVersion"],
            "addon.open-cluster-management.io/v1beta1"
        );
    }

    #[test]
    fn a_failure_names_the_object_and_returns_none() {
        let answer = answer(json!({"request": {
            "uid": "u", "desiredAPIVersion": "v2",
            "objects": [{
                "apiVersion": "addon.open-cluster-management.io/v1alpha1",
                "kind": "ManagedClusterAddOn", "metadata": {"name": "hello"},
            }],
        }}));
        let response = &answer["response"];
        assert_eq!(response.get("convertedObjects"), None);
        let message = response["result"]["message"].as_str().expect("a message");
        assert!(message.starts_with("object \"hello\": "), "{message}");
    }

    #[test]
    fn what_is_no_review_is_answered_all_the_same() {
        for body in [json!(null), json!([]), json!({"request": 3}), json!("x")] {
            assert_eq!(answer(body)["response"]["result"]["status"], "Failure");
        }
    }
}
