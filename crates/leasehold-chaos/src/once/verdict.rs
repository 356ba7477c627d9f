//! What the resource's history and the exit codes prove.

use std::process::ExitStatus;

use super::command::{Line, Word};
use crate::clock::{self, Time};

/// One `leasehold once`, as the harness saw it.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) key: String,
    pub(super) was_killed: bool,
    pub(super) ended: Option<(Time, ExitStatus)>,
}

/// One run of the command.
#[derive(Debug, Clone)]
struct Section {
    line: Line,
    steps: Vec<u64>,
    has_ended: bool,
}

/// What came of it all.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) violations: Vec<String>,
    pub(super) sections: usize,
    pub(super) resumed: usize,
    pub(super) steps: usize,
    /// Steps that were in flight at a death, and done again.
    pub(super) repeated: usize,
    /// Keys whose runner was told of the completion, and those whose runner died in between.
    pub(super) told: usize,
    pub(super) untold: usize,
    /// The longest time from a kill to the next one's beginning.
    pub(super) longest_gap: Time,
}

/// The sections in their order. A token that is not the last one never writes again.
fn sections(history: &[Line], verdict: &mut Verdict) -> Vec<Section> {
    let mut all: Vec<Section> = vec![];
    for line in history {
        let last = all.last_mut();
        if matches!(line.word, Word::Begin { .. }) {
            if last.is_some_and(|last| last.line.token >= line.token) {
                verdict.violations.push(format!("a token that is not higher: {line:?}"));
            }
            all.push(Section { line: line.clone(), steps: vec![], has_ended: false });
            continue;
        }
        let of_last = last.filter(|last| last.line.token == line.token && !last.has_ended);
        match (of_last, &line.word) {
            (Some(last), Word::Step(n)) => last.steps.push(*n),
            (Some(last), Word::End) => last.has_ended = true,
            _ => verdict.violations.push(format!("not by the one that runs: {line:?}")),
        }
    }
    all
}

/// Judges one key after the other.
pub(super) fn judge(history: &[Line], runs: &[Run], keys: &[(String, u64)]) -> Verdict {
    let mut verdict = Verdict::default();
    let sections = sections(history, &mut verdict);
    verdict.sections = sections.len();
    for (key, steps) in keys {
        let of_key: Vec<&Section> = sections.iter().filter(|s| s.line.key == *key).collect();
        judge_steps(&of_key, key, *steps, &mut verdict);
        judge_end(&of_key, key, runs, &mut verdict);
    }
    for (n, run) in runs.iter().enumerate() {
        match run.ended {
            Some((_, status)) if run.was_killed || status.success() => {}
            Some((_, status)) => verdict.violations.push(format!("run {n} ended with {status}")),
            None => verdict.violations.push(format!("run {n} did not end")),
        }
    }
    verdict
}

/// Each goes on where the one before died: at the step that was in flight, or at the next.
fn judge_steps(sections: &[&Section], key: &str, steps: u64, verdict: &mut Verdict) {
    let (mut last, mut before) = (0, None);
    for section in sections {
        let Line { token, run, word, .. } = &section.line;
        let Word::Begin { attempt, resumed, next, .. } = *word else { continue };
        let what = format!("{key}, run {run}, token {token}");
        if attempt != 1 {
            verdict.violations.push(format!("{what}: attempt {attempt}, and nothing failed"));
        }
        // Who died before its command began has a token that nobody wrote down.
        let fits = |r: u64| before.is_none_or(|before| r >= before) && r < *token;
        if !resumed.map_or(before.is_none(), fits) {
            verdict.violations.push(format!("{what} resumes {resumed:?}, not {before:?}"));
        }
        if next != last + 1 && (last == 0 || next != last) {
            verdict.violations.push(format!("{what} goes on at step {next} after step {last}"));
        }
        verdict.repeated += usize::from(next == last && !section.steps.is_empty());
        verdict.resumed += usize::from(resumed.is_some());
        verdict.steps += section.steps.len();
        if !section.steps.iter().copied().eq((next..).take(section.steps.len())) {
            verdict.violations.push(format!("{what}: steps {:?} from {next}", section.steps));
        }
        last = section.steps.last().copied().unwrap_or(last);
        before = Some(*token);
    }
    if last != steps || !sections.last().is_some_and(|section| section.has_ended) {
        verdict
            .violations
            .push(format!("{key} came to step {last} of {steps}, and not to its end"));
    }
}

