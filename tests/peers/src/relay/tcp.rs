//! Streams.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::Traffic;

const CHUNK: usize = 64 * 1024;

/// An address that leads to another one.
#[derive(Debug)]
pub(crate) struct TcpRelay {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl TcpRelay {
    pub(crate) async fn open(target: SocketAddr, traffic: &Traffic) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, traffic) = (listener.local_addr()?, traffic.clone());
        let accepting = tokio::spawn(async move {
            // Connections end with the relay: they are its tasks.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass(client, target, traffic.clone()));
            }
        });
        Ok(Self { address, accepting })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TcpRelay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(client: TcpStream, target: SocketAddr, traffic: Traffic) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::join!(copy(from_client, to_server, &traffic), copy(from_server, to_client, &traffic));
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, traffic: &Traffic) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(length) = from.read(&mut buffer).await {
        if length == 0 || to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
        traffic.add(length);
    }
    to.shutdown().await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn streams_pass_both_ways_and_are_counted() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind");
        let traffic = Traffic::default();
        let relay = TcpRelay::open(server.local_addr().expect("address"), &traffic).await.expect("relay");
        let mut client = TcpStream::connect(relay.address()).await.expect("connect");
        let (mut there, _) = server.accept().await.expect("accept");
        client.write_all(b"ping").await.expect("write");
        let mut buffer = [0; 4];
        there.read_exact(&mut buffer).await.expect("read");
        there.write_all(b"pong!").await.expect("write");
        drop(there);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("read");
        assert_eq!((buffer.as_slice(), answer.as_slice()), (b"ping".as_slice(), b"pong!".as_slice()));
        assert_eq!(traffic.bytes(), 9);
    }
}
