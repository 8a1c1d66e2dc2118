//! The plugin `bridge`: a veth pair between a pod and a bridge of the host, with addresses of `host-local`.
//!
//! ```text
//!   ADD: bridge ─▶ leases ─▶ gateway addresses ─▶ veth pair ─▶ rules ─▶ [pod] settings, addresses, up, routes ─▶ port is up
//!   CHECK: lease ─▶ bridge ─▶ [pod] interface ─▶ its port of the bridge ─▶ [pod] addresses, routes
//!   DEL: rules ─▶ veth pair off the bridge, deleted in the background ─▶ leases
//! ```
//!
//! DEL looks at what is there, and needs no result of ADD.

mod add;
mod check;
mod config;
mod del;

pub(super) use add::add;
pub(super) use check::check;
pub(super) use config::Bridge;
pub(super) use del::del;
