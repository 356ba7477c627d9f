//! The model checker's own tests: the short searches, and that it judges rightly.

mod likeness;
mod searches;
