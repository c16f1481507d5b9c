//! Checking a parsed expression and rewriting it for the engine.
//!
//! What the engine lacks or gets wrong is put right here: a selection from something that is no map
//! must fail and not be false, `cel.bind` and object initialisers must work, and every loop must
//! count its turns.

use kube_cel::cel::ExecutionError;
use kube_cel::cel::Value;
use kube_cel::cel::common::ast::CallExpr;
use kube_cel::cel::common::ast::ComprehensionExpr;
use kube_cel::cel::common::ast::EntryExpr;
use kube_cel::cel::common::ast::Expr;
use kube_cel::cel::common::ast::IdedEntryExpr;
use kube_cel::cel::common::ast::ListExpr;
use kube_cel::cel::common::ast::LiteralValue;
use kube_cel::cel::common::ast::MapEntryExpr;
use kube_cel::cel::common::ast::MapExpr;
use kube_cel::cel::common::ast::SelectExpr;
use kube_cel::cel::common::ast::StructExpr;
use kube_cel::cel::common::ast::operators;
use kube_cel::cel::common::types::CelBool;
use kube_cel::cel::common::types::CelString;
use kube_cel::cel::parser::Expression as Tree;

use super::CompileError;
use super::DEPTH_MAX;
use super::Declarations;
use super::scope::ADD;
use super::scope::COMPOSITED;
use super::scope::FUNCTIONS;
use super::scope::HAS_CONDITIONS;
use super::scope::TICK;

/// The variable whose fields are composited variables.
const VARIABLES: &str = "variables";

/// The variable that answers questions about rights, and its field that is one already.
const AUTHORIZER: &str = "authorizer";
const REQUEST_RESOURCE: &str = "requestResource";

/// The types that mutations build.
const OBJECT: &str = "Object";
const JSON_PATCH: &str = "JSONPatch";

/// Rewrites one expression.
pub(super) struct Builder<'a> {
    declared: &'a Declarations<'a>,
    /// Names that loops and `cel.bind` bind around the present place.
    bound: Vec<String>,
    depth: usize,
}

type Built<T = Tree> = Result<T, CompileError>;

fn undeclared<T>(name: &str) -> Built<T> {
    Err(CompileError(format!(
        "undeclared reference to '{name}' (in container '')"
    )))
}

fn tree(expr: Expr) -> Tree {
    Tree { id: 0, expr }
}

fn call(name: &str, args: Vec<Tree>) -> Tree {
    tree(Expr::Call(CallExpr {
        func_name: name.to_owned(),
        target: None,
        args,
    }))
}

fn literal(text: &str) -> Tree {
    tree(Expr::Literal(LiteralValue::String(CelString::from(text))))
}

fn truth(value: bool) -> Tree {
    tree(Expr::Literal(LiteralValue::Boolean(CelBool::from(value))))
}

/// A call that makes a timestamp of a text.
pub(super) fn timestamp(text: &str) -> Tree {
    call("timestamp", vec![literal(text)])
}

/// Whether a function of this name exists: calling it without arguments fails in another way than
/// calling one that does not exist.
fn is_function(name: &str) -> bool {
    let probe = call(name, Vec::new());
    match Value::resolve(&probe, &FUNCTIONS) {
        Err(ExecutionError::UndeclaredReference(unknown)) => *unknown != name,
        _ => true,
    }
}

/// Operators have names that no function can have.
fn is_operator(name: &str) -> bool {
    !name.starts_with(|letter: char| letter.is_ascii_alphabetic())
}

impl<'a> Builder<'a> {
    pub(super) fn new(declared: &'a Declarations<'a>) -> Self {
        Self {
            declared,
            bound: Vec::new(),
            depth: 0,
        }
    }

    pub(super) fn build(&mut self, parsed: Tree) -> Built {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(CompileError(too_deep()));
        }
        let built = match parsed.expr {
            Expr::Ident(name) => self.ident(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(*comprehension),
            Expr::List(list) => Ok(tree(Expr::List(ListExpr {
                elements: self.all(list.elements)?,
                optional_indices: list.optional_indices,
            }))),
            Expr::Map(map) => self.entries(map.entries),
            Expr::Struct(structure) => self.structure(structure),
            Expr::Literal(_) => Ok(tree(parsed.expr)),
            Expr::Unspecified => Err(CompileError("the expression is empty".to_owned())),
        };
        self.depth -= 1;
        built
    }

    fn all(&mut self, trees: Vec<Tree>) -> Built<Vec<Tree>> {
        trees.into_iter().map(|tree| self.build(tree)).collect()
    }

