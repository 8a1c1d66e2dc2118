//! Converts CRI messages to domain values and back, with pure functions that never panic.
//!
//! Every field of a request is either converted or refused by a [`FieldError`], which names the path of the field
//! (`config.linux.security_context.namespace_options.pid`), its value and what is allowed. Only fields for Windows
//! are ignored. Fields that are newer than the proto are lost in decoding: clients have to look at the features in
//! Status before they send such a field, as kubelets do.
//!
//! This module must never look at the machine, ask another module for state, or panic on what a client sent. An
//! unknown number of an enum is refused; it is not taken for zero.

mod container;
mod container_status;
mod event;
mod field;
mod filter;
mod handler;
mod id_map;
mod image;
mod metrics;
mod mount;
mod namespace;
mod pod;
mod pod_status;
mod resources;
mod security;
mod signal;
mod stats;

pub(crate) use container::container_config;
pub(crate) use container_status::{container_item, container_state, container_status};
pub(crate) use event::event;
pub(crate) use field::FieldError;
pub(crate) use filter::{ContainerQuery, PodQuery};
pub(crate) use handler::RUNTIME_HANDLER;
pub(crate) use image::{credentials, image_message, image_reference};
pub(crate) use metrics::{descriptors, pod_metrics};
pub(crate) use pod::pod_config;
pub(crate) use pod_status::{pod_item, pod_state, pod_status};
pub(crate) use resources::{pod_resources, resources};
pub(crate) use security::profile_kind;
pub(crate) use stats::{container_stats, image_fs, pod_stats};

#[cfg(test)]
mod tests;
