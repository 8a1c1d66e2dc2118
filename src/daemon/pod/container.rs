//! Preparing and deleting a container.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::runtime::{LinuxSeccomp, Spec};

use super::apparmor;
use super::blocking::blocking;
use super::cdi;
use super::cgroups;
use super::clock::now;
use super::entry::PodSnapshot;
use super::error::{HostPathError, ImageUseError, PodError, RequestError};
use super::files;
use super::host;
use super::image_volume;
use super::launch_plan::{self, LaunchPlan};
use super::limits;
use super::log_file;
use super::node::{EMPTY_LAYER, Node};
use super::patience::{DEADLINE, patiently};
use super::propagation;
use super::record::{self, ContainerImage, ContainerRecord, PodRecord};
use super::seccomp;
use super::settings::ImageVolumes;
use super::state::ContainerPhase;
use super::volumes;
use crate::plan::{self, PlanContext, Stdin};
use crate::spec::{
    self, AppArmorChoice, CdiEdits, ContainerConfig, DeviceGrant, DeviceRequest, HostDevice,
    Identity, ImageDefaults, PidMode, PodPaths, Signal, SpecRequest,
};
use holdfast_image::{Image, ImageKind};
use holdfast_kernel::cgroup::Cgroup;
use holdfast_kernel::id::ContainerId;
use holdfast_kernel::sys::pid::Pid;
use holdfast_wire::plan::{ContainerPlan, POD_SHM, PidNamespace};

/// Parts of a new record that are read from files, on a thread other than that which serves the pod.
#[derive(Debug)]
pub(super) struct HostInputs {
    /// Changes by CDI devices.
    pub cdi: CdiEdits,
    /// The nodes behind the devices of the request.
    pub devices: Vec<DeviceGrant>,
    /// The content of the seccomp profile that is a file.
    pub localhost_seccomp: Option<Arc<LinuxSeccomp>>,
    /// Who the first process is.
    pub identity: Identity,
    /// The plan for the start, when the creation can compile it.
    pub launch_plan: Option<LaunchPlan>,
}

/// A new container's record: everything that the request and the image's configuration decide.
pub(super) fn new_record(
    node: &Node,
    pod: &PodRecord,
    config: ContainerConfig,
    image: &Image,
) -> Result<ContainerRecord, PodError> {
    if config.security.privileged && !pod.config.security.privileged {
        return Err(PodError::Request(RequestError::Privileged));
    }
    if image.kind == ImageKind::Artifact {
        return Err(PodError::Image(ImageUseError::Artifact(
            config.image.image.clone(),
        )));
    }
    spec::resources::check(&config.resources)?;
    let image_volumes = image_volume::resolve(node, &config)?;
    let mut image = image_facts(image);
    if node.settings.image_volumes == ImageVolumes::Ignore {
        image.defaults.volumes.clear();
    }
    let stop_signal = match (config.stop_signal, image.defaults.stop_signal.as_str()) {
        (Some(signal), _) => signal,
        (None, "") => Signal::TERM,
        (None, name) => name.parse().map_err(|source| {
            PodError::Image(ImageUseError::StopSignal {
                image: config.image.image.clone(),
                source,
            })
        })?,
    };
    Ok(ContainerRecord {
        id: ContainerId::random()?,
        pod: pod.id,
        image_volumes,
        // These four are found by [`create`].
        cdi: CdiEdits::default(),
        devices: Vec::new(),
        localhost_seccomp: None,
        identity: Identity::default(),
        phase: ContainerPhase::Created,
        created_at: now(),
        started_at: 0,
        log_path: log_file::path(&pod.config, &config),
        resources: config.resources.clone(),
        stop_signal,
        degraded: Vec::new(),
        removed_exit: None,
        image: Arc::new(image),
        config: Arc::new(config),
    })
}

fn image_facts(image: &Image) -> ContainerImage {
    let id = image.id.to_string();
    let digest = image.repo_digests.first().unwrap_or(&id).clone();
    let reference = image.repo_tags.first().unwrap_or(&digest).clone();
    ContainerImage {
        reference,
        digest,
        layers: image.layers.clone(),
        defaults: ImageDefaults {
            user: image.user().to_owned(),
            env: image.env().to_vec(),
            entrypoint: image.entrypoint().to_vec(),
            cmd: image.cmd().to_vec(),
            working_dir: image.working_dir().to_owned(),
            stop_signal: image.stop_signal().to_owned(),
            volumes: image.volumes(),
        },
        id,
    }
}

/// The nodes behind all requested devices.
fn device_grants(config: &ContainerConfig) -> Result<Vec<DeviceGrant>, PodError> {
    let grants: Result<Vec<_>, _> = config.devices.iter().map(device_grant).collect();
    Ok(grants?.concat())
}

