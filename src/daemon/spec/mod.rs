//! Requests of the CRI as checked types, and the pure function that makes an OCI runtime Spec of them.
//!
//! ```text
//!   PodConfig ─────────┐
//!   ContainerConfig ───┤
//!   ImageDefaults ─────┼──▶ build ──▶ oci_spec::runtime::Spec
//!   Identity ──────────┤
//!   HostFacts, paths ──┘
//! ```
//!
//! This module does no input or output, reads no clock and knows no protobuf. The caller passes in the facts of the
//! machine. No part of a request is dropped silently: a part that cannot be met is an error that names the field.

mod build;
mod capabilities;
mod cdi;
mod cgroup;
mod confinement;
mod container;
mod devices;
pub(crate) mod experiments;
mod host;
mod image;
mod limits;
mod mounts;
mod namespaces;
mod path;
mod pod;
mod process;
mod refusal;
mod request;
pub(crate) mod resources;
pub(crate) mod seccomp;
mod security;
mod signal;
pub(crate) mod sysctl;
mod target;
pub(crate) mod user;
mod volume;

#[cfg(test)]
mod tests;

pub(crate) use build::{build, build_pod};
pub(crate) use cdi::{CdiEdits, CdiHook, CdiMount, cdi_names};
pub(crate) use cgroup::delegated;
pub(crate) use confinement::{seccomp_base, usual_filters};
pub(crate) use container::{
    CgroupAccess, CgroupNamespace, ContainerConfig, ContainerMetadata, ContainerSecurity,
    DeviceRequest, RequestedUser, RunAs,
};
pub(crate) use host::{CgroupMode, DeviceGrant, DeviceKind, HostDevice, HostFacts, PodPaths};
pub(crate) use image::{ImageDefaults, ImageSpec};
pub(crate) use limits::Resources;
pub(crate) use path::{ContainerPath, HostPath, PathError};
pub(crate) use pod::{
    DnsConfig, IpcMode, NamespaceOptions, NetMode, PidMode, PodConfig, PodMetadata, PodSecurity,
    PortMapping, Protocol,
};
pub(crate) use refusal::SpecError;
pub(crate) use request::{PodSpecRequest, SpecRequest};
pub(crate) use security::{
    AppArmorChoice, GroupsPolicy, PinnedProfile, PulledProfile, SeccompChoice, SelinuxOptions,
};
pub(crate) use signal::{Signal, SignalError};
pub(crate) use user::{Identity, UserError};
pub(crate) use volume::{MountOption, VolumeAccess, VolumeMount, VolumePropagation, VolumeSource};
