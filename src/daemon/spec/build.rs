//! The functions from requests to OCI runtime Specs.

use std::collections::HashMap;

use oci_spec::runtime::{Linux, LinuxResources, LinuxTimeOffset, Mount, Process, Root, Spec};

use super::experiments::{self, TimeOffsets};
use super::mounts::{self, SHM_OPTIONS};
use super::{
    HostPath, Identity, IpcMode, PodConfig, PodSpecRequest, SpecError, SpecRequest,
    VolumePropagation, capabilities, cdi, confinement, devices, namespaces, process, sysctl,
};
use holdfast_kernel::id::PodId;

/// Version of the OCI runtime specification that the Specs keep to.
const OCI_VERSION: &str = "1.2.0";

/// Score of the pause: killed last, as its end is the pod's.
const PAUSE_OOM_SCORE_ADJ: i32 = -998;

/// The Spec of a container.
///
/// # Errors
/// [`SpecError`] names the field that cannot be met.
pub(crate) fn build(request: &SpecRequest<'_>) -> Result<Spec, SpecError> {
    let security = &request.container.security;
    if security.privileged && !request.pod.security.privileged {
        return Err(SpecError::PrivilegedInPlainPod);
    }
    if let Some(map) = &request.pod.namespaces.userns {
        namespaces::check_identity(map, request.identity)?;
        cdi::check_user_namespace(request.cdi)?;
    }
    let mut process = process::process(request)?;
    let capabilities = capabilities::sets(security, request.host.last_cap)?;
    let bounding = capabilities.bounding().clone().unwrap_or_default();
    process
        .set_capabilities(Some(capabilities))
        .set_apparmor_profile(confinement::apparmor(request)?)
        .set_selinux_label(confinement::selinux(request)?);

    let mut linux = linux(request.cgroups_path);
    linux
        .set_namespaces(Some(namespaces::of_container(request)?))
        .set_devices(Some(devices::nodes(request)?))
        .set_resources(Some(resources(request)?))
        .set_rootfs_propagation(rootfs_propagation(request))
        .set_seccomp(confinement::seccomp(request, &bounding)?);
    if let Some(map) = &request.pod.namespaces.userns {
        linux
            .set_uid_mappings(Some(namespaces::mappings(&map.uids)))
            .set_gid_mappings(Some(namespaces::mappings(&map.gids)));
    }
    if !security.privileged {
        linux
            .set_masked_paths(checked_paths("masked_paths", &security.masked_paths)?)
            .set_readonly_paths(checked_paths("readonly_paths", &security.readonly_paths)?);
    }

    let mut spec = empty(linux, process, security.readonly_rootfs.into());
    spec.set_mounts(Some(mounts::mounts(request)?))
        .set_hooks(cdi::hooks(request.cdi))
        .set_annotations(Some(annotations(request)));
    Ok(spec)
}

/// The Spec of a pod's pause: its namespaces, host name, sysctls, user and filter.
///
/// # Errors
/// [`SpecError`] names the field that cannot be met.
pub(crate) fn build_pod(request: &PodSpecRequest<'_>) -> Result<Spec, SpecError> {
    let PodSpecRequest { pod, .. } = *request;
    let identity = pause_identity(pod)?;
    experiments::check(pod, request.host)?;
    if let Some(map) = &pod.namespaces.userns {
        if let Some(problem) = &request.host.user_namespace_problem {
            let field = "linux.security_context.namespace_options.userns_options";
            let what = format!("user namespaces of pods ({problem})");
            return Err(SpecError::unsupported(field, what));
        }
        namespaces::check_identity(map, &identity)?;
    }
    let mut process = Process::default();
    process
        .set_terminal(Some(false))
        .set_args(Some(vec!["/pause".to_owned()]))
        .set_env(Some(Vec::new()))
        .set_user(process::user(&identity, &[]))
        .set_capabilities(None)
        .set_no_new_privileges(Some(true))
        .set_rlimits(None)
        .set_oom_score_adj(Some(PAUSE_OOM_SCORE_ADJ));

    let mut linux = linux(request.cgroups_path);
    let sysctls = sysctl::for_pod(pod)?;
    linux
        .set_namespaces(Some(namespaces::of_pod(request)))
        .set_time_offsets(pod.experiments.time_offsets.map(time_offsets))
        .set_sysctl(Some(sysctls.into_iter().collect()))
        .set_seccomp(confinement::pause_seccomp(request)?);
    if let Some(map) = &pod.namespaces.userns {
        linux
            .set_uid_mappings(Some(namespaces::mappings(&map.uids)))
            .set_gid_mappings(Some(namespaces::mappings(&map.gids)));
    }

    let mut spec = empty(linux, process, Access::ReadOnly);
    let hostname = namespaces::hostname(pod, request.node_hostname)?;
    if pod.has_own_uts() {
        spec.set_hostname(Some(hostname.to_owned()));
    }
    if pod.namespaces.ipc == IpcMode::Pod {
        let mut shm = Mount::default();
        shm.set_destination("/dev/shm".into())
            .set_typ(Some("tmpfs".to_owned()))
            .set_source(Some("shm".into()))
            .set_options(Some(SHM_OPTIONS.map(str::to_owned).to_vec()));
        spec.set_mounts(Some(vec![shm]));
    }
    let mut notes = pod_annotations(request.pod_id, pod);
    notes.insert(
        "io.kubernetes.cri.container-type".to_owned(),
        "sandbox".to_owned(),
    );
    spec.set_annotations(Some(notes));
    Ok(spec)
}

