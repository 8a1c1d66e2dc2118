//! What the kernel can do: its calls are tried, and what cannot be tried is looked up in its configuration.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use flate2::read::GzDecoder;
use nix::fcntl::OFlag;

use super::finding::{Finding, Verdict};
use holdfast_kernel::sys;

const AREA: &str = "kernel";
/// The oldest kernel on which pods run.
const OLDEST: (u32, u32) = (5, 15);

/// Everything on the kernel.
pub(super) fn findings() -> Vec<Finding> {
    let mut findings = vec![version()];
    findings.extend(calls());
    findings.extend(since());
    findings.push(time_namespaces());
    match Configuration::read() {
        Some(configuration) => findings.extend(
            FEATURES
                .iter()
                .map(|feature| configuration.finding(feature)),
        ),
        None => findings.push(not_known()),
    }
    findings
}

/// In place of all that only the kernel's configuration says.
fn not_known() -> Finding {
    let features: Vec<_> = FEATURES.iter().map(|feature| feature.what).collect();
    Finding::good(
        AREA,
        "its configuration",
        "neither in /proc/config.gz nor in /boot",
        "to know its features",
    )
    .but(
        Verdict::Unknown,
        format!(
            "install the kernel's configuration in /boot, or ask the machine's maker for: {}",
            features.join("; ")
        ),
    )
}

fn version() -> Finding {
    let found = sys::proc::kernel_version();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let finding = Finding::good(
        AREA,
        "Linux",
        release.trim(),
        "everything; 5.15 is the oldest that works",
    );
    if found >= OLDEST {
        return finding;
    }
    finding.but(Verdict::Missing, "boot a kernel of 5.15 or later")
}

/// Calls that leave nothing behind. A refusal may be the kernel's age, or a seccomp filter around this machine.
fn calls() -> Vec<Finding> {
    let this = sys::pid::Pid::own();
    let root = sys::path::open("/", OFlag::O_PATH);
    let tried = [
        (
            "openat2 with RESOLVE_IN_ROOT",
            root.and_then(|root| {
                sys::path::open_in_root(root.as_fd(), ".", OFlag::O_PATH, sys::path::Links::InRoot)
            })
            .map(drop),
            "paths inside containers",
        ),
        (
            "pidfd_open",
            sys::pidfd::open(this)
                .map(drop)
                .map_err(|error| sys::errno_of(&error)),
            "naming processes",
        ),
        (
            "fsopen, fsmount",
            sys::mount::NewFileSystem::open(c"tmpfs")
                .and_then(|tmpfs| tmpfs.mount(0))
                .map(drop),
            "root file systems",
        ),
        (
            "open_tree with OPEN_TREE_CLONE",
            sys::path::open("/", OFlag::O_PATH)
                .and_then(|root| {
                    sys::mount::clone_tree(root.as_fd(), c"proc", sys::mount::Depth::Single)
                })
                .map(drop),
            "volumes",
        ),
        (
            "mount_setattr",
            attributes(),
            "read-only volumes, propagation",
        ),
    ];
    let finding = |(what, result, needed_for): (&str, nix::Result<()>, &'static str)| match result {
        Ok(()) => Finding::good(AREA, what, "works", needed_for),
        Err(errno) => {
            let remedy = match errno {
                nix::errno::Errno::EPERM | nix::errno::Errno::EACCES => {
                    "run this as root, outside of other containers and their seccomp filters"
                }
                _ => {
                    "boot a kernel of 5.15 or later, or remove the seccomp filter that refuses the call"
                }
            };
            Finding::good(AREA, what, errno.to_string(), needed_for).but(Verdict::Missing, remedy)
        }
    };
    tried.into_iter().map(finding).collect()
}

fn attributes() -> nix::Result<()> {
    let tree = sys::mount::NewFileSystem::open(c"tmpfs")?.mount(0)?;
    sys::mount::set_attributes(
        tree.as_fd(),
        nix::libc::MOUNT_ATTR_RDONLY,
        sys::mount::Depth::Single,
    )
}

/// Features that came with a kernel version and cannot be tried without leaving a trace.
fn since() -> Vec<Finding> {
    let kernel = sys::proc::kernel_version();
    let features = [
        (
            "idmapped layers of overlayfs",
            (5, 19),
            "pods with a user namespace",
        ),
        ("idmapped tmpfs", (6, 3), "mapped volumes in memory"),
        (
            "PIDFD_GET_INFO",
            (6, 13),
            "cross-checks at recovery; /proc serves otherwise",
        ),
    ];
    let finding = |(what, needed, needed_for): (&str, (u32, u32), &'static str)| {
        let (major, minor) = needed;
        if kernel >= needed {
            return Finding::good(AREA, what, format!("since {major}.{minor}"), needed_for);
        }
        let remedy = format!("boot a kernel of {major}.{minor} or later to have it");
        Finding::good(AREA, what, "not there", needed_for).but(Verdict::Limited, remedy)
    };
    features.into_iter().map(finding).collect()
}

fn time_namespaces() -> Finding {
    let needed_for = "clocks of a pod's own (an experiment)";
    if Path::new("/proc/self/ns/time").exists() {
        return Finding::good(AREA, "time namespaces", "yes", needed_for);
    }
    Finding::good(AREA, "time namespaces", "no", needed_for).but(
        Verdict::Limited,
        "boot a kernel of 5.6 or later with CONFIG_TIME_NS",
    )
}