/// The nodes behind a requested device: the one that is named, or all below a directory.
fn device_grant(request: &DeviceRequest) -> Result<Vec<DeviceGrant>, PodError> {
    let path = request.host_path.as_path();
    let unusable = |source| {
        PodError::HostPath(HostPathError::Read {
            field: "config.devices.host_path",
            path: path.to_owned(),
            source,
        })
    };
    let real = path.canonicalize().map_err(unusable)?;
    let inside = Path::new(request.container_path.as_str());
    let mut found = host::devices(&real);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    if found.is_empty() {
        let reason = "it is no device node and no directory that has some";
        return Err(unusable(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            reason,
        )));
    }
    let grant = |mut device: HostDevice| {
        device.path = match device.path.strip_prefix(&real) {
            Ok(below) if !below.as_os_str().is_empty() => inside.join(below),
            _ => inside.to_owned(),
        };
        DeviceGrant {
            device,
            permissions: request.permissions.clone(),
        }
    };
    Ok(found.into_iter().map(grant).collect())
}

/// Where the pid namespace of a container comes from, when it is not its own.
fn joined_pid(record: &ContainerRecord) -> Option<PidNamespace> {
    match &record.config.security.pid {
        PidMode::Pod => Some(PidNamespace::Pod),
        PidMode::Target(id) => Some(PidNamespace::Container(*id)),
        PidMode::Container | PidMode::Node => None,
    }
}

/// The OCI runtime Spec of a container that is to be launched: what it names has to be there.
pub(super) fn launch_spec(
    node: &Node,
    pod: &PodSnapshot,
    record: &ContainerRecord,
) -> Result<Spec, PodError> {
    if let PidMode::Target(id) = &record.config.security.pid
        && running(pod, *id).is_none()
    {
        return Err(PodError::Request(RequestError::Target(id.to_string())));
    }
    runtime_spec(node, pod, record)
}

/// The OCI runtime Spec of a container, made anew from the record whenever it is wanted. The container may have outlived
/// the target of its pid namespace: then the number of the target is 0.
pub(super) fn runtime_spec(
    node: &Node,
    pod: &PodSnapshot,
    record: &ContainerRecord,
) -> Result<Spec, PodError> {
    let directory = node.pod_path(pod.pod.id);
    let pause = pod.pod.pause.map_or(Pid::NONE, |pause| pause.pid);
    let target_pid = match &record.config.security.pid {
        PidMode::Target(id) => {
            let target = running(pod, *id).unwrap_or(Pid::NONE);
            Some(PathBuf::from(target.proc_file("ns/pid")))
        }
        PidMode::Pod | PidMode::Container | PidMode::Node => None,
    };
    let paths = PodPaths {
        hosts: directory.join(files::HOSTS),
        hostname: directory.join(files::HOSTNAME),
        resolv_conf: directory.join(files::RESOLV_CONF),
        shm: PathBuf::from(POD_SHM),
        namespaces: PathBuf::from(pause.proc_file("ns")),
        target_pid,
    };
    let security = &record.config.security;
    if let AppArmorChoice::Localhost(name) = &security.apparmor
        && node.facts.apparmor
    {
        apparmor::require(name)?;
    }
    let cgroup = cgroups::of_container(&pod.pod, record.id)?;
    // Updates replace the resources of the request.
    let config = ContainerConfig {
        resources: record.resources.clone(),
        ..(*record.config).clone()
    };
    Ok(spec::build(&SpecRequest {
        pod_id: &pod.pod.id,
        pod: &pod.pod.config,
        container: &config,
        image: &record.image.defaults,
        identity: &record.identity,
        host: &node.facts,
        paths: &paths,
        node_hostname: &node.hostname,
        cgroups_path: cgroup.as_str(),
        localhost_seccomp: record.localhost_seccomp.as_deref(),
        devices: &record.devices,
        cdi: &record.cdi,
        volumes: &volumes::mounts(node, record)?,
    })?)
}

/// The process of a container of the pod, if it runs.
fn running(pod: &PodSnapshot, id: ContainerId) -> Option<Pid> {
    match &pod.containers.get(&id)?.phase {
        ContainerPhase::Running(run, _) => Some(run.process.pid),
        _ => None,
    }
}

/// Makes a container of a new record, and returns what that record lacks. On failure nothing is left.
pub(super) async fn create(
    node: Arc<Node>,
    pod: Arc<PodSnapshot>,
    mut record: ContainerRecord,
) -> Result<HostInputs, PodError> {
    record.cdi = cdi_edits(&node, &record.config).await?;
    read_host_inputs(&mut record).await?;
    blocking(move || {
        record.identity = identity(&node, &record)?;
        let launch_plan = prepare(&node, &pod, &record)?;
        Ok(HostInputs {
            launch_plan,
            cdi: record.cdi,
            devices: record.devices,
            localhost_seccomp: record.localhost_seccomp,
            identity: record.identity,
        })
    })
    .await
}

