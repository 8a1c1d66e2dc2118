//! The limits and figures of running containers as another reader of the kernel's cgroup files has them: the crate
//! cgroups-rs, as Kata Containers uses it. What the CRI says has to agree with it.

use std::fs;

use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::cpuacct::CpuAcctController;
use cgroups_rs::fs::cpuset::CpuSetController;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;
use cgroups_rs::fs::{Cgroup, MaxValue, hierarchies};
use cri_api::runtime::v1::{
    ContainerStats, ContainerStatsRequest, LinuxContainerResources, UpdateContainerResourcesRequest,
};
use e2e::request::{BUSYBOX, ContainerParts, container, idle};
use e2e::{Container, Daemon, call, must};

const MIB: u64 = 1 << 20;

/// A container's group as the crate finds it.
fn group(run: &Container<'_>) -> Cgroup {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", run.pid())).unwrap();
    let unified = hierarchies::is_cgroup2_unified_mode();
    let path = text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let memory = controllers.split(',').any(|name| name == "memory");
        (memory || unified).then_some(path)
    });
    // A path with its slash in front would replace the mount point, and everything in the group would read as 0.
    let path = path.unwrap().trim_start_matches('/');
    let group = Cgroup::load(hierarchies::auto(), path);
    assert!(group.exists(), "{path}");
    group
}

/// The weight of v2 for shares of v1, as runc 1.3.2 and crun 1.23 reckon it.
fn weight(shares: i64) -> u64 {
    match shares {
        256 => 35,
        512 => 59,
        1024 => 100,
        other => panic!("no weight is known for {other} shares"),
    }
}

/// What the CRI says of a container's resources, and what the crate reads of them.
#[track_caller]
fn compare(run: &Container<'_>) {
    let said = run.status().resources.and_then(|of| of.linux).unwrap();
    let group = group(run);
    let cpu: &CpuController = group.controller_of().unwrap();
    let shares = match group.v2() {
        true => weight(said.cpu_shares),
        false => u64::try_from(said.cpu_shares).unwrap(),
    };
    assert_eq!(cpu.shares().unwrap(), shares);
    assert_eq!(cpu.cfs_quota().unwrap(), said.cpu_quota);
    assert_eq!(
        i64::try_from(cpu.cfs_period().unwrap()),
        Ok(said.cpu_period)
    );
    let memory: &MemController = group.controller_of().unwrap();
    assert_eq!(
        memory.memory_stat().limit_in_bytes,
        said.memory_limit_in_bytes
    );
    let pids: &PidController = group.controller_of().unwrap();
    let wanted = said.unified["pids.max"].parse().unwrap();
    assert_eq!(pids.get_pid_max().unwrap(), MaxValue::Value(wanted));
    let cpuset: &CpuSetController = group.controller_of().unwrap();
    let cpus: Vec<_> = cpuset.cpuset().cpus;
    assert_eq!((said.cpuset_cpus.as_str(), cpus), ("0", vec![(0, 0)]));
}

#[test]
fn limits_are_those_that_another_reader_finds() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("witness");
    let mut config = idle("c");
    let resources = config.resources();
    resources.cpu_quota = 25_000;
    resources.cpu_period = 50_000;
    resources.cpu_shares = 512;
    resources.memory_limit_in_bytes = 64 << 20;
    resources.cpuset_cpus = "0".into();
    resources.unified.insert("pids.max".into(), "77".into());
    let run = pod.start(config);
    compare(&run);
    let update = |resources: LinuxContainerResources| {
        let request = UpdateContainerResourcesRequest {
            container_id: run.id.clone(),
            linux: Some(resources),
            ..UpdateContainerResourcesRequest::default()
        };
        let answer = call(daemon.clients().runtime.update_container_resources(request));
        must("UpdateContainerResources", answer);
        compare(&run);
    };
    update(LinuxContainerResources {
        cpu_shares: 1024,
        ..LinuxContainerResources::default()
    });
    update(LinuxContainerResources {
        cpu_quota: 40_000,
        cpu_period: 100_000,
        ..LinuxContainerResources::default()
    });
    update(LinuxContainerResources {
        memory_limit_in_bytes: 96 << 20,
        cpu_shares: 256,
        ..LinuxContainerResources::default()
    });
    update(LinuxContainerResources {
        unified: [("pids.max".to_owned(), "55".to_owned())].into(),
        ..LinuxContainerResources::default()
    });
}

fn stats(run: &Container<'_>) -> ContainerStats {
    let request = ContainerStatsRequest {
        container_id: run.id.clone(),
    };
    let mut client = run.daemon.clients().runtime;
    let answer = must("ContainerStats", call(client.container_stats(request)));
    answer.stats.unwrap()
}

/// CPU time of a group in nanoseconds.
fn cpu_time(group: &Cgroup) -> u64 {
    if !group.v2() {
        let accounts: &CpuAcctController = group.controller_of().unwrap();
        return accounts.cpuacct().usage;
    }
    let cpu: &CpuController = group.controller_of().unwrap();
    let stat = cpu.cpu().stat;
    let micros = stat
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "));
    1000 * micros.unwrap().parse::<u64>().unwrap()
}

#[test]
fn figures_are_those_that_another_reader_finds() {
    let daemon = Daemon::start();
    let mut config = container("c", BUSYBOX, &["probe", "hog", "50"]);
    config.resources().memory_limit_in_bytes = 128 << 20;
    let run = daemon.run_named("witness").start(config);
    run.wait_for("holding");
    run.sh("probe cpu 1");
    let group = group(&run);
    let memory: &MemController = group.controller_of().unwrap();
    // Time only grows: what the CRI says in between lies in between.
    let before = cpu_time(&group);
    let said = stats(&run);
    let after = cpu_time(&group);
    let used = said.cpu.unwrap().usage_core_nano_seconds.unwrap().value;
    // v2 tells microseconds.
    assert!(
        (before..=after + 999).contains(&used),
        "{before} {used} {after}"
    );
    let found = memory.memory_stat();
    let said = said.memory.unwrap();
    let usage = said.usage_bytes.unwrap().value;
    assert!(
        usage.abs_diff(found.usage_in_bytes) < 2 * MIB,
        "{usage} {found:?}"
    );
    let inactive = match group.v2() {
        true => found.stat.inactive_file,
        false => found.stat.total_inactive_file,
    };
    let working = said.working_set_bytes.unwrap().value;
    let wanted = found.usage_in_bytes.saturating_sub(inactive);
    assert!(working.abs_diff(wanted) < 2 * MIB, "{working} {wanted}");
    let available = said.available_bytes.unwrap().value;
    let limit = u64::try_from(found.limit_in_bytes).unwrap();
    assert_eq!(available, limit - working);
    let pids: &PidController = group.controller_of().unwrap();
    assert_eq!(pids.get_pid_current().unwrap(), 1);
    assert_eq!(group.procs().len(), 1);
}
