//! An answer that is being received.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::{HeaderMap, StatusCode};
use operone_core::Result;
use tokio::time::timeout;

use super::connection::Connection;
use super::pool::Pool;
use crate::error::cut_off;

/// How long the end of a body is waited for after the end of the answer in it.
const SEEN_OUT: Duration = Duration::from_millis(200);

/// An answer. No more of it is read than is asked for. Dropping it closes the connection, unless it was read to its end.
#[derive(Debug)]
pub(crate) struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
    /// None once everything was received, or the connection broke.
    connection: Option<Connection>,
    pool: Arc<Pool>,
}

impl Response {
    pub(super) fn new(response: hyper::Response<Incoming>, connection: Connection, pool: Arc<Pool>) -> Self {
        let (head, body) = response.into_parts();
        Self { status: head.status, headers: head.headers, body, connection: Some(connection), pool }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// More bytes, none at the end of the body.
    pub(crate) async fn bytes(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|context| self.poll_bytes(context)).await
    }

    pub(crate) fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(None)) };
            let body = &mut self.body;
            let brought = connection.drive(context, |context| Pin::new(&mut *body).poll_frame(context));
            match ready!(brought) {
                Some(Some(Ok(frame))) => {
                    // Trailers are passed over.
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Ok(Some(bytes)));
                    }
                }
                Some(Some(Err(error))) => {
                    self.connection = None;
                    return Poll::Ready(Err(cut_off().with_source(error)));
                }
                Some(None) => {
                    if let Some(connection) = self.connection.take() {
                        self.pool.put(connection);
                    }
                }
                None => {
                    self.connection = None;
                    return Poll::Ready(Err(cut_off()));
                }
            }
        }
    }

    /// Reads to the end of a body of which nothing more is wanted, if it comes within a moment: only then the connection
    /// is used again.
    pub(crate) fn see_out(mut self) {
        if self.poll_bytes(&mut Context::from_waker(Waker::noop())).is_pending() {
            tokio::spawn(timeout(SEEN_OUT, async move { while let Ok(Some(_)) = self.bytes().await {} }));
        }
    }
}
