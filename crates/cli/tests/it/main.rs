//! The binary as its users meet it.

mod words;
