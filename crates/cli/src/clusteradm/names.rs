//! Names on the command line, checked before any server is asked.

use anyhow::bail;
use hyades_schema::validate::names;

/// Checks the name of a cluster or namespace; `what` says whose it is.
///
/// # Errors
///
/// The rule that it breaks, and an example.
pub fn label(what: &str, name: &str) -> anyhow::Result<()> {
    conclude(what, name, names::dns_label(name))
}

/// Checks the name of any other object; `what` says whose it is.
///
/// # Errors
///
/// The rule that it breaks, and an example.
pub fn subdomain(what: &str, name: &str) -> anyhow::Result<()> {
    conclude(what, name, names::dns_subdomain(name))
}

/// Checks a label or annotation of the form KEY=VALUE; only values of labels are restricted.
///
/// # Errors
///
/// The rule that key or value break.
pub fn key(what: &str, key: &str) -> anyhow::Result<()> {
    conclude(what, key, names::qualified_name(key))
}

/// Checks the value of a label.
///
/// # Errors
///
/// The rule that it breaks.
pub fn label_value(what: &str, value: &str) -> anyhow::Result<()> {
    conclude(what, value, names::label_value(value))
}

fn conclude(what: &str, name: &str, broken: Vec<String>) -> anyhow::Result<()> {
    match broken.is_empty() {
        true => Ok(()),
        false => bail!("{what} {name:?} is not valid: {}", broken.join("; ")),
    }
}

/// The namespace and the name in a text of the form NAMESPACE/NAME.
///
/// # Errors
///
/// Another form, or parts that are no names.
pub fn pair<'a>(flag: &str, text: &'a str) -> anyhow::Result<(&'a str, &'a str)> {
    let Some((namespace, name)) = text.split_once('/') else {
        bail!("{flag} {text:?} is not of the form NAMESPACE/NAME, such as default/placement1");
    };
    label(&format!("the namespace in {flag}"), namespace)?;
    subdomain(&format!("the name in {flag}"), name)?;
    Ok((namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_with_the_rule_they_break() {
        let error = label("cluster name", "UPPER")
            .expect_err("refused")
            .to_string();
        assert!(
            error.starts_with("cluster name \"UPPER\" is not valid: a lowercase RFC 1123 label"),
            "{error}"
        );
        assert!(subdomain("set", "a.b").is_ok());
        assert!(label("cluster name", "a.b").is_err());
        assert!(key("label", "example.com/a").is_ok());
        assert!(key("label", "a/b/c").is_err());
        assert!(label_value("label", "no spaces").is_err());
        assert_eq!(
            pair("--placement", "default/p").expect("valid"),
            ("default", "p")
        );
        assert!(pair("--placement", "p").is_err());
        assert!(pair("--placement", "/p").is_err());
    }
}
