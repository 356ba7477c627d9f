//! A primitive that is chosen at run time, for programs that handle names of several kinds at once.

use crate::mutex::Mutex;
use crate::once::{Completion, Once, Settled};
use crate::record::{FencingToken, Kind, Outcome, Record};

use super::{Admission, Exit, How, Primitive, View};

/// Any of the primitives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Any {
    /// A mutex.
    Mutex(Mutex),
    /// Run once.
    Once(Once),
}

impl Any {
    /// Run once, where that is wanted, and a mutex otherwise.
    pub fn of(once: Option<Once>) -> Any {
        once.map_or(Any::Mutex(Mutex), Any::Once)
    }
}

impl Primitive for Any {
    type Ask = Vec<u8>;
    type End = Completion;
    type Answer = Settled;
    type Replaced = Option<Outcome>;

    fn kind(&self) -> Kind {
        match self {
            Any::Mutex(mutex) => mutex.kind(),
            Any::Once(once) => once.kind(),
        }
    }

    fn admit(&self, view: &View<'_>) -> Admission<Settled> {
        match self {
            Any::Mutex(_) => view.exclusive(),
            Any::Once(once) => once.admit(view),
        }
    }

    fn enter(&self, record: &mut Record, before: Option<&Record>) -> Option<Outcome> {
        match self {
            Any::Mutex(_) => None,
            Any::Once(once) => once.enter(record, before),
        }
    }

    fn ask(&self, record: &mut Record, ask: &Vec<u8>) {
        if let Any::Once(once) = self {
            once.ask(record, ask);
        }
    }

    fn leave(&self, record: &mut Record, exit: &Exit<'_, Any>) {
        let Any::Once(once) = self else { return };
        let how = match exit.how {
            How::Released => How::Released,
            How::Ended(end) => How::Ended(end),
            How::Undone(replaced) => How::Undone(replaced),
        };
        once.leave(record, &Exit { how, label: exit.label, unix_ms: exit.unix_ms });
    }

    fn recorded(
        &self,
        record: &Record,
        token: Option<FencingToken>,
        end: &Completion,
    ) -> Option<bool> {
        match self {
            Any::Mutex(_) => Some(false),
            Any::Once(once) => once.recorded(record, token, end),
        }
    }

    fn comes_again(&self) -> bool {
        match self {
            Any::Mutex(mutex) => mutex.comes_again(),
            Any::Once(once) => once.comes_again(),
        }
    }

    #[cfg(feature = "planted")]
    fn as_failed(end: Completion) -> Completion {
        Once::as_failed(end)
    }

    fn looks_at(&self, kind: Kind) -> bool {
        match self {
            Any::Mutex(mutex) => mutex.looks_at(kind),
            Any::Once(once) => once.looks_at(kind),
        }
    }
}
