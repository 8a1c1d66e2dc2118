//! What a client does: a stream of steps that follows from the seed, the round and the client's number.
//!
//! Steps name slots and not ids: which pod is in a slot when the step is made is known at that time only.

use std::time::Duration;

use crate::random::Random;

/// Pods that all clients of a round share: few, so that they meet.
pub const PODS: usize = 4;

/// Containers of a pod.
pub const CONTAINERS: usize = 2;

/// Images that are pulled and removed.
pub const IMAGES: [&str; 2] = [
    "registry.holdfast.test/layers/gzip:1",
    "registry.holdfast.test/layers/whiteouts:1",
];

/// One thing that a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    RunPod,
    StopPod,
    RemovePod,
    PodStatus,
    ListPods,
    Create,
    Start,
    /// With seconds of grace.
    Stop(i64),
    Remove,
    ContainerStatus,
    ListContainers,
    /// The command ends with this code.
    Exec(i32),
    Update,
    ReopenLog,
    Pull,
    RemoveImage,
    ListImages,
    PodStats,
    ContainerStats,
    Metrics,
    Unknown,
    Disturb(Disturbance),
}

/// What the storm does to the daemon or its surroundings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    KillDaemon,
    RestartDaemon,
    KillShim,
    KillPause,
    KillContainer,
    /// Kills what runs beside a container's first process.
    KillOthers,
    /// A step of the daemon or the shim fails with an errno, for some time.
    Fault {
        place: usize,
        errno: i32,
    },
    /// The disk is full for some time.
    FillDisk,
    /// The network plugin fails, or hangs.
    BreakPlugin {
        hang: bool,
    },
}

/// A step of a client.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub op: Op,
    /// Slot of the pod.
    pub pod: usize,
    /// Slot of the container.
    pub container: usize,
    /// Chooses among older things in the slot.
    pub choice: u64,
    /// When the client goes away without waiting for the answer.
    pub cancel: Option<Duration>,
    /// How long something goes wrong.
    pub lasting: Duration,
    /// How long the client rests afterwards.
    pub rest: Duration,
}

/// The kinds of rounds: what their daemon lives on, and what goes wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// The built-in bridge, and images from a registry.
    Plain,
    /// Network plugins, which fail and hang.
    Plugins,
    /// A test build with steps that fail.
    Faults,
    /// Directories on a small file system.
    SmallDisk,
}

impl Ground {
    /// The ground on which a round of this number runs.
    pub fn of(seed: u64, round: u64) -> Self {
        const ALL: [Ground; 4] = [
            Ground::Plain,
            Ground::Faults,
            Ground::Plugins,
            Ground::SmallDisk,
        ];
        ALL[Random::new(&[seed])
            .index(ALL.len())
            .wrapping_add(round as usize)
            % ALL.len()]
    }
}

/// How often each thing is done.
const WEIGHTS: [(Op, u64); 25] = [
    (Op::RunPod, 14),
    (Op::StopPod, 4),
    (Op::RemovePod, 6),
    (Op::PodStatus, 6),
    (Op::ListPods, 3),
    (Op::Create, 16),
    (Op::Start, 18),
    (Op::Stop(0), 5),
    (Op::Stop(1), 2),
    (Op::Remove, 8),
    (Op::ContainerStatus, 10),
    (Op::ListContainers, 3),
    (Op::Exec(0), 6),
    (Op::Exec(3), 4),
    (Op::Update, 3),
    (Op::ReopenLog, 3),
    (Op::Pull, 2),
    (Op::RemoveImage, 2),
    (Op::ListImages, 1),
    (Op::PodStats, 1),
    (Op::ContainerStats, 2),
    (Op::Metrics, 1),
    (Op::Unknown, 1),
    // A second chance for what finds most.
    (Op::RunPod, 2),
    (Op::Start, 2),
];

/// The endless stream of steps of one client.
#[derive(Debug)]
pub struct Script {
    random: Random,
    ground: Ground,
}

impl Script {
    pub fn new(seed: u64, round: u64, client: u64) -> Self {
        Self {
            random: Random::new(&[seed, round, client]),
            ground: Ground::of(seed, round),
        }
    }

    fn op(&mut self) -> Op {
        if self.random.one_in(28) {
            return Op::Disturb(self.disturbance());
        }
        let total: u64 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut left = self.random.below(total);
        for (op, weight) in WEIGHTS {
            if left < weight {
                return op;
            }
            left -= weight;
        }
        Op::ListPods
    }

    fn disturbance(&mut self) -> Disturbance {
        // Three in eight are of the round's own kind.
        if self.random.below(8) < 3 {
            match self.ground {
                Ground::Plain => {}
                Ground::Faults => {
                    return Disturbance::Fault {
                        place: self.random.index(FAULTS.len()),
                        errno: if self.random.one_in(2) { 28 } else { 5 },
                    };
                }
                Ground::SmallDisk => return Disturbance::FillDisk,
                Ground::Plugins => {
                    return Disturbance::BreakPlugin {
                        hang: self.random.one_in(2),
                    };
                }
            }
        }
        match self.random.below(12) {
            0..=2 => Disturbance::KillDaemon,
            3 => Disturbance::RestartDaemon,
            4 | 5 => Disturbance::KillShim,
            6 | 7 => Disturbance::KillPause,
            8..=10 => Disturbance::KillContainer,
            _ => Disturbance::KillOthers,
        }
    }
}

/// Steps of a test build that are made to fail: process, step, at which hit.
pub const FAULTS: [(&str, &str, u64); 10] = [
    ("daemon", "disk.*", 0),
    ("daemon", "disk.*", 1),
    ("daemon", "disk.*", 3),
    ("daemon", "disk.replace", 1),
    ("daemon", "disk.remove-*", 2),
    ("daemon", "cgroup.*", 2),
    ("daemon", "netlink.change", 2),
    ("daemon", "netns.*", 1),
    ("shim", "shim.write-exit", 1),
    ("shim", "shim.log", 1),
];

impl Iterator for Script {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let op = self.op();
        let random = &mut self.random;
        let cancel = random
            .one_in(9)
            .then(|| Duration::from_micros(50 + random.below(60_000)));
        let rest = if random.one_in(6) {
            random.below(40)
        } else {
            random.below(4)
        };
        Some(Step {
            op,
            pod: random.index(PODS),
            container: random.index(CONTAINERS),
            choice: random.next(),
            cancel,
            lasting: Duration::from_millis(30 + random.below(600)),
            rest: Duration::from_millis(rest),
        })
    }
}
