//! One `leasehold run`: what it was asked, what was done to it, and how it ended.

use std::process::ExitStatus;

use crate::clock::{Time, millis};
use crate::plan::Ask;

/// A stretch of time that may not be over.
pub(crate) type Span = (Time, Option<Time>);

/// What was done to a run, other than to its watchers' time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Done {
    pub(crate) killed_main: bool,
    pub(crate) killed_child: bool,
    pub(crate) term: bool,
    pub(crate) int: bool,
    /// Anything that may end its lease.
    pub(crate) hurt: bool,
}

/// One `leasehold run`.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) ask: Ask,
    pub(crate) started: Time,
    pub(crate) ended: Option<(Time, ExitStatus)>,
    pub(crate) done: Done,
    /// When the main process did not run, by our doing.
    pub(crate) main_down: Vec<Span>,
    pub(crate) keeper_down: Vec<Span>,
    /// What still ran of its section when it had ended.
    pub(crate) left: Vec<String>,
    /// One of the last ones, which nobody hurts and which must succeed.
    pub(crate) is_last: bool,
}

impl Run {
    pub(crate) fn new(ask: Ask, started: Time) -> Run {
        Run {
            ask,
            started,
            ended: None,
            done: Done::default(),
            main_down: vec![],
            keeper_down: vec![],
            left: vec![],
            is_last: false,
        }
    }

    /// From when on nobody watched over its section for so long that it may have outlived its lease.
    ///
    /// A tenth of the ttl is no excuse: a takeover comes a fifth of it after the deadline at the
    /// earliest, and whoever is woken before that has the rest to end the section.
    pub(crate) fn unwatched_from(&self) -> Option<Time> {
        let long = millis(self.ask.ttl_ms) / 10;
        let both = self
            .main_down
            .iter()
            .flat_map(|main| self.keeper_down.iter().filter_map(|keeper| common(*main, *keeper)));
        both.filter(|(from, to)| to.is_none_or(|to| to - from > long)).map(|(from, _)| from).min()
    }
}

fn common(a: Span, b: Span) -> Option<Span> {
    let from = a.0.max(b.0);
    let to = match (a.1, b.1) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    to.is_none_or(|to| from < to).then_some((from, to))
}

/// A lock that was broken by hand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Break {
    pub(crate) name: usize,
    pub(crate) from: Time,
    pub(crate) to: Time,
    /// The token that the break said it gave: one above the token that it took away. `None` if it is
    /// not known what became of it.
    pub(crate) token: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Wait;

    fn run(main: &[Span], keeper: &[Span]) -> Option<Time> {
        let ask = Ask {
            pause_ms: 0,
            name: 0,
            ttl_ms: 1_000,
            wait: Wait::Forever,
            work_ms: 0,
            exit: 0,
            family: false,
            stubborn: false,
        };
        let mut run = Run::new(ask, 0);
        let in_ms = |(from, to): &Span| (millis(*from), to.map(millis));
        run.main_down = main.iter().map(in_ms).collect();
        run.keeper_down = keeper.iter().map(in_ms).collect();
        run.unwatched_from().map(|from| from / 1_000_000)
    }

    /// The excuse is as narrow as the promise: one of the two is enough to end a section in time, and
    /// so are both after a short stop.
    #[test]
    fn only_both_watchers_down_for_long_is_an_excuse() {
        assert_eq!(run(&[(5, None)], &[]), None);
        assert_eq!(run(&[(0, Some(500))], &[(500, Some(900))]), None);
        assert_eq!(run(&[(0, Some(500))], &[(401, Some(900))]), None);
        assert_eq!(run(&[(0, Some(500))], &[(300, Some(900))]), Some(300));
        assert_eq!(run(&[(700, None)], &[(300, None)]), Some(700));
    }
}
