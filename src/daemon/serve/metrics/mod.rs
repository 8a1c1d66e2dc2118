//! The daemon's own metrics over HTTP, for Prometheus: pods, images and debts. The server is off unless it is
//! configured.
//!
//! A connection has one request: `GET /metrics`. The answer is made from memory, so that a scrape does not disturb
//! pods. The metrics must never contain anything of a pod's content, because everybody who reaches the address can
//! read them.

mod server;
mod text;

pub(super) use server::MetricsServer;
pub(super) use text::Subject;
