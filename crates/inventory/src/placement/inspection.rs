//! What can be said about an expression before it runs: names that nobody declared, which would
//! fail on every WEC in silence, and how much work and memory it may take at worst.

use super::cel::Functions;
use super::cel::VALUE_DEPTH_MAX;
use kube_cel::cel::common::ast::CallExpr;
use kube_cel::cel::common::ast::EntryExpr;
use kube_cel::cel::common::ast::Expr;
use kube_cel::cel::common::ast::IdedEntryExpr;
use serde_json::Value;

/// How much longer `format` may make a text, in additions: a handful of its arguments.
const FORMAT_ADDITIONS: u32 = 8;

/// What bounds the work of an expression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// How many parts it has.
    parts: u64,
    /// How many loops it has. Each may work on what the last one made.
    loops: u32,
    /// How many loops run within one another.
    depth: u32,
    /// How many additions it has: of texts and lists, for all that can be known.
    additions: u32,
    /// How many calls may double a text.
    doublings: u32,
    /// How many calls may turn a list of lists into one.
    flattenings: u32,
    /// Whether it turns texts into lists.
    reads_texts: bool,
}

impl Bounds {
    /// By how much it may make texts and lists longer.
    pub(super) fn growth(&self) -> u64 {
        let added = u64::from(self.additions + 1).saturating_pow(self.loops + 1);
        added.saturating_mul(2_u64.saturating_pow(self.doublings))
    }

    /// An upper bound of the work on a WEC whose longest things are these.
    pub(super) fn cost(&self, longest: Longest) -> u64 {
        let texts = if self.reads_texts { longest.text } else { 0 };
        let longest = longest.list.max(texts).max(1);
        let made = longest
            .saturating_pow(1 + self.flattenings)
            .saturating_mul(self.growth());
        made.saturating_pow(self.depth).saturating_mul(self.parts)
    }
}

/// The longest things in an object that a loop can run over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Longest {
    /// Entries of a list or a map.
    list: u64,
    /// Entries of what could be made of a text.
    text: u64,
}

impl Longest {
    /// Of this object, and a list of so many scores.
    pub(super) fn of(object: &Value, scores: usize) -> Self {
        let mut longest = Self {
            list: scores as u64,
            text: 0,
        };
        longest.visit(object, 0);
        longest
    }

    fn visit(&mut self, value: &Value, depth: u32) {
        if depth > VALUE_DEPTH_MAX {
            return;
        }
        match value {
            Value::Array(items) => {
                self.list = self.list.max(items.len() as u64);
                items.iter().for_each(|item| self.visit(item, depth + 1));
            }
            Value::Object(fields) => {
                self.list = self.list.max(fields.len() as u64);
                fields
                    .values()
                    .for_each(|field| self.visit(field, depth + 1));
            }
            Value::String(text) => self.text = self.text.max(text.len() as u64),
            _ => {}
        }
    }
}

/// A walk over an expression.
pub(super) struct Inspection<'a> {
    functions: &'a Functions,
    scope: Vec<String>,
    depth: u32,
    /// What was found.
    pub(super) bounds: Bounds,
}

impl<'a> Inspection<'a> {
    /// A walk that knows these functions and this variable.
    pub(super) fn new(functions: &'a Functions, variable: &str) -> Self {
        Self {
            functions,
            scope: vec![variable.to_owned()],
            depth: 0,
            bounds: Bounds::default(),
        }
    }

    /// Walks; the error names what nobody declared.
    pub(super) fn visit(&mut self, expression: &Expr) -> Result<(), String> {
        self.bounds.parts += 1;
        match expression {
            Expr::Ident(name) if !self.scope.contains(name) => {
                Err(format!("undeclared reference to '{name}'"))
            }
            Expr::Select(select) => self.visit(&select.operand.expr),
            Expr::Call(call) => self.visit_call(call),
            Expr::Comprehension(comprehension) => {
                self.visit(&comprehension.iter_range.expr)?;
                self.visit(&comprehension.accu_init.expr)?;
                self.depth += 1;
                self.bounds.loops += 1;
                self.bounds.depth = self.bounds.depth.max(self.depth);
                let outside = self.scope.len();
                self.scope.push(comprehension.accu_var.clone());
                self.scope.push(comprehension.iter_var.clone());
                self.scope.extend(comprehension.iter_var2.clone());
                self.visit(&comprehension.loop_cond.expr)?;
                self.visit_step(&comprehension.loop_step.expr, &comprehension.accu_var)?;
                self.visit(&comprehension.result.expr)?;
                self.scope.truncate(outside);
                self.depth -= 1;
                Ok(())
            }
            Expr::List(list) => list
                .elements
                .iter()
                .try_for_each(|element| self.visit(&element.expr)),
            Expr::Map(map) => map
                .entries
                .iter()
                .try_for_each(|entry| self.visit_entry(entry)),
            Expr::Struct(structure) => structure
                .entries
                .iter()
                .try_for_each(|entry| self.visit_entry(entry)),
            _ => Ok(()),
        }
    }

    /// A step of a loop; the addition with which `map` and `filter` gather their list is not one
    /// that the author wrote.
    fn visit_step(&mut self, step: &Expr, gathered: &str) -> Result<(), String> {
        let before = self.bounds.additions;
        let gathers = |call: &CallExpr| {
            let first = call.args.first().map(|argument| &argument.expr);
            call.func_name == "_+_" && matches!(first, Some(Expr::Ident(name)) if name == gathered)
        };
        let own = match step {
            Expr::Call(call) if gathers(call) => true,
            Expr::Call(call) => call
                .args
                .iter()
                .any(|argument| matches!(&argument.expr, Expr::Call(call) if gathers(call))),
            _ => false,
        };
        self.visit(step)?;
        if own {
            self.bounds.additions = self.bounds.additions.saturating_sub(1).max(before);
        }
        Ok(())
    }

    fn visit_call(&mut self, call: &CallExpr) -> Result<(), String> {
        let name = call.func_name.as_str();
        let owner = call.target.as_ref().and_then(|target| path(&target.expr));
        let qualified = owner.map(|owner| format!("{owner}.{name}"));
        let namespaced = qualified.is_some_and(|name| self.functions.know(&name));
        if let Some(target) = call.target.as_ref().filter(|_| !namespaced) {
            self.visit(&target.expr)?;
        }
        let operator = !name.starts_with(|first: char| first.is_ascii_alphabetic());
        if !namespaced && !operator && !self.functions.know(name) {
            return Err(format!("undeclared reference to '{name}'"));
        }
        match name {
            "_+_" => self.bounds.additions += 1,
            "format" => self.bounds.additions += FORMAT_ADDITIONS,
            "quote" | "encode" => self.bounds.doublings += 1,
            "flatten" => self.bounds.flattenings += 1,
            "parseJSON" | "split" | "findAll" => self.bounds.reads_texts = true,
            _ => {}
        }
        call.args
            .iter()
            .try_for_each(|argument| self.visit(&argument.expr))
    }

    fn visit_entry(&mut self, entry: &IdedEntryExpr) -> Result<(), String> {
        match &entry.expr {
            EntryExpr::StructField(field) => self.visit(&field.value.expr),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key.expr)?;
                self.visit(&entry.value.expr)
            }
        }
    }
}

/// A chain of names, such as the `a.b` in `a.b.f()`.
fn path(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => {
            Some(format!("{}.{}", path(&select.operand.expr)?, select.field))
        }
        _ => None,
    }
}