    fn knows(&self, name: &str) -> bool {
        self.bound.iter().any(|bound| bound == name) || self.declared.names.contains(&name)
    }

    fn ident(&mut self, name: String) -> Built {
        if self.knows(&name) {
            Ok(tree(Expr::Ident(name)))
        } else {
            undeclared(&name)
        }
    }

    fn select(&mut self, select: SelectExpr) -> Built {
        let SelectExpr {
            operand,
            field,
            test,
        } = select;
        if let Expr::Ident(name) = &operand.expr
            && !self.bound.contains(name)
        {
            if name == VARIABLES {
                return if !self.declared.variables.contains(&field) {
                    Err(CompileError(format!("undefined field '{field}'")))
                } else if test {
                    Ok(truth(true))
                } else {
                    Ok(tree(Expr::Ident(format!("{COMPOSITED}{field}"))))
                };
            }
            if name == AUTHORIZER && field == REQUEST_RESOURCE {
                let full = format!("{AUTHORIZER}.{REQUEST_RESOURCE}");
                return self.ident(full);
            }
        }
        let operand = self.build(*operand)?;
        // The engine copies what it selects from, and takes a selection from a value that is no map
        // for false; indexing borrows, and fails.
        Ok(if test {
            tree(Expr::Select(SelectExpr {
                operand: Box::new(operand),
                field,
                test,
            }))
        } else {
            call(operators::INDEX, vec![operand, literal(&field)])
        })
    }

    fn call(&mut self, parsed: CallExpr) -> Built {
        let CallExpr {
            func_name,
            target,
            args,
        } = parsed;
        if is_operator(&func_name) {
            // The engine fails on an absent field where an optional selection must be empty.
            let name = match func_name.as_str() {
                operators::OPT_SELECT => operators::OPT_INDEX,
                operators::ADD => ADD,
                other => other,
            };
            return Ok(call(name, self.all(args)?));
        }
        if func_name == "hasConditions" && target.is_none() && self.declared.has_conditions {
            return Ok(call(HAS_CONDITIONS, self.all(args)?));
        }
        let target = match target {
            None => None,
            Some(target) => {
                if let Expr::Ident(space) = &target.expr
                    && !self.knows(space)
                {
                    return self.qualified(space, &func_name, args);
                }
                Some(Box::new(self.build(*target)?))
            }
        };
        if !is_function(&func_name) {
            return undeclared(&func_name);
        }
        Ok(tree(Expr::Call(CallExpr {
            func_name,
            target,
            args: self.all(args)?,
        })))
    }

    /// A call such as `math.greatest(…)`.
    fn qualified(&mut self, space: &str, name: &str, args: Vec<Tree>) -> Built {
        if (space, name) == ("cel", "bind") {
            return self.bind(args);
        }
        let full = format!("{space}.{name}");
        if !is_function(&full) {
            return undeclared(space);
        }
        Ok(call(&full, self.all(args)?))
    }

    /// `cel.bind(name, value, result)` is a loop over nothing whose accumulator is the name.
    fn bind(&mut self, args: Vec<Tree>) -> Built {
        let Ok([name, value, result]) = <[Tree; 3]>::try_from(args) else {
            return undeclared("bind");
        };
        let Expr::Ident(name) = name.expr else {
            let why = "cel.bind() variable names must be simple identifiers";
            return Err(CompileError(why.to_owned()));
        };
        let value = self.build(value)?;
        self.bound.push(name.clone());
        let result = self.build(result)?;
        self.bound.pop();
        Ok(tree(Expr::Comprehension(Box::new(ComprehensionExpr {
            iter_range: tree(Expr::List(ListExpr::new(Vec::new()))),
            iter_var: "#unused".to_owned(),
            iter_var2: None,
            accu_var: name.clone(),
            accu_init: value,
            loop_cond: truth(false),
            loop_step: tree(Expr::Ident(name)),
            result,
        }))))
    }

    fn comprehension(&mut self, parsed: ComprehensionExpr) -> Built {
        let iter_range = self.build(parsed.iter_range)?;
        let accu_init = self.build(parsed.accu_init)?;
        let outside = self.bound.len();
        self.bound.push(parsed.accu_var.clone());
        let result = self.build(parsed.result)?;
        self.bound.push(parsed.iter_var.clone());
        let loop_cond = self.build(parsed.loop_cond)?;
        let loop_step = self.build(parsed.loop_step)?;
        self.bound.truncate(outside);
        let accumulated = tree(Expr::Ident(parsed.accu_var.clone()));
        let counted = vec![loop_cond, call(TICK, vec![accumulated])];
        Ok(tree(Expr::Comprehension(Box::new(ComprehensionExpr {
            iter_range,
            iter_var: parsed.iter_var,
            iter_var2: parsed.iter_var2,
            accu_var: parsed.accu_var,
            accu_init,
            loop_cond: call(operators::LOGICAL_AND, counted),
            loop_step,
            result,
        }))))
    }

