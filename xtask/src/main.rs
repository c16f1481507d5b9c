//! Makes and checks the generated files of the project.

fn main() {}
