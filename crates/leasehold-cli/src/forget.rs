//! `leasehold forget`: remove names that nobody uses any more.

use leasehold::{Client, Error, Forgotten};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::answer::Store;
use crate::cli::Forget;
use crate::exit::{Exit, Failure, NOT_ACQUIRED};
use crate::show::{clean, print};
use crate::status::outcome;
use crate::{near, place, show};

/// How many names are looked at at the same time.
const AT_ONCE: usize = 32;

/// What became of one name.
#[derive(Serialize)]
struct Answer {
    name: String,
    #[serde(flatten)]
    forgotten: Option<Forgotten>,
    /// Why it could not be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

/// The whole command.
pub(crate) async fn forget(options: Forget, backend: Option<&str>) -> Result<Exit, Failure> {
    let client = place::connect(backend).await?;
    let store = Store::of(&client, backend);
    match options.older_than {
        Some(_) => many(&client, &store, &options).await,
        None => one(&client, &store, &options).await,
    }
}

fn asked(client: &Client, name: &str, options: &Forget) -> leasehold::Forget {
    let mut forget = client.forget(name);
    if options.once {
        forget = forget.even_once();
    }
    if options.token_may_fall {
        forget = forget.token_may_fall();
    }
    match options.older_than {
        Some(age) => forget.older_than(age),
        None => forget,
    }
}

async fn one(client: &Client, store: &Store, options: &Forget) -> Result<Exit, Failure> {
    let name = options.name.as_deref().unwrap_or_default();
    let forgotten = asked(client, name, options).await?;
    let mut text = sentence(name, &forgotten);
    if forgotten == Forgotten::Absent {
        text += &near::question(&near::names(client, name).await);
    }
    let exit = match forgotten {
        Forgotten::Removed { .. } | Forgotten::Absent => Exit::Done,
        Forgotten::Once { .. } | Forgotten::Ahead { .. } => Exit::Usage,
        _ => Exit::NotAcquired(NOT_ACQUIRED),
    };
    print(&match options.output.json {
        true => store.json(answer(name.to_owned(), Ok(forgotten))),
        false => format!("{}{}\n", store.line(), clean(&text)),
    });
    Ok(exit)
}

/// All that are old enough. What is left alone is told where a person may want to know why.
async fn many(client: &Client, store: &Store, options: &Forget) -> Result<Exit, Failure> {
    let names = client.names(options.name.as_deref().unwrap_or_default()).await?;
    let mut acts = JoinSet::new();
    let mut all: Vec<Answer> = vec![];
    for name in names {
        if acts.len() >= AT_ONCE {
            all.extend(acts.join_next().await.and_then(Result::ok));
        }
        let forgetting = asked(client, &name, options);
        acts.spawn(async move { answer(name, forgetting.await) });
    }
    while let Some(done) = acts.join_next().await {
        all.extend(done.ok());
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let exit = all.iter().map(|it| it.exit).max_by_key(|exit| exit.code());
    if options.output.json {
        let answers: Vec<_> = all.iter().map(|it| store.answer(it)).collect();
        print(&show::json(&answers));
    } else {
        let is_removed = |it: &Answer| matches!(it.forgotten, Some(Forgotten::Removed { .. }));
        let removed = all.iter().filter(|it| is_removed(it)).count();
        let mut text = store.line();
        for it in &all {
            let line = match (&it.forgotten, &it.problem) {
                (None | Some(Forgotten::Young | Forgotten::Absent), None) => continue,
                (Some(forgotten), _) => sentence(&it.name, forgotten),
                (None, Some(problem)) => format!("not forgotten: {problem}"),
            };
            text.extend([&clean(&line), "\n"]);
        }
        print(&format!("{text}{removed} of {} names are forgotten\n", all.len()));
    }
    match exit {
        None | Some(Exit::Done) => Ok(Exit::Done),
        Some(exit) => Err(Failure::new(exit, "not every name could be looked at")),
    }
}

fn answer(name: String, result: Result<Forgotten, Error>) -> Answer {
    match result {
        Ok(forgotten) => {
            Answer { name, forgotten: Some(forgotten), problem: None, exit: Exit::Done }
        }
        Err(error) => {
            let exit = Exit::of_error(error.kind(), NOT_ACQUIRED);
            Answer { name, forgotten: None, problem: Some(error.to_string()), exit }
        }
    }
}

fn sentence(name: &str, forgotten: &Forgotten) -> String {
    match forgotten {
        Forgotten::Removed { token } => format!(
            "{name:?} is forgotten; its last token was {token}, and the next one starts from the \
             store's clock, which is higher"
        ),
        Forgotten::Absent => format!("there is nothing of {name:?} to forget: it was never used"),
        Forgotten::Held { holder } => format!(
            "not forgotten: {name:?} is held by {holder}; if that holder is dead, \
             `leasehold break` frees it"
        ),
        Forgotten::Once { outcome } => format!(
            "not forgotten: {name:?} is of `once`, which would run it again ({}); --once forgets \
             it too",
            outcome::sentence(outcome, false)
        ),
        Forgotten::Ahead { token } => format!(
            "not forgotten: the token {token} of {name:?} is ahead of the store's clock, so that \
             the next one would be lower; --token-may-fall forgets it all the same"
        ),
        _ => format!("not forgotten: {name:?} has not been free for that long"),
    }
}
