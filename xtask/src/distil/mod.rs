//! Distils the table of built-in types: facts only, no prose.
//!
//! ```text
//!  PyPI kubernetes-validate: _definitions.json ─▶ schema ───┐
//!  crates.io k8s-pb: prost attributes ─▶ protobuf ──────────┼─▶ TypePool ─▶ builtin.table
//!  presence.txt (which scalars are pointers in Go) ─────────┘
//! ```

mod presence;
mod protobuf;
mod schema;

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use hyades_schema::kinds::table_roots;
use hyades_schema::table;

const TABLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../crates/schema/src/table/builtin.table"
);

const HEADING: &str = "\
# The built-in types of Kubernetes 1.37: what the kinds served without a CustomResourceDefinition
# look like. Written by `cargo xtask distil`; the format is described in mod.rs beside this file.
";

/// Inputs of the distillation.
#[derive(clap::Args)]
pub struct Arguments {
    /// `_definitions.json` of kubernetes-validate.
    #[arg(long, value_name = "FILE")]
    definitions: PathBuf,
    /// The source folder of the crate k8s-pb.
    #[arg(long, value_name = "DIR")]
    protobuf: PathBuf,
    /// Compare with the checked-in table instead of writing it.
    #[arg(long)]
    check: bool,
}

/// Writes or checks the table.
pub fn run(arguments: &Arguments) -> Result<()> {
    let definitions = fs::read_to_string(&arguments.definitions)
        .with_context(|| format!("reading {}", arguments.definitions.display()))?;
    let definitions = serde_json::from_str(&definitions).context("parsing the definitions")?;
    let messages = protobuf::Messages::read(&arguments.protobuf)?;
    let presence = presence::Presence::read()?;
    let distilled = schema::distil(&definitions, &table_roots(), &messages, &presence)?;
    presence.all_used(&distilled.pool)?;
    for field in &distilled.without_number {
        eprintln!("no protobuf number: {field}");
    }
    let text = format!("{HEADING}{}", table::write(&distilled.pool));
    if arguments.check {
        let present = fs::read_to_string(TABLE).with_context(|| format!("reading {TABLE}"))?;
        ensure!(
            present == text,
            "{TABLE} differs from its inputs; run `cargo xtask distil` without --check"
        );
    } else {
        fs::write(TABLE, &text).with_context(|| format!("writing {TABLE}"))?;
    }
    println!("{} types", distilled.pool.by_name.len());
    Ok(())
}
