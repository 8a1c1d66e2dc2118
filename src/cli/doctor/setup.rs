//! How Holdfast is set up on this machine: the daemon's own conditions, network plugins, registries.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cri_api::runtime::v1 as cri;
use serde_json::Value;

use super::finding::{Finding, Verdict};
use crate::connect::{ConnectError, Daemon};

const AREA: &str = "daemon";
const NETWORK: &str = "network plugins";
const REGISTRIES: &str = "registries";

/// Where the daemon looks when it does not say.
const CONF_DIR: &str = "/etc/cni/net.d";
const BIN_DIRS: [&str; 2] = ["/opt/cni/bin", "/usr/lib/cni"];
const HOSTS_DIRS: [&str; 2] = ["/etc/holdfast/certs.d", "/etc/containerd/certs.d"];

/// Everything on the set-up.
pub(super) async fn findings(daemon: Result<Daemon, ConnectError>) -> Vec<Finding> {
    let (mut findings, configuration) = match daemon {
        Ok(daemon) => conditions(daemon).await,
        Err(error) => (vec![unreachable(&error)], Value::Null),
    };
    findings.extend(network(&configuration));
    findings.push(registries(&configuration));
    findings
}

fn unreachable(error: &ConnectError) -> Finding {
    Finding::good(AREA, "socket", "nobody answers", "everything but `doctor`").but(
        Verdict::Limited,
        format!("{error}; start it: systemctl start holdfastd"),
    )
}

/// The daemon's conditions, and its configuration.
async fn conditions(mut daemon: Daemon) -> (Vec<Finding>, Value) {
    let reply = daemon
        .runtime
        .status(cri::StatusRequest { verbose: true })
        .await;
    let reply = match reply {
        Ok(reply) => reply.into_inner(),
        Err(status) => {
            let finding = Finding::good(AREA, "Status", status.message(), "kubelets").but(
                Verdict::Missing,
                "see the daemon's log: journalctl -u holdfastd",
            );
            return (vec![finding], Value::Null);
        }
    };
    let finding = |condition: &cri::RuntimeCondition| {
        let needed_for = match condition.r#type.as_str() {
            "RuntimeReady" => "kubelets to run pods",
            "NetworkReady" => "pods with a network",
            _ => "nothing: what could not be released is tried again",
        };
        if condition.status {
            return Finding::good(AREA, &condition.r#type, "yes", needed_for);
        }
        let verdict = if condition.r#type == "RuntimeReady" {
            Verdict::Missing
        } else {
            Verdict::Limited
        };
        Finding::good(
            AREA,
            &condition.r#type,
            format!("no, {}", condition.reason),
            needed_for,
        )
        .but(verdict, condition.message.clone())
    };
    let conditions = reply.status.unwrap_or_default().conditions;
    let config = reply
        .info
        .get("config")
        .and_then(|text| serde_json::from_str(text).ok());
    (
        conditions.iter().map(finding).collect(),
        config.unwrap_or_default(),
    )
}

/// A list of directories of the configuration.
fn directories(configuration: &Value, pointer: &str, otherwise: &[&str]) -> Vec<PathBuf> {
    match configuration.pointer(pointer).and_then(Value::as_array) {
        Some(list) => list
            .iter()
            .filter_map(Value::as_str)
            .map(PathBuf::from)
            .collect(),
        None => otherwise.iter().map(PathBuf::from).collect(),
    }
}

fn network(configuration: &Value) -> Vec<Finding> {
    let kind = configuration
        .pointer("/network/kind")
        .and_then(Value::as_str);
    let conf_dir = configuration
        .pointer("/cni/conf_dir")
        .and_then(Value::as_str);
    let conf_dir = Path::new(conf_dir.unwrap_or(CONF_DIR));
    let bin_dirs = directories(configuration, "/cni/bin_dirs", &BIN_DIRS);
    let needed_for = "clusters; the built-in bridge serves otherwise";
    let what = conf_dir.display().to_string();
    let found = match configured(conf_dir) {
        Some(file) => file,
        None => {
            let finding = Finding::good(NETWORK, &what, "no configuration", needed_for);
            return vec![match kind {
                Some("cni") => finding.but(
                    Verdict::Limited,
                    "network.kind is \"cni\": pods wait until a *.conflist is there; install the cluster's network",
                ),
                _ => finding,
            }];
        }
    };
    let mut findings = vec![Finding::good(
        NETWORK,
        &what,
        found.display().to_string(),
        needed_for,
    )];
    match plugins(&found) {
        Ok(plugins) => findings.extend(plugins.iter().map(|name| plugin(name, &bin_dirs))),
        Err(problem) => {
            let finding = Finding::good(NETWORK, "configuration", problem, needed_for);
            findings.push(finding.but(Verdict::Limited, format!("correct {}", found.display())));
        }
    }
    findings
}

/// The first configuration by name: it is the network.
fn configured(dir: &Path) -> Option<PathBuf> {
    let is_one = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("conflist" | "conf" | "json"))
    };
    let entries = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    entries.filter(is_one).min()
}

/// The plugins that a configuration names.
fn plugins(file: &Path) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let value: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let name = |plugin: &Value| Some(plugin.get("type")?.as_str()?.to_owned());
    let list = match value.get("plugins").and_then(Value::as_array) {
        Some(plugins) => plugins.iter().filter_map(name).collect(),
        None => name(&value).into_iter().collect::<Vec<_>>(),
    };
    if list.is_empty() {
        return Err("it names no plugin".to_owned());
    }
    Ok(list)
}

fn plugin(name: &str, dirs: &[PathBuf]) -> Finding {
    let what = format!("plugin {name}");
    let executable = |path: &PathBuf| {
        fs::metadata(path)
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let found = dirs.iter().map(|dir| dir.join(name)).find(executable);
    match found {
        Some(path) => Finding::good(
            NETWORK,
            &what,
            path.display().to_string(),
            "the network above",
        ),
        None => {
            let places: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
            Finding::good(NETWORK, &what, "not found", "the network above").but(
                Verdict::Limited,
                format!(
                    "install it in {}: package containernetworking-plugins has the usual ones",
                    places.join(" or ")
                ),
            )
        }
    }
}

fn registries(configuration: &Value) -> Finding {
    let dirs = directories(configuration, "/image/hosts_dir", &HOSTS_DIRS);
    let needed_for = "mirrors and certificates; registries are reached directly otherwise";
    let Some(dir) = dirs.iter().find(|dir| dir.is_dir()) else {
        return Finding::good(REGISTRIES, "hosts.toml", "none", needed_for);
    };
    let hosts: Vec<_> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join("hosts.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let found = format!("{} in {}", hosts.len(), dir.display());
    let finding = Finding::good(REGISTRIES, "hosts.toml", found, needed_for);
    let broken: Vec<_> = hosts
        .iter()
        .map(|host| dir.join(host).join("hosts.toml"))
        .filter(|file| !is_toml(file))
        .map(|file| file.display().to_string())
        .collect();
    if broken.is_empty() {
        return finding;
    }
    finding.but(
        Verdict::Limited,
        format!(
            "correct these files, which are not valid TOML: {}",
            broken.join(", ")
        ),
    )
}

fn is_toml(file: &Path) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.parse::<toml::Table>().is_ok())
}
