//! Records for the tests of this module.

use std::path::Path;
use std::sync::Arc;

use holdfast_wire::Protocols;

use super::process::ProcessIdentity;
use super::record::{ContainerImage, ContainerRecord, PodRecord};
use super::state::{ContainerPhase, PodPhase, Run};
use crate::spec::{ContainerConfig, PodConfig, Signal};
use holdfast_disk::Dir;
use holdfast_kernel::id::{ContainerId, PodId};

/// A ready pod of this configuration.
pub(super) fn pod(config: PodConfig) -> PodRecord {
    PodRecord {
        id: PodId::random().unwrap(),
        config: Arc::new(config),
        phase: PodPhase::Ready,
        created_at: 1,
        boot_id: "one".to_owned(),
        pause: None,
        shim: None,
        ips: Vec::new(),
        cgroup: "/pods/p".to_owned(),
        resources: Default::default(),
        protocols: Protocols::OWN,
        localhost_seccomp: None,
        network_owner: None,
    }
}

/// A created container of this configuration.
pub(super) fn container(pod: PodId, config: ContainerConfig) -> ContainerRecord {
    ContainerRecord {
        id: ContainerId::random().unwrap(),
        pod,
        config: Arc::new(config),
        image: Arc::new(ContainerImage {
            id: "sha256:1".to_owned(),
            reference: "localhost/a:1".to_owned(),
            digest: "sha256:1".to_owned(),
            layers: Vec::new(),
            defaults: Default::default(),
        }),
        image_volumes: Vec::new(),
        cdi: Default::default(),
        devices: Vec::new(),
        localhost_seccomp: None,
        identity: Default::default(),
        phase: ContainerPhase::Created,
        removed_exit: None,
        created_at: 2,
        started_at: 0,
        log_path: None,
        resources: Default::default(),
        stop_signal: Signal::TERM,
        degraded: Vec::new(),
    }
}

/// Writes a file as a crash or another release left it.
#[expect(clippy::disallowed_methods, reason = "a file of the test's own")]
pub(super) fn write(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap();
}

/// A directory of state that goes with its guard.
pub(super) fn dir() -> (tempfile::TempDir, Dir) {
    let temporary = tempfile::tempdir().unwrap();
    let dir = Dir::create_root(temporary.path()).unwrap();
    (temporary, dir)
}

/// A first process that was started at 5.
pub(super) fn run() -> Run {
    Run {
        process: ProcessIdentity {
            pid: 7,
            start_ticks: 9,
        },
        started_at: 5,
    }
}
