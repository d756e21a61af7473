//! A line to the API server that can be cut: whoever is behind it has lost the server, and nobody else has.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::stand_in::StandIn;

/// It is gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Line {
    /// Where one reaches the other end.
    pub(crate) address: SocketAddr,
    is_cut: watch::Sender<bool>,
    ends: StandIn,
}

impl Line {
    /// To a server on this machine.
    pub(crate) async fn to(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port for a line")?;
        let address = listener.local_addr()?;
        let (is_cut, sees) = watch::channel(false);
        Ok(Self { address, is_cut, ends: StandIn::start("line", carry(listener, server, sees)) })
    }

    /// Breaks the connections that there are, and refuses new ones.
    pub(crate) fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Carries new connections again.
    pub(crate) fn mend(&self) {
        self.is_cut.send_replace(false);
    }

    /// Returns when it carries nothing for another reason.
    pub(crate) async fn failed(&self) -> anyhow::Error {
        self.ends.failed().await
    }
}

async fn carry(listener: TcpListener, server: SocketAddr, is_cut: watch::Receiver<bool>) -> anyhow::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (near, _) = accepted.context("cannot accept")?;
                connections.spawn(connect(near, server, is_cut.clone()));
            }
            // How a connection ended is its two ends' business.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(mut near: TcpStream, server: SocketAddr, mut is_cut: watch::Receiver<bool>) {
    if *is_cut.borrow() {
        return;
    }
    let carried = async {
        let mut far = TcpStream::connect(server).await?;
        copy_bidirectional(&mut near, &mut far).await
    };
    tokio::select! {
        _ = carried => {}
        _ = is_cut.wait_for(|is_cut| *is_cut) => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_line_carries_until_it_is_cut_and_again_when_it_is_mended() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let line = Line::to(server.local_addr().unwrap()).await.unwrap();
        let open = async || {
            let near = TcpStream::connect(line.address).await.unwrap();
            let (far, _) = server.accept().await.unwrap();
            (near, far)
        };
        let (mut near, mut far) = open().await;
        near.write_all(b"a").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'a');
        line.cut();
        assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
        let mut refused = TcpStream::connect(line.address).await.unwrap();
        assert_eq!(refused.read(&mut [0]).await.unwrap(), 0);
        line.mend();
        let (mut near, mut far) = open().await;
        far.write_all(b"b").await.unwrap();
        assert_eq!(near.read_u8().await.unwrap(), b'b');
    }
}
