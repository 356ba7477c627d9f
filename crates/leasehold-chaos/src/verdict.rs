//! The rules, and who broke one.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;

use crate::check::{Section, Written};
use crate::clock::{Time, millis};
use crate::plan::{Terms, Wait};
use crate::run::{Break, Run, Span};

/// One rule broken.
#[derive(Debug)]
pub(crate) struct Violation {
    /// The name whose log shows it.
    pub(crate) name: Option<usize>,
    pub(crate) at: Time,
    pub(crate) what: String,
}

/// What was seen, for the table.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) sections: u64,
    pub(crate) tokens: u64,
    pub(crate) ended_by_themselves: u64,
    pub(crate) takeovers: u64,
    pub(crate) overlaps: u64,
    /// Sections that went on beside the next one after nobody was left to watch over them.
    pub(crate) unwatched: u64,
    pub(crate) broken: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) longest_gap: Time,
}

/// All that the harness knows.
pub(crate) struct Facts<'a> {
    pub(crate) terms: &'a Terms,
    pub(crate) runs: &'a [Run],
    pub(crate) breaks: &'a [Break],
    /// When the store was frozen or cut off from anybody.
    pub(crate) away: &'a [Span],
    /// It fails now and then, and nobody tells us when.
    pub(crate) store_fails: bool,
}

/// Why a section may be beside another one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Excuse {
    Unwatched,
    Broken,
}

impl Facts<'_> {
    /// Judges what was written under one name.
    pub(crate) fn judge(&self, name: usize, written: &Written, seen: &mut Seen) -> Vec<Violation> {
        let mut judge = Judge { facts: self, name, violations: vec![] };
        judge.readable(written);
        judge.apart(&written.sections, seen);
        judge.alone_by_the_kernel(&written.sections, seen);
        judge.fenced(written, seen);
        judge.broken_end(&written.sections);
        judge.followed(&written.sections, seen);
        judge.violations
    }

    /// Judges how the runs ended.
    pub(crate) fn judge_ends(&self, sections: &HashMap<u64, Section>) -> Vec<Violation> {
        let ends = self.runs.iter().enumerate().filter_map(|(n, run)| {
            let section = sections.get(&(n as u64));
            let what = self.wrong_end(run, section)?;
            let at = run.ended.map_or(run.started, |(at, _)| at);
            Some(Violation { name: Some(run.ask.name), at, what: format!("run {n}: {what}") })
        });
        ends.collect()
    }

    fn run(&self, n: u64) -> Option<&Run> {
        self.runs.get(usize::try_from(n).ok()?)
    }

    /// From when on a section may be beside another one, and why.
    fn excuse(&self, name: usize, section: &Section) -> Option<(Time, Excuse)> {
        let unwatched = self.run(section.run).and_then(Run::unwatched_from);
        let broken = self.breaks.iter().filter(|b| b.name == name).filter(|b| match b.token {
            Some(token) => section.token.is_some_and(|mine| mine + 1 == token),
            None => section.begin <= b.to + millis(self.terms.ttl_ms_most()),
        });
        let broken = broken.map(|b| (b.from, Excuse::Broken));
        let unwatched = unwatched.map(|from| (from, Excuse::Unwatched));
        unwatched.into_iter().chain(broken).min_by_key(|(from, _)| *from)
    }

    fn was_away(&self, run: &Run) -> bool {
        let ended = run.ended.map_or(Time::MAX, |(at, _)| at);
        self.away.iter().any(|(from, to)| *from <= ended && to.is_none_or(|to| to >= run.started))
    }

    fn wrong_end(&self, run: &Run, section: Option<&Section>) -> Option<String> {
        let Some((_, status)) = run.ended else { return Some("has not ended".into()) };
        if !run.left.is_empty() {
            return Some(format!("it has ended ({status}) and left {}", run.left.join(", ")));
        }
        let by_itself = section.and_then(|section| section.ended);
        let Some(code) = status.code() else {
            let signal = status.signal();
            let before = section.is_none() && (run.done.term || run.done.int);
            let is_ours = run.done.killed_main && signal == Some(9)
                || before && matches!(signal, Some(2 | 15));
            return (!is_ours).then(|| format!("it was killed, and not by us: {status}"));
        };
        if run.is_last && code != 0 {
            return Some(format!("nobody was hurt any more, and it ended with {code}"));
        }
        let is_right = by_itself.is_some_and(|ended| code == i32::from(ended))
            || code == 79
            || code == 137 && run.done.killed_child
            || code == 143 && run.done.term
            || code == 130 && run.done.int
            || code == 75 && run.ask.wait != Wait::Forever && section.is_none()
            || code == 126 && section.is_none() && (run.done.hurt || self.was_away(run))
            || code == 69 && section.is_none() && (self.store_fails || self.was_away(run));
        let command = match (section, by_itself) {
            (None, _) => "did not begin".to_owned(),
            (_, None) => "did not end by itself".to_owned(),
            (_, Some(code)) => format!("ended with {code}"),
        };
        (!is_right).then(|| format!("exit code {code}, and its command {command}"))
    }
}

