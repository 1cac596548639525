//! HTTP out behind an egress guard for Operone: the `http.get` tool and `http(s)://` sources.
//!
//! A [`WebClient`] calls the addresses that an [`EgressPolicy`](operone_core::egress::EgressPolicy) permits and no
//! other, whatever a URL, a name server or a redirect says: names are resolved by a resolver that drops refused
//! addresses, so that the address that was checked is the one that is connected; each redirect is checked like the
//! first URL; no proxy is used. [`http_get_tool`] gives agents web pages as text. [`WebSource`] reads documents.
//! [`WebClient::download`] fetches large files.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod client;
mod download;
mod error;
mod guard;
mod source;
mod tool;
mod transport;
mod url;

pub use client::WebClient;
pub use download::Download;
pub use source::WebSource;
pub use tool::http_get_tool;
