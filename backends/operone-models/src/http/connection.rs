//! One connection. Whoever waits for an answer moves its bytes: between the socket and the reader stands no other task.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::future::poll_fn;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::{Read, Write};
use hyper::{Request, Response};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use operone_core::Result;
use tokio::net::TcpStream;

use super::gate::Gate;
use crate::error::broken;

/// What bytes go through. Behind a pointer, since a TLS session is large and plain connections should not have room for
/// one.
trait Socket: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> Socket for T {}

type Driver = http1::Connection<Box<dyn Socket>, Full<Bytes>>;

/// How much is read ahead, in bytes; the head of an answer must fit into it.
const READ_AHEAD: usize = 64 * 1024;

/// How often what woke itself is looked at again before others get their turn.
const LOOKS: usize = 2;

/// A connection, which is in use or kept.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Moves the bytes. None when the connection is over.
    driver: Option<Box<Driver>>,
    gate: Arc<Gate>,
    waker: Waker,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) async fn new(stream: MaybeHttpsStream<TokioIo<TcpStream>>) -> Result<Self> {
        let socket: Box<dyn Socket> = match stream {
            MaybeHttpsStream::Http(plain) => Box::new(plain),
            MaybeHttpsStream::Https(encrypted) => Box::new(encrypted),
        };
        let handshake = http1::Builder::new().max_buf_size(READ_AHEAD).handshake(socket);
        let (sender, driver) = handshake.await.map_err(|error| broken().with_source(error))?;
        let gate = Arc::new(Gate::new());
        Ok(Self { sender, driver: Some(Box::new(driver)), waker: Waker::from(Arc::clone(&gate)), gate })
    }

    /// Sends a request and waits for the head of the answer.
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        let mut answer = pin!(self.sender.send_request(request));
        let sent = poll_fn(|context| self.drive(context, |context| answer.as_mut().poll(context)));
        sent.await.ok_or_else(broken)?.map_err(|error| broken().with_source(error))
    }

    /// Waits for something that the connection brings; None where it ended without.
    pub(super) fn drive<T>(
        &mut self,
        context: &mut Context<'_>,
        mut awaited: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Option<T>> {
        self.gate.lead_to(context.waker());
        if self.gate.is_quiet() {
            return Poll::Pending;
        }
        let waker = self.waker.clone();
        let mut within = Context::from_waker(&waker);
        for _ in 0..LOOKS {
            self.gate.shut();
            if let Poll::Ready(brought) = awaited(&mut within) {
                return Poll::Ready(Some(brought));
            }
            let is_over = self.advance(&mut within);
            if let Poll::Ready(brought) = awaited(&mut within) {
                return Poll::Ready(Some(brought));
            }
            if is_over {
                return Poll::Ready(None);
            }
            if self.gate.open() {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether it can take a request now.
    pub(super) fn is_idle(&mut self) -> bool {
        !self.advance(&mut Context::from_waker(Waker::noop())) && self.sender.is_ready()
    }

    /// Moves what can be moved; whether the connection is over.
    fn advance(&mut self, context: &mut Context<'_>) -> bool {
        let Some(driver) = &mut self.driver else { return true };
        let is_over = Pin::new(driver).poll(context).is_ready();
        if is_over {
            self.driver = None;
        }
        is_over
    }
}