struct Judge<'a> {
    facts: &'a Facts<'a>,
    name: usize,
    violations: Vec<Violation>,
}

impl Judge<'_> {
    fn convict(&mut self, at: Time, what: String) {
        self.violations.push(Violation { name: Some(self.name), at, what });
    }

    fn readable(&mut self, written: &Written) {
        if written.unreadable > 0 {
            self.convict(0, format!("{} lines of the logs cannot be read", written.unreadable));
        }
        let mut holders: HashMap<u64, &Section> = HashMap::new();
        for section in &written.sections {
            let run = section.run;
            if section.is_odd {
                self.convict(section.begin, format!("run {run} has more than one section"));
            }
            let Some(token) = section.token else {
                self.convict(section.begin, format!("run {run} was given no token"));
                continue;
            };
            if let Some(other) = holders.insert(token, section) {
                let what = format!("token {token} was given twice: to run {} and {run}", other.run);
                self.convict(section.begin, what);
            }
        }
    }

    /// No section begins before all that have a lower token are over.
    fn apart(&mut self, sections: &[Section], seen: &mut Seen) {
        let mut by_token: Vec<&Section> = sections.iter().collect();
        by_token.sort_by_key(|section| (section.token.unwrap_or(0), section.begin));
        // Those that may not be over when the next one begins.
        let mut open: Vec<&Section> = vec![];
        let mut latest: HashMap<u64, Excuse> = HashMap::new();
        for section in by_token {
            for before in open.iter().filter(|before| before.last >= section.begin) {
                match self.facts.excuse(self.name, before) {
                    Some((from, excuse)) if from <= section.begin.max(before.begin) => {
                        latest.insert(before.run, excuse);
                    }
                    _ => {
                        seen.overlaps += 1;
                        self.convict(section.begin, told(before, section));
                    }
                }
            }
            open.retain(|before| before.last >= section.begin);
            open.push(section);
        }
        seen.sections += sections.len() as u64;
        seen.tokens += sections.iter().filter(|section| section.token.is_some()).count() as u64;
        let count = |excuse| latest.values().filter(|one| **one == excuse).count() as u64;
        seen.unwatched += count(Excuse::Unwatched);
        seen.broken += count(Excuse::Broken);
    }

    /// No section begins while a process of another one lives, also if it says nothing any more.
    fn alone_by_the_kernel(&mut self, sections: &[Section], seen: &mut Seen) {
        let by_run: HashMap<u64, &Section> = sections.iter().map(|s| (s.run, s)).collect();
        for section in sections {
            for other in &section.beside {
                let other_section = by_run.get(other).copied();
                let excused = [Some(section), other_section].into_iter().flatten().any(|one| {
                    let excuse = self.facts.excuse(self.name, one);
                    excuse.is_some_and(|(from, _)| from <= section.begin)
                });
                if !excused {
                    seen.overlaps += 1;
                    let what = format!(
                        "run {} began while a process of run {other} was alive",
                        section.run
                    );
                    self.convict(section.begin, what);
                }
            }
        }
    }

    /// Nobody who is alone is refused, and what was accepted never goes back.
    fn fenced(&mut self, written: &Written, seen: &mut Seen) {
        for section in &written.sections {
            seen.refused += section.refused.len() as u64;
            let excuse = self.facts.excuse(self.name, section);
            let wrong = section.refused.iter().find(|(at, _)| excuse.is_none_or(|e| e.0 > *at));
            if let Some((at, by)) = wrong {
                let what = format!(
                    "run {} was refused because token {by} had written, and it had been alone",
                    section.run
                );
                self.convict(*at, what);
            }
        }
        seen.accepted += written.accepted.len() as u64;
        for pair in written.accepted.windows(2) {
            let [(before, one), (after, other)] = pair else { continue };
            if before > after || (before == after && one != other) {
                let what = format!("the resource took {after} of {other} after {before} of {one}");
                self.convict(0, what);
            }
        }
    }

    /// A section that was broken ends with its lease at the latest, if somebody watches over it.
    fn broken_end(&mut self, sections: &[Section]) {
        let (facts, name) = (self.facts, self.name);
        for b in facts.breaks.iter().filter(|b| b.name == name) {
            let Some(token) = b.token else { continue };
            let mut before = sections.iter().filter(|section| section.begin < b.from);
            if let Some(as_high) = before.find(|s| s.token.is_some_and(|other| other >= token)) {
                let what = format!("the break did not raise the token above run {}'s", as_high.run);
                self.convict(b.to, what);
            }
            for section in sections.iter().filter(|s| s.token.is_some_and(|t| t + 1 == token)) {
                let Some(run) = facts.run(section.run) else { continue };
                let end = b.to + millis(run.ask.ttl_ms);
                if section.last > end && run.unwatched_from().is_none_or(|from| from > end) {
                    let what = format!("run {} goes on a ttl after it was broken", section.run);
                    self.convict(section.last, what);
                }
            }
        }
    }

    /// The lock does not stay free while somebody wants it.
    fn followed(&mut self, sections: &[Section], seen: &mut Seen) {
        let ttl = self.facts.terms.ttl_ms_most();
        // A holder that is stopped says nothing and is inside; after it a ttl goes by, and on a busy
        // host everything takes its time.
        let most = millis(self.facts.terms.span_ms_most() + 4 * ttl + 10_000);
        let Some(first) = sections.first() else { return };
        let mut over = first;
        for section in &sections[1..] {
            if over.ended.is_some() {
                seen.ended_by_themselves += 1;
            } else {
                seen.takeovers += 1;
            }
            // Before the last runs nobody wants it.
            let last = self.facts.run(section.run).filter(|run| run.is_last);
            let from = last.map_or(over.last, |run| run.started.max(over.last));
            let gap = section.begin.saturating_sub(from);
            let away = self.away_between(from, section.begin);
            seen.longest_gap = seen.longest_gap.max(gap);
            if gap.saturating_sub(away) > most {
                let what = format!("nobody got the lock after run {} was over", over.run);
                self.convict(section.begin, what);
            }
            if section.last >= over.last {
                over = section;
            }
        }
    }

    fn away_between(&self, from: Time, to: Time) -> Time {
        let all = self.facts.away.iter();
        all.map(|(a, b)| b.unwrap_or(to).min(to).saturating_sub((*a).max(from))).sum()
    }
}

