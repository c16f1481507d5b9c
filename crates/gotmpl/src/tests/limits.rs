use proptest::prelude::*;
use proptest::test_runner::Config;

use super::*;

#[track_caller]
fn ends_with(text: &str, expected: &str) {
    let error = run(text, &data()).err().unwrap_or_default();
    assert!(error.ends_with(expected), "{text:.80}: {error}");
}

#[test]
fn recursion_that_does_not_end_is_stopped() {
    ends_with(
        "{{define \"r\"}}{{template \"r\" .}}{{end}}{{template \"r\" .}}",
        "exceeded maximum template depth (250)",
    );
    ends_with(
        "{{define \"r\"}}{{if true}}{{range 2}}{{template \"r\" (print (len (print .)))}}{{end}}\
         {{end}}{{end}}{{template \"r\" .}}",
        "exceeded maximum template depth (250)",
    );
}

#[test]
fn loops_that_explode_are_stopped() {
    ends_with(
        "{{range 1000000}}{{range 1000000}}{{end}}{{end}}",
        "the template takes more than 200000 steps, which is the limit: loop over less",
    );
    ends_with(
        "{{range 9000000000}}{{end}}",
        "the template takes more than 200000 steps, which is the limit: loop over less",
    );
}

#[test]
fn output_that_explodes_is_stopped() {
    let too_large = "the output has more than 1048576 bytes, which is the limit: write less";
    ends_with("{{range 9}}{{printf \"%300000d\" 1}}{{end}}", too_large);
    ends_with("{{printf \"%999999d%999999d\" 1 2}}", too_large);
    ends_with("{{printf \"%.999999f%.999999f\" 1.0 1.0}}", too_large);
    ends_with(
        "{{$x := \"0123456789\"}}{{range 40}}{{$x = print $x $x}}{{end}}{{len $x}}",
        too_large,
    );
}

#[test]
fn handling_long_strings_again_and_again_is_stopped() {
    ends_with(
        "{{$x := printf \"%900000d\" 1}}{{range 100000}}{{if eq $x $x}}{{end}}{{end}}",
        "the template takes more than 200000 steps, which is the limit: loop over less",
    );
}

#[test]
fn nesting_and_length_are_limited() {
    let deep = |count: usize| "{{if 1}}".repeat(count) + &"{{end}}".repeat(count);
    assert_eq!(run(&deep(MAX_NESTING), &data()), Ok(String::new()));
    ends_with(
        &deep(MAX_NESTING + 1),
        "the template nests deeper than 100 levels: flatten it",
    );
    ends_with(
        &format!("{{{{{}1{}}}}}", "(".repeat(5000), ")".repeat(5000)),
        "the template nests deeper than 100 levels: flatten it",
    );
    ends_with(
        &" ".repeat(MAX_TEMPLATE_BYTES + 1),
        "the template has 1048577 bytes, at most 1048576 are allowed: shorten it",
    );
}

#[test]
fn errors_are_short_whatever_they_show() {
    let text = format!("{{{{range \"{}\"}}}}{{{{end}}}}", "x".repeat(100_000));
    let error = run(&text, &data()).err().unwrap_or_default();
    assert!(error.len() < 4096, "{} bytes", error.len());
}

/// Pieces that make up templates, good ones and bad.
const PIECES: &[&str] = &[
    "{{",
    "}}",
    "{{- ",
    " -}}",
    "if ",
    "else",
    "end",
    "range ",
    "with ",
    "define ",
    "template ",
    "block ",
    "break",
    "continue",
    "{{end}}",
    "{{else}}",
    "\"T\"",
    "`raw`",
    "$",
    "$x",
    "$x := ",
    "$i, $x := ",
    "$x = ",
    ".",
    ".list",
    ".map",
    ".nested",
    ".text",
    ".null",
    ".absent",
    ".deep",
    "1",
    "-3",
    "0x1F",
    "1.5",
    "'a'",
    "1e9",
    "true",
    "nil",
    "and ",
    "or ",
    "not ",
    "eq ",
    "lt ",
    "len ",
    "index ",
    "slice ",
    "print ",
    "printf ",
    "\"%d %v %5.2f %q\"",
    "\"%*d %[2]x\"",
    "println ",
    "html ",
    "js ",
    "urlquery ",
    "call ",
    "(",
    ")",
    "|",
    " | ",
    " ",
    "\n",
    ",",
    "text",
    "ü",
    "{{/* c */}}",
    "{{define \"T\"}}",
    "{{template \"T\" .}}",
    "{{range 3}}",
];

proptest! {
    #![proptest_config(Config { cases: 2000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn no_template_panics_and_every_output_is_within_its_limit(
        pieces in proptest::collection::vec(0..PIECES.len(), 0..40),
        arbitrary in "\\PC{0,40}",
    ) {
        let made: String = pieces.iter().map(|piece| PIECES[*piece]).collect();
        let action = format!("{{{{{arbitrary}}}}}");
        for text in [made, arbitrary, action] {
            if let Ok(output) = run(&text, &data()) {
                prop_assert!(output.len() <= MAX_OUTPUT_BYTES);
            }
        }
    }

    #[test]
    fn no_format_panics(format in "(%[-+# 0]{0,2}[0-9*]{0,3}(\\.[0-9*]{0,2})?(\\[[0-9]?\\])?[a-zA-Z%]| ){0,5}") {
        let text = "{{printf .format 1 .text -2.5 .list nil .map true}}";
        let data = json!({"format": format, "text": "grün", "list": [1, null], "map": {"a": 1.5}});
        prop_assert!(run(text, &data).is_ok());
    }
}
