//! A UDP socket on the simulated network, as quinn wants it.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use super::air::Air;
use crate::plan::NodeNo;

/// The socket of one process.
#[derive(Debug)]
pub(super) struct SimSocket {
    air: Air,
    node: NodeNo,
    number: u64,
}

/// Always ready: what cannot be sent is lost on the way.
#[derive(Debug)]
struct Ready;

impl SimSocket {
    /// Opens a node's socket in the place of the one before.
    pub(super) fn open(air: &Air, node: NodeNo) -> Arc<Self> {
        Arc::new(Self { air: air.clone(), node, number: air.plug(node) })
    }
}

impl UdpPoller for Ready {
    fn poll_writable(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncUdpSocket for SimSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Ready)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.air.send(self.node, self.number, transmit.destination, transmit.contents);
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let count = buffers.len().min(metas.len());
        let come = self.air.receive(self.node, self.number, count, context.waker());
        if come.is_empty() {
            return Poll::Pending;
        }
        for ((datagram, buffer), meta) in come.iter().zip(buffers).zip(metas) {
            let len = datagram.bytes.len().min(buffer.len());
            buffer[..len].copy_from_slice(&datagram.bytes[..len]);
            *meta = RecvMeta { addr: datagram.from, len, stride: len, ecn: None, dst_ip: None };
        }
        Poll::Ready(Ok(come.len()))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.air.address_of(self.node).map(|(address, _)| address);
        address.ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "no such node"))
    }
}
