//! The real crictl, as people use it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use e2e::program::{Ran, finish, tool};
use e2e::request::BUSYBOX;
use e2e::{Daemon, evidence, skip};
use serde_json::{Value, json};

struct Crictl<'d> {
    daemon: &'d Daemon,
    program: PathBuf,
}

impl Crictl<'_> {
    fn run(&self, args: &[&str]) -> Ran {
        let endpoint = format!("unix://{}", self.daemon.place.socket().display());
        let mut command = Command::new(&self.program);
        command.args([
            "--config",
            "/dev/null",
            "--timeout",
            "30s",
            "--runtime-endpoint",
            &endpoint,
        ]);
        command
            .args(["--image-endpoint", &endpoint])
            .args(args)
            .stdin(Stdio::null());
        finish(command)
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        self.run(args).ok()
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(args);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }

    fn file(&self, name: &str, value: &Value) -> String {
        let path = self.daemon.place.dir.join(name);
        fs::write(&path, value.to_string()).unwrap();
        path.display().to_string()
    }

    fn pod_file(&self, name: &str) -> String {
        let logs = self.daemon.place.logs().join(name);
        self.file(&format!("{name}.json"), &json!({
            "metadata": { "name": name, "namespace": "default", "uid": format!("uid-{name}"), "attempt": 1 },
            "hostname": name, "log_directory": logs, "labels": { "app": "demo" }, "linux": {},
        }))
    }
}

fn container(name: &str, script: &str) -> Value {
    json!({ "metadata": { "name": name }, "image": { "image": BUSYBOX }, "command": ["sh", "-c", script],
        "log_path": format!("{name}.log"), "linux": {} })
}

macro_rules! crictl {
    ($daemon:expr) => {
        match tool("crictl") {
            Some(program) => Crictl {
                daemon: $daemon,
                program,
            },
            None => skip!("crictl is not built: run e2e/tools/install.sh"),
        }
    };
}

#[test]
fn a_pods_life_by_hand() {
    let daemon = Daemon::start();
    let crictl = crictl!(&daemon);
    assert!(crictl.ok(&["--version"]).contains("1.37"));
    crictl.ok(&["pull", BUSYBOX]);
    let sandbox = crictl.pod_file("demo");
    let pod = crictl.ok(&["runp", &sandbox]).trim().to_owned();
    let config = crictl.file(
        "c.json",
        &container("c", "echo out; echo err >&2; exec sleep 10000"),
    );
    let id = crictl
        .ok(&["create", &pod, &config, &sandbox])
        .trim()
        .to_owned();
    crictl.ok(&["start", &id]);

    assert_eq!(
        crictl
            .ok(&["exec", "-s", &id, "echo", "hello", "world"])
            .trim(),
        "hello world"
    );
    let failed = crictl.run(&["exec", "-s", &id, "sh", "-c", "exit 9"]);
    assert_ne!(failed.code, 0);
    let logs = crictl.run(&["logs", &id]);
    assert_eq!(
        (logs.stdout.as_str(), logs.stderr.as_str()),
        ("out\n", "err\n")
    );

    let ps = crictl.json(&["ps", "-o", "json"]);
    assert_eq!(ps["containers"][0]["id"], json!(id));
    assert_eq!(ps["containers"][0]["state"], "CONTAINER_RUNNING");
    assert!(crictl.ok(&["ps"]).contains(&id[..13]));
    let pods = crictl.json(&[
        "pods", "-o", "json", "--label", "app=demo", "--state", "ready",
    ]);
    assert_eq!(pods["items"][0]["id"], json!(pod));
    assert!(crictl.ok(&["pods"]).contains("demo"));

    crictl.ok(&["stop", "-t", "0", &id]);
    assert_eq!(crictl.json(&["inspect", &id])["status"]["exitCode"], 137);
    crictl.ok(&["rm", &id]);
    crictl.ok(&["stopp", &pod]);
    assert_eq!(
        crictl.json(&["inspectp", &pod])["status"]["state"],
        "SANDBOX_NOTREADY"
    );
    crictl.ok(&["rmp", &pod]);
    assert_eq!(crictl.ok(&["pods", "-q"]), "");
    crictl.ok(&["rmi", BUSYBOX]);
    assert_eq!(crictl.ok(&["images", "-q"]), "");
}

#[test]
fn inspection_gives_people_pid_and_spec() {
    let daemon = Daemon::start();
    let crictl = crictl!(&daemon);
    let sandbox = crictl.pod_file("inspect");
    let config = crictl.file("c.json", &container("c", "exec sleep 10000"));
    crictl.ok(&["pull", BUSYBOX]);
    let id = crictl.ok(&["run", &config, &sandbox]).trim().to_owned();
    let inspected = crictl.json(&["inspect", &id]);
    let pid = i32::try_from(inspected["info"]["pid"].as_i64().unwrap()).unwrap();
    assert!(evidence::command_line(pid).contains("sleep 10000"));
    assert_eq!(inspected["info"]["runtimeSpec"]["process"]["args"][0], "sh");
    assert_eq!(inspected["status"]["metadata"]["name"], "c");
    let template = [
        "inspect",
        "-o",
        "go-template",
        "--template",
        "{{.info.pid}}",
        &id,
    ];
    assert_eq!(crictl.ok(&template).trim(), pid.to_string());
    let pod = crictl.ok(&["pods", "-q"]).trim().to_owned();
    let inspected = crictl.json(&["inspectp", &pod]);
    let ip = inspected["status"]["network"]["ip"].as_str().unwrap();
    assert!(ip.starts_with("10."), "{ip}");
    assert_eq!(inspected["status"]["labels"]["app"], "demo");
    assert!(inspected["info"]["pid"].as_i64().unwrap() > 0);
    // crictl's JSON asks for no namespaces: the pid namespace is the pod's.
    let pause = i32::try_from(inspected["info"]["pid"].as_i64().unwrap()).unwrap();
    assert_eq!(
        evidence::namespace(pid, "pid"),
        evidence::namespace(pause, "pid")
    );
}

