//! containerd with runc: its configuration.

use std::process::Command;

use e2e::cni::Plugins;
use e2e::place::Place;

use super::programs::{Programs, search_first, write};

/// Its configuration, but for what the place says.
const CONFIG: &str = r#"version = 3
root = "ROOT"
state = "RUN/containerd"
imports = []
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.erofs"]

[plugins.'io.containerd.server.v1.grpc']
address = "SOCKET"

[plugins.'io.containerd.cri.v1.images']
snapshotter = "overlayfs"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "registry.k8s.io/pause:3.10.2"
[plugins.'io.containerd.cri.v1.images'.registry]
config_path = "HOSTS"

[plugins.'io.containerd.cri.v1.runtime']
netns_mounts_under_state_dir = true
disable_apparmor = true
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "RUNC"
Root = "RUN/runc"
SystemdCgroup = false
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["PLUGINS"]
conf_dir = "NETWORKS"
"#;

/// Writes the configuration of a place.
pub fn configure(place: &Place, plugins: &Plugins, programs: &Programs) -> Result<(), String> {
    let text = [
        ("ROOT", place.root()),
        ("RUNC", programs.path("runc")?),
        ("RUN", place.run()),
        ("SOCKET", place.socket()),
        ("HOSTS", place.hosts()),
        ("PLUGINS", plugins.bin()),
        ("NETWORKS", plugins.conf()),
    ]
    .iter()
    .fold(CONFIG.to_owned(), |text, (word, path)| {
        text.replace(word, &path.display().to_string())
    });
    programs.path("containerd-shim-runc-v2")?;
    write(&place.config(), &text);
    Ok(())
}

/// The arguments of the daemon, which looks for its shim by the search path.
pub fn arguments(command: &mut Command, place: &Place, programs: &Programs) {
    command.arg("--config").arg(place.config());
    let shim = programs.path("containerd-shim-runc-v2");
    let directory = shim.ok().and_then(|path| path.parent().map(Into::into));
    search_first(command, &directory.into_iter().collect::<Vec<_>>());
}
