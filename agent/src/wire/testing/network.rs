//! A network in memory: inside [`with`], unix sockets are whatever the test hands out.

use crate::wire::connection::Socket;
use std::{future::Future, io, sync::Arc};

pub(crate) use crate::wire::connection::Socket as AnySocket;

/// Answers one attempt to connect.
pub(crate) type Network = Arc<dyn Fn() -> io::Result<Box<dyn Socket>> + Send + Sync>;

tokio::task_local! {
    static NETWORK: Network;
}

/// Runs `work` with every unix socket dialled in `network`.
pub(crate) async fn with<T>(network: Network, work: impl Future<Output = T>) -> T {
    NETWORK.scope(network, work).await
}

pub(in crate::wire) fn dial() -> Option<io::Result<Box<dyn Socket>>> {
    NETWORK.try_with(|network| network()).ok()
}
