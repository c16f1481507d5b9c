use super::*;

#[track_caller]
fn fails(cases: &[(&str, &str)]) {
    let data = data();
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(text, expected)| {
            let actual = run(text, &data);
            (actual.as_ref().err().map(String::as_str) != Some(*expected))
                .then(|| format!("{text}\n  expected {expected}\n  got      {actual:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_parser_refuses() {
    fails(&[
        ("{{", "template: t:1: unclosed action"),
        ("\n\n{{.x", "template: t:3: unclosed action"),
        ("{{.x\n", "template: t:2: unclosed action started at t:1"),
        ("{{/* x", "template: t:1: unclosed comment"),
        (
            "{{/* x */ }",
            "template: t:1: comment ends before closing delimiter",
        ),
        ("{{}}", "template: t:1: missing value for command"),
        ("{{if}}{{end}}", "template: t:1: missing value for if"),
        ("{{range}}", "template: t:1: missing value for range"),
        ("hello{{range .x}}", "template: t:1: unexpected EOF"),
        ("{{if .x}}", "template: t:1: unexpected EOF"),
        ("{{end}}", "template: t:1: unexpected {{end}}"),
        ("{{else}}", "template: t:1: unexpected {{else}}"),
        (
            "{{if .x}}{{else}}{{else}}{{end}}",
            "template: t:1: expected end; found {{else}}",
        ),
        (
            "{{nofunction .x}}",
            "template: t:1: function \"nofunction\" not defined",
        ),
        ("{{$x}}", "template: t:1: undefined variable \"$x\""),
        (
            "{{with $x := 4}}{{end}}{{$x}}",
            "template: t:1: undefined variable \"$x\"",
        ),
        ("{{break}}", "template: t:1: {{break}} outside {{range}}"),
        (
            "{{range .x}}{{end}}{{continue}}",
            "template: t:1: {{continue}} outside {{range}}",
        ),
        (
            "{{range .x}}{{define \"d\"}}{{end}}{{end}}",
            "template: t:1: unexpected <define> in command",
        ),
        (
            "{{.x 1 | 3}}",
            "template: t:1: non executable command in pipeline stage 2",
        ),
        (
            "{{template 1}}",
            "template: t:1: unexpected \"1\" in template clause",
        ),
        (
            "{{define \"x\"}}a{{end}}{{define \"x\"}}b{{end}}",
            "template: t:1: template: multiple definition of template \"x\"",
        ),
        ("{{\"a", "template: t:1: unterminated quoted string"),
        ("{{`a", "template: t:1: unterminated raw quoted string"),
        ("{{'a", "template: t:1: unterminated character constant"),
        (
            "{{'ab'}}",
            "template: t:1: malformed character constant: 'ab'",
        ),
        ("{{\"\\q\"}}", "template: t:1: invalid syntax"),
        ("{{3k}}", "template: t:1: bad number syntax: \"3k\""),
        (
            "{{1+2i}}",
            "template: t:1: complex constants are not supported: 1+2i",
        ),
        (
            "{{99999999999999999999}}",
            "template: t:1: integer overflow: \"99999999999999999999\"",
        ),
        ("{{.x.\"a\"}}", "template: t:1: bad character U+0022 '\"'"),
        ("{{1.x}}", "template: t:1: bad number syntax: \"1.x\""),
        (
            "{{nil.x}}",
            "template: t:1: unexpected . after term \"nil\"",
        ),
        ("{{.a.b)}}", "template: t:1: unexpected right paren"),
        ("{{(.a}}", "template: t:1: unclosed left paren"),
        ("{{.a $b,}}", "template: t:1: undefined variable \"$b\""),
        (
            "{{$a, $b := .x}}",
            "template: t:1: too many declarations in command",
        ),
        (
            "{{range $a, 1 := .x}}{{end}}",
            "template: t:1: range can only initialize variables",
        ),
        (
            "{{range $a, $b, $c := .x}}{{end}}",
            "template: t:1: too many declarations in range",
        ),
        ("{{x: 1}}", "template: t:1: function \"x\" not defined"),
        ("{{.x#}}", "template: t:1: bad character U+0023 '#'"),
        (
            "{{\u{1}}}",
            "template: t:1: unrecognized character in action: U+0001",
        ),
        ("{{.x , 1}}", "template: t:1: unexpected \",\" in operand"),
        ("{{-}}", "template: t:1: illegal number syntax: \"-\""),
    ]);
}

#[test]
fn what_execution_refuses() {
    fails(&[
        (
            "{{.text.x}}",
            "template: t:1:7: executing \"t\" at <.text.x>: can't evaluate field x in type interface {}",
        ),
        (
            "{{$x := .text}}{{$x.y}}",
            "template: t:1:19: executing \"t\" at <$x.y>: can't evaluate field y in type string",
        ),
        (
            "{{.null.x}}",
            "template: t:1:7: executing \"t\" at <.null.x>: nil pointer evaluating interface {}.x",
        ),
        (
            "a\n {{.text 1}}",
            "template: t:2:3: executing \"t\" at <.text>: text is not a method but has arguments",
        ),
        (
            "{{1 2}}",
            "template: t:1:2: executing \"t\" at <1>: can't give argument to non-function 1",
        ),
        (
            "{{nil}}",
            "template: t:1:2: executing \"t\" at <nil>: nil is not a command",
        ),
        (
            "{{template \"x\"}}",
            "template: t:1:11: executing \"t\" at <{{template \"x\"}}>: template \"x\" not defined",
        ),
        (
            "{{define \"d\"}}{{.a.b}}{{end}}{{template \"d\" .}}{{template \"d\" .text}}",
            "template: t:1:18: executing \"d\" at <.a.b>: can't evaluate field a in type string",
        ),
        (
            "{{range .text}}{{end}}",
            "template: t:1:8: executing \"t\" at <.text>: range can't iterate over hyades",
        ),
        (
            "{{range $i, $x := 3}}{{end}}",
            "template: t:1:18: executing \"t\" at <3>: can't use 3 to iterate over more than one variable",
        ),
        (
            "{{index .list 9}}",
            "template: t:1:2: executing \"t\" at <index .list 9>: error calling index: index out of range: 9",
        ),
        (
            "{{index .list 3}}",
            "template: t:1:2: executing \"t\" at <index .list 3>: error calling index: reflect: slice index out of range",
        ),
        (
            "{{index .absent 1}}",
            "template: t:1:2: executing \"t\" at <index .absent 1>: error calling index: index of untyped nil",
        ),
        (
            "{{index .map 1}}",
            "template: t:1:2: executing \"t\" at <index .map 1>: error calling index: value has type int; should be string",
        ),
        (
            "{{len .one}}",
            "template: t:1:2: executing \"t\" at <len .one>: error calling len: len of type int64",
        ),
        (
            "{{len .absent}}",
            "template: t:1:2: executing \"t\" at <len .absent>: error calling len: reflect: call of reflect.Value.Type on zero Value",
        ),
        (
            "{{slice .text 4 2}}",
            "template: t:1:2: executing \"t\" at <slice .text 4 2>: error calling slice: invalid slice index: 4 > 2",
        ),
        (
            "{{slice .text 1 2 3}}",
            "template: t:1:2: executing \"t\" at <slice .text 1 2 3>: error calling slice: cannot 3-index slice a string",
        ),
        (
            "{{eq 1 \"a\"}}",
            "template: t:1:2: executing \"t\" at <eq 1 \"a\">: error calling eq: incompatible types for comparison",
        ),
        (
            "{{eq 1 1.0}}",
            "template: t:1:2: executing \"t\" at <eq 1 1.0>: error calling eq: incompatible types for comparison",
        ),
        (
            "{{lt true false}}",
            "template: t:1:2: executing \"t\" at <lt true false>: error calling lt: invalid type for comparison",
        ),
        (
            "{{eq 1}}",
            "template: t:1:2: executing \"t\" at <eq 1>: error calling eq: missing argument for comparison",
        ),
        (
            "{{not}}",
            "template: t:1:2: executing \"t\" at <not>: wrong number of args for not: want 1 got 0",
        ),
        (
            "{{len 1 2}}",
            "template: t:1:2: executing \"t\" at <len>: wrong number of args for len: want 1 got 2",
        ),
        (
            "{{index}}",
            "template: t:1:2: executing \"t\" at <index>: wrong number of args for index: want at least 1 got 0",
        ),
        (
            "{{printf 1}}",
            "template: t:1:9: executing \"t\" at <1>: expected string; found 1",
        ),
        (
            "{{printf .one}}",
            "template: t:1:9: executing \"t\" at <.one>: wrong type for value; expected string; got int64",
        ),
        (
            "{{printf .absent}}",
            "template: t:1:9: executing \"t\" at <.absent>: invalid value; expected string",
        ),
        (
            "{{call .one}}",
            "template: t:1:2: executing \"t\" at <call .one>: error calling call: non-function .one of type int64",
        ),
        (
            "{{call nil}}",
            "template: t:1:2: executing \"t\" at <call nil>: error calling call: call of nil",
        ),
        (
            "{{18446744073709551615}}",
            "template: t:1:2: executing \"t\" at <18446744073709551615>: 18446744073709551615 overflows int",
        ),
    ]);
}

#[test]
fn missing_keys_are_errors_where_that_is_asked_for() -> Done {
    let properties = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let template = Template::parse("t", "{{.a}}{{.foo}}")?.missing_key(MissingKey::Error);
    let error = template
        .execute_strings(&properties, &mut Budget::default())
        .err()
        .ok_or("no error")?;
    assert_eq!(error.detail(), "map has no entry for key \"foo\"");
    assert_eq!(
        error.to_string(),
        "template: t:1:8: executing \"t\" at <.foo>: map has no entry for key \"foo\""
    );
    let template = Template::parse("t", "{{.a.b}}")?.missing_key(MissingKey::Error);
    let error = template
        .execute_strings(&properties, &mut Budget::default())
        .err()
        .ok_or("no error")?;
    assert_eq!(error.detail(), "can't evaluate field b in type string");
    Ok(())
}
