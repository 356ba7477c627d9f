//! Tests of the kit itself: a check that lets a liar pass proves nothing about the honest.

mod completeness;
mod corners;
mod generate;
mod liars;
mod orders;
