//! CRI messages ⇄ domain values. Pure and total.
//!
//! Inwards every field of a request is either carried over or refused by a [`FieldError`] that names the
//! path of the field (`config.linux.security_context.namespace_options.pid`), what it holds and what to do.
//! Fields for Windows are the only ones that are passed over. Outwards every value has a message.
//!
//! What this module must never do: look at the machine, ask another module for state, or panic on what a
//! client sent. Enum numbers of a message are not trusted: an unknown one is refused, not taken for zero.

mod container;
mod field;
mod filter;
mod image;
mod mount;
mod namespace;
mod pod;
mod resources;
mod security;
mod signal;

pub use container::container_config;
pub use field::FieldError;
pub use filter::{ContainerQuery, PodQuery};
pub use image::image_reference;
pub use pod::pod_config;
pub use resources::{resources, resources_message};

/// The only runtime handler with a name; the empty name means it as well.
pub const RUNTIME_HANDLER: &str = "holdfast";
