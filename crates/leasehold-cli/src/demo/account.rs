//! What came of a demo, for people and for programs.

use std::io::IsTerminal;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::tell;
use crate::answer;
use crate::cli::Demo;
use crate::show::{self, clean};
use crate::times::exact;

/// One race.
#[derive(Debug, Default)]
pub(super) struct Round {
    number: u32,
    winners: Vec<Winner>,
    losers: Vec<Loser>,
    /// How many lines were written.
    pub(super) lines: usize,
    /// What is not as promised.
    problems: Vec<String>,
}

#[derive(Debug)]
struct Winner {
    label: String,
    line: String,
    ended_ns: u64,
}

#[derive(Debug)]
struct Loser {
    label: String,
    told_by: String,
    told_line: String,
    back_ns: u64,
}

impl Round {
    pub(super) fn new(number: u32) -> Round {
        Round { number, ..Round::default() }
    }

    /// Takes in what the clients of a process say.
    pub(super) fn hear(&mut self, process: u32, all: Vec<Result<Value, String>>) {
        for said in all {
            let said = match said {
                Ok(said) => said,
                Err(why) => {
                    self.problems.push(format!("process {process}: {why}"));
                    continue;
                }
            };
            let text = |field: &str| said[field].as_str().unwrap_or_default().to_owned();
            let ns = |field: &str| said[field].as_u64().unwrap_or_default();
            let label = format!("process {process}, client {}", said["client"]);
            match said["told"].as_str() {
                Some("won") => {
                    let (line, ended_ns) = (text("line"), ns("ended_ns"));
                    self.winners.push(Winner { label, line, ended_ns });
                }
                Some("inherited") => {
                    let (told_by, told_line) = (text("by"), text("line"));
                    self.losers.push(Loser { label, told_by, told_line, back_ns: ns("back_ns") });
                }
                _ => self.problems.push(format!("{label}: {}{}", text("error"), text("line"))),
            }
        }
    }

    /// Compares it with what is promised.
    fn judge(&mut self, clients: usize) {
        match &self.winners[..] {
            [] => self.problems.push("nobody won".into()),
            [winner] => {
                let is_other =
                    |l: &&Loser| (&l.told_by, &l.told_line) != (&winner.label, &winner.line);
                if let Some(loser) = self.losers.iter().find(is_other) {
                    let Loser { label, told_by, .. } = loser;
                    self.problems.push(format!(
                        "{label} was told that {told_by:?} did it, and it was {}",
                        winner.label
                    ));
                }
                if let Some(loser) = self.losers.iter().find(|l| l.back_ns < winner.ended_ns) {
                    self.problems.push(format!("{} was back before it was done", loser.label));
                }
            }
            all => self.problems.push(format!("{} won", all.len())),
        }
        if self.lines != 1 {
            self.problems.push(format!("{} lines were written", self.lines));
        }
        let back = self.winners.len() + self.losers.len();
        if back != clients && self.problems.is_empty() {
            self.problems.push(format!("{back} of {clients} clients came back"));
        }
    }

    /// How long after the winner's end each of the others was back.
    fn waits(&self) -> Vec<Duration> {
        let ended = self.winners.first().map_or(0, |winner| winner.ended_ns);
        let waits = self.losers.iter().map(|loser| loser.back_ns.saturating_sub(ended));
        waits.map(Duration::from_nanos).collect()
    }

    fn winner(&self) -> &str {
        self.winners.first().map_or("nobody", |winner| &winner.label)
    }

    fn answer(&self) -> RoundAnswer<'_> {
        let spread = Spread::of(self.waits());
        RoundAnswer {
            round: self.number,
            winner: self.winners.first().map(|winner| &*winner.label),
            lines: self.lines,
            told: self.losers.len(),
            median_ms: spread.as_ref().map(|spread| ms(spread.median)),
            worst_ms: spread.as_ref().map(|spread| ms(spread.worst)),
            problems: &self.problems,
        }
    }
}

/// All races for a program.
#[derive(Serialize)]
struct Answer<'a> {
    store: &'a str,
    name: &'a str,
    processes: u32,
    clients: u32,
    as_promised: bool,
    lines: usize,
    told: usize,
    median_ms: Option<f64>,
    worst_ms: Option<f64>,
    rounds: Vec<RoundAnswer<'a>>,
}

#[derive(Serialize)]
struct RoundAnswer<'a> {
    round: u32,
    winner: Option<&'a str>,
    lines: usize,
    told: usize,
    median_ms: Option<f64>,
    worst_ms: Option<f64>,
    problems: &'a [String],
}

/// How long the losers waited.
struct Spread {
    median: Duration,
    worst: Duration,
}

