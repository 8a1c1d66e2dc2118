//! What goes wrong: kills, faults, full disks and plugins that break.

use std::fs;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use e2e::disk::Filler;
use e2e::evidence;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::Client;
use crate::model::Trouble;
use crate::script::{Disturbance, FAULTS, Step};
use crate::world::FICKLE;

/// How long a plugin that hangs does, if nobody kills it.
const HANG: &str = "exec sleep 60";

impl Client<'_> {
    pub fn disturb(&self, disturbance: Disturbance, step: &Step) {
        self.world.disturbances.fetch_add(1, Ordering::Relaxed);
        match disturbance {
            Disturbance::KillDaemon => self.restart(step, || self.world.daemon.kill9()),
            Disturbance::RestartDaemon => self.restart(step, || {
                let code = self.world.daemon.terminate();
                let fine = if code == 0 {
                    Ok(())
                } else {
                    Err(format!("the daemon's exit code after SIGTERM is {code}"))
                };
                self.world.check(fine);
            }),
            Disturbance::KillShim => self.kill_of_pod(step, "shimPid", "holdfast-shim"),
            Disturbance::KillPause => self.kill_of_pod(step, "pid", "holdfast-pause"),
            Disturbance::KillContainer => self.kill_container(step),
            Disturbance::KillOthers => self.kill_others(step),
            Disturbance::Fault { place, errno } => self.fault(step, place, errno),
            Disturbance::FillDisk => self.fill_disk(step),
            Disturbance::BreakPlugin { hang } => self.break_plugin(step, hang),
        }
    }

    fn restart(&self, step: &Step, end: impl FnOnce()) {
        let _alone = self.world.control();
        let trouble = self.world.model().trouble(Trouble::NoDaemon);
        self.note("the daemon ends");
        end();
        // Things happen while nobody looks, sometimes.
        if step.choice.is_multiple_of(3) {
            sleep(step.lasting / 3);
        }
        let took = self.world.daemon.restart();
        self.note(&format!("the daemon answers after {took:?}"));
        self.world.model().over(trouble);
    }

    /// Kills a process of a pod that its status names.
    fn kill_of_pod(&self, step: &Step, field: &str, command: &str) {
        let Some(id) = self.pick_pod(step) else {
            return;
        };
        let Ok(answer) = self.world.daemon.try_pod_status(&id) else {
            return;
        };
        let Some(pid) = pid_of(&answer.info, field) else {
            return;
        };
        // By its name as well: the pid may be another one's by now.
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if !command.starts_with(name.trim_end()) || name.len() < 8 {
            return;
        }
        if let Some(pod) = self.world.model().pods.get_mut(&id) {
            pod.hurt.note(Instant::now());
        }
        self.note(&format!("kill {command} {pid} of {id}"));
        // It may have ended meanwhile.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }

    fn kill_container(&self, step: &Step) {
        let Some(id) = self.pick_container(step) else {
            return;
        };
        let Ok(answer) = self.world.daemon.try_status(&id) else {
            return;
        };
        let Some(pid) = pid_of(&answer.info, "pid").filter(|pid| self.is_ours(*pid)) else {
            return;
        };
        if let Some(container) = self.world.model().containers.get_mut(&id) {
            container.hurt.note(Instant::now());
        }
        self.note(&format!("kill init {pid} of {id}"));
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }

    /// Kills one of the processes beside the first ones, which changes no state.
    fn kill_others(&self, step: &Step) {
        let others = evidence::with_command("sleep 100001").into_iter();
        let ours: Vec<_> = others.filter(|pid| self.is_ours(*pid)).collect();
        if let Some(pid) = ours.get(step.pod % ours.len().max(1)) {
            self.note(&format!("kill {pid}, which is no first process"));
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
    }

    fn is_ours(&self, pid: i32) -> bool {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        groups.contains(&format!("{}/", self.world.daemon.place.tag))
    }

    fn fault(&self, step: &Step, place: usize, errno: i32) {
        let _alone = self.world.control();
        let Some((process, name, count)) = FAULTS.get(place) else {
            return;
        };
        let armed = self.world.faults().join("armed");
        let line = format!("{process} {name} before {count} errno {errno}\n");
        self.note(&format!("fault {}", line.trim_end()));
        let trouble = self.world.model().trouble(Trouble::Broken);
        let partial = self.world.faults().join("partial");
        let _ = fs::write(&partial, line).and_then(|()| fs::rename(&partial, &armed));
        sleep(step.lasting);
        // It is gone when it has happened.
        let _ = fs::remove_file(&armed);
        self.world.model().over(trouble);
        self.note("fault over");
    }

    fn fill_disk(&self, step: &Step) {
        let _alone = self.world.control();
        let place = &self.world.daemon.place;
        let trouble = self.world.model().trouble(Trouble::Broken);
        self.note("the disk is full");
        let full = match step.choice % 3 {
            0 => vec![place.root()],
            1 => vec![place.run()],
            _ => vec![place.root(), place.run()],
        };
        let fillers: Vec<_> = full.iter().map(|dir| Filler::of(dir)).collect();
        sleep(step.lasting);
        drop(fillers);
        self.world.model().over(trouble);
        self.note("the disk has room");
    }

    fn break_plugin(&self, step: &Step, hang: bool) {
        let Some(plugins) = &self.world.plugins else {
            return;
        };
        // One at a time, or the file of the other is gone.
        let _alone = self.world.control();
        let trouble = self.world.model().trouble(Trouble::Broken);
        let script = if hang {
            HANG
        } else {
            "echo broken >&2; exit 1"
        };
        self.note(&format!("the plugin: {script}"));
        for verb in ["ADD", "DEL"] {
            plugins.act(FICKLE, verb, script);
        }
        sleep(step.lasting * 2);
        for verb in ["ADD", "DEL"] {
            plugins.act(FICKLE, verb, "");
        }
        self.note("the plugin works");
        let world = self.world;
        // A call that hangs does until its deadline, or until the next time.
        world.model().over_later(trouble, Duration::from_secs(4));
    }
}

fn pid_of(info: &std::collections::HashMap<String, String>, field: &str) -> Option<i32> {
    let info: serde_json::Value = serde_json::from_str(info.get("info")?).ok()?;
    let pid = i32::try_from(info[field].as_i64()?).ok()?;
    (pid > 1).then_some(pid)
}