/// Who a container's first process is, by the image's files. Blocks.
fn identity(node: &Node, record: &ContainerRecord) -> Result<Identity, PodError> {
    let image = &record.image;
    let read = |path| {
        let layers = &image.layers;
        node.images.read_file(layers, path, spec::user::MAX_FILE)
    };
    let (passwd, group) = (read("/etc/passwd")?, read("/etc/group")?);
    spec::user::resolve(
        &record.config.security.run_as,
        &image.defaults.user,
        passwd.as_deref(),
        group.as_deref(),
    )
    .map_err(|source| {
        PodError::Image(ImageUseError::User {
            image: record.config.image.image.clone(),
            source,
        })
    })
}

/// Reads the changes that the CDI devices of a request make. Their descriptions, and the files that these name, may be
/// anywhere on the node.
async fn cdi_edits(node: &Arc<Node>, config: &Arc<ContainerConfig>) -> Result<CdiEdits, PodError> {
    fn names(config: &ContainerConfig) -> Vec<&str> {
        spec::cdi_names(&config.cdi_devices, config.annotations.iter())
    }
    if names(config).is_empty() {
        return Ok(CdiEdits::default());
    }
    let (node, config) = (Arc::clone(node), Arc::clone(config));
    let read = move || Ok(cdi::edits(&node.settings.cdi_dirs, &names(&config))?);
    patiently(
        "CDI_devices: a description of them, or a path that it names,",
        DEADLINE,
        read,
    )
    .await
}

/// Checks that the container can be launched, makes its directories and its cgroup, and records it. Returns the plan for
/// its start, if that can be kept. Blocks. On failure nothing is left.
fn prepare(
    node: &Node,
    pod: &PodSnapshot,
    record: &ContainerRecord,
) -> Result<Option<LaunchPlan>, PodError> {
    let spec = launch_spec(node, pod, record)?;
    let plan = full_plan(node, record, &spec)?;
    image_volume::check(node, record)?;
    if let Err(error) = prepare_parts(node, pod, record, &spec) {
        // The first failure is the one to tell; what cannot be undone now is swept by the next start.
        for failure in delete(node, &pod.pod, record.id) {
            tracing::warn!(error = &failure as &dyn std::error::Error, container = %record.id, "cannot undo a part of a failed creation");
        }
        return Err(error);
    }
    if !launch_plan::outlasts_creation(record, plan.hooks.as_ref()) {
        return Ok(None);
    }
    // The start seals again what cannot be sealed now, and says why it cannot.
    Ok(LaunchPlan::seal(node, (&pod.pod, record), &spec, &plan).ok())
}

fn prepare_parts(
    node: &Node,
    pod: &PodSnapshot,
    record: &ContainerRecord,
    spec: &Spec,
) -> Result<(), PodError> {
    let dir = node.make_pod_dir(pod.pod.id)?;
    record::intend_container(&dir, record)?;
    node.make_layer(record.id, pod.pod.config.root_owner())?;
    if record.image.layers.is_empty() {
        node.make_empty_layer(record.id)?;
    }
    volumes::make(node, record)?;
    make_cgroup(node, &pod.pod, record, spec)?;
    Ok(record::confirm_container(&dir, record.id)?)
}

/// Makes the container's cgroup with its limits, and gives it to the container's user where that is wanted.
pub(super) fn make_cgroup(
    node: &Node,
    pod: &PodRecord,
    record: &ContainerRecord,
    spec: &Spec,
) -> Result<Cgroup, PodError> {
    let limits = limits::of_spec(spec, node.cgroups.mode(), node.settings.pids_limit);
    let group = node
        .cgroups
        .create(&cgroups::of_container(pod, record.id)?, &limits)?;
    if spec::delegated(&pod.config, &record.config, &node.facts) {
        let inside = record.identity.uid;
        let map = pod.config.namespaces.userns.as_ref();
        // That the user is in the map was checked when the Spec was made.
        let user = map.map_or(Some(inside), |map| map.outside_user(inside));
        group.delegate(user.unwrap_or(inside))?;
    }
    Ok(group)
}

