//! What is measured, suite by suite.

use std::fs;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use cri_api::runtime::v1::ContainerState;
use e2e::{leaks, machine as mounted};

use super::calls::Sandbox;
use super::request;
use super::sides::{Side, Sides};
use crate::machine;
use crate::measures::{BIG, Life, Network, STEPS, TICKS, build_big};
use crate::table::{Beside, Samples, Table};

/// The command of a container that only has to be there.
const IDLE: [&str; 2] = ["sleep", "100000"];

/// How long what a pod leaves to threads of the kernel and of runtimes may take, counted as its CPU time.
const SETTLE: Duration = Duration::from_millis(60);

/// Pods of the suites with many of them.
const CROWD: usize = 100;

/// How many times faster than the peer a start is to be, which depends on the version of cgroups.
#[derive(Debug)]
pub struct Goals {
    host: f64,
    bridge: f64,
}

impl Goals {
    /// On cgroup v1 the hierarchies alone cost a third.
    pub fn of_this_machine() -> Self {
        let [host, bridge] = match mounted::cgroup_version() {
            "cgroup v1" => [8.0, 14.0],
            _ => [10.0, 18.0],
        };
        Self { host, bridge }
    }
}

/// The lives of the pods of one side.
#[derive(Default)]
struct Lives {
    life: Life,
    busy: u64,
    count: usize,
}

impl Lives {
    fn live(&mut self, side: &Side<'_>, name: &str, network: Network) {
        let busy = machine::busy();
        let config = request::pod(side.place, name, network);
        let container = request::container(side.place, &IDLE);
        let [run, create, start, cold, exec, teardown] = &mut self.life.0;
        let calls = &side.calls;
        let begin = Instant::now();
        let pod = calls.run(config);
        run.add(begin.elapsed());
        let created = Instant::now();
        let id = calls.create(&pod, &container);
        create.add(created.elapsed());
        let started = Instant::now();
        calls.start(&id);
        start.add(started.elapsed());
        cold.add(begin.elapsed());
        for _ in 0..3 {
            let asked = Instant::now();
            calls.exec(&id, &["/bin/true"]);
            exec.add(asked.elapsed());
        }
        let ended = Instant::now();
        calls.stop(&id);
        calls.remove_pod(&pod);
        teardown.add(ended.elapsed());
        thread::sleep(SETTLE);
        self.busy += machine::busy() - busy;
        self.count += 1;
    }