#[test]
fn images_and_figures() {
    let daemon = Daemon::start();
    let crictl = crictl!(&daemon);
    crictl.ok(&["pull", "busybox"]);
    let images = crictl.json(&["images", "-o", "json"]);
    assert_eq!(
        images["images"][0]["repoTags"][0],
        "docker.io/library/busybox:latest"
    );
    assert!(crictl.ok(&["images"]).contains("docker.io/library/busybox"));
    assert_eq!(
        crictl.json(&["inspecti", "busybox"])["status"]["id"],
        images["images"][0]["id"]
    );
    let system = crictl.json(&["imagefsinfo"]);
    let point = system["status"]["imageFilesystems"][0]["fsId"]["mountpoint"].as_str();
    assert!(
        point.is_some_and(|point| point.starts_with('/')),
        "{system}"
    );
    let info = crictl.json(&["info"]);
    let conditions = info["status"]["conditions"].as_array().unwrap();
    assert!(
        conditions
            .iter()
            .any(|of| of["type"] == "RuntimeReady" && of["status"] == true),
        "{info}"
    );
    assert!(crictl.ok(&["version"]).contains("holdfast"));

    let sandbox = crictl.pod_file("stats");
    crictl.ok(&["pull", BUSYBOX]);
    let config = crictl.file("c.json", &container("c", "exec sleep 10000"));
    let id = crictl.ok(&["run", &config, &sandbox]).trim().to_owned();
    let stats = crictl.json(&["stats", "-o", "json", "--id", &id]);
    let memory = stats["stats"][0]["memory"]["workingSetBytes"]["value"]
        .as_str()
        .unwrap();
    assert!(memory.parse::<u64>().unwrap() > 0, "{stats}");
    assert!(crictl.ok(&["stats"]).contains(&id[..13]));
    crictl.ok(&["update", "--memory", "67108864", &id]);
    let group = evidence::cgroup(
        i32::try_from(
            crictl.json(&["inspect", &id])["info"]["pid"]
                .as_i64()
                .unwrap(),
        )
        .unwrap(),
        "memory",
    );
    assert_eq!(
        group.read("memory.limit_in_bytes", "memory.max"),
        "67108864"
    );
    crictl.ok(&["rmp", "-f", "-a"]);
    crictl.ok(&["rmi", "-a"]);
}

#[test]
fn mistakes_are_told_in_words() {
    let daemon = Daemon::start();
    let crictl = crictl!(&daemon);
    let missing = crictl.run(&["inspect", "0123456789abc"]);
    assert_ne!(missing.code, 0);
    assert!(
        missing.stderr.contains("0123456789abc") && missing.stderr.contains("not known"),
        "{}",
        missing.stderr
    );
    let absent = crictl.run(&["pull", "registry.holdfast.test/no/such:1"]);
    assert!(
        absent.code != 0 && absent.stderr.contains("no/such"),
        "{}",
        absent.stderr
    );
    let handler = crictl.run(&["runp", "-r", "kata", &crictl.pod_file("x")]);
    assert!(
        handler.code != 0 && handler.stderr.contains("kata"),
        "{}",
        handler.stderr
    );
}

/// A program that is ended with the test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn figures_and_events_by_hand() {
    let daemon = Daemon::start();
    let crictl = crictl!(&daemon);
    let endpoint = format!("unix://{}", daemon.place.socket().display());
    let told = daemon.place.dir.join("events.json");
    let mut command = Command::new(&crictl.program);
    command
        .args(["--config", "/dev/null", "--runtime-endpoint", &endpoint])
        .args(["events", "-o", "json"])
        .stdin(Stdio::null())
        .stdout(fs::File::create(&told).unwrap());
    let events = Ended(command.spawn().unwrap());
    daemon.provide(BUSYBOX);
    let pod_file = crictl.pod_file("figures");
    let pod = crictl.ok(&["runp", &pod_file]).trim().to_owned();
    let file = crictl.file("c.json", &container("c", "while :; do sleep 1; done"));
    let id = crictl
        .ok(&["create", &pod, &file, &pod_file])
        .trim()
        .to_owned();
    crictl.ok(&["start", &id]);
    crictl.ok(&["update", "--memory", "67108864", &id]);
    let status = crictl.json(&["inspect", &id]);
    let limit = &status["status"]["resources"]["linux"]["memoryLimitInBytes"];
    assert_eq!(limit, "67108864", "{status}");
    let stats = crictl.json(&["statsp", "-o", "json"]);
    let linux = &stats["stats"][0]["linux"];
    assert_eq!(
        linux["network"]["defaultInterface"]["name"], "eth0",
        "{stats}"
    );
    assert_eq!(linux["containers"][0]["attributes"]["id"], id.as_str());
    let described = crictl.json(&["metricdescs"]);
    let described = described["descriptors"].as_array().unwrap().len();
    assert!(described > 50, "{described}");
    let metrics = crictl.json(&["metricsp"]);
    let metrics = &metrics["podMetrics"][0]["containerMetrics"][0];
    assert_eq!(metrics["containerId"], id.as_str());
    crictl.ok(&["stop", "-t", "0", &id]);
    let read = || fs::read_to_string(&told).unwrap_or_default();
    e2e::call::until(
        "the container's end",
        std::time::Duration::from_secs(10),
        || read().contains("CONTAINER_STOPPED_EVENT").then_some(()),
    );
    drop(events);
    assert!(read().contains(&id), "{}", read());
}
