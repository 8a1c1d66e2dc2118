//! `holdfast run`: the order of containers, restarts, probes, volumes, and what is left behind.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cri_api::runtime::v1::{ContainerState, ContainerStatus};
use e2e::call::until;
use e2e::program::{Ran, built, finish};
use e2e::request::BUSYBOX;
use e2e::{Daemon, evidence, must};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a pod may take for what it is to do.
const ANSWER_DEADLINE: Duration = Duration::from_secs(40);

/// A daemon with the test image, and the command with all directories in its place.
struct Bench {
    daemon: Daemon,
}

impl Bench {
    fn new() -> Self {
        let daemon = Daemon::start();
        daemon.provide(BUSYBOX);
        Self { daemon }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(built("holdfast"));
        let socket = self.daemon.place.socket();
        command.arg("--socket").arg(socket).args(args);
        for (option, dir) in [
            ("--log-root", "podlogs"),
            ("--volume-root", "volumes"),
            ("--memory-volume-root", "memory"),
        ] {
            command.arg(option).arg(self.daemon.place.dir.join(dir));
        }
        command.stdin(Stdio::null());
        command
    }

    /// A verb that has no directories.
    fn verb(&self, args: &[&str]) -> Command {
        let mut command = Command::new(built("holdfast"));
        let socket = self.daemon.place.socket();
        command.arg("--socket").arg(socket).args(args);
        command.stdin(Stdio::null());
        command
    }

    /// Writes a manifest of a pod with this name; the indented rest is its spec.
    fn manifest(&self, name: &str, spec: &str) -> String {
        let spec = spec.replace("BUSYBOX", BUSYBOX);
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  labels: {{app: {name}-app}}\nspec:\n  \
             terminationGracePeriodSeconds: 1\n{spec}"
        );
        let path = self.daemon.place.dir.join(format!("{name}.yaml"));
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn run(&self, args: &[&str]) -> Ran {
        let mut all = vec!["run"];
        all.extend(args);
        finish(self.command(&all))
    }

    /// Runs a pod and gives its id.
    #[track_caller]
    fn up(&self, name: &str, spec: &str) -> String {
        let file = self.manifest(name, spec);
        self.run(&[&file]).ok().trim().to_owned()
    }

    /// All attempts at a container, oldest first.
    fn attempts(&self, name: &str) -> Vec<ContainerStatus> {
        let all = self.daemon.containers().into_iter();
        let mut found: Vec<_> = all
            .filter(|one| one.metadata.as_ref().unwrap().name == name)
            .filter_map(|one| self.daemon.try_status(&one.id).ok()?.status)
            .collect();
        found.sort_by_key(|status| status.metadata.as_ref().unwrap().attempt);
        found
    }

    /// Waits for an attempt at a container that is in a state.
    #[track_caller]
    fn await_attempt(&self, name: &str, attempt: u32, state: ContainerState) -> ContainerStatus {
        let what = format!("attempt {attempt} at {name} {state:?}");
        until(&what, ANSWER_DEADLINE, || {
            let all = self.attempts(name).into_iter();
            all.filter(|one| one.metadata.as_ref().unwrap().attempt == attempt)
                .find(|one| one.state() == state)
        })
    }

    fn sh(&self, id: &str, script: &str) -> String {
        let out = must("exec", self.daemon.try_exec(id, &["sh", "-c", script], 10));
        String::from_utf8(out.stdout).unwrap()
    }

    fn log(&self, status: &ContainerStatus) -> String {
        let lines = e2e::log::read(Path::new(&status.log_path));
        String::from_utf8(e2e::log::written(&lines, "stdout")).unwrap()
    }

    /// The keepers of this daemon's pods.
    fn keepers(&self) -> Vec<i32> {
        let place = self.daemon.place.dir.display().to_string();
        let keeps = |pid: &i32| {
            let line = evidence::command_line(*pid);
            line.contains(" keep ") && line.contains(&place) && evidence::is_alive(*pid)
        };
        processes().into_iter().filter(keeps).collect()
    }

    #[track_caller]
    fn remove(&self, name: &str) {
        finish(self.command(&["rm", name])).ok();
        self.left_nothing();
    }

