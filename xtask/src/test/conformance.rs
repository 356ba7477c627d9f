//! The conformance kit's report: which case ran on which backend, and which did not.
//!
//! Each line of it is `backend TAB case TAB outcome TAB reason`; the kit's `report.rs` writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The environment variable that tells the kit where to write.
pub(super) const REPORT: &str = "LEASEHOLD_REPORT_FILE";

/// What the report comes to.
#[derive(Debug, Default)]
pub(super) struct Conformance {
    /// A line per backend, for the reader.
    pub(super) lines: Vec<String>,
    /// The cases that neither ran to their end nor were declared not to.
    pub(super) missing: Vec<String>,
}

#[derive(Default)]
struct Backend<'a> {
    cases: BTreeSet<&'a str>,
    ran: BTreeSet<&'a str>,
    skipped: BTreeSet<&'a str>,
    /// By reason.
    inapplicable: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl Conformance {
    pub(super) fn read(report: &str) -> Conformance {
        let mut backends: BTreeMap<&str, Backend> = BTreeMap::new();
        for line in report.lines() {
            let mut fields = line.split('\t');
            let [Some(name), Some(case), Some(outcome)] = [(); 3].map(|()| fields.next()) else {
                continue;
            };
            let backend = backends.entry(name).or_default();
            match outcome {
                "has" => backend.cases.insert(case),
                "ran" => backend.ran.insert(case),
                "skipped" => backend.skipped.insert(case),
                "inapplicable" => {
                    let why = fields.next().unwrap_or_default();
                    backend.inapplicable.entry(why).or_default().insert(case)
                }
                _ => false,
            };
        }
        let mut conformance = Conformance::default();
        for (name, backend) in &backends {
            conformance.lines.push(backend.line(name));
            conformance.missing.extend(backend.missing().map(|case| format!("{name}: {case}")));
        }
        conformance
    }
}

impl Backend<'_> {
    fn line(&self, name: &str) -> String {
        let mut line = format!("conformance {name}: {} cases ran", self.ran.len());
        if !self.skipped.is_empty() {
            let _ = write!(line, ", {} skipped", self.skipped.len());
        }
        let reasons: Vec<String> = self
            .inapplicable
            .iter()
            .map(|(why, cases)| {
                let cases: Vec<&str> = cases.iter().copied().collect();
                format!("{} ({why})", cases.join(", "))
            })
            .collect();
        if !reasons.is_empty() {
            let _ = write!(line, ", not applicable: {}", reasons.join(", "));
        }
        line
    }

    fn missing(&self) -> impl Iterator<Item = &str> {
        let declared = |case: &str| self.inapplicable.values().any(|cases| cases.contains(case));
        self.cases.iter().copied().filter(move |&case| {
            !self.ran.contains(case) && !self.skipped.contains(case) && !declared(case)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One backend ran everything; one declared a case, and another case is silently not there.
    #[test]
    fn a_case_that_is_not_there_is_found() {
        let report = "file\ta\thas\t\nfile\tb\thas\t\nfile\ta\tran\t\nfile\tb\tran\t\n\
                      memory\ta\thas\t\nmemory\tb\thas\t\nmemory\tc\thas\t\nmemory\td\thas\t\n\
                      memory\ta\tran\t\nmemory\tb\tinapplicable\tno processes\n\
                      memory\td\tinapplicable\tno processes\nmemory\ta\tran\t\n";
        let conformance = Conformance::read(report);
        assert_eq!(
            conformance.lines,
            [
                "conformance file: 2 cases ran",
                "conformance memory: 1 cases ran, not applicable: b, d (no processes)",
            ]
        );
        assert_eq!(conformance.missing, ["memory: c"]);
    }

    /// A case that this machine could not run is known, and counted in another list besides.
    #[test]
    fn a_skipped_case_is_not_missing() {
        let conformance = Conformance::read("gcs\ta\thas\t\ngcs\ta\tskipped\tno bucket\n");
        assert_eq!(conformance.lines, ["conformance gcs: 0 cases ran, 1 skipped"]);
        assert!(conformance.missing.is_empty());
    }
}
