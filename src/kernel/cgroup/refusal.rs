//! Explains a write that the kernel refuses: the field of the request, and the values that the kernel accepts.

use nix::errno::Errno;

use super::group::Member;
use super::write::Setting;
use super::{CgroupError, file};

/// The error of a write that was refused because of its value or because the file is not there; none when the
/// value is not at fault.
pub(super) fn explain(setting: &Setting<'_>, errno: Errno) -> Option<CgroupError> {
    use Errno::{EACCES, EINVAL, ENODEV, ENOENT, ENOSPC, EOPNOTSUPP, EOVERFLOW, EPERM, ERANGE};
    if matches!(errno, ENOENT | ENODEV) && !file::is_group(&setting.member.dir) {
        // The group is gone, and no value would do.
        return None;
    }
    let name = setting.file.as_str();
    let (field, allowed) = match (name, errno) {
        ("cpuset.cpus" | "cpuset.mems", EINVAL | ERANGE | EOVERFLOW | EACCES | ENOSPC) => {
            let field = match setting.unified {
                true => unified(name),
                false => set_field(name),
            };
            return Some(refused(
                field,
                &setting.value,
                use_of(setting.member, name),
                errno,
            ));
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
        (name, EINVAL | ERANGE | EOVERFLOW | EOPNOTSUPP | ENODEV) if setting.unified => {
            let allowed = "the kernel takes no such value; see cgroups(7)";
            (unified(name), allowed.to_owned())
        }
        _ => return None,
    };
    Some(refused(field, &setting.value, allowed, errno))
}

/// The error of a list of CPUs or memory nodes that has none in it, such as `,`; none for other lists. The kernel
/// takes it: the group has nothing to run on then, and no process can enter it.
pub(super) fn of_empty_set(member: &Member, name: &str, list: &str) -> Option<CgroupError> {
    if list.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let allowed = use_of(member, name);
    Some(refused(set_field(name), list, allowed, Errno::EINVAL))
}

fn refused(field: String, value: &str, allowed: String, source: Errno) -> CgroupError {
    CgroupError::Refused {
        field,
        value: value.chars().take(256).collect(),
        allowed,
        source,
    }
}

/// The field of the request that a file of a cpuset is written from.
fn set_field(name: &str) -> String {
    format!("linux.resources.{}", name.replace('.', "_"))
}

fn use_of(member: &Member, name: &str) -> String {
    format!("use a list of {}", available(member, name))
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
        [] => "the kernel has none".to_owned(),
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
    #![expect(clippy::disallowed_methods, reason = "the files stand in for cgroupfs")]

    use super::*;

    /// The parsing of lists is that of lib/bitmap-str.c of Linux: EOVERFLOW for a number above 32 bits, ERANGE for one
    /// above the map, EINVAL for what is not a number; cpusets add ENOSPC and EACCES.
    #[test]
    fn a_set_that_the_kernel_refuses_names_its_field_and_what_there_is() {
        let top = tempfile::tempdir().unwrap();
        for name in ["cpuset.cpus.effective", "cpuset.mems.effective"] {
            std::fs::write(top.path().join(name), "0-1\n").unwrap();
        }
        let dir = top.path().join("pod");
        std::fs::create_dir(&dir).unwrap();
        let member = Member {
            label: "unified".to_owned(),
            v1: None,
            offers: Vec::new(),
            dir: std::fs::File::open(&dir).unwrap().into(),
        };
        for (file, unified, value, errno) in [
            ("cpuset.cpus", false, "4294967296", Some(Errno::EOVERFLOW)),
            (
                "cpuset.mems",
                false,
                "99999999999999999999",
                Some(Errno::EOVERFLOW),
            ),
            ("cpuset.cpus", true, "0-4294967296", Some(Errno::EOVERFLOW)),
            ("cpuset.cpus", false, "4294967295", Some(Errno::ERANGE)),
            ("cpuset.cpus", false, "0-", Some(Errno::EINVAL)),
            ("cpuset.mems", false, "7", Some(Errno::EACCES)),
            ("cpuset.cpus", false, ",", None),
            ("cpuset.mems", false, ",", None),
            ("cpuset.cpus", false, ",,-", None),
            ("cpuset.mems", false, " ", None),
        ] {
            let setting = Setting {
                member: &member,
                file: file.to_owned(),
                value: value.to_owned(),
                unified,
            };
            let error = match errno {
                Some(errno) => explain(&setting, errno),
                None => of_empty_set(&member, file, value),
            };
            let field = match unified {
                true => format!("linux.resources.unified[{file:?}]"),
                false => format!("linux.resources.{}", file.replace('.', "_")),
            };
            assert_eq!(
                error.expect(value).to_string(),
                format!(
                    "{field}: invalid value {value:?}: use a list of those that the pod may use, 0-1"
                ),
            );
        }
        for list in ["0", "0-1", "0,,1", ",0"] {
            assert!(
                of_empty_set(&member, "cpuset.cpus", list).is_none(),
                "{list}"
            );
        }
    }

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
