//! What a write says that the kernel refuses: which field of the request it is about, and what would be taken.

use nix::errno::Errno;

use super::group::Member;
use super::settings::Setting;
use super::{CgroupError, file};

/// The error of a write that was refused because of its value or because the file is not there; none when the
/// value is not at fault.
pub(super) fn of(setting: &Setting<'_>, errno: Errno) -> Option<CgroupError> {
    use Errno::{EACCES, EINVAL, ENODEV, ENOENT, ENOSPC, EOPNOTSUPP, EPERM, ERANGE};
    if matches!(errno, ENOENT | ENODEV) && !file::is_group(&setting.member.dir) {
        // The group is gone, and no value would do.
        return None;
    }
    let name = setting.file.as_str();
    let (field, allowed) = match (name, errno) {
        ("cpuset.cpus", EINVAL | ERANGE | EACCES | ENOSPC) => {
            let here = available(setting.member, name);
            (
                "linux.resources.cpuset_cpus".to_owned(),
                format!("use a list of {here}"),
            )
        }
        ("cpuset.mems", EINVAL | ERANGE | EACCES | ENOSPC) => {
            let here = available(setting.member, name);
            (
                "linux.resources.cpuset_mems".to_owned(),
                format!("use a list of {here}"),
            )
        }
        ("cpu.max" | "cpu.cfs_quota_us" | "cpu.cfs_period_us", EINVAL) => (
            "linux.resources.cpu_quota".to_owned(),
            "the cgroup above allows less CPU time in a period; ask for less".to_owned(),
        ),
        (name, ENOENT | EACCES | EPERM) if setting.unified => {
            let allowed = "no file of that name can be written in a cgroup of this node; use one that is listed in \
                 /sys/fs/cgroup/GROUP";
            (unified(name), allowed.to_owned())
        }
        (name, EINVAL | ERANGE | EOPNOTSUPP | ENODEV) if setting.unified => {
            let allowed = "the kernel takes no such value; see cgroups(7)";
            (unified(name), allowed.to_owned())
        }
        _ => return None,
    };
    Some(CgroupError::Refused {
        field,
        value: setting.value.chars().take(256).collect(),
        allowed,
        source: errno,
    })
}

fn unified(name: &str) -> String {
    format!("linux.resources.unified[{name:?}]")
}

/// The CPUs or memory nodes that the group above may use.
fn available(member: &Member, name: &str) -> String {
    let above = if member.is_unified() {
        format!("../{name}.effective")
    } else {
        format!("../{name}")
    };
    match file::read(&member.dir, &above) {
        Ok(list) if !list.trim().is_empty() => {
            format!("those that the pod may use, {}", list.trim())
        }
        _ => "those that the machine has".to_owned(),
    }
}

/// The error of a limit for huge pages of a size that the kernel does not have; none when it has the size, or knows
/// no huge pages at all.
pub(super) fn of_page_size(size: &str, bytes: u64) -> Option<CgroupError> {
    let entries = std::fs::read_dir("/sys/kernel/mm/hugepages").ok()?;
    let mut sizes: Vec<String> = entries
        .flatten()
        .filter_map(|entry| page_size(entry.file_name().to_str()?))
        .collect();
    sizes.sort();
    if sizes.iter().any(|known| known == size) {
        return None;
    }
    let sizes = match sizes.as_slice() {
        [] => "there is none".to_owned(),
        sizes => sizes.join(", "),
    };
    Some(CgroupError::Refused {
        field: "linux.resources.hugepage_limits".to_owned(),
        value: format!("{size}={bytes}"),
        allowed: format!("use a page size of this kernel ({sizes})"),
        source: Errno::EINVAL,
    })
}

/// The size of the pages of a directory such as `hugepages-2048kB`, as cgroups write it: `2MB`.
fn page_size(directory: &str) -> Option<String> {
    let kilobytes = directory.strip_prefix("hugepages-")?.strip_suffix("kB")?;
    let kilobytes: u64 = kilobytes.parse().ok()?;
    Some(match kilobytes {
        large if large >= 1 << 20 => format!("{}GB", large >> 20),
        middle if middle >= 1 << 10 => format!("{}MB", middle >> 10),
        small => format!("{small}KB"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes_are_written_as_cgroups_write_them() {
        for (directory, size) in [
            ("hugepages-2048kB", Some("2MB")),
            ("hugepages-1048576kB", Some("1GB")),
            ("hugepages-16777216kB", Some("16GB")),
            ("hugepages-64kB", Some("64KB")),
            ("hugepages-xkB", None),
            ("other", None),
        ] {
            assert_eq!(page_size(directory).as_deref(), size, "{directory}");
        }
    }
}
