//! Kernel parameters of a pod: which keys belong to a namespace, and which values are harmless.
//!
//! A value must not smuggle in a second key, which could be the host's. Keys and values are checked and kept apart
//! until they are written. A key that is not known to belong to a namespace is refused.
//!
//! Accepted are the parameters that Kubernetes 1.37 calls namespaced: net.*, those of System V IPC and of message
//! queues, kernel.domainname, and user.* in a pod with a user namespace of its own.

use std::collections::BTreeMap;

use super::{IpcMode, NetMode, PodConfig};

/// Why a kernel parameter is refused.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub(crate) enum SysctlError {
    /// The key has an empty component, `..` or an unusual character.
    #[error(
        "linux.sysctls: invalid key {0:?}: give the name of a kernel parameter, such as net.ipv4.ip_forward"
    )]
    Key(String),
    /// The key does not belong to a namespace: setting it would change the host.
    #[error(
        "linux.sysctls: {0:?} does not belong to a namespace and would change the node; leave it out. Allowed are \
         kernel.shm*, kernel.msg*, kernel.sem, kernel.domainname, fs.mqueue.*, net.* and user.*"
    )]
    NotNamespaced(String),
    /// The pod has the host's namespace of that kind.
    #[error(
        "linux.sysctls: cannot set {key:?} in the node's {namespace} namespace, which the pod shares; leave it out, or give the pod a namespace of its own"
    )]
    HostNamespace {
        /// The key as given.
        key: String,
        /// `network`, `ipc`, `uts` or `user`.
        namespace: &'static str,
    },
    /// The host name has its own field.
    #[error("linux.sysctls: {0:?} is set by the field hostname; set that field instead")]
    HostName(String),
    /// The same parameter in both spellings, with two values.
    #[error(
        "linux.sysctls: {first:?} and {second:?} are the same parameter and differ; leave one out"
    )]
    Twice {
        /// The first key as given.
        first: String,
        /// The other key as given.
        second: String,
    },
    /// The value has a character that is not printable ASCII, or is too long.
    #[error("linux.sysctls: invalid value of {0:?}: give at most 4095 printable ASCII characters")]
    Value(String),
}

/// Which namespace a parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Network,
    Ipc,
    Uts,
    User,
}

/// Parameters of the IPC namespace: ipc_namespaces(7), Linux ipc/ipc_sysctl.c.
const IPC_KEYS: &[&str] = &[
    "kernel/auto_msgmni",
    "kernel/msg_next_id",
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/sem_next_id",
    "kernel/shm_next_id",
    "kernel/shm_rmid_forced",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
];

/// A page minus its closing NUL: what one write to a file below /proc/sys takes.
const MAX_VALUE: usize = 4095;

/// The checked parameters of a pod, the defaults included; the request wins over a default.
///
/// Keys come out with dots, or with slashes where a component itself has a dot (an interface `eth0.100`):
/// the two spellings of sysctl(8).
///
/// # Errors
/// [`SysctlError`] for the first key or value that is refused.
pub(crate) fn for_pod(pod: &PodConfig) -> Result<BTreeMap<String, String>, SysctlError> {
    let mut out = defaults(pod);
    let mut given: BTreeMap<String, (&String, &String)> = BTreeMap::new();
    for (key, value) in &pod.sysctls {
        let path = path_of(key)?;
        check_namespace(key, &path, pod)?;
        check_value(key, value)?;
        let spelled = spelled(&path);
        if let Some((first, other)) = given.insert(spelled.clone(), (key, value))
            && other != value
        {
            return Err(SysctlError::Twice {
                first: first.clone(),
                second: key.clone(),
            });
        }
        out.insert(spelled, value.clone());
    }
    Ok(out)
}

/// Whether the request sets parameters of the pod's network, besides the defaults.
pub(crate) fn asks_of_network(pod: &PodConfig) -> bool {
    let mut paths = pod.sysctls.keys().filter_map(|key| path_of(key).ok());
    paths.any(|path| owner(&path) == Some(Owner::Network))
}

