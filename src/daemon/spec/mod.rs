//! What CRI asks, as checked types, and the pure function from it to one OCI runtime Spec.
//!
//! ```text
//!   PodConfig ─────────┐
//!   ContainerConfig ───┤
//!   ImageDefaults ─────┼──▶ build ──▶ oci_spec::runtime::Spec
//!   Identity ──────────┤
//!   HostFacts, paths ──┘
//! ```
//!
//! This module does no input or output, asks no clock and knows no protobuf: what it needs to know of the
//! machine is handed in. It never drops a wish silently: what cannot be met is an error that names the field.

mod build;
mod capabilities;
mod cdi;
mod cgroup;
mod confinement;
mod container;
mod devices;
pub mod experiments;
mod host;
mod image;
mod mounts;
mod namespaces;
mod path;
mod pod;
mod process;
pub mod resources;
pub mod seccomp;
mod security;
mod signal;
pub mod sysctl;
pub mod user;

#[cfg(test)]
mod tests;

pub use build::{PodSpecRequest, SpecError, SpecRequest, build, build_pod};
pub use cdi::{CDI_ANNOTATION, CdiEdits, CdiHook, CdiMount, cdi_names};
pub use cgroup::delegated;
pub use confinement::{seccomp_base, usual_filters};
pub use container::{
    CgroupAccess, CgroupNamespace, ContainerConfig, ContainerMetadata, ContainerSecurity,
    DeviceRequest, ImageSpec, MountOption, RequestedUser, Resources, RunAs, VolumeMount,
    VolumePropagation, VolumeSource,
};
pub use host::{CgroupMode, DeviceGrant, DeviceKind, HostDevice, HostFacts, PodPaths};
pub use image::ImageDefaults;
pub use namespaces::pid_mode;
pub use path::{ContainerPath, HostPath, PathError};
pub use pod::{
    DnsConfig, IpcMode, NamespaceOptions, NetMode, PidMode, PodConfig, PodMetadata, PodSecurity,
    PortMapping, Protocol,
};
pub use process::DEFAULT_PATH;
pub use security::{
    AppArmorChoice, GroupsPolicy, PinnedProfile, PulledProfile, SeccompChoice, SelinuxOptions,
};
pub use signal::{Signal, SignalError};
pub use sysctl::SysctlError;
pub use user::{Identity, UserError};
