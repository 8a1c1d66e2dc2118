//! Mounts of a Spec in terms of the mount API: fsopen(2), open_tree(2), mount_setattr(2).

use std::ffi::CString;
use std::path::Path;

use oci_spec::runtime::{Linux, LinuxIdMapping, Mount as OciMount};

use super::context::{CgroupHierarchy, CgroupMounts, IMAGE_MOUNT, PlanContext};
use super::plan_error::PlanError;
use super::text::{absolute, c_string, layer};
use holdfast_wire::plan::{
    IdMappings, IdRange, Missing, Mount, MountSource, POD_SHM, Propagation, TreeOrigin,
};

/// The attribute `MOUNT_ATTR_RDONLY` of mount_setattr(2).
pub(super) const READ_ONLY: u64 = 0x1;
/// `MOUNT_ATTR__ATIME`: the three access time attributes are values of one field.
const ACCESS_TIME: u64 = 0x70;

/// Options that set an attribute, and the attribute. With an `r` in front they hold for the mounts below.
const SET: &[(&str, u64)] = &[
    ("ro", READ_ONLY),
    ("nosuid", 0x2),
    ("nodev", 0x4),
    ("noexec", 0x8),
    ("relatime", 0x0),
    ("noatime", 0x10),
    ("strictatime", 0x20),
    ("nodiratime", 0x80),
    ("nosymfollow", 0x20_0000),
];

/// Options that take an attribute back.
const CLEAR: &[(&str, u64)] = &[
    ("rw", READ_ONLY),
    ("suid", 0x2),
    ("dev", 0x4),
    ("exec", 0x8),
    ("atime", 0x10),
    ("norelatime", 0x0),
    ("nostrictatime", 0x20),
    ("diratime", 0x80),
    ("symfollow", 0x20_0000),
];

/// Places of single files: making a directory there for a missing source is never right.
const FILES: &[&str] = &["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// Where the cgroup trees are in a container.
const CGROUPS: &str = "/sys/fs/cgroup";

/// The options of one mount, sorted by kind.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    attributes: u64,
    non_recursive: bool,
    recursive: bool,
    bind: Option<Depth>,
    propagation: Option<Propagation>,
    copy_up: bool,
    id_mapped: bool,
    rest: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    One,
    All,
}

impl Options {
    fn parse(field: &str, options: &[String]) -> Result<Self, PlanError> {
        let mut out = Self::default();
        for option in options {
            if !out.flag(option) && !out.attribute(option) {
                if matches!(option.as_str(), "remount" | "unbindable" | "runbindable") {
                    let reason = format!("mount option {option:?} cannot be done");
                    return Err(PlanError::unsupported(field, reason));
                }
                out.rest.push(option.clone());
            }
        }
        if out.non_recursive && out.recursive {
            let reason = "attributes for one mount and for all below cannot be mixed";
            return Err(PlanError::unsupported(field, reason));
        }
        Ok(out)
    }

    /// Refuses what only a file system could understand.
    fn of_bind(&self, field: &str) -> Result<(), PlanError> {
        let Some(option) = self.rest.first() else {
            return Ok(());
        };
        let reason = format!("mount option {option:?} means nothing for a bind mount");
        Err(PlanError::unsupported(field, reason))
    }

    fn flag(&mut self, option: &str) -> bool {
        match option {
            "bind" => self.bind = Some(Depth::One),
            "rbind" => self.bind = Some(Depth::All),
            "private" | "rprivate" => self.propagation = Some(Propagation::Private),
            "slave" | "rslave" => self.propagation = Some(Propagation::Slave),
            "shared" | "rshared" => self.propagation = Some(Propagation::Shared),
            "tmpcopyup" => self.copy_up = true,
            "idmap" | "ridmap" => self.id_mapped = true,
            "defaults" | "async" => {}
            _ => return false,
        }
        true
    }