    /// No pod, no directory of one and no keeper is left.
    #[track_caller]
    fn left_nothing(&self) {
        assert!(self.daemon.pods().is_empty());
        for root in ["podlogs", "volumes", "memory"] {
            let dir = self.daemon.place.dir.join(root);
            let left: Vec<PathBuf> = match fs::read_dir(&dir) {
                Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
                Err(_) => Vec::new(),
            };
            assert!(left.is_empty(), "{left:?}");
        }
        until("the keeper's end", ANSWER_DEADLINE, || {
            self.keepers().is_empty().then_some(())
        });
    }
}

fn processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pid = |name: std::ffi::OsString| name.to_str()?.parse().ok();
    entries.filter_map(|entry| pid(entry.file_name())).collect()
}

/// A command in the background.
struct Background(Child);

impl Background {
    fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }

    /// Waits for its end: exit code, standard output and standard error.
    fn end(mut self) -> (Option<i32>, String, String) {
        let mut texts = [String::new(), String::new()];
        let [out, err] = &mut texts;
        self.0.stdout.take().unwrap().read_to_string(out).unwrap();
        self.0.stderr.take().unwrap().read_to_string(err).unwrap();
        let code = self.0.wait().unwrap().code();
        let [out, err] = texts;
        (code, out, err)
    }
}

#[test]
fn init_containers_and_sidecars_start_in_order() {
    let bench = Bench::new();
    let spec = "
  restartPolicy: Never
  initContainers:
  - {name: one, image: BUSYBOX, command: [sh, -c, 'sleep 0.3; echo one']}
  - name: side
    image: BUSYBOX
    restartPolicy: Always
    command: [sh, -c, 'sleep 0.5; touch /up; exec sleep 1000']
    startupProbe: {exec: {command: [test, -e, /up]}, periodSeconds: 1}
  - {name: two, image: BUSYBOX, command: [sh, -c, 'echo two']}
  containers:
  - {name: app, image: BUSYBOX, command: [sh, -c, 'trap \"exit 0\" TERM; while :; do sleep 0.1; done']}
";
    bench.up("order", spec);
    let get = |name: &str| bench.attempts(name).remove(0);
    let (one, side, two, app) = (get("one"), get("side"), get("two"), get("app"));
    assert_eq!((one.exit_code, two.exit_code), (0, 0));
    assert!(one.finished_at <= side.started_at);
    assert!(two.finished_at <= app.started_at);
    let waited = two.created_at - side.started_at;
    assert!(
        waited >= 500_000_000,
        "{waited} ns: the probe was not awaited"
    );
    assert_eq!(side.state(), ContainerState::ContainerRunning);
    assert_eq!(bench.keepers().len(), 1);
    // The sidecar is stopped after the containers.
    finish(bench.daemon_command(&["stop", "order"])).ok();
    let (side, app) = (get("side"), get("app"));
    assert!(app.finished_at <= side.finished_at, "{app:?} {side:?}");
    assert_eq!(app.exit_code, 0);
    bench.remove("order");
}

impl Bench {
    /// A verb that knows nothing of directories.
    fn daemon_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(built("holdfast"));
        let socket = self.daemon.place.socket();
        command
            .arg("--socket")
            .arg(socket)
            .args(args)
            .stdin(Stdio::null());
        command
    }
}

#[test]
fn a_failure_is_tried_again_until_it_succeeds() {
    let bench = Bench::new();
    let spec = "
  restartPolicy: OnFailure
  volumes: [{name: v, emptyDir: {}}]
  containers:
  - name: app
    image: BUSYBOX
    command: [sh, -c, 'echo x >> /v/n; echo attempt $(wc -l < /v/n); test $(wc -l < /v/n) -gt 2']
    volumeMounts: [{name: v, mountPath: /v}]
";
    bench.up("again", spec);
    let last = bench.await_attempt("app", 2, ContainerState::ContainerExited);
    assert_eq!(last.exit_code, 0);
    assert_eq!(bench.log(&last), "attempt 3\n");
    let all = bench.attempts("app");
    let codes: Vec<_> = all.iter().map(|one| one.exit_code).collect();
    // The previous one is kept, the first one removed with its log.
    assert_eq!(codes, [1, 0]);
    let first = Path::new(&last.log_path).with_file_name("0.log");
    assert!(!first.exists() && first.with_file_name("1.log").exists());
    // The second restart waits; the first one does not.
    assert!(last.started_at - all[0].finished_at >= 9_000_000_000);
    until("the keeper's end", ANSWER_DEADLINE, || {
        bench.keepers().is_empty().then_some(())
    });
    bench.remove("again");
}

