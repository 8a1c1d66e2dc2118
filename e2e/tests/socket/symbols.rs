//! What the programs are made of.

use std::fs;

use e2e::program::{built, run};

/// No release build of the shim is larger, and every debug build is.
const UNOPTIMISED: u64 = 8 << 20;

#[test]
fn the_shim_links_no_asynchronous_runtime_and_no_grpc() {
    let shim = built("holdfast-shim").display().to_string();
    if fs::metadata(&shim).unwrap().len() > UNOPTIMISED {
        e2e::skip!(
            "only an unoptimised build of the shim is here, which keeps what it does not use"
        );
    }
    let bytes = fs::read(&shim).unwrap();
    for word in ["tokio", "tonic", "hyper", "prost", "serde_json", "rustls"] {
        // Paths of sources are in every panic message, even of a stripped program.
        let marks = [
            format!("/{word}-"),
            format!("{word}::"),
            format!("{}{word}", word.len()),
        ];
        for mark in &marks[..2] {
            let found = bytes
                .windows(mark.len())
                .any(|part| part == mark.as_bytes());
            assert!(!found, "{shim} contains {mark:?}");
        }
    }
    let symbols = run("nm", ["-C", shim.as_str()]);
    for word in ["tokio::", "tonic::", "hyper::"] {
        assert!(!symbols.stdout.contains(word), "{word}");
    }
    let daemon = fs::read(built("holdfastd")).unwrap();
    let mark = b"/tokio-";
    assert!(
        daemon.windows(mark.len()).any(|part| part == mark),
        "the search would not find it anywhere"
    );
}

#[test]
fn the_release_shim_is_static_and_small() {
    let shim = built("holdfast-shim");
    if fs::metadata(&shim).unwrap().len() > UNOPTIMISED {
        e2e::skip!("only an unoptimised build of the shim is here");
    }
    let headers = run("readelf", ["-l", &shim.display().to_string()]).ok();
    assert!(!headers.contains("INTERP"), "it needs a dynamic linker");
    let size = fs::metadata(&shim).unwrap().len();
    assert!(size < 4 << 20, "{size} bytes");
}

#[test]
fn the_shim_has_one_thread_and_lives_outside_the_pod() {
    let daemon = e2e::Daemon::start();
    let pod = daemon.run_named("shim");
    let run = pod.start(e2e::request::idle("c"));
    let shim = i32::try_from(pod.info()["shimPid"].as_i64().unwrap()).unwrap();
    assert_eq!(e2e::evidence::status(shim, "Threads"), "1");
    let group = e2e::evidence::cgroup(shim, "memory").dir;
    assert!(
        !e2e::evidence::cgroup(run.pid(), "memory")
            .dir
            .starts_with(&group)
            || group.ends_with("memory"),
        "{}",
        group.display()
    );
    let own = i32::try_from(std::process::id()).unwrap();
    for kind in ["net", "ipc", "uts", "pid", "user"] {
        assert_eq!(
            e2e::evidence::namespace(shim, kind),
            e2e::evidence::namespace(own, kind),
            "{kind}"
        );
    }
    let fds = fs::read_dir(format!("/proc/{shim}/fd")).unwrap().count();
    assert!(fds < 40, "{fds} descriptors");
}
