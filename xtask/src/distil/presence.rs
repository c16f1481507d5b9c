//! Which optional scalars are pointers in the Go types.
//!
//! Neither input says so, yet it decides whether a zero on the wire is a value. The list is kept by
//! hand; a name in it that no type has is an error.

use std::collections::BTreeSet;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use hyades_schema::types::Shape;
use hyades_schema::types::TypePool;

const LIST: &str = include_str!("presence.txt");

/// The listed fields, as `TYPE.FIELD`.
pub struct Presence(BTreeSet<String>);

impl Presence {
    /// Reads the list.
    pub fn read() -> Result<Presence> {
        let mut fields = BTreeSet::new();
        let mut package = None;
        for line in LIST.lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with(' ') {
                let package = package.context("a line before the first package")?;
                let (ty, names) = line
                    .trim()
                    .split_once(' ')
                    .context("a type without fields")?;
                fields.extend(
                    names
                        .split(' ')
                        .map(|name| format!("{package}.{ty}.{name}")),
                );
            } else if !line.is_empty() {
                package = Some(line);
            }
        }
        Ok(Presence(fields))
    }

    /// Whether the field is a pointer.
    pub fn contains(&self, type_name: &str, field: &str) -> bool {
        self.0.contains(&format!("{type_name}.{field}"))
    }

    /// Checks that every listed field is one of the pool's.
    pub fn all_used(&self, pool: &TypePool) -> Result<()> {
        for listed in &self.0 {
            let (ty, field) = listed.rsplit_once('.').context("a field without a type")?;
            let found = pool
                .by_name
                .get(ty)
                .map(|id| &pool.types[id.0 as usize].shape);
            let known =
                matches!(found, Some(Shape::Object(object)) if object.field(field).is_some());
            ensure!(known, "presence.txt names {listed}, which is no field");
        }
        Ok(())
    }
}
