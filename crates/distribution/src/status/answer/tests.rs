//! Questions from KubeStellar's documentation and end-to-end tests, and what is answered.

use super::super::row::Known;
use super::*;
use expect_test::expect;
use serde_json::Value;
use serde_json::json;

/// Asks about a Deployment of two replicas in these WECs, each with its status if it reports one.
fn ask(spec: Value, wecs: &[(&str, Value)]) -> CollectedResult {
    let spec = serde_json::from_value(spec).expect("a spec");
    let collector = Collector::compile(&spec).expect("a good question");
    let object = json!({"metadata": {"name": "web"}, "spec": {"replicas": 2}});
    let rows: Rows = wecs
        .iter()
        .map(|(wec, status)| {
            let known = Known {
                object: &object,
                wec,
                status: Some(status).filter(|status| !status.is_null()),
                reported: None,
            };
            (Arc::from(*wec), Arc::new(Row::ask(&collector, &known)))
        })
        .collect();
    answer("question", &collector, &rows)
}

/// An answer on a few lines.
fn shown(answer: &CollectedResult) -> String {
    let cell = |cell: &Value| {
        let member = |name: &str| {
            cell.get(name)
                .map(|value| value.to_string().replace('"', ""))
        };
        ["string", "float", "bool", "object", "array"]
            .iter()
            .find_map(|name| member(name))
            .unwrap_or_else(|| "null".to_owned())
    };
    let line = |row: &WrittenRow| row.columns.iter().map(cell).collect::<Vec<_>>().join(" | ");
    let mut lines = vec![answer.column_names.join(" | ")];
    lines.extend(answer.rows.iter().map(line));
    lines.extend(answer.row_errors.iter().map(|error| {
        let (wec, column) = (&error.wec.cluster_id, &error.column_name);
        format!("error in {wec}, column {column:?}: {}", error.error)
    }));
    lines.extend(
        answer
            .aggregation_errors
            .iter()
            .map(|error| format!("error in column {:?}: {}", error.column_name, error.error)),
    );
    lines.join("\n")
}

fn two_wecs() -> Vec<(&'static str, Value)> {
    vec![
        (
            "cluster2",
            json!({"availableReplicas": 2, "phase": "Running"}),
        ),
        (
            "cluster1",
            json!({"availableReplicas": 1, "phase": "Pending"}),
        ),
    ]
}

fn all_functions(filter: Option<&str>) -> Value {
    let of = |name: &str| {
        let subject = "returned.status.availableReplicas";
        json!({"name": name.to_lowercase(), "type": name, "subject": subject})
    };
    let mut spec = json!({"combinedFields": [
        {"name": "count", "type": "COUNT"}, of("MAX"), of("MIN"), of("SUM"), of("AVG"),
    ], "limit": 10});
    if let Some(filter) = filter {
        spec["filter"] = filter.into();
    }
    spec
}