#[test]
fn an_unhealthy_container_is_killed_and_started_again() {
    let bench = Bench::new();
    let spec = "
  containers:
  - name: app
    image: BUSYBOX
    command: [sh, -c, 'touch /healthy; sleep 1; rm /healthy; exec sleep 1000']
    livenessProbe: {exec: {command: [test, -e, /healthy]}, periodSeconds: 1, failureThreshold: 2, initialDelaySeconds: 1}
";
    bench.up("sick", spec);
    let first = bench.await_attempt("app", 0, ContainerState::ContainerExited);
    assert_eq!(first.exit_code, 137);
    bench.await_attempt("app", 1, ContainerState::ContainerRunning);
    bench.remove("sick");
}

#[test]
fn the_keeper_outlives_the_daemon_and_ends_with_the_pod() {
    let bench = Bench::new();
    let spec = "
  containers:
  - {name: app, image: BUSYBOX, command: [sh, -c, 'until [ -e /end ]; do sleep 0.1; done']}
";
    let id = bench.up("kept", spec);
    let keepers = bench.keepers();
    assert_eq!(keepers.len(), 1, "{keepers:?}");
    // A second run is the same pod with the same keeper.
    let file = bench.daemon.place.dir.join("kept.yaml");
    let again = bench.run(&[&file.display().to_string()]).ok();
    assert_eq!((again.trim(), bench.keepers()), (id.as_str(), keepers));
    bench.daemon.kill9();
    bench.daemon.restart();
    let running = bench.await_attempt("app", 0, ContainerState::ContainerRunning);
    bench.sh(&running.id, "touch /end");
    let second = bench.await_attempt("app", 1, ContainerState::ContainerRunning);
    bench.sh(&second.id, "test ! -e /end");
    finish(bench.daemon_command(&["stop", "kept"])).ok();
    until("the keeper's end", ANSWER_DEADLINE, || {
        bench.keepers().is_empty().then_some(())
    });
    // Nothing was started again by the stop.
    let all = bench.attempts("app");
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(
        all.iter()
            .all(|one| one.state() == ContainerState::ContainerExited)
    );
    bench.remove("kept");
}

#[test]
fn a_pod_that_is_stopped_by_others_is_let_go() {
    let bench = Bench::new();
    let spec = "
  containers:
  - {name: app, image: BUSYBOX, command: [sleep, '1000']}
";
    let id = bench.up("others", spec);
    must("stop", bench.daemon.try_stop_pod(&id));
    until("the keeper's end", ANSWER_DEADLINE, || {
        bench.keepers().is_empty().then_some(())
    });
    assert_eq!(bench.attempts("app").len(), 1);
    bench.remove("others");
}

#[test]
fn a_run_that_fails_halfway_leaves_nothing() {
    let bench = Bench::new();
    let file = bench.manifest(
        "halfway",
        "
  volumes: [{name: v, emptyDir: {}}]
  containers:
  - {name: good, image: BUSYBOX, command: [sleep, '1000'], volumeMounts: [{name: v, mountPath: /v}]}
  - {name: bad, image: BUSYBOX, command: [/no/such/program]}
",
    );
    let said = bench.run(&[&file]).fails(1);
    assert!(
        said.contains("bad") && said.contains("/no/such/program"),
        "{said}"
    );
    bench.left_nothing();

    let file = bench.manifest(
        "init",
        "
  restartPolicy: Never
  initContainers: [{name: first, image: BUSYBOX, command: [sh, -c, 'echo because; exit 3']}]
  containers: [{name: app, image: BUSYBOX, command: [sleep, '1000']}]
",
    );
    let said = bench.run(&[&file]).fails(1);
    assert!(
        said.contains("first exited with 3") && said.contains("because"),
        "{said}"
    );
    bench.left_nothing();

    // A pod that was there before stays.
    let id = bench.up(
        "halfway",
        "  containers: [{name: good, image: BUSYBOX, command: [sleep, '1000']}]\n",
    );
    let file = bench.manifest(
        "halfway",
        "
  containers:
  - {name: good, image: BUSYBOX, command: [sleep, '1000']}
  - {name: bad, image: BUSYBOX, command: [/no/such/program]}
",
    );
    let said = bench.run(&[&file]).fails(1);
    assert!(said.contains("default/halfway runs from another"), "{said}");
    assert_eq!(
        bench.daemon.pods().first().map(|pod| pod.id.clone()),
        Some(id)
    );
    bench.remove("halfway");
}

