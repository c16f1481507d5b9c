//! What expressions evaluate to, and what is refused.

use std::sync::Arc;

use serde_json::Value as Json;
use serde_json::json;

use super::*;

const DECLARED: Declarations<'static> = Declarations {
    names: &[
        "object",
        "oldObject",
        "authorizer",
        "authorizer.requestResource",
    ],
    variables: &[],
    initialisers: true,
    has_conditions: false,
};

fn object() -> Json {
    json!({
        "metadata": {
            "name": "a",
            "labels": {"a.b/c-d": "x"},
            "managedFields": [{"manager": "m"}],
        },
        "spec": {"count": 3, "list": [1, 2, 3], "big": 18_446_744_073_709_551_615_u64},
    })
}

fn evaluate(text: &str) -> Result<Datum, Failure> {
    let expression = Expression::compile(text, &DECLARED).expect("an expression");
    let mut scope = Scope::default();
    for (name, value) in [("object", object()), ("oldObject", Json::Null)] {
        if let Some(projection) = expression.reads().of_variable(name) {
            scope.set_json(name, &value, projection);
        }
    }
    let inquiry = Inquiry::new(Arc::new(OnlyGet));
    let about = inquiry.clone().about("apps", "deployments");
    scope.set_inquiry("authorizer", inquiry);
    scope.set_inquiry("authorizer.requestResource", about);
    let _meter = Meter::start();
    expression.evaluate(&scope)
}

