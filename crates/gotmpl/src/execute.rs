//! A tree and data to text, as Go's executor of templates does it, within limits.

mod evaluate;

use crate::BYTES_PER_STEP;
use crate::ExecuteError;
use crate::MAX_EXECUTION_DEPTH;
use crate::MAX_OUTPUT_BYTES;
use crate::MAX_STEPS;
use crate::Place;
use crate::Template;
use crate::print;
use crate::tree::Branch;
use crate::tree::Call;
use crate::tree::List;
use crate::tree::Located;
use crate::tree::Node;
use crate::tree::NodeKind;
use crate::tree::Pipe;
use crate::value::Found;
use crate::value::Item;
use crate::value::Text;
use crate::value::sorted;

/// Bytes of a node or a detail that an error shows, at most: errors end up in objects' status.
const MAX_SHOWN_BYTES: usize = 1024;

type Done<T> = Result<T, ExecuteError>;

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

struct State<'a> {
    template: &'a Template,
    /// The template being executed, perhaps one that [`State::template`] defines.
    executing: &'a str,
    variables: Vec<(&'a str, Found<'a>)>,
    output: String,
    /// What is being evaluated.
    node: Option<&'a dyn Located>,
    /// How many more steps may be taken.
    steps: &'a mut usize,
    depth: usize,
}

pub(crate) fn execute<'a>(
    template: &'a Template,
    data: Item<'a>,
    steps: &'a mut usize,
) -> Done<String> {
    let data = data.unboxed().found();
    let mut state = State {
        template,
        executing: &template.name,
        variables: vec![("$", data.clone())],
        output: String::new(),
        node: None,
        steps,
        depth: 0,
    };
    if let Some(root) = template.definitions.get(&template.name) {
        state.list(&data, root)?;
    }
    Ok(state.output)
}

/// The text, cut to [`MAX_SHOWN_BYTES`].
fn cut(text: String) -> String {
    if text.len() <= MAX_SHOWN_BYTES {
        return text;
    }
    format!("{}...", &text[..text.floor_char_boundary(MAX_SHOWN_BYTES)])
}

impl<'a> State<'a> {
    fn fail<T>(&self, detail: impl Into<String>) -> Done<T> {
        let position = self.node.map_or(0, Located::position);
        let before = &self.template.text[..position];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Err(ExecuteError {
            place: Place {
                name: self.template.name.clone(),
                line: 1 + before.matches('\n').count(),
                column: position - line_start,
            },
            executing: self.executing.to_owned(),
            node: cut(self.node.map_or(String::new(), |node| node.to_string())),
            detail: cut(detail.into()),
        })
    }

    fn checked<T>(&self, result: Result<T, String>) -> Done<T> {
        result.or_else(|detail| self.fail(detail))
    }

    fn spend(&mut self, steps: usize) -> Done<()> {
        let left = self.steps.checked_sub(steps);
        *self.steps = left.unwrap_or(0);
        if left.is_none() {
            return self.fail(format!(
                "the template takes more than {MAX_STEPS} steps, which is the limit: \
                 loop over less"
            ));
        }
        Ok(())
    }

    /// Turns to a node; errors from now on are its.
    fn at(&mut self, node: &'a dyn Located) -> Done<()> {
        self.node = Some(node);
        self.spend(1)
    }

    fn write(&mut self, text: &str) -> Done<()> {
        self.spend(text.len() / BYTES_PER_STEP)?;
        if self.output.len() + text.len() > MAX_OUTPUT_BYTES {
            return self.fail(print::output_too_large());
        }
        self.output.push_str(text);
        Ok(())
    }

    fn deeper<T>(&mut self, inside: impl FnOnce(&mut Self) -> Done<T>) -> Done<T> {
        if self.depth == MAX_EXECUTION_DEPTH {
            return self.fail(format!(
                "exceeded maximum template depth ({MAX_EXECUTION_DEPTH})"
            ));
        }
        self.depth += 1;
        let done = inside(self)?;
        self.depth -= 1;
        Ok(done)
    }

    fn list(&mut self, dot: &Found<'a>, list: &'a List) -> Done<Flow> {
        self.deeper(|state| {
            for node in list {
                let flow = state.walk(dot, node)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
            }
            Ok(Flow::Next)
        })
    }