fn told(before: &Section, section: &Section) -> String {
    let token = |section: &Section| section.token.map_or("no token".into(), |t| t.to_string());
    let (a, b) = (token(before), token(section));
    if before.begin > section.begin {
        return format!(
            "the token went back: run {} began with {a} after run {} with {b}",
            before.run, section.run
        );
    }
    let by = std::time::Duration::from_nanos(before.last - section.begin);
    format!("sections overlap: run {} ({a}) and run {} ({b}), for {by:?}", before.run, section.run)
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use super::*;
    use crate::plan::Ask;

    /// A second of the logs.
    const S: Time = 1_000_000_000;

    /// Two runs of a name with a ttl of 10 s, and what is known of them.
    struct Case {
        runs: [Run; 2],
        breaks: Vec<Break>,
        away: Vec<Span>,
        store_fails: bool,
    }

    /// A section from its beginning to its last sign of life, in seconds.
    fn section(run: u64, token: u64, begin: Time, last: Time) -> Section {
        Section {
            run,
            token: Some(token),
            holder: format!("holder-{run}"),
            begin: begin * S,
            last: last * S,
            ended: Some(3),
            beside: vec![],
            refused: vec![],
            is_odd: false,
        }
    }

    fn case() -> Case {
        let ask = Ask {
            pause_ms: 0,
            name: 0,
            ttl_ms: 10_000,
            wait: Wait::Forever,
            work_ms: 0,
            exit: 3,
            family: false,
            stubborn: false,
        };
        let run = || {
            let mut run = Run::new(ask.clone(), 0);
            run.ended = Some((90 * S, ExitStatus::from_raw(3 << 8)));
            run
        };
        Case { runs: [run(), run()], breaks: vec![], away: vec![], store_fails: false }
    }

    impl Case {
        /// What is wrong with these sections, and with how the runs ended.
        fn judged(&self, sections: &[Section]) -> Vec<String> {
            let ttls_ms = vec![10_000];
            let terms =
                Terms { seed: 0, slots: 3, names: 1, ttls_ms, can_freeze: false, namespaces: 0 };
            let (runs, breaks, away) = (&self.runs, &self.breaks, &self.away);
            let facts = Facts { terms: &terms, runs, breaks, away, store_fails: self.store_fails };
            let written = Written { sections: sections.to_vec(), ..Written::default() };
            let mut found = facts.judge(0, &written, &mut Seen::default());
            let by_run = sections.iter().map(|one| (one.run, one.clone())).collect();
            found.extend(facts.judge_ends(&by_run));
            found.into_iter().map(|violation| violation.what).collect()
        }

        #[track_caller]
        fn convicts(&self, sections: &[Section], of: &str) {
            let judged = self.judged(sections);
            assert!(judged.iter().any(|what| what.contains(of)), "{of:?} in {judged:?}");
        }

        #[track_caller]
        fn acquits(&self, sections: &[Section]) {
            assert_eq!(self.judged(sections), Vec::<String>::new());
        }
    }

    /// One after the other with rising tokens is right; anything else is not.
    #[test]
    fn sections_come_one_after_the_other() {
        let case = case();
        case.acquits(&[section(0, 5, 1, 2), section(1, 6, 3, 4)]);
        case.convicts(&[section(0, 5, 1, 4), section(1, 6, 3, 5)], "sections overlap");
        case.convicts(&[section(0, 6, 1, 2), section(1, 5, 3, 4)], "the token went back");
        case.convicts(&[section(0, 5, 1, 2), section(1, 5, 3, 4)], "given twice");
        case.convicts(&[section(0, 5, 1, 2), section(1, 6, 90, 91)], "nobody got the lock");
        let beside = Section { beside: vec![0], ..section(1, 6, 3, 4) };
        case.convicts(&[section(0, 5, 1, 2), beside], "was alive");
        let refused = Section { refused: vec![(S, 7)], ..section(1, 6, 3, 4) };
        case.convicts(&[section(0, 5, 1, 2), refused], "was refused");
    }

    /// When the time is over nobody wants the lock, until the last run does.
    #[test]
    fn a_lock_that_nobody_wants_may_be_free() {
        let mut case = case();
        case.runs[1].started = 89 * S;
        case.runs[1].ended = Some((91 * S, ExitStatus::from_raw(0)));
        let last = Section { ended: Some(0), ..section(1, 6, 90, 91) };
        case.convicts(&[section(0, 5, 1, 2), last.clone()], "nobody got the lock");
        case.runs[1].is_last = true;
        case.acquits(&[section(0, 5, 1, 2), last.clone()]);
        case.runs[1].started = 3 * S;
        case.convicts(&[section(0, 5, 1, 2), last], "nobody got the lock");
    }

    /// Its leasehold and its keeper were stopped together and it goes on: from then on that is not
    /// promised to be prevented, and before it is.
    #[test]
    fn an_unwatched_section_is_excused_from_then_on() {
        let mut case = case();
        case.runs[0].main_down = vec![(2 * S, None)];
        case.runs[0].keeper_down = vec![(2 * S, Some(30 * S))];
        case.acquits(&[section(0, 5, 1, 20), section(1, 6, 15, 21)]);
        case.convicts(&[section(0, 5, 0, 20), section(1, 6, 1, 21)], "sections overlap");
        case.runs[0].keeper_down = vec![];
        case.convicts(&[section(0, 5, 1, 20), section(1, 6, 15, 21)], "sections overlap");
    }

    /// A stopped command says nothing, its lock is broken, and the next one begins beside it. It has
    /// to be excused although its last sign of life is older than the break.
    #[test]
    fn a_broken_section_is_excused_for_a_ttl() {
        let mut case = case();
        case.breaks = vec![Break { name: 0, from: 3 * S, to: 4 * S, token: Some(6) }];
        let beside = Section { beside: vec![0], ..section(1, 7, 5, 6) };
        case.acquits(&[section(0, 5, 1, 2), beside.clone()]);
        case.acquits(&[section(0, 5, 1, 7), beside.clone()]);
        case.convicts(&[section(0, 5, 1, 15), beside.clone()], "a ttl after it was broken");
        case.convicts(&[section(0, 4, 1, 2), beside], "was alive");
        case.convicts(&[section(0, 6, 1, 2), section(1, 7, 5, 6)], "did not raise the token");
    }

    /// Every way to end needs its reason.
    #[test]
    fn exit_codes_need_their_reasons() {
        let ended = |status: i32, ended: Option<u8>| {
            let mut case = case();
            case.runs[0].ended = Some((90 * S, ExitStatus::from_raw(status)));
            (case, Section { ended, ..section(0, 5, 1, 2) })
        };
        let acquits = |(case, one): (Case, Section)| {
            case.acquits(&[one, section(1, 6, 3, 4)]);
        };
        acquits(ended(3 << 8, Some(3)));
        acquits(ended(79 << 8, None));
        for status in [0, 75 << 8, 69 << 8, 126 << 8, 137 << 8, 143 << 8, 9, 15] {
            let (mut case, one) = ended(status, None);
            assert!(!case.judged(std::slice::from_ref(&one)).is_empty(), "{status}");
            // Done by us, it is as it should be.
            case.runs[0].done.killed_main = status == 9;
            case.runs[0].done.killed_child = status == 137 << 8;
            case.runs[0].done.term = status == 143 << 8;
            if [9, 137 << 8, 143 << 8].contains(&status) {
                acquits((case, one));
            }
        }
        // A store that fails is a reason to end before the command begins, and for nothing else.
        let (mut case, one) = ended(69 << 8, None);
        case.convicts(&[section(1, 6, 3, 4)], "exit code 69");
        case.store_fails = true;
        case.acquits(&[section(1, 6, 3, 4)]);
        case.convicts(&[one], "exit code 69");
        case.runs[0].is_last = true;
        case.convicts(&[section(1, 6, 3, 4)], "nobody was hurt any more");
        // So is a store that was away while the run was there: until the very moment it was back.
        let (mut case, one) = ended(69 << 8, None);
        case.runs[0].started = 80 * S;
        case.away = vec![(70 * S, Some(81 * S))];
        case.acquits(&[section(1, 6, 3, 4)]);
        case.convicts(&[one], "exit code 69");
        case.away = vec![(70 * S, Some(79 * S)), (91 * S, None)];
        case.convicts(&[section(1, 6, 3, 4)], "exit code 69");
        let (mut case, one) = ended(3 << 8, Some(3));
        case.runs[0].left = vec!["4711".into()];
        case.convicts(&[one], "and left 4711");
    }
}
