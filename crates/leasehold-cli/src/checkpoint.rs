//! `leasehold checkpoint`, and the socket by which it speaks to the `leasehold once` above it.
//!
//! A question is `get`, or `set ` and the bytes, up to the end of what is sent. An answer is the exit code
//! in one byte, then what was asked for, or what went wrong. The directory is ours alone, so a
//! process that can open a socket in it runs as this user.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream as Stream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use leasehold::core::record::MAX_CHECKPOINT_BYTES;
use leasehold::env::{Env, Host};
use leasehold::{Client, Section};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::cli::{Checkpoint, CheckpointAct};
use crate::exit::{Exit, Failure};
use crate::sessions::{Socket, at};
use crate::show;

/// The variable with the path of the socket, or with the reason why there is none.
pub(crate) const SOCKET: &str = "LEASEHOLD_CHECKPOINT";

/// How sockets of runs are told from those of sessions.
const SUFFIX: &str = "run";

const SET: &[u8] = b"set ";

/// How long a visitor may take to ask, and to hear.
const PATIENCE: Duration = Duration::from_secs(2);

/// The end of the one who runs the command.
pub(crate) struct Server {
    socket: Option<Socket>,
    /// The path, or the reason why there is none.
    pub(crate) place: OsString,
    newest: Mutex<Option<Vec<u8>>>,
}

impl Server {
    /// Whether there will be one: found out before there is anything to save.
    pub(crate) fn is_possible(client: &Client) -> Result<(), Failure> {
        Socket::open(client).map(drop)
    }

    /// Begins to listen. If that has become impossible meanwhile, the command runs all the same, and
    /// learns the reason when it asks.
    pub(crate) fn open(client: &Client, section: &Section) -> Server {
        let newest = Mutex::new(section.checkpoint().map(<[u8]>::to_vec));
        let opened = Socket::open(client).map_err(|failure| failure.message);
        let opened = opened.and_then(|mut socket| {
            socket.path.parent().map(sweep);
            // It gets its name when somebody listens, so that nobody takes it for a left one.
            let named = socket.rename(&format!("{}.{SUFFIX}", section.guard().holder()));
            named.map(|()| socket).map_err(|e| e.to_string())
        });
        let (socket, place) = match opened {
            Ok(socket) => {
                let place = socket.path.clone();
                (Some(socket), place.into())
            }
            Err(why) => (None, format!("none: {why}").into()),
        };
        Server { socket, place, newest }
    }

    /// Answers one visitor after another, for ever. Cancel-safe: what is being saved is saved.
    pub(crate) async fn serve(&self, section: &Section) -> std::convert::Infallible {
        let Some(socket) = &self.socket else { return std::future::pending().await };
        loop {
            match socket.listener.accept().await {
                Ok((visitor, _)) => self.answer(section, visitor).await,
                // Out of descriptors, say: nothing is won by asking again at once.
                Err(_) => Host.sleep(PATIENCE).await,
            }
        }
    }

    /// Hears one visitor out. One that is slow or says too much is left.
    async fn answer(&self, section: &Section, mut visitor: UnixStream) {
        let mut question = vec![];
        let most = SET.len() + MAX_CHECKPOINT_BYTES + 1;
        let mut bounded = (&mut visitor).take(most as u64);
        tokio::select! {
            read = bounded.read_to_end(&mut question) => if read.is_err() { return },
            () = Host.sleep(PATIENCE) => return,
        }
        let (exit, text) = match question.strip_prefix(SET) {
            Some(checkpoint) => self.set(section, checkpoint).await,
            None if question == b"get" => self.get(),
            None => (Exit::Usage, b"not understood".to_vec()),
        };
        let answer = [&[exit.code()], &*text].concat();
        tokio::select! {
            _ = visitor.write_all(&answer) => {}
            () = Host.sleep(PATIENCE) => {}
        }
    }

    async fn set(&self, section: &Section, checkpoint: &[u8]) -> (Exit, Vec<u8>) {
        if let Err(error) = section.save(checkpoint).await {
            let exit = Exit::of_error(error.kind(), Exit::Lost.code());
            return (exit, error.to_string().into_bytes());
        }
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(checkpoint.to_vec());
        (Exit::Done, vec![])
    }

    fn get(&self) -> (Exit, Vec<u8>) {
        match &*self.newest.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(bytes) => (Exit::Done, bytes.clone()),
            None => (Exit::NoCheckpoint, vec![]),
        }
    }
}

/// Removes the sockets of those that were killed.
fn sweep(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_run = path.extension().is_some_and(|suffix| suffix == SUFFIX);
        let refused = || {
            at(&path, Stream::connect)
                .is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
        };
        if is_run && refused() {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The whole command.
pub(crate) fn command(options: Checkpoint) -> Result<Exit, Failure> {
    let socket = place()?;
    let question = match options.act {
        CheckpointAct::Get => b"get".to_vec(),
        CheckpointAct::Set { value } => [SET, &bytes(value)?].concat(),
    };
    let answer = ask(&socket, &question).map_err(|error| {
        let why = format!(
            "no answer from the `leasehold once` that runs this ({error}): it has ended, or the \
             lock is lost; if a checkpoint was to be saved, it may be saved or not"
        );
        Failure::new(Exit::Lost, why)
    })?;
    let (code, text) = (answer[0], &answer[1..]);
    match code {
        0 => {
            show::print_bytes(text);
            Ok(Exit::Done)
        }
        1 => Ok(Exit::NoCheckpoint),
        code => Err(Failure::new(Exit::Child(code), String::from_utf8_lossy(text))),
    }
}

fn place() -> Result<PathBuf, Failure> {
    match std::env::var_os(SOCKET) {
        Some(place) if place.as_encoded_bytes().starts_with(b"/") => Ok(place.into()),
        Some(why) if !why.is_empty() => Err(Failure::new(
            Exit::Unreachable,
            format!("no checkpoint can be had: {}", why.to_string_lossy()),
        )),
        _ => Err(Failure::usage(format!(
            "{SOCKET} is not set: checkpoints are for a command that `leasehold once` runs"
        ))),
    }
}

/// What is to be saved.
fn bytes(value: Option<OsString>) -> Result<Vec<u8>, Failure> {
    let bytes = match value {
        Some(value) => value.into_vec(),
        None => {
            let mut bytes = vec![];
            // One more than is allowed, to notice that there are more.
            let input = std::io::stdin().lock().take(MAX_CHECKPOINT_BYTES as u64 + 1);
            let read = { input }.read_to_end(&mut bytes);
            read.map_err(|e| Failure::usage(format!("cannot read stdin: {e}")))?;
            bytes
        }
    };
    if bytes.len() > MAX_CHECKPOINT_BYTES {
        return Err(Failure::usage(format!(
            "a checkpoint has at most {MAX_CHECKPOINT_BYTES} bytes, and this one has more: save \
             where the rest is"
        )));
    }
    Ok(bytes)
}

fn ask(socket: &Path, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = at(socket, Stream::connect)?;
    stream.write_all(question)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = vec![];
    // Without a limit in time: the store may take as long as the lease lasts.
    stream.read_to_end(&mut answer)?;
    match answer.is_empty() {
        true => Err(std::io::ErrorKind::UnexpectedEof.into()),
        false => Ok(answer),
    }
}
