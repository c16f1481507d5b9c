//! What credentials open, and what they do not: tried out, not read off the rules.

mod lifetimes;
mod rights;
mod secrets;
mod trials;
