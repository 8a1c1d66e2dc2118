//! Images as other people's tools write them: imported and pulled, run, and compared with what skopeo and umoci say
//! of them. `e2e/writers.sh` makes them; Debian's tools do so at the time of the test.

use std::fs;
use std::path::{Path, PathBuf};

use cri_api::runtime::v1::{ImageStatusRequest, Mount};
use e2e::program::{self, cache, run, source};
use e2e::registry::{Program, Registry};
use e2e::request::{self, BUSYBOX, container};
use e2e::{Container, Daemon, Pod, call, must, skip};
use serde_json::Value;

/// How many files that differ are told of one image.
const SHOWN: usize = 6;

/// One image: a line of the table of its writer.
#[derive(Debug, Clone)]
struct Case {
    name: String,
    /// A transport of skopeo, `rootfs`, or `refused`.
    kind: String,
    file: PathBuf,
    /// The name to import it as.
    reference: String,
    /// The digest of the configuration that skopeo finds; `-` when skopeo finds no configuration.
    id: String,
    /// What it prints, what the refusal says, or `-`.
    prints: String,
}

/// All images of a writer, or why there are none.
fn cases(writer: &str) -> Result<Vec<Case>, String> {
    let dir = cache().join("writers/out").join(writer);
    let Ok(table) = fs::read_to_string(dir.join("table.tsv")) else {
        return Err(format!(
            "there is no output of {writer}: run e2e/writers.sh {writer}"
        ));
    };
    let case = |line: &str| {
        let mut words = line.split('\t').map(str::to_owned);
        let mut word = || words.next().unwrap_or_else(|| panic!("{writer}: {line:?}"));
        Case {
            name: word(),
            kind: word(),
            file: dir.join(word()),
            reference: word(),
            id: word(),
            prints: word(),
        }
    };
    Ok(table.lines().map(case).collect())
}

impl Case {
    /// A file beside the image, such as its list of files.
    fn beside(&self, suffix: &str) -> Option<String> {
        let dir = self.file.parent()?;
        fs::read_to_string(dir.join(format!("{}.{suffix}", self.name))).ok()
    }
}

/// Imports all images of a writer, and compares each with what is known of it.
fn check(writer: &str) {
    let cases = match cases(writer) {
        Ok(cases) => cases,
        Err(reason) => skip!("{reason}"),
    };
    let daemon = Daemon::start();
    let pod = daemon.run_named("writers");
    let mut wrong = Vec::new();
    for case in &cases {
        let file = case.file.display().to_string();
        let imported = daemon.holdfast(&["image", "import", &file, &case.reference]);
        if case.kind == "refused" {
            let said = imported.fails(1);
            assert!(
                said.contains("DataLoss") && said.contains(&case.prints),
                "{said}"
            );
            continue;
        }
        if imported.code != 0 {
            wrong.push(format!("{}: {}", case.name, imported.stderr.trim()));
            continue;
        }
        let found = differences(&pod, case, &case.reference);
        wrong.extend(
            found
                .into_iter()
                .map(|what| format!("{}: {what}", case.name)),
        );
    }
    assert!(wrong.is_empty(), "{writer}:\n{}", wrong.join("\n"));
}

/// What an image that is present has otherwise than its writer, skopeo and umoci say.
fn differences(pod: &Pod<'_>, case: &Case, image: &str) -> Vec<String> {
    let mut found = configuration(pod.daemon, case, image);
    let short = format!("{}-{}", case.name, pod.daemon.containers().len());
    if case.prints != "-" {
        let printed = match pod.attempt(container(&short, image, &[])) {
            Ok(run) => {
                run.wait();
                run.stdout()
            }
            Err(status) => status.to_string(),
        };
        if printed.trim_end() != case.prints {
            found.push(format!("prints {printed:?} instead of {:?}", case.prints));
        }
    }
    if let Some(expected) = case.beside("tree") {
        let viewer = viewer(pod, &format!("{short}-view"), image);
        let root = PathBuf::from(format!("/proc/{}/root/image", viewer.pid()));
        let mut other = files(&root, &expected);
        if other.len() > SHOWN {
            other[SHOWN] = format!("and {} more", other.len() - SHOWN);
            other.truncate(SHOWN + 1);
        }
        found.extend(other);
        viewer.stop(0);
    }
    found
}

/// A container in which the image is mounted at /image, so that images without any program can be looked at too.
fn viewer<'d>(pod: &Pod<'d>, name: &str, image: &str) -> Container<'d> {
    let mut config = container(name, BUSYBOX, &["sleep", "100000"]);
    config.mounts = vec![Mount {
        container_path: "/image".into(),
        readonly: true,
        image: Some(request::image_spec(image)),
        ..Mount::default()
    }];
    pod.start(config)
}

/// Compares the files below a directory with a list of `tree.py`.
fn files(root: &Path, expected: &str) -> Vec<String> {
    let lister = source("e2e/writers/tree.py").display().to_string();
    let root = root.display().to_string();
    let actual = run("python3", [lister.as_str(), "list", root.as_str()]).ok();
    let lacks = |in_one: &str, of_other: &str, what: &str| {
        let other: Vec<_> = of_other.lines().collect();
        let lines = in_one.lines().filter(|line| !other.contains(line));
        lines
            .map(|line| format!("{what} {line}"))
            .collect::<Vec<_>>()
    };
    let mut found = lacks(expected, &actual, "lacks");
    found.extend(lacks(&actual, expected, "has"));
    found
}

