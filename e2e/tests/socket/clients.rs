//! Clients of other makes and releases: each runs a pod with a container through its life, with a command in it and
//! its log. `e2e/clients.sh` builds them; k8s-cri is in `older_client`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use e2e::program::{Ran, cache, finish, source};
use e2e::request::BUSYBOX;
use e2e::{Daemon, skip};
use serde_json::{Value, json};

/// A client that clients.sh has built; None when it has not.
fn client(name: &str) -> Option<PathBuf> {
    let path = cache().join("clients").join(name);
    path.exists().then_some(path)
}

/// A crictl of some release.
struct Crictl<'d> {
    daemon: &'d Daemon,
    program: PathBuf,
    /// It knows the key max-retries, without which 1.37 tries once, and which those before refuse.
    retries: bool,
}

impl Crictl<'_> {
    /// Runs it with the configuration that is shipped, but for the socket.
    fn run(&self, args: &[&str]) -> Ran {
        let mut shipped = fs::read_to_string(source("deploy/crictl.yaml")).unwrap();
        assert!(shipped.contains("\nmax-retries: 3\n"));
        if !self.retries {
            shipped = shipped.replace("\nmax-retries: 3\n", "\n");
        }
        let socket = self.daemon.place.socket().display().to_string();
        let config = self.daemon.place.dir.join("crictl.yaml");
        fs::write(
            &config,
            shipped.replace("/run/holdfast/holdfast.sock", &socket),
        )
        .unwrap();
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(config).args(args);
        command.stdin(Stdio::null());
        finish(command)
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        self.run(args).ok().trim().to_owned()
    }

    fn file(&self, name: &str, value: &Value) -> String {
        let path = self.daemon.place.dir.join(name);
        fs::write(&path, value.to_string()).unwrap();
        path.display().to_string()
    }

    fn life(&self) {
        self.ok(&["pull", BUSYBOX]);
        let pod = self.file(
            "pod.json",
            &json!({
                "metadata": { "name": "life", "namespace": "default", "uid": "life", "attempt": 1 },
                "hostname": "life", "log_directory": self.daemon.place.logs(), "linux": {},
            }),
        );
        let container = self.file(
            "container.json",
            &json!({
                "metadata": { "name": "main" }, "image": { "image": BUSYBOX },
                "command": ["sh", "-c", "echo out; echo err >&2; exec sleep 10000"],
                "log_path": "main.log", "linux": {},
            }),
        );
        let id = self.ok(&["runp", &pod]);
        let run = self.ok(&["create", &id, &container, &pod]);
        self.ok(&["start", &run]);
        assert_eq!(self.ok(&["exec", "-s", &run, "hostname"]), "life");
        assert_eq!(self.ok(&["exec", &run, "hostname"]), "life");
        let logs = self.run(&["logs", &run]);
        assert_eq!(
            (logs.stdout.as_str(), logs.stderr.as_str()),
            ("out\n", "err\n")
        );
        assert!(self.ok(&["ps"]).contains(&run[..13]));
        let status: Value = serde_json::from_str(&self.ok(&["inspect", &run])).unwrap();
        assert_eq!(status["status"]["state"], "CONTAINER_RUNNING");
        self.ok(&["stats", "--id", &run]);
        self.ok(&["stop", "-t", "0", &run]);
        self.ok(&["rm", &run]);
        self.ok(&["stopp", &id]);
        self.ok(&["rmp", &id]);
        assert_eq!(self.ok(&["pods", "-q"]), "");
        self.ok(&["rmi", BUSYBOX]);
    }
}

fn crictl(version: &str, retries: bool) {
    let Some(program) = client(&format!("crictl-{version}")) else {
        skip!("crictl {version} is not built: run e2e/clients.sh");
    };
    let daemon = Daemon::start();
    let crictl = Crictl {
        daemon: &daemon,
        program,
        retries,
    };
    assert!(crictl.ok(&["--version"]).contains(version));
    crictl.life();
}

#[test]
fn crictl_1_30() {
    crictl("1.30.0", false);
}

#[test]
fn crictl_1_34() {
    crictl("1.34.0", false);
}

#[test]
fn crictl_1_36() {
    crictl("1.36.0", false);
}

#[test]
fn crictl_1_37() {
    crictl("1.37.0", true);
}

/// A client names the socket's path as the authority when it dials by itself, and every call failed with
/// PROTOCOL_ERROR then. containerd and CRI-O, servers of grpc-go, take whatever is named.
#[test]
fn go_clients_name_what_they_like_as_the_authority() {
    let Some(program) = client("by-path") else {
        skip!("the client by-path is not built: run e2e/clients.sh");
    };
    let daemon = Daemon::start();
    let authorities = [
        "passthrough",
        "path",
        "relative",
        "empty",
        "space",
        "underscore",
        "long",
        "localhost",
        "host",
    ];
    for authority in authorities {
        let logs = daemon.place.logs().join(authority);
        let mut command = Command::new(&program);
        command.arg(daemon.place.socket()).arg(authority);
        command.arg(BUSYBOX).arg(logs);
        finish(command).ok();
        assert!(daemon.pods().is_empty(), "{authority}");
    }
}

#[test]
fn grpcio_of_python() {
    let Some(python) = client("python/bin/python") else {
        skip!("grpcio is not installed: run e2e/clients.sh");
    };
    let daemon = Daemon::start();
    let socket = daemon.place.socket();
    // Nothing, as grpcio likes it; the path, as earlier releases named it; and the path with percent signs.
    let path = socket.display().to_string();
    let escaped = path.replace('/', "%2F");
    for (number, authority) in [None, Some(path), Some(escaped)].into_iter().enumerate() {
        let mut command = Command::new(&python);
        command.arg(source("e2e/tools/clients/python/life.py"));
        command.arg(source("proto")).arg(&socket).arg(BUSYBOX);
        command.arg(daemon.place.logs().join(number.to_string()));
        command.args(authority);
        finish(command).ok();
        assert!(daemon.pods().is_empty());
    }
}
