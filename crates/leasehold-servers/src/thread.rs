//! A listener with a thread and a runtime of its own.

use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::clock;

/// Serves until it is dropped; then every connection is closed and the thread has ended.
#[derive(Debug)]
pub(crate) struct Listening {
    address: SocketAddr,
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    /// Binds `address` (port 0: a free one) and gives each connection to `serve`, as a task of its own.
    pub(crate) fn start<F>(
        address: SocketAddr,
        mut serve: impl FnMut(TcpStream) -> F + Send + 'static,
    ) -> io::Result<Listening>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let accept = async move {
            let listener = TcpListener::from_std(listener).expect("the listener does not block");
            loop {
                match listener.accept().await {
                    Ok((connection, _)) => drop(tokio::spawn(serve(connection))),
                    // The client is gone, or files are short: others close theirs meanwhile.
                    Err(_) => clock::pause(Duration::from_millis(10)).await,
                }
            }
        };
        let thread = std::thread::Builder::new().name("server".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Listening { address, handle, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server's runtime, on whose clock a caller can wait whatever its own runtime does.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It panicked, if it did, in a test that has failed by now.
            let _ = thread.join();
        }
    }
}