    fn attribute(&mut self, option: &str) -> bool {
        let find = |table: &[(&str, u64)], name: &str| {
            table
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, bits)| *bits)
        };
        let (name, recursive) = match option.strip_prefix('r') {
            Some(name) if find(SET, name).or(find(CLEAR, name)).is_some() => (name, true),
            _ => (option, false),
        };
        if let Some(bits) = find(SET, name) {
            if bits & ACCESS_TIME != 0 || name == "relatime" {
                self.attributes &= !ACCESS_TIME;
            }
            self.attributes |= bits;
            self.non_recursive |= !recursive;
            self.recursive |= recursive;
        } else if let Some(bits) = find(CLEAR, name) {
            self.attributes &= !bits;
        } else {
            return false;
        }
        true
    }
}

/// Checks the options of a mount on their own: those of a bind mount all have to mean something, and others are
/// left to the file system. Nothing here has id mappings to go with them.
///
/// # Errors
/// [`PlanError`] names the option.
pub(crate) fn check_options(bind: bool, options: &[String]) -> Result<(), PlanError> {
    let field = "options";
    let parsed = Options::parse(field, options)?;
    if parsed.id_mapped {
        let reason = "an id-mapped mount needs uidMappings and gidMappings";
        return Err(PlanError::unsupported(field, reason));
    }
    if bind { parsed.of_bind(field) } else { Ok(()) }
}

/// All mounts of a Spec, and what has to be read-only once everything below it is mounted.
pub(super) fn compile(
    mounts: &[OciMount],
    context: &PlanContext<'_>,
) -> Result<(Vec<Mount>, Vec<CString>), PlanError> {
    let mut out = Vec::with_capacity(mounts.len());
    let mut sealed: Vec<CString> = Vec::new();
    for (index, mount) in mounts.iter().enumerate() {
        let field = format!("mounts[{index}]");
        let options = Options::parse(&field, mount.options().as_deref().unwrap_or_default())?;
        let target = absolute(&format!("{field}.destination"), mount.destination())?;
        let kind = mount.typ().as_deref().unwrap_or_default();
        let attributes = options.attributes;
        if kind == IMAGE_MOUNT {
            out.push(image(&field, mount, target, &options, context)?);
        } else if options.bind.is_some() || kind == "bind" {
            out.push(tree(&field, mount, target, options, context)?);
        } else if matches!(kind, "cgroup" | "cgroup2") {
            out.extend(cgroups(mount.destination(), &options, context.cgroups)?);
            let read_only = attributes & READ_ONLY != 0;
            // What is mounted over it later says itself whether it can be written, and so does what is mounted below.
            let covers = |later: &OciMount| mount.destination().starts_with(later.destination());
            let hidden = mounts[index + 1..].iter().any(covers);
            if matches!(context.cgroups, CgroupMounts::V1(_)) && read_only && !hidden {
                let alone = [target.as_bytes(), b"/."].concat();
                sealed.push(c_string(&field, alone)?);
            }
        } else {
            out.push(file_system(&field, mount, target, options)?);
        }
    }
    Ok((out, sealed))
}

/// Whether the container's /dev is a directory of the host, with the host's nodes.
pub(super) fn host_dev(mounts: &[Mount]) -> bool {
    mounts.iter().any(|mount| {
        mount.target.as_bytes() == b"/dev" && !matches!(mount.source, MountSource::New { .. })
    })
}

fn tree(
    field: &str,
    mount: &OciMount,
    target: CString,
    options: Options,
    context: &PlanContext<'_>,
) -> Result<Mount, PlanError> {
    options.of_bind(field)?;
    let name = format!("{field}.source");
    let source = mount.source().as_deref().unwrap_or(Path::new(""));
    let (origin, path) = if source == context.pod_shm {
        (TreeOrigin::Pod, c_string(&name, POD_SHM)?)
    } else {
        (TreeOrigin::Host, absolute(&name, source)?)
    };
    let file = FILES
        .iter()
        .any(|path| mount.destination() == Path::new(path));
    let missing = if file || origin == TreeOrigin::Pod {
        Missing::Fail
    } else {
        Missing::MakeDirectory
    };
    let id_map = id_map(field, mount, &options)?;
    Ok(Mount {
        target,
        source: MountSource::Tree {
            origin,
            path,
            recursive: options.bind != Some(Depth::One),
            missing,
            id_map,
        },
        attributes: options.attributes,
        recursive_attributes: options.recursive,
        propagation: options.propagation.unwrap_or(Propagation::Private),
    })
}

