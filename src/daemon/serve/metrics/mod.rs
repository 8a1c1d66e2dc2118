//! The daemon's own metrics over HTTP, for Prometheus: what it owes, what it runs. Off unless configured.
//!
//! A connection is one request: `GET /metrics`. It is served from what memory has, so a scrape costs nothing
//! that pods could feel. What this must never do is to tell anything of a pod's content: whoever reaches the
//! address reads it.

mod server;
mod text;

pub(super) use server::MetricsServer;
pub(super) use text::Subject;
