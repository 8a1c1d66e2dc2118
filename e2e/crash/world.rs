//! A daemon whose steps can be killed, and the machine around it.

use std::time::{Duration, Instant};

use cri_api::runtime::v1::{PodSandbox, PodSandboxState};
use e2e::cni::{self, Plugins};
use e2e::daemon::Options;
use e2e::evidence;
use e2e::fault::Faults;
use e2e::leaks::Snapshot;
use e2e::place::Place;
use e2e::{BUSYBOX, Daemon};
use serde_json::Value;

/// How long the machine may take to be as before.
const SETTLE: Duration = Duration::from_secs(10);

/// The configuration of most worlds.
fn options() -> Options {
    let all = ["join-network", "time-offsets", "namespaces"].map(toml::Value::from);
    Options::default().set("experiments.allow", all.to_vec())
}

/// Debian's plugins, each behind a wrapper that tells its steps and can be killed.
const CHAIN: &str = r#"{"cniVersion":"1.0.0","name":"chain","plugins":[
  {"type":"killable-bridge","bridge":"cni0","isGateway":true,"ipMasq":true,
   "ipam":{"type":"host-local","dataDir":"LEASES","routes":[{"dst":"0.0.0.0/0"}],
     "ranges":[[{"subnet":"10.98.0.0/24"}]]}},
  {"type":"killable-portmap","capabilities":{"portMappings":true},"snat":true}]}"#;

/// Debian's plugins, which the daemon serves itself.
const SERVED: &str = r#"{"cniVersion":"1.0.0","name":"served","plugins":[
  {"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":true,"hairpinMode":true,
   "ipam":{"type":"host-local","dataDir":"LEASES","routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}],
     "ranges":[[{"subnet":"10.98.0.0/24"}],[{"subnet":"fd98::/64"}]]}},
  {"type":"loopback"},{"type":"portmap","capabilities":{"portMappings":true},"snat":true}]}"#;

/// A plugin that takes part in the steps.
const WRAPPER: &str = r#"#!/bin/sh
step() {
  echo "plugin $1 $2" >>FAULT/trace
  read -r process name when count action <FAULT/armed 2>/dev/null || return 0
  [ "$process $name $when" = "plugin $1 $2" ] || return 0
  [ "$count" = 1 ] || { echo "$process $name $when $((count - 1)) $action" >FAULT/armed; return 0; }
  rm -f FAULT/armed
  kill -9 $$
}
step PLUGIN.$CNI_COMMAND before
/usr/lib/cni/PLUGIN
code=$?
step PLUGIN.$CNI_COMMAND after
exit $code
"#;

/// The network of a world's pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Bridge,
    Plugins,
    /// Plugins that the daemon serves without their programs.
    Served,
}

/// One daemon and everything of it.
#[derive(Debug)]
pub struct World {
    pub faults: Faults,
    // Before the daemon's clean-up nothing of a plugin may go.
    pub daemon: Daemon,
    _plugins: Option<Plugins>,
    clean: Snapshot,
    next: std::cell::Cell<u32>,
}

impl World {
    /// Starts a daemon that has the image of most containers.
    pub fn start(network: Network) -> Self {
        let (daemon, plugins) = match network {
            Network::Bridge => {
                let place = Place::new();
                options().write(&place);
                Faults::enable(&place);
                let daemon = Daemon::at(place);
                daemon.provide(BUSYBOX);
                (daemon, None)
            }
            Network::Plugins => {
                let (daemon, plugins) = cni::start(Options::default().set("cni.timeout", "10s"));
                let faults = Faults::enable(&daemon.place);
                for plugin in ["bridge", "portmap"] {
                    let text = WRAPPER
                        .replace("FAULT", &faults.dir().display().to_string())
                        .replace("PLUGIN", plugin);
                    plugins.program(&format!("killable-{plugin}"), &text);
                }
                plugins.configure("10-chain.conflist", CHAIN);
                daemon.terminate();
                daemon.restart();
                (daemon, Some(plugins))
            }
            Network::Served => {
                let (daemon, plugins) = cni::start(Options::default());
                Faults::enable(&daemon.place);
                plugins.configure("10-served.conflist", SERVED);
                daemon.terminate();
                daemon.restart();
                (daemon, Some(plugins))
            }
        };
        let faults = Faults::of(&daemon.place);
        faults.require();
        // The plugins' own bridge and what they keep for all pods come with the first one.
        if plugins.is_some() {
            let pod = daemon.run_named("first");
            pod.remove();
        }
        let clean = Snapshot::take(&daemon.place);
        Self {
            faults,
            daemon,
            _plugins: plugins,
            clean,
            next: std::cell::Cell::new(0),
        }
    }

    /// A name that no other pod or image of this world has.
    pub fn name(&self) -> String {
        self.next.set(self.next.get() + 1);
        format!("p{}", self.next.get())
    }

    /// Whether a shim runs, or has a pod that is ready.
    pub fn has_shim(&self, pid: i32) -> bool {
        let of_it = |pod: &PodSandbox| {
            let status = self.daemon.try_pod_status(&pod.id);
            let info = status
                .ok()
                .and_then(|mut status| status.info.remove("info"));
            let info: Option<Value> = info.and_then(|info| serde_json::from_str(&info).ok());
            info.is_some_and(|info| info["shimPid"] == pid)
        };
        let pods = self.daemon.pods();
        let mut ready = pods
            .iter()
            .filter(|pod| pod.state() == PodSandboxState::SandboxReady);
        evidence::is_alive(pid) || ready.any(of_it)
    }

    /// Starts the daemon again if it was killed.
    pub fn revive(&self) {
        if !self.daemon.is_alive() {
            self.daemon.restart();
        }
    }

    /// Stops and removes every pod and every image but the usual one, as a kubelet does.
    pub fn remove_all(&self) {
        for pod in self.daemon.pods() {
            for removal in [Daemon::try_stop_pod, Daemon::try_remove_pod] {
                removal(&self.daemon, &pod.id)
                    .unwrap_or_else(|status| panic!("stop or remove a pod: {status}"));
            }
        }
        for image in self.daemon.images() {
            if !image.repo_tags.iter().any(|tag| tag == BUSYBOX) {
                self.daemon
                    .try_remove_image(&image.id)
                    .unwrap_or_else(|status| panic!("remove an image: {status}"));
            }
        }
        let _ = std::fs::remove_dir_all(self.daemon.place.logs());
    }

    /// The machine is as it was before the first operation.
    pub fn require_clean(&self) {
        let start = Instant::now();
        loop {
            let left = self.clean.difference(&Snapshot::take(&self.daemon.place));
            if left.is_empty() {
                return;
            }
            assert!(
                start.elapsed() < SETTLE,
                "left behind:\n    {}",
                left.join("\n    ")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The end of the daemon's log.
    pub fn log_tail(&self) -> String {
        let tail = self.daemon.log_tail();
        let lines: Vec<_> = tail.lines().collect();
        let last = &lines[lines.len().saturating_sub(14)..];
        last.iter().map(|line| format!("    | {line}\n")).collect()
    }
}
