//! Pods in a network of reference plugins: served by the daemon, beside the plugins' programs, in turns.

use e2e::Daemon;
use e2e::cni::{self, Plugins, Release};
use e2e::daemon::Options;
use e2e::must;

use crate::machine;
use crate::measures::{Life, Network, STEPS, TICKS};
use crate::table::{Samples, Table};

/// The chain of plugins of a plain cluster.
const LIST: &str = r#"{"cniVersion":"1.0.0","name":"bench","plugins":[
  {"type":"bridge","bridge":"cni0","isGateway":true,"hairpinMode":true,MASQ"ipam":{"type":"host-local","dataDir":"LEASES",
   "routes":[{"dst":"0.0.0.0/0"}],"ranges":[[{"subnet":"10.98.0.0/16"}]]}},
  {"type":"portmap","capabilities":{"portMappings":true},"snat":true}]}"#;

/// One of the two ways.
struct Side {
    daemon: Daemon,
    plugins: Plugins,
    life: Life,
    busy: u64,
}

impl Side {
    fn start(options: Options) -> Self {
        let (daemon, plugins) = cni::start_with(Release::Built, "cni", options);
        Self {
            daemon,
            plugins,
            life: Life::default(),
            busy: 0,
        }
    }

    fn live(&mut self, name: &str) {
        let begin = machine::busy();
        self.life.live(&self.daemon, name, Network::Pod);
        self.busy += machine::busy() - begin;
    }

    fn finish(&mut self, count: usize) -> (Life, f64) {
        let cpu = std::mem::take(&mut self.busy) as f64 / TICKS * 1e3 / count as f64;
        (std::mem::take(&mut self.life), cpu)
    }
}

/// The lives of `count` pods, served and by programs: alone, with masquerading, and among a hundred pods.
pub fn plugins(count: usize) {
    let mut table = Table::new();
    let programs = Options::default().set("cni.native", Vec::<toml::Value>::new());
    let mut sides = [Side::start(Options::default()), Side::start(programs)];
    for (title, masquerades, crowd) in [
        ("plugins: served, programs, ratio", false, 0),
        ("the same with ipMasq", true, 0),
        ("the same with ipMasq, among 100 pods", true, 100),
    ] {
        table.title(title);
        let list = LIST.replace("MASQ", if masquerades { r#""ipMasq":true,"# } else { "" });
        for side in &sides {
            side.plugins.configure("10-bench.conflist", &list);
            for number in 0..crowd {
                let pod = side.daemon.pod(&format!("crowd-{number}"));
                must("RunPodSandbox", side.daemon.try_run(&pod));
            }
        }
        for number in 0..count {
            let name = format!("life-{number}");
            let [ours, other] = &mut sides;
            ours.live(&name);
            other.live(&name);
        }
        let [(ours, cpu), (other, of_other)] = sides.each_mut().map(|side| side.finish(count));
        let mut others = other.0.into_iter().map(Samples::median);
        for (what, ours) in STEPS.iter().zip(ours.0) {
            let other = others.next().unwrap_or_default();
            let millis = |time: std::time::Duration| time.as_secs_f64() * 1e3;
            table.pair(what, millis(ours.median()), millis(other));
        }
        table.pair("machine CPU for such a life", cpu, of_other);
    }
    table.print();
}
