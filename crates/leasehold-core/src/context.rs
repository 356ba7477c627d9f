//! What a step of a machine is given, and what it fills.

use crate::deadline::{Moment, Now};
use crate::link::Sent;
use crate::pace::Ids;

/// One step of a machine with outputs of the type `O`.
pub(crate) struct Context<'a, O> {
    /// What the clocks say.
    pub(crate) now: Now,
    /// Fresh random ids.
    pub(crate) ids: &'a mut Ids<'a>,
    /// What comes out.
    pub(crate) out: &'a mut Vec<O>,
}

impl<O: From<Sent>> Context<'_, O> {
    pub(crate) fn moment(&self) -> Moment {
        self.now.moment
    }

    pub(crate) fn tell(&mut self, what: impl Into<O>) {
        self.out.push(what.into());
    }

    /// Sends a request, if there is one.
    pub(crate) fn send(&mut self, sent: Option<Sent>) {
        self.out.extend(sent.map(O::from));
    }
}