    fn walk(&mut self, dot: &Found<'a>, node: &'a Node) -> Done<Flow> {
        self.at(node)?;
        match &node.kind {
            NodeKind::Text(text) => self.write(text)?,
            NodeKind::Action(pipe) => self.action(dot, node, pipe)?,
            NodeKind::If(branch) => return self.condition(dot, branch, false),
            NodeKind::With(branch) => return self.condition(dot, branch, true),
            NodeKind::Range(branch) => return self.range(dot, branch),
            NodeKind::Template(call) => self.call(dot, node, call)?,
            NodeKind::Break => return Ok(Flow::Break),
            NodeKind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn action(&mut self, dot: &Found<'a>, node: &'a Node, pipe: &'a Pipe) -> Done<()> {
        let value = self.pipeline(dot, pipe)?;
        if !pipe.variables.is_empty() {
            return Ok(());
        }
        self.at(node)?;
        match &value.item {
            Item::Missing => self.write("<no value>"),
            Item::Text(text) => self.write(text),
            item => {
                let text = self.checked(print::print(std::slice::from_ref(item)))?;
                self.write(&text)
            }
        }
    }

    fn condition(&mut self, dot: &Found<'a>, branch: &'a Branch, with: bool) -> Done<Flow> {
        let known = self.variables.len();
        let value = self.pipeline(dot, &branch.pipe)?;
        let flow = match &branch.otherwise {
            _ if value.item.is_true() => {
                let dot = if with { &value } else { dot };
                self.list(dot, &branch.list)?
            }
            Some(otherwise) => self.list(dot, otherwise)?,
            None => Flow::Next,
        };
        self.variables.truncate(known);
        Ok(flow)
    }

    fn range(&mut self, dot: &Found<'a>, branch: &'a Branch) -> Done<Flow> {
        let known = self.variables.len();
        let value = self.pipeline(dot, &branch.pipe)?;
        let any = match &value.item {
            Item::List(items) => {
                let items = items.iter().enumerate();
                let items = items.map(|(index, item)| (Item::int(index), item));
                self.iterate(branch, items.map(|(index, item)| (index, boxed(item))))?
            }
            Item::Map(map) => {
                self.spend(map.len())?;
                let entries = sorted(map).into_iter();
                let entries = entries.map(|(key, item)| (borrowed(key), boxed(item)));
                self.iterate(branch, entries)?
            }
            Item::Strings(map) => {
                let entries = map.iter();
                let entries = entries.map(|(key, text)| (borrowed(key), borrowed(text).found()));
                self.iterate(branch, entries)?
            }
            Item::Int(number, _) if branch.pipe.variables.len() > 1 => {
                return self.fail(format!(
                    "can't use {number} to iterate over more than one variable"
                ));
            }
            Item::Int(number, int_type) => {
                let numbers = (0..*number).map(|number| Item::Int(number, *int_type).found());
                self.iterate(branch, numbers.map(|number| (Item::Missing, number)))?
            }
            Item::Missing | Item::Nil => false,
            other => {
                let shown = print::shown(other);
                return self.fail(format!("range can't iterate over {shown}"));
            }
        };
        let mut flow = Flow::Next;
        if let (false, Some(otherwise)) = (any, &branch.otherwise) {
            flow = self.list(dot, otherwise)?;
        }
        self.variables.truncate(known);
        Ok(flow)
    }

    /// Runs the body for each item, and says whether there was any.
    fn iterate(
        &mut self,
        branch: &'a Branch,
        items: impl Iterator<Item = (Item<'a>, Found<'a>)>,
    ) -> Done<bool> {
        let known = self.variables.len();
        let mut any = false;
        for (index, element) in items {
            any = true;
            self.spend(1)?;
            let pipe = &branch.pipe;
            let values = match pipe.variables.len() {
                0 => vec![],
                1 => vec![element.clone()],
                _ => vec![index.found(), element.clone()],
            };
            for (place, (name, value)) in pipe.variables.iter().zip(values).enumerate() {
                if pipe.assigns {
                    self.assign(name, value)?;
                } else {
                    // The pipeline declared them last.
                    self.variables[known - pipe.variables.len() + place].1 = value;
                }
            }
            let flow = self.list(&element, &branch.list)?;
            self.variables.truncate(known);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(any)
    }

    fn call(&mut self, dot: &Found<'a>, node: &'a Node, call: &'a Call) -> Done<()> {
        let Some((name, list)) = self.template.definitions.get_key_value(&call.name) else {
            let shown = crate::quote::quote(&call.name);
            return self.fail(format!("template {shown} not defined"));
        };
        let argument = match &call.pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Item::Missing.found(),
        };
        let outer = std::mem::replace(&mut self.variables, vec![("$", argument.clone())]);
        let executing = std::mem::replace(&mut self.executing, name);
        self.list(&argument, list)?;
        self.executing = executing;
        self.variables = outer;
        self.node = Some(node);
        Ok(())
    }

    fn assign(&mut self, name: &str, value: Found<'a>) -> Done<()> {
        match self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| *known == name)
        {
            Some((_, known)) => *known = value,
            None => return self.fail(format!("undefined variable: {name}")),
        }
        Ok(())
    }

    fn variable(&self, name: &str) -> Done<Found<'a>> {
        match self
            .variables
            .iter()
            .rev()
            .find(|(known, _)| *known == name)
        {
            Some((_, value)) => Ok(value.clone()),
            None => self.fail(format!("undefined variable: {name}")),
        }
    }
}

fn borrowed(text: &str) -> Item<'_> {
    Item::Text(Text::Borrowed(text))
}

fn boxed(value: &serde_json::Value) -> Found<'_> {
    Item::from_json(value).boxed()
}
