//! The `info` of verbose replies: JSON for people and scripts, with values for which the CRI has no field.

use holdfast_kernel::error_chain;
use holdfast_kernel::sys::pid::Pid;
use std::collections::HashMap;

use oci_spec::runtime::Spec;
use serde_json::{Map, Value, json};

use crate::pod::{
    Connection, ContainerPhase, ContainerRecord, NetworkList, Plugin, PodError, PodRecord, Pods,
    ProcessNamespaces, Role,
};

/// The one key that containerd and CRI-O use as well.
const KEY: &str = "info";

fn under_key(value: &Value) -> HashMap<String, String> {
    HashMap::from([(KEY.to_owned(), value.to_string())])
}

/// Describes a pod: its pause, the namespaces that the pause holds, and its Spec, or why the Spec cannot be made.
pub(super) fn pod(pods: &Pods, record: &PodRecord) -> HashMap<String, String> {
    let id = record.id.to_string();
    let namespaces = pods.namespaces(&id).unwrap_or_default();
    let runtime = pods.pause_spec(&id);
    // A process that has ended has no namespaces, and its number may be another process's.
    let pause = namespaces
        .iter()
        .find(|process| process.role == Role::Pause && !process.inodes.is_empty());
    under_key(&json!({
        "pid": pause.map_or(Pid::NONE, |pause| pause.pid),
        "namespaces": pause.map(self::namespaces),
        "netnsPath": pods.pinned_network(record),
        "experiments": experiments(pods, record),
        "shimPid": record.shim.map(|shim| shim.pid),
        "cgroup": record.cgroup,
        "resources": record.resources.resources,
        "overhead": record.resources.overhead,
        "runtimeSpecError": problem(&runtime),
        "runtimeSpec": spec(runtime.ok()),
    }))
}

/// Describes a container: its process, the namespaces of the process, and its Spec, or why the Spec cannot be made.
pub(super) fn container(pods: &Pods, record: &ContainerRecord) -> HashMap<String, String> {
    let id = record.id.to_string();
    let pid = match &record.phase {
        ContainerPhase::Running(run, _) => run.process.pid,
        _ => Pid::NONE,
    };
    let namespaces = pods.namespaces(&record.pod.to_string()).unwrap_or_default();
    let own = namespaces.iter().find(|process| process.id == id);
    let runtime = pods.runtime_spec(&id);
    under_key(&json!({
        "sandboxID": record.pod.to_string(),
        "pid": pid,
        "namespaces": own.map(self::namespaces),
        "degraded": record.degraded,
        "experiments": sharing(pods, record),
        "runtimeSpecError": problem(&runtime),
        "runtimeSpec": spec(runtime.ok()),
    }))
}

/// Why a Spec cannot be made: the kernel no longer has the AppArmor profile of the request.
fn problem(spec: &Result<Spec, PodError>) -> Option<String> {
    spec.as_ref().err().map(|error| error_chain(error))
}

/// The experiments of a pod as they were carried out; null for a pod without any.
fn experiments(pods: &Pods, record: &PodRecord) -> Option<Value> {
    let experiments = &record.config.experiments;
    let network = pods.joined_network(record).map(|(owner, connection)| {
        let connected = connection == Connection::Up;
        json!({ "podSandboxId": owner.to_string(), "connected": connected })
    });
    (!experiments.is_empty()).then(|| {
        json!({
            "joinNetwork": network,
            "timeOffsets": experiments.time_offsets,
            "namespaces": experiments.namespaces,
        })
    })
}

/// The namespaces that a container shares with its pod because of an experiment.
fn sharing(pods: &Pods, record: &ContainerRecord) -> Option<Value> {
    let pod = pods.pod(&record.pod.to_string()).ok()?;
    let all = &pod.pod.config.experiments.namespaces;
    let sharing = all.get(&record.config.metadata.name)?;
    Some(json!({ "namespaces": sharing }))
}

/// Inode and path of each namespace, by its kind.
fn namespaces(process: &ProcessNamespaces) -> Value {
    let entry = |(kind, inode): (&String, &u64)| {
        let path = process.pid.proc_file(&format!("ns/{kind}"));
        (kind.clone(), json!({ "inode": inode, "path": path }))
    };
    Value::Object(process.inodes.iter().map(entry).collect::<Map<_, _>>())
}

fn spec(spec: Option<Spec>) -> Value {
    spec.and_then(|spec| serde_json::to_value(spec).ok())
        .unwrap_or_default()
}

/// Describes the node: its configuration, and that of the network plugins in the form in which containerd shows it.
pub(super) async fn node(pods: &Pods, config: &Value) -> HashMap<String, String> {
    let settings = pods.cni_settings();
    let (networks, loaded) = match pods.cni_network().await {
        Ok(Some(list)) => (network(&list), "OK".to_owned()),
        Ok(None) => {
            let dir = settings.conf_dir.display();
            let problem = format!("no network config found in {dir}: cni plugin not initialized");
            (Vec::new(), problem)
        }
        Err(error) => (Vec::new(), error_chain(&error)),
    };
    let cni = json!({
        "PluginDirs": settings.bin_dirs,
        "PluginConfDir": settings.conf_dir,
        "PluginMaxConfNum": 1,
        "Prefix": "eth",
        "Networks": networks,
    });
    HashMap::from([
        ("config".to_owned(), config.to_string()),
        ("cniconfig".to_owned(), cni.to_string()),
        ("lastCNILoadStatus".to_owned(), json!(loaded).to_string()),
    ])
}

fn network(list: &NetworkList) -> Vec<Value> {
    let plugin = |plugin: &Plugin| {
        let source = Value::Object(plugin.config.clone());
        json!({ "Network": source, "Source": source.to_string() })
    };
    let plugins: Vec<Value> = list.plugins.iter().map(plugin).collect();
    vec![json!({
        "IFName": "eth0",
        "Config": {
            "Name": list.name,
            "CNIVersion": list.version.as_str(),
            "Plugins": plugins,
            "Source": list.source.to_string(),
        },
    })]
}
