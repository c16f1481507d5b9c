use super::*;
use expect_test::expect;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use jiff::Timestamp;

fn job(conditions: Value) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"},
           "status": {"conditions": conditions, "active": 3}})
}

fn told(object: &Value, rules: Value) -> String {
    let rules: Vec<ConditionRule> = serde_json::from_value(rules).expect("rules");
    let ruled = Rules::default().conditions(object, &rules);
    let lines = ruled.statements.iter().map(|one| {
        let status = one.status.as_str();
        format!("{}={status} {}: {}", one.type_, one.reason, one.message)
    });
    lines.chain(ruled.errors).collect::<Vec<_>>().join("\n")
}

#[test]
fn jobs_and_pods_come_to_an_end() {
    let rule = json!([{"type": "WellKnownConditions", "condition": "Complete"}]);
    let told = |object: Value| told(&object, rule.clone());
    let pod = |phase: &str| json!({"apiVersion": "v1", "kind": "Pod", "status": {"phase": phase}});
    let lines = [
        told(job(json!([]))),
        told(job(json!([{"type": "Complete", "status": "False"}]))),
        told(job(json!([{"type": "Complete", "status": "True"}]))),
        told(job(json!([{"type": "Failed", "status": "True"}]))),
        told(pod("Running")),
        told(pod("Failed")),
        told(json!({"apiVersion": "v1", "kind": "ConfigMap"})),
    ];
    expect![[r#"
        Complete=False ConditionRuleEvaluated: Job is not finished
        Complete=False ConditionRuleEvaluated: Job is not finished
        Complete=True ConditionRuleEvaluated: Job is finished
        Complete=True ConditionRuleEvaluated: Job is finished
        Complete=False ConditionRuleEvaluated: Pod is in phase Running
        Complete=True ConditionRuleEvaluated: Pod is in phase Failed
        Complete=Unknown ConditionRuleInvalid: cannot find the wellknown conditions for resource with gvk /v1, Kind=ConfigMap"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn expressions_must_all_hold_and_messages_know_the_result() {
    let object = job(json!([{"type": "Complete", "status": "True"}]));
    let cel = |expressions: Value, message: &str| {
        told(
            &object,
            json!([{"type": "CEL", "condition": "Busy", "celExpressions": expressions, "messageExpression": message}]),
        )
    };
    let lines = [
        cel(json!(["object.status.active > 2"]), ""),
        cel(
            json!(["object.status.active > 2", "object.status.active > 5"]),
            "",
        ),
        cel(
            json!(["hasConditions(object.status)"]),
            "'active: ' + string(object.status.active) + (result ? '!' : '?')",
        ),
        cel(json!(["!hasConditions(object.metadata)"]), "''"),
        cel(
            json!([
                "object.status.conditions.exists(c, c.type == 'Complete' && c.status == 'True')"
            ]),
            "1",
        ),
        cel(json!(["object.spec.nothing"]), ""),
        cel(json!(["object.status.active"]), ""),
        cel(json!(["object.status.active >"]), "")
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
        cel(json!(["true"]), "nobody"),
        cel(
            json!(["lists.range(2000).all(a, lists.range(2000).all(b, a + b >= 0))"]),
            "",
        ),
    ];
    expect![[r#"
        Busy=True ConditionRuleEvaluated: Manifest is Busy
        Busy=False ConditionRuleEvaluated: Manifest is not Busy
        Busy=True ConditionRuleEvaluated: active: 3!
        Busy=True ConditionRuleEvaluated: Manifest is Busy
        Busy=True ConditionRuleEvaluated: expected message expression to have a string result, got int
        Busy=False ConditionRuleExpressionError: no such key: spec
        Busy=False ConditionRuleExpressionError: expected bool result, got int
        Busy=False ConditionRuleExpressionError: compilation failed: ERROR: <input>:1:23: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
        Busy=True ConditionRuleEvaluated: compilation failed: undeclared reference to 'nobody' (in container '')
        Busy=False ConditionRuleExpressionError: validation failed due to running out of cost budget, no further validation rules will be run"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn a_rule_may_not_make_the_agents_own_conditions() {
    let rules = json!([{"type": "CEL", "condition": "Applied", "celExpressions": ["true"]}]);
    assert_eq!(
        told(&json!({}), rules),
        "conditionRules: the condition Applied is made by the agent: give it another name"
    );
}

fn condition(type_: &str, status: &str, message: &str) -> Condition {
    Condition {
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        message: message.to_owned(),
        observed_generation: Some(1),
        reason: EVALUATED.to_owned(),
        status: status.to_owned(),
        type_: type_.to_owned(),
    }
}

#[test]
fn a_work_is_what_its_manifests_are_together() {
    let together = |type_: &str, states: &[&str]| {
        let conditions: Vec<_> = states
            .iter()
            .map(|one| condition(type_, one, one))
            .collect();
        let found = aggregated(conditions.iter());
        assert_eq!(found.len(), 1);
        (found[0].status.as_str(), found[0].message.to_string())
    };
    for (type_, states, status) in [
        ("Complete", ["True", "True"], "True"),
        ("Complete", ["True", "False"], "False"),
        ("Complete", ["True", "Unknown"], "Unknown"),
        ("Degraded", ["Unknown", "False"], "False"),
        ("Progressing", ["True", "False"], "True"),
        ("Progressing", ["False", "Unknown"], "Unknown"),
        ("Progressing", ["False", "False"], "False"),
    ] {
        let expected = (status, "Aggregated from 2 manifest conditions".to_owned());
        assert_eq!(together(type_, &states), expected, "{type_} {states:?}");
    }
    assert_eq!(
        together("Complete", &["False"]),
        ("False", "False".to_owned())
    );
}
