//! Validating policies: what is refused, with which words, and what is only told.

use serde_json::Value;
use serde_json::json;

use super::CONFIG_MAPS;
use super::REGISTRATION;
use super::about_config_maps;
use super::binding;
use super::config_map;
use super::created;
use super::deny;
use super::policy;
use super::rule;
use crate::support::TestSpace;

fn refused(name: &str, why: &str) -> String {
    format!(
        "configmaps \"{name}\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' \
         denied request: {why}"
    )
}

#[tokio::test]
async fn every_write_verb_is_judged_and_the_first_broken_rule_is_told() {
    let space = TestSpace::start().await;
    let spec = json!({
        "matchConstraints": {"resourceRules": [rule(&["*"], &["configmaps"])]},
        "validations": [
            {"expression": "request.operation == 'DELETE' || !('evil' in object.?data.orValue({}))", "message": "no evil"},
            {"expression": "request.operation != 'DELETE' || oldObject.metadata.name != 'kept'", "messageExpression": "'keep ' + oldObject.metadata.name", "reason": "Forbidden"},
        ],
    });
    deny(&space, "p", spec).await;
    let evil = json!({"evil": "1"});
    let answer = space
        .admin("POST", CONFIG_MAPS, Some(&config_map("a", evil.clone())))
        .await;
    assert_eq!(
        (answer.code, answer.message()),
        (422, &*refused("a", "no evil"))
    );
    assert_eq!(answer.body["reason"], "Invalid");
    let cause = "ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no evil";
    let details = json!({"name": "a", "kind": "configmaps", "causes": [{"message": cause}]});
    assert_eq!(answer.body["details"], details);

    assert_eq!(created(&space, "kept", json!({})).await, 201);
    let path = format!("{CONFIG_MAPS}/kept");
    let updated = config_map("kept", evil.clone());
    assert_eq!(space.admin("PUT", &path, Some(&updated)).await.code, 422);
    let patch = json!({"data": evil});
    assert_eq!(space.admin("PATCH", &path, Some(&patch)).await.code, 422);
    let answer = space.admin("DELETE", &path, None).await;
    assert_eq!(
        (answer.code, answer.message()),
        (403, &*refused("kept", "keep kept"))
    );
    assert_eq!(
        space.admin("DELETE", CONFIG_MAPS, None).await.code,
        403,
        "a collection is deleted one by one"
    );
    let dry = format!("{CONFIG_MAPS}?dryRun=All");
    let object = config_map("dry", json!({"evil": "1"}));
    assert_eq!(space.admin("POST", &dry, Some(&object)).await.code, 422);
}

#[tokio::test]
async fn a_policy_is_in_force_from_its_binding_to_its_end() {
    let space = TestSpace::start().await;
    let never =
        json!({"matchConstraints": about_config_maps(), "validations": [{"expression": "false"}]});
    policy(&space, "Validating", "p", never).await;
    assert_eq!(created(&space, "before", json!({})).await, 201);
    binding(
        &space,
        "Validating",
        "p",
        json!({"validationActions": ["Deny"]}),
    )
    .await;
    let object = config_map("during", json!({}));
    let answer = space.admin("POST", CONFIG_MAPS, Some(&object)).await;
    assert_eq!(
        answer.message(),
        refused("during", "failed expression: false")
    );
    let space = space.restart().await;
    assert_eq!(created(&space, "restarted", json!({})).await, 422);
    let path = format!("{REGISTRATION}/validatingadmissionpolicies/p");
    let lenient = json!({"spec": {"validations": [{"expression": "true"}]}});
    space.must("PATCH", &path, Some(&lenient)).await;
    assert_eq!(created(&space, "lenient", json!({})).await, 201);
}

#[tokio::test]
async fn a_policy_about_everything_does_not_protect_itself() {
    let space = TestSpace::start().await;
    let everything = json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]});
    let spec = json!({
        "matchConstraints": {"resourceRules": [everything]},
        "validations": [{"expression": "request.userInfo.username != 'admin'"}],
    });
    deny(&space, "p", spec).await;
    assert_eq!(created(&space, "a", json!({})).await, 422);
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    space.must("POST", reviews, Some(&review)).await;
    let path = format!("{REGISTRATION}/validatingadmissionpolicybindings/p");
    space.must("DELETE", &path, None).await;
    assert_eq!(created(&space, "a", json!({})).await, 201);
}