/// A manifest was edited and run again: the run succeeded with the old id, said nothing, and the old container went on.
#[test]
fn an_edited_manifest_is_refused_or_replaces_the_pod() {
    let bench = Bench::new();
    let spec = |seconds: u32| {
        format!("  containers: [{{name: a, image: BUSYBOX, command: [sleep, '{seconds}']}}]\n")
    };
    let id = bench.up("ed", &spec(1000));
    assert_eq!(bench.up("ed", &spec(1000)), id, "the same manifest");

    let file = bench.manifest("ed", &spec(2000));
    let said = bench.run(&[&file]).fails(1);
    assert!(
        said.contains("default/ed runs from another manifest; use --replace"),
        "{said}"
    );
    assert_eq!(bench.daemon.pods().len(), 1);
    // Without an image the new pod cannot run, so the old one goes on.
    let broken = fs::read_to_string(&file)
        .unwrap()
        .replace(BUSYBOX, "127.0.0.1:1/none:1");
    let lacking = bench.daemon.place.dir.join("lacking.yaml");
    fs::write(&lacking, broken).unwrap();
    bench
        .run(&[lacking.to_str().unwrap(), "--replace"])
        .fails(1);
    assert_eq!(bench.daemon.pods()[0].id, id, "the old pod");

    let new = bench.run(&[&file, "--replace"]).ok().trim().to_owned();
    assert_ne!(new, id);
    let pods: Vec<_> = bench.daemon.pods().into_iter().map(|pod| pod.id).collect();
    assert_eq!(pods, [new.as_str()]);
    assert_eq!(bench.up("ed", &spec(2000)), new, "the edited manifest");
    bench.remove("ed");
}

/// `rm two-containers` removed the newer of two pods of this name, which was in another namespace than the one that was
/// meant; the other verbs took the newest in the same way.
#[test]
fn a_name_of_two_namespaces_is_refused_by_every_verb() {
    let bench = Bench::new();
    let spec = "  containers: [{name: a, image: BUSYBOX, command: [sleep, '1000']}]\n";
    let id = bench.up("web", spec);
    let file = bench.manifest("web", spec);
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace("metadata:\n", "metadata:\n  namespace: other\n");
    fs::write(&file, text).unwrap();
    let other = bench.run(&[&file]).ok().trim().to_owned();

    let all = "default/web, other/web";
    let containers = "default/web/a, other/web/a";
    for (args, list) in [
        (&["rm", "web"][..], all),
        (&["rm", "--force", "web/a"], containers),
        (&["stop", "web"], all),
        (&["ns", "web"], all),
        (&["tree", "web"], all),
        (&["why", "web"], all),
        (&["why", "web/a"], containers),
        (&["enter", "web/a", "--", "true"], containers),
        (&["logs", "web"], all),
        (&["logs", "a"], containers),
        (&["inspect", "web"], all),
        (&["stats", "web"], all),
        (&["stats", "--pod", "web"], all),
        (&["top", "web"], all),
        (&["events", "web"], all),
        (&["ps", "--pod", "web"], all),
        (&["port-forward", "web", ":80"], all),
        (&["exec", "a", "true"], containers),
        (&["exec", "web/a", "true"], containers),
        (&["attach", "web/a"], containers),
    ] {
        let said = finish(bench.verb(args)).fails(1);
        assert!(said.contains(list), "{args:?}: {said}");
    }
    assert_eq!(bench.daemon.pods().len(), 2);

    let shown = finish(bench.verb(&["inspect", "--namespace", "other", "web"])).ok();
    assert!(shown.contains(&other), "{shown}");
    finish(bench.verb(&["exec", "-n", "other", "web/a", "true"])).ok();
    finish(bench.verb(&["exec", "default/web/a", "true"])).ok();
    finish(bench.verb(&["rm", "-n", "other", "web"])).ok();
    let left: Vec<_> = bench.daemon.pods().into_iter().map(|pod| pod.id).collect();
    assert_eq!(left, [id]);
    finish(bench.verb(&["rm", "--all", "--namespace", "other"])).ok();
    assert_eq!(bench.daemon.pods().len(), 1, "only of the namespace");
    bench.remove("web");
}