/// A feature that the kernel is built with or not.
struct Feature {
    what: &'static str,
    /// Options of its configuration, all of which it needs, without `CONFIG_`.
    options: &'static [&'static str],
    needed_for: &'static str,
    otherwise: Verdict,
}

const FEATURES: [Feature; 11] = [
    Feature {
        what: "overlayfs",
        options: &["OVERLAY_FS"],
        needed_for: "images",
        otherwise: Verdict::Missing,
    },
    Feature {
        what: "seccomp filters",
        options: &["SECCOMP_FILTER"],
        needed_for: "seccomp profiles, the default one included",
        otherwise: Verdict::Limited,
    },
    Feature {
        what: "user namespaces",
        options: &["USER_NS"],
        needed_for: "pods with a user namespace",
        otherwise: Verdict::Limited,
    },
    Feature {
        what: "POSIX message queues",
        options: &["POSIX_MQUEUE"],
        needed_for: "/dev/mqueue",
        otherwise: Verdict::Missing,
    },
    Feature {
        what: "bridge, veth",
        options: &["BRIDGE", "VETH"],
        needed_for: "the built-in network",
        otherwise: Verdict::Limited,
    },
    Feature {
        what: "nf_tables with nat, ct, fib",
        options: &[
            "NF_TABLES",
            "NF_TABLES_INET",
            "NFT_NAT",
            "NFT_MASQ",
            "NFT_CT",
            "NFT_FIB_INET",
        ],
        needed_for: "masquerading and host ports of the built-in network",
        otherwise: Verdict::Limited,
    },
    Feature {
        what: "tbf, ifb, u32, mirred",
        options: &["NET_SCH_TBF", "IFB", "NET_CLS_U32", "NET_ACT_MIRRED"],
        needed_for: "bandwidth limits of the built-in network",
        otherwise: Verdict::Limited,
    },
    Feature {
        what: "CPU quotas",
        options: &["CFS_BANDWIDTH"],
        needed_for: "CPU limits",
        otherwise: Verdict::Limited,
    },
    Feature {
        what: "BPF in cgroups",
        options: &["CGROUP_BPF"],
        needed_for: "device rules with cgroup v2",
        otherwise: Verdict::Limited,
    },
    Feature {
        what: "PSI",
        options: &["PSI"],
        needed_for: "pressure in statistics",
        otherwise: Verdict::Limited,
    },
    Feature {
        what: "FUSE",
        options: &["FUSE_FS"],
        needed_for: "volumes of FUSE drivers",
        otherwise: Verdict::Limited,
    },
];

/// The options that a kernel was built with.
struct Configuration(BTreeMap<String, String>);

impl Configuration {
    /// From /proc/config.gz or, as distributions have it, from /boot; none where it is in neither.
    fn read() -> Option<Self> {
        /// The largest configuration, in bytes.
        const MAX_CONFIG_BYTES: u64 = 8 << 20;
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut text = String::new();
        let packed =
            File::open("/proc/config.gz").map(|file| GzDecoder::new(file).take(MAX_CONFIG_BYTES));
        let read = match packed {
            Ok(mut packed) => packed.read_to_string(&mut text),
            Err(_) => File::open(format!("/boot/config-{}", release.trim()))
                .and_then(|file| file.take(MAX_CONFIG_BYTES).read_to_string(&mut text)),
        };
        read.ok().map(|_| Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let option = |line: &str| {
            let (name, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        Self(text.lines().filter_map(option).collect())
    }

    fn finding(&self, feature: &Feature) -> Finding {
        let finding = |found: String| Finding::good(AREA, feature.what, found, feature.needed_for);
        let lacks = |name: &&&str| !self.0.contains_key(**name);
        let missing: Vec<_> = feature.options.iter().filter(lacks).copied().collect();
        if !missing.is_empty() {
            let names: Vec<_> = missing
                .iter()
                .map(|name| format!("CONFIG_{name}"))
                .collect();
            let names = names.join(", ");
            return finding(format!("without {names}"))
                .but(feature.otherwise, format!("boot a kernel that has {names}"));
        }
        let modules = feature.options.iter().any(|name| self.0[*name] == "m");
        finding(
            if modules {
                "a module, loaded when needed"
            } else {
                "built in"
            }
            .to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Configuration, FEATURES, Verdict};

    #[test]
    fn a_kernel_without_a_feature() {
        let configuration =
            Configuration::parse("CONFIG_OVERLAY_FS=m\n# CONFIG_PSI is not set\nCONFIG_X=\"y\"\n");
        let overlay = configuration.finding(&FEATURES[0]);
        assert_eq!(
            (overlay.verdict, overlay.remedy.as_str()),
            (Verdict::Ok, "")
        );
        assert!(overlay.found.contains("module"));
        let psi = FEATURES
            .iter()
            .find(|feature| feature.what == "PSI")
            .unwrap();
        let psi = configuration.finding(psi);
        assert_eq!(psi.verdict, Verdict::Limited);
        assert!(psi.remedy.contains("CONFIG_PSI"), "{psi:?}");
    }

    #[test]
    fn a_kernel_that_does_not_tell_its_configuration() {
        let finding = super::not_known();
        assert_eq!(finding.verdict, Verdict::Unknown);
        assert!(
            FEATURES
                .iter()
                .all(|feature| finding.remedy.contains(feature.what))
        );
    }
}
