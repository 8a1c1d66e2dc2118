//! Checks of a configuration that types cannot express.

use std::path::Path;

use holdfast_network::is_interface_name;

use super::{Config, ConfigError, LogConfig, NetworkKind};

/// Longest path of a unix socket, in bytes: unix(7), without the closing NUL.
const LONGEST_SOCKET: usize = 107;

impl Config {
    /// Checks that all values can be used, alone and together.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.paths()?;
        self.networks()?;
        let parent = &self.cgroup.parent;
        if !parent.starts_with('/') || parent.split('/').any(|part| part == "..") {
            return Err(bad(
                "cgroup.parent",
                parent,
                "give an absolute cgroup path such as /holdfast",
            ));
        }
        if self.image.max_parallel_layers == 0 {
            return Err(bad("image.max_parallel_layers", "0", "give at least 1"));
        }
        for (key, period) in [
            ("image.stall_timeout", self.image.stall_timeout),
            (
                "image.download_rate_window",
                self.image.download_rate_window,
            ),
        ] {
            if period.get().is_zero() {
                return Err(bad(key, "0s", "give a time such as 60s"));
            }
        }
        self.streams()?;
        self.log.filter()?;
        if self.cgroup.pids_limit == Some(0) {
            return Err(bad(
                "cgroup.pids_limit",
                "0",
                "give a number above 0, or leave the key out",
            ));
        }
        Ok(())
    }

    fn paths(&self) -> Result<(), ConfigError> {
        let mut paths = vec![
            ("root_dir", &self.root_dir),
            ("run_dir", &self.run_dir),
            ("socket", &self.socket),
            ("network.netns_dir", &self.network.netns_dir),
            ("cni.conf_dir", &self.cni.conf_dir),
        ];
        paths.extend(self.cni.bin_dirs.iter().map(|dir| ("cni.bin_dirs", dir)));
        paths.extend(self.cdi.dirs.iter().map(|dir| ("cdi.dirs", dir)));
        paths.extend(self.shim.iter().map(|shim| ("shim", shim)));
        paths.extend(
            self.image
                .hosts_dir
                .iter()
                .map(|dir| ("image.hosts_dir", dir)),
        );
        for (key, path) in paths {
            absolute(key, path)?;
        }
        if let Some(shim) = self.shim.as_ref().filter(|shim| !shim.is_file()) {
            let remedy =
                "there is no such program; give the path of holdfast-shim, or leave the key out";
            return Err(bad("shim", &shim.to_string_lossy(), remedy));
        }
        if self.socket.as_os_str().len() > LONGEST_SOCKET {
            let remedy = "the path of a unix socket has 107 bytes at most";
            return Err(bad("socket", &self.socket.to_string_lossy(), remedy));
        }
        if self.root_dir == self.run_dir {
            let remedy = "give another directory than root_dir, on a tmpfs";
            return Err(bad("run_dir", &self.run_dir.to_string_lossy(), remedy));
        }
        Ok(())
    }

    fn streams(&self) -> Result<(), ConfigError> {
        let streaming = &self.streaming;
        if streaming.address.ip().is_unspecified() {
            let remedy =
                "clients are sent there: give an address of this machine, such as 127.0.0.1:0";
            return Err(bad(
                "streaming.address",
                &streaming.address.to_string(),
                remedy,
            ));
        }
        if streaming.idle_timeout.get().is_zero() {
            return Err(bad(
                "streaming.idle_timeout",
                "0s",
                "give a time such as 4h",
            ));
        }
        match (&streaming.tls_cert, &streaming.tls_key) {
            (None, None) => Ok(()),
            (Some(cert), Some(key)) => {
                absolute("streaming.tls_cert", cert)?;
                absolute("streaming.tls_key", key)
            }
            (Some(cert), None) => {
                let remedy = "give streaming.tls_key with it";
                Err(bad("streaming.tls_cert", &cert.to_string_lossy(), remedy))
            }
            (None, Some(key)) => {
                let remedy = "give streaming.tls_cert with it";
                Err(bad("streaming.tls_key", &key.to_string_lossy(), remedy))
            }
        }
    }

    fn networks(&self) -> Result<(), ConfigError> {
        let network = &self.network;
        if self.cni.timeout.get().is_zero() {
            return Err(bad("cni.timeout", "0s", "give a time such as 60s"));
        }
        if matches!(network.kind, NetworkKind::None | NetworkKind::Cni) {
            return Ok(());
        }
        if !is_interface_name(&network.bridge) {
            let remedy =
                "give the name of an interface: 1 to 15 of a-z, A-Z, 0-9, \".\", \"_\" and \"-\"";
            return Err(bad("network.bridge", &network.bridge, remedy));
        }
        if let Some(subnet) = network.subnet4.filter(|subnet| subnet.is_ipv6()) {
            return Err(bad(
                "network.subnet4",
                &subnet.to_string(),
                "give an IPv4 subnet",
            ));
        }
        if let Some(subnet) = network.subnet6.filter(|subnet| !subnet.is_ipv6()) {
            return Err(bad(
                "network.subnet6",
                &subnet.to_string(),
                "give an IPv6 subnet",
            ));
        }
        if network.subnet4.is_none() && network.subnet6.is_none() {
            let remedy = "give network.subnet4 or network.subnet6, or kind = \"none\"";
            return Err(bad("network.kind", "bridge", remedy));
        }
        Ok(())
    }
}

impl LogConfig {
    /// The filter that the level means. A bare `debug` or `trace` is for Holdfast's own modules: the frames of a library for
    /// HTTP/2 would fill the log.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for a word that is no level: the filter would take it for the name of a module.
    pub(in crate::serve) fn filter(&self) -> Result<String, ConfigError> {
        let remedy = "give error, warn, info, debug, trace or off, or MODULE=LEVEL for a module, as in \"info,holdfast_image=debug\"";
        let refused = || bad("log.level", &self.level, remedy);
        let mut parts = Vec::new();
        for part in self.level.split(',').map(str::trim) {
            let (module, level) = part.split_once('=').unwrap_or(("", part));
            let is_module = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
            let is_known = ["error", "warn", "info", "debug", "trace", "off"].contains(&level);
            if !is_known || part.starts_with('=') || !module.bytes().all(is_module) {
                return Err(refused());
            }
            match (module, level) {
                ("", "debug" | "trace") => parts.push(format!("info,holdfast={level}")),
                _ => parts.push(part.to_owned()),
            }
        }
        Ok(parts.join(","))
    }
}

fn absolute(key: &'static str, path: &Path) -> Result<(), ConfigError> {
    let climbs = path
        .components()
        .any(|part| part == std::path::Component::ParentDir);
    if path.is_absolute() && path != Path::new("/") && !climbs {
        return Ok(());
    }
    Err(bad(
        key,
        &path.to_string_lossy(),
        "give an absolute path without \"..\", and not / itself",
    ))
}

fn bad(key: &'static str, value: &str, remedy: &'static str) -> ConfigError {
    ConfigError::Value {
        key,
        value: value.to_owned(),
        remedy,
    }
}
