//! How lists are shown: as a tree (upstream's own drawing), as a table, as YAML or JSON.

use super::kinds::Kind;
use super::session::Session;
use crate::console::one_line;
use serde_json::Value;
use serde_json::json;

/// How a list is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// One branch an object.
    #[default]
    Tree,
    /// One line an object.
    Table,
    /// The objects themselves, in YAML.
    Yaml,
    /// The objects themselves, in JSON.
    Json,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "tree" => Ok(Self::Tree),
            "table" => Ok(Self::Table),
            "yaml" => Ok(Self::Yaml),
            "json" => Ok(Self::Json),
            _ => Err("invalid output format; use tree, table, yaml or json".to_owned()),
        }
    }
}

/// The flag that chooses.
#[derive(Debug, Clone, clap::Args)]
pub struct FormatFlag {
    /// tree, table, yaml or json
    #[arg(short, long, value_name = "FORMAT", default_value = "tree")]
    pub output: Format,
}

/// A node of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    label: String,
    value: String,
    children: Vec<Node>,
}

impl Node {
    /// A node with nothing below it.
    pub fn leaf(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            value: value.into(),
            children: Vec::new(),
        }
    }

    /// A node with others below it.
    pub fn branch(label: impl Into<String>, children: Vec<Node>) -> Self {
        Self {
            label: label.into(),
            value: String::new(),
            children,
        }
    }

    /// Draws the tree. Upstream draws the elbow of a line by whether the node *above* is the last
    /// of its siblings, and so do we: scripts read it.
    fn draw(&self) -> String {
        let mut text = format!("<{}> {}\n", one_line(&self.label), one_line(&self.value));
        draw_below(&self.children, "", true, &mut text);
        text
    }
}

fn draw_below(children: &[Node], indent: &str, parent_is_last: bool, text: &mut String) {
    let elbow = if parent_is_last {
        "└──"
    } else {
        "├──"
    };
    for (index, child) in children.iter().enumerate() {
        text.push_str(&format!(
            "{indent}{elbow} <{}> {}\n",
            one_line(&child.label),
            one_line(&child.value)
        ));
        let is_last = index + 1 == children.len();
        let indent = format!("{indent}{}", if is_last { "    " } else { "│   " });
        draw_below(&child.children, &indent, is_last, text);
    }
}

/// A list in every form it can be shown in.
#[derive(Debug)]
pub struct Listing {
    /// The label of the tree's root.
    pub root: &'static str,
    /// One branch an object.
    pub branches: Vec<Node>,
    /// The heads of the table.
    pub columns: &'static [&'static str],
    /// One row an object.
    pub rows: Vec<Vec<String>>,
    /// The kind of the objects.
    pub kind: Kind,
    /// The objects.
    pub items: Vec<Value>,
}

impl Listing {
    /// Shows the list.
    ///
    /// # Errors
    ///
    /// Those of writing YAML.
    pub fn show(self, session: &Session, format: Format) -> anyhow::Result<()> {
        session.console.text(&self.render(format)?);
        Ok(())
    }

    fn render(self, format: Format) -> anyhow::Result<String> {
        Ok(match format {
            Format::Tree => Node::branch(self.root, self.branches).draw(),
            Format::Table => table(self.columns, &self.rows),
            Format::Yaml => serde_saphyr::to_string(&self.list())?,
            Format::Json => format!("{:#}\n", self.list()),
        })
    }

    fn list(self) -> Value {
        json!({
            "apiVersion": self.kind.api_version(),
            "items": self.items,
            "kind": format!("{}List", self.kind.name()),
            "metadata": {},
        })
    }
}

/// Space between two columns, as in kubectl's tables.
const GAP: usize = 3;

/// A table as kubectl prints one: heads in capitals, three spaces between columns.
pub fn table(columns: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = columns.iter().map(|name| name.to_uppercase()).collect();
    let lines = || std::iter::once(&head).chain(rows);
    let width = |column: usize| {
        let cells = lines().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut text = String::new();
    for line in lines() {
        for (column, cell) in line.iter().enumerate() {
            let cell = one_line(cell);
            match column + 1 == line.len() {
                true => text.push_str(&cell),
                false => text.push_str(&format!("{cell:<0$}", width(column) + GAP)),
            }
        }
        text.push('\n');
    }
    text
}

/// Names as Go prints a slice of them, which scripts read: `[a b]`.
pub fn go_slice<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    format!("[{}]", names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::super::kinds::MANAGED_CLUSTER;
    use super::*;

    #[test]
    fn what_an_agent_wrote_cannot_command_the_terminal() {
        let rows = [vec!["c1".to_owned(), "\u{1b}[2Jv1".to_owned()]];
        assert_eq!(table(&["a", "b"], &rows), "A    B\nc1    [2Jv1\n");
        let tree = Node::branch("a", vec![Node::leaf("b", "\u{1b}[2J\nv1")]);
        assert_eq!(tree.draw(), "<a> \n└── <b>  [2J v1\n");
    }

    fn listing() -> Listing {
        let fields = |children| {
            vec![
                Node::leaf("Accepted", "true"),
                Node::branch("Capacity", children),
            ]
        };
        let capacity = vec![Node::leaf("Memory", ""), Node::leaf("Cpu", "2")];
        Listing {
            root: "ManagedCluster",
            branches: vec![
                Node::branch("a", fields(capacity.clone())),
                Node::branch("b", fields(capacity)),
            ],
            columns: &["Name", "CPU"],
            rows: vec![
                vec!["cluster1".to_owned(), "2".to_owned()],
                vec!["c".to_owned(), String::new()],
            ],
            kind: MANAGED_CLUSTER,
            items: vec![json!({"metadata": {"name": "a"}})],
        }
    }

    #[test]
    fn a_tree_is_drawn_as_upstream_draws_it() {
        expect_test::expect![[r#"
            <ManagedCluster> 
            └── <a> 
            │   ├── <Accepted> true
            │   ├── <Capacity> 
            │       └── <Memory> 
            │       └── <Cpu> 2
            └── <b> 
                └── <Accepted> true
                └── <Capacity> 
                    └── <Memory> 
                    └── <Cpu> 2
        "#]]
        .assert_eq(&listing().render(Format::Tree).expect("drawn"));
    }

    #[test]
    fn a_table_is_aligned_as_kubectl_aligns_it() {
        expect_test::expect![[r#"
            NAME       CPU
            cluster1   2
            c          
        "#]]
        .assert_eq(&listing().render(Format::Table).expect("written"));
    }

    #[test]
    fn objects_are_shown_as_a_typed_list() {
        let yaml = listing().render(Format::Yaml).expect("written");
        assert!(yaml.contains("kind: ManagedClusterList\n"), "{yaml}");
        let json = listing().render(Format::Json).expect("written");
        let json: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["items"][0]["metadata"]["name"], "a");
    }

    #[test]
    fn a_format_that_does_not_exist_is_answered_with_those_that_do() {
        let error = "wide".parse::<Format>().expect_err("none");
        assert_eq!(
            error,
            "invalid output format; use tree, table, yaml or json"
        );
        assert_eq!(go_slice(["a", "b"]), "[a b]");
        assert_eq!(go_slice([]), "[]");
    }
}
