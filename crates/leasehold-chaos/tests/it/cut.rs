//! Cutting the network: a plain conversation, and then the store of the whole harness.
#![expect(clippy::disallowed_methods, reason = "a server needs threads, and a test has no `Env`")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use leasehold_chaos::Undo;
use leasehold_chaos::net::{Net, is_possible};
use leasehold_servers::gcs::Fake;

use crate::harness::{chaos, leasehold, run, skipped};

/// Where the second process finds the server.
const SERVER: &str = "LEASEHOLD_CHAOS_TEST_SERVER";

/// This test, by its name.
const TALK: &str = "cut::a_cut_stalls_a_conversation_and_no_other";

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_mins(1);

/// Long enough for many answers, if answers come.
const A_WHILE: Duration = Duration::from_millis(700);

fn can_cut() -> bool {
    let possible = is_possible();
    if let Err(why) = &possible {
        skipped(&format!("SKIPPED: chaos: the network is not cut: {why}"));
    }
    possible.is_ok()
}

/// Answers every line with itself, to everybody.
fn serve() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut bytes = [0; 1024];
                let mut stream = stream;
                while let Ok(n @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..n]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

/// The second process: asks again after every answer, and prints each.
fn talk(server: &str) {
    let mut stream = TcpStream::connect(server).expect("the server is there");
    let mut answers = BufReader::new(stream.try_clone().expect("a descriptor")).lines();
    for n in 0_u64.. {
        stream.write_all(format!("{n}\n").as_bytes()).expect("sent");
        let answer = answers.next().expect("an answer").expect("an answer");
        // Whoever listens is gone when the test is over.
        if writeln!(std::io::stderr(), "@{answer}").is_err() {
            return;
        }
    }
}

/// A conversation from within a namespace, heard by a thread that hands its answers on.
struct Talk {
    process: Child,
    answers: std::sync::mpsc::Receiver<u64>,
}

impl Talk {
    fn start(net: &Net, space: usize, port: u16) -> Talk {
        let [ip, words @ ..] = net.prefix(space);
        let mut process = Command::new(ip)
            .args(words)
            .arg(std::env::current_exe().expect("the test program"))
            .args(["--exact", TALK, "--nocapture"])
            .env(SERVER, net.filled(space, &format!("{{host}}:{port}")))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let (sender, answers) = std::sync::mpsc::sync_channel(0);
        let lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let answer = line.strip_prefix('@').and_then(|n| n.parse().ok());
                if answer.is_some_and(|n| sender.send(n).is_err()) {
                    break;
                }
            }
        });
        Talk { process, answers }
    }

    /// The next answer, if one comes within the time.
    fn answer(&self, patience: Duration) -> Option<u64> {
        self.answers.recv_timeout(patience).ok()
    }

    /// Drops the answers that came before the link was cut, until none comes for a while.
    fn falls_silent(&self) -> bool {
        // What is in pipes and buffers is bounded, and a conversation that goes on is not.
        (0..100_000).any(|_| self.answer(A_WHILE).is_none())
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Two clients in two namespaces talk to one server. The link of one is cut: its conversation stalls
/// without an error, the other's goes on. The link comes back, and so does the conversation.
///
/// A link is back when something came through it, some time after it was put up: a judge that went by the
/// latter convicted a run that had begun in between and got no answer.
#[test]
fn a_cut_stalls_a_conversation_and_no_other() {
    if let Ok(server) = std::env::var(SERVER) {
        return talk(&server);
    }
    if !can_cut() {
        return;
    }
    let mut undo = Undo::start(chaos(), "no-process-has-this").expect("it starts");
    let net = Net::build(2, &mut undo).expect("two namespaces");
    let port = serve();
    let talks = [0, 1].map(|space| Talk::start(&net, space, port));
    for talk in &talks {
        assert_eq!(talk.answer(PATIENCE), Some(0));
    }
    net.cut(0).expect("cut");
    assert!(talks[0].falls_silent(), "it goes on although its link is cut");
    let before = talks[1].answer(PATIENCE).expect("the other goes on");
    let mut reaching = net.reaching(chaos(), 0, &format!("{{host}}:{port}")).expect("it starts");
    assert_eq!(reaching.try_wait().expect("it runs"), None, "reached although the link is cut");
    net.heal(0).expect("healed");
    assert!(reaching.wait().expect("it ends").success());
    let after = talks[0].answer(PATIENCE).expect("it goes on when its link is back");
    assert!(after > 0 && talks[1].answer(PATIENCE) > Some(before));
    drop(talks);
    undo.finish().expect("all is removed");
    let names = Command::new("ip").args(["netns", "list"]).output().expect("ip runs");
    let ours = format!("lhc{}n", std::process::id());
    assert!(!String::from_utf8_lossy(&names.stdout).contains(&ours));
}

/// The whole harness with its processes in namespaces that are cut off from the bucket their locks are
/// in. It shows itself first that a cut cuts. Whoever held a lock longer than a cut lasted has lost it in
/// time, and nobody else was inside.
#[test]
fn the_harness_runs_its_processes_in_namespaces() {
    if !can_cut() {
        return;
    }
    let program = leasehold().to_str().expect("a path of ours");
    let fake = Fake::listen(([0, 0, 0, 0], 0).into()).expect("there is a free port");
    fake.make_bucket("chaos");
    let address = format!("{{host}}:{}", fake.address().port());
    let url = format!("gs://chaos?endpoint=http://{address}&write-interval=0s&poll-interval=20ms");
    let words = ["--for", "5s", "--names", "1", "--ttl", "1s", "--backend", &url, "--seed", "2"];
    let nets = ["--netns", "2", "--store-address", &address, "--leasehold", program];
    let said = run(&[&words[..], &nets[..]].concat());
    assert_eq!(said.code, Some(0), "{}", said.out);
    assert!(said.count("sections") > 0 && said.count("overlaps") == 0);
    let cuts = said.row("links cut");
    assert_ne!(cuts, "shorter 0, longer 0, all at once 0", "{}", said.out);
}
