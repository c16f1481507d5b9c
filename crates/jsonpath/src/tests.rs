//! The dialect by example, and its bounds.

use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

use super::*;

fn sample() -> Value {
    json!({
        "kind": "List",
        "items": [
            {"metadata": {"name": "127.0.0.1", "labels": {"kubernetes.io/os": "linux"}},
             "status": {"capacity": {"cpu": "4"}, "ready": true, "addresses": [{"type": "LegacyHostIP", "address": "127.0.0.1"}]}},
            {"metadata": {"name": "127.0.0.2"},
             "status": {"capacity": {"cpu": "8"}, "addresses": [
                {"type": "LegacyHostIP", "address": "127.0.0.2"}, {"type": "another", "address": "127.0.0.3"}]}}
        ],
        "users": [
            {"name": "myself", "user": {}},
            {"name": "e2e", "user": {"username": "admin", "password": "secret"}}
        ],
        "numbers": [1, 2, 3.5, 1e21, 0.00001, -4]
    })
}

fn rendered(template: &str) -> String {
    let path = JsonPath::parse(template).expect(template);
    path.render(&sample()).expect(template)
}

fn refused(template: &str) -> String {
    match JsonPath::parse(template) {
        Err(error) => error.to_string(),
        Ok(path) => path.render(&sample()).expect_err(template).to_string(),
    }
}

#[test]
fn the_documented_examples_print_what_the_documentation_says() {
    let cases = [
        ("kind is {.kind}", "kind is List"),
        ("{['kind']}", "List"),
        ("{@.kind}{$.kind}", "ListList"),
        ("{..name}", "127.0.0.1 127.0.0.2 myself e2e"),
        ("{.items[*].metadata.name}", "127.0.0.1 127.0.0.2"),
        ("{.users[0].name}", "myself"),
        ("{.users[-1].name}", "e2e"),
        ("{.users[?(@.name==\"e2e\")].user.password}", "secret"),
        (
            "{range .items[*]}[{.metadata.name}, {.status.capacity.cpu}] {end}",
            "[127.0.0.1, 4] [127.0.0.2, 8] ",
        ),
        (
            "{range .items[*]}{.metadata.name}{'\\t'}{end}",
            "127.0.0.1\t127.0.0.2\t",
        ),
        ("{.items[0].metadata.labels.kubernetes\\.io/os}", "linux"),
        ("{.items[0].metadata.labels['kubernetes.io/os']}", "linux"),
        ("{.items[0].metadata.labels['kubernetes\\.io/os']}", "linux"),
        ("{.items[0].status.capacity}", "{\"cpu\":\"4\"}"),
    ];
    for (template, expected) in cases {
        assert_eq!(rendered(template), expected, "{template}");
    }
}

#[test]
fn slices_and_unions_select_in_order() {
    let cases = [
        ("{.numbers[0:2]}", "1 2"),
        ("{.numbers[:]}", "1 2 3.5 1e+21 1e-05 -4"),
        ("{.numbers[0:6:2]}", "1 3.5 1e-05"),
        ("{.numbers[-2:]}", "1e-05 -4"),
        ("{.numbers[0,2]}", "1 3.5"),
        (
            "{.users[*]['name','user']}",
            "myself e2e {} {\"password\":\"secret\",\"username\":\"admin\"}",
        ),
        ("{.numbers[1:1]}", ""),
    ];
    for (template, expected) in cases {
        assert_eq!(rendered(template), expected, "{template}");
    }
}

#[test]
fn filters_compare_and_ask_for_existence() {
    let cases = [
        ("{.numbers[?(@ > 2)]}", "3.5 1e+21"),
        ("{.numbers[?(@<=1)]}", "1 1e-05 -4"),
        ("{.items[?(@.status.ready)].metadata.name}", "127.0.0.1"),
        (
            "{.items[?(@.status.capacity.cpu != '4')].metadata.name}",
            "127.0.0.2",
        ),
        (
            "{.items[*].status.addresses[?(@.type==\"another\")].address}",
            "127.0.0.3",
        ),
        (
            "{.items[?(@.metadata.name>=\"127.0.0.2\")].metadata.name}",
            "127.0.0.2",
        ),
    ];
    for (template, expected) in cases {
        assert_eq!(rendered(template), expected, "{template}");
    }
}

#[test]
fn mistakes_are_told_in_the_words_of_the_dialect() {
    let cases = [
        ("{.hello}", "hello is not found"),
        (
            "{.users[9]}",
            "array index out of bounds: index 9, length 2",
        ),
        ("{.kind[0]}", "string is not array or slice"),
        (
            "{.users[?(@.name==1)]}",
            "incompatible types for comparison",
        ),
        ("{.users[", "unterminated array"),
        ("{.users[?(@.name", "unterminated filter"),
        ("{.users[x]}", "invalid array index x"),
        ("{.kind", "unclosed action"),
        ("{\"x}", "unterminated quoted string"),
        ("{end}", "not in range, nothing to end"),
        ("{hello}", "unrecognized identifier hello"),
        ("{....a}", "invalid multiple recursive descent"),
        ("{*}", "unrecognized character in action: U+002A '*'"),
    ];
    for (template, expected) in cases {
        assert_eq!(refused(template), expected, "{template}");
    }
}

#[test]
fn missing_keys_select_nothing_when_allowed() {
    let path = JsonPath::parse("<{.hello.there[0]}>")
        .expect("parses")
        .allow_missing_keys(true);
    assert_eq!(path.render(&sample()).as_deref(), Ok("<>"));
}

#[test]
fn printer_columns_need_no_braces() {
    for text in [".kind", "kind", "{.kind}", "{kind}"] {
        let path = JsonPath::parse_relaxed(text).expect(text);
        let sample = sample();
        let found = path.find(&sample).expect(text);
        assert_eq!(found, [&json!("List")], "{text}");
    }
    assert!(JsonPath::parse_relaxed("{.a}{.b}").is_err());
}

#[test]
fn long_and_deep_templates_are_refused() {
    let long = ".a".repeat(MAX_TEMPLATE_BYTES);
    assert_eq!(
        JsonPath::parse(&long).err(),
        Some(ParseError::TooLong(long.len()))
    );
    let deep = "{range .items[*]}".repeat(MAX_NESTING + 1);
    assert_eq!(JsonPath::parse(&deep).err(), Some(ParseError::TooDeep));
}

#[test]
fn runaway_descents_end_in_an_error() {
    let mut value = json!(1);
    for _ in 0..60 {
        value = json!([value, value.is_number()]);
    }
    let path = JsonPath::parse("{..[*]..[*]..[*]..[*]..[*]}")
        .expect("parses")
        .allow_missing_keys(true);
    assert!(path.find(&value).is_err());
}

proptest! {
    #[test]
    fn no_template_panics(template in "[{}\\[\\]().*?@$:,'\"\\\\=<> a-c0-2-]{0,40}") {
        if let Ok(path) = JsonPath::parse(&template) {
            let _ = path.render(&sample());
        }
    }

    #[test]
    fn no_unicode_template_panics(template in "\\PC{0,40}") {
        if let Ok(path) = JsonPath::parse(&format!("{{{template}}}")) {
            let _ = path.render(&sample());
        }
    }
}
