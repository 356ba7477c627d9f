//! With a terminal: Ctrl-C, Ctrl-Z and the keyboard work as without us.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::world::{World, is_readable};

/// A terminal with a shell in it that has job control.
struct Terminal {
    master: File,
    shell: Child,
    seen: String,
}

impl Terminal {
    fn open(world: &World) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("a terminal can be had");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
        let name = ptsname(&master, vec![]).expect("it has a name").into_string().expect("ASCII");
        let slave = OwnedFd::from(
            File::options().read(true).write(true).open(name).expect("it can be opened"),
        );
        let mut command = Command::new("setsid");
        command.args(["--ctty", "bash", "--norc", "--noprofile", "--noediting", "-i"]);
        let mut command = world.prepared(command);
        let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
        command.stdin(end()).stdout(end()).stderr(end());
        command
            .env("PS1", "next> ")
            .env("PS2", "")
            .env("TERM", "xterm")
            .env_remove("PROMPT_COMMAND");
        let shell = command.spawn().expect("bash starts");
        let mut terminal = Terminal { master: File::from(master), shell, seen: String::new() };
        // What is typed shall not be taken for what is printed.
        terminal.type_in(
            "stty -echo; bind 'set enable-bracketed-paste off' 2>/dev/null; echo rea''dy\n",
        );
        terminal.await_text("ready\r\nnext> ");
        terminal
    }

    fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("the terminal takes it");
    }

    /// Waits until this text was printed, and forgets all up to it.
    #[track_caller]
    fn await_text(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            assert!(is_readable(&self.master), "{text:?} did not come, but {:?}", self.seen);
            let mut bytes = [0; 4096];
            let n = self
                .master
                .read(&mut bytes)
                .unwrap_or_else(|e| panic!("{e} before {text:?} came; there was {:?}", self.seen));
            self.seen += &String::from_utf8_lossy(&bytes[..n]);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

#[test]
fn ctrl_c_reaches_the_command_once() {
    let world = World::new();
    let mut terminal = Terminal::open(&world);
    world.write("section", "trap 'echo caught' INT; echo up; read a; read b; exit 4");
    terminal.type_in("leasehold run x -- bash section; echo code $?\n");
    terminal.await_text("up");
    terminal.type_in("\x03");
    terminal.await_text("caught");
    terminal.type_in("one\ntwo\n");
    let between = terminal.await_text("code 4");
    assert!(!between.contains("caught"), "it came twice: {between:?}");
    // Without a trap the command dies of it.
    terminal.type_in("leasehold run x -- sh -c 'echo up; exec sleep 1000'\n");
    terminal.await_text("up");
    terminal.type_in("\x03");
    terminal.await_text("next> ");
    terminal.type_in("echo code $?\n");
    terminal.await_text("code 130");
    terminal.type_in("leasehold run -n x -- true; echo code $?\n");
    terminal.await_text("code 0");
}

#[test]
fn ctrl_c_ends_a_script_as_without_us() {
    // A shell goes on with its script when a command exits, and ends it when the command was killed
    // by SIGINT. So being killed is how we have to end too.
    let world = World::new();
    let mut terminal = Terminal::open(&world);
    terminal
        .type_in("bash -c 'leasehold run x -- sh -c \"echo up; exec sleep 1000\"; echo went on'\n");
    terminal.await_text("up");
    terminal.type_in("\x03");
    let between = terminal.await_text("next> ");
    terminal.type_in("echo code $?\n");
    terminal.await_text("code 130");
    assert!(!between.contains("went on"), "{between:?}");
}

/// A command of `once` has the terminal too, stderr included; nothing of it is kept then. And Ctrl-C
/// interrupts it, which is no failure, and ends the script.
#[test]
fn what_is_done_once_has_the_terminal() {
    let world = World::new();
    let mut terminal = Terminal::open(&world);
    let script = "test -t 0 && test -t 1 && test -t 2 && echo up; exec sleep 1000";
    world.write("script", &format!("leasehold once x -- sh -c '{script}'; echo went on"));
    terminal.type_in("bash script\n");
    terminal.await_text("up");
    terminal.type_in("\x03");
    let between = terminal.await_text("next> ");
    terminal.type_in("echo code $?\n");
    terminal.await_text("code 130");
    assert!(!between.contains("went on") && !between.contains("failed"), "{between:?}");
    terminal.type_in("leasehold once x -- sh -c 'echo $LEASEHOLD_ATTEMPT; exit 3' 2>err\n");
    terminal.await_text("3\r\nnext> ");
    assert!(world.read("err").contains("has failed 3 times"));
}

#[test]
fn the_keyboard_is_the_commands() {
    let world = World::new();
    let mut terminal = Terminal::open(&world);
    terminal
        .type_in("leasehold run x -- sh -c 'echo up; read line; echo got $line; cat; echo end'\n");
    terminal.await_text("up");
    terminal.type_in("hello\n");
    terminal.await_text("got hello");
    terminal.type_in("more\n\x04");
    terminal.await_text("more");
    terminal.await_text("end");
}

#[test]
fn ctrl_z_stops_and_fg_goes_on() {
    let world = World::new();
    let mut terminal = Terminal::open(&world);
    terminal.type_in(
        "leasehold run x --ttl 30s -- sh -c 'echo up; read line; echo got $line; exit 6'\n",
    );
    terminal.await_text("up");
    terminal.type_in("\x1a");
    terminal.await_text("Stopped");
    terminal.await_text("next> ");
    terminal.type_in("echo shell is back\n");
    terminal.await_text("shell is back");
    terminal.type_in("fg; echo code $?\n");
    // bash names what it continues.
    terminal.await_text("leasehold run x");
    terminal.type_in("on\n");
    terminal.await_text("got on");
    terminal.await_text("code 6");
}

#[test]
fn in_a_pipeline_it_is_a_command_like_any_other() {
    let world = World::new();
    let mut terminal = Terminal::open(&world);
    terminal.type_in("leasehold run x -- sh -c 'echo up >&2; exec cat' | cat\n");
    terminal.await_text("up");
    terminal.type_in("through\n");
    terminal.await_text("through");
    terminal.type_in("\x03");
    terminal.await_text("next> ");
    terminal.type_in("echo codes ${PIPESTATUS[@]}\n");
    terminal.await_text("codes 130 130");
}

#[test]
fn a_signal_sent_to_us_alone_reaches_the_command() {
    let world = World::new();
    let mut terminal = Terminal::open(&world);
    world.write("section", "trap 'echo caught; exit 5' TERM; sleep 1000 & echo up; wait");
    terminal.type_in("leasehold run x -- bash section &\n");
    terminal.await_text("up");
    terminal.type_in("kill -TERM $!; wait $!; echo code $?\n");
    terminal.await_text("caught");
    terminal.await_text("code 5");
}

#[test]
fn a_signal_reaches_an_inner_command_once() {
    // Both leaseholds hand it on; were the outer one to reach below the inner one, it came twice.
    let world = World::new();
    world.write("inner", "trap 'echo caught' USR1; echo up; while :; do sleep 1000 & wait; done");
    world.write("outer", "trap : USR1; leasehold run inner -- bash inner & wait; wait");
    let mut terminal = Terminal::open(&world);
    terminal.type_in("leasehold run outer -- bash outer &\n");
    terminal.await_text("up");
    terminal.type_in("kill -USR1 $!\n");
    terminal.await_text("caught");
    terminal.type_in("kill -TERM $!; wait $!; echo code $?\n");
    let between = terminal.await_text("code 143");
    assert!(!between.contains("caught"), "{between:?}");
}

#[test]
fn a_lost_lock_ends_a_stopped_command_too() {
    let world = World::new();
    let mut terminal = Terminal::open(&world);
    terminal.type_in("leasehold run x --ttl 1s -- sh -c 'echo up $$; read line'\n");
    terminal.await_text("up");
    terminal.type_in("\x1a");
    terminal.await_text("Stopped");
    world.run(&["run", "x", "-w", "30s", "--", "true"]).expect(0);
    terminal.type_in("fg; echo code $?\n");
    terminal.await_text("code 79");
}

#[test]
fn waiting_is_one_line_that_goes_away() {
    let world = World::new();
    let mut holder =
        world.start(&["run", "x", "--label", "me", "--", "sh", "-c", "echo in; exec sleep 1000"]);
    holder.await_line("in");
    let mut terminal = Terminal::open(&world);
    terminal.type_in("leasehold run x -- echo inside\n");
    terminal.await_text("\r\x1b[Kwaiting for x, held by me");
    terminal.await_text("waiting for x (1");
    holder.kill();
    let drawn = terminal.await_text("inside");
    assert!(drawn.contains("\r\x1b[K"), "{drawn:?}");
    assert!(!drawn.contains('\n'), "{drawn:?}");
    // Ctrl-C ends the wait.
    let mut holder = world.start(&["run", "x", "--", "sh", "-c", "echo in; exec sleep 1000"]);
    holder.await_line("in");
    terminal.type_in("leasehold run x -- echo inside\n");
    terminal.await_text("waiting for x");
    terminal.type_in("\x03");
    terminal.await_text("next> ");
    terminal.type_in("echo code $?\n");
    terminal.await_text("code 130");
    holder.kill();
}
