//! Tests of plans, and of compiled filters by running their programs.

mod experiment_cases;
mod filter_cases;
mod hook_cases;
mod machine;
mod pause_cases;
mod spec_cases;

use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceType, Process, Root, Spec};

use super::seccomp::FilterCache;
use super::*;
use holdfast_wire::plan::{ContainerPlan, PidNamespace};

/// A Spec with nothing in it but its own mount and pid namespaces and a shell.
fn spec() -> Spec {
    let mut process = Process::default();
    process
        .set_args(Some(vec!["sh".into()]))
        .set_env(Some(vec!["PATH=/usr/bin:/bin".into()]))
        .set_capabilities(None)
        .set_rlimits(None)
        .set_no_new_privileges(Some(false));
    let mut linux = Linux::default();
    linux
        .set_resources(None)
        .set_masked_paths(None)
        .set_readonly_paths(None)
        .set_namespaces(Some(vec![
            namespace(LinuxNamespaceType::Mount, None),
            namespace(LinuxNamespaceType::Pid, None),
        ]));
    let mut root = Root::default();
    root.set_readonly(Some(false));
    let mut spec = Spec::default();
    spec.set_hostname(None)
        .set_mounts(None)
        .set_root(Some(root))
        .set_process(Some(process))
        .set_linux(Some(linux));
    spec
}

fn namespace(kind: LinuxNamespaceType, path: Option<&str>) -> LinuxNamespace {
    let mut out = LinuxNamespace::default();
    out.set_typ(kind).set_path(path.map(PathBuf::from));
    out
}

fn linux(spec: &mut Spec) -> &mut Linux {
    spec.linux_mut().as_mut().unwrap()
}

fn process(spec: &mut Spec) -> &mut Process {
    spec.process_mut().as_mut().unwrap()
}

/// Inputs besides the Spec that a test varies.
struct Around {
    cgroups: CgroupMounts,
    joined_pid: Option<PidNamespace>,
    images: Vec<ImageTree>,
    exact_env: Vec<(String, Vec<u8>)>,
    filters: FilterCache,
}

impl Default for Around {
    fn default() -> Self {
        Self {
            cgroups: CgroupMounts::V2 {
                options: vec!["nsdelegate".into()],
            },
            joined_pid: None,
            images: Vec::new(),
            exact_env: Vec::new(),
            filters: FilterCache::default(),
        }
    }
}

impl Around {
    fn compile(&self, spec: &Spec) -> Result<ContainerPlan, PlanError> {
        compile(
            spec,
            &PlanContext {
                lower: &[
                    PathBuf::from("/store/layers/2"),
                    PathBuf::from("/store/layers/1"),
                ],
                upper: Path::new("/store/c/upper"),
                work: Path::new("/store/c/work"),
                pod_shm: Path::new("/run/pod/shm"),
                images: &self.images,
                joined_pid: self.joined_pid,
                cgroups: &self.cgroups,
                exact_env: &self.exact_env,
                stdin: Stdin::Once,
                filters: &self.filters,
                seccomp_base: None,
            },
        )
    }
}

fn texts(list: &[std::ffi::CString]) -> Vec<&str> {
    list.iter().map(|text| text.to_str().unwrap()).collect()
}
