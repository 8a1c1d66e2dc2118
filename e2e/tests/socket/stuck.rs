//! Pods that are stuck in a plugin or a dead mount hold up nobody but themselves.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cri_api::runtime::v1::{
    CdiDevice, ContainerConfig, ContainerState, ImageFsInfoRequest, ListContainersRequest,
    ListImagesRequest, ListPodSandboxRequest, PodSandboxState, StatusRequest, VersionRequest,
};
use e2e::call::until;
use e2e::cni::{network_condition, network_ready, start};
use e2e::daemon::Options;
use e2e::evidence::is_alive;
use e2e::place::Place;
use e2e::program::{run, sh};
use e2e::request::{BUSYBOX, idle, mount};
use e2e::{Daemon, Pod, call, must};

/// More than the daemon has threads for work that waits.
const MANY: usize = 70;

/// How long things may take that are not stuck, on a machine that does much else.
const ORDINARY_DEADLINE: Duration = Duration::from_secs(30);

/// The best of three reads takes no longer. Milliseconds are expected.
const SOON: Duration = Duration::from_millis(500);

/// A file system that never answers: of FUSE, with nobody who reads its requests.
struct DeadMount {
    dir: PathBuf,
    holder: Child,
}

impl DeadMount {
    fn new(daemon: &Daemon) -> Self {
        let dir = daemon.place.dir.join("dead");
        fs::create_dir(&dir).unwrap();
        let options = "fd=3,rootmode=40000,user_id=0,group_id=0,allow_other";
        let script = format!(
            "exec 3<>/dev/fuse; mount -i -t fuse -o {options} dead {} && exec sleep 100000",
            dir.display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::null());
        let holder = command.spawn().unwrap();
        let made = Self { dir, holder };
        until("the dead mount", ORDINARY_DEADLINE, || {
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
            mounts
                .contains(&format!("{} ", made.dir.display()))
                .then_some(())
        });
        made
    }

    /// Whoever waits gets an error now.
    fn release(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        run("umount", ["-l", &self.dir.display().to_string()]);
    }
}

impl Drop for DeadMount {
    fn drop(&mut self) {
        self.release();
    }
}

fn soon(what: &str, mut ask: impl FnMut()) {
    let best = (0..3).map(|_| {
        let start = Instant::now();
        ask();
        start.elapsed()
    });
    let best = best.min().unwrap_or_default();
    assert!(best < SOON, "{what} took {best:?}");
}

/// Reads answer at once, and another pod has its whole life.
fn everything_else_goes_on(daemon: &Daemon, name: &str) {
    let runtime = || daemon.clients().runtime;
    soon("Version", || {
        must(
            "Version",
            call(runtime().version(VersionRequest::default())),
        );
    });
    soon("Status", || {
        must("Status", call(runtime().status(StatusRequest::default())));
    });
    soon("ListPodSandbox", || {
        let request = ListPodSandboxRequest::default();
        must("ListPodSandbox", call(runtime().list_pod_sandbox(request)));
    });
    soon("ListContainers", || {
        let request = ListContainersRequest::default();
        must("ListContainers", call(runtime().list_containers(request)));
    });
    soon("ListImages", || {
        let request = ListImagesRequest::default();
        must(
            "ListImages",
            call(daemon.clients().images.list_images(request)),
        );
    });
    soon("ImageStatus", || assert!(daemon.image(BUSYBOX).is_some()));
    soon("ImageFsInfo", || {
        let request = ImageFsInfoRequest {};
        must(
            "ImageFsInfo",
            call(daemon.clients().images.image_fs_info(request)),
        );
    });
    let start = Instant::now();
    let pod = daemon.run_named(name);
    let run = pod.start(idle("c"));
    assert_eq!(run.sh("echo alive"), "alive\n");
    soon("verbose status", || drop(run.info()));
    pod.remove();
    assert!(start.elapsed() < ORDINARY_DEADLINE, "{:?}", start.elapsed());
}

