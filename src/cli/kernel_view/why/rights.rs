//! The rights of a container: users, capabilities, seccomp, security modules.

use super::super::procfs::{self, Status, id_map, inside};
use super::fact::Fact;
use holdfast_kernel::sys::pid::Pid;

/// Capabilities by number, capabilities(7), with what they are for; up to CAP_CHECKPOINT_RESTORE of Linux 5.9.
const CAPABILITIES: [(&str, &str); 41] = [
    ("CHOWN", "give files away"),
    ("DAC_OVERRIDE", "read and write any file"),
    ("DAC_READ_SEARCH", "read any file"),
    ("FOWNER", "change any file's mode"),
    ("FSETID", "keep set-user-ID bits"),
    ("KILL", "signal others' processes"),
    ("SETGID", "change its groups"),
    ("SETUID", "become another user"),
    ("SETPCAP", "give up capabilities of its bounding set"),
    ("LINUX_IMMUTABLE", "mark files immutable"),
    ("NET_BIND_SERVICE", "listen on ports below 1024"),
    ("NET_BROADCAST", "broadcast"),
    ("NET_ADMIN", "change interfaces, routes and firewalls"),
    ("NET_RAW", "open raw sockets: ping, tcpdump"),
    ("IPC_LOCK", "lock memory"),
    ("IPC_OWNER", "use others' IPC objects"),
    ("SYS_MODULE", "load kernel modules"),
    ("SYS_RAWIO", "use I/O ports"),
    ("SYS_CHROOT", "use chroot"),
    ("SYS_PTRACE", "trace and read others' processes"),
    ("SYS_PACCT", "switch accounting"),
    ("SYS_ADMIN", "mount, enter namespaces and much more"),
    ("SYS_BOOT", "reboot"),
    ("SYS_NICE", "raise priorities"),
    ("SYS_RESOURCE", "raise resource limits"),
    ("SYS_TIME", "set the clock"),
    ("SYS_TTY_CONFIG", "configure terminals"),
    ("MKNOD", "make device nodes"),
    ("LEASE", "take leases on files"),
    ("AUDIT_WRITE", "write to the audit log"),
    ("AUDIT_CONTROL", "configure auditing"),
    ("SETFCAP", "give capabilities to files"),
    ("MAC_OVERRIDE", "override security modules"),
    ("MAC_ADMIN", "configure security modules"),
    ("SYSLOG", "read the kernel's log"),
    ("WAKE_ALARM", "wake the machine"),
    ("BLOCK_SUSPEND", "keep the machine awake"),
    ("AUDIT_READ", "read the audit log"),
    ("PERFMON", "measure with perf"),
    ("BPF", "load BPF programs"),
    ("CHECKPOINT_RESTORE", "checkpoint processes"),
];

/// Facts on users, capabilities and filters.
pub(super) fn facts(pid: Pid, status: &Status) -> Vec<Fact> {
    let source = |fields: &str| format!("{fields} of /proc/{pid}/status");
    let mut facts = vec![
        Fact::new("rights", user(pid, status), source("Uid, Gid, Groups")),
        Fact::new("rights", capabilities(status), source("CapEff, CapBnd")),
    ];
    let missing = missing(status.mask("CapBnd"));
    if !missing.is_empty() {
        facts.push(Fact::new("rights", missing, source("CapBnd")));
    }
    facts.push(Fact::new(
        "rights",
        privileges(status),
        source("NoNewPrivs"),
    ));
    facts.push(Fact::new(
        "rights",
        seccomp(status),
        source("Seccomp, Seccomp_filters"),
    ));
    let file = "attr/apparmor/current";
    let profile = procfs::text(pid, file)
        .ok()
        .filter(|text| !text.trim().is_empty());
    if let Some(profile) = profile {
        let statement = format!("AppArmor: {}", profile.trim());
        facts.push(Fact::new("rights", statement, pid.proc_file(file)));
    }
    facts
}