impl Spread {
    fn of(mut spans: Vec<Duration>) -> Option<Spread> {
        spans.sort_unstable();
        let worst = *spans.last()?;
        Some(Spread { median: spans[spans.len() / 2], worst })
    }
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

/// All races.
pub(super) struct Account {
    store: String,
    name: String,
    clients: u32,
    processes: u32,
    wanted: u32,
    is_json: bool,
    /// Where the lines are, if they stay there.
    output: String,
    rounds: Vec<Round>,
}

impl Account {
    pub(super) fn new(store: &str, name: &str, options: &Demo) -> Account {
        Account {
            store: store.to_owned(),
            name: name.to_owned(),
            clients: options.clients * options.processes,
            processes: options.processes,
            wanted: options.rounds,
            is_json: options.printed.json,
            output: options
                .output
                .as_ref()
                .map_or(String::new(), |p| format!(" in {}", p.display())),
            rounds: vec![],
        }
    }

    /// Before the first race.
    pub(super) fn begin(&self) {
        if self.is_json {
            return;
        }
        tell(&format!("demo on {}", clean(&self.store)));
        let once = if self.wanted == 1 { "once" } else { "once each round" };
        let all = format!("{} clients in {} processes", self.clients, self.processes);
        tell(&format!("{all} want one line written, {once}.\n"));
        if self.wanted > 1 {
            tell("  round  winner                      lines   others told    median     worst");
        }
    }

    /// After each race. True if it was as promised.
    pub(super) fn add(&mut self, mut round: Round) -> bool {
        let clients = usize::try_from(self.clients).unwrap_or(usize::MAX);
        round.judge(clients);
        if !self.is_json {
            match self.wanted {
                1 => self.say_round(&round),
                _ => tell(&row(&round.number.to_string(), round.winner(), &round)),
            }
            for problem in &round.problems {
                tell(&format!("  !! {}", clean(problem)));
            }
        }
        let is_fine = round.problems.is_empty();
        self.rounds.push(round);
        is_fine
    }

    fn say_round(&self, round: &Round) {
        let line = |what: &str, fact: String| tell(&format!("  {what:<12}{}", clean(&fact)));
        line("won by", round.winner().to_owned());
        line("written", format!("{}{}", counted(round.lines, "line"), self.output));
        let others = self.clients.saturating_sub(1);
        line("told", format!("{} of {others} others, who did it", round.losers.len()));
        if let Some(Spread { median, worst }) = Spread::of(round.waits()) {
            let (median, worst) = (exact(median), exact(worst));
            line("waited", format!("{median} after the winner's end (median), {worst} at worst"));
        }
    }

    /// The totals. True if all was as promised.
    pub(super) fn end(&self) -> bool {
        let is_fine = self.rounds.iter().all(|round| round.problems.is_empty())
            && self.rounds.len() == usize::try_from(self.wanted).unwrap_or(usize::MAX);
        let mut total = Round::default();
        let mut waits = vec![];
        for round in &self.rounds {
            total.lines += round.lines;
            waits.extend(round.waits());
        }
        let told = waits.len();
        let spread = Spread::of(waits);
        if self.is_json {
            show::print(&answer::json(Answer {
                store: &self.store,
                name: &self.name,
                processes: self.processes,
                clients: self.clients,
                as_promised: is_fine,
                lines: total.lines,
                told,
                median_ms: spread.as_ref().map(|spread| ms(spread.median)),
                worst_ms: spread.as_ref().map(|spread| ms(spread.worst)),
                rounds: self.rounds.iter().map(Round::answer).collect(),
            }));
            return is_fine;
        }
        if self.wanted > 1 {
            tell(&columns("all", "", total.lines, told, spread.as_ref()));
        }
        tell("");
        tell(&bold(&verdict(is_fine, self.wanted)));
        is_fine
    }
}

fn verdict(is_fine: bool, rounds: u32) -> String {
    match (is_fine, rounds) {
        (true, 1) => "It ran once: exactly one line was written, and everybody knows.".into(),
        (true, n) => format!("It ran once in each of {n} rounds: one line each, everybody knows."),
        (false, _) => "This is NOT as promised: see the lines with !!.".into(),
    }
}

fn row(name: &str, winner: &str, round: &Round) -> String {
    let spread = Spread::of(round.waits());
    columns(name, winner, round.lines, round.losers.len(), spread.as_ref())
}

fn columns(name: &str, winner: &str, lines: usize, told: usize, spread: Option<&Spread>) -> String {
    let span = |of: fn(&Spread) -> Duration| spread.map_or("-".into(), |s| exact(of(s)));
    let (median, worst) = (span(|s| s.median), span(|s| s.worst));
    format!("  {name:>5}  {winner:<24} {lines:>8} {told:>13} {median:>9} {worst:>9}")
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// The verdict stands out where a person looks.
fn bold(text: &str) -> String {
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_none_or(|term| term == "dumb")
        || !std::io::stdout().is_terminal();
    if is_plain { text.to_owned() } else { format!("\x1b[1m{text}\x1b[0m") }
}