#[test]
fn pods_in_a_plugin_that_hangs() {
    let (daemon, plugins) = start(Options::default().set("cni.timeout", "80s"));
    plugins.spy("spy-a");
    plugins.configure(
        "10-spy.conflist",
        r#"{"cniVersion":"1.0.0","name":"spy","plugins":[{"type":"spy-a"}]}"#,
    );
    let hang = daemon.place.dir.join("hang");
    fs::write(&hang, "").unwrap();
    let wait = format!(
        "case $CNI_ARGS in *stuck*) while [ -e {} ]; do sleep 1; done;; esac",
        hang.display()
    );
    plugins.act("spy-a", "ADD", &wait);
    plugins.act("spy-a", "DEL", &wait);
    // A pod that is stuck in its end.
    let config = daemon.pod("stuck-in-del");
    fs::remove_file(&hang).unwrap();
    let ending = daemon.run(config);
    fs::write(&hang, "").unwrap();
    thread::scope(|scope| {
        let runs: Vec<_> = (0..MANY)
            .map(|number| daemon.pod(&format!("stuck-{number}")))
            .map(|config| {
                let daemon = &daemon;
                scope.spawn(move || daemon.try_run(&config))
            })
            .collect();
        let stop = scope.spawn(|| daemon.try_stop_pod(&ending.id));
        until("all of them to hang", ORDINARY_DEADLINE, || {
            let calls = plugins.order();
            let adds = calls.iter().filter(|call| *call == "spy-a.ADD").count();
            let dels = calls.iter().filter(|call| *call == "spy-a.DEL").count();
            (adds > MANY && dels > 0).then_some(())
        });
        everything_else_goes_on(&daemon, "healthy");
        fs::remove_file(&hang).unwrap();
        for run in runs {
            must("RunPodSandbox", run.join().unwrap());
        }
        must("StopPodSandbox", stop.join().unwrap());
    });
    assert_eq!(daemon.pods().len(), MANY + 1);
}

#[test]
fn a_plugin_that_does_not_say_how_it_is() {
    let (daemon, plugins) = start(Options::default());
    plugins.spy("spy-a");
    let hang = daemon.place.dir.join("hang");
    fs::write(&hang, "").unwrap();
    let wait = format!("while [ -e {} ]; do sleep 0.1; done", hang.display());
    plugins.act("spy-a", "STATUS", &wait);
    plugins.configure(
        "10-spy.conflist",
        r#"{"cniVersion":"1.1.0","name":"spy","plugins":[{"type":"spy-a"}]}"#,
    );
    let says = |text: &str| {
        let ready = network_condition(&daemon);
        assert!(!ready.status, "{ready:?}");
        ready.message.contains(text).then_some(())
    };
    until("the wait to be told", ORDINARY_DEADLINE, || {
        says("of network spy have not answered yet")
    });
    soon("Status", || drop(network_condition(&daemon)));
    until("the plugin to be given up", ORDINARY_DEADLINE, || {
        says("STATUS of network plugin")
    });
    let asked = plugins.order();
    assert_eq!(asked, ["spy-a.STATUS"], "asked once");
    fs::remove_file(&hang).unwrap();
    until("the network to be ready", ORDINARY_DEADLINE, || {
        network_ready(&daemon).status.then_some(())
    });
    everything_else_goes_on(&daemon, "healthy");
}

#[test]
fn containers_whose_logs_are_on_a_dead_mount() {
    let daemon = Daemon::start();
    let mut dead = DeadMount::new(&daemon);
    let pods: Vec<_> = (0..7)
        .map(|number| {
            let mut config = daemon.pod(&format!("stuck-{number}"));
            config.log_directory = dead.dir.join("logs").display().to_string();
            daemon.run(config)
        })
        .collect();
    let containers: Vec<_> = (0..MANY)
        .map(|number| pods[number % 7].create(idle(&format!("c{number}"))))
        .collect();
    thread::scope(|scope| {
        let starts: Vec<_> = containers
            .iter()
            .map(|one| scope.spawn(|| daemon.try_start(&one.id)))
            .collect();
        thread::sleep(Duration::from_secs(1));
        everything_else_goes_on(&daemon, "healthy");
        assert_eq!(
            containers[0].status().state(),
            ContainerState::ContainerCreated
        );
        // A pod that is stuck can be stopped and removed all the same.
        let start = Instant::now();
        pods[0].remove();
        assert!(start.elapsed() < ORDINARY_DEADLINE, "{:?}", start.elapsed());
        dead.release();
        for (number, start) in starts.into_iter().enumerate() {
            // The directory answers again: with an error, or as what is below the mount.
            let started = start.join().unwrap();
            assert!(started.is_err() || number % 7 != 0, "in a pod that is gone");
        }
    });
    everything_else_goes_on(&daemon, "after");
}

