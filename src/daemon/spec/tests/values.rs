use proptest::prelude::*;

use super::*;

#[test]
fn signals_have_names_and_numbers() {
    let number = |text: &str| text.parse::<Signal>().map(Signal::number);
    for (text, expected) in [
        ("SIGTERM", 15),
        ("TERM", 15),
        ("sigterm", 15),
        ("15", 15),
        ("SIGKILL", 9),
        ("SIGRTMIN", 34),
        ("RTMIN+3", 37),
        ("SIGRTMAX-1", 63),
        ("SIGRTMAX", 64),
        ("64", 64),
    ] {
        assert_eq!(number(text), Ok(expected), "{text}");
    }
    for text in [
        "", "0", "65", "-1", "+9", "SIG", "SIGNOPE", "RTMIN+31", "RTMIN+", "RTMAX-31", "RTMIN+-1",
        "999",
    ] {
        assert!(number(text).is_err(), "{text}");
    }
}

#[test]
fn a_signal_reads_back_what_it_prints() {
    for number in 1..=64_u8 {
        let signal = Signal::try_from(number).unwrap();
        assert_eq!(signal.to_string().parse(), Ok(signal));
    }
    // signal(7): CLD, IOT and POLL are other names of CHLD, ABRT and IO. A record keeps which one was asked for.
    for (name, number, shown) in [
        ("SIGCLD", 17, "SIGCLD"),
        ("iot", 6, "SIGIOT"),
        ("POLL", 29, "SIGPOLL"),
        ("SIGCHLD", 17, "SIGCHLD"),
        ("6", 6, "SIGABRT"),
        ("SIGIO", 29, "SIGIO"),
    ] {
        let signal: Signal = name.parse().unwrap();
        assert_eq!(
            (signal.number(), signal.to_string().as_str()),
            (number, shown)
        );
        let kept = serde_json::to_string(&signal).unwrap();
        assert_eq!(
            serde_json::from_str::<Signal>(&kept).unwrap(),
            signal,
            "{kept}"
        );
    }
    // What stands in a record may be no second name of a signal with one.
    for number in [0, 65, 0x80, 0x80 + 15, 0x80 + 64, 255] {
        assert!(Signal::try_from(number).is_err(), "{number}");
    }
    assert!("145".parse::<Signal>().is_err());
}

#[test]
fn paths_are_checked_and_name_their_field() {
    let error = HostPath::new("mounts[3].host_path", "data").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("mounts[3].host_path: invalid value \"data\": give an absolute path"),
        "{error}"
    );
    let error = ContainerPath::new("mounts[0].container_path", "/a/../../etc").unwrap_err();
    assert_eq!(
        error.to_string(),
        "mounts[0].container_path: invalid value \"/a/../../etc\": the path leads out of the container's root; give a path within it"
    );
    assert!(HostPath::new("f", "").is_err());
    assert!(HostPath::new("f", "/a\0b").is_err());
    assert!(HostPath::new("f", &format!("/{}", "a".repeat(4096))).is_err());
    assert_eq!(HostPath::new("f", "//a/./b/").unwrap().as_str(), "/a/b");
    assert_eq!(
        ContainerPath::new("f", "data/x").unwrap().as_str(),
        "/data/x"
    );
    assert_eq!(ContainerPath::new("f", "/").unwrap().depth(), 0);
    // A name that merely starts with dots is a name.
    assert_eq!(
        ContainerPath::new("f", "/a/..data").unwrap().as_str(),
        "/a/..data"
    );
}

/// The answers are those of Go's path.Clean (go1.26) for what begins at the root, which containerd 2.4 and CRI-O 1.37 use;
/// what climbs out of the root is refused here, and taken for the root there.
#[test]
fn container_paths_are_cleaned() {
    for (text, cleaned) in [
        ("/a/../b2", Some("/b2")),
        ("/tmp/../var", Some("/var")),
        ("a/../b", Some("/b")),
        ("./x/../y/", Some("/y")),
        ("/a/b/../../c", Some("/c")),
        ("/a/./../b//c/..", Some("/b")),
        ("/a/..", Some("/")),
        ("a/..", Some("/")),
        (".", Some("/")),
        ("/...", Some("/...")),
        ("/a/..b/..", Some("/a")),
        ("..", None),
        ("/..", None),
        ("/../a", None),
        ("a/../../b", None),
        ("/a/../../a", None),
        ("/a/b/../../../c/d", None),
    ] {
        let path = ContainerPath::new("f", text).ok();
        assert_eq!(path.as_ref().map(ContainerPath::as_str), cleaned, "{text}");
    }
}

/// The answers of Go's filepath.Clean (go1.26), in which the parent of the root is the root.
#[test]
fn host_paths_are_cleaned() {
    for (text, cleaned) in [
        ("/a/../b/./", "/b"),
        ("/a/../b", "/b"),
        ("/dev//hf/a/../x", "/dev/hf/x"),
        ("/a/b/../../c", "/c"),
        ("/a/..", "/"),
        ("/..", "/"),
        ("/../a", "/a"),
        ("/a/../../b", "/b"),
        ("/a/..b/.../c..", "/a/..b/.../c.."),
        ("/", "/"),
    ] {
        assert_eq!(
            HostPath::new("f", text).unwrap().as_str(),
            cleaned,
            "{text}"
        );
    }
    for text in ["", "a", "../a", "./a", "a/../b", "/a\0/../b"] {
        assert!(HostPath::new("f", text).is_err(), "{text:?}");
    }
}

#[test]
fn configs_survive_their_records() {
    let mut world = World::new();
    world.volume("/data", "/srv");
    world.container.envs.push(("X".into(), vec![0xff, 0x00]));
    world.container.stop_signal = Some(Signal::TERM);
    world.container.security.pid = PidMode::Target("22".repeat(32).parse().unwrap());
    let text = serde_json::to_string(&world.container).unwrap();
    assert_eq!(
        serde_json::from_str::<ContainerConfig>(&text).unwrap(),
        world.container
    );
    let text = serde_json::to_string(&world.pod).unwrap();
    assert_eq!(serde_json::from_str::<PodConfig>(&text).unwrap(), world.pod);
    let bytes = postcard::to_stdvec(&world.container).unwrap();
    assert_eq!(
        postcard::from_bytes::<ContainerConfig>(&bytes).unwrap(),
        world.container
    );
    // A record is checked like a request.
    assert!(serde_json::from_str::<HostPath>("\"../etc\"").is_err());
}

proptest! {
    #[test]
    fn no_container_path_climbs(text in "[a./]{0,24}") {
        if let Ok(path) = ContainerPath::new("f", &text) {
            prop_assert!(path.as_str().starts_with('/'));
            prop_assert!(!path.as_str().split('/').any(|part| part == ".." || part == "."));
            prop_assert!(!path.as_str().contains("//"));
        }
    }
}
