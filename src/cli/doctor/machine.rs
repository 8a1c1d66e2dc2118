//! How the machine is set up: cgroups, security modules, rights, settings.

use std::fs;
use std::path::Path;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::finding::{Finding, Verdict};

const CGROUPS: &str = "cgroups";
const SECURITY: &str = "security";
const SETTINGS: &str = "settings";

/// Everything on the machine.
pub(super) fn findings() -> Vec<Finding> {
    let mut findings = vec![tree(), controllers(), driver()];
    findings.extend([modules(), rights(), user_namespaces()]);
    findings.extend(SETTING.iter().map(setting));
    findings
}

fn text(file: &str) -> String {
    fs::read_to_string(file)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn is_v2() -> bool {
    statfs("/sys/fs/cgroup").is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

fn tree() -> Finding {
    let finding = |found: &str| Finding::good(CGROUPS, "tree", found, "limits and statistics");
    if is_v2() {
        return finding("v2");
    }
    if Path::new("/sys/fs/cgroup/memory").is_dir() {
        let hybrid = Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists();
        let remedy = "boot with systemd.unified_cgroup_hierarchy=1 to have `unified`, pressure and OOM of whole groups";
        return finding(if hybrid {
            "v1 with a v2 tree (hybrid)"
        } else {
            "v1"
        })
        .but(Verdict::Limited, remedy);
    }
    finding("none").but(Verdict::Missing, "mount cgroup2 at /sys/fs/cgroup")
}

fn controllers() -> Finding {
    const WANTED: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
    let v2 = text("/sys/fs/cgroup/cgroup.controllers");
    let has = |name: &str| {
        v2.split(' ').any(|found| found == name) || Path::new("/sys/fs/cgroup").join(name).is_dir()
    };
    let (there, missing): (Vec<&str>, Vec<&str>) = WANTED.into_iter().partition(|name| has(name));
    let finding = Finding::good(
        CGROUPS,
        "controllers",
        there.join(" "),
        "limits of that kind",
    );
    if missing.is_empty() {
        return finding;
    }
    let remedy = format!(
        "{} is not there: enable it on the kernel's command line (cgroup_enable=memory) or in its configuration",
        missing.join(", ")
    );
    finding.but(Verdict::Limited, remedy)
}

fn driver() -> Finding {
    let systemd = Path::new("/run/systemd/system").is_dir();
    let found = match (systemd, is_v2()) {
        (true, true) => "systemd runs the machine: the systemd driver is the default",
        (true, false) => "systemd with cgroup v1: only the cgroupfs driver",
        (false, _) => "no systemd: the cgroupfs driver",
    };
    Finding::good(CGROUPS, "driver", found, "agreement with the kubelet")
}

fn modules() -> Finding {
    let needed_for = "AppArmor profiles and SELinux labels, when asked for";
    let mut found = Vec::new();
    if text("/sys/module/apparmor/parameters/enabled") == "Y" {
        found.push("AppArmor");
    }
    if Path::new("/sys/fs/selinux/enforce").exists() {
        found.push("SELinux");
    }
    if found.is_empty() {
        return Finding::good(SECURITY, "security modules", "none", needed_for).but(
            Verdict::Limited,
            "requests for them are refused; boot with security=apparmor or selinux to have one",
        );
    }
    Finding::good(SECURITY, "security modules", found.join(", "), needed_for)
}

/// Capabilities without which root is not quite root, as in a virtual machine for rent or another container.
fn rights() -> Finding {
    /// Number and name, capabilities(7), and what goes wrong without it.
    const NEEDED: [(u8, &str, Verdict); 5] = [
        (21, "CAP_SYS_ADMIN", Verdict::Missing),
        (12, "CAP_NET_ADMIN", Verdict::Missing),
        (19, "CAP_SYS_PTRACE", Verdict::Limited),
        (24, "CAP_SYS_RESOURCE", Verdict::Limited),
        (27, "CAP_MKNOD", Verdict::Limited),
    ];
    let status = text("/proc/self/status");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line
        .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok())
        .unwrap_or_default();
    let missing: Vec<_> = NEEDED
        .into_iter()
        .filter(|(number, ..)| set >> number & 1 == 0)
        .collect();
    let finding = |found: String| {
        Finding::good(
            SECURITY,
            "rights of this user",
            found,
            "starting containers",
        )
    };
    let Some(worst) = missing
        .iter()
        .find(|(.., verdict)| *verdict == Verdict::Missing)
        .or(missing.first())
    else {
        return finding("all that are needed".to_owned());
    };
    let names: Vec<_> = missing.iter().map(|(_, name, _)| *name).collect();
    let remedy = match worst.2 {
        Verdict::Missing => "run this and the daemon as root",
        Verdict::Ok | Verdict::Unknown | Verdict::Limited => {
            "give the daemon's service these capabilities; without them, limits above the machine's and OOM scores below 0 cannot be set"
        }
    };
    finding(format!("without {}", names.join(", "))).but(worst.2, remedy)
}

fn user_namespaces() -> Finding {
    let most = text("/proc/sys/user/max_user_namespaces");
    let finding = Finding::good(
        SECURITY,
        "user.max_user_namespaces",
        &most,
        "pods with a user namespace",
    );
    if matches!(most.as_str(), "" | "0") {
        return finding.but(Verdict::Limited, "sysctl -w user.max_user_namespaces=15000");
    }
    finding
}

/// A kernel parameter with the least that many pods need.
struct Setting {
    name: &'static str,
    least: u64,
    needed_for: &'static str,
}

const SETTING: [Setting; 4] = [
    Setting {
        name: "fs.inotify.max_user_instances",
        least: 512,
        needed_for: "programs in many containers that watch files",
    },
    Setting {
        name: "kernel.pid_max",
        least: 32_768,
        needed_for: "many processes",
    },
    Setting {
        name: "user.max_mnt_namespaces",
        least: 1024,
        needed_for: "one for each container",
    },
    Setting {
        name: "user.max_net_namespaces",
        least: 512,
        needed_for: "one for each pod",
    },
];

fn setting(setting: &Setting) -> Finding {
    let value = text(&format!("/proc/sys/{}", setting.name.replace('.', "/")));
    let finding = Finding::good(SETTINGS, setting.name, &value, setting.needed_for);
    match value.parse::<u64>() {
        Ok(number) if number >= setting.least => finding,
        _ => finding.but(
            Verdict::Limited,
            format!("sysctl -w {}={}", setting.name, setting.least),
        ),
    }
}