/// There is one completion: it is told to one runner at most, and nothing begins after anybody has
/// heard of it.
fn judge_end(sections: &[&Section], key: &str, runs: &[Run], verdict: &mut Verdict) {
    let of_key = runs.iter().filter(|run| run.key == key && !run.was_killed);
    let heard = of_key.filter_map(|run| run.ended.filter(|(_, status)| status.success()));
    let heard = heard.map(|(at, _)| at).min();
    let mut told = 0;
    for section in sections {
        let Line { run, word, .. } = &section.line;
        if let (Word::Begin { at, .. }, Some(heard)) = (word, heard)
            && *at > heard
        {
            let (at, heard) = (clock::shown(*at), clock::shown(heard));
            verdict.violations.push(format!("{key} ran again at {at}, done since {heard}"));
        }
        let is_told = runs.get(*run).is_some_and(|run| !run.was_killed);
        match (is_told, section.has_ended) {
            (true, true) => told += 1,
            (true, false) => verdict.violations.push(format!("{key}, run {run}: without an end")),
            (false, _) => {}
        }
    }
    match told {
        0 => verdict.untold += 1,
        1 => verdict.told += 1,
        n => verdict.violations.push(format!("{key} was completed {n} times")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn begin(token: u64, run: usize, resumed: Option<u64>, next: u64) -> Line {
        let word = Word::Begin { at: token * 10, attempt: 1, resumed, next };
        Line { token, run, key: "k".into(), word }
    }

    fn line(token: u64, run: usize, word: Word) -> Line {
        Line { token, run, key: "k".into(), word }
    }

    fn judged(history: &[Line], killed: &[bool], ended_at: u64) -> Vec<String> {
        let run = |&was_killed: &bool| Run {
            key: "k".into(),
            was_killed,
            ended: Some((ended_at, ExitStatus::from_raw(if was_killed { 9 } else { 0 }))),
        };
        let runs: Vec<Run> = killed.iter().map(run).collect();
        judge(history, &runs, &[("k".into(), 2)]).violations
    }

    /// A run dies at its first step, another in between its end and the news of it, and a third finds all
    /// done and has only to say so. That is as it should be.
    #[test]
    fn deaths_are_no_violations() {
        let history = [
            begin(1, 0, None, 1),
            line(1, 0, Word::Step(1)),
            begin(2, 1, Some(1), 1),
            line(2, 1, Word::Step(1)),
            line(2, 1, Word::Step(2)),
            line(2, 1, Word::End),
            begin(4, 2, Some(3), 3),
            line(4, 2, Word::End),
        ];
        assert_eq!(judged(&history, &[true, true, false], 99), Vec::<String>::new());
    }

    /// Each promise, broken once.
    #[test]
    fn each_broken_promise_is_told() {
        let whole = |token, run, resumed| {
            let end = [line(token, run, Word::Step(2)), line(token, run, Word::End)];
            [&[begin(token, run, resumed, 1), line(token, run, Word::Step(1))][..], &end].concat()
        };
        let twice = [whole(1, 0, None), vec![begin(2, 1, Some(1), 3), line(2, 1, Word::End)]];
        let told = judged(&twice.concat(), &[false, false], 99).join("; ");
        assert!(told.contains("completed 2 times"), "{told}");
        let again = judged(&twice.concat(), &[true, false], 15).join("; ");
        assert!(again.contains("ran again"), "{again}");
        let anew = [vec![begin(1, 0, None, 1), line(1, 0, Word::Step(1))], whole(2, 1, None)];
        let anew = judged(&anew.concat(), &[true, false], 99).join("; ");
        assert!(anew.contains("resumes None"), "{anew}");
        let mut skipped = whole(1, 0, None);
        skipped.remove(1);
        assert!(judged(&skipped, &[false], 99).join("").contains("steps [2] from 1"));
        let late = [whole(5, 1, None), vec![line(4, 0, Word::Step(2))]];
        let late = judged(&late.concat(), &[true, false], 99).join("; ");
        assert!(late.contains("not by the one that runs"), "{late}");
        let unfinished = judged(&whole(1, 0, None)[..2], &[true], 99).join("; ");
        assert!(unfinished.contains("came to step 1 of 2"), "{unfinished}");
    }
}
