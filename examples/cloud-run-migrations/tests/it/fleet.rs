//! Many instances of the service at once, and what they say.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_mins(2);

/// A database and a store of locks, which outlive the instances.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Place {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("lh-cloud-run-{}-{n}", std::process::id()));
        fs::create_dir_all(&dir).expect("the temporary directory can be written");
        Place(dir)
    }

    pub(crate) fn remove_database(&self) {
        fs::remove_file(self.0.join("orders.db")).expect("there is one");
    }

    /// Starts that many instances at once, each on a port of its own.
    pub(crate) fn start(&self, count: usize, environment: &[(&str, &str)]) -> Fleet {
        let (sender, lines) = mpsc::channel();
        let start = |n| {
            let mut child = Command::new(env!("CARGO_BIN_EXE_cloud-run-migrations"))
                .env("DATABASE", self.0.join("orders.db"))
                .env("LEASEHOLD_BACKEND", format!("file://{}", self.0.join("locks").display()))
                .env("PORT", "0")
                .env_remove("REHEARSE")
                .envs(environment.iter().copied())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the service is built");
            follow(n, child.stdout.take().expect("piped"), &sender);
            follow(n, child.stderr.take().expect("piped"), &sender);
            child
        };
        Fleet { instances: (0..count).map(start).collect(), lines, said: vec![] }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn follow(n: usize, pipe: impl Read + Send + 'static, sender: &Sender<(usize, String)>) {
    let sender = sender.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send((n, line)).is_err() {
                break;
            }
        }
    });
}

/// Instances; they are killed when this is dropped.
pub(crate) struct Fleet {
    instances: Vec<Child>,
    lines: Receiver<(usize, String)>,
    said: Vec<(usize, String)>,
}

impl Fleet {
    /// The number of the first instance that says something that begins so.
    pub(crate) fn first(&mut self, beginning: &str) -> usize {
        self.wait(1, beginning)[0].0
    }

    /// Waits until that many lines begin so, from any instance.
    pub(crate) fn wait(&mut self, count: usize, beginning: &str) -> Vec<(usize, String)> {
        loop {
            let found = self.said(beginning);
            if found.len() >= count {
                return found;
            }
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.said.push(line),
                Err(why) => panic!("{why}: no {count} times {beginning:?} in {:#?}", self.said),
            }
        }
    }

    /// What was said until now that begins so, and by whom.
    pub(crate) fn said(&self, beginning: &str) -> Vec<(usize, String)> {
        self.said.iter().filter(|(_, line)| line.starts_with(beginning)).cloned().collect()
    }

    /// What it answers to a request for this path: the whole answer.
    pub(crate) fn get(&mut self, n: usize, path: &str) -> String {
        let port = self.wait_for_one(n, "serving on port ");
        let port: u16 = port.parse().expect("a port");
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: it\r\nconnection: close\r\n\r\n")
            .expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    fn wait_for_one(&mut self, n: usize, beginning: &str) -> String {
        let mut count = 1;
        loop {
            let found = self.wait(count, beginning);
            if let Some((_, line)) = found.iter().find(|(by, _)| *by == n) {
                return line[beginning.len()..].to_owned();
            }
            count = found.len() + 1;
        }
    }

    /// SIGKILL: nobody has time for a last word.
    pub(crate) fn kill(&mut self, n: usize) {
        self.instances[n].kill().expect("it runs");
        self.instances[n].wait().expect("it is ours");
    }

    /// How each of them ends, of its own accord, after its last word.
    pub(crate) fn ends(&mut self) -> Vec<ExitStatus> {
        let wait = |instance: &mut Child| instance.wait().expect("it is ours");
        let ends = self.instances.iter_mut().map(wait).collect();
        self.said.extend(self.lines.iter());
        ends
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for instance in &mut self.instances {
            let _ = instance.kill();
            let _ = instance.wait();
        }
    }
}
