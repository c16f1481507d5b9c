//! The binary as its users meet it: real processes, a real kubectl, nothing stood in for.

mod bad_input;
mod doctor;
mod harness;
mod hub_commands;
mod page;
mod restart;
mod transcript;
mod up;
mod words;
mod work;
