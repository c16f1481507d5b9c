//! Text to types.

use std::collections::BTreeMap;
use std::collections::HashMap;

use thiserror::Error;

use super::write::package_of;
use crate::types::ArrayShape;
use crate::types::Constraints;
use crate::types::Field;
use crate::types::ListType;
use crate::types::ObjectShape;
use crate::types::PatchStrategy;
use crate::types::ProtoField;
use crate::types::Shape;
use crate::types::Type;
use crate::types::TypeId;
use crate::types::TypePool;

/// Why a type table cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "type table, line {line}: {problem} in {text:?}; write the table with `cargo xtask distil`"
)]
pub struct TableError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: &'static str,
    /// The offending text.
    pub text: String,
}

/// Reads a type table.
///
/// # Errors
///
/// A line that is neither a type nor a field, or a name that no line defines.
pub fn read(text: &str) -> Result<TypePool, TableError> {
    let mut reader = Reader::default();
    let lines = || {
        text.lines()
            .enumerate()
            .filter(|(_, line)| is_content(line))
    };
    for (place, line) in lines().filter(|(_, line)| !line.starts_with(' ')) {
        reader.declare(line).map_err(at(place, line))?;
    }
    let mut current = None;
    for (place, line) in lines() {
        if let Some(field) = line.strip_prefix("  ") {
            let (id, name) = current
                .ok_or("a field before any type")
                .map_err(at(place, line))?;
            reader.add_field(id, name, field).map_err(at(place, line))?;
        } else {
            let name = line.split(' ').next().unwrap_or_default();
            current = Some((reader.pool.by_name[name], name));
        }
    }
    Ok(reader.pool)
}

fn is_content(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#')
}

fn at(place: usize, text: &str) -> impl FnOnce(&'static str) -> TableError {
    move |problem| TableError {
        line: place + 1,
        problem,
        text: text.to_owned(),
    }
}

#[derive(Default)]
struct Reader {
    pool: TypePool,
    /// Anonymous types by their full text, so that equal ones are one type.
    anonymous: HashMap<String, TypeId>,
}

impl Reader {
    fn declare(&mut self, line: &str) -> Result<(), &'static str> {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let shape = match rest {
            "" | "atomic" => Shape::Object(ObjectShape {
                atomic: rest == "atomic",
                ..ObjectShape::default()
            }),
            "= any" => Shape::Any,
            "= intorstring" => Shape::IntOrString,
            "= quantity" => Shape::Quantity,
            "= time" => Shape::Time,
            "= microtime" => Shape::MicroTime,
            _ => return Err("unknown shape of a named type"),
        };
        let id = self.pool.add(Type {
            name: Some(name.to_owned()),
            shape,
            ..Type::default()
        });
        match self.pool.by_name.insert(name.to_owned(), id) {
            None => Ok(()),
            Some(_) => Err("a type defined twice"),
        }
    }

    fn add_field(
        &mut self,
        owner: TypeId,
        owner_name: &str,
        line: &str,
    ) -> Result<(), &'static str> {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default().to_owned();
        let proto = words.next().ok_or("no protobuf number")?;
        let ty = words.next().ok_or("no type")?;
        let (ty, required, presence) = match ty.as_bytes().last() {
            Some(b'!') => (&ty[..ty.len() - 1], true, false),
            Some(b'?') => (&ty[..ty.len() - 1], false, true),
            _ => (ty, false, false),
        };
        let mut field = Field {
            name,
            ty: self.resolve(package_of(owner_name), ty)?,
            required,
            default: None,
            proto: read_number(proto, presence)?,
            patch_strategy: PatchStrategy::default(),
            patch_merge_key: None,
        };
        for word in words {
            match word.split_once('=') {
                Some(("patch", "merge")) => field.patch_strategy.merge = true,
                Some(("patch", "retainKeys")) => field.patch_strategy.retain_keys = true,
                Some(("default", text)) => field.default = Some(text.into()),
                Some(("key", key)) => field.patch_merge_key = Some(key.to_owned()),
                _ => return Err("an unknown word"),
            }
        }
        let Shape::Object(object) = &mut self.pool.types[owner.0 as usize].shape else {
            return Err("a field of a type that is no object");
        };
        if object
            .fields
            .last()
            .is_some_and(|last| last.name >= field.name)
        {
            return Err("a field out of order");
        }
        object.fields.push(field);
        Ok(())
    }

    /// The type that `text` names or describes, seen from `package`.
    fn resolve(&mut self, package: &str, text: &str) -> Result<TypeId, &'static str> {
        if let Some(place) = text.find(['[', '{']) {
            return self.resolve_container(package, &text[..place], &text[place..]);
        }
        if let Some(scalar) = scalar(text) {
            return Ok(self.intern(text.to_owned(), scalar));
        }
        let known: &BTreeMap<String, TypeId> = &self.pool.by_name;
        known
            .get(text)
            .or_else(|| known.get(&format!("{package}.{text}")))
            .copied()
            .ok_or("an undefined type")
    }

    fn resolve_container(
        &mut self,
        package: &str,
        prefix: &str,
        bracketed: &str,
    ) -> Result<TypeId, &'static str> {
        let inner = &bracketed[1..bracketed.len() - 1];
        let element = self.resolve(package, inner)?;
        let shape = if bracketed.starts_with('{') && bracketed.ends_with('}') {
            Shape::Object(ObjectShape {
                additional: Some(element),
                atomic: prefix == "atomic",
                ..ObjectShape::default()
            })
        } else if bracketed.starts_with('[') && bracketed.ends_with(']') {
            Shape::Array(ArrayShape {
                items: element,
                list: read_list_type(prefix)?,
            })
        } else {
            return Err("unbalanced brackets");
        };
        let key = format!("{prefix}{}{}", &bracketed[..1], element.0);
        Ok(self.intern(
            key,
            Type {
                shape,
                ..Type::default()
            },
        ))
    }

    fn intern(&mut self, key: String, ty: Type) -> TypeId {
        let pool = &mut self.pool;
        *self.anonymous.entry(key).or_insert_with(|| pool.add(ty))
    }
}