/// Whether the request disables IPv6 on an interface, which then loses its IPv6 addresses (ip-sysctl, disable_ipv6).
pub(crate) fn disables_ipv6(pod: &PodConfig, interface: &str) -> bool {
    let of_interface = format!("net/ipv6/conf/{interface}/disable_ipv6");
    let set = |value: &str| value.trim().parse().is_ok_and(|number: i32| number != 0);
    pod.sysctls.iter().any(|(key, value)| {
        let path = path_of(key).unwrap_or_default();
        set(value) && (path == "net/ipv6/conf/all/disable_ipv6" || path == of_interface)
    })
}

/// The defaults of containerd: ports below 1024 and ping work without capabilities.
fn defaults(pod: &PodConfig) -> BTreeMap<String, String> {
    if !pod.owns_network() || pod.namespaces.userns.is_some() {
        return BTreeMap::new();
    }
    BTreeMap::from([
        (
            "net.ipv4.ip_unprivileged_port_start".to_owned(),
            "0".to_owned(),
        ),
        (
            "net.ipv4.ping_group_range".to_owned(),
            "0 2147483647".to_owned(),
        ),
    ])
}

/// The path below /proc/sys. When the first separator is a dot, dots and slashes change places.
fn path_of(key: &str) -> Result<String, SysctlError> {
    let dotted = key
        .find(['.', '/'])
        .is_some_and(|at| key.as_bytes()[at] == b'.');
    let path: String = if dotted {
        key.chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect()
    } else {
        key.to_owned()
    };
    let fine = |part: &str| {
        let letters =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@' | ':');
        !part.is_empty() && part != "." && part != ".." && part.chars().all(letters)
    };
    if path.len() > 255 || !path.contains('/') || !path.split('/').all(fine) {
        return Err(SysctlError::Key(key.chars().take(200).collect()));
    }
    Ok(path)
}

/// The spelling with dots, unless a component has one.
fn spelled(path: &str) -> String {
    if path.contains('.') {
        path.to_owned()
    } else {
        path.replace('/', ".")
    }
}

fn check_namespace(key: &str, path: &str, pod: &PodConfig) -> Result<(), SysctlError> {
    if path == "kernel/hostname" {
        return Err(SysctlError::HostName(key.to_owned()));
    }
    let host = |namespace| SysctlError::HostNamespace {
        key: key.to_owned(),
        namespace,
    };
    match owner(path) {
        Some(Owner::Network) if pod.namespaces.network == NetMode::Node => Err(host("network")),
        Some(Owner::Ipc) if pod.namespaces.ipc == IpcMode::Node => Err(host("ipc")),
        // The host's network goes with the host's name: NamespaceOption of the CRI has no mode for it.
        Some(Owner::Uts) if pod.namespaces.network == NetMode::Node => Err(host("uts")),
        Some(Owner::User) if pod.namespaces.userns.is_none() => Err(host("user")),
        Some(_) => Ok(()),
        None => Err(SysctlError::NotNamespaced(key.to_owned())),
    }
}

fn owner(path: &str) -> Option<Owner> {
    if path.starts_with("net/") {
        Some(Owner::Network)
    } else if path.starts_with("fs/mqueue/") || IPC_KEYS.contains(&path) {
        Some(Owner::Ipc)
    } else if path == "kernel/domainname" {
        Some(Owner::Uts)
    } else if path.starts_with("user/") {
        // Limits of a user namespace: namespaces(7), "The /proc/sys/user directory".
        Some(Owner::User)
    } else {
        None
    }
}

fn check_value(key: &str, value: &str) -> Result<(), SysctlError> {
    let printable = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
    if value.len() > MAX_VALUE || !value.bytes().all(printable) {
        return Err(SysctlError::Value(key.to_owned()));
    }
    Ok(())
}
