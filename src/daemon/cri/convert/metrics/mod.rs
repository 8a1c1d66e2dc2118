//! Metrics outwards, under the names that cAdvisor has for them, so that dashboards made for it go on working.
//!
//! ```text
//!   figures: name, help, kind ──┬──▶ descriptors
//!                               └──▶ with a reading ──▶ metrics
//! ```
//!
//! Descriptors and metrics come from the same tables, so no metric is without its descriptor. A figure that
//! the kernel does not give is left out, never made up. Fractions are there twice: whole for consumers that
//! know nothing else, and exact.

mod figures;
mod message;

#[cfg(test)]
mod tests;

pub(crate) use message::{descriptors, pod_metrics};