    /// Medians of the steps in milliseconds, and the CPU time of a life.
    fn figures(self) -> ([f64; 6], f64) {
        let medians = self.life.0.map(|samples| millis(samples.median()));
        let cpu = self.busy as f64 / TICKS * 1e3 / self.count.max(1) as f64;
        (medians, cpu)
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Lets pods of all sides live in turns. The first life of each warms up and is not counted.
fn in_turns<const N: usize>(
    sides: [Side<'_>; N],
    what: &str,
    network: Network,
    count: usize,
) -> [Lives; N] {
    let mut lives: [Lives; N] = std::array::from_fn(|_| Lives::default());
    for number in 0..=count {
        let name = format!("{what}-{number}");
        for (side, lives) in sides.iter().zip(&mut lives) {
            match number {
                0 => Lives::default().live(side, &name, network),
                _ => lives.live(side, &name, network),
            }
        }
    }
    lives
}

/// Rows of the steps of a life; `goals` are for cold start, ExecSync, teardown and CPU.
fn rows(table: &mut Table, ours: Lives, peer: &([f64; 6], f64), goals: [Option<f64>; 4]) {
    let [cold, exec, teardown, cpu_goal] = goals;
    let (medians, cpu) = ours.figures();
    let goals = [None, None, None, cold, exec, teardown];
    for ((what, goal), (ours, peer)) in STEPS.iter().zip(goals).zip(medians.iter().zip(peer.0)) {
        table.beside(&Beside::less(what, peer, *ours, "ms").goal(goal));
    }
    let row = Beside::less("machine CPU for such a life", peer.1, cpu, "ms");
    table.beside(&row.goal(cpu_goal));
}

/// Memory of daemons that have just started.
pub fn fresh(table: &mut Table, sides: &Sides) {
    table.title("daemon, just started");
    thread::sleep(Duration::from_secs(1));
    let [peer, ours] = [sides.peer(), sides.bridge()].map(|side| memory(&side, 0)[0]);
    table.beside(&Beside::less("PSS of the daemon", peer, ours, "MiB").most(5.0));
}

/// PSS of a daemon in MiB, and that of shims and pauses in KiB for each of `pods`.
fn memory(side: &Side<'_>, pods: usize) -> [f64; 2] {
    let [mut owner, mut each] = [machine::pss(side.pid), 0.0];
    for line in leaks::survivors(side.place) {
        let Some((pid, command)) = line.split_once(' ') else {
            continue;
        };
        let pid: i32 = pid.parse().unwrap_or_default();
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        match name.trim() {
            "sleep" | "registry" => {}
            _ if pid == side.pid => {}
            // One for each daemon.
            "holdfast-shims" => owner += machine::pss(pid),
            _ if command.is_empty() => {}
            _ => each += machine::pss(pid),
        }
    }
    [owner / 1024.0, each / pods.max(1) as f64]
}

/// Pulls of a large image from loopback.
pub fn pulls(table: &mut Table, sides: &Sides) {
    table.title("pull of a 139 MB image from loopback");
    build_big();
    let all = [sides.peer(), sides.bridge()];
    let mut figures = [(); 2].map(|()| (Samples::default(), Vec::new()));
    for _ in 0..2 {
        for (side, (times, cpu)) in all.iter().zip(&mut figures) {
            let (busy, begin) = (machine::busy(), Instant::now());
            side.calls.pull(BIG);
            times.add(begin.elapsed());
            cpu.push((machine::busy() - busy) as f64 / TICKS * 1e3);
            side.calls.remove_image(BIG);
            // File systems avoid inodes that were freed just now, and deletion goes on in the background.
            thread::sleep(Duration::from_secs(6));
        }
    }
    let [peer, ours] = figures.map(|(times, cpu)| {
        let mean = cpu.iter().sum::<f64>() / cpu.len() as f64;
        (millis(times.median()), mean)
    });
    table.beside(&Beside::less("time", peer.0, ours.0, "ms").goal(Some(6.0)));
    table.beside(&Beside::less("machine CPU", peer.1, ours.1, "ms").goal(Some(4.0)));
}

/// Lives and storms on the network of the machine.
pub fn host(table: &mut Table, sides: &Sides, goals: &Goals, count: usize) {
    table.title("one pod after the other, host network");
    let all = [sides.bridge(), sides.peer()];
    let [ours, peer] = in_turns(all, "host", Network::Host, count);
    let wanted = [Some(goals.host), Some(9.0), None, Some(6.0)];
    rows(table, ours, &peer.figures(), wanted);
    let [ours, peer] = storms([sides.bridge(), sides.peer()], Network::Host);
    let row = Beside::more("pods a second, 32 at once", peer, ours, "/s");
    table.beside(&row.goal(Some(14.0)));
}

/// Lives and storms in pods' own networks: ours on the bridge and by plugins, and the peer's plugins.
pub fn networks(table: &mut Table, sides: &Sides, goals: &Goals, count: usize) {
    let all = || [sides.bridge(), sides.plugins(), sides.peer()];
    table.title("one pod after the other, bridge, host-local and portmap");
    let [bridge, plugins, peer] = in_turns(all(), "own", Network::Pod, count);
    let peer = peer.figures();
    let wanted = [Some(8.0), Some(9.0), Some(8.0), Some(6.0)];
    rows(table, plugins, &peer, wanted);
    let [on_bridge, by_plugins, others] = storms(all(), Network::Pod);
    let row = Beside::more("pods a second, 32 at once", others, by_plugins, "/s");
    table.beside(&row.goal(Some(10.0)));
    table.title("ours on the built-in bridge, beside the peer's plugins");
    let wanted = [Some(goals.bridge), None, Some(20.0), Some(6.0)];
    rows(table, bridge, &peer, wanted);
    let row = Beside::more("pods a second, 32 at once", others, on_bridge, "/s");
    table.beside(&row.goal(Some(18.0)));
}

/// Lives in a network that masquerades, as most clusters have it.
pub fn masquerading(table: &mut Table, sides: &Sides, count: usize) {
    table.title("the same plugins with ipMasq");
    sides.configure(true);
    // Runtimes watch the directory.
    thread::sleep(Duration::from_secs(1));
    let all = [sides.plugins(), sides.peer()];
    let [ours, peer] = in_turns(all, "masq", Network::Pod, count.div_ceil(2));
    rows(
        table,
        ours,
        &peer.figures(),
        [Some(8.0), None, Some(8.0), None],
    );
    sides.configure(false);
    thread::sleep(Duration::from_secs(1));
}

/// Pods a second of each side, of two rounds of 64 pods that 32 clients start.
fn storms<const N: usize>(sides: [Side<'_>; N], network: Network) -> [f64; N] {
    let mut rates = [0.0; N];
    for round in 0..2 {
        for (side, rate) in sides.iter().zip(&mut rates) {
            *rate += storm(side, network, round) / 2.0;
        }
    }
    rates
}

fn storm(side: &Side<'_>, network: Network, round: usize) -> f64 {
    let start = |name: String| {
        let pod = side.calls.run(request::pod(side.place, &name, network));
        let container = request::container(side.place, &IDLE);
        side.calls.start(&side.calls.create(&pod, &container));
        pod
    };
    let begin = Instant::now();
    let pods: Vec<Sandbox> = of_32(&|client| {
        let name = |number| format!("storm-{network:?}-{round}-{client}-{number}").to_lowercase();
        (0..2).map(|number| start(name(number))).collect()
    });
    let rate = pods.len() as f64 / begin.elapsed().as_secs_f64();
    remove_all(side, &pods);
    rate
}

/// The rate of 32 clients at once.
fn of_32<T: Send>(work: &(dyn Fn(usize) -> Vec<T> + Sync)) -> Vec<T> {
    thread::scope(|scope| {
        let clients: Vec<_> = (0..32)
            .map(|client| scope.spawn(move || work(client)))
            .collect();
        let join = |client: ScopedJoinHandle<'_, Vec<T>>| {
            client.join().unwrap_or_else(|_| panic!("a client failed"))
        };
        clients.into_iter().flat_map(join).collect()
    })
}

fn remove_all(side: &Side<'_>, pods: &[Sandbox]) {
    of_32(&|client| {
        let own = pods.iter().skip(client).step_by(32);
        own.for_each(|pod| side.calls.remove_pod(pod));
        Vec::<()>::new()
    });
}

/// A hundred pods with network plugins: memory, reads, lives among them.
pub fn crowd(table: &mut Table, sides: &Sides, count: usize) {
    table.title("among 100 pods, bridge, host-local and portmap");
    let all = || [sides.plugins(), sides.peer()];
    let crowds = all().map(|side| {
        let one = |number| {
            let name = format!("crowd-{number}");
            let pod = side
                .calls
                .run(request::pod(side.place, &name, Network::Pod));
            let container = request::container(side.place, &IDLE);
            let id = side.calls.create(&pod, &container);
            side.calls.start(&id);
            (pod, id)
        };
        (0..CROWD).map(one).collect::<Vec<_>>()
    });
    let lives = in_turns(all(), "among", Network::Pod, count.div_ceil(2));
    let [ours, peer] = lives.map(Lives::figures);
    for (step, goal) in [(3, 8.0), (5, 8.0)] {
        let row = Beside::less(STEPS[step], peer.0[step], ours.0[step], "ms");
        table.beside(&row.goal(Some(goal)));
    }
    let ids = |at: usize| {
        crowds[at]
            .iter()
            .map(|(_, id)| id.as_str())
            .collect::<Vec<_>>()
    };
    let [ours, peer] = [
        reads(&sides.plugins(), &ids(0)),
        reads(&sides.peer(), &ids(1)),
    ];
    let names = ["ContainerStatus", "ListContainers", "ListContainerStats"];
    for (at, (what, goal)) in names.iter().zip([4.0, 4.0, 60.0]).enumerate() {
        table.beside(&Beside::less(what, peer[at], ours[at], "ms").goal(Some(goal)));
    }
    let [ours, peer] = all().map(|side| memory(&side, CROWD));
    table.beside(&Beside::less("PSS of the daemon", peer[0], ours[0], "MiB").most(10.0));
    table.beside(&Beside::less("PSS of shim and pause, a pod", peer[1], ours[1], "KiB").most(80.0));
    for (side, crowd) in all().iter().zip(crowds) {
        let pods: Vec<_> = crowd.into_iter().map(|(pod, _)| pod).collect();
        remove_all(side, &pods);
    }
}

/// Medians of ContainerStatus, ListContainers and ListContainerStats.
fn reads(side: &Side<'_>, ids: &[&str]) -> [f64; 3] {
    let timed = |times, work: &dyn Fn(usize)| millis(Samples::of(times, work).median());
    let status = timed(300, &|number| {
        side.calls.state(ids[number % ids.len()]);
    });
    let list = timed(100, &|_| assert_eq!(side.calls.list(), CROWD, "containers"));
    let stats = timed(10, &|_| assert_eq!(side.calls.stats(), CROWD, "containers"));
    [status, list, stats]
}

/// Output of containers into their logs.
pub fn output(table: &mut Table, sides: &Sides) {
    const LOADS: [(&str, usize, usize, f64); 2] = [
        ("64 KiB lines", 65_536, 1 << 28, 4.0),
        ("lines of 128 B, a write each", 128, 1 << 27, 3.0),
    ];
    table.title("container output into the log, best of three rounds");
    let all = [sides.bridge(), sides.peer()];
    let pods = all.each_ref().map(|side| {
        let config = request::pod(side.place, "output", Network::Host);
        side.calls.run(config)
    });
    for (what, line, total, goal) in LOADS {
        let mut best = [0.0_f64; 2];
        for round in 0..4 {
            for (at, side) in all.iter().enumerate() {
                let rate = write(side, &pods[at], line, total);
                // The first pass meets memory that was never touched.
                best[at] = if round == 0 { 0.0 } else { best[at].max(rate) };
            }
        }
        let row = Beside::more(what, best[1], best[0], "MB/s");
        table.beside(&row.goal(Some(goal)));
    }
    for (side, pod) in all.iter().zip(&pods) {
        side.calls.remove_pod(pod);
    }
}

/// Megabytes a second from the start of a container until all that it wrote is in its log.
fn write(side: &Side<'_>, pod: &Sandbox, line: usize, total: usize) -> f64 {
    let words = [total, line, line].map(|number| number.to_string());
    let command = ["/bin/probe", "out", &words[0], &words[1], &words[2]];
    let id = side
        .calls
        .create(pod, &request::container(side.place, &command));
    let log = side.place.logs().join("output/main.log");
    let logged = || fs::metadata(&log).map_or(0, |about| about.len());
    let begin = Instant::now();
    side.calls.start(&id);
    let limit = Duration::from_secs(60);
    while side.calls.state(&id) != ContainerState::ContainerExited || logged() < total as u64 {
        assert!(begin.elapsed() < limit, "{} bytes are logged", logged());
        thread::sleep(Duration::from_millis(2));
    }
    let rate = total as f64 / 1e6 / begin.elapsed().as_secs_f64();
    side.calls.remove(&id);
    let _ = fs::remove_file(&log);
    rate
}
