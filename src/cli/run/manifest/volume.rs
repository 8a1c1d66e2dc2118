//! Plans the volumes of a pod, and the directories and files that have to be made for them.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::manifest_error::ManifestError;
use super::name::plain;
use super::planned::{PlannedImage, RequiredPath, RequiredPathKind, Roots};
use super::pod::{Source, Volumes};
use super::pull::pull_policy;
use super::schema::{EmptyDir, HostPath, PodSecurityContext, PodSpec, Volume};

/// The plan for a pod's volumes.
#[derive(Debug, Default)]
pub(super) struct Planned {
    pub volumes: Volumes,
    /// Directories and files that have to be made.
    pub needed: Vec<RequiredPath>,
    /// Images that have to be pulled.
    pub images: Vec<PlannedImage>,
}

/// Plans the volumes of a pod.
pub(super) fn volumes(spec: &PodSpec, uid: &str, roots: &Roots) -> Result<Planned, ManifestError> {
    let group = fs_group(&spec.security_context)?;
    let mut planned = Planned::default();
    for (index, volume) in spec.volumes.iter().enumerate() {
        let field = format!("spec.volumes[{index}]");
        plain(&format!("{field}.name"), &volume.name)?;
        let source = match (&volume.empty_dir, &volume.host_path, &volume.image) {
            (Some(empty), None, None) => {
                let needed = empty_dir((&field, uid, roots), volume, empty, group)?;
                let path = needed.path.clone();
                planned.needed.push(needed);
                Source::Host(path)
            }
            (None, Some(host), None) => host_path(&field, host, &mut planned.needed)?,
            (None, None, Some(image)) => {
                let policy = image.pull_policy.as_deref();
                planned.images.push(PlannedImage {
                    reference: image.reference.clone(),
                    pull: pull_policy(&format!("{field}.image.pullPolicy"), policy)?,
                });
                Source::Image(image.reference.clone())
            }
            _ => {
                let remedy = "give one of emptyDir, hostPath and image";
                return Err(ManifestError::field(field, &volume.name, remedy));
            }
        };
        if planned
            .volumes
            .insert(volume.name.clone(), source)
            .is_some()
        {
            let remedy = "another volume has this name";
            return Err(ManifestError::field(
                format!("{field}.name"),
                &volume.name,
                remedy,
            ));
        }
    }
    Ok(planned)
}

/// The group that owns the volumes. All of them are new when a pod begins, so there is nothing to change in them.
fn fs_group(context: &PodSecurityContext) -> Result<Option<u32>, ManifestError> {
    match context.fs_group_change_policy.as_deref() {
        None | Some("Always") => {}
        Some(other) => {
            let field = "spec.securityContext.fsGroupChangePolicy";
            let remedy = "the volumes are new: give Always or nothing";
            return Err(ManifestError::field(field, other, remedy));
        }
    }
    let Some(group) = context.fs_group else {
        return Ok(None);
    };
    u32::try_from(group).map(Some).map_err(|_| {
        let field = "spec.securityContext.fsGroup";
        ManifestError::field(field, group, "give a group id")
    })
}

/// A directory for all users of the pod, who cannot delete each other's files; in the volumes' group, if any, which
/// new files take over.
fn empty_dir(
    (field, uid, roots): (&str, &str, &Roots),
    volume: &Volume,
    empty: &EmptyDir,
    group: Option<u32>,
) -> Result<RequiredPath, ManifestError> {
    let root = match empty.medium.as_str() {
        "" => &roots.volumes,
        "Memory" => &roots.memory_volumes,
        other => {
            let field = format!("{field}.emptyDir.medium");
            return Err(ManifestError::field(field, other, "give Memory or nothing"));
        }
    };
    let mode = if group.is_some() { 0o3777 } else { 0o1777 };
    Ok(RequiredPath {
        path: root.join(uid).join(&volume.name),
        kind: RequiredPathKind::Directory { mode, group },
    })
}

fn host_path(
    field: &str,
    host: &HostPath,
    needed: &mut Vec<RequiredPath>,
) -> Result<Source, ManifestError> {
    let path = Path::new(&host.path);
    let field = format!("{field}.hostPath");
    if !path.is_absolute() {
        let remedy = "give an absolute path";
        return Err(ManifestError::field(
            format!("{field}.path"),
            &host.path,
            remedy,
        ));
    }
    let is = |fits: fn(&fs::FileType) -> bool| {
        fs::metadata(path).is_ok_and(|metadata| fits(&metadata.file_type()))
    };
    let fits = match host.r#type.as_str() {
        "" => true,
        "Directory" => is(fs::FileType::is_dir),
        "File" => is(fs::FileType::is_file),
        "Socket" => is(FileTypeExt::is_socket),
        "CharDevice" => is(FileTypeExt::is_char_device),
        "BlockDevice" => is(FileTypeExt::is_block_device),
        "DirectoryOrCreate" => {
            needed.push(RequiredPath::plain_directory(path.to_owned()));
            !path.exists() || path.is_dir()
        }
        "FileOrCreate" => {
            needed.push(RequiredPath {
                path: path.to_owned(),
                kind: RequiredPathKind::File,
            });
            !path.exists() || path.is_file()
        }
        other => {
            let remedy = "give Directory, DirectoryOrCreate, File, FileOrCreate, Socket, CharDevice, BlockDevice or \
                          nothing";
            return Err(ManifestError::field(format!("{field}.type"), other, remedy));
        }
    };
    if !fits {
        return Err(ManifestError::field(
            format!("{field}.path"),
            &host.path,
            "there is no such thing of this type",
        ));
    }
    Ok(Source::Host(path.to_owned()))
}
