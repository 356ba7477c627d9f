//! Bad days, played on request: `REHEARSE=pause`, `REHEARSE=fail` and `REHEARSE=broken`. A service of
//! yours has no such file.

use std::time::Duration;

use crate::Error;
use crate::migrations::Step;

/// Which run of the migrations this is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// 1 for the first that is made of this key, over all instances.
    pub(crate) attempt: u64,
    /// Whether an earlier run was not brought to an end.
    pub(crate) is_resumed: bool,
}

/// What happens before a step.
///
/// * `pause`: the last step takes a minute, unless it was begun before; time for a kill.
/// * `fail`: the last step fails in the first two attempts.
/// * `broken`: the last step fails in all of them.
pub(crate) fn before(step: &Step, run: Run) -> Result<(), Error> {
    if !step.is_last {
        return Ok(());
    }
    match std::env::var("REHEARSE").as_deref() {
        Ok("pause") if !run.is_resumed => {
            println!("pausing before {}, process {}", step.name, std::process::id());
            std::thread::sleep(Duration::from_mins(1));
            Ok(())
        }
        Ok("fail") if run.attempt > 2 => Ok(()),
        Ok("fail" | "broken") => Err(format!("{} fails, as rehearsed", step.name).into()),
        _ => Ok(()),
    }
}
