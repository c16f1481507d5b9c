//! The binary as its users meet it: real processes, a real kubectl, nothing stood in for.

mod accepting;
mod bad_input;
mod bench;
mod beside;
mod distribution;
mod doctor;
mod floods;
mod harness;
mod hub_commands;
mod joins;
mod limits;
mod page;
mod placed_works;
mod restart;
mod security;
mod simulation;
mod threads;
mod transcript;
mod up;
mod upstream;
mod wire;
mod words;
mod work;