fn time_offsets(offsets: TimeOffsets) -> HashMap<String, LinuxTimeOffset> {
    let entry = |(clock, offset): (&str, i64)| {
        let (seconds, nanos) = experiments::seconds_and_nanos(offset);
        let mut out = LinuxTimeOffset::default();
        out.set_secs(Some(seconds)).set_nanosecs(Some(nanos));
        (clock.to_owned(), out)
    };
    offsets.clocks().into_iter().map(entry).collect()
}

/// Whether the root file system is writable.
enum Access {
    ReadOnly,
    ReadWrite,
}

impl From<bool> for Access {
    fn from(readonly: bool) -> Self {
        if readonly {
            Self::ReadOnly
        } else {
            Self::ReadWrite
        }
    }
}

/// oci-spec's defaults describe a shell with its own ideas: everything is set here.
fn empty(linux: Linux, process: Process, access: Access) -> Spec {
    let mut root = Root::default();
    root.set_path("rootfs".into())
        .set_readonly(Some(matches!(access, Access::ReadOnly)));
    let mut spec = Spec::default();
    spec.set_version(OCI_VERSION.to_owned())
        .set_root(Some(root))
        .set_process(Some(process))
        .set_hostname(None)
        .set_mounts(None)
        .set_linux(Some(linux));
    spec
}

fn linux(cgroups_path: &str) -> Linux {
    let mut linux = Linux::default();
    linux
        .set_resources(None)
        .set_namespaces(None)
        .set_masked_paths(None)
        .set_readonly_paths(None)
        .set_cgroups_path((!cgroups_path.is_empty()).then(|| cgroups_path.into()));
    linux
}

fn resources(request: &SpecRequest<'_>) -> Result<LinuxResources, SpecError> {
    let mut out = super::resources::to_oci(&request.container.resources)?;
    out.set_devices(Some(devices::rules(request)));
    Ok(out)
}

/// The root follows the widest propagation of a volume, or that volume could not have it.
fn rootfs_propagation(request: &SpecRequest<'_>) -> Option<String> {
    let has = |kind| {
        request
            .container
            .mounts
            .iter()
            .any(|mount| mount.propagation == kind)
    };
    if has(VolumePropagation::Bidirectional) {
        Some("rshared".to_owned())
    } else if has(VolumePropagation::HostToContainer) {
        Some("rslave".to_owned())
    } else {
        None
    }
}

fn checked_paths(field: &str, paths: &[String]) -> Result<Option<Vec<String>>, SpecError> {
    let field = format!("linux.security_context.{field}");
    let mut cleaned = Vec::with_capacity(paths.len());
    for path in paths {
        cleaned.push(HostPath::new(&field, path)?.into());
    }
    Ok((!cleaned.is_empty()).then_some(cleaned))
}

/// The pause has no image: numbers alone count.
fn pause_identity(pod: &PodConfig) -> Result<Identity, SpecError> {
    let field = "linux.security_context.run_as_group";
    let security = &pod.security;
    if security.run_as_group.is_some() && security.run_as_user.is_none() {
        let reason = "run_as_user is not set; set it as well, or leave both out";
        return Err(SpecError::invalid(field, reason));
    }
    let gid = security.run_as_group.unwrap_or(0);
    let mut groups = vec![gid];
    groups.extend(
        security
            .supplemental_groups
            .iter()
            .filter(|group| **group != gid),
    );
    Ok(Identity {
        uid: security.run_as_user.unwrap_or(0),
        gid,
        groups,
        home: None,
    })
}

/// The keys that monitoring agents read from containerd's Specs.
fn pod_annotations(pod_id: &PodId, pod: &PodConfig) -> HashMap<String, String> {
    let metadata = &pod.metadata;
    HashMap::from([
        (
            "io.kubernetes.cri.sandbox-id".to_owned(),
            pod_id.to_string(),
        ),
        (
            "io.kubernetes.cri.sandbox-name".to_owned(),
            metadata.name.clone(),
        ),
        (
            "io.kubernetes.cri.sandbox-namespace".to_owned(),
            metadata.namespace.clone(),
        ),
        (
            "io.kubernetes.cri.sandbox-uid".to_owned(),
            metadata.uid.clone(),
        ),
    ])
}

fn annotations(request: &SpecRequest<'_>) -> HashMap<String, String> {
    let image = &request.container.image;
    let image_name = if image.user_specified_image.is_empty() {
        &image.image
    } else {
        &image.user_specified_image
    };
    let mut out = pod_annotations(request.pod_id, request.pod);
    let name = &request.container.metadata.name;
    out.insert(
        "io.kubernetes.cri.container-type".to_owned(),
        "container".to_owned(),
    );
    out.insert("io.kubernetes.cri.container-name".to_owned(), name.clone());
    out.insert(
        "io.kubernetes.cri.image-name".to_owned(),
        image_name.clone(),
    );
    out
}
