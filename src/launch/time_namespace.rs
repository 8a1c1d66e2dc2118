//! A time namespace of a pod's own: time_namespaces(7), Linux 5.6.
//!
//! No process can enter a new time namespace whose clocks are still to be set: unshare(2) makes one for the
//! children to come, its offsets may be written until the first of them is there, and clone3(2) would put the
//! child into it too early. So the shim makes it, sets it, clones the pause and turns back.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use holdfast_kernel::sys::namespace::{self, TIME};
use holdfast_kernel::sys::{descriptor, path};
use holdfast_wire::plan::ClockOffsets;
use holdfast_wire::{Failure, Step};

/// Does something whose children are in a new time namespace with these offsets; without offsets nothing is
/// special about them.
///
/// # Errors
/// The namespace cannot be made or set, or what `action` says.
pub(super) fn within<T>(
    offsets: Option<&ClockOffsets>,
    action: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let Some(offsets) = offsets else {
        return action();
    };
    let failed = |step| move |errno: Errno| Failure::errno(step, errno as i32, "time namespace");
    let home = path::open(c"/proc/self/ns/time", OFlag::O_RDONLY).map_err(failed(Step::Join))?;
    namespace::unshare(TIME).map_err(failed(Step::Clone))?;
    let result = set(offsets).and_then(|()| action());
    // A later child that started in there would see the wrong clocks.
    namespace::join(home.as_fd(), TIME).map_err(failed(Step::Join))?;
    result
}

/// Sets the clocks of the children to come.
fn set(offsets: &ClockOffsets) -> Result<(), Failure> {
    let text = text(offsets);
    path::open(c"/proc/self/timens_offsets", OFlag::O_WRONLY)
        .and_then(|file| descriptor::write(file.as_fd(), text.as_bytes()))
        .map(drop)
        .map_err(|errno| {
            let object = format!("timens_offsets: {}", text.trim_end().replace('\n', ", "));
            Failure::errno(Step::Sysctl, errno as i32, object)
        })
}

/// The lines to write to /proc/PID/timens_offsets.
fn text(offsets: &ClockOffsets) -> String {
    let line = |clock: &str, (seconds, nanos): (i64, u32)| format!("{clock} {seconds} {nanos}\n");
    line("monotonic", offsets.monotonic) + &line("boottime", offsets.boottime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_written_as_the_kernel_reads_them() {
        let offsets = ClockOffsets {
            monotonic: (-3600, 0),
            boottime: (86_400, 999_999_999),
        };
        assert_eq!(
            text(&offsets),
            "monotonic -3600 0\nboottime 86400 999999999\n"
        );
    }
}
