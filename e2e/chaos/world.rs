//! What the clients of a round share: the daemon, the model, and the means to break things.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use e2e::cni::{self, Plugins};
use e2e::daemon::Options;
use e2e::place::Place;
use e2e::{BUSYBOX, Daemon, disk};

use crate::model::{Checked, Model};
use crate::report::Witness;
use crate::script::Ground;

/// The configuration of rounds with plugins: one that breaks, and Debian's real ones.
const NETWORK: &str = r#"{"cniVersion":"1.0.0","name":"chaos","plugins":[
  {"type":"fickle"},
  {"type":"bridge","bridge":"cni0","isGateway":true,
   "ipam":{"type":"host-local","dataDir":"LEASES","ranges":[[{"subnet":"10.97.0.0/22"}]]}}]}"#;

/// Name of the plugin that breaks.
pub const FICKLE: &str = "fickle";

/// How long a plugin may take.
const PLUGIN_TIMEOUT: &str = "3s";

/// Sizes of the file systems of a round with a small disk.
const DISKS: [(&str, &str); 2] = [("root", "256m"), ("run", "16m")];

/// A round's daemon and everything around it.
#[derive(Debug)]
pub struct World {
    pub daemon: Daemon,
    pub plugins: Option<Plugins>,
    /// Held by whoever kills the daemon or breaks the disk: a daemon starts on a disk that works.
    pub control: Mutex<()>,
    pub calls: AtomicU64,
    pub disturbances: AtomicU64,
    model: Arc<Mutex<Model>>,
    violation: Mutex<Option<String>>,
    over: AtomicBool,
}

impl World {
    /// Starts a daemon on some ground.
    pub fn new(ground: Ground) -> Self {
        let (daemon, plugins) = match ground {
            Ground::Plugins => {
                let options = Options::default().set("cni.timeout", PLUGIN_TIMEOUT);
                let (daemon, plugins) = cni::start(options);
                plugins.spy(FICKLE);
                plugins.configure("10-chaos.conflist", NETWORK);
                (daemon, Some(plugins))
            }
            Ground::Plain | Ground::Faults | Ground::SmallDisk => (on(ground), None),
        };
        daemon.provide(BUSYBOX);
        Self {
            daemon,
            plugins,
            control: Mutex::new(()),
            calls: AtomicU64::new(0),
            disturbances: AtomicU64::new(0),
            model: Arc::new(Mutex::new(Model::new())),
            violation: Mutex::new(None),
            over: AtomicBool::new(false),
        }
    }

    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a report needs, also when the world is gone.
    pub fn witness(&self) -> Witness {
        Witness {
            place: self.daemon.place.clone(),
            model: Arc::clone(&self.model),
        }
    }

    pub fn control(&self) -> MutexGuard<'_, ()> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody begins anything new.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Keeps the first violation, and ends the round.
    pub fn check(&self, checked: Checked) {
        let Err(text) = checked else { return };
        let mut first = self
            .violation
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if first.is_none() {
            self.model().note(format!("VIOLATION {text}"));
            *first = Some(text);
        }
        self.end();
    }

    pub fn violation(&self) -> Option<String> {
        let first = self.violation.lock();
        first.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The directory through which a test build is told what to do wrong.
    pub fn faults(&self) -> std::path::PathBuf {
        self.daemon.place.run().join("fault")
    }
}

fn on(ground: Ground) -> Daemon {
    let place = Place::new();
    if ground == Ground::SmallDisk {
        for (name, size) in DISKS {
            disk::small(&place.dir.join(name), size);
        }
    }
    if ground == Ground::Faults {
        let dir = place.run().join("fault");
        fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("make {}: {error}", dir.display()));
    }
    Options::default().write(&place);
    Daemon::at(place)
}