#[test]
fn containers_whose_volumes_are_on_a_dead_mount() {
    let daemon = Daemon::start();
    let dead = DeadMount::new(&daemon);
    let pod = daemon.run_named("volumes");
    let volume = |name: &str| {
        let mut config = idle(name);
        config.mounts = vec![mount(dead.dir.join("volume"), "/volume")];
        pod.create(config)
    };
    let containers = [volume("one"), volume("two")];
    thread::scope(|scope| {
        let starts = containers
            .each_ref()
            .map(|one| scope.spawn(|| daemon.try_start(&one.id)));
        thread::sleep(Duration::from_secs(1));
        everything_else_goes_on(&daemon, "healthy");
        let other = pod.start(idle("other"));
        assert_eq!(other.sh("echo alive"), "alive\n");
        // What hangs in its start can be removed, and the pod stopped.
        must("RemoveContainer", daemon.try_remove(&containers[0].id));
        pod.remove();
        for start in starts {
            start.join().unwrap().unwrap_err();
        }
    });
}

/// CDI was read by the thread that serves the pod: two such requests and even Version had no answer.
#[test]
fn cdi_descriptions_and_what_they_name_on_a_dead_mount() {
    let place = Place::new();
    let dirs = ["one", "two"].map(|name| place.dir.join("cdi").join(name));
    for dir in &dirs {
        fs::create_dir_all(dir).unwrap();
    }
    let names: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    Options::default().set("cdi.dirs", names).write(&place);
    let daemon = Daemon::at(place);
    let mut dead = DeadMount::new(&daemon);
    let path = dead.dir.join("x").display().to_string();
    let device = |name: &str, edits: &str| {
        let text = format!(
            r#"{{"cdiVersion":"0.6.0","kind":"dead.org/{name}","devices":[{{"name":"0","containerEdits":{edits}}}]}}"#
        );
        fs::write(dirs[0].join(format!("{name}.json")), text).unwrap();
    };
    device(
        "mount",
        &format!(r#"{{"mounts":[{{"hostPath":"{path}","containerPath":"/v"}}]}}"#),
    );
    device(
        "node",
        &format!(r#"{{"deviceNodes":[{{"path":"/dev/x","hostPath":"{path}"}}]}}"#),
    );
    device("fine", r#"{"env":["FINE=1"]}"#);
    // A FIFO describes nothing and keeps nobody.
    sh(&format!("mkfifo {}", dirs[0].join("a.yaml").display()));
    let named = |name: &str, kind: &str| {
        let mut config = idle(name);
        config.cdi_devices = vec![CdiDevice {
            name: format!("dead.org/{kind}=0"),
        }];
        config
    };
    let create = |pod: &Pod<'_>, config: ContainerConfig| {
        pod.daemon.try_create(&pod.id, &pod.config, &config)
    };
    let pods = ["a", "b", "c"].map(|name| daemon.run_named(name));
    let fine = pods[0].start(named("fine", "fine"));
    assert_eq!(fine.sh("echo $FINE"), "1\n");
    thread::scope(|scope| {
        let ask = |pod: usize, kind: &'static str| {
            let pod = &pods[pod];
            scope.spawn(move || create(pod, named(kind, kind)))
        };
        let mut asked: Vec<_> = (0..3)
            .flat_map(|pod| [ask(pod, "mount"), ask(pod, "node")])
            .collect();
        thread::sleep(Duration::from_millis(300));
        std::os::unix::fs::symlink(&path, dirs[1].join("link.json")).unwrap();
        asked.push(scope.spawn(|| create(&pods[0], named("late", "fine"))));
        thread::sleep(Duration::from_secs(1));
        everything_else_goes_on(&daemon, "healthy");
        dead.release();
        for (number, create) in asked.into_iter().enumerate() {
            let made = create.join().unwrap();
            assert_eq!(made.is_ok(), number == 6, "{number}: {:?}", made.err());
        }
    });
    everything_else_goes_on(&daemon, "after");
}

/// The configuration of the plugins' network was read by threads that serve others.
#[test]
fn a_network_configuration_on_a_dead_mount() {
    let (daemon, plugins) = start(Options::default());
    plugins.spy("spy-a");
    let mut dead = DeadMount::new(&daemon);
    plugins.configure(
        "20-spy.conflist",
        r#"{"cniVersion":"1.0.0","name":"spy","plugins":[{"type":"spy-a"}]}"#,
    );
    let pod = daemon.run_named("before");
    let link = plugins.conf().join("10-dead.conf");
    std::os::unix::fs::symlink(dead.dir.join("x"), &link).unwrap();
    thread::scope(|scope| {
        let asked: Vec<_> = (0..MANY)
            .map(|number| daemon.pod(&format!("stuck-{number}")))
            .map(|config| {
                let daemon = &daemon;
                scope.spawn(move || daemon.try_run(&config))
            })
            .collect();
        let told = network_condition(&daemon);
        assert!(!told.status, "{told:?}");
        assert!(told.message.contains("dead mount"), "{told:?}");
        soon("Version", || {
            must(
                "Version",
                call(daemon.clients().runtime.version(VersionRequest::default())),
            );
        });
        assert_eq!(pod.start(idle("c")).sh("echo alive"), "alive\n");
        for run in asked {
            let error = run.join().unwrap().unwrap_err();
            assert!(
                error.message().contains("10-dead.conf") || error.message().contains("dead mount"),
                "{error}"
            );
        }
    });
    fs::remove_file(&link).unwrap();
    dead.release();
    until("the network to be ready", ORDINARY_DEADLINE, || {
        network_ready(&daemon).status.then_some(())
    });
    everything_else_goes_on(&daemon, "after");
}

#[test]
fn a_container_that_does_not_end_can_be_stopped_and_removed_all_the_same() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("pending");
    let [stopped, removed] = ["stopped", "removed"].map(|name| pod.start(idle(name)));
    let pids = [stopped.pid(), removed.pid()];
    let shim = pod.info()["shimPid"].as_i64().unwrap();
    // Nobody hears that they end, as when the kernel does not let go of a process.
    sh(&format!("kill -STOP {shim}"));
    thread::scope(|scope| {
        scope.spawn(|| must("StopContainer", daemon.try_stop(&stopped.id, 0)));
        must("RemoveContainer", daemon.try_remove(&removed.id));
    });
    // The shim has not killed them: what the daemon does itself may be a moment later than its answer.
    until("the end of both", ORDINARY_DEADLINE, || {
        pids.iter().all(|pid| !is_alive(*pid)).then_some(())
    });
    let status = stopped.status();
    assert_eq!(
        (status.exit_code, status.reason.as_str()),
        (137, "KillPending")
    );
    assert_eq!(daemon.containers().len(), 1);
    sh(&format!("kill -CONT {shim}"));
    assert_eq!(pod.start(idle("next")).sh("echo alive"), "alive\n");
    pod.remove();
}

#[test]
fn a_shim_that_hangs_does_not_hold_its_pod() {
    let daemon = Daemon::start();
    let pod = daemon.run_named("hung");
    let run = pod.start(idle("c"));
    let shim = pod.info()["shimPid"].as_i64().unwrap();
    let pids = [i32::try_from(shim).unwrap(), run.pid(), pod.pause()];
    sh(&format!("kill -STOP {shim}"));
    everything_else_goes_on(&daemon, "healthy");
    pod.stop();
    assert_eq!(pod.status().state(), PodSandboxState::SandboxNotready);
    until("the end of its processes", ORDINARY_DEADLINE, || {
        pids.iter().all(|pid| !is_alive(*pid)).then_some(())
    });
    pod.remove();
}