    fn entries(&mut self, entries: Vec<IdedEntryExpr>) -> Built {
        let mut built = Vec::with_capacity(entries.len());
        for entry in entries {
            let (key, value, optional) = match entry.expr {
                EntryExpr::MapEntry(entry) => (self.build(entry.key)?, entry.value, entry.optional),
                EntryExpr::StructField(field) => {
                    (literal(&field.field), field.value, field.optional)
                }
            };
            built.push(IdedEntryExpr {
                id: entry.id,
                expr: EntryExpr::MapEntry(MapEntryExpr {
                    key,
                    value: self.build(value)?,
                    optional,
                }),
            });
        }
        Ok(tree(Expr::Map(MapExpr { entries: built })))
    }

    /// An object initialiser is a map whose keys are the field names.
    fn structure(&mut self, parsed: StructExpr) -> Built {
        let name = parsed.type_name.as_str();
        let is_object = name == OBJECT || name.starts_with("Object.");
        if !self.declared.initialisers || !(is_object || name == JSON_PATCH) {
            return undeclared(name);
        }
        for entry in &parsed.entries {
            let EntryExpr::StructField(field) = &entry.expr else {
                continue;
            };
            if is_object {
                fits(&field.value, &format!("{name}.{}", field.field))?;
            } else if !["op", "path", "from", "value"].contains(&field.field.as_str()) {
                return Err(CompileError(format!("undefined field '{}'", field.field)));
            }
        }
        self.entries(parsed.entries)
    }
}

/// Whether the initialisers that make up a field's value are of the field's type.
fn fits(value: &Tree, wanted: &str) -> Built<()> {
    match &value.expr {
        Expr::Struct(structure) if structure.type_name != wanted => Err(CompileError(format!(
            "type mismatch: unexpected type name \"{}\", expected \"{wanted}\", which matches \
             field name path from root Object type",
            structure.type_name
        ))),
        Expr::List(list) => list.elements.iter().try_for_each(|item| fits(item, wanted)),
        _ => Ok(()),
    }
}

fn too_deep() -> String {
    format!("the expression nests deeper than {DEPTH_MAX} levels; split it")
}

/// Why the engine must not evaluate a parsed tree as it is.
pub(super) fn hazard(parsed: &Tree) -> Option<String> {
    fn below(parsed: &Tree, depth: usize) -> Option<String> {
        if depth > DEPTH_MAX {
            return Some(too_deep());
        }
        if let Expr::Call(call) = &parsed.expr
            && call.func_name == "range"
        {
            // Where no budget counts, a list of any length would be made.
            return Some("undeclared reference to 'range' (in container '')".to_owned());
        }
        if let Expr::Struct(structure) = &parsed.expr {
            let name = &structure.type_name;
            return Some(format!(
                "undeclared reference to '{name}' (in container '')"
            ));
        }
        let mut children = children(&parsed.expr).into_iter();
        children.find_map(|child| below(child, depth + 1))
    }
    below(parsed, 1)
}

/// The composited variables a built tree uses, each once.
pub(super) fn composited(built: &Tree) -> Vec<String> {
    let mut names = Vec::new();
    collect(built, &mut names);
    names.sort();
    names.dedup();
    names
}

fn collect(built: &Tree, names: &mut Vec<String>) {
    if let Expr::Ident(name) = &built.expr
        && let Some(name) = name.strip_prefix(COMPOSITED)
    {
        names.push(name.to_owned());
    }
    for child in children(&built.expr) {
        collect(child, names);
    }
}

/// What a node is made of.
pub(super) fn children(expr: &Expr) -> Vec<&Tree> {
    match expr {
        Expr::Call(call) => call
            .target
            .as_deref()
            .into_iter()
            .chain(&call.args)
            .collect(),
        Expr::Comprehension(comprehension) => vec![
            &comprehension.iter_range,
            &comprehension.accu_init,
            &comprehension.loop_cond,
            &comprehension.loop_step,
            &comprehension.result,
        ],
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(entry_children).collect(),
        Expr::Struct(structure) => structure.entries.iter().flat_map(entry_children).collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => Vec::new(),
    }
}

fn entry_children(entry: &IdedEntryExpr) -> Vec<&Tree> {
    match &entry.expr {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(map) => vec![&map.key, &map.value],
    }
}
