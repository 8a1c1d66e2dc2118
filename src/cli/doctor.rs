//! `holdfast doctor`: what this machine's kernel offers, beside what is wanted of it.

use std::fs;
use std::path::Path;

use clap::Args;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::CliError;
use super::out::table;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast doctor")]
pub struct DoctorArgs {}

/// One line of the table.
struct Finding {
    what: &'static str,
    found: String,
    verdict: Verdict,
    wanted: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Limited,
    Missing,
}

/// Shows the table.
pub(super) fn run(_: DoctorArgs) -> Result<(), CliError> {
    let mut out = table::new(&["FEATURE", "FOUND", "", "WANTED"]);
    for finding in findings() {
        let verdict = match finding.verdict {
            Verdict::Good => "ok",
            Verdict::Limited => "limited",
            Verdict::Missing => "MISSING",
        };
        out.add_row([finding.what, &finding.found, verdict, finding.wanted]);
    }
    table::print(&out)
}

fn findings() -> Vec<Finding> {
    let release = text("/proc/sys/kernel/osrelease");
    let kernel = version(&release);
    let since = |what, needed: (u32, u32), wanted, otherwise| Finding {
        what,
        found: if kernel >= needed {
            "yes".to_owned()
        } else {
            "no".to_owned()
        },
        verdict: if kernel >= needed {
            Verdict::Good
        } else {
            otherwise
        },
        wanted,
    };
    vec![
        Finding {
            what: "kernel",
            found: release,
            verdict: if kernel >= (5, 15) {
                Verdict::Good
            } else {
                Verdict::Missing
            },
            wanted: "5.15",
        },
        cgroup(),
        controllers(),
        resolve(),
        since(
            "mount API with mount_setattr",
            (5, 12),
            "5.12",
            Verdict::Missing,
        ),
        since("pidfd", (5, 4), "5.4", Verdict::Missing),
        since(
            "recursive read-only mounts",
            (5, 12),
            "5.12",
            Verdict::Limited,
        ),
        since(
            "idmapped layers of overlayfs",
            (5, 19),
            "5.19 for user namespaces",
            Verdict::Limited,
        ),
        listed(
            "overlay",
            "/proc/filesystems",
            "overlay",
            "for images; loaded on demand as a module",
        ),
        user_namespaces(),
        listed(
            "seccomp",
            "/proc/sys/kernel/seccomp/actions_avail",
            "errno",
            "for default profiles",
        ),
        exists(
            "veth and bridge",
            "/sys/class/net",
            "for the built-in network",
        ),
        forwarding(),
        nftables(),
    ]
}

fn text(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn version(release: &str) -> (u32, u32) {
    let mut parts = release.split(|letter: char| !letter.is_ascii_digit());
    let mut number = || {
        parts
            .next()
            .and_then(|part| part.parse().ok())
            .unwrap_or_default()
    };
    (number(), number())
}

fn cgroup() -> Finding {
    let pure =
        statfs("/sys/fs/cgroup").is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC);
    let (found, verdict) = if pure {
        ("v2", Verdict::Good)
    } else if Path::new("/sys/fs/cgroup/memory").is_dir() {
        ("v1", Verdict::Limited)
    } else {
        ("none", Verdict::Missing)
    };
    Finding {
        what: "cgroup",
        found: found.to_owned(),
        verdict,
        wanted: "v2; v1 works without unified",
    }
}

fn controllers() -> Finding {
    const WANTED: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
    let v2 = text("/sys/fs/cgroup/cgroup.controllers");
    let has = |name: &str| {
        v2.split(' ').any(|found| found == name) || Path::new("/sys/fs/cgroup").join(name).is_dir()
    };
    let missing: Vec<_> = WANTED.into_iter().filter(|name| !has(name)).collect();
    let all = missing.is_empty();
    Finding {
        what: "controllers",
        found: if all {
            WANTED.join(" ")
        } else {
            format!("without {}", missing.join(" "))
        },
        verdict: if all { Verdict::Good } else { Verdict::Missing },
        wanted: "cpu cpuset memory pids",
    }
}

fn resolve() -> Finding {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT);
    let works = fs::File::open("/").is_ok_and(|root| openat2(&root, ".", how).is_ok());
    Finding {
        what: "openat2 with RESOLVE_IN_ROOT",
        found: if works {
            "yes".to_owned()
        } else {
            "no".to_owned()
        },
        verdict: if works {
            Verdict::Good
        } else {
            Verdict::Missing
        },
        wanted: "5.6, not filtered by seccomp",
    }
}

fn listed(what: &'static str, file: &str, word: &str, wanted: &'static str) -> Finding {
    let found = text(file).split_whitespace().any(|found| found == word);
    Finding {
        what,
        found: if found {
            "yes".to_owned()
        } else {
            "not seen".to_owned()
        },
        verdict: if found {
            Verdict::Good
        } else {
            Verdict::Limited
        },
        wanted,
    }
}

fn exists(what: &'static str, path: &str, wanted: &'static str) -> Finding {
    let found = Path::new(path).exists();
    Finding {
        what,
        found: if found {
            "network devices".to_owned()
        } else {
            "no".to_owned()
        },
        verdict: if found {
            Verdict::Good
        } else {
            Verdict::Missing
        },
        wanted,
    }
}

fn user_namespaces() -> Finding {
    let most = text("/proc/sys/user/max_user_namespaces");
    let verdict = if matches!(most.as_str(), "" | "0") {
        Verdict::Limited
    } else {
        Verdict::Good
    };
    Finding {
        what: "user namespaces",
        found: most,
        verdict,
        wanted: "above 0, for pods that ask for one",
    }
}

fn forwarding() -> Finding {
    let v4 = text("/proc/sys/net/ipv4/ip_forward");
    let v6 = text("/proc/sys/net/ipv6/conf/all/forwarding");
    Finding {
        what: "forwarding, IPv4 and IPv6",
        found: format!("{v4} {v6}"),
        verdict: Verdict::Good,
        wanted: "switched on by the built-in network",
    }
}

fn nftables() -> Finding {
    let found = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"]
        .iter()
        .find(|path| Path::new(path).exists());
    Finding {
        what: "nft",
        found: found.map_or("not found", |path| path).to_owned(),
        verdict: if found.is_some() {
            Verdict::Good
        } else {
            Verdict::Limited
        },
        wanted: "for masquerading by the built-in network",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_of_distribution_kernels() {
        assert_eq!(super::version("6.18.5-fc-v17"), (6, 18));
        assert_eq!(super::version("5.15.0-91-generic"), (5, 15));
        assert_eq!(super::version(""), (0, 0));
    }
}