#[tokio::test]
async fn reasons_choose_the_code_and_messages_fall_back() {
    let space = TestSpace::start().await;
    let rules = [
        (
            "Unauthorized",
            401,
            json!({"message": " stated "}),
            "stated",
        ),
        (
            "Forbidden",
            403,
            json!({"message": "stated", "messageExpression": "'made'"}),
            "made",
        ),
        (
            "RequestEntityTooLarge",
            413,
            json!({"message": "stated", "messageExpression": "object.none"}),
            "stated",
        ),
        (
            "Invalid",
            422,
            json!({"messageExpression": "'two\\nlines'"}),
            "failed expression: object.metadata.name != 'a3'",
        ),
    ];
    let mut validations = Vec::new();
    for (index, (reason, _, words, _)) in rules.iter().enumerate() {
        let mut validation = words.clone();
        validation["reason"] = (*reason).into();
        validation["expression"] = format!("object.metadata.name != 'a{index}'").into();
        validations.push(validation);
    }
    let spec = json!({"matchConstraints": about_config_maps(), "validations": validations});
    deny(&space, "p", spec).await;
    for (index, (reason, code, _, why)) in rules.iter().enumerate() {
        let name = format!("a{index}");
        let object = config_map(&name, json!({}));
        let answer = space.admin("POST", CONFIG_MAPS, Some(&object)).await;
        assert_eq!(
            (answer.code, answer.message()),
            (*code, &*refused(&name, why))
        );
        assert_eq!(answer.body["reason"], *reason);
        assert_eq!(answer.body["code"], *code);
    }
}

#[tokio::test]
async fn warnings_are_told_and_audits_recorded_while_the_write_goes_on() {
    let space = TestSpace::start().await;
    let spec = json!({
        "matchConstraints": {"resourceRules": [rule(&["*"], &["configmaps"])]},
        "validations": [{"expression": "false", "message": "think again"}],
        "auditAnnotations": [{"key": "who", "valueExpression": "request.userInfo.username"}],
    });
    policy(&space, "Validating", "p", spec).await;
    let actions = json!({"validationActions": ["Warn", "Audit"]});
    binding(&space, "Validating", "p", actions).await;
    let object = config_map("a", json!({}));
    let text = "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p': think again\"";
    let answer = space.admin("POST", CONFIG_MAPS, Some(&object)).await;
    assert_eq!((answer.code, answer.warnings), (201, vec![text.to_owned()]));
    let answer = space
        .admin("DELETE", &format!("{CONFIG_MAPS}/a"), None)
        .await;
    assert_eq!((answer.code, answer.warnings), (200, vec![text.to_owned()]));
}

#[tokio::test]
async fn a_failing_policy_refuses_unless_it_may_be_ignored() {
    let space = TestSpace::start().await;
    let spec = |failure: &str| {
        json!({
            "failurePolicy": failure,
            "matchConstraints": about_config_maps(),
            "validations": [{"expression": "object.data.none == 'x'"}],
        })
    };
    deny(&space, "p", spec("Fail")).await;
    let object = config_map("a", json!({"a": "b"}));
    let answer = space.admin("POST", CONFIG_MAPS, Some(&object)).await;
    let why = "expression 'object.data.none == 'x'' resulted in error: no such key: none";
    assert_eq!((answer.code, answer.message()), (422, &*refused("a", why)));
    let path = format!("{REGISTRATION}/validatingadmissionpolicies/p");
    let patch = json!({"spec": {"failurePolicy": "Ignore"}});
    space.must("PATCH", &path, Some(&patch)).await;
    assert_eq!(created(&space, "a", json!({"a": "b"})).await, 201);
    assert_eq!(
        created(&space, "b", json!({"none": "y"})).await,
        422,
        "a broken rule is no failure"
    );
}

#[tokio::test]
async fn endless_work_ends_in_a_refusal() {
    let space = TestSpace::start().await;
    let digits = "[0,1,2,3,4,5,6,7,8,9]";
    let nested = (0..7).fold("true".to_owned(), |inner, level| {
        format!("{digits}.all(i{level}, {inner})")
    });
    let spec =
        json!({"matchConstraints": about_config_maps(), "validations": [{"expression": nested}]});
    deny(&space, "p", spec).await;
    let object = config_map("a", json!({}));
    let answer = space.admin("POST", CONFIG_MAPS, Some(&object)).await;
    let why = "validation failed due to running out of cost budget, no further validation rules will be run";
    assert_eq!(answer.message(), refused("a", why));
}

