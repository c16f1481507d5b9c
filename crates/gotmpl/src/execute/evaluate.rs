//! Values of pipelines, commands and operands.

use crate::BYTES_PER_STEP;
use crate::MissingKey;
use crate::execute::Done;
use crate::execute::State;
use crate::execute::borrowed;
use crate::execute::boxed;
use crate::functions;
use crate::literal::Number;
use crate::tree::Command;
use crate::tree::Located;
use crate::tree::Operand;
use crate::tree::OperandKind;
use crate::tree::Pipe;
use crate::value::Found;
use crate::value::IntType;
use crate::value::Item;
use crate::value::Text;

impl<'a> State<'a> {
    pub(super) fn pipeline(&mut self, dot: &Found<'a>, pipe: &'a Pipe) -> Done<Found<'a>> {
        self.at(pipe)?;
        self.deeper(|state| {
            let mut value = None;
            for command in &pipe.commands {
                let result = state.command(dot, command, value)?;
                value = Some(result.item.unboxed().found());
            }
            let value = value.unwrap_or(Item::Missing.found());
            for name in &pipe.variables {
                if pipe.assigns {
                    state.assign(name, value.clone())?;
                } else {
                    state.variables.push((name, value.clone()));
                }
            }
            Ok(value)
        })
    }

    fn command(
        &mut self,
        dot: &Found<'a>,
        command: &'a Command,
        last: Option<Found<'a>>,
    ) -> Done<Found<'a>> {
        let first = &command.arguments[0];
        let has_arguments = command.arguments.len() > 1 || last.is_some();
        if let OperandKind::Identifier(name) = &first.kind {
            self.at(first)?;
            return self.function(dot, command, name, &command.arguments[1..], last);
        }
        self.at(first)?;
        let takes_none = match &first.kind {
            OperandKind::Variable(names) => names.len() == 1,
            OperandKind::Field(_) | OperandKind::Chain(..) => false,
            _ => true,
        };
        if takes_none && has_arguments {
            return self.fail(format!("can't give argument to non-function {first}"));
        }
        match &first.kind {
            OperandKind::Nil => self.fail("nil is not a command"),
            _ => self.operand(dot, first, has_arguments),
        }
    }

    /// The value of an operand that is no function; a field must not have arguments.
    fn operand(
        &mut self,
        dot: &Found<'a>,
        operand: &'a Operand,
        has_arguments: bool,
    ) -> Done<Found<'a>> {
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Item::Missing.found()),
            OperandKind::Bool(value) => Ok(Item::Bool(*value).found()),
            OperandKind::Text(_, text) => Ok(borrowed(text).found()),
            OperandKind::Number(written, number) => match number {
                Number::Int(value) => Ok(Item::Int(*value, IntType::Int).found()),
                Number::Float(value) => Ok(Item::Float(*value).found()),
                Number::TooLargeForInt => self.fail(format!("{written} overflows int")),
            },
            OperandKind::Identifier(name) => self.function(dot, operand, name, &[], None),
            OperandKind::Field(names) => self.fields(dot.clone(), names, has_arguments),
            OperandKind::Variable(names) => {
                let value = self.variable(&names[0])?;
                self.fields(value, &names[1..], has_arguments)
            }
            OperandKind::Chain(inner, names) => {
                let value = self.argument(dot, inner)?;
                self.fields(value, names, has_arguments)
            }
            OperandKind::Pipe(pipe) => self.pipeline(dot, pipe),
        }
    }

    fn argument(&mut self, dot: &Found<'a>, operand: &'a Operand) -> Done<Found<'a>> {
        self.at(operand)?;
        self.operand(dot, operand, false)
    }

    /// Follows fields, the last of which may stand before arguments.
    fn fields(
        &mut self,
        mut value: Found<'a>,
        names: &'a [String],
        has_arguments: bool,
    ) -> Done<Found<'a>> {
        self.spend(names.len())?;
        for (index, name) in names.iter().enumerate() {
            let is_called = has_arguments && index + 1 == names.len();
            value = self.field(value, name, is_called)?;
        }
        Ok(value)
    }

    fn field(&self, value: Found<'a>, name: &'a str, is_called: bool) -> Done<Found<'a>> {
        let found = match &value.item {
            Item::Missing if self.template.missing_key == MissingKey::Error => {
                let shown = crate::quote::quote(name);
                return self.fail(format!("nil data; no entry for key {shown}"));
            }
            Item::Missing => return Ok(value),
            Item::Nil => {
                let place = value.type_name();
                return self.fail(format!("nil pointer evaluating {place}.{name}"));
            }
            Item::Map(_) | Item::Strings(_) if is_called => {
                return self.fail(format!("{name} is not a method but has arguments"));
            }
            Item::Map(map) => map.get(name).map(boxed),
            Item::Strings(map) => map.get(name).map(|text| borrowed(text).found()),
            _ => {
                let place = value.type_name();
                return self.fail(format!("can't evaluate field {name} in type {place}"));
            }
        };
        match (found, self.template.missing_key, &value.item) {
            (Some(found), ..) => Ok(found),
            (None, MissingKey::NoValue, _) => Ok(Item::Missing.found()),
            (None, MissingKey::Zero, Item::Strings(_)) => Ok(borrowed("").found()),
            (None, MissingKey::Zero, _) => Ok(Item::Nil.boxed()),
            (None, MissingKey::Error, _) => {
                let shown = crate::quote::quote(name);
                self.fail(format!("map has no entry for key {shown}"))
            }
        }
    }

    /// Calls a function; errors of its own are told of the `caller`, the whole command.
    fn function(
        &mut self,
        dot: &Found<'a>,
        caller: &'a dyn Located,
        name: &'a str,
        written: &'a [Operand],
        last: Option<Found<'a>>,
    ) -> Done<Found<'a>> {
        let count = written.len() + usize::from(last.is_some());
        self.checked(functions::check_count(name, count, written.len()))?;
        if matches!(name, "and" | "or") {
            return self.short_circuit(dot, name == "or", written, last);
        }
        let mut arguments = Vec::with_capacity(count);
        for (index, argument) in written.iter().enumerate() {
            let value = self.argument(dot, argument)?;
            if name == "printf" && index == 0 {
                self.check_format(&value, Some(argument))?;
            }
            arguments.push(value.item);
        }
        if let Some(last) = last {
            if name == "printf" && arguments.is_empty() {
                self.check_format(&last, None)?;
            }
            arguments.push(last.item);
        }
        for argument in &arguments {
            if let Item::Text(text) = argument {
                self.spend(text.len() / BYTES_PER_STEP)?;
            }
        }
        let callee = match written.first() {
            Some(argument) if name == "call" => argument.to_string(),
            _ => String::new(),
        };
        match functions::call(name, &callee, &arguments) {
            Ok(found) => {
                if let Item::Text(Text::Shared(text)) = &found.item {
                    self.spend(text.len() / BYTES_PER_STEP)?;
                }
                Ok(found)
            }
            Err(detail) => {
                self.at(caller)?;
                self.fail(format!("error calling {name}: {detail}"))
            }
        }
    }

    /// `printf` takes nothing but a string for its format.
    fn check_format(&self, value: &Found<'a>, written: Option<&Operand>) -> Done<()> {
        if matches!(value.item, Item::Text(_)) {
            return Ok(());
        }
        let constant = written.map(|operand| (&operand.kind, operand));
        match (constant, &value.item) {
            (Some((OperandKind::Nil, _)), _) => self.fail("cannot assign nil to string"),
            (Some((OperandKind::Bool(_) | OperandKind::Number(..), operand)), _) => {
                self.fail(format!("expected string; found {operand}"))
            }
            (_, Item::Missing) => self.fail("invalid value; expected string"),
            (_, Item::Nil) => self.fail("wrong type for value; expected string; got interface {}"),
            (_, item) => {
                let actual = item.type_name();
                self.fail(format!(
                    "wrong type for value; expected string; got {actual}"
                ))
            }
        }
    }

    /// `and` and `or`: the first value that decides, or the last; those after it are not evaluated.
    fn short_circuit(
        &mut self,
        dot: &Found<'a>,
        decisive: bool,
        written: &'a [Operand],
        last: Option<Found<'a>>,
    ) -> Done<Found<'a>> {
        let mut value = Item::Missing.found();
        for argument in written {
            value = self.argument(dot, argument)?;
            if value.item.is_true() == decisive {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }
}