#[test]
fn wecs_are_counted_and_their_numbers_combined() {
    expect![[r#"
        count | max | min | sum | avg
        2 | 2 | 1 | 3 | 1.5"#]]
    .assert_eq(&shown(&ask(all_functions(None), &two_wecs())));
}

#[test]
fn no_wec_at_all_is_one_row_of_neutral_values() {
    expect![[r#"
        count | max | min | sum | avg
        0 | -Inf | +Inf | 0 | NaN
        error in column "avg": no values to average"#]]
    .assert_eq(&shown(&ask(all_functions(Some("false")), &two_wecs())));
    let grouped = json!({
        "groupBy": [{"name": "phase", "def": "returned.status.phase"}],
        "combinedFields": [{"name": "count", "type": "COUNT"}],
    });
    assert_eq!(
        shown(&ask(grouped, &[])),
        "phase | count",
        "no groups of no rows"
    );
}

#[test]
fn wecs_are_selected_in_the_order_of_their_names() {
    let filtered = |filter: &str| {
        json!({
            "filter": filter, "limit": 10,
            "select": [
                {"name": "wec", "def": "inventory.name"},
                {"name": "available", "def": "returned.status.availableReplicas"},
            ],
        })
    };
    expect![[r#"
        wec | available
        cluster1 | 1
        cluster2 | 2"#]]
    .assert_eq(&shown(&ask(filtered("true"), &two_wecs())));
    expect![[r#"
        wec | available
        cluster2 | 2"#]]
    .assert_eq(&shown(&ask(
        filtered("obj.spec.replicas == returned.status.availableReplicas"),
        &two_wecs(),
    )));
}

#[test]
fn a_histogram_has_a_row_for_each_value_in_order() {
    let spec = json!({
        "groupBy": [{"name": "available", "def": "returned.status.n"}],
        "combinedFields": [{"name": "count", "type": "COUNT"}], "limit": 3,
    });
    let wecs: Vec<_> = [
        ("a", json!(10)),
        ("b", json!(9)),
        ("c", json!(10.0)),
        ("d", json!("x")),
    ]
    .into_iter()
    .map(|(wec, n)| (wec, json!({"n": n})))
    .collect();
    expect![[r#"
        available | count
        9 | 1
        10 | 2
        x | 1"#]]
    .assert_eq(&shown(&ask(spec, &wecs)));
}

#[test]
fn the_limit_cuts_off_and_is_twenty_by_default() {
    let names: Vec<String> = (0..30).map(|place| format!("c{place:02}")).collect();
    let wecs: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), json!({})))
        .collect();
    let select =
        |limit: i64| json!({"select": [{"name": "wec", "def": "inventory.name"}], "limit": limit});
    assert_eq!(ask(select(0), &wecs).rows.len(), 20);
    assert_eq!(ask(select(25), &wecs).rows.len(), 25);
    assert_eq!(ask(select(2), &wecs).rows[1].columns[0]["string"], "c01");
}

#[test]
fn failures_are_told_once_a_column_and_do_not_count() {
    let wecs = [
        ("a", json!({"n": 1})),
        ("b", json!(null)),
        ("c", json!({})),
        ("d", json!({"n": "many"})),
    ];
    let select = json!({"select": [
        {"name": "wec", "def": "inventory.name"}, {"name": "n", "def": "returned.status.n"},
    ]});
    expect![[r#"
        wec | n
        a | 1
        b | no such key: n
        c | no such key: n
        d | many
        error in b, column "n": no such key: n"#]]
    .assert_eq(&shown(&ask(select, &wecs)));
    let sum = json!({"combinedFields": [
        {"name": "count", "type": "COUNT"},
        {"name": "sum", "type": "SUM", "subject": "returned.status.n"},
        {"name": "avg", "type": "AVG", "subject": "returned.status.n"},
    ]});
    expect![[r#"
        count | sum | avg
        2 | 1 | 0.5
        error in b, column "sum": no such key: n
        error in b, column "avg": no such key: n
        error in column "sum": for WEC d, the text "many" is no number
        error in column "avg": for WEC d, the text "many" is no number"#]]
    .assert_eq(&shown(&ask(sum, &wecs)));
    let filter = json!({
        "filter": "returned.status.n == 1", "select": [{"name": "wec", "def": "inventory.name"}],
    });
    expect![[r#"
        wec
        a
        error in b, column "": no such key: n"#]]
    .assert_eq(&shown(&ask(filter, &wecs)));
}

#[test]
fn answers_that_are_too_long_lose_their_last_rows_and_say_so() {
    let names: Vec<String> = (0..9).map(|place| format!("c{place}")).collect();
    let wecs: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), json!({})))
        .collect();
    let select = json!({"select": [{"name": "wec", "def": "inventory.name"}]});
    let row_bytes = serde_json::to_string(&ask(select.clone(), &wecs).rows[0])
        .expect("JSON")
        .len();
    let mut answers = [ask(select.clone(), &wecs), ask(select, &wecs)];
    shorten(&mut answers, 10 * (row_bytes + 1));
    assert_eq!((answers[0].rows.len(), answers[1].rows.len()), (9, 1));
    assert!(answers[0].aggregation_errors.is_empty());
    assert!(shown(&answers[1]).contains("8 rows are left out"));
}
