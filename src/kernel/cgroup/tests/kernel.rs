//! Against the kernel, inside a subtree of our own that is removed however the test ends.

#![expect(
    clippy::disallowed_methods,
    reason = "the tests need processes to limit and to kill"
)]

use crate::sys::pid::Pid;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::super::file;
use super::super::*;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A hierarchy below a group of the test's own.
struct Scratch {
    outer: Hierarchy,
    path: CgroupPath,
    inner: Hierarchy,
}

impl Scratch {
    /// None where the test may not create groups, as for a plain user.
    fn new() -> Option<Scratch> {
        let outer = Hierarchy::detect().ok()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("/holdfast-test-{}-{number}", std::process::id());
        let path = CgroupPath::new(&name).unwrap();
        match outer.below(&path) {
            Ok(inner) => Some(Scratch { outer, path, inner }),
            Err(error) => {
                assert!(!nix::unistd::geteuid().is_root(), "{error}: {error:?}");
                None
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Ok(Some(group)) = self.outer.open(&self.path) {
            let _ = group.kill();
        }
        if let Err(error) = self.outer.remove(&self.path)
            && !std::thread::panicking()
        {
            panic!("the scratch groups are left behind: {error:?}");
        }
    }
}

/// A process in the group that waits for a line and then becomes `script`.
fn start(group: &Cgroup, script: &str) -> Child {
    let child = Command::new("sh")
        .args(["-c", &format!("read go; {script}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    for entry in group.entries() {
        file::write(entry.dir, "cgroup.procs", &child.id().to_string()).unwrap();
    }
    child
}

fn go(child: &mut Child) {
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
}

fn path(text: &str) -> CgroupPath {
    CgroupPath::new(text).unwrap()
}

#[test]
fn a_group_is_made_limited_read_back_and_removed() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let hierarchy = &scratch.inner;
    let limits = Limits {
        cpu_shares: Some(512),
        cpu_quota: Some(Ceiling::At(50_000)),
        cpu_period: Some(100_000),
        memory_bytes: Some(Ceiling::At(64 << 20)),
        memory_swap_bytes: Some(Ceiling::At(64 << 20)),
        pids_max: Some(Ceiling::At(100)),
        hugepages: vec![("2MB".to_owned(), 0)],
        devices: vec![
            DeviceRule {
                verdict: DeviceVerdict::Deny,
                kind: DeviceKind::All,
                major: None,
                minor: None,
                access: String::new(),
            },
            DeviceRule {
                verdict: DeviceVerdict::Allow,
                kind: DeviceKind::Char,
                major: Some(1),
                minor: Some(3),
                access: "rwm".to_owned(),
            },
        ],
        ..Limits::default()
    };
    let group = hierarchy.create(&path("/pod/app"), &limits).unwrap();
    let back = group.limits().unwrap();
    assert_eq!(back.cpu_quota, limits.cpu_quota);
    assert_eq!(back.cpu_period, limits.cpu_period);
    assert_eq!(back.memory_bytes, limits.memory_bytes);
    assert_eq!(back.pids_max, limits.pids_max);
    if hierarchy.mode() != Mode::V2 {
        assert_eq!(back.cpu_shares, Some(512));
        assert!(back.cpuset_cpus.is_some() && back.cpuset_mems.is_some());
    }
    // Made again is joined, removed twice is fine, parents stay until asked for.
    hierarchy.create(&path("/pod/app"), &limits).unwrap();
    hierarchy.remove(&path("/pod/app")).unwrap();
    hierarchy.remove(&path("/pod/app")).unwrap();
    assert!(hierarchy.open(&path("/pod/app")).unwrap().is_none());
    assert!(hierarchy.open(&path("/pod")).unwrap().is_some());
    hierarchy
        .remove_empty_parents(&path("/pod/app"), &path("/pod"))
        .unwrap();
    assert!(hierarchy.open(&path("/pod")).unwrap().is_none());
    assert!(
        hierarchy
            .remove_empty_parents(&path("/podx/app"), &path("/pod"))
            .is_err()
    );
}

#[test]
fn updates_go_up_and_down() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let group = scratch
        .inner
        .create(&path("/app"), &Limits::default())
        .unwrap();
    let sizes: [(u64, Option<u64>); 5] = [
        (64, Some(64)),
        (128, Some(256)),
        (32, Some(32)),
        (96, None),
        (16, None),
    ];
    for (memory, total) in sizes {
        let limits = Limits {
            memory_bytes: Some(Ceiling::At(memory << 20)),
            memory_swap_bytes: total.map(|total| Ceiling::At(total << 20)),
            ..Limits::default()
        };
        group.apply(&limits).unwrap();
        assert_eq!(group.limits().unwrap().memory_bytes, limits.memory_bytes);
    }
    for (quota, period) in [(50_000, 100_000), (5_000, 10_000), (900_000, 1_000_000)] {
        let limits = Limits {
            cpu_quota: Some(Ceiling::At(quota)),
            cpu_period: Some(period),
            ..Limits::default()
        };
        group.apply(&limits).unwrap();
        let back = group.limits().unwrap();
        assert_eq!(
            (back.cpu_quota, back.cpu_period),
            (limits.cpu_quota, limits.cpu_period)
        );
    }
    let lifted = Limits {
        memory_bytes: Some(Ceiling::Unlimited),
        memory_swap_bytes: Some(Ceiling::Unlimited),
        cpu_quota: Some(Ceiling::Unlimited),
        ..Limits::default()
    };
    group.apply(&lifted).unwrap();
    assert_eq!(
        group.limits().unwrap().memory_bytes,
        Some(Ceiling::Unlimited)
    );
}

#[test]
fn a_failed_creation_leaves_nothing() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let limits = Limits {
        cpuset_cpus: Some("4000".to_owned()),
        ..Limits::default()
    };
    let error = scratch.inner.create(&path("/a/b/c"), &limits).unwrap_err();
    assert!(error.to_string().contains("cpuset"), "{error}");
    assert!(scratch.inner.open(&path("/a")).unwrap().is_none());
}

#[test]
fn processes_are_counted_measured_and_killed() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let group = scratch
        .inner
        .create(&path("/pod/app"), &Limits::default())
        .unwrap();
    assert!(!group.populated().unwrap());
    let mut child = start(
        &group,
        "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; sleep 600 & sleep 600",
    );
    assert_eq!(
        group.processes().unwrap(),
        vec![Pid::try_from(child.id()).unwrap()]
    );
    assert!(group.populated().unwrap());
    go(&mut child);
    let deadline = Instant::now() + Duration::from_secs(5);
    while group.processes().unwrap().len() < 3 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let stats = group.stats().unwrap();
    assert!(stats.cpu.unwrap().usage_ns > 0);
    assert!(stats.memory.unwrap().usage > 0);
    assert!(stats.memory.unwrap().working_set <= stats.memory.unwrap().usage);
    assert_eq!(stats.pids.unwrap().current, 3);
    let busy = scratch.inner.remove(&path("/pod/app"));
    assert!(matches!(busy, Err(CgroupError::Busy { .. })), "{busy:?}");
    group.kill().unwrap();
    child.wait().unwrap();
    scratch.inner.remove(&path("/pod/app")).unwrap();
    assert!(matches!(group.stats(), Err(CgroupError::Gone { .. })));
    group.kill().unwrap();
}

