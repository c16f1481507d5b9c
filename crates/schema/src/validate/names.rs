//! What names may look like: RFC 1123 and 1035 names, label keys and values, config keys, ports.
//!
//! Each check returns what is wrong, in the API server's words; nothing wrong is an empty list.

const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;
const PORT_NAME_MAX: usize = 15;

/// RFC 1123 label: lower case letters, digits and inner hyphens, at most 63 bytes.
pub fn dns_label(name: &str) -> Vec<String> {
    let mut errors = at_most(name, LABEL_MAX);
    if !is_label(name) {
        errors.push(with_example(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
            "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "123-abc"],
        ));
    }
    errors
}

/// RFC 1123 subdomain: dot-separated labels, at most 253 bytes together.
pub fn dns_subdomain(name: &str) -> Vec<String> {
    let mut errors = at_most(name, SUBDOMAIN_MAX);
    if !name.split('.').all(is_label) {
        errors.push(with_example(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        ));
    }
    errors
}

/// RFC 1035 label: as RFC 1123, but starting with a letter.
pub fn dns_1035_label(name: &str) -> Vec<String> {
    let mut errors = at_most(name, LABEL_MAX);
    let starts = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if !starts || !is_label(name) {
        errors.push(with_example(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    errors
}

/// A name that can be one segment of a URL path, as RBAC objects have.
pub fn path_segment(name: &str) -> Vec<String> {
    if name == "." || name == ".." {
        return vec![format!("may not be '{name}'")];
    }
    ["/", "%"]
        .iter()
        .filter(|illegal| name.contains(**illegal))
        .map(|illegal| format!("may not contain '{illegal}'"))
        .collect()
}

/// A label or annotation key: a name with an optional subdomain prefix.
pub fn qualified_name(key: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let parts: Vec<&str> = key.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push(String::from("prefix part must be non-empty"));
            } else {
                let wrong = dns_subdomain(prefix);
                errors.extend(wrong.iter().map(|error| format!("prefix part {error}")));
            }
            name
        }
        _ => {
            let text = with_example(
                &format!("a qualified name {QUALIFIED_NAME}"),
                QUALIFIED_PATTERN,
                &["MyName", "my.name", "123-abc"],
            );
            return vec![format!(
                "{text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        errors.push(String::from("name part must be non-empty"));
    } else if name.len() > LABEL_MAX {
        errors.push(format!(
            "name part must be no more than {LABEL_MAX} characters"
        ));
    }
    if !is_word(name) {
        errors.push(with_example(
            &format!("name part {QUALIFIED_NAME}"),
            QUALIFIED_PATTERN,
            &["MyName", "my.name", "123-abc"],
        ));
    }
    errors
}

const QUALIFIED_NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const QUALIFIED_PATTERN: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// A label value: empty, or a word of at most 63 bytes.
pub fn label_value(value: &str) -> Vec<String> {
    let mut errors = at_most(value, LABEL_MAX);
    if !value.is_empty() && !is_word(value) {
        errors.push(with_example(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
            &["MyValue", "my_value", "12345"],
        ));
    }
    errors
}

/// A key of a ConfigMap or Secret.
pub fn config_key(key: &str) -> Vec<String> {
    let mut errors = at_most(key, SUBDOMAIN_MAX);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if key.is_empty() || !key.bytes().all(fits) {
        errors.push(with_example(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match key {
        "." => errors.push(String::from("must not be '.'")),
        ".." => errors.push(String::from("must not be '..'")),
        _ if key.starts_with("..") => errors.push(String::from("must not start with '..'")),
        _ => {}
    }
    errors
}

/// The name of an environment variable: any printable ASCII except `=`.
pub fn environment_name(name: &str) -> Vec<String> {
    let fits = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'=';
    if name.is_empty() || !name.bytes().all(fits) {
        return vec![with_example(
            "a valid environment variable name must consist only of printable ASCII characters other than '='",
            "^[ -<>-~]+$",
            &[],
        )];
    }
    Vec::new()
}

/// The name of a port (IANA service name).
pub fn port_name(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if name.len() > PORT_NAME_MAX {
        errors.push(format!("must be no more than {PORT_NAME_MAX} characters"));
    }
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || !name.bytes().all(fits) {
        errors.push(String::from(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ));
    }
    if !name.bytes().any(|byte| byte.is_ascii_lowercase()) {
        errors.push(String::from("must contain at least one letter (a-z)"));
    }
    if name.contains("--") {
        errors.push(String::from("must not contain consecutive hyphens"));
    }
    if name.starts_with('-') || name.ends_with('-') {
        errors.push(String::from("must not begin or end with a hyphen"));
    }
    errors
}

/// A port number.
pub fn port_number(port: i64) -> Option<&'static str> {
    (!(1..=65535).contains(&port)).then_some("must be between 1 and 65535, inclusive")
}

/// The prefix of a generated name, checked as if a suffix followed.
pub fn generate_name_base(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        // Any letter stands for the suffix that is added later.
        Some(base) if !base.is_empty() => format!("{base}a"),
        _ => prefix.to_owned(),
    }
}

fn is_label(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    edges_and_middle(text, alphanumeric, |byte| {
        alphanumeric(byte) || byte == b'-'
    })
}

fn is_word(text: &str) -> bool {
    edges_and_middle(
        text,
        |byte| byte.is_ascii_alphanumeric(),
        |byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte),
    )
}

fn edges_and_middle(text: &str, edge: impl Fn(u8) -> bool, middle: impl Fn(u8) -> bool) -> bool {
    match (text.bytes().next(), text.bytes().last()) {
        (Some(first), Some(last)) => edge(first) && edge(last) && text.bytes().all(middle),
        _ => false,
    }
}

fn at_most(text: &str, limit: usize) -> Vec<String> {
    if text.len() > limit {
        vec![format!("must be no more than {limit} characters")]
    } else {
        Vec::new()
    }
}

/// The rule, its examples and its pattern, laid out as every API server message has them.
fn with_example(rule: &str, pattern: &str, examples: &[&str]) -> String {
    let listed: Vec<String> = examples
        .iter()
        .map(|example| format!("'{example}', "))
        .collect();
    if listed.is_empty() {
        return format!("{rule} (regex used for validation is '{pattern}')");
    }
    format!(
        "{rule} (e.g. {}regex used for validation is '{pattern}')",
        listed.join(" or ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_the_api_server_judges_them() {
        let long = "a".repeat(64);
        type Check = fn(&str) -> Vec<String>;
        let cases: [(Check, &str, bool); 22] = [
            (dns_label, "my-name", true),
            (dns_label, "my.name", false),
            (dns_label, "-a", false),
            (dns_label, "", false),
            (dns_label, &long, false),
            (dns_subdomain, "a.b-c.d", true),
            (dns_subdomain, "a..b", false),
            (dns_subdomain, "UPPER", false),
            (dns_1035_label, "9bad", false),
            (dns_1035_label, "good9", true),
            (path_segment, "system:admin", true),
            (path_segment, "a/b", false),
            (path_segment, "..", false),
            (qualified_name, "example.com/MyName", true),
            (qualified_name, "/MyName", false),
            (qualified_name, "a/b/c", false),
            (label_value, "", true),
            (label_value, "bad value!", false),
            (config_key, "tls.crt", true),
            (config_key, "..data", false),
            (port_name, "http-2", true),
            (port_name, "8080", false),
        ];
        for (check, name, valid) in cases {
            assert_eq!(check(name).is_empty(), valid, "{name}: {:?}", check(name));
        }
    }

    #[test]
    fn messages_carry_examples_and_pattern() {
        assert_eq!(
            label_value("bad value!"),
            [
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            ]
        );
        assert_eq!(
            dns_subdomain("UPPER"),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
    }
}
