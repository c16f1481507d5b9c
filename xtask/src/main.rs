//! Makes and checks the generated files of the project.

mod distil;
mod layout;
mod tidy;

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
#[command(about = "Makes and checks the generated files of the project")]
enum Task {
    /// Distils the table of built-in types from published schemas and protobuf bindings.
    Distil(distil::Arguments),
    /// Rehearses what components run, and orders the released binary's functions by it.
    Layout(layout::Arguments),
    /// Checks what depends on what, file sizes and the ledgers.
    Tidy,
}

fn main() -> Result<()> {
    match Task::parse() {
        Task::Distil(arguments) => distil::run(&arguments),
        Task::Layout(arguments) => layout::run(&arguments),
        Task::Tidy => tidy::run(),
    }
}
