//! Functions for the fuzzer (`e2e/fuzz`). Nothing else of this crate is public.
//!
//! A request is followed on its whole way, all of it pure: bytes of gRPC → message → configuration → OCI Spec →
//! launch plan.
#![allow(clippy::expect_used)] // A fuzzer ends by panics.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::cri::convert;
use crate::plan::seccomp::FilterCache;
use crate::plan::{self, CgroupMounts, ExecRequest, PlanContext, Stdin};
use crate::spec::{
    self, CdiEdits, ContainerConfig, HostFacts, Identity, ImageDefaults, PodConfig, PodPaths,
    PodSpecRequest, SpecRequest,
};
use cri_api::runtime::v1 as cri;
use holdfast_wire::{Growing, Protocol, decode_plan, encode_plan};
use prost::Message;

pub use crate::pod::fuzz::{cdi, record};
pub use crate::serve::fuzz::configuration;
pub use crate::stream::fuzz::{connection, spdy_frames, websocket_messages};

/// The first byte says which request the rest is.
pub fn request(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 6 {
        0 => {
            if let Ok(request) = cri::RunPodSandboxRequest::decode(bytes) {
                pod(&request);
            }
        }
        1 => {
            if let Ok(request) = cri::CreateContainerRequest::decode(bytes) {
                container(&request);
            }
        }
        2 => {
            if let Ok(request) = cri::UpdateContainerResourcesRequest::decode(bytes) {
                let _ = convert::resources("linux", request.linux.as_ref());
            }
        }
        3 => {
            if let Ok(request) = cri::PullImageRequest::decode(bytes) {
                let _ = convert::image_reference(request.image.as_ref());
                let _ = convert::credentials(request.auth.as_ref());
            }
        }
        4 => {
            if let Ok(request) = cri::ListContainersRequest::decode(bytes) {
                let _ = convert::ContainerQuery::new(request.filter);
            }
        }
        _ => {
            if let Ok(request) = cri::ListPodSandboxRequest::decode(bytes) {
                let _ = convert::PodQuery::new(request.filter);
            }
        }
    }
}

/// What a plan says is what the shim reads.
fn travel<T: Growing + PartialEq + std::fmt::Debug>(plan: &T) {
    let bytes = encode_plan(Protocol::CURRENT, plan).expect("a plan is written");
    assert_eq!(&decode_plan::<T>(&bytes).expect("a plan is read"), plan);
}

fn host() -> &'static HostFacts {
    static HOST: OnceLock<HostFacts> = OnceLock::new();
    HOST.get_or_init(HostFacts::complete)
}

fn filters() -> &'static FilterCache {
    static FILTERS: OnceLock<FilterCache> = OnceLock::new();
    FILTERS.get_or_init(FilterCache::default)
}

fn pod(request: &cri::RunPodSandboxRequest) {
    let Ok(config) = convert::pod_config(request) else {
        return;
    };
    let joins = config.experiments.join_network.is_some();
    let spec = spec::build_pod(&PodSpecRequest {
        pod_id: &"11".repeat(32).parse().expect("an id"),
        pod: &config,
        host: host(),
        node_hostname: "node",
        cgroups_path: "/pod/pause",
        localhost_seccomp: None,
        joined_network: joins.then_some(Path::new("/run/netns/other")),
    });
    if let Ok(plan) = spec.map(|spec| plan::pause(&spec, None, filters())) {
        let Ok(plan) = plan else { return };
        travel(&plan);
        for sysctl in &plan.sysctls {
            let path = sysctl.path.to_string_lossy();
            let own = [
                "kernel/shm",
                "kernel/msg",
                "kernel/sem",
                "fs/mqueue/",
                "net/",
            ];
            assert!(
                own.iter().any(|start| path.starts_with(start)),
                "{path} is the host's"
            );
            assert!(!path.split('/').any(|part| part == ".."), "{path}");
        }
    }
}

fn container(request: &cri::CreateContainerRequest) {
    let pod = PodConfig::default();
    let Ok(config) = convert::container_config(request, &pod.namespaces) else {
        return;
    };
    let spec = spec::build(&SpecRequest {
        pod_id: &"11".repeat(32).parse().expect("an id"),
        pod: &pod,
        container: &config,
        image: &ImageDefaults::default(),
        identity: &Identity::default(),
        host: host(),
        paths: &paths(),
        node_hostname: "node",
        cgroups_path: "/pod/container",
        localhost_seccomp: None,
        devices: &[],
        cdi: &CdiEdits::default(),
        volumes: &[],
    });
    if let Ok(spec) = spec {
        compile(&spec, &config);
    }
}

fn paths() -> PodPaths {
    PodPaths {
        hosts: "/run/pod/hosts".into(),
        hostname: "/run/pod/hostname".into(),
        resolv_conf: "/run/pod/resolv.conf".into(),
        shm: "/run/pod/shm".into(),
        namespaces: "/proc/77/ns".into(),
        target_pid: None,
    }
}

fn compile(spec: &oci_spec::runtime::Spec, config: &ContainerConfig) {
    let lower: Vec<PathBuf> = vec!["/store/layers/a".into()];
    let context = PlanContext {
        lower: &lower,
        upper: Path::new("/store/containers/c/upper"),
        work: Path::new("/store/containers/c/work"),
        pod_shm: Path::new("/run/pod/shm"),
        images: &[],
        joined_pid: None,
        cgroups: &CgroupMounts::V2 {
            options: Vec::new(),
        },
        exact_env: &config.envs,
        stdin: Stdin::Null,
        filters: filters(),
        seccomp_base: None,
    };
    if let Ok(plan) = plan::compile(spec, &context) {
        travel(&plan);
        let args = ["true".to_owned()];
        let exec = ExecRequest {
            args: &args,
            terminal: false,
            terminal_size: None,
            exact_env: &config.envs,
            seccomp_base: None,
        };
        if let Ok(exec) = plan::exec(spec, &exec, filters()) {
            travel(&exec);
            // A further process never has more than the first.
            let (first, later) = (plan.process.capabilities, exec.process.capabilities);
            assert_eq!(later.bounding & !first.bounding, 0);
            assert_eq!(exec.process.uid, plan.process.uid);
        }
        assert_eq!(
            plan.process.capabilities.inheritable & !plan.process.capabilities.bounding,
            0
        );
    }
}

/// /etc/passwd and /etc/group, cut at the first zero byte, with a name in front of the first newline.
pub fn users(bytes: &[u8]) {
    let (name, files) = bytes.split_at(
        bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(bytes.len()),
    );
    let (passwd, group) = files.split_at(
        files
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(files.len()),
    );
    let name = String::from_utf8_lossy(name);
    let request = spec::RunAs::default();
    for (passwd, group) in [
        (Some(passwd), Some(group)),
        (Some(passwd), None),
        (None, None),
    ] {
        if let Ok(identity) = spec::user::resolve(&request, &name, passwd, group) {
            assert!(identity.groups.contains(&identity.gid), "{identity:?}");
            let number = name.split(':').next().unwrap_or_default();
            if let Ok(wanted) = number.parse::<u32>() {
                assert_eq!(identity.uid, wanted, "{name:?}");
            }
        }
    }
}
