//! The daemon seen from its socket, theme by theme. One program, so that it is linked once and its tests run
//! side by side, each with a daemon of its own: `cargo test -p e2e --test socket THEME::`.

mod bad_input;
mod config;
mod containers;
mod crictl;
mod exec;
mod image_volumes_declared;
mod images;
mod images_bad;
mod import;
mod lifecycle;
mod limits;
mod lists;
mod logs;
mod manifests;
mod mounts;
mod namespaces;
mod network;
mod pulls;
mod restart;
mod security;
mod stats;
mod stop;
mod symbols;
mod sysctls;
mod users;
