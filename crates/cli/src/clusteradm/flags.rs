//! Command lines as Go's tools read them: `--flag=false`, `--some_flag`, and their errors.

use super::names;
use anyhow::Context;
use clap::Arg;
use clap::ArgAction;
use clap::ArgMatches;
use clap::Command;
use clap::builder::BoolishValueParser;
use clap::error::ContextKind;
use clap::error::ContextValue;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use hyades_api::features::Family;
use hyades_api::features::FeatureGates;
use std::collections::BTreeSet;
use std::ffi::OsString;

/// Lets every switch take a value, as in `--wait=false`.
pub fn with_go_booleans(command: Command) -> Command {
    let boolean = |arg: Arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .value_name("BOOL")
            .value_parser(BoolishValueParser::new())
            .hide_default_value(true)
            .hide_possible_values(true),
        _ => arg,
    };
    command.mut_args(boolean).mut_subcommands(with_go_booleans)
}

/// Turns underscores in the names of flags into dashes; returns the names changed too.
pub fn normalise(arguments: Vec<OsString>) -> (Vec<OsString>, Vec<String>) {
    let mut changed = Vec::new();
    let mut options_end = false;
    let normalised = arguments.into_iter().map(|argument| {
        options_end |= argument == "--";
        let Some(text) = argument.to_str().filter(|_| !options_end) else {
            return argument;
        };
        let Some(body) = text.strip_prefix("--") else {
            return argument;
        };
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, format!("={value}")),
            None => (body, String::new()),
        };
        if !name.contains('_') {
            return argument;
        }
        changed.push(name.to_owned());
        format!("--{}{value}", name.replace('_', "-")).into()
    });
    (normalised.collect(), changed)
}

/// Names of the flags that the user set on the command line, in order of name. `matches` are
/// those of the innermost command; flags of all commands are among them.
pub fn set_flags(command: &Command, matches: &ArgMatches) -> Vec<String> {
    let mut names: Vec<String> = command
        .get_arguments()
        .filter(|arg| {
            let id = arg.get_id().as_str();
            matches.try_contains_id(id).unwrap_or(false)
                && matches.value_source(id) == Some(ValueSource::CommandLine)
        })
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// The message for a command line that cannot be read, in the words of Go's tools where they
/// have some. `path` is the command as typed, such as `clusteradm get`.
pub fn message(error: &clap::Error, path: &str) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let headline = match error.kind() {
        ErrorKind::InvalidSubcommand => context(ContextKind::InvalidSubcommand)
            .map(|name| format!("unknown command {name:?} for {path:?}")),
        ErrorKind::UnknownArgument => {
            context(ContextKind::InvalidArg).map(|flag| match flag.starts_with('-') {
                true => format!("unknown flag: {flag}"),
                false => format!("unexpected argument {flag:?} for {path:?}"),
            })
        }
        ErrorKind::MissingRequiredArgument => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::Strings(names)) => {
                Some(format!("missing {} for {path:?}", names.join(" ")))
            }
            _ => None,
        },
        _ => None,
    };
    let allowed = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            format!("; use {}", values.join(", "))
        }
        _ => String::new(),
    };
    let headline = headline.unwrap_or_else(|| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        format!("{}{allowed}", first.trim_start_matches("error: "))
    });
    format!("{headline}\nRun '{path} --help' for usage.")
}

/// Reads the arguments of one command from words, the first of which is the command.
///
/// # Errors
///
/// Words that cannot be read.
pub fn parse_args<A: clap::Args>(words: &[&str]) -> anyhow::Result<A> {
    let command = A::augment_args(Command::new("clusteradm"));
    let matches = command.try_get_matches_from(words)?;
    Ok(A::from_arg_matches(&matches)?)
}

/// Reads `--feature-gates`.
///
/// # Errors
///
/// A text that is no gate, a gate that there is not, or one that would have no effect.
pub fn parse_gates(families: &[Family], settings: &[String]) -> anyhow::Result<FeatureGates> {
    let settings = settings.iter().map(String::as_str);
    FeatureGates::parse(families, settings).context("read --feature-gates")
}

/// A flag of the form KEY=VALUE.
///
/// # Errors
///
/// A text without `=`, or without a key.
pub fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not of the form KEY=VALUE")),
    }
}

/// Checks labels given as KEY=VALUE.
///
/// # Errors
///
/// The rule that a key or value breaks.
pub fn check_labels(labels: &[(String, String)]) -> anyhow::Result<()> {
    for (key, value) in labels {
        names::key("label key", key)?;
        names::label_value("label value", value)?;
    }
    Ok(())
}