/// Compares id and configuration with those that skopeo finds.
fn configuration(daemon: &Daemon, case: &Case, image: &str) -> Vec<String> {
    let mut found = Vec::new();
    let request = ImageStatusRequest {
        image: Some(request::image_spec(image)),
        verbose: true,
    };
    let answer = must(
        "ImageStatus",
        call(daemon.clients().images.image_status(request)),
    );
    let Some(status) = answer.image else {
        return vec![format!("is not there as {image}")];
    };
    let Some(expected) = case.beside("config.json") else {
        return found;
    };
    if status.id != case.id {
        found.push(format!("has the id {} instead of {}", status.id, case.id));
    }
    let parse = |text: &str| -> Value {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    let (expected, info) = (parse(&expected), parse(&answer.info["info"]));
    let actual = &info["imageSpec"];
    for key in [
        "Entrypoint",
        "Cmd",
        "Env",
        "User",
        "WorkingDir",
        "Labels",
        "StopSignal",
    ] {
        let (one, other) = (&expected["config"][key], &actual["config"][key]);
        if !same(one, other) {
            found.push(format!("{key} is {other} instead of {one}"));
        }
    }
    if !same(
        &expected["rootfs"]["diff_ids"],
        &actual["rootfs"]["diff_ids"],
    ) {
        found.push(format!(
            "diff_ids are {} instead of {}",
            actual["rootfs"], expected["rootfs"]
        ));
    }
    found
}

/// Whether two values are the same to a reader to whom nothing and empty are one.
fn same(one: &Value, other: &Value) -> bool {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    one == other || (empty(one) && empty(other))
}

/// Has Debian's tools make their images, when they are there.
fn small() {
    let script = source("e2e/writers.sh").display().to_string();
    run("bash", [script.as_str(), "small"]).ok();
}

macro_rules! writers {
    ($($(#[$meta:meta])* $writer:ident $(after $prepare:ident)?;)*) => {$(
        $(#[$meta])*
        #[test]
        fn $writer() {
            $($prepare();)?
            check(stringify!($writer));
        }
    )*};
}

writers! {
    umoci after small;
    skopeo after small;
    buildah after small;
    nix after small;
    bazel after small;
    podman;
    crane;
    ko;
    containerd;
    jib;
    containerify;
    buildkit;
    debian;
}

/// Pushes an image by skopeo and pulls it; gives what is wrong.
fn through(
    registry: &Registry,
    daemon: &Daemon,
    pod: &Pod<'_>,
    writer: &str,
    case: &Case,
) -> Vec<String> {
    let file = case.file.display();
    let from = match case.kind.as_str() {
        // A layout of several names has the one of the table.
        "oci" if writer == "umoci" || writer == "skopeo" => format!("oci:{file}:it"),
        kind => format!("{kind}:{file}"),
    };
    let name = format!("{}/made/{writer}-{}:1", registry.address(), case.name);
    let to = format!("docker://{name}");
    let pushed = run(
        "skopeo",
        [
            "--insecure-policy",
            "copy",
            "-q",
            "--all",
            "--preserve-digests",
            "--dest-tls-verify=false",
            &from,
            &to,
        ],
    );
    if pushed.code != 0 {
        return vec![format!("skopeo: {}", pushed.stderr.trim())];
    }
    match daemon.try_pull(&name) {
        Ok(_) => differences(pod, case, &name),
        Err(status) => vec![status.to_string()],
    }
}

/// What goes through the registries: layouts and directories, which are pushed byte for byte.
fn pushes() -> Vec<(&'static str, Case)> {
    let writers = ["umoci", "skopeo", "ko", "jib", "containerify", "buildkit"];
    let all = writers.into_iter().flat_map(|writer| {
        let cases = cases(writer).unwrap_or_default();
        cases.into_iter().map(move |case| (writer, case))
    });
    all.filter(|(_, case)| matches!(case.kind.as_str(), "oci" | "dir"))
        .collect()
}

/// Pulls everything from a registry, over http or https.
fn pulls(program: Program, tls: bool) {
    small();
    if program::installed("skopeo").is_none() {
        skip!("there is no skopeo");
    }
    let registry = match Registry::of(program, tls) {
        Ok(registry) => registry,
        Err(reason) => skip!("{reason}"),
    };
    let daemon = Daemon::start();
    registry.write_own_hosts(&daemon.place.hosts());
    let pod = daemon.run_named("pulls");
    let mut wrong = Vec::new();
    let all = pushes();
    assert!(!all.is_empty(), "nothing to push");
    for (writer, case) in &all {
        let found = through(&registry, &daemon, &pod, writer, case);
        wrong.extend(
            found
                .into_iter()
                .map(|what| format!("{writer} {}: {what}", case.name)),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn docker_registry_over_http() {
    pulls(Program::DockerRegistry, false);
}

#[test]
fn docker_registry_over_https() {
    pulls(Program::DockerRegistry, true);
}

#[test]
fn distribution_over_http() {
    pulls(Program::Distribution, false);
}

#[test]
fn distribution_over_https() {
    pulls(Program::Distribution, true);
}

#[test]
fn go_containerregistry_over_http() {
    pulls(Program::GoContainerregistry, false);
}

#[test]
fn go_containerregistry_over_https() {
    pulls(Program::GoContainerregistry, true);
}