fn image(
    field: &str,
    mount: &OciMount,
    target: CString,
    options: &Options,
    context: &PlanContext<'_>,
) -> Result<Mount, PlanError> {
    let wanted = mount.source().as_deref();
    let mut images = context.images.iter();
    let Some(image) = images.find(|image| Some(image.source.as_path()) == wanted) else {
        let field = format!("{field}.source");
        return Err(PlanError::unsupported(
            field,
            "it is no image that was resolved",
        ));
    };
    let lower = image.lower.iter().map(|path| layer("lower", path));
    Ok(Mount {
        target,
        source: MountSource::Image {
            lower: lower.collect::<Result<_, _>>()?,
            sub_path: c_string(&format!("{field}.source"), image.sub_path.as_str())?,
        },
        attributes: options.attributes | READ_ONLY,
        recursive_attributes: false,
        propagation: options.propagation.unwrap_or(Propagation::Private),
    })
}

fn id_map(
    field: &str,
    mount: &OciMount,
    options: &Options,
) -> Result<Option<IdMappings>, PlanError> {
    let uids = ranges(mount.uid_mappings().as_deref().unwrap_or_default());
    let gids = ranges(mount.gid_mappings().as_deref().unwrap_or_default());
    match (uids.is_empty(), gids.is_empty()) {
        (false, false) => Ok(Some(IdMappings { uids, gids })),
        (true, true) if !options.id_mapped => Ok(None),
        _ => {
            let reason = "an id-mapped mount needs uidMappings and gidMappings";
            Err(PlanError::unsupported(field, reason))
        }
    }
}

/// The mappings of a Spec's user namespace: both kinds or neither.
pub(super) fn user_mappings(linux: &Linux) -> Result<Option<IdMappings>, PlanError> {
    let uids = ranges(linux.uid_mappings().as_deref().unwrap_or_default());
    let gids = ranges(linux.gid_mappings().as_deref().unwrap_or_default());
    match (uids.is_empty(), gids.is_empty()) {
        (false, false) => Ok(Some(IdMappings { uids, gids })),
        (true, true) => Ok(None),
        _ => {
            let reason = "mappings of users need mappings of groups, and they need the others";
            Err(PlanError::unsupported("linux.uidMappings", reason))
        }
    }
}

/// Mappings of OCI in the plan's form.
fn ranges(mappings: &[LinuxIdMapping]) -> Vec<IdRange> {
    let one = |map: &LinuxIdMapping| IdRange {
        inside: map.container_id(),
        outside: map.host_id(),
        count: map.size(),
    };
    mappings.iter().map(one).collect()
}

fn file_system(
    field: &str,
    mount: &OciMount,
    target: CString,
    options: Options,
) -> Result<Mount, PlanError> {
    let Some(kind) = mount.typ().as_deref().filter(|kind| !kind.is_empty()) else {
        return Err(PlanError::unsupported(
            format!("{field}.type"),
            "it is missing",
        ));
    };
    if mount.uid_mappings().is_some() || mount.gid_mappings().is_some() || options.id_mapped {
        let reason = "only bind mounts can be id-mapped";
        return Err(PlanError::unsupported(field, reason));
    }
    let mut pairs = Vec::with_capacity(options.rest.len() + 1);
    if let Some(source) = mount.source().as_deref().and_then(Path::to_str) {
        pairs.push(pair(field, "source", source)?);
    }
    for option in &options.rest {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        pairs.push(pair(field, key, value)?);
    }
    Ok(Mount {
        target,
        source: MountSource::New {
            fs_type: c_string(&format!("{field}.type"), kind)?,
            options: pairs,
            copy_up: options.copy_up,
        },
        attributes: options.attributes,
        recursive_attributes: options.recursive,
        propagation: options.propagation.unwrap_or(Propagation::Private),
    })
}