/// A pod may be deleted at any moment, and with it the groups that something else is busy with. That is the groups'
/// end and no failure of the kernel, for each file and each tree: ENODEV comes from an open file of a removed group
/// and ENOENT from a name in it (kernfs).
#[test]
fn the_end_of_a_group_is_told_from_a_failure() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let there = path("/pod/app");
    let group = scratch.inner.create(&there, &Limits::default()).unwrap();
    group.stats().unwrap();
    scratch.inner.remove(&there).unwrap();
    let limited = |limits: Limits| group.apply(&limits);
    let cpu = Limits {
        cpu_shares: Some(512),
        ..Limits::default()
    };
    let quota = Limits {
        cpu_quota: Some(Ceiling::At(50_000)),
        cpu_period: Some(100_000),
        ..Limits::default()
    };
    let memory = Limits {
        memory_bytes: Some(Ceiling::At(64 << 20)),
        ..Limits::default()
    };
    let pids = Limits {
        pids_max: Some(Ceiling::At(10)),
        ..Limits::default()
    };
    if scratch.inner.mode() == Mode::V1 {
        return;
    }
    let unified = Limits {
        unified: [("cgroup.max.depth".to_owned(), "3".to_owned())].into(),
        ..Limits::default()
    };
    let ends = [
        ("cpu shares", limited(cpu)),
        ("cpu quota", limited(quota)),
        ("memory", limited(memory)),
        ("pids", limited(pids)),
        ("statistics", group.stats().map(drop)),
        ("a file of v2", limited(unified)),
    ];
    for (what, outcome) in ends {
        assert!(
            matches!(outcome, Err(CgroupError::Gone { .. })),
            "{what}: {outcome:?}"
        );
    }
    // What there is nothing left to do about is done.
    group.kill().unwrap();
    group.kill_one_by_one().unwrap();
    scratch.inner.remove(&there).unwrap();
    assert!(group.processes().unwrap().is_empty());
    assert!(scratch.inner.open(&there).unwrap().is_none());
    // A file that the kernel lacks is another matter.
    let group = scratch.inner.create(&there, &Limits::default()).unwrap();
    let member = &group.members[0];
    let missing = group.failed("read", member, "no.such", Errno::ENOENT);
    assert!(matches!(missing, CgroupError::Kernel { .. }), "{missing:?}");
}

