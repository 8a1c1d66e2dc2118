//! Converts metrics to messages, under the names of cAdvisor, so that dashboards made for cAdvisor keep working.
//!
//! ```text
//!   figures: name, help, kind ──┬──▶ descriptors
//!                               └──▶ with a reading ──▶ metrics
//! ```
//!
//! Descriptors and metrics come from the same tables, so that each metric has its descriptor. A figure that the
//! kernel does not provide is left out. Fractions are sent twice: as a whole number for consumers that know nothing
//! else, and exactly.

mod figures;
mod message;

#[cfg(test)]
mod tests;

pub(crate) use message::{descriptors, pod_metrics};
