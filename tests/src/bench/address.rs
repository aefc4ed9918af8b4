//! An address behind which servers change: a relay that leads to one of them, or to none.

use crate::port::Port;
use anyhow::{Context, Result};
use std::io;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The address. Dropping it cuts its connections.
#[derive(Debug)]
pub(super) struct Address {
    port: Port,
    relay: JoinSet<()>,
}

impl Address {
    /// An address on 127.0.0.1 that leads nowhere yet: connections are refused.
    ///
    /// # Errors
    /// There is no port left.
    pub(super) fn reserve() -> Result<Self> {
        Ok(Self { port: Port::reserve()?, relay: JoinSet::new() })
    }

    /// A connection string for the superuser.
    pub(super) fn conninfo(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres sslmode=disable", self.port.number())
    }

    /// Leads to the server on `port` from now on, and no longer to another one.
    ///
    /// # Errors
    /// Somebody else listens there.
    pub(super) async fn lead_to(&mut self, port: u16) -> Result<()> {
        self.lead_nowhere().await;
        let listener = TcpListener::bind(("127.0.0.1", self.port.number())).await.context("cannot listen")?;
        self.relay.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(async move {
                    // Whoever hangs up ends the connection for both.
                    let _ = pass(client, port).await;
                });
            }
        });
        Ok(())
    }

    /// Cuts all connections and refuses new ones.
    pub(super) async fn lead_nowhere(&mut self) {
        self.relay.shutdown().await;
    }
}

async fn pass(mut client: TcpStream, port: u16) -> io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn it_leads_where_it_is_told_and_nowhere_else() {
        let mut address = Address::reserve().unwrap();
        let at = ("127.0.0.1", address.port.number());
        assert!(TcpStream::connect(at).await.is_err());
        for greeting in [b"one", b"two"] {
            let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
            address.lead_to(server.local_addr().unwrap().port()).await.unwrap();
            let mut client = TcpStream::connect(at).await.unwrap();
            let (mut accepted, _) = server.accept().await.unwrap();
            accepted.write_all(greeting).await.unwrap();
            let mut heard = [0; 3];
            client.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, greeting);
            address.lead_nowhere().await;
            assert!(TcpStream::connect(at).await.is_err());
            // The connection that was there is gone, too.
            assert!(client.read_exact(&mut heard).await.is_err());
        }
    }
}
