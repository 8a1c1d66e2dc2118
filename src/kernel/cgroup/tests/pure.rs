use super::super::limits::Ceiling;
use super::super::mounts;
use super::super::psi::Pressure;
use super::super::stats::{parse_blkio, parse_cpu_stat, parse_io_stat};
use super::super::weight::{shares_of_weight, weight_of_shares};
use super::super::*;

#[test]
fn hostile_paths_are_refused() {
    for bad in ["", "/", "//", "..", "/a/../b", "/a/./b", "a\0b", "a\nb"] {
        assert!(CgroupPath::new(bad).is_err(), "{bad:?} was taken");
    }
    assert!(CgroupPath::new(&"a/".repeat(2000)).is_err());
    assert!(CgroupPath::new(&"a".repeat(256)).is_err());
    let path = CgroupPath::new("kubepods//burstable/pod1/").unwrap();
    assert_eq!(path.as_str(), "/kubepods/burstable/pod1");
    assert_eq!(path.parent().unwrap().as_str(), "/kubepods/burstable");
    assert!(path.join("a/b").is_err());
    assert!(path.join("..").is_err());
    assert_eq!(
        path.join("c").unwrap().as_str(),
        "/kubepods/burstable/pod1/c"
    );
    assert!(CgroupPath::new("/a").unwrap().parent().is_none());
}

#[test]
fn shares_become_the_weights_other_runtimes_give() {
    for (shares, weight) in [
        (0, 1),
        (2, 1),
        (102, 17),
        (1024, 100),
        (1025, 101),
        (2048, 174),
        (262_144, 10_000),
        (u64::MAX, 10_000),
    ] {
        assert_eq!(weight_of_shares(shares), weight, "{shares} shares");
    }
    assert_eq!(shares_of_weight(100), 1024);
    assert_eq!(shares_of_weight(1), 2);
    assert_eq!(shares_of_weight(10_000), 262_144);
    let weights: Vec<u64> = (2..5000).map(weight_of_shares).collect();
    assert!(weights.is_sorted());
}

#[test]
fn wrong_limits_are_refused_before_the_kernel_sees_them() {
    let wrong = [
        Limits {
            cpu_period: Some(999),
            ..Limits::default()
        },
        Limits {
            cpu_quota: Some(Ceiling::At(1)),
            ..Limits::default()
        },
        Limits {
            memory_bytes: Some(Ceiling::At(100)),
            memory_swap_bytes: Some(Ceiling::At(99)),
            ..Limits::default()
        },
        Limits {
            cpuset_cpus: Some("0-3; rm".to_owned()),
            ..Limits::default()
        },
        Limits {
            hugepages: vec![("../x".to_owned(), 0)],
            ..Limits::default()
        },
    ];
    for limits in wrong {
        let refused = limits.validate();
        assert!(
            matches!(refused, Err(CgroupError::InvalidLimit { .. })),
            "{limits:?}"
        );
    }
    for key in [
        "a/b",
        "..",
        "../cpu.max",
        "cgroup.procs",
        "cgroup.kill",
        "memory",
        "",
    ] {
        let limits = Limits {
            unified: [(key.to_owned(), "1".to_owned())].into(),
            ..Limits::default()
        };
        assert!(limits.validate().is_err(), "{key:?} was taken");
    }
    let right = Limits {
        unified: [("memory.high".to_owned(), "1".to_owned())].into(),
        hugepages: vec![("2MB".to_owned(), 0)],
        cpuset_cpus: Some("0-3,7".to_owned()),
        ..Limits::default()
    };
    right.validate().unwrap();
}

#[test]
fn mountinfo_of_every_layout_is_understood() {
    let v2 = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
    let trees = mounts::parse(v2);
    assert_eq!(trees.len(), 1);
    assert_eq!(
        (trees[0].point.as_str(), trees[0].v1.as_ref()),
        ("/sys/fs/cgroup", None)
    );

    let hybrid = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /odd\\040place/cpu,cpuacct rw shared:1 - cgroup cgroup rw,cpu,cpuacct
33 31 0:29 /docker/1 /inner/cpu rw - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
    let trees = mounts::parse(hybrid);
    assert_eq!(trees.len(), 3);
    assert_eq!(trees[0].point, "/odd place/cpu,cpuacct");
    assert_eq!(
        trees[0].v1,
        Some(vec![Controller::Cpu, Controller::Cpuacct])
    );
    assert_eq!(trees[1].label, "systemd");
    assert_eq!(trees[1].v1, Some(vec![Controller::Other]));
    assert!(trees[2].v1.is_none());
    assert!(mounts::parse("garbage\n\n1 2 - cgroup").is_empty());
}

#[test]
fn statistics_are_parsed() {
    let cpu = parse_cpu_stat(
        "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnice_usec 0\nnr_periods 7\nnr_throttled 3\nthrottled_usec 9\n",
    );
    assert_eq!(
        (cpu.usage_ns, cpu.user_ns, cpu.system_ns),
        (1_500_000, 1_000_000, 500_000)
    );
    assert_eq!(
        (cpu.periods, cpu.throttled_periods, cpu.throttled_ns),
        (7, 3, 9000)
    );

    let io = parse_io_stat(
        "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n253:1 rbytes=5 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n8:16 \n",
    );
    assert_eq!(
        (io.read_bytes, io.write_bytes, io.reads, io.writes),
        (15, 20, 2, 2)
    );
    assert_eq!(
        parse_blkio("8:0 Read 3\n8:0 Write 4\n8:0 Sync 1\n8:16 Read 1\nTotal 8\n"),
        (4, 4)
    );

    let psi = Pressure::parse(
        "some avg10=1.50 avg60=0.25 avg300=0.10 total=123\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n",
    )
    .unwrap();
    assert!((psi.some.avg10 - 1.5).abs() < f64::EPSILON);
    assert_eq!((psi.some.total_ns, psi.full.total_ns), (123_000, 7000));
    assert!(Pressure::parse("").is_none());
}

#[test]
fn device_rules_are_written_as_the_kernel_parses_them() {
    let rule = |kind, major, minor, access: &str| DeviceRule {
        verdict: DeviceVerdict::Allow,
        kind,
        major,
        minor,
        access: access.to_owned(),
    };
    assert_eq!(rule(DeviceKind::All, None, None, "rwm").line(), "a");
    assert_eq!(
        rule(DeviceKind::Char, Some(1), Some(3), "mr").line(),
        "c 1:3 rm"
    );
    assert_eq!(
        rule(DeviceKind::Block, None, None, "\n9").line(),
        "b *:* rwm"
    );
}

#[test]
fn oci_ceilings_round_trip() {
    assert_eq!(Ceiling::from_oci(-1), Ceiling::Unlimited);
    assert_eq!(Ceiling::from_oci(5).to_oci(), 5);
    assert_eq!(Ceiling::Unlimited.to_oci(), -1);
}