#[test]
fn without_a_v2_tree_everything_is_killed_too() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let group = scratch
        .inner
        .create(&path("/pod/app"), &Limits::default())
        .unwrap();
    let mut child = start(&group, "sleep 600 & sleep 600");
    go(&mut child);
    std::thread::sleep(Duration::from_millis(50));
    // Reaps in the background: an unreaped process still counts on v1.
    let reaper = std::thread::spawn(move || child.wait());
    group.kill_one_by_one().unwrap();
    reaper.join().unwrap().unwrap();
    assert!(group.processes().unwrap().is_empty());
}

#[test]
fn groups_made_inside_are_removed_first() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    for inside in ["/pod/app/x/y", "/pod/app/z"] {
        scratch
            .inner
            .create(&path(inside), &Limits::default())
            .unwrap();
    }
    scratch.inner.remove(&path("/pod/app")).unwrap();
    assert!(scratch.inner.open(&path("/pod/app")).unwrap().is_none());
    assert!(scratch.inner.open(&path("/pod")).unwrap().is_some());
}

#[test]
fn an_out_of_memory_kill_is_seen() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let limits = Limits {
        memory_bytes: Some(Ceiling::At(16 << 20)),
        memory_swap_bytes: Some(Ceiling::At(16 << 20)),
        ..Limits::default()
    };
    let group = scratch.inner.create(&path("/app"), &limits).unwrap();
    let entry = group.memory_entry().unwrap();
    let watch = OomWatch::new(entry.dir, entry.role).unwrap();
    assert_eq!(watch.oom_kills().unwrap(), 0);
    let mut child = start(&group, "exec tail /dev/zero");
    go(&mut child);
    let flags = if watch.signals_by_priority() {
        nix::poll::PollFlags::POLLPRI
    } else {
        nix::poll::PollFlags::POLLIN
    };
    let mut fds = [nix::poll::PollFd::new(
        std::os::fd::AsFd::as_fd(&watch),
        flags,
    )];
    let ready = nix::poll::poll(&mut fds, 5000_u16).unwrap();
    assert_eq!(ready, 1);
    child.wait().unwrap();
    assert_eq!(watch.oom_kills().unwrap(), 1);
}

