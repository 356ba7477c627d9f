//! Network namespaces of their own for the clients, each with one link to the host that can be cut.
//!
//! While a link is down nothing goes through and nobody is told: a connection stalls, and goes on when
//! the link is up again.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use crate::clock;
use crate::undo::Undo;

/// The stretch of addresses that links are given, by its first half.
const ADDRESSES: &str = "10.213";

/// What stands for the host's address in a URL.
const HOST: &str = "{host}";

/// Some namespaces.
#[derive(Debug)]
pub struct Net {
    spaces: Vec<Space>,
}

#[derive(Debug)]
struct Space {
    name: String,
    link: String,
    host: String,
}

impl Net {
    /// Makes so many, and has them removed in the end.
    pub fn build(count: usize, undo: &mut Undo) -> Result<Net, String> {
        let id = std::process::id();
        let taken = ip(&["-o", "-4", "address"])?;
        let free = (0..250).map(|n| (id + n) % 250);
        let net = free
            .map(|n| format!("{ADDRESSES}.{n}"))
            .find(|net| !taken.contains(&format!(" {net}.")))
            .ok_or("no addresses are free")?;
        let spaces = (0..count).map(|k| Space {
            name: format!("lhc{id}n{k}"),
            link: format!("lhc{id}h{k}"),
            host: format!("{net}.{}", 4 * k + 1),
        });
        let net = Net { spaces: spaces.collect() };
        for (k, space) in net.spaces.iter().enumerate() {
            let Space { name, link, host } = space;
            // Said before it is done: half a link has to go too.
            let gone = format!("! ip netns list | grep -qw {name} || ip netns del {name}");
            undo.in_the_end(&gone).map_err(|e| e.to_string())?;
            let gone = format!("! ip link show {link} || ip link del {link}");
            undo.in_the_end(&gone).map_err(|e| e.to_string())?;
            let inner = host.rsplit_once('.').map_or("", |(net, _)| net);
            let inner = format!("{inner}.{}/30", 4 * k + 2);
            ip(&["netns", "add", name])?;
            ip(&["link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name])?;
            ip(&["address", "add", &format!("{host}/30"), "dev", link])?;
            ip(&["link", "set", link, "up"])?;
            ip(&["-n", name, "address", "add", &inner, "dev", "eth0"])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
            ip(&["-n", name, "link", "set", "eth0", "up"])?;
            ip(&["-n", name, "route", "add", "default", "via", host])?;
        }
        Ok(net)
    }

    /// The words before a command that is to run in a namespace.
    pub fn prefix(&self, space: usize) -> [&str; 4] {
        ["ip", "netns", "exec", &self.spaces[space].name]
    }

    /// Puts the host's address, as a namespace sees it, into a URL or an address.
    pub fn filled(&self, space: usize, text: &str) -> String {
        text.replace(HOST, &self.spaces[space].host)
    }

    /// Cuts a namespace off.
    pub fn cut(&self, space: usize) -> Result<(), String> {
        ip(&["link", "set", &self.spaces[space].link, "down"]).map(drop)
    }

    /// Lets it in again.
    pub fn heal(&self, space: usize) -> Result<(), String> {
        ip(&["link", "set", &self.spaces[space].link, "up"]).map(drop)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.spaces.len()
    }

    /// A command that tries from within a namespace to reach an address, and fails after so long.
    fn reach(&self, program: &Path, space: usize, address: &str, patience_ms: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(&self.prefix(space)[1..]).arg(program);
        command.args(["__reach", &self.filled(space, address), patience_ms]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts a process that ends with success as soon as a namespace reaches the address.
    ///
    /// A link that is up again carries nothing yet: the kernel takes up to a second to notice it, and what
    /// was sent before is repeated after a second, two, four. Only a connection shows that it is whole.
    pub fn reaching(&self, program: &Path, space: usize, address: &str) -> Result<Child, String> {
        let spawned = self.reach(program, space, address, PATIENCE_MS).spawn();
        spawned.map_err(|e| format!("ip (of iproute2) cannot be run: {e}"))
    }

    /// Shows that each reaches the address, does not while it is cut off, and does again.
    pub(crate) fn rehearse(&self, program: &Path, address: &str) -> Result<(), String> {
        for space in 0..self.count() {
            let reaches = |patience_ms: &str| {
                let mut command = self.reach(program, space, address, patience_ms);
                command.status().is_ok_and(|status| status.success())
            };
            let address = self.filled(space, address);
            if !reaches(PATIENCE_MS) {
                return Err(format!(
                    "{address} cannot be reached from a network namespace: the store must listen \
                     on an address of this host other than its loopback's (`{HOST}` stands for one)"
                ));
            }
            self.cut(space)?;
            let is_cut = !reaches("700");
            self.heal(space)?;
            if !is_cut {
                return Err(format!("{address} can be reached although the link is cut"));
            }
            if !reaches(PATIENCE_MS) {
                return Err(format!("{address} cannot be reached after the link was cut"));
            }
        }
        Ok(())
    }
}

/// How long a store that can be reached may take to be reached. The first packets after a link came up
/// are lost, and on a busy host everything takes its time.
const PATIENCE_MS: &str = "20000";

/// Tries to connect, from within a namespace, for so long.
pub(crate) fn reach(address: &str, patience_ms: &str) -> ExitCode {
    let until = clock::now() + clock::millis(patience_ms.parse().unwrap_or(0));
    let all: Vec<_> = address.to_socket_addrs().into_iter().flatten().collect();
    while clock::now() < until {
        let left =
            Duration::from_nanos(until.saturating_sub(clock::now())).max(Duration::from_millis(1));
        if all.iter().any(|address| TcpStream::connect_timeout(address, left).is_ok()) {
            return ExitCode::SUCCESS;
        }
        clock::pause(Duration::from_millis(20));
    }
    ExitCode::FAILURE
}

/// Whether namespaces can be made here; why not, otherwise.
pub fn is_possible() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("network namespaces need root".into());
    }
    ip(&["netns", "list"]).map(drop)
}

fn ip(words: &[&str]) -> Result<String, String> {
    let output = Command::new("ip").args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("ip (of iproute2) cannot be run: {e}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let why = String::from_utf8_lossy(&output.stderr);
            Err(format!("`ip {}` failed: {}", words.join(" "), why.trim()))
        }
    }
}
