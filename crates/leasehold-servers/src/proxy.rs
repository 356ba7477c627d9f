//! A TCP proxy that does to a connection what networks do, for any server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use crate::clock;
use crate::thread::Listening;

/// What the proxy does to every connection, present ones too.
///
/// A direction of a connection in which bytes were swallowed forwards nothing any more in any mode: no peer
/// could make sense of what comes after a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Forwards everything.
    Pass,
    /// Forwards everything this much later, in each direction.
    Delay(Duration),
    /// Takes everything and forwards nothing, not even that a connection was closed.
    BlackHole,
    /// Ends every connection with a RST.
    Reset,
    /// Forwards requests and swallows replies.
    DropReplies,
    /// Forwards requests; at a reply, swallows it and closes the connection.
    DropReplyThenClose,
}

/// A TCP proxy on a thread of its own; ends when dropped, and every connection with it.
#[derive(Debug)]
pub struct Proxy {
    mode: watch::Sender<Mode>,
    /// How many times the connections of before were forgotten.
    forgotten: watch::Sender<u64>,
    listening: Listening,
}

impl Proxy {
    /// Starts one to the server at `to`, on a free loopback port, in [`Mode::Pass`].
    pub fn start(to: SocketAddr) -> Proxy {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Proxy::listen(address, to).expect("there is a free loopback port and a thread")
    }

    /// Starts one on this address. Fails where the address cannot be had.
    pub fn listen(address: SocketAddr, to: SocketAddr) -> io::Result<Proxy> {
        let mode = watch::Sender::new(Mode::Pass);
        let forgotten = watch::Sender::new(0);
        let (modes, all) = (mode.clone(), forgotten.clone());
        let serve = move |client| serve(client, to, modes.subscribe(), all.subscribe());
        Ok(Proxy { listening: Listening::start(address, serve)?, mode, forgotten })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// Changes what it does, for present connections and for new ones.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// From now on the connections of before carry nothing any more, without a sign; new ones work. So does
    /// a VPN, a NAT or a failover.
    pub fn forget_open(&self) {
        self.forgotten.send_modify(|times| *times += 1);
    }
}

/// How a connection ends.
enum End {
    Close,
    Reset,
}

async fn serve(
    mut client: TcpStream,
    to: SocketAddr,
    modes: watch::Receiver<Mode>,
    mut forgotten: watch::Receiver<u64>,
) {
    forgotten.mark_unchanged();
    let Ok(mut server) = TcpStream::connect(to).await else {
        let _ = client.set_zero_linger();
        return;
    };
    // What is forwarded in small pieces arrives in small pieces.
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let requests = forward(from_client, to_server, Direction::Requests, modes.clone());
    let replies = forward(from_server, to_client, Direction::Replies, modes.clone());
    let both = async { tokio::try_join!(requests, replies) };
    let end = tokio::select! {
        biased;
        Ok(()) = forgotten.changed() => std::future::pending().await,
        () = reset(modes) => End::Reset,
        done = both => done.err().unwrap_or(End::Close),
    };
    if matches!(end, End::Reset) {
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}

/// Returns when connections are to be reset.
async fn reset(mut modes: watch::Receiver<Mode>) {
    if modes.wait_for(|mode| *mode == Mode::Reset).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Requests,
    Replies,
}

impl Direction {
    fn is_cut_in(self, mode: Mode) -> bool {
        match mode {
            Mode::Pass | Mode::Delay(_) => false,
            Mode::BlackHole | Mode::Reset => true,
            Mode::DropReplies | Mode::DropReplyThenClose => self == Direction::Replies,
        }
    }
}

/// One direction of a connection, until its sender closed it and the receiver was told so.
async fn forward(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    mut modes: watch::Receiver<Mode>,
) -> Result<(), End> {
    let mut has_gap = false;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await.map_err(|_| End::Reset)?;
        let mode = *modes.borrow();
        if let Mode::Delay(span) = mode {
            clock::pause(span).await;
        }
        let mode = *modes.borrow();
        if direction == Direction::Replies && mode == Mode::DropReplyThenClose {
            return Err(End::Close);
        }
        if count == 0 {
            // A network that is gone does not tell either that a peer is.
            let told = modes.wait_for(|mode| !direction.is_cut_in(*mode)).await;
            told.map_err(|_| End::Close)?;
            let _ = to.shutdown().await;
            return Ok(());
        }
        has_gap |= direction.is_cut_in(mode);
        if !has_gap {
            to.write_all(&buffer[..count]).await.map_err(|_| End::Reset)?;
        }
    }
}
