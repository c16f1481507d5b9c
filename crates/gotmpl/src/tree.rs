//! A parsed template. Nodes print as Go's do, because errors show them.

use std::fmt;

use crate::literal::Number;

pub(crate) type List = Vec<Node>;

/// Something errors can point at.
pub(crate) trait Located: fmt::Display {
    /// Byte offset in the template's text.
    fn position(&self) -> usize;
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) position: usize,
    pub(crate) kind: NodeKind,
}

#[derive(Debug, Clone)]
pub(crate) enum NodeKind {
    Text(String),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template(Call),
    Break,
    Continue,
}

/// What `if`, `with` and `range` have in common.
#[derive(Debug, Clone)]
pub(crate) struct Branch {
    pub(crate) pipe: Pipe,
    pub(crate) list: List,
    pub(crate) otherwise: Option<List>,
}

/// `{{template "name" pipe}}`.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) pipe: Option<Pipe>,
}

#[derive(Debug, Clone)]
pub(crate) struct Pipe {
    pub(crate) position: usize,
    /// Whether the variables are assigned rather than declared.
    pub(crate) assigns: bool,
    pub(crate) variables: Vec<String>,
    pub(crate) commands: Vec<Command>,
}

/// A function or operand with its arguments; never empty.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) position: usize,
    pub(crate) arguments: Vec<Operand>,
}

#[derive(Debug, Clone)]
pub(crate) struct Operand {
    pub(crate) position: usize,
    pub(crate) kind: OperandKind,
}

#[derive(Debug, Clone)]
pub(crate) enum OperandKind {
    Dot,
    Nil,
    Bool(bool),
    Number(String, Number),
    /// As written, and its value.
    Text(String, String),
    Identifier(String),
    Field(Vec<String>),
    /// The first name has its `$`.
    Variable(Vec<String>),
    Chain(Box<Operand>, Vec<String>),
    Pipe(Box<Pipe>),
}

impl Located for Node {
    fn position(&self) -> usize {
        self.position
    }
}

impl Located for Pipe {
    fn position(&self) -> usize {
        self.position
    }
}

impl Located for Command {
    fn position(&self) -> usize {
        self.position
    }
}

impl Located for Operand {
    fn position(&self) -> usize {
        self.position
    }
}

fn write_list(out: &mut fmt::Formatter<'_>, list: &List) -> fmt::Result {
    list.iter().try_for_each(|node| write!(out, "{node}"))
}

fn write_branch(out: &mut fmt::Formatter<'_>, word: &str, branch: &Branch) -> fmt::Result {
    write!(out, "{{{{{word} {}}}}}", branch.pipe)?;
    write_list(out, &branch.list)?;
    if let Some(otherwise) = &branch.otherwise {
        write!(out, "{{{{else}}}}")?;
        write_list(out, otherwise)?;
    }
    write!(out, "{{{{end}}}}")
}

impl fmt::Display for Node {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            NodeKind::Text(text) => out.write_str(text),
            NodeKind::Action(pipe) => write!(out, "{{{{{pipe}}}}}"),
            NodeKind::If(branch) => write_branch(out, "if", branch),
            NodeKind::With(branch) => write_branch(out, "with", branch),
            NodeKind::Range(branch) => write_branch(out, "range", branch),
            NodeKind::Template(Call { name, pipe }) => {
                write!(out, "{{{{template {}", crate::quote::quote(name))?;
                if let Some(pipe) = pipe {
                    write!(out, " {pipe}")?;
                }
                write!(out, "}}}}")
            }
            NodeKind::Break => write!(out, "{{{{break}}}}"),
            NodeKind::Continue => write!(out, "{{{{continue}}}}"),
        }
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.assigns { "=" } else { ":=" };
            write!(out, "{} {sign} ", self.variables.join(", "))?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            if index > 0 {
                write!(out, " | ")?;
            }
            write!(out, "{command}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, argument) in self.arguments.iter().enumerate() {
            if index > 0 {
                write!(out, " ")?;
            }
            write!(out, "{argument}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OperandKind::Dot => out.write_str("."),
            OperandKind::Nil => out.write_str("nil"),
            OperandKind::Bool(value) => write!(out, "{value}"),
            OperandKind::Number(written, _) | OperandKind::Text(written, _) => {
                out.write_str(written)
            }
            OperandKind::Identifier(name) => out.write_str(name),
            OperandKind::Field(names) => names.iter().try_for_each(|name| write!(out, ".{name}")),
            OperandKind::Variable(names) => out.write_str(&names.join(".")),
            OperandKind::Chain(operand, names) => {
                write!(out, "{operand}")?;
                names.iter().try_for_each(|name| write!(out, ".{name}"))
            }
            OperandKind::Pipe(pipe) => write!(out, "({pipe})"),
        }
    }
}
