//! The mutex: one holder at a time.

use std::convert::Infallible;

use crate::primitive::{Admission, Exit, Primitive, View};
use crate::record::{FencingToken, Kind, Record};

/// One holder at a time, and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Mutex;

impl Primitive for Mutex {
    type Ask = Infallible;
    type End = Infallible;
    type Answer = Infallible;
    type Replaced = ();

    fn kind(&self) -> Kind {
        Kind::Mutex
    }

    fn admit(&self, view: &View<'_>) -> Admission<Infallible> {
        view.exclusive()
    }

    fn enter(&self, _: &mut Record, _: Option<&Record>) {}

    fn ask(&self, _: &mut Record, ask: &Infallible) {
        match *ask {}
    }

    fn leave(&self, _: &mut Record, _: &Exit<'_, Mutex>) {}

    fn recorded(&self, _: &Record, _: Option<FencingToken>, end: &Infallible) -> Option<bool> {
        match *end {}
    }

    fn looks_at(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Mutex | Kind::Once)
    }
}
