//! Stories told of single instances; each name is a claim.

mod ends;
mod errors;
mod events;
mod flow;
mod forks;
mod guards;
mod halts;
mod maps;
mod once;
mod steps;
mod timers;
mod undoing;
