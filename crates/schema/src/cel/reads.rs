//! Which fields an expression can read, and their conversion into CEL values.
//!
//! Converting a whole object costs more than evaluating most expressions, above all because of its
//! `managedFields`, so only what a policy names is converted.

use std::collections::BTreeMap;
use std::collections::HashMap;

use kube_cel::cel::common::ast::Expr;
use kube_cel::cel::common::ast::LiteralValue;
use kube_cel::cel::common::ast::operators;
use kube_cel::cel::common::types::CelBool;
use kube_cel::cel::common::types::CelDouble;
use kube_cel::cel::common::types::CelInt;
use kube_cel::cel::common::types::CelList;
use kube_cel::cel::common::types::CelMap;
use kube_cel::cel::common::types::CelMapKey;
use kube_cel::cel::common::types::CelNull;
use kube_cel::cel::common::types::CelString;
use kube_cel::cel::common::types::CelUInt;
use kube_cel::cel::common::value::Val;
use kube_cel::cel::parser::Expression as Tree;
use serde_json::Value as Json;

use super::tree::children;

/// The part of a value that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Projection {
    /// Everything.
    Whole,
    /// These fields, and of each a part.
    Fields(BTreeMap<String, Projection>),
}

/// The part of each variable that is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads(BTreeMap<String, Projection>);

impl Reads {
    /// What a tree reads. Names bound inside the expression count too: that only reads too much.
    pub(super) fn of(tree: &Tree) -> Reads {
        let mut reads = Reads::default();
        reads.visit(tree);
        reads
    }

    /// What is read of a variable; `None` when it is not read at all.
    pub fn of_variable(&self, name: &str) -> Option<&Projection> {
        self.0.get(name)
    }

    /// Adds what another expression reads.
    pub fn merge(&mut self, other: &Reads) {
        for (name, projection) in &other.0 {
            match self.0.get_mut(name) {
                Some(present) => present.merge(projection),
                None => {
                    self.0.insert(name.clone(), projection.clone());
                }
            }
        }
    }

    fn visit(&mut self, tree: &Tree) {
        match chain(tree) {
            Some((name, path)) => self.add(name, &path),
            None => {
                for child in children(&tree.expr) {
                    self.visit(child);
                }
            }
        }
    }

    fn add(&mut self, name: &str, path: &[&str]) {
        let whole = path.iter().rev().fold(Projection::Whole, |below, field| {
            Projection::Fields(BTreeMap::from([((*field).to_owned(), below)]))
        });
        self.merge(&Reads(BTreeMap::from([(name.to_owned(), whole)])));
    }
}

impl Projection {
    fn merge(&mut self, other: &Projection) {
        match (&mut *self, other) {
            (Projection::Whole, _) => {}
            (_, Projection::Whole) => *self = Projection::Whole,
            (Projection::Fields(mine), Projection::Fields(theirs)) => {
                for (field, projection) in theirs {
                    match mine.get_mut(field) {
                        Some(present) => present.merge(projection),
                        None => {
                            mine.insert(field.clone(), projection.clone());
                        }
                    }
                }
            }
        }
    }
}

/// A variable and the fields selected from it, one below the other.
fn chain(tree: &Tree) -> Option<(&str, Vec<&str>)> {
    let (operand, field) = match &tree.expr {
        Expr::Ident(name) => return Some((name, Vec::new())),
        Expr::Select(select) => (&*select.operand, select.field.as_str()),
        Expr::Call(call) => {
            let [operand, index] = call.args.as_slice() else {
                return None;
            };
            let selects = matches!(
                call.func_name.as_str(),
                operators::INDEX | operators::OPT_INDEX
            );
            match &index.expr {
                Expr::Literal(LiteralValue::String(field)) if selects => (operand, field.inner()),
                _ => return None,
            }
        }
        _ => return None,
    };
    let (name, mut path) = chain(operand)?;
    path.push(field);
    Some((name, path))
}

/// The projected part of a JSON value as a CEL value.
pub(super) fn to_cel(value: &Json, projection: &Projection) -> Box<dyn Val> {
    match value {
        Json::Null => Box::new(CelNull),
        Json::Bool(value) => Box::new(CelBool::from(*value)),
        Json::Number(number) => {
            if let Some(value) = number.as_i64() {
                Box::new(CelInt::from(value))
            } else if let Some(value) = number.as_u64() {
                Box::new(CelUInt::from(value))
            } else {
                Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN)))
            }
        }
        Json::String(text) => Box::new(CelString::from(text.as_str())),
        Json::Array(items) => {
            let items = items.iter().map(|item| to_cel(item, &Projection::Whole));
            Box::new(CelList::from(items.collect::<Vec<_>>()))
        }
        Json::Object(fields) => {
            let key = |name: &str| CelMapKey::from(name);
            let map: HashMap<CelMapKey, Box<dyn Val>> = match projection {
                Projection::Whole => fields
                    .iter()
                    .map(|(name, value)| (key(name), to_cel(value, projection)))
                    .collect(),
                Projection::Fields(wanted) => wanted
                    .iter()
                    .filter_map(|(name, below)| {
                        let value = fields.get(name)?;
                        Some((key(name), to_cel(value, below)))
                    })
                    .collect(),
            };
            Box::new(CelMap::from(map))
        }
    }
}