fn json(text: &str) -> Json {
    let datum = evaluate(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    datum.to_json().expect("JSON")
}

/// Allows `get` of whatever is named `a`, to everybody but service accounts.
struct OnlyGet;

impl Authorizer for OnlyGet {
    fn decide(&self, inquiry: &Inquiry, verb: &str) -> Verdict {
        let requester = inquiry.subject == Subject::Requester;
        Verdict {
            allowed: requester && verb == "get" && (inquiry.is_path() || inquiry.name == "a"),
            reason: format!("{}/{}", inquiry.group, inquiry.resource),
            error: String::new(),
        }
    }
}

#[test]
fn what_policies_say_evaluates_as_upstream_does() {
    let cases = [
        ("object.spec.count > 2", json!(true)),
        ("object.metadata.labels['a.b/c-d']", json!("x")),
        (
            "has(object.metadata.labels) && 'a.b/c-d' in object.metadata.labels",
            json!(true),
        ),
        ("has(object.spec.none)", json!(false)),
        ("object.?spec.?none.orValue(7)", json!(7)),
        ("object.?spec.?count.orValue(7)", json!(3)),
        ("object.metadata[?'labels'].hasValue()", json!(true)),
        ("oldObject == null || oldObject.spec.count > 2", json!(true)),
        ("object.spec.list.all(i, i > 0)", json!(true)),
        (
            "object.spec.list.exists(i, i == 2) && object.spec.list.exists_one(i, i == 2)",
            json!(true),
        ),
        (
            "object.spec.list.filter(i, i > 1).map(i, i * 2)",
            json!([4, 6]),
        ),
        ("cel.bind(x, object.spec.count, x * x)", json!(9)),
        (
            "object.spec.list.map(i, cel.bind(x, i + 1, x * x))",
            json!([4, 9, 16]),
        ),
        ("math.greatest(1, object.spec.count)", json!(3)),
        ("'%s-%d'.format([object.metadata.name, 3])", json!("a-3")),
        (
            "quantity('1Gi').isGreaterThan(quantity('500Mi'))",
            json!(true),
        ),
        ("object.metadata.name.matches('^[a-z]$')", json!(true)),
        (
            "object.spec.count == 3 ? 'three' : object.spec.none",
            json!("three"),
        ),
        ("object.spec.big > 1u", json!(true)),
        (
            "timestamp('2026-11-24T05:46:50Z') < timestamp('2027-01-01T00:00:00Z')",
            json!(true),
        ),
        (
            "Object{spec: Object.spec{count: 4}}",
            json!({"spec": {"count": 4}}),
        ),
        (
            "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: 'c'}]",
            json!([{"op": "add", "path": "/metadata/labels/a~1b", "value": "c"}]),
        ),
        ("dyn(1) == 1", json!(true)),
    ];
    for (text, expected) in cases {
        assert_eq!(json(text), expected, "{text}");
    }
}

#[test]
fn mistakes_fail_and_are_not_false() {
    let cases = [
        ("object.spec.none == 1", "no such key: none"),
        ("oldObject.spec.count > 2", "no such overload"),
        ("object.metadata.name.first == 'a'", "no such overload"),
        ("object.spec.list[7] == 1", "index out of bounds: 7"),
    ];
    for (text, expected) in cases {
        let failure = evaluate(text).expect_err(text);
        assert_eq!(failure, Failure::Error(expected.to_owned()), "{text}");
    }
}

#[test]
fn the_authorizer_answers_for_requester_and_service_accounts() {
    let cases = [
        (
            "authorizer.group('apps').resource('deployments').name('a').check('get').allowed()",
            true,
        ),
        (
            "authorizer.group('apps').resource('deployments').subresource('scale').namespace('n').name('a').check('get').allowed()",
            true,
        ),
        (
            "authorizer.group('apps').resource('deployments').name('b').check('get').allowed()",
            false,
        ),
        ("authorizer.path('/healthz').check('get').allowed()", true),
        (
            "authorizer.serviceAccount('n', 's').group('').resource('pods').name('a').check('get').allowed()",
            false,
        ),
        (
            "authorizer.requestResource.name('a').check('get').reason() == 'apps/deployments'",
            true,
        ),
        ("authorizer.requestResource.check('get').errored()", false),
    ];
    for (text, expected) in cases {
        assert_eq!(json(text), json!(expected), "{text}");
    }
    for text in [
        "authorizer.check('get')",
        "authorizer.resource('pods')",
        "'a'.allowed()",
    ] {
        evaluate(text).expect_err(text);
    }
}

#[test]
fn unknown_names_functions_and_types_do_not_compile() {
    let cases = [
        (
            "subject.name == 'a'",
            "compilation failed: undeclared reference to 'subject' (in container '')",
        ),
        (
            "object.frobnicate()",
            "compilation failed: undeclared reference to 'frobnicate' (in container '')",
        ),
        (
            "object.spec.list.sortBy(i, i)",
            "compilation failed: undeclared reference to 'sortBy' (in container '')",
        ),
        (
            "object.spec.list.all(i, j, i < j)",
            "compilation failed: undeclared reference to 'all' (in container '')",
        ),
        ("variables.x", "compilation failed: undefined field 'x'"),
        (
            "Pod{}",
            "compilation failed: undeclared reference to 'Pod' (in container '')",
        ),
        (
            "Object{spec: Object.status{}}",
            "compilation failed: type mismatch: unexpected type name \"Object.status\", expected \
             \"Object.spec\", which matches field name path from root Object type",
        ),
    ];
    for (text, expected) in cases {
        let error = Expression::compile(text, &DECLARED).expect_err(text);
        assert_eq!(error.to_string(), expected, "{text}");
    }
    for text in ["", "object.", "1 +", "'open"] {
        let error = Expression::compile(text, &DECLARED).expect_err(text);
        assert!(
            error.to_string().starts_with("compilation failed: "),
            "{error}"
        );
    }
}

#[test]
fn long_and_deep_expressions_are_refused() {
    let long = format!("'{}'", "x".repeat(EXPRESSION_BYTES_MAX));
    let sum = vec!["1"; 4000].join("+");
    let nested = format!("{}1{}", "(".repeat(3000), ")".repeat(3000));
    for text in [long, sum, nested] {
        Expression::compile(&text, &DECLARED).expect_err("too much");
    }
}

#[test]
fn only_what_is_named_is_read() {
    let text = "has(object.metadata.labels) && object.metadata.labels['a'] == object.spec[?'b'].orValue('')";
    let expression = Expression::compile(text, &DECLARED).expect("an expression");
    let mut scope = Scope::default();
    let projection = expression.reads().of_variable("object").expect("read");
    scope.set_json("object", &object(), projection);
    let whole = Expression::compile("object", &DECLARED).expect("an expression");
    let seen = whole.evaluate(&scope).expect("the object").to_json();
    let expected = json!({"metadata": {"labels": {"a.b/c-d": "x"}}, "spec": {}});
    assert_eq!(seen, Some(expected));
    assert_eq!(expression.reads().of_variable("oldObject"), None);
}

#[test]
fn loops_end_when_their_budget_does() {
    let ten = "[0,1,2,3,4,5,6,7,8,9]";
    let mut text = String::from("true");
    for level in 0..7 {
        text = format!("{ten}.all(i{level}, {text})");
    }
    assert_eq!(evaluate(&text), Err(Failure::OutOfBudget));
}

#[test]
fn what_grows_without_end_and_what_breaks_the_engine_fails_and_no_more() {
    let doubled = (0..40).fold("x".to_owned(), |inner, _| {
        format!("cel.bind(x, x + x, {inner})")
    });
    let doubled = format!("cel.bind(x, '{}', {doubled}) == ''", "x".repeat(1000));
    assert_eq!(evaluate(&doubled), Err(Failure::OutOfBudget));
    assert_eq!(json("lists.range(3)"), json!([0, 1, 2]));
    for text in ["lists.range(1000000000000)", "'%.999999999f'.format([1.0])"] {
        assert!(matches!(evaluate(text), Err(Failure::Error(_))), "{text}");
    }
}

#[test]
fn a_composited_variable_fails_only_where_it_is_used() {
    let variables = ["x".to_owned()];
    let declared = Declarations {
        variables: &variables,
        ..DECLARED
    };
    let mut scope = Scope::default();
    scope.set_composited("x", Err(Failure::Error("no such key: y".to_owned())));
    let compile = |text| Expression::compile(text, &declared).expect("an expression");
    let unused = compile("true || variables.x");
    assert_eq!(unused.variables(), ["x"]);
    assert_eq!(unused.evaluate(&scope).expect("true").as_bool(), Some(true));
    let failure = compile("variables.x == 1").evaluate(&scope);
    let expected = "composited variable \"x\" fails to evaluate: no such key: y";
    assert_eq!(failure, Err(Failure::Error(expected.to_owned())));
    scope.set_composited("x", compile("[1, 2]").evaluate(&Scope::default()));
    let sum = compile("variables.x.map(i, i + 1) == [2, 3] && has(variables.x)");
    let _meter = Meter::start();
    assert_eq!(
        sum.evaluate(&scope).expect("a result").as_bool(),
        Some(true)
    );
}

/// Random expressions out of what policies are made of. The engine has corners that panic; none of
/// them may be reached by what compiles.
#[test]
fn no_expression_takes_the_evaluation_down() {
    const WORDS: [&str; 62] = [
        "object",
        "oldObject",
        "authorizer",
        ".spec",
        ".metadata",
        ".name",
        ".?none",
        ".list",
        ".count",
        "[0]",
        "[9]",
        "[-1]",
        "['a']",
        "[?0]",
        "['labels']",
        "1",
        "0",
        "-1",
        "2.5",
        "7u",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615u",
        "'a'",
        "''",
        "b'a'",
        "null",
        "true",
        "false",
        " + ",
        " - ",
        " * ",
        " / ",
        " % ",
        " == ",
        " != ",
        " < ",
        " >= ",
        " && ",
        " || ",
        " in ",
        " ? ",
        " : ",
        "!",
        "-",
        "(",
        ")",
        "[",
        "]",
        "{'a': ",
        "}",
        ", ",
        ".all(i, i > 0)",
        ".map(i, i / 0)",
        ".exists(i, i == object)",
        ".filter(i, i)",
        ".size()",
        ".orValue(1)",
        ".matches('(')",
        ".split('')",
        ".substring(9)",
        "Object{spec: 1}",
    ];
    const CASES: u32 = 20_000;
    let seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(1, |time| time.as_nanos() as u64);
    println!("seed {seed}");
    let mut state = seed | 1;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut evaluated = 0;
    for _ in 0..CASES {
        let length = 1 + random(6);
        let text: String = (0..length).map(|_| WORDS[random(WORDS.len())]).collect();
        if Expression::compile(&text, &DECLARED).is_ok() {
            evaluated += 1;
            println!("{text}");
            let _outcome = evaluate(&text);
        }
    }
    assert!(
        evaluated > CASES / 100,
        "only {evaluated} of {CASES} compiled"
    );
}

#[test]
fn only_rules_of_works_ask_whether_there_are_conditions() {
    let text = "hasConditions(object.spec) || hasConditions(object.metadata.name)";
    let refused = Expression::compile(text, &DECLARED).expect_err("no such function");
    assert!(refused.to_string().contains("hasConditions"), "{refused}");
    let declared = Declarations {
        has_conditions: true,
        ..DECLARED
    };
    let asked = |conditions: Json| {
        let expression = Expression::compile(text, &declared).expect("an expression");
        let projection = expression.reads().of_variable("object").expect("read");
        let object = json!({"metadata": {"name": "a"}, "spec": {"conditions": conditions}});
        let mut scope = Scope::default();
        scope.set_json("object", &object, projection);
        expression.evaluate(&scope).expect("a value").as_bool()
    };
    assert_eq!(asked(json!([{"type": "Ready"}])), Some(true));
    assert_eq!(asked(json!([])), Some(false));
    assert_eq!(asked(json!("none")), Some(false));
}

#[test]
fn a_map_of_timestamps_holds_those_that_are_times() {
    let declared = Declarations {
        names: &["times"],
        ..Declarations::default()
    };
    let mut scope = Scope::default();
    scope.set_timestamps(
        "times",
        &[("at", "2026-01-02T03:04:05Z"), ("never", "soon")],
    );
    let evaluate = |text: &str| {
        let expression = Expression::compile(text, &declared).expect("an expression");
        expression.evaluate(&scope).expect("a value")
    };
    let is_true = |text: &str| evaluate(text).as_bool() == Some(true);
    assert!(is_true(
        "times.at == timestamp('2026-01-02T03:04:05Z') && times.at.getFullYear() == 2026"
    ));
    assert!(is_true("!has(times.never)"));
    assert_eq!(evaluate("2u").as_integer(), Some(2));
    assert_eq!(evaluate("-2").as_integer(), Some(-2));
    assert_eq!(evaluate("2.5").as_float(), Some(2.5));
    assert_eq!(evaluate("2.5").as_integer(), None);
}
