//! The sections, as the commands themselves wrote them down.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::clock::Time;
use crate::fence;
use crate::log::{self, Line, Word};

/// One section: all that one run's command and its family wrote.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub(crate) run: u64,
    pub(crate) token: Option<u64>,
    pub(crate) holder: String,
    pub(crate) begin: Time,
    /// The last sign of life of any of its processes.
    pub(crate) last: Time,
    pub(crate) ended: Option<u8>,
    /// Runs that were alive when it began.
    pub(crate) beside: Vec<u64>,
    /// When its writes were refused, and by which token.
    pub(crate) refused: Vec<(Time, u64)>,
    /// It began more than once, or changed its token.
    pub(crate) is_odd: bool,
}

/// What was written down under one name.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// By the time of their beginning.
    pub(crate) sections: Vec<Section>,
    /// Every write that the shared resource accepted, in its order.
    pub(crate) accepted: Vec<(u64, String)>,
    /// Lines that cannot be read.
    pub(crate) unreadable: usize,
}

impl Written {
    /// Reads the files of a name. One that is not there is empty.
    pub(crate) fn read(dir: &Path, name: &str) -> Written {
        let text = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let log = text(log::path(dir, name)).unwrap_or_default();
        let history = text(fence::history(dir, name)).unwrap_or_default();
        Written::parse(&log, &history)
    }

    fn parse(log: &str, history: &str) -> Written {
        let mut written = Written::default();
        let mut sections: HashMap<u64, Section> = HashMap::new();
        for line in log.lines() {
            match Line::decode(line) {
                Some(line) => take(&mut sections, &line),
                None => written.unreadable += 1,
            }
        }
        for line in history.lines() {
            match line.split_once(' ').map(|(token, holder)| (token.parse(), holder)) {
                Some((Ok(token), holder)) => written.accepted.push((token, holder.to_owned())),
                _ => written.unreadable += 1,
            }
        }
        written.sections = sections.into_values().collect();
        written.sections.sort_by_key(|section| (section.begin, section.run));
        written
    }
}

fn take(sections: &mut HashMap<u64, Section>, line: &Line) {
    let is_new = !sections.contains_key(&line.run);
    let section = sections.entry(line.run).or_insert_with(|| Section {
        run: line.run,
        token: line.token,
        holder: line.holder.clone(),
        begin: line.at,
        last: line.at,
        ended: None,
        beside: vec![],
        refused: vec![],
        is_odd: false,
    });
    section.is_odd |= section.token != line.token || section.holder != line.holder;
    section.is_odd |= is_new != (line.word == Word::Begin);
    section.begin = section.begin.min(line.at);
    section.last = section.last.max(line.at);
    match line.word {
        Word::Begin | Word::Alive => {}
        Word::Beside(run) => section.beside.push(run),
        Word::Refused(by) => section.refused.push((line.at, by)),
        Word::End(code) => section.ended = Some(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A section is all that its processes wrote, up to the last of them.
    #[test]
    fn a_section_lasts_as_long_as_any_process_of_it() {
        let log = "10 1 7 5 a begin\n12 1 8 5 a alive\n11 1 7 5 a end 3\n30 2 9 6 b begin\n\
                   31 2 9 6 b beside 1\n32 2 9 6 b refused 8\nhalf a li";
        let written = Written::parse(log, "5 a\n6 b\n");
        let [a, b] = written.sections.as_slice() else { panic!("{written:?}") };
        assert_eq!((a.begin, a.last, a.ended, a.is_odd), (10, 12, Some(3), false));
        assert_eq!((b.beside.clone(), b.refused.clone()), (vec![1], vec![(32, 8)]));
        assert_eq!((written.accepted.len(), written.unreadable), (2, 1));
    }

    #[test]
    fn one_run_has_one_section() {
        let twice = Written::parse("10 1 7 5 a begin\n20 1 8 5 a begin\n", "");
        assert!(twice.sections[0].is_odd);
        let changed = Written::parse("10 1 7 5 a begin\n20 1 7 6 a alive\n", "");
        assert!(changed.sections[0].is_odd);
    }
}
