//! Expressions over a WEC, and what they may not do.

use super::*;
use crate::placement::planner::STACK_BYTES;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

fn wec() -> Wec {
    let object = json!({
        "metadata": {
            "name": "c1",
            "labels": {"env": "prod", "version": "v1.30.6"},
            "annotations": {"props": "{\"zones\": [\"a\", \"b\"], \"n\": 3}"},
        },
        "spec": {"hubAcceptsClient": true, "leaseDurationSeconds": 60},
        "status": {
            "version": {"kubernetes": "v1.30.6"},
            "allocatable": {"cpu": "3500m", "memory": "16Gi"},
            "clusterClaims": [{"name": "region", "value": "us-east-1"}, {"name": "zone", "value": "a"}],
        },
    });
    let scores = json!({"r": {"metadata": {"name": "r"}, "status": {"scores": [
        {"name": "s", "value": 90}, {"name": "t", "value": -5},
    ]}}});
    Wec {
        version: 1,
        object: Arc::new(serde_json::from_value(object).expect("a ManagedCluster")),
        scores: serde_json::from_value::<BTreeMap<_, _>>(scores).expect("scores"),
    }
}

fn compiled(text: &str) -> Result<Expression, String> {
    Expression::compile(text, &Functions::new())
}

fn is_true(text: &str) -> bool {
    let functions = Functions::new();
    let expression = Expression::compile(text, &functions);
    let expression = expression.unwrap_or_else(|error| panic!("{text}: {error}"));
    functions.all_true([&expression], &wec())
}

#[test]
fn an_expression_sees_the_object_its_scores_and_the_functions() {
    for text in [
        "managedCluster.metadata.name == 'c1'",
        "managedCluster.metadata.labels['env'] == 'prod'",
        "managedCluster.metadata.labels.env.startsWith('pr')",
        "managedCluster.spec.leaseDurationSeconds > 30",
        "managedCluster.spec.hubAcceptsClient",
        "managedCluster.status.clusterClaims.exists(c, c.name == 'region' && c.value == 'us-east-1')",
        "managedCluster.status.clusterClaims.filter(c, c.name == 'zone').all(c, c.value in ['a', 'b'])",
        "semver(managedCluster.metadata.labels['version'], true).isLessThan(semver('v1.31.0', true))",
        "managedCluster.status.version.kubernetes.matches('^v1[.]30[.]')",
        "quantity(managedCluster.status.allocatable['cpu']).isGreaterThan(quantity('3'))",
        "quantity(managedCluster.status.allocatable.memory).compareTo(quantity('16Gi')) == 0",
        "managedCluster.scores('r').filter(s, s.name == 's').all(e, e.value > 80)",
        "managedCluster.scores('r').size() == 2",
        "managedCluster.scores('none').size() == 0",
        "parseJSON(managedCluster.metadata.annotations['props']).zones[1] == 'b'",
        "managedCluster.metadata.annotations.props.parseJSON().n == 3",
        "has(managedCluster.metadata.labels.env) && !has(managedCluster.metadata.labels.none)",
        "managedCluster.status.clusterClaims.map(c, c.name).join(',') == 'region,zone'",
        "'a-b-c'.replace('-', '.') == 'a.b.c' && 'a-b-c'.replace('-', '.', 1) == 'a.b-c'",
        "'%s is %d'.format(['n', 3]) == 'n is 3'",
        "base64.encode(b'x') != '' && sets.contains([1, 2], [1])",
    ] {
        assert!(is_true(text), "{text}");
    }
}

#[test]
fn what_is_false_no_truth_value_or_fails_on_a_wec_does_not_match_it() {
    for text in [
        "managedCluster.metadata.labels['env'] == 'dev'",
        "managedCluster.metadata.labels['none'] == 'x'",
        "managedCluster.metadata.name",
        "1",
        "parseJSON('{') == 1",
        "managedCluster.scores('r').all(e, e.value > 0)",
        "lists.range(5).size() == 5",
        "quantity(managedCluster.metadata.name).isGreaterThan(quantity('1'))",
    ] {
        assert!(!is_true(text), "{text}");
    }
}

#[test]
fn an_expression_that_could_never_match_is_refused() {
    let refused = |text: &str| compiled(text).expect_err(text);
    assert_eq!(
        refused("cluster.metadata"),
        "compilation failed: undeclared reference to 'cluster'"
    );
    assert_eq!(
        refused("managedCluster.score('r') > 1"),
        "compilation failed: undeclared reference to 'score'"
    );
    assert_eq!(
        refused("managedCluster.status.clusterClaims.all(c, d.name == '')"),
        "compilation failed: undeclared reference to 'd'"
    );
    assert_eq!(
        refused("sizes([1]) == 1"),
        "compilation failed: undeclared reference to 'sizes'"
    );
    assert!(refused("managedCluster.metadata.name ==").starts_with("compilation failed: "));
    assert!(refused("").starts_with("compilation failed: "));
    let long = format!("'{}' == ''", "x".repeat(EXPRESSION_BYTES_MAX));
    assert_eq!(
        refused(&long),
        "the expression has 2056 bytes; 2048 is the limit"
    );
    let deep = format!("{}1{}", "(".repeat(33), ")".repeat(33));
    assert_eq!(
        refused(&deep),
        "the expression nests 33 brackets; 32 is the limit"
    );
}