fn compile(node: &Node, record: &ContainerRecord, spec: &Spec) -> Result<ContainerPlan, PodError> {
    let mut lower = image_volume::lower(node, &record.image.layers);
    if lower.is_empty() {
        lower.push(node.container_store_path(record.id, EMPTY_LAYER));
    }
    let config = &record.config;
    let seccomp_base = spec::seccomp_base(&config.security.seccomp, spec, &node.facts);
    let plan = plan::compile(
        spec,
        &PlanContext {
            lower: &lower,
            upper: &node.container_store_path(record.id, "upper"),
            work: &node.container_store_path(record.id, "work"),
            pod_shm: Path::new(POD_SHM),
            images: &image_volume::trees(node, record),
            joined_pid: joined_pid(record),
            cgroups: &node.cgroup_mounts,
            exact_env: &config.envs,
            stdin: match (config.stdin, config.stdin_once) {
                (false, _) => Stdin::Null,
                (true, false) => Stdin::Open,
                (true, true) => Stdin::Once,
            },
            filters: &node.filters,
            seccomp_base: seccomp_base.as_ref(),
        },
    );
    plan.map_err(seccomp::of_plan(&config.security.seccomp))
}

/// The plan of a container with its hooks.
pub(super) fn full_plan(
    node: &Node,
    record: &ContainerRecord,
    spec: &Spec,
) -> Result<ContainerPlan, PodError> {
    let bundle = node.bundle_path(record.id);
    Ok(ContainerPlan {
        hooks: plan::hooks(spec, &record.id.to_string(), &bundle)?,
        ..compile(node, record, spec)?
    })
}

/// Looks once at the paths of the host that a request names and this process needs, and waits until they answer. What is
/// found goes into the record, and is what the container gets. Volumes are the business of the container's own process.
async fn read_host_inputs(record: &mut ContainerRecord) -> Result<(), PodError> {
    let config = &record.config;
    let named = seccomp::is_file(&config.security.seccomp) || !config.devices.is_empty();
    if !named && !propagation::is_wanted(config) {
        return Ok(());
    }
    let config = Arc::clone(&record.config);
    let read = move || {
        let profile = seccomp::localhost_profile(&config.security.seccomp)?;
        propagation::check(&config)?;
        Ok((profile, device_grants(&config)?))
    };
    let what = "a device, profile or volume of the container";
    (record.localhost_seccomp, record.devices) = patiently(what, DEADLINE, read).await?;
    Ok(())
}

/// Deletes everything of a container. Every step is tried; the failures come back. Blocks; may be repeated.
pub(super) fn delete(node: &Node, pod: &PodRecord, id: ContainerId) -> Vec<PodError> {
    let mut failures = Vec::new();
    failures.extend(cgroups::release(&node.cgroups, pod, id).err());
    failures.extend(node.delete_layer(id).err());
    if failures.is_empty() {
        // The record goes last: as long as it is there, somebody deletes the rest.
        let forget = || -> Result<(), PodError> {
            let Some(dir) = node.pod_dir(pod.id)? else {
                return Ok(());
            };
            dir.remove_file(&holdfast_disk::FileName::new(format!("exit.{id}"))?)?;
            Ok(record::delete_container(&dir, id)?)
        };
        failures.extend(forget().err());
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::error::ErrorKind;
    use crate::pod::testing;
    use crate::spec::{ContainerPath, HostPath};

    fn request(host_path: &str) -> DeviceRequest {
        DeviceRequest {
            host_path: HostPath::new("host_path", host_path).unwrap(),
            container_path: ContainerPath::new("container_path", "/dev/x").unwrap(),
            permissions: "rw".to_owned(),
        }
    }

    #[test]
    fn a_device_appears_where_the_request_wants_it() {
        for node in ["/dev/null", "/proc/self/root/dev/null"] {
            let grants = device_grant(&request(node)).unwrap();
            assert_eq!(grants.len(), 1, "{node}");
            let device = &grants[0].device;
            assert_eq!(device.path, Path::new("/dev/x"), "{node}");
            assert_eq!((device.major, device.minor), (1, 3), "{node}");
            assert_eq!(grants[0].permissions, "rw");
        }
    }

    #[test]
    fn what_is_no_device_is_refused_with_its_field() {
        for wrong in ["/no/such/device", "/etc", "/etc/hostname"] {
            let error = device_grant(&request(wrong)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{wrong}");
            let text = error.to_string();
            assert!(text.contains("config.devices.host_path"), "{text}");
            assert!(text.contains(wrong), "{text}");
        }
    }

    #[test]
    fn a_pid_namespace_is_joined_only_where_another_process_owns_it() {
        let target = ContainerId::random().unwrap();
        for (wish, joined) in [
            (PidMode::Pod, Some(PidNamespace::Pod)),
            (
                PidMode::Target(target),
                Some(PidNamespace::Container(target)),
            ),
            (PidMode::Container, None),
            (PidMode::Node, None),
        ] {
            let mut config = ContainerConfig::default();
            config.security.pid = wish;
            let pod = holdfast_kernel::id::PodId::random().unwrap();
            let record = testing::container(pod, config);
            assert_eq!(joined_pid(&record), joined, "{wish:?}");
        }
    }
}