fn scalar(text: &str) -> Option<Type> {
    let (shape, format) = match text {
        "string" => (Shape::String, None),
        "bytes" => (Shape::Bytes, None),
        "boolean" => (Shape::Boolean, None),
        "int32" => (Shape::Integer, Some("int32")),
        "int64" => (Shape::Integer, Some("int64")),
        "double" => (Shape::Number, Some("double")),
        "any" => (Shape::Any, None),
        _ => return None,
    };
    let constraints = format.map(|format| {
        Box::new(Constraints {
            format: Some(format.to_owned()),
            ..Constraints::default()
        })
    });
    Some(Type {
        shape,
        constraints,
        ..Type::default()
    })
}

fn read_list_type(prefix: &str) -> Result<ListType, &'static str> {
    match prefix {
        "" => Ok(ListType::Atomic),
        "set" => Ok(ListType::Set),
        _ => prefix
            .strip_prefix("map(")
            .and_then(|rest| rest.strip_suffix(')'))
            .map(|keys| ListType::Map(keys.split(',').map(str::to_owned).collect()))
            .ok_or("an unknown list type"),
    }
}

fn read_number(text: &str, presence: bool) -> Result<Option<ProtoField>, &'static str> {
    if text == "-" {
        return Ok(None);
    }
    let mut numbers = Vec::with_capacity(3);
    for part in text.split('.') {
        let number: u16 = part.parse().map_err(|_| "no protobuf number")?;
        numbers.push(number);
    }
    let number = numbers.pop().ok_or("no protobuf number")?;
    let mut within = [0; 2];
    if numbers.len() > within.len() || number == 0 || numbers.contains(&0) {
        return Err("an impossible protobuf number");
    }
    within[..numbers.len()].copy_from_slice(&numbers);
    Ok(Some(ProtoField {
        number,
        within,
        presence,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_with_their_line() {
        let error = read("# head\na.B\n  x 1 Nothing\n").err().unwrap();
        assert_eq!(error.line, 3);
        assert_eq!(error.problem, "an undefined type");
        for (text, problem) in [
            ("  x 1 string", "a field before any type"),
            ("a.B\na.B", "a type defined twice"),
            ("a.B = colour", "unknown shape of a named type"),
            ("a.B\n  x 1.2.3.4 string", "an impossible protobuf number"),
            ("a.B\n  x 0 string", "an impossible protobuf number"),
            ("a.B\n  y 1 string\n  x 2 string", "a field out of order"),
            ("a.B\n  y 1 [string}", "unbalanced brackets"),
            ("a.B\n  y 1 list[string]", "an unknown list type"),
            ("a.B\n  y 1 string!?", "an undefined type"),
        ] {
            assert_eq!(read(text).err().unwrap().problem, problem, "{text}");
        }
    }
}
