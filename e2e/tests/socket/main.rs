//! The daemon seen from its socket, theme by theme. One program, so that it is linked once and its tests run
//! side by side, each with a daemon of its own: `cargo test -p e2e --test socket THEME::`.

mod attach;
mod bad_input;
mod bandwidth;
mod cni;
mod config;
mod containers;
mod crictl;
mod events;
mod exec;
mod host_ports;
mod image_volumes_declared;
mod images;
mod images_bad;
mod import;
mod lifecycle;
mod limits;
mod lists;
mod logs;
mod manifests;
mod metrics;
mod mounts;
mod namespaces;
mod network;
mod older_client;
mod port_forward;
mod pulls;
mod restart;
mod security;
mod stats;
mod stop;
mod streaming;
mod symbols;
mod sysctls;
mod users;
