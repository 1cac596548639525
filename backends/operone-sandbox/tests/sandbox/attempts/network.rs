//! Attempts to reach others by sockets.

use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};

use super::Unfenced::{Succeeds, SucceedsForRoot, Untried};
use super::{Case, call, call_with, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("connect by TCP", Succeeds, |place| TcpStream::connect(("127.0.0.1", place.ports.0)).map(drop)),
        case("connect by TCP, version 6", Untried, |_| TcpStream::connect("[::1]:9").map(drop)),
        case("listen by TCP", Succeeds, |_| TcpListener::bind(("127.0.0.1", 0)).map(drop)),
        case("send by UDP", Succeeds, |place| {
            UdpSocket::bind(("127.0.0.1", 0))?.send_to(b"x", ("127.0.0.1", place.ports.1)).map(drop)
        }),
        case("open a raw socket", SucceedsForRoot, |_| {
            socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP)
        }),
        case("ask the kernel by netlink", Succeeds, |_| socket(libc::AF_NETLINK, libc::SOCK_RAW, 0)),
        case("open a packet socket", Untried, |_| socket(libc::AF_PACKET, libc::SOCK_RAW, 0)),
        case("open a vsock socket", Untried, |_| socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)),
        case("open a crypto socket", Untried, |_| socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0)),
        case("connect to an abstract socket", Succeeds, |place| {
            UnixStream::connect_addr(&SocketAddr::from_abstract_name(&place.socket)?).map(drop)
        }),
        case("connect to a socket in a folder", Succeeds, |place| {
            UnixStream::connect(place.outside.join("socket")).map(drop)
        }),
        case("listen on a socket in the root", Succeeds, |place| {
            UnixListener::bind(place.root.join("socket")).map(drop)
        }),
        case("turn a datagram pair to others", Succeeds, |place| {
            let (ours, _theirs) = UnixDatagram::pair()?;
            ours.connect(place.outside.join("datagrams"))
        }),
        case("send from a stream pair to an address", Untried, |_| {
            let (ours, _theirs) = UnixStream::pair()?;
            let (address, length) = ([1_u8; 16], 16);
            let socket = std::os::fd::AsRawFd::as_raw_fd(&ours) as usize;
            call(
                libc::SYS_sendto,
                [socket, address.as_ptr() as usize, 1, 0, address.as_ptr() as usize, length],
            )
            .map(drop)
        }),
        case("set up io_uring", Untried, |_| {
            let parameters = [0_u8; 120];
            call_with(libc::SYS_io_uring_setup, &[1, parameters.as_ptr() as usize])
        }),
        case("enter an io_uring", Untried, |_| call_with(libc::SYS_io_uring_enter, &[0, 1, 0, 0])),
    ]
}

fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<()> {
    call_with(libc::SYS_socket, &[family as usize, kind as usize, protocol as usize])
}