#[test]
fn no_expression_grows_without_bound() {
    let doubling = format!("['aaaaaaaa']{}.size() > 0", ".map(x, x + x)".repeat(40));
    let quoting = format!(
        "{}'\"'{} != ''",
        "strings.quote(".repeat(30),
        ")".repeat(30)
    );
    for text in [doubling, quoting] {
        let refused = compiled(&text).expect_err("refused");
        assert!(
            refused.starts_with("the expression may make texts or lists too long"),
            "{refused}"
        );
    }
    let squaring = format!(
        "'{}'{} != ''",
        "a".repeat(200),
        ".replace('a', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')".repeat(30)
    );
    assert!(!is_true(&squaring), "fails at the limit of a text");
}

#[test]
fn the_work_on_one_wec_is_bounded() {
    let mut large = wec();
    let claim = |number: u32| json!({"name": format!("c{number}"), "value": "x"});
    let claims: Vec<_> = (0..3000).map(claim).collect();
    let object = Arc::make_mut(&mut large.object);
    object.status.cluster_claims = serde_json::from_value(json!(claims)).expect("claims");
    let functions = Functions::new();
    let compiled = |text: &str| Expression::compile(text, &functions).expect("valid");
    let claims = "managedCluster.status.clusterClaims";
    let linear = compiled(&format!("{claims}.exists(c, c.name == 'c2999')"));
    assert!(functions.all_true([&linear], &large));
    let square = compiled(&format!("{claims}.all(a, {claims}.exists(b, a == b))"));
    assert!(
        !functions.all_true([&square], &large),
        "3000 times 3000 is too much"
    );
    assert!(functions.all_true([&square], &wec()), "2 times 2 is not");
}

#[test]
fn the_worst_expressions_leave_the_stack_whole() {
    let longest = |unit: &str, end: &str| {
        let room = EXPRESSION_BYTES_MAX - end.len();
        format!("{}{end}", unit.repeat(room / unit.len()))
    };
    let texts = [
        longest("!", "true"),
        longest("-", "1"),
        longest("1+", "1"),
        longest("true||", "true"),
        longest("true?1:", "1"),
        format!("{}{}", "(".repeat(32), ")".repeat(32)),
        format!("{}1{}", "[".repeat(32), "]".repeat(32)),
        longest("{", ""),
        format!("managedCluster{}", ".a".repeat(1000)),
        format!("[1]{}", ".map(x,x)".repeat(200)),
        format!("'a'{}", ".trim()".repeat(280)),
    ];
    on_the_planners_stack(move || {
        let functions = Functions::new();
        for text in texts {
            if let Ok(expression) = Expression::compile(&text, &functions) {
                functions.all_true([&expression], &wec());
            }
        }
    });
}

/// Runs something with as much stack as the planner has.
fn on_the_planners_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let done = thread.spawn(work).expect("a thread").join();
    done.expect("no panic, and the stack is whole");
}

/// A random text of the words and signs of CEL, rarely an expression.
fn any_text() -> impl Strategy<Value = String> {
    let words = vec![
        "managedCluster",
        ".metadata",
        ".labels",
        "['env']",
        ".name",
        ".map(x, x)",
        ".all(x, x == 1)",
        "scores('r')",
        ".scores('r')",
        "parseJSON(",
        "'a'",
        "'",
        "\"",
        "1",
        "-1",
        "1.5",
        "null",
        "true",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "+",
        "-",
        "*",
        "/",
        "%",
        "!",
        "?",
        ":",
        ",",
        ".",
        "&&",
        "||",
        "==",
        "<",
        " in ",
        " ",
        "é",
        "\\",
        "b'",
        "r'",
        "0x",
        "1u",
        "..",
        "has(",
        "x",
    ];
    let words = proptest::collection::vec(prop::sample::select(words), 0..40);
    words.prop_map(|words| words.concat())
}

#[test]
fn no_text_brings_the_planner_down() {
    on_the_planners_stack(|| {
        let functions = Functions::new();
        let wec = wec();
        proptest!(|(text in any_text())| {
            if let Ok(expression) = Expression::compile(&text, &functions) {
                functions.all_true([&expression], &wec);
            }
        });
    });
}
