//! Kernel parameters: files below /proc/sys. Which namespace one belongs to is that of the process that opens it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::shim_namespaces::ShimNamespaces;
use holdfast_kernel::sys::{descriptor, namespace, path};
use holdfast_wire::plan::Sysctl;
use holdfast_wire::{Failure, Object, Step};

/// The domain name of a UTS namespace. Its file belongs to the root of the node, whoever owns the namespace.
const DOMAIN_NAME: &std::ffi::CStr = c"kernel/domainname";

/// Opens /proc/sys of the present mount namespace.
pub(super) fn open() -> nix::Result<OwnedFd> {
    path::open(c"/proc/sys", OFlag::O_PATH | OFlag::O_DIRECTORY)
}

/// Sets one below `top`, which [`open`] gave. Allocates nothing.
pub(super) fn write(top: BorrowedFd<'_>, sysctl: &Sysctl) -> nix::Result<()> {
    if sysctl.path.as_c_str() == DOMAIN_NAME {
        return namespace::set_domain_name(&sysctl.value);
    }
    let file = path::open_beneath(top, sysctl.path.as_c_str(), OFlag::O_WRONLY)?;
    let written = descriptor::write(file.as_fd(), sysctl.value.to_bytes());
    written.map(drop).map_err(of_value)
}

/// The answer of a write as one about the value: the file is there by then, so that "no such entry" is said of what the
/// value names, such as a congestion control that the kernel does not have.
fn of_value(errno: Errno) -> Errno {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => Errno::EINVAL,
        other => other,
    }
}

/// The sysctl as the object of a failure.
pub(super) fn describe(sysctl: &Sysctl) -> Object {
    Object::Sysctl {
        path: sysctl.path.to_string_lossy().into_owned(),
        value: sysctl.value.to_string_lossy().into_owned(),
    }
}

/// Sets those of a network namespace.
///
/// # Errors
/// Which one the kernel refused, and why.
pub fn set_in_network(
    shim_namespaces: &ShimNamespaces,
    network: &OwnedFd,
    sysctls: &[Sysctl],
) -> Result<(), Failure> {
    let mut refused = None;
    let set = shim_namespaces.inside_network(network, || {
        let top = open()?;
        for sysctl in sysctls {
            write(top.as_fd(), sysctl).inspect_err(|_| refused = Some(describe(sysctl)))?;
        }
        Ok(())
    });
    set.map_err(|errno: Errno| match refused {
        Some(sysctl) => Failure::errno(Step::Sysctl, errno as i32, sysctl),
        None => Failure::errno(Step::Join, errno as i32, "network namespace of the pod"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_written_value_names_is_not_the_parameter() {
        for (errno, wanted) in [
            (Errno::ENOENT, Errno::EINVAL),
            (Errno::ENOTDIR, Errno::EINVAL),
            (Errno::EINVAL, Errno::EINVAL),
            (Errno::ERANGE, Errno::ERANGE),
            (Errno::EPERM, Errno::EPERM),
        ] {
            assert_eq!(of_value(errno), wanted);
        }
    }
}