#[test]
fn rm_waits_for_the_end_and_leaves_nothing() {
    let bench = Bench::new();
    for (code, exit) in [(0, "exit 0"), (1, "exit 7")] {
        let file = bench.manifest(
            "once",
            &format!(
                "
  restartPolicy: Never
  volumes: [{{name: v, emptyDir: {{}}}}]
  initContainers: [{{name: side, image: BUSYBOX, restartPolicy: Always, command: [sleep, '1000']}}]
  containers:
  - {{name: app, image: BUSYBOX, command: [sh, -c, 'echo hello; sleep 0.3; {exit}'], volumeMounts: [{{name: v, mountPath: /v}}]}}
"
            ),
        );
        let ran = bench.run(&[&file, "--rm", "--watch"]);
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.stdout.contains("app  | hello\n"), "{ran:?}");
        bench.left_nothing();
    }
}

#[test]
fn rm_removes_the_pod_after_a_signal_too() {
    let bench = Bench::new();
    let spec = "
  containers:
  - name: app
    image: BUSYBOX
    command: [sh, -c, 'echo begun; exec sleep 1000']
    lifecycle: {preStop: {exec: {command: [sh, -c, 'echo stopping > /proc/1/fd/1']}}}
";
    let file = bench.manifest("signal", spec);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let ran = Background::start(bench.command(&["run", "--rm", "--watch", &file]));
        let app = bench.await_attempt("app", 0, ContainerState::ContainerRunning);
        until("its log", ANSWER_DEADLINE, || {
            bench.log(&app).contains("begun").then_some(())
        });
        ran.signal(signal);
        let (code, out, err) = ran.end();
        assert_eq!(code, Some(1), "{out}{err}");
        assert!(
            out.contains("app | begun") && out.contains("app | stopping"),
            "{out}{err}"
        );
        bench.left_nothing();
    }
}

#[test]
fn a_watch_that_is_ended_leaves_the_pod_to_a_keeper() {
    let bench = Bench::new();
    let spec = "
  containers:
  - {name: app, image: BUSYBOX, command: [sh, -c, 'echo begun; sleep 1; exit 4']}
";
    let file = bench.manifest("watched", spec);
    let ran = Background::start(bench.command(&["run", "--watch", &file]));
    bench.await_attempt("app", 1, ContainerState::ContainerRunning);
    assert!(bench.keepers().is_empty());
    ran.signal(Signal::SIGINT);
    let (code, out, err) = ran.end();
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(err.contains("app exited with 4, restarting"), "{err}");
    assert_eq!(bench.keepers().len(), 1);
    // Another watch takes the pod over from the keeper, and shows what is written from then on.
    let ran = Background::start(bench.command(&["run", "--watch", "--rm", &file]));
    until("the keeper's end", ANSWER_DEADLINE, || {
        bench.keepers().is_empty().then_some(())
    });
    ran.signal(Signal::SIGTERM);
    ran.end();
    bench.left_nothing();
}

#[test]
fn an_image_can_be_a_volume() {
    let bench = Bench::new();
    let spec = "
  restartPolicy: Never
  volumes: [{name: tools, image: {reference: BUSYBOX}}]
  containers:
  - name: app
    image: BUSYBOX
    command: [sleep, '1000']
    volumeMounts: [{name: tools, mountPath: /tools}, {name: tools, mountPath: /only-bin, subPath: bin}]
";
    bench.up("image-volume", spec);
    let app = bench.await_attempt("app", 0, ContainerState::ContainerRunning);
    bench.sh(&app.id, "test -x /tools/bin/sh && test -x /only-bin/sh");
    assert_ne!(bench.sh(&app.id, "touch /tools/x 2>&1 || echo no"), "");
    bench.remove("image-volume");
}

#[test]
fn a_user_namespace_and_the_group_of_volumes() {
    let bench = Bench::new();
    let spec = "
  restartPolicy: Never
  hostUsers: false
  securityContext: {fsGroup: 4000}
  volumes: [{name: v, emptyDir: {}}]
  containers:
  - name: app
    image: BUSYBOX
    command: [sleep, '1000']
    securityContext: {runAsUser: 1000, runAsGroup: 1000}
    volumeMounts: [{name: v, mountPath: /v}]
";
    bench.up("users", spec);
    let app = bench.await_attempt("app", 0, ContainerState::ContainerRunning);
    let map = bench.sh(&app.id, "tr -s ' ' < /proc/self/uid_map");
    let numbers: Vec<u32> = map
        .split_whitespace()
        .map(|one| one.parse().unwrap())
        .collect();
    assert_eq!(
        (numbers[0], numbers[1] % 65_536, numbers[2]),
        (0, 0, 65_536),
        "{map}"
    );
    assert!((0x7000_0000..0x7ffe_0000).contains(&numbers[1]), "{map}");
    let seen = bench.sh(&app.id, "echo x > /v/file && stat -c %u:%g /v/file; id -G");
    assert_eq!(seen, "1000:4000\n1000 4000\n");
    bench.remove("users");
}

