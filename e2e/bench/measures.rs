//! What is measured, each against the budgets of the project.

use std::time::{Duration, Instant};

use cri_api::runtime::v1::{
    ContainerStatsFilter, ListContainerStatsRequest, NamespaceMode, PodSandboxConfig,
};
use e2e::request::{self, PodParts};
use e2e::{Container, Daemon, Pod, call, must, program};

use crate::machine;
use crate::table::{Samples, Table, verdict};

/// Clock ticks in a second: sysconf(_SC_CLK_TCK) on every Linux of today.
pub const TICKS: f64 = 100.0;

/// Which network the pods have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Their own, on the bridge.
    Pod,
    /// The network of the machine.
    Host,
}

fn config(daemon: &Daemon, name: &str, network: Network) -> PodSandboxConfig {
    let mut config = daemon.pod(name);
    if network == Network::Host {
        config.namespaces().network = NamespaceMode::Node.into();
    }
    config
}

/// The steps of a pod's life.
pub const STEPS: [&str; 6] = [
    "RunPodSandbox",
    "CreateContainer",
    "StartContainer",
    "pod cold start (the three)",
    "ExecSync of /bin/true",
    "StopContainer(0), Stop- and RemovePodSandbox",
];

/// How long each of [`STEPS`] took.
#[derive(Default)]
pub struct Life(pub [Samples; 6]);

/// The life of one pod, step by step.
pub fn lifecycle(table: &mut Table, daemon: &Daemon, count: usize, network: Network) {
    let mut life = Life::default();
    let busy = machine::busy();
    for number in 0..count {
        let name = format!("life-{network:?}-{number}").to_lowercase();
        life.live(daemon, &name, network);
    }
    let cpu = (machine::busy() - busy) as f64 / TICKS * 1e3 / count as f64;
    let pod = network == Network::Pod;
    let cold = if pod { 5.0 } else { 3.0 };
    let budgets = [None, None, None, Some(cold), Some(1.5), Some(10.0)];
    for ((what, samples), budget) in STEPS.iter().zip(life.0).zip(budgets) {
        table.times(what, samples, budget);
    }
    let budget = if pod {
        verdict(cpu <= 8.0, "≤ 8 ms")
    } else {
        String::new()
    };
    table.figure("machine CPU for such a life", cpu, "ms", &budget);
}

impl Life {
    /// Lets one pod live.
    pub fn live(&mut self, daemon: &Daemon, name: &str, network: Network) {
        let config = config(daemon, name, network);
        let [run, create, start, cold, exec, teardown] = &mut self.0;
        let begin = Instant::now();
        let pod = must("RunPodSandbox", daemon.try_run(&config));
        run.add(begin.elapsed());
        let created = Instant::now();
        let container = request::idle("main");
        let container = must(
            "CreateContainer",
            daemon.try_create(&pod, &config, &container),
        );
        create.add(created.elapsed());
        let started = Instant::now();
        must("StartContainer", daemon.try_start(&container));
        start.add(started.elapsed());
        cold.add(begin.elapsed());
        for _ in 0..3 {
            let asked = Instant::now();
            must("ExecSync", daemon.try_exec(&container, &["/bin/true"], 0));
            exec.add(asked.elapsed());
        }
        let ended = Instant::now();
        must("StopContainer", daemon.try_stop(&container, 0));
        must("StopPodSandbox", daemon.try_stop_pod(&pod));
        must("RemovePodSandbox", daemon.try_remove_pod(&pod));
        teardown.add(ended.elapsed());
    }
}

/// Pods started by 32 clients at once.
pub fn storm(table: &mut Table, daemon: &Daemon) {
    for (network, budget) in [(Network::Pod, 250.0), (Network::Host, 400.0)] {
        let each = 4;
        let begin = Instant::now();
        let pods: Vec<String> = std::thread::scope(|scope| {
            let start = |client: usize| {
                move || -> Vec<String> {
                    let name =
                        |number| format!("storm-{network:?}-{client}-{number}").to_lowercase();
                    (0..each)
                        .map(|number| start_one(daemon, &name(number), network))
                        .collect()
                }
            };
            let clients: Vec<_> = (0..32).map(|client| scope.spawn(start(client))).collect();
            let join = |client: std::thread::ScopedJoinHandle<'_, Vec<String>>| {
                client.join().unwrap_or_else(|_| panic!("a client failed"))
            };
            clients.into_iter().flat_map(join).collect()
        });
        let rate = pods.len() as f64 / begin.elapsed().as_secs_f64();
        let budget = verdict(rate >= budget, &format!("≥ {budget}/s"));
        table.figure(
            &format!("pods started, {network:?} network").to_lowercase(),
            rate,
            "pods/s",
            &budget,
        );
        for pod in pods {
            must("RemovePodSandbox", daemon.try_remove_pod(&pod));
        }
    }
}

