use oci_spec::runtime::LinuxTimeOffset;

use super::*;
use holdfast_wire::plan::{ClockOffsets, PausePlan};

fn pause_of(all: Vec<LinuxNamespace>, clocks: &[&str]) -> Result<PausePlan, PlanError> {
    let mut spec = spec();
    let mut offset = LinuxTimeOffset::default();
    offset.set_secs(Some(-2)).set_nanosecs(Some(5));
    let offsets = clocks
        .iter()
        .map(|clock| ((*clock).to_owned(), offset.clone()));
    linux(&mut spec)
        .set_namespaces(Some(all))
        .set_time_offsets(Some(offsets.collect()));
    pause(&spec, None, &FilterCache::default())
}

#[test]
fn a_pause_joins_a_network_or_makes_one() {
    let net = |path| vec![namespace(LinuxNamespaceType::Network, path)];
    let joined = pause_of(net(Some("/run/netns/other")), &[]).unwrap();
    assert!(joined.join_net && !joined.new_net);
    let made = pause_of(net(None), &[]).unwrap();
    assert!(made.new_net && !made.join_net && !made.new_cgroup);
    assert_eq!(made.time, None);
}

#[test]
fn clocks_need_a_namespace_and_it_needs_them() {
    let time = || vec![namespace(LinuxNamespaceType::Time, None)];
    let plan = pause_of(time(), &["boottime"]).unwrap();
    let offsets = ClockOffsets {
        monotonic: (0, 0),
        boottime: (-2, 5),
    };
    assert_eq!(plan.time, Some(offsets));
    for (all, clocks) in [
        (time(), &[][..]),
        (Vec::new(), &["monotonic"]),
        (time(), &["realtime"]),
    ] {
        let error = pause_of(all, clocks).unwrap_err().to_string();
        assert!(error.starts_with("linux.timeOffsets"), "{error}");
    }
}

#[test]
fn a_container_makes_or_joins_what_the_spec_says() {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Time, Uts};
    let made = |all: &[(LinuxNamespaceType, Option<&str>)]| {
        let mut spec = spec();
        let all = all.iter().map(|(kind, path)| namespace(*kind, *path));
        linux(&mut spec).set_namespaces(Some(all.collect()));
        let plan = Around::default().compile(&spec).unwrap();
        [
            plan.new_cgroup,
            plan.join_cgroup,
            plan.new_uts,
            plan.new_ipc,
        ]
    };
    let plain = [
        (Mount, None),
        (Uts, Some("/proc/7/ns/uts")),
        (Ipc, Some("/proc/7/ns/ipc")),
        (Time, Some("/proc/7/ns/time")),
        (Cgroup, None),
    ];
    assert_eq!(made(&plain), [true, false, false, false]);
    let other = [
        (Mount, None),
        (Uts, None),
        (Ipc, None),
        (Cgroup, Some("/proc/7/ns/cgroup")),
    ];
    assert_eq!(made(&other), [false, true, true, true]);
}
