//! The servers as a program.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::client::Call;
use crate::spanner::client::{Client, key};

/// Starts it; it ends by itself when the second of the three is dropped, at the latest when this test dies.
fn start(arguments: &[&str]) -> (Child, ChildStdin, SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_leasehold-servers"))
        .args(arguments)
        .arg("--until-stdin-closes")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let output = child.stdout.take().expect("its output is piped");
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).expect("it says where it listens");
    let address = line.trim().strip_prefix("listening on http://").map(str::parse);
    let address = address.expect("it says where it listens").expect("that is an address");
    let input = child.stdin.take().expect("its input is piped");
    (child, input, address)
}

/// Somebody tries leasehold out: a store with a bucket and Google's write limit, a proxy before it that is
/// told to drop connections. Both end with who started them.
#[test]
fn both_servers() {
    let arguments = ["gcs", "--bucket", "other", "--bucket", "bkt", "--write-limit", "5m"];
    let (mut store, store_input, store_address) = start(&arguments);
    let to = store_address.to_string();
    let (mut proxy, mut proxy_input, proxy_address) = start(&["proxy", "--to", &to]);

    assert_eq!(Call::create("x", b"1").on(proxy_address).code, 200);
    assert_eq!(Call::create("x", b"2").on(proxy_address).code, 429);
    proxy_input.write_all(b"delay=1ms\nno such mode\nreset\n").unwrap();
    // The modes are read in order, but when is not known: calls fail sooner or later.
    while Call::read("x", "").attempt(proxy_address).is_ok() {}

    drop((store_input, proxy_input));
    assert!(store.wait().unwrap().success());
    assert!(proxy.wait().unwrap().success());
}

/// The same with a database: it is there, and empty.
#[test]
fn a_database() {
    let arguments = ["spanner", "--database", "p/i/other", "--database", "p/i/d"];
    let (mut server, input, address) = start(&arguments);
    let mut client = Client::of(address, "projects/p/instances/i/databases/d");
    let refusal = client.read("t", &["name"], key("x", 1)).expect_err("there is no table");
    assert_eq!(refusal.message, "Table not found: t");
    drop(input);
    assert!(server.wait().unwrap().success());
}

/// What cannot be served is said in one line, and is a failure.
#[test]
fn wrong_arguments() {
    for (arguments, says) in [
        (["gcs", "--write-limit", "1h"].as_slice(), "`1h` is no time"),
        (["proxy", "--to", "127.0.0.1:1", "--mode", "odd"].as_slice(), "`odd` is no mode"),
        (["spanner", "--database", "d"].as_slice(), "`d` is no PROJECT/INSTANCE/DATABASE"),
        (["gcs", "--listen", "192.0.2.1:1"].as_slice(), "cannot listen on 192.0.2.1:1"),
    ] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_leasehold-servers"));
        let output = program.args(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && errors.contains(says), "{errors}");
    }
}
