//! `leasehold reset`: forget that something was done.

use crate::cli::Reset;
use crate::exit::{Exit, Failure};

/// The whole command.
pub(crate) async fn reset(options: Reset, backend: Option<&str>) -> Result<Exit, Failure> {
    let client = crate::place::connect(backend).await?;
    client.status(&options.name).await?;
    Err(Failure::new(Exit::Usage, "not to be had yet"))
}
