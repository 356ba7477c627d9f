//! Fuzz targets of what is typed, of what other processes say, and of what reaches a terminal or a
//! shell. `leasehold-fuzz` says how they are run.

mod config;
mod process;
mod shell;
mod terminal;
mod times;
mod typed;
