//! A v2 tree made of plain files: what is written where, without a kernel that has v2 controllers.

#![expect(clippy::disallowed_methods, reason = "the files stand in for cgroupfs")]

use std::fs;
use std::path::Path;

use super::super::mounts::TreeMount;
use super::super::*;

const FILES: [(&str, &str); 17] = [
    (
        "cgroup.controllers",
        "cpuset cpu io memory hugetlb pids rdma\n",
    ),
    (
        "cgroup.subtree_control",
        "cpuset cpu io memory hugetlb pids\n",
    ),
    ("cgroup.procs", ""),
    ("cgroup.events", "populated 0\nfrozen 0\n"),
    ("cpu.weight", "100\n"),
    ("cpu.max", "max 100000\n"),
    ("cpu.stat", "usage_usec 5\nuser_usec 3\nsystem_usec 2\n"),
    ("memory.max", "max\n"),
    ("memory.current", "4096000\n"),
    (
        "memory.stat",
        "anon 1000\nfile 2\ninactive_file 96000\npgfault 8\npgmajfault 1\n",
    ),
    ("memory.swap.max", "max\n"),
    ("memory.swap.current", "0\n"),
    ("memory.high", "max\n"),
    ("pids.max", "max\n"),
    ("pids.current", "3\n"),
    ("memory.events", "low 0\nhigh 0\nmax 0\noom 2\noom_kill 1\n"),
    ("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4\n"),
];

fn tree() -> (tempfile::TempDir, Hierarchy) {
    let dir = tempfile::tempdir().unwrap();
    for sub in ["", "pod", "pod/app"] {
        fs::create_dir_all(dir.path().join(sub)).unwrap();
        for (name, text) in FILES {
            fs::write(dir.path().join(sub).join(name), text).unwrap();
        }
    }
    let hierarchy = Hierarchy::at(vec![TreeMount {
        point: dir.path().to_str().unwrap().to_owned(),
        label: "unified".to_owned(),
        v1: None,
    }])
    .unwrap();
    (dir, hierarchy)
}

/// Plain files are overwritten from their start and keep the tail of a longer text.
fn written(dir: &Path, name: &str, value: &str) -> bool {
    fs::read_to_string(dir.join("pod/app").join(name))
        .unwrap()
        .starts_with(value)
}

#[test]
fn limits_reach_the_v2_files() {
    let (dir, hierarchy) = tree();
    assert_eq!(hierarchy.mode(), Mode::V2);
    assert!(hierarchy.has(Controller::Hugetlb) && !hierarchy.has(Controller::Devices));
    let limits = Limits {
        cpu_shares: Some(2048),
        cpu_quota: Some(Ceiling::At(50_000)),
        cpu_period: Some(200_000),
        memory_bytes: Some(Ceiling::At(64 << 20)),
        memory_swap_bytes: Some(Ceiling::At(96 << 20)),
        pids_max: Some(Ceiling::At(77)),
        unified: [("memory.high".to_owned(), "5000000".to_owned())].into(),
        ..Limits::default()
    };
    let group = hierarchy
        .create(&CgroupPath::new("/pod/app").unwrap(), &limits)
        .unwrap();
    assert!(written(dir.path(), "cpu.weight", "174"));
    assert!(written(dir.path(), "cpu.max", "50000 200000"));
    assert!(written(dir.path(), "memory.max", "67108864"));
    assert!(written(dir.path(), "memory.swap.max", "33554432"));
    assert!(written(dir.path(), "memory.high", "5000000"));
    let back = group.limits().unwrap();
    assert_eq!(back.memory_bytes, Some(Ceiling::At(64 << 20)));
    assert_eq!(back.memory_swap_bytes, Some(Ceiling::At(96 << 20)));
    assert_eq!(back.cpu_quota, Some(Ceiling::At(50_000)));
}

#[test]
fn a_memory_limit_below_usage_changes_nothing() {
    let (dir, hierarchy) = tree();
    let group = hierarchy
        .open(&CgroupPath::new("/pod/app").unwrap())
        .unwrap()
        .unwrap();
    let limits = Limits {
        cpu_shares: Some(2),
        memory_bytes: Some(Ceiling::At(4096)),
        ..Limits::default()
    };
    let refused = group.apply(&limits);
    assert!(matches!(
        refused,
        Err(CgroupError::BelowUsage {
            usage: 4_096_000,
            limit: 4096,
            ..
        })
    ));
    assert!(written(dir.path(), "cpu.weight", "100"));
}

#[test]
fn a_refused_write_takes_the_earlier_ones_back() {
    let (dir, hierarchy) = tree();
    let group = hierarchy
        .open(&CgroupPath::new("/pod/app").unwrap())
        .unwrap()
        .unwrap();
    let limits = Limits {
        cpu_shares: Some(262_144),
        unified: [("memory.absent".to_owned(), "1".to_owned())].into(),
        ..Limits::default()
    };
    let error = group.apply(&limits).unwrap_err();
    assert_eq!(error.errno(), Some(nix::errno::Errno::ENOENT));
    assert!(error.to_string().contains("memory.absent"), "{error}");
    assert!(written(dir.path(), "cpu.weight", "100"));
}

#[test]
fn v2_statistics_are_read_again_through_the_open_files() {
    let (dir, hierarchy) = tree();
    let group = hierarchy
        .open(&CgroupPath::new("/pod/app").unwrap())
        .unwrap()
        .unwrap();
    let stats = group.stats().unwrap();
    let memory = stats.memory.unwrap();
    assert_eq!(
        (memory.usage, memory.working_set, memory.rss),
        (4_096_000, 4_000_000, 1000)
    );
    assert_eq!((memory.page_faults, memory.major_page_faults), (8, 1));
    assert_eq!(stats.cpu.unwrap().usage_ns, 5000);
    assert_eq!(stats.pids.unwrap().current, 3);
    assert_eq!(stats.io.unwrap().write_bytes, 2);
    assert!(stats.cpu_pressure.is_none());
    fs::write(dir.path().join("pod/app/pids.current"), "4\n").unwrap();
    assert_eq!(group.stats().unwrap().pids.unwrap().current, 4);
    let entry = group.memory_entry().unwrap();
    let watch = OomWatch::new(entry.dir, entry.role).unwrap();
    assert_eq!(watch.oom_kills().unwrap(), 1);
    assert!(watch.signals_by_priority());
}

#[test]
fn a_missing_controller_is_named() {
    let (dir, hierarchy) = tree();
    fs::write(dir.path().join("pod/app/cgroup.controllers"), "cpu\n").unwrap();
    let limits = Limits {
        pids_max: Some(Ceiling::At(1)),
        ..Limits::default()
    };
    let refused = hierarchy.create(&CgroupPath::new("/pod/app").unwrap(), &limits);
    assert!(matches!(
        refused,
        Err(CgroupError::Unavailable {
            controller: Controller::Pids,
            ..
        })
    ));
}
