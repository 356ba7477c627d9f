//! The signals that reach us, as events.

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::signal::{
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
    SIGXFSZ,
};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::WithRawSiginfo;

use crate::exit::Exit;
use crate::{inherited, procs};

/// A signal that came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Caught {
    pub(crate) number: i32,
    /// The kernel sent it: a terminal's Ctrl-C, which everybody in the foreground got too.
    pub(crate) by_kernel: bool,
}

impl Caught {
    /// Whether it asks to end.
    pub(crate) fn ends(self) -> bool {
        matches!(self.number, SIGINT | SIGTERM | SIGHUP | SIGQUIT)
    }

    /// Whether it is a terminal's Ctrl-C.
    pub(crate) fn is_ctrl_c(self) -> bool {
        self.number == SIGINT && self.by_kernel
    }

    /// How we end if it ends us.
    pub(crate) fn exit(self) -> Exit {
        if self.is_ctrl_c() { Exit::Interrupted } else { Exit::Signal(self.number) }
    }
}

/// The stream of signals.
#[derive(Debug)]
pub(crate) struct Signals {
    delivery: SignalDelivery<UnixStream, WithRawSiginfo>,
    ready: tokio::net::UnixStream,
    queue: VecDeque<Caught>,
}

impl Signals {
    /// Starts to listen. Signals that we were started to ignore stay ignored, so that a command
    /// under `nohup` survives what it would survive without us.
    pub(crate) fn listen(with_terminal: bool) -> io::Result<Signals> {
        let ignored = inherited::ignored();
        inherited::unblock();
        let mut wanted = vec![SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM];
        if !with_terminal {
            // A terminal tells its foreground itself of a new size, and its shell, of `fg`.
            wanted.extend([SIGWINCH, SIGCONT]);
        }
        wanted.retain(|signal| !procs::contains(ignored, *signal));
        // With SIGCHLD ignored by our parent the kernel would forget how the child ended. It is
        // the one signal that the command does not find as it reached us, but with its default.
        signal_hook::flag::register(SIGCHLD, Arc::new(AtomicBool::new(false)))?;
        if !procs::contains(ignored, SIGXFSZ) {
            // A file that may not grow (`ulimit -f`), the store's or stderr, is an error that is told.
            signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        }
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        let ready = tokio::net::UnixStream::from_std(read.try_clone()?)?;
        let delivery = SignalDelivery::with_pipe(read, write, WithRawSiginfo, wanted)?;
        Ok(Signals { delivery, ready, queue: VecDeque::new() })
    }

    /// The next signal. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Caught {
        loop {
            if let Some(caught) = self.queue.pop_front() {
                return caught;
            }
            if self.ready.readable().await.is_err() {
                // The runtime is ending: nobody waits for signals any more.
                return std::future::pending().await;
            }
            self.collect();
        }
    }

    /// What came before this moment.
    pub(crate) fn so_far(&mut self) -> impl Iterator<Item = Caught> {
        self.collect();
        self.queue.drain(..)
    }

    fn collect(&mut self) {
        // Emptied before the look, so that what comes after it wakes us again.
        while self.ready.try_read(&mut [0; 64]).is_ok_and(|n| n > 0) {}
        let came = self.delivery.pending();
        let came = came.map(|i| Caught { number: i.si_signo, by_kernel: i.si_code > 0 });
        self.queue.extend(came);
    }

    /// The next signal that asks to end. Others are forgotten.
    pub(crate) async fn ending(&mut self) -> Caught {
        loop {
            let caught = self.next().await;
            if caught.ends() {
                return caught;
            }
        }
    }
}
