//! The engine from outside: what a client and a worker see, also when things die.

#![cfg(test)]

mod catalog;
mod children;
mod deadlines;
mod events;
mod flow;
mod keys;
mod kills;
mod lifecycle;
mod lists;
mod maps;
mod once;
mod outages;
mod policies;
mod schedules;
mod secrets;
mod steps;
mod tampering;
mod told;
mod undoing;
mod values;