fn start_one(daemon: &Daemon, name: &str, network: Network) -> String {
    let config = config(daemon, name, network);
    let pod = must("RunPodSandbox", daemon.try_run(&config));
    let container = must(
        "CreateContainer",
        daemon.try_create(&pod, &config, &request::idle("main")),
    );
    must("StartContainer", daemon.try_start(&container));
    pod
}

/// A hundred pods of one container each: memory, reads, a restart.
pub fn crowd(table: &mut Table, daemon: &Daemon) {
    const COUNT: usize = 100;
    let pods: Vec<(Pod<'_>, Container<'_>)> = (0..COUNT)
        .map(|number| {
            let pod = daemon.run_named(&format!("crowd-{number}"));
            let container = pod.start(request::idle("main"));
            if number == 0 {
                memory(table, daemon, &[&pod]);
            }
            (pod, container)
        })
        .collect();
    memory(
        table,
        daemon,
        &pods.iter().map(|(pod, _)| pod).collect::<Vec<_>>(),
    );
    let processes: Vec<i32> = pods
        .iter()
        .map(|(pod, _)| machine::parent(pod.pause()))
        .collect();
    idle(table, daemon, &processes);
    reads(table, daemon, &pods);
    let (took, mut samples) = (
        || {
            daemon.kill9();
            daemon.restart()
        },
        Samples::default(),
    );
    samples.add(took());
    table.times(
        "restart with 100 pods until it answers",
        samples,
        Some(200.0),
    );
}

fn memory(table: &mut Table, daemon: &Daemon, pods: &[&Pod<'_>]) {
    let owner = machine::pss(daemon.pid());
    let each: f64 = pods
        .iter()
        .map(|pod| {
            let pause = pod.pause();
            machine::pss(pause) + machine::pss(machine::parent(pause))
        })
        .sum();
    let count = pods.len() as f64;
    table.figure(
        &format!("PSS of the daemon, {count} pods"),
        owner / 1024.0,
        "MiB",
        &verdict(owner <= 10240.0, "≤ 10 MiB without pods"),
    );
    table.figure(
        "PSS of shim and pause, each pod",
        each / count / 1024.0,
        "MiB",
        "",
    );
    if pods.len() > 1 {
        let all = (owner + each) / count / 1024.0;
        table.figure(
            "the same with the daemon's share",
            all,
            "MiB",
            &verdict(all <= 0.25, "≤ 0.25 MiB"),
        );
    }
}

fn idle(table: &mut Table, daemon: &Daemon, shims: &[i32]) {
    const WINDOW: Duration = Duration::from_secs(3);
    let total = || -> u64 {
        shims.iter().map(|pid| machine::ticks(*pid)).sum::<u64>() + machine::ticks(daemon.pid())
    };
    let before = total();
    std::thread::sleep(WINDOW);
    let share = (total() - before) as f64 / TICKS / WINDOW.as_secs_f64() * 100.0;
    table.figure(
        "CPU of idle pods, all processes",
        share,
        "% of a core",
        &verdict(share < 0.5, "0"),
    );
}

fn reads(table: &mut Table, daemon: &Daemon, pods: &[(Pod<'_>, Container<'_>)]) {
    let status = Samples::of(300, &|number| {
        let (_, container) = &pods[number % pods.len()];
        must("ContainerStatus", daemon.try_status_brief(&container.id));
    });
    table.times("ContainerStatus", status, Some(0.15));
    let list = Samples::of(100, &|_| drop(daemon.containers()));
    table.times("ListContainers of 100", list, Some(0.3));
    let stats = Samples::of(20, &|_| {
        let request = ListContainerStatsRequest {
            filter: None::<ContainerStatsFilter>,
        };
        must(
            "ListContainerStats",
            call(daemon.clients().runtime.list_container_stats(request)),
        );
    });
    table.times("ListContainerStats of 100", stats, Some(8.0));
}

/// The large image of [`build_big`].
pub const BIG: &str = "registry.holdfast.test/bench/big:1";

/// Makes the large image, unless the registry has it.
pub fn build_big() {
    let registry = e2e::registry::Registry::plain();
    let builder = program::source("e2e/images/build_images.py")
        .display()
        .to_string();
    program::run(
        "python3",
        [&builder, "--registry", registry.address(), "--set", "bench"].map(str::to_owned),
    )
    .ok();
}

/// A pull from a registry on this machine.
pub fn pull(table: &mut Table, daemon: &Daemon) {
    build_big();
    let mut samples = Samples::default();
    for _ in 0..5 {
        let begin = Instant::now();
        daemon.pull(BIG);
        samples.add(begin.elapsed());
        must("RemoveImage", daemon.try_remove_image(BIG));
    }
    table.times("pull of a 139 MB image from loopback", samples, Some(800.0));
}
