//! The program, tested from outside: what is typed, what is printed, how it ends.

mod codes;
mod crashes;
mod credentials;
mod doctor;
mod init;
mod loss;
mod other_language;
mod output;
mod script;
mod signals;
mod terminal;
mod world;