#[tokio::test]
async fn variables_are_lazy_and_conditions_decide_whether_rules_count() {
    let space = TestSpace::start().await;
    let spec = json!({
        "matchConstraints": about_config_maps(),
        "matchConditions": [
            {"name": "not-the-system", "expression": "!request.userInfo.username.startsWith('system:')"},
            {"name": "judged", "expression": "object.metadata.?labels[?'judge'].orValue('yes') == 'yes'"},
        ],
        "variables": [
            {"name": "data", "expression": "object.data"},
            {"name": "size", "expression": "variables.data.size()"},
        ],
        "validations": [{
            "expression": "!has(object.data) || variables.size < 2",
            "messageExpression": "'has ' + string(variables.size)",
        }],
    });
    deny(&space, "p", spec).await;
    assert_eq!(created(&space, "none", json!({})).await, 201);
    assert_eq!(created(&space, "one", json!({"a": "1"})).await, 201);
    let mut object = config_map("two", json!({"a": "1", "b": "2"}));
    let answer = space.admin("POST", CONFIG_MAPS, Some(&object)).await;
    assert_eq!(answer.message(), refused("two", "has 2"));
    object["metadata"]["labels"] = json!({"judge": "no"});
    assert_eq!(
        space.admin("POST", CONFIG_MAPS, Some(&object)).await.code,
        201
    );
}

#[tokio::test]
async fn the_authorizer_asks_for_rights_that_are_no_verbs_of_the_api() {
    let space = TestSpace::start().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "writers"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get"]}],
    });
    space
        .must("POST", &format!("{rbac}/clusterroles"), Some(&role))
        .await;
    let seal = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "sealers"},
        "rules": [{"apiGroups": ["demo.io"], "resources": ["seals/break"], "resourceNames": ["royal"], "verbs": ["use"]}],
    });
    space
        .must("POST", &format!("{rbac}/clusterroles"), Some(&seal))
        .await;
    for (role, group) in [("writers", "all"), ("sealers", "chosen")] {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
        });
        space
            .must(
                "POST",
                &format!("{rbac}/clusterrolebindings"),
                Some(&binding),
            )
            .await;
    }
    let may = "authorizer.group('demo.io').resource('seals').subresource('break').name(object.data.seal).check('use').allowed()";
    let spec = json!({
        "matchConstraints": about_config_maps(),
        "validations": [
            {"expression": may, "reason": "Forbidden", "message": "the seal is not yours"},
            {"expression": "authorizer.requestResource.check('get').allowed() && !authorizer.requestResource.check('delete').allowed()"},
            {"expression": "!authorizer.serviceAccount('default', 'default').path('/healthz').check('post').allowed()"},
        ],
    });
    deny(&space, "p", spec).await;
    let create = async |name: &str, groups: &[&str], seal: &str| {
        let certificate = space.certificate("bob", groups);
        let object = config_map(name, json!({"seal": seal}));
        let answer = space
            .send(Some(certificate), &[], "POST", CONFIG_MAPS, Some(&object))
            .await;
        (answer.code, answer.message().to_owned())
    };
    let why = refused("a", "the seal is not yours");
    assert_eq!(create("a", &["all"], "royal").await, (403, why.clone()));
    assert_eq!(create("a", &["all", "chosen"], "common").await, (403, why));
    assert_eq!(create("a", &["all", "chosen"], "royal").await.0, 201);
}