/// Checks annotations given as KEY=VALUE; their values are free.
///
/// # Errors
///
/// The rule that a key breaks.
pub fn check_annotations(annotations: &[(String, String)]) -> anyhow::Result<()> {
    for (key, _) in annotations {
        names::key("annotation key", key)?;
    }
    Ok(())
}

/// The flags `--cluster` and `--clusters`, which many commands have.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ClusterOption {
    /// Name of the cluster
    #[arg(short, long, default_value = "", hide_default_value = true)]
    cluster: String,
    /// Names of clusters, separated by commas
    #[arg(long, value_delimiter = ',')]
    clusters: Option<Vec<String>>,
}

impl ClusterOption {
    /// The clusters named; there must be some.
    ///
    /// # Errors
    ///
    /// None named, or a name that is none.
    pub fn required(&self) -> anyhow::Result<BTreeSet<String>> {
        let names = parse_name_list(&self.cluster, self.clusters.as_deref())?;
        check_names("cluster name", names)
    }

    /// The clusters named, perhaps none.
    ///
    /// # Errors
    ///
    /// An empty list, or a name that is none.
    pub fn optional(&self) -> anyhow::Result<BTreeSet<String>> {
        match (self.cluster.is_empty(), &self.clusters) {
            (true, None) => Ok(BTreeSet::new()),
            _ => self.required(),
        }
    }
}

/// The names in a list, each once and in order; `what` says whose they are.
///
/// # Errors
///
/// A name that is none.
pub fn split_names(what: &str, list: &[String]) -> anyhow::Result<BTreeSet<String>> {
    let names = list.iter().map(|name| name.trim().to_owned());
    check_names(what, names.filter(|name| !name.is_empty()).collect())
}

fn check_names(what: &str, list: BTreeSet<String>) -> anyhow::Result<BTreeSet<String>> {
    for name in &list {
        names::label(what, name)?;
    }
    Ok(list)
}

/// The clusters named by `--cluster` and `--clusters`.
///
/// # Errors
///
/// None named.
fn parse_name_list(one: &str, several: Option<&[String]>) -> anyhow::Result<BTreeSet<String>> {
    let is_empty = |names: &[String]| names.iter().all(|name| name.trim().is_empty());
    if several.is_some_and(is_empty) {
        anyhow::bail!("--clusters cannot be set as an empty value");
    }
    let names: BTreeSet<String> = several
        .unwrap_or_default()
        .iter()
        .map(String::as_str)
        .chain([one])
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        anyhow::bail!("either --cluster or --clusters needs to be set");
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn underscores_in_flag_names_become_dashes_and_values_stay() {
        let words = [
            "join",
            "--cluster_name=a_b",
            "--hub-token",
            "x_y",
            "--",
            "--a_b",
        ];
        let (normalised, changed) = normalise(arguments(&words));
        let expected = [
            "join",
            "--cluster-name=a_b",
            "--hub-token",
            "x_y",
            "--",
            "--a_b",
        ];
        assert_eq!(normalised, arguments(&expected));
        assert_eq!(changed, ["cluster_name"]);
    }

    #[test]
    fn switches_take_values() {
        let switch = Arg::new("wait").long("wait").action(ArgAction::SetTrue);
        let command = with_go_booleans(Command::new("x").arg(switch));
        for (words, expected) in [
            (&["x"][..], false),
            (&["x", "--wait"], true),
            (&["x", "--wait=false"], false),
            (&["x", "--wait=true"], true),
        ] {
            let matches = command.clone().try_get_matches_from(words).expect("valid");
            assert_eq!(matches.get_one("wait"), Some(&expected), "{words:?}");
        }
    }

    #[test]
    fn clusters_are_named_once_each() {
        let several = ["b".to_owned(), " a ".to_owned(), "b".to_owned()];
        let names = parse_name_list("c", Some(&several)).expect("named");
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
        let error = |one, several| parse_name_list(one, several).expect_err("none").to_string();
        let nothing = [String::new()];
        assert_eq!(
            error("", Some(&nothing)),
            "--clusters cannot be set as an empty value"
        );
        assert_eq!(
            error("", None),
            "either --cluster or --clusters needs to be set"
        );
    }

    #[test]
    fn pairs_have_a_key() {
        assert_eq!(parse_pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(parse_pair("=b").is_err());
        assert!(parse_pair("a").is_err());
    }
}
