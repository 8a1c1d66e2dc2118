//! The daemons that are compared, and the networks of their pods.

use e2e::Daemon;
use e2e::cni::{self, Plugins, Release};
use e2e::daemon::Options;
use e2e::place::Place;

use super::calls::Calls;
use super::daemon::Peer;
use super::programs::Programs;
use super::volatile;

/// The network of a plain cluster; MASQ is where masquerading is said.
const NETWORK: &str = r#"{"cniVersion":"1.0.0","name":"bench","plugins":[
  {"type":"bridge","bridge":"cni0","isGateway":true,"hairpinMode":true,MASQ"ipam":{"type":"host-local","dataDir":"LEASES",
   "routes":[{"dst":"0.0.0.0/0"}],"ranges":[[{"subnet":"10.98.0.0/16"}]]}},
  {"type":"portmap","capabilities":{"portMappings":true},"snat":true}]}"#;

/// File of that network.
const NETWORK_FILE: &str = "10-bench.conflist";

/// The three daemons that are compared.
pub struct Sides {
    /// Ours on the built-in bridge.
    bridge: Daemon,
    /// Ours with network plugins.
    plugins: Daemon,
    ours: Plugins,
    peer: Peer,
}

/// Everything that the suites need of one daemon.
pub struct Side<'s> {
    /// Calls to the daemon.
    pub calls: Calls,
    /// Where the daemon has its files.
    pub place: &'s Place,
    /// The process id of the daemon.
    pub pid: i32,
}

impl Sides {
    /// Starts all three daemons, the peer in the network namespace of the machine.
    pub fn start(programs: Programs, release: Release) -> Result<Self, String> {
        let peer = Peer::start(programs, release)?;
        let quiet = || Options::default().set("log.level", "info");
        let place = Place::new();
        volatile::mount(&place.run());
        quiet().write(&place);
        let bridge = Daemon::at(place);
        let place = Place::new();
        volatile::mount(&place.run());
        let (plugins, ours) = cni::start_at(place, release, "cni", quiet());
        let sides = Self {
            bridge,
            plugins,
            ours,
            peer,
        };
        sides.configure(false);
        Ok(sides)
    }

    /// Writes the network of both, with masquerading or without.
    pub fn configure(&self, masquerades: bool) {
        let text = NETWORK.replace("MASQ", if masquerades { r#""ipMasq":true,"# } else { "" });
        for plugins in [&self.ours, &self.peer.plugins] {
            plugins.configure(NETWORK_FILE, &text);
        }
    }

    /// Starts the peer again in a network namespace of its own.
    pub fn move_peer_home(&mut self) {
        self.peer.move_home();
    }

    /// This build, with pods on the built-in bridge.
    pub fn bridge(&self) -> Side<'_> {
        side(&self.bridge)
    }

    /// This build, with network plugins.
    pub fn plugins(&self) -> Side<'_> {
        side(&self.plugins)
    }

    /// The other runtime, with the same network plugins.
    pub fn peer(&self) -> Side<'_> {
        Side {
            calls: Calls(self.peer.clients.clone()),
            place: &self.peer.place,
            pid: self.peer.pid(),
        }
    }
}

fn side(daemon: &Daemon) -> Side<'_> {
    Side {
        calls: Calls(daemon.clients()),
        place: &daemon.place,
        pid: daemon.pid(),
    }
}