#[tokio::test]
async fn parameters_come_from_a_name_a_selector_or_the_requests_namespace() {
    let space = TestSpace::start().await;
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": {"resourceRules": [rule(&["CREATE"], &["secrets"])]},
        "validations": [{
            "expression": "object.data.size() <= int(params.data.size)",
            "messageExpression": "'more than ' + params.metadata.name",
        }],
    });
    policy(&space, "Validating", "p", spec).await;
    let by_name = json!({
        "validationActions": ["Deny"],
        "paramRef": {"name": "limit", "parameterNotFoundAction": "Deny"},
    });
    binding(&space, "Validating", "p", by_name).await;
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"a": "", "b": ""}});
    let message = async |name: &str| {
        let answer = space.admin("POST", secrets, Some(&secret(name))).await;
        answer
            .message()
            .rsplit("denied request: ")
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let missing = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    assert_eq!(message("a").await, missing);
    created(&space, "limit", json!({"size": "1"})).await;
    assert_eq!(message("a").await, "more than limit");

    let path = format!("{REGISTRATION}/validatingadmissionpolicybindings/p");
    let by_label = json!({"spec": {"paramRef": {
        "name": null, "namespace": "kube-public", "selector": {"matchLabels": {"limit": "yes"}},
        "parameterNotFoundAction": "Allow",
    }}});
    space.must("PATCH", &path, Some(&by_label)).await;
    assert_eq!(message("b").await, "", "none is found, and none is needed");
    for (name, size) in [("wide", "9"), ("narrow", "1")] {
        let mut object = config_map(name, json!({"size": size}));
        object["metadata"]["labels"] = json!({"limit": "yes"});
        space
            .must(
                "POST",
                "/api/v1/namespaces/kube-public/configmaps",
                Some(&object),
            )
            .await;
    }
    assert_eq!(message("c").await, "more than narrow");
}

#[tokio::test]
async fn cluster_scoped_parameters_have_no_namespace() {
    let space = TestSpace::start().await;
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "Namespace"},
        "matchConstraints": about_config_maps(),
        "validations": [{"expression": "params.metadata.labels.open == 'yes'", "message": "closed"}],
    });
    policy(&space, "Validating", "p", spec).await;
    let reference = json!({
        "validationActions": ["Deny"],
        "paramRef": {"name": "kube-public", "parameterNotFoundAction": "Deny"},
    });
    binding(&space, "Validating", "p", reference).await;
    let namespace = "/api/v1/namespaces/kube-public";
    let open = |word: &str| json!({"metadata": {"labels": {"open": word}}});
    space.must("PATCH", namespace, Some(&open("no"))).await;
    assert_eq!(created(&space, "a", json!({})).await, 422);
    space.must("PATCH", namespace, Some(&open("yes"))).await;
    assert_eq!(created(&space, "a", json!({})).await, 201);
    let path = format!("{REGISTRATION}/validatingadmissionpolicybindings/p");
    let patch = json!({"spec": {"paramRef": {"namespace": "default"}}});
    space.must("PATCH", &path, Some(&patch)).await;
    let answer = space
        .admin("POST", CONFIG_MAPS, Some(&config_map("b", Value::Null)))
        .await;
    let why = "failed to configure binding: paramRef.namespace must not be provided for a cluster-scoped `paramKind`";
    assert_eq!(answer.message(), refused("b", why));
}

#[tokio::test]
async fn bodies_of_subresources_are_judged_too() {
    let space = TestSpace::start().await;
    let about = json!({"resourceRules": [
        rule(&["CREATE"], &["pods/binding", "pods/eviction", "serviceaccounts/token"]),
        {"operations": ["UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments/scale"]},
    ]});
    let spec = json!({
        "matchConstraints": about,
        "validations": [
            {"expression": "request.subResource != 'scale' || object.spec.replicas < 3", "messageExpression": "request.kind.kind + ' from ' + string(oldObject.spec.replicas)"},
            {"expression": "request.subResource == 'scale'", "messageExpression": "'no ' + request.subResource"},
        ],
    });
    deny(&space, "p", spec).await;
    let labels = json!({"app": "d"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    });
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    space.must("POST", deployments, Some(&deployment)).await;
    let scale = format!("{deployments}/d/scale");
    space
        .must("PATCH", &scale, Some(&json!({"spec": {"replicas": 2}})))
        .await;
    let answer = space
        .admin("PATCH", &scale, Some(&json!({"spec": {"replicas": 5}})))
        .await;
    assert!(
        answer.message().ends_with("denied request: Scale from 2"),
        "{answer:?}"
    );
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "d"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    space
        .must("POST", "/api/v1/namespaces/default/pods", Some(&pod))
        .await;
    for (path, body) in [
        (
            "pods/d/binding",
            json!({"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": "n"}}),
        ),
        (
            "pods/d/eviction",
            json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "d"}}),
        ),
        (
            "serviceaccounts/default/token",
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}),
        ),
    ] {
        let answer = space
            .admin(
                "POST",
                &format!("/api/v1/namespaces/default/{path}"),
                Some(&body),
            )
            .await;
        let subresource = path.rsplit('/').next().unwrap_or_default();
        let expected = format!("denied request: no {subresource}");
        assert!(answer.message().ends_with(&expected), "{path}: {answer:?}");
    }
}