fn pair(field: &str, key: &str, value: &str) -> Result<(CString, CString), PlanError> {
    let field = format!("{field}.options");
    Ok((c_string(&field, key)?, c_string(&field, value)?))
}

/// OCI's type `cgroup` means whatever the machine has.
fn cgroups(
    destination: &Path,
    options: &Options,
    machine: &CgroupMounts,
) -> Result<Vec<Mount>, PlanError> {
    let at = destination.to_str().unwrap_or(CGROUPS);
    match machine {
        CgroupMounts::V2 { options: host } => {
            let mut pairs = vec![pair(CGROUPS, "source", "cgroup")?];
            for option in host {
                let (key, value) = option.split_once('=').unwrap_or((option, ""));
                pairs.push(pair(CGROUPS, key, value)?);
            }
            Ok(vec![cgroup_mount(
                at,
                "cgroup2",
                pairs,
                options.attributes,
            )?])
        }
        CgroupMounts::V1(hierarchies) => {
            let tmpfs = vec![
                pair(CGROUPS, "source", "tmpfs")?,
                pair(CGROUPS, "mode", "755")?,
                pair(CGROUPS, "size", "64k")?,
            ];
            // The directory becomes read-only at the end: the mount points in it are made first.
            let attributes = options.attributes & !READ_ONLY;
            let mut out = vec![cgroup_mount(at, "tmpfs", tmpfs, attributes)?];
            for hierarchy in hierarchies {
                out.push(hierarchy_mount(at, hierarchy, options.attributes)?);
            }
            Ok(out)
        }
    }
}

fn hierarchy_mount(
    at: &str,
    hierarchy: &CgroupHierarchy,
    attributes: u64,
) -> Result<Mount, PlanError> {
    if hierarchy.directory.contains('/') || hierarchy.directory.is_empty() {
        let reason = format!("{:?} is no name of a cgroup hierarchy", hierarchy.directory);
        return Err(PlanError::unsupported(CGROUPS, reason));
    }
    let mut pairs = vec![pair(CGROUPS, "source", "cgroup")?];
    for option in &hierarchy.options {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        pairs.push(pair(CGROUPS, key, value)?);
    }
    cgroup_mount(
        &format!("{at}/{}", hierarchy.directory),
        "cgroup",
        pairs,
        attributes,
    )
}

fn cgroup_mount(
    target: &str,
    kind: &str,
    options: Vec<(CString, CString)>,
    attributes: u64,
) -> Result<Mount, PlanError> {
    Ok(Mount {
        target: c_string(CGROUPS, target)?,
        source: MountSource::New {
            fs_type: c_string(CGROUPS, kind)?,
            options,
            copy_up: false,
        },
        attributes,
        recursive_attributes: false,
        propagation: Propagation::Private,
    })
}

/// The controllers that share a directory (`cpu,cpuacct`) also have links under their own names.
pub(super) fn cgroup_links(
    mounts: &[OciMount],
    machine: &CgroupMounts,
) -> Result<Vec<(CString, CString)>, PlanError> {
    let CgroupMounts::V1(hierarchies) = machine else {
        return Ok(Vec::new());
    };
    if !mounts
        .iter()
        .any(|mount| mount.typ().as_deref() == Some("cgroup"))
    {
        return Ok(Vec::new());
    }
    let mut out = Vec::new();
    for hierarchy in hierarchies
        .iter()
        .filter(|hierarchy| hierarchy.directory.contains(','))
    {
        for name in hierarchy.directory.split(',') {
            let link = c_string(CGROUPS, format!("{CGROUPS}/{name}"))?;
            out.push((link, c_string(CGROUPS, hierarchy.directory.as_str())?));
        }
    }
    Ok(out)
}