#[test]
fn a_limit_below_what_is_used_is_refused() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let group = scratch
        .inner
        .create(&path("/app"), &Limits::default())
        .unwrap();
    let mut child = start(
        &group,
        "x=$(head -c 8000000 /dev/zero | tr '\\0' x); sleep 600",
    );
    go(&mut child);
    let used = || group.stats().unwrap().memory.unwrap().usage;
    let deadline = Instant::now() + Duration::from_secs(5);
    while used() < 8_000_000 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let limits = Limits {
        pids_max: Some(Ceiling::At(5)),
        memory_bytes: Some(Ceiling::At(1 << 20)),
        ..Limits::default()
    };
    let refused = group.apply(&limits);
    assert!(
        matches!(refused, Err(CgroupError::BelowUsage { .. })),
        "{refused:?}"
    );
    assert_eq!(group.limits().unwrap().pids_max, Some(Ceiling::Unlimited));
    group.kill().unwrap();
    child.wait().unwrap();
}

/// The eBPF filter works on any v2 tree, also on a hybrid layout's, where it is not needed.
#[test]
fn device_rules_are_enforced_by_a_filter_on_v2() {
    use super::super::device_filter::install;
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let group = scratch
        .inner
        .create(&path("/app"), &Limits::default())
        .unwrap();
    let entries = group.entries();
    let Some(unified) = entries.iter().find(|entry| entry.role == Role::Unified) else {
        return;
    };
    let rule = |verdict, kind, minor, access: &str| DeviceRule {
        verdict,
        kind,
        major: Some(1),
        minor,
        access: access.to_owned(),
    };
    let deny_all = rule(DeviceVerdict::Deny, DeviceKind::All, None, "");
    // Major 1: minor 3 is /dev/null, 5 is /dev/zero, 9 is /dev/urandom.
    let rules = [
        deny_all.clone(),
        rule(DeviceVerdict::Allow, DeviceKind::Char, None, "rwm"),
        rule(DeviceVerdict::Deny, DeviceKind::Char, Some(5), "w"),
        rule(DeviceVerdict::Deny, DeviceKind::Char, Some(9), "rwm"),
        rule(DeviceVerdict::Deny, DeviceKind::Block, Some(3), "rwm"),
        rule(DeviceVerdict::Allow, DeviceKind::Char, Some(9), "r"),
    ];
    let verdicts = |group: &Cgroup| {
        let script = "for try in '<>/dev/null' '</dev/zero' '>/dev/zero' '<>/dev/zero' '</dev/urandom' \
            '>/dev/urandom' '</dev/ptmx'; do if (eval \"exec 3$try\") 2>&-; then printf y; else printf n; fi; \
            done >\"$OUT\"";
        let out = tempfile::NamedTempFile::new().unwrap();
        let mut child = Command::new("bash")
            .args(["-c", &format!("read go; {script}")])
            .env("OUT", out.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        for entry in group.entries() {
            file::write(entry.dir, "cgroup.procs", &child.id().to_string()).unwrap();
        }
        go(&mut child);
        child.wait().unwrap();
        std::fs::read_to_string(out.path()).unwrap()
    };
    assert_eq!(verdicts(&group), "yyyyyyy");
    install(unified.dir, &rules).unwrap();
    assert_eq!(verdicts(&group), "yynnynn");
    install(unified.dir, std::slice::from_ref(&deny_all)).unwrap();
    assert_eq!(verdicts(&group), "nnnnnnn");
    let allow_all = DeviceRule {
        verdict: DeviceVerdict::Allow,
        ..deny_all
    };
    install(unified.dir, &[rules[2].clone(), allow_all]).unwrap();
    assert_eq!(verdicts(&group), "yyyyyyy");
}