fn user(pid: Pid, status: &Status) -> String {
    let effective = |field: &str| status.numbers(field).get(1).copied().unwrap_or_default();
    let (uid, gid) = (effective("Uid"), effective("Gid"));
    let name = |map: &str, id: u64| {
        let map = id_map(&procfs::text(pid, map).unwrap_or_default());
        match inside(&map, id) {
            Some(inside) if inside == id => id.to_string(),
            Some(inside) => format!("{inside} inside, {id} on the node"),
            None => format!("nobody inside, {id} on the node"),
        }
    };
    let groups = status.numbers("Groups");
    let groups: Vec<_> = groups.iter().map(u64::to_string).collect();
    let mut statement = format!(
        "runs as user {}, group {}",
        name("uid_map", uid),
        name("gid_map", gid)
    );
    if !groups.is_empty() {
        statement.push_str(&format!(", further groups {}", groups.join(" ")));
    }
    statement
}

fn capabilities(status: &Status) -> String {
    let effective = names(status.mask("CapEff"));
    if effective.is_empty() {
        return "has no capability: it may do what its user may".to_owned();
    }
    format!(
        "has {} of {} capabilities: {}",
        effective.len(),
        CAPABILITIES.len(),
        effective.join(" ")
    )
}

fn names(set: u64) -> Vec<&'static str> {
    let has = |(number, (name, _)): (usize, &(&'static str, &str))| {
        (set >> number & 1 == 1).then_some(*name)
    };
    CAPABILITIES.iter().enumerate().filter_map(has).collect()
}

/// Lists the actions that people most often try and the container cannot do.
fn missing(bounding: u64) -> String {
    const TELLING: [&str; 6] = [
        "SYS_ADMIN",
        "NET_ADMIN",
        "NET_RAW",
        "SYS_PTRACE",
        "SYS_TIME",
        "SYS_MODULE",
    ];
    let lacks = |(number, (name, purpose)): (usize, &(&str, &str))| {
        let lacks = bounding >> number & 1 == 0 && TELLING.contains(name);
        lacks.then(|| format!("{purpose} ({name})"))
    };
    let lacks: Vec<_> = CAPABILITIES.iter().enumerate().filter_map(lacks).collect();
    if lacks.is_empty() {
        return String::new();
    }
    format!("can never, also not as root in it: {}", lacks.join("; "))
}

fn privileges(status: &Status) -> String {
    match status.get("NoNewPrivs") {
        "1" => "set-user-ID programs such as sudo give it nothing (no_new_privs)",
        _ => "set-user-ID programs may raise its rights, within its bounding set",
    }
    .to_owned()
}

fn seccomp(status: &Status) -> String {
    match status.get("Seccomp") {
        "2" => match status.get("Seccomp_filters") {
            "" => "system calls are filtered".to_owned(),
            count => format!("system calls go through {count} seccomp filter(s)"),
        },
        "1" => "only read, write, exit and sigreturn are allowed".to_owned(),
        _ => "system calls are not filtered".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_set() {
        let status = Status::parse("CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n");
        let statement = capabilities(&status);
        assert!(
            statement.starts_with("has 14 of 41 capabilities: CHOWN"),
            "{statement}"
        );
        assert!(statement.ends_with("SETFCAP"), "{statement}");
        let missing = missing(status.mask("CapBnd"));
        assert!(
            missing.contains("(SYS_ADMIN)") && !missing.contains("(NET_RAW)"),
            "{missing}"
        );
        assert_eq!(super::missing(u64::MAX), "");
    }

    #[test]
    fn filters() {
        let statement = seccomp(&Status::parse("Seccomp:\t2\nSeccomp_filters:\t1\n"));
        assert_eq!(statement, "system calls go through 1 seccomp filter(s)");
        assert_eq!(
            seccomp(&Status::parse("Seccomp:\t0\n")),
            "system calls are not filtered"
        );
    }
}
