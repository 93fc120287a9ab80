//! A TCP proxy whose wire can be cut: it stands before one service, so that a test can take that service away.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Forwards connections while it is not cut. Cut, it refuses new ones and has reset the old.
pub struct Wire {
    address: SocketAddr,
    upstream: Arc<Mutex<SocketAddr>>,
    listening: Option<JoinHandle<()>>,
}

impl Wire {
    /// Listens on a free port and forwards to `upstream`.
    pub async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut wire = Self {
            address: listener.local_addr().unwrap(),
            upstream: Arc::new(Mutex::new(upstream)),
            listening: None,
        };
        wire.serve(listener);
        wire
    }

    /// The same on an address that nobody listens on so far.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on the address refuses connections, and those that were open are gone.
    pub async fn cut(&mut self) {
        if let Some(task) = self.listening.take() {
            task.abort();
            // Only when the task has ended are its sockets closed.
            task.await.unwrap_err();
        }
    }

    /// Forwards again, on the same address.
    pub async fn mend(&mut self) {
        assert!(self.listening.is_none(), "the wire is whole");
        // The kernel may still be tearing down the last connection.
        for _ in 0..100 {
            match TcpListener::bind(self.address).await {
                Ok(listener) => return self.serve(listener),
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
        panic!("{} can't be listened on again", self.address);
    }

    /// Leads elsewhere from now on. Open connections break.
    pub async fn lead_to(&mut self, upstream: SocketAddr) {
        self.cut().await;
        *self.upstream.lock().unwrap() = upstream;
        self.mend().await;
    }

    fn serve(&mut self, listener: TcpListener) {
        let upstream = self.upstream.clone();
        self.listening = Some(tokio::spawn(async move {
            // Dropped with this task, and with it every connection.
            let mut connections = JoinSet::new();
            // Both branches are safe to cancel: a connection not accepted yet stays in the kernel's queue.
            loop {
                tokio::select! {
                    Ok((client, _)) = listener.accept() => {
                        let upstream = *upstream.lock().unwrap();
                        connections.spawn(forward(client, upstream));
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        }));
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(task) = &self.listening {
            task.abort();
        }
    }
}

async fn forward(mut client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
