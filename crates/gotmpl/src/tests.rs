//! What Go's `text/template` is documented, or known from its own tests, to do.

mod errors;
mod limits;

use serde_json::json;

use super::*;

/// The result of a test that uses `?`.
type Done = Result<(), Box<dyn std::error::Error>>;

fn data() -> Value {
    json!({
        "true": true, "one": 1, "zero": 0, "pi": 3.5, "million": 1e6, "text": "hyades",
        "empty": "", "null": null, "list": [3, 4, 5], "none": [], "mixed": [1, "a", null, [2]],
        "map": {"b": "two", "a": 1}, "nested": {"deep": {"leaf": "green"}}, "emptyMap": {},
        "names": ["x", "y"], "quote": "a<b> & 'c' \"d\"", "umlaut": "grün",
    })
}

fn run(text: &str, data: &Value) -> Result<String, String> {
    Template::parse("t", text)
        .map_err(|error| error.to_string())?
        .execute(data, &mut Budget::default())
        .map_err(|error| error.to_string())
}

#[track_caller]
fn table(cases: &[(&str, &str)]) {
    let data = data();
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(text, expected)| {
            let actual = run(text, &data);
            (actual.as_deref() != Ok(*expected))
                .then(|| format!("{text}\n  expected {expected:?}\n  got      {actual:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn text_comments_and_trim_markers() {
    table(&[
        ("", ""),
        ("plain", "plain"),
        ("a{{/* gone */}}b", "ab"),
        ("a {{- /* gone */ -}} b", "ab"),
        ("x \r\n\t{{- \"y\" -}}\r\n\t z", "xyz"),
        ("{{23 -}} < {{- 45}}", "23<45"),
        ("{{- 3}}", "3"),
        ("{{-3}}", "-3"),
        ("a {{-3}}", "a -3"),
        ("{{\"{{\"}}", "{{"),
        ("{{`}}`}}", "}}"),
        ("{\n{{.text\n}}\n}", "{\nhyades\n}"),
        ("}}", "}}"),
    ]);
}

#[test]
fn constants() {
    table(&[
        (
            "{{1}} {{-7}} {{+8}} {{0x1F}} {{0b101}} {{0o17}} {{017}} {{1_000}}",
            "1 -7 8 31 5 15 15 1000",
        ),
        (
            "{{'a'}} {{'\\n'}} {{'\\''}} {{'\\u00e4'}} {{'ü'}}",
            "97 10 39 228 252",
        ),
        (
            "{{1.5}} {{1e3}} {{1e6}} {{.5}} {{1e21}} {{0x1p-2}} {{123456789.0}}",
            "1.5 1000 1e+06 0.5 1e+21 0.25 1.23456789e+08",
        ),
        (
            "{{0.0001}} {{0.00001}} {{100000.0}} {{1234567.0}}",
            "0.0001 1e-05 100000 1.234567e+06",
        ),
        ("{{true}} {{false}}", "true false"),
        (r#"{{"tab\tquote\"\u00e4\x41\101"}}"#, "tab\tquote\"äAA"),
        ("{{`raw\\n`}}", "raw\\n"),
        ("{{9223372036854775807}}", "9223372036854775807"),
    ]);
}

#[test]
fn fields_and_missing_keys() {
    table(&[
        ("{{.text}}", "hyades"),
        ("{{ .nested.deep.leaf }}", "green"),
        ("{{$.nested.deep.leaf}}", "green"),
        ("{{(.nested).deep.leaf}}", "green"),
        ("{{.absent}}", "<no value>"),
        ("{{.absent.deeper}}", "<no value>"),
        ("{{.null}}", "<no value>"),
        (
            "{{.list}} {{.map}} {{.mixed}} {{.none}}",
            "[3 4 5] map[a:1 b:two] [1 a <nil> [2]] []",
        ),
        ("{{.nested}}", "map[deep:map[leaf:green]]"),
        (
            "{{.one}} {{.pi}} {{.million}} {{.true}}",
            "1 3.5 1e+06 true",
        ),
    ]);
    let data = json!({"map": {}});
    let zero = Template::parse("t", "{{.x}} {{.map.x}}").map(|t| t.missing_key(MissingKey::Zero));
    let zero = zero.map_err(|error| error.to_string());
    assert_eq!(
        zero.map(|template| template.execute(&data, &mut Budget::default())),
        Ok(Ok("<no value> <no value>".to_owned()))
    );
}

#[test]
fn a_map_of_strings_has_the_empty_string_for_what_index_does_not_find() -> Done {
    let properties: BTreeMap<String, String> = [("clusterName", "cluster1"), ("region", "east")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let text =
        "{{.clusterName}}[{{index . \"a-b\"}}]{{range $k, $v := .}}{{$k}}={{$v}};{{end}}{{len .}}";
    let template = Template::parse("t", text)?.missing_key(MissingKey::Error);
    assert_eq!(
        template.execute_strings(&properties, &mut Budget::default())?,
        "cluster1[]clusterName=cluster1;region=east;2"
    );
    let template = Template::parse("t", "{{.x}}")?.missing_key(MissingKey::Zero);
    assert_eq!(
        template.execute_strings(&properties, &mut Budget::default())?,
        ""
    );
    Ok(())
}

#[test]
fn conditions() {
    table(&[
        ("{{if .true}}y{{end}}{{if .zero}}n{{end}}", "y"),
        (
            "{{if .empty}}a{{else if .none}}b{{else if .one}}c{{else}}d{{end}}",
            "c",
        ),
        (
            "{{if .emptyMap}}a{{else}}b{{end}}{{if .null}}a{{else}}b{{end}}{{if .absent}}a{{else}}b{{end}}",
            "bbb",
        ),
        (
            "{{if 0.0}}a{{else}}b{{end}}{{if 1.5}}a{{else}}b{{end}}{{if `x`}}a{{end}}",
            "baa",
        ),
        ("{{if $x := .one}}{{$x}}{{end}}", "1"),
        ("{{with .nested}}{{.deep.leaf}}{{end}}", "green"),
        ("{{with .absent}}a{{else}}{{.text}}{{end}}", "hyades"),
        (
            "{{with .absent}}a{{else with .one}}{{.}}{{else}}c{{end}}",
            "1",
        ),
        ("{{with $y := .text}}{{$y}}{{.}}{{end}}", "hyadeshyades"),
        ("{{with $x := 3}}{{with $x = 4}}{{end}}{{$x}}{{end}}", "4"),
        (
            "{{if and .one .text}}{{end}}{{and .one .text}} {{and .zero .text}} {{or .zero .text}} {{or .zero .empty}}|",
            "hyades 0 hyades |",
        ),
        (
            "{{or .one (index .none 5)}} {{and .zero (index .none 5)}}",
            "1 0",
        ),
        (
            "{{.zero | or .empty}} {{.one | and .text}} {{not .zero}} {{not .one | not}}",
            "0 1 true true",
        ),
    ]);
}

#[test]
fn loops() {
    table(&[
        ("{{range .list}}-{{.}}-{{end}}", "-3--4--5-"),
        ("{{range .none}}x{{else}}empty{{end}}", "empty"),
        ("{{range .absent}}x{{else}}empty{{end}}", "empty"),
        ("{{range $x := .list}}<{{$x}}>{{end}}", "<3><4><5>"),
        (
            "{{range $i, $x := .list}}<{{$i}}={{$x}}>{{end}}",
            "<0=3><1=4><2=5>",
        ),
        (
            "{{range $k, $v := .map}}{{$k}}:{{$v}} {{end}}",
            "a:1 b:two ",
        ),
        ("{{range .map}}{{.}} {{end}}", "1 two "),
        (
            "{{range .list}}{{if eq . 4}}{{break}}{{end}}{{.}}{{end}}",
            "3",
        ),
        (
            "{{range .list}}{{if eq . 4}}{{continue}}{{end}}{{.}}{{end}}",
            "35",
        ),
        (
            "{{range $i, $x := .names}}{{range $.list}}{{if eq . 4}}{{break}}{{end}}{{$x}}{{.}}{{end}}{{end}}",
            "x3y3",
        ),
        (
            "{{range 3}}{{.}}{{end}}{{range $i := 2}}{{$i}}{{end}}{{range 0}}x{{else}}-{{end}}",
            "01201-",
        ),
        ("{{$x := 0}}{{range .list}}{{$x = .}}{{end}}{{$x}}", "5"),
        (
            "{{$i := 9}}{{$v := 9}}{{range $i, $v = .list}}{{end}}{{$i}}{{$v}}",
            "25",
        ),
        ("{{range .mixed}}[{{.}}]{{end}}", "[1][a][<no value>][[2]]"),
    ]);
}

#[test]
fn variables_live_until_the_end_of_their_block() {
    table(&[
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{$x}}{{end}}{{$x}}", "22"),
        ("{{$x := .nested}}{{$x.deep.leaf}}", "green"),
        ("{{with .nested}}{{$.text}}{{end}}", "hyades"),
    ]);
}

#[test]
fn definitions_and_calls() {
    table(&[
        (
            "{{define \"T\"}}<{{.}}>{{end}}{{template \"T\" .one}}{{template \"T\"}}",
            "<1><<no value>>",
        ),
        (
            "{{template `T` .text}}{{define `T`}}{{.}}!{{end}}",
            "hyades!",
        ),
        (
            "{{block \"B\" .one}}b{{.}}{{end}}{{template \"B\" 2}}",
            "b1b2",
        ),
        ("{{define \"T\"}}{{$}}{{end}}{{template \"T\" 3}}", "3"),
        (
            "{{define \"T\"}}{{end}}{{define \"T\"}}x{{end}}{{template \"T\"}}",
            "x",
        ),
        (
            "{{define \"R\"}}{{if .}}{{len .}}{{template \"R\" (slice . 1)}}{{end}}{{end}}{{template \"R\" .list}}",
            "321",
        ),
    ]);
}

#[test]
fn comparisons() {
    table(&[
        (
            "{{eq .one 1}} {{eq 1 2 1}} {{ne .text \"x\"}} {{eq .pi 3.5}} {{eq true true}}",
            "true true true true true",
        ),
        (
            "{{lt 1 2}} {{le 2 2}} {{gt 1.5 1.25}} {{ge \"b\" \"a\"}} {{lt .one 1}}",
            "true true true true false",
        ),
        (
            "{{eq .absent nil}} {{eq .null nil}} {{eq .one nil}} {{ne .map nil}}",
            "true true false true",
        ),
        ("{{eq (index .text 0) 'h'}}", "true"),
        ("{{.one | eq 1}} {{2 | lt 1}}", "true true"),
    ]);
}

#[test]
fn lookups() {
    table(&[
        (
            "{{index .list 0}} {{index .map \"b\"}} {{index .mixed 3 0}} {{index .text 1}}",
            "3 two 2 121",
        ),
        (
            "{{index .nested \"deep\" \"leaf\"}} {{index .map \"absent\"}} {{index .one}}",
            "green <no value> 1",
        ),
        (
            "{{slice .text 1 3}} {{slice .list 1}} {{slice .list 0 1 2}} {{slice .text}}",
            "ya [4 5] [3] hyades",
        ),
        (
            "{{len .text}} {{len .umlaut}} {{len .list}} {{len .map}} {{len `abc`}}",
            "6 5 3 2 3",
        ),
    ]);
}

#[test]
fn printing() {
    table(&[
        (
            "{{print 1 2 \"a\" 3 4}} {{print .null}} {{print}}",
            "1 2a3 4 <nil> ",
        ),
        ("{{print \"hello\" 1 2 \"x\"}}", "hello1 2x"),
        ("{{println 1 \"a\" nil .list}}", "1 a <nil> [3 4 5]\n"),
        ("{{\"output\" | printf \"%s-%s\" \"put\"}}", "put-output"),
        (
            "{{printf \"%d %5d|%-5d|%05d %x %X %o %b %c %U %+d\" 1 2 3 4 255 255 8 5 'x' 'x' 7}}",
            "1     2|3    |00004 ff FF 10 101 x U+0078 +7",
        ),
        (
            "{{printf \"%q %s %10s|%-4s|%.2s %x\" \"a\\n\" \"b\" \"c\" \"d\" \"efg\" \"hi\"}}",
            "\"a\\n\" b          c|d   |ef 6869",
        ),
        (
            "{{printf \"%f %.2f %8.3f %e %g %G\" 1.5 2.345 3.14159 1234.5678 1e-7 1e20}}",
            "1.500000 2.35    3.142 1.234568e+03 1e-07 1E+20",
        ),
        (
            "{{printf \"%v %v %v %v\" .list .map .null true}} {{printf \"%t\" false}}",
            "[3 4 5] map[a:1 b:two] <nil> true false",
        ),
        (
            "{{printf \"%T %T %T %T %T %T\" 1 .one \"s\" 1.5 .list .map}}",
            "int int64 string float64 []interface {} map[string]interface {}",
        ),
        (
            "{{printf \"%#v %#v %#v %#x\" \"s\" .names .map 255}}",
            "\"s\" []interface {}{\"x\", \"y\"} map[string]interface {}{\"a\":1, \"b\":\"two\"} 0xff",
        ),
        (
            "{{printf \"%d%%\" 5}} {{printf \"%[2]d %[1]d\" 1 2}} {{printf \"%*d\" 4 7}}",
            "5% 2 1    7",
        ),
        (
            "{{printf \"%d\" \"x\"}} {{printf \"%d\"}} {{printf \"a\" 1}} {{printf \"%z\" 1}} {{printf \"%\"}}",
            "%!d(string=x) %!d(MISSING) a%!(EXTRA int=1) %!z(int=1) %!(NOVERB)",
        ),
        (
            "{{printf \"%s\" 1}} {{printf \"%s\" nil}} {{printf \"%s\" .mixed}}",
            "%!s(int=1) %!s(<nil>) [%!s(int64=1) a <nil> [%!s(int64=2)]]",
        ),
        (
            "{{printf \"%6.2f|%-8.1f|%+.1e|%08.3f\" 3.14159 2.0 12345.678 -3.14159}}",
            "  3.14|2.0     |+1.2e+04|-003.142",
        ),
        (
            "{{printf \"%g %g %.3g %g\" 100000.0 1000000.0 1234.5678 0.00001234}}",
            "100000 1e+06 1.23e+03 1.234e-05",
        ),
    ]);
}

#[test]
fn escaping() {
    table(&[
        (
            "{{html .quote}}",
            "a&lt;b&gt; &amp; &#39;c&#39; &#34;d&#34;",
        ),
        (
            "{{js .quote}}",
            "a\\u003Cb\\u003E \\u0026 \\'c\\' \\\"d\\\"",
        ),
        (
            "{{js \"it'd be = nice\\n\"}}",
            "it\\'d be \\u003D nice\\u000A",
        ),
        (
            "{{urlquery \"http://www.example.org/\"}}",
            "http%3A%2F%2Fwww.example.org%2F",
        ),
        (
            "{{urlquery .umlaut \" x\"}} {{html .absent}}",
            "gr%C3%BCn+x &lt;no value&gt;",
        ),
        ("{{`<b>` | html | printf \"%s!\"}}", "&lt;b&gt;!"),
    ]);
}
