//! `leasehold break`: take a lock away by force.

use leasehold::Forced;
use serde_json::json;

use crate::cli::Break;
use crate::exit::{Exit, Failure, NOT_ACQUIRED};
use crate::show::{clean, print};
use crate::{place, show, status};

/// The whole command.
pub(crate) async fn force(options: Break, backend: Option<&str>) -> Result<Exit, Failure> {
    if options.reason.trim().is_empty() {
        return Err(Failure::usage("a reason is needed: the holder will ask"));
    }
    let client = place::connect(backend).await?;
    let forced = client.force_release(&options.name, &options.reason).await?;
    let name = &options.name;
    let (exit, text, value) = match &forced {
        Forced::Released { holder, token } => {
            let was = status::holder_json(holder);
            (
                Exit::Done,
                format!("{name:?} was taken from {holder}; its token is now {token}"),
                json!({ "outcome": "released", "holder": was, "token": token.0 }),
            )
        }
        Forced::Repaired { token } => (
            Exit::Done,
            format!("the record of {name:?} was replaced by a free one; its token is now {token}"),
            json!({ "outcome": "repaired", "token": token.0 }),
        ),
        Forced::Changed { now } => (
            Exit::NotAcquired(NOT_ACQUIRED),
            format!("{name:?} came to another holder meanwhile, who was left alone: {now}"),
            json!({ "outcome": "changed", "holder": status::holder_json(now) }),
        ),
        // `Forced` may grow.
        _ => (Exit::Done, format!("nobody held {name:?}"), json!({ "outcome": "was-free" })),
    };
    print(&match options.output.json {
        true => show::json(&value),
        false => format!("{}\n", clean(&text)),
    });
    Ok(exit)
}