#[test]
fn fields_of_the_pod_become_variables_and_probes_reach_its_ports() {
    let bench = Bench::new();
    let from = |name: &str, path: &str| {
        format!("{{name: {name}, valueFrom: {{fieldRef: {{fieldPath: \"{path}\"}}}}}}")
    };
    let env = [
        from("NAME", "metadata.name"),
        from("APP", "metadata.labels['app']"),
        from("IP", "status.podIP"),
    ];
    let spec = format!(
        "
  containers:
  - name: app
    image: BUSYBOX
    env: [{}]
    command: [sh, -c, 'echo $NAME $APP $IP; mkdir /w; echo ok > /w/index.html; sleep 0.5; exec httpd -f -p 8080 -h /w']
    ports: [{{name: web, containerPort: 8080}}]
    startupProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1, failureThreshold: 20}}
    readinessProbe: {{httpGet: {{port: web, path: /}}, periodSeconds: 1}}
    lifecycle: {{postStart: {{exec: {{command: [touch, /hooked]}}}}}}
",
        env.join(", ")
    );
    let file = bench.manifest("fields", &spec);
    let ran = Background::start(bench.command(&["run", "--watch", "--rm", &file]));
    let app = bench.await_attempt("app", 0, ContainerState::ContainerRunning);
    std::thread::sleep(Duration::from_secs(5));
    bench.sh(&app.id, "test -e /hooked");
    let pod = must(
        "status",
        bench.daemon.try_pod_status(&bench.daemon.pods()[0].id),
    );
    let ip = pod.status.unwrap().network.unwrap().ip;
    assert_eq!(bench.log(&app), format!("fields fields-app {ip}\n"));
    ran.signal(Signal::SIGINT);
    let (_, out, err) = ran.end();
    assert!(
        err.contains("app has started up") && err.contains("app is ready"),
        "{out}{err}"
    );
    bench.left_nothing();
}

#[test]
fn a_terminal_sees_bars_spinners_and_colours() {
    let bench = Bench::new();
    let file = bench.manifest(
        "terminal",
        "
  restartPolicy: Never
  containers:
  - {name: one, image: BUSYBOX, command: [sh, -c, 'echo hello from one; sleep 0.5']}
  - {name: second, image: BUSYBOX, command: [sh, -c, 'echo hello from second; exit 3']}
",
    );
    let line = format!(
        "{:?}",
        bench.command(&["run", "--watch", "--rm", "--pull", "always", &file])
    );
    let mut command = Command::new("timeout");
    command
        .args(["--foreground", "60", "script", "-qec", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null());
    let seen = finish(command);
    assert_eq!(seen.code, 1, "{seen:?}");
    let painted = |colour: u8, text: &str| format!("\u{1b}[{colour}m{text}\u{1b}[0m");
    for text in [
        painted(36, "one    |"),
        painted(35, "second |"),
        painted(33, "exited with 3"),
        painted(31, "the pod has failed"),
    ] {
        assert!(seen.stdout.contains(&text), "{text:?}: {seen:?}");
    }
    // Lines are drawn again in place.
    assert!(seen.stdout.contains("\u{1b}[2K"), "{seen:?}");
    bench.left_nothing();
}

#[test]
fn a_pull_says_how_far_it_is() {
    let daemon = Daemon::start();
    let ran = daemon.holdfast(&["pull", BUSYBOX]);
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert!(
        lines.iter().all(|line| line.starts_with("pulling ")),
        "{ran:?}"
    );
    assert!(!lines.is_empty(), "{ran:?}");
    assert!(ran.ok().starts_with("sha256:"));
    assert!(daemon.image(BUSYBOX).is_some());
    // Nothing comes the second time, and a bad reference is an error.
    let again = daemon.holdfast(&["pull", BUSYBOX]);
    assert_eq!(again.stderr, "");
    let said = daemon
        .holdfast(&["pull", "registry.holdfast.test/no/such:1"])
        .fails(1);
    assert!(said.contains("no/such"), "{said}");
}
