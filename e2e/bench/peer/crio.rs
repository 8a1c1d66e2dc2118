//! CRI-O with conmon and crun (or runc where there is no crun): its configuration.

use std::process::Command;

use e2e::cni::Plugins;
use e2e::place::Place;
use e2e::registry::Registry;

use super::programs::{Programs, write};

/// Its configuration, but for what the place says.
const CONFIG: &str = r#"[crio]
root = "ROOT"
runroot = "RUN/storage"
storage_driver = "overlay"
log_dir = "LOGS"
version_file = "RUN/version"
clean_shutdown_file = "ROOT/clean.shutdown"
[crio.api]
listen = "SOCKET"
[crio.runtime]
cgroup_manager = "cgroupfs"
apparmor_profile = "unconfined"
conmon_cgroup = "pod"
container_exits_dir = "RUN/exits"
container_attach_socket_dir = "RUN/attach"
namespaces_dir = "RUN/namespaces"
pinns_path = "PINNS"
hooks_dir = []
decryption_keys_path = "PLACE/keys"
irqbalance_config_restore_file = "disable"
default_runtime = "oci"
[crio.runtime.runtimes.oci]
runtime_path = "OCI"
runtime_type = "oci"
runtime_root = "RUN/oci"
monitor_path = "CONMON"
monitor_cgroup = "pod"
disable_hostport_mapping = true
[crio.image]
pause_image = "registry.k8s.io/pause:3.10.2"
signature_policy = "PLACE/policy.json"
signature_policy_dir = "PLACE/policies"
namespaced_auth_dir = "PLACE/auth"
[crio.network]
network_dir = "NETWORKS"
plugin_dirs = ["PLUGINS"]
[crio.nri]
enable_nri = false
"#;

/// Writes the configuration of a place.
pub fn configure(place: &Place, plugins: &Plugins, programs: &Programs) -> Result<(), String> {
    // An old crun of the distribution does not know the versions that a new CRI-O writes.
    let beside = ["crun", "runc"].map(|name| programs.beside(name));
    let oci = match beside.into_iter().flatten().next() {
        Some(path) => path,
        None => programs.path("crun").or_else(|_| programs.path("runc"))?,
    };
    let text = [
        ("ROOT", place.root()),
        ("RUN", place.run()),
        ("LOGS", place.logs()),
        ("SOCKET", place.socket()),
        ("PINNS", programs.path("pinns")?),
        ("OCI", oci),
        ("CONMON", programs.path("conmon")?),
        ("PLUGINS", plugins.bin()),
        ("NETWORKS", plugins.conf()),
        ("PLACE", place.dir.clone()),
    ]
    .iter()
    .fold(CONFIG.to_owned(), |text, (word, path)| {
        text.replace(word, &path.display().to_string())
    });
    write(&place.config(), &text);
    let accept = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
    write(&place.dir.join("policy.json"), accept);
    let registry = Registry::plain().address();
    let mirrors: String = ["registry.holdfast.test", "registry.k8s.io"]
        .iter()
        .map(|host| {
            format!(
                "[[registry]]\nlocation = \"{host}\"\n[[registry.mirror]]\n\
                 location = \"{registry}/{host}\"\ninsecure = true\n"
            )
        })
        .collect();
    write(&place.dir.join("registries.conf"), &mirrors);
    Ok(())
}

/// The arguments of the daemon, and where it looks for registries.
pub fn arguments(command: &mut Command, place: &Place) {
    command.arg("--config").arg(place.config());
    command.args(["--config-dir", ""]);
    // The mirrors of this machine are no part of it.
    for (variable, name) in [
        ("CONF", "registries.conf"),
        ("CONF_DIR", "registries.conf.d"),
    ] {
        let variable = format!("CONTAINER_REGISTRIES_{variable}");
        command.env(variable, place.dir.join(name));
    }
}
