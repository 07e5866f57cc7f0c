//! The machine as a whole: stories that say what it does, laws that hold in every story, and how long it takes.

mod build;
mod laws;
mod model;
mod random;
mod speed;
mod stories;
mod story;
mod table;
mod world;
