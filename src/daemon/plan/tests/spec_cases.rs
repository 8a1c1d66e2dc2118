use oci_spec::runtime::{
    Capability, LinuxCapabilities, LinuxDevice, LinuxDeviceType, LinuxIdMappingBuilder,
    LinuxTimeOffset, Mount as OciMount, PosixRlimitBuilder, PosixRlimitType,
};
use proptest::prelude::*;

use super::*;
use holdfast_wire::plan::{Missing, Mount, MountSource, Propagation, TreeOrigin};
use holdfast_wire::{Protocol, decode_plan, encode_plan};

fn mount(target: &str, kind: &str, source: &str, options: &[&str]) -> OciMount {
    let mut out = OciMount::default();
    out.set_destination(target.into())
        .set_typ(Some(kind.into()))
        .set_source(Some(source.into()))
        .set_options(Some(
            options.iter().map(|option| (*option).to_owned()).collect(),
        ));
    out
}

fn with_mounts(mounts: Vec<OciMount>) -> Result<Vec<Mount>, PlanError> {
    let mut spec = spec();
    spec.set_mounts(Some(mounts));
    Around::default().compile(&spec).map(|plan| plan.mounts)
}

fn one_mount(mount: OciMount) -> Result<Mount, PlanError> {
    with_mounts(vec![mount]).map(|mut mounts| mounts.remove(0))
}

fn joined(mounts: &[(std::ffi::CString, std::ffi::CString)]) -> Vec<String> {
    let text = |string: &std::ffi::CString| string.to_str().unwrap().to_owned();
    mounts
        .iter()
        .map(|(key, value)| format!("{}={}", text(key), text(value)))
        .collect()
}

#[test]
fn a_small_spec_becomes_a_plan() {
    let plan = Around::default().compile(&spec()).unwrap();
    assert_eq!(plan.pid, PidNamespace::Own);
    assert!(!plan.new_cgroup && plan.stdin && plan.stdin_once);
    assert_eq!(texts(&plan.lower), ["/store/layers/2", "/store/layers/1"]);
    assert_eq!(texts(&plan.process.candidates), ["/usr/bin/sh", "/bin/sh"]);
    let devices: Vec<_> = plan
        .devices
        .iter()
        .map(|device| device.target.to_str().unwrap())
        .collect();
    assert_eq!(
        devices,
        [
            "/dev/null",
            "/dev/zero",
            "/dev/full",
            "/dev/random",
            "/dev/urandom",
            "/dev/tty"
        ]
    );
    assert_eq!(plan.symlinks.len(), 6);
    let bytes = encode_plan(Protocol::CURRENT, &plan).unwrap();
    assert_eq!(decode_plan::<ContainerPlan>(&bytes).unwrap(), plan);
}

#[test]
fn new_file_systems() {
    let plan = one_mount(mount(
        "/dev",
        "tmpfs",
        "tmpfs",
        &["nosuid", "strictatime", "mode=755", "size=64k"],
    ));
    let plan = plan.unwrap();
    assert_eq!(plan.attributes, 0x2 | 0x20);
    let MountSource::New {
        fs_type,
        options,
        copy_up,
    } = plan.source
    else {
        panic!()
    };
    assert_eq!((fs_type.as_c_str(), copy_up), (c"tmpfs", false));
    assert_eq!(joined(&options), ["source=tmpfs", "mode=755", "size=64k"]);
    let pts = one_mount(mount(
        "/dev/pts",
        "devpts",
        "devpts",
        &["newinstance", "tmpcopyup"],
    ))
    .unwrap();
    let MountSource::New {
        options, copy_up, ..
    } = pts.source
    else {
        panic!()
    };
    assert_eq!(
        (joined(&options), copy_up),
        (vec!["source=devpts".into(), "newinstance=".into()], true)
    );
}

#[test]
fn bind_mounts() {
    let plan = one_mount(mount(
        "/data",
        "bind",
        "/srv",
        &["rbind", "rslave", "ro", "noatime"],
    ))
    .unwrap();
    assert_eq!(
        (plan.attributes, plan.recursive_attributes),
        (0x1 | 0x10, false)
    );
    assert_eq!(plan.propagation, Propagation::Slave);
    let MountSource::Tree {
        origin,
        path,
        recursive,
        missing,
        id_map,
    } = plan.source
    else {
        panic!()
    };
    assert_eq!(
        (origin, path.as_c_str(), recursive),
        (TreeOrigin::Host, c"/srv", true)
    );
    assert_eq!((missing, id_map), (Missing::MakeDirectory, None));

    let plan = one_mount(mount(
        "/etc/hosts",
        "bind",
        "/h",
        &["bind", "rro", "rprivate"],
    ))
    .unwrap();
    assert_eq!((plan.attributes, plan.recursive_attributes), (0x1, true));
    let MountSource::Tree {
        recursive, missing, ..
    } = plan.source
    else {
        panic!()
    };
    assert_eq!((recursive, missing), (false, Missing::Fail));

    let plan = one_mount(mount("/dev/shm", "bind", "/run/pod/shm", &["rbind", "rw"])).unwrap();
    let MountSource::Tree { origin, path, .. } = plan.source else {
        panic!()
    };
    assert_eq!((origin, path.as_c_str()), (TreeOrigin::Pod, c"/shm"));
}

#[test]
fn mounts_that_cannot_be_done() {
    for (bad, word) in [
        (
            mount("/a", "bind", "relative", &["rbind"]),
            "mounts[0].source",
        ),
        (
            mount("/a/../b", "bind", "/srv", &["rbind"]),
            "mounts[0].destination",
        ),
        (mount("a", "tmpfs", "tmpfs", &[]), "mounts[0].destination"),
        (mount("/a", "bind", "/srv", &["rbind", "size=1"]), "size=1"),
        (
            mount("/a", "bind", "/srv", &["rbind", "unbindable"]),
            "unbindable",
        ),
        (
            mount("/a", "bind", "/srv", &["rbind", "ro", "rnosuid"]),
            "mixed",
        ),
        (
            mount("/a", "bind", "/srv", &["rbind", "idmap"]),
            "uidMappings",
        ),
        (mount("/a", "", "x", &[]), "type"),
        (mount("/a", "tmpfs", "x", &["mode=\0"]), "NUL"),
    ] {
        let error = one_mount(bad).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn id_mapped_volumes() {
    let map = LinuxIdMappingBuilder::default()
        .host_id(7_u32)
        .size(1_u32)
        .build()
        .unwrap();
    let mut volume = mount("/a", "bind", "/srv", &["rbind", "rw"]);
    volume
        .set_uid_mappings(Some(vec![map]))
        .set_gid_mappings(Some(vec![map]));
    let MountSource::Tree { id_map, .. } = one_mount(volume).unwrap().source else {
        panic!()
    };
    assert_eq!(id_map.unwrap().uids[0].outside, 7);
}

/// With cgroup v1 the directory of the hierarchies becomes read-only at the end, and a writable volume in it or over it
/// became so too, without a word. A mount has the attributes that it was asked for with: OCI config.md, "Mounts".
#[test]
fn a_volume_at_the_cgroups_of_v1_is_as_it_was_asked_for() {
    let around = Around {
        cgroups: CgroupMounts::V1(vec![CgroupHierarchy {
            directory: "memory".into(),
            options: vec!["memory".into()],
        }]),
        ..Around::default()
    };
    let cgroup = |access: &str| mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", access]);
    let volume = |at: &str| mount(at, "bind", "/srv", &["rbind", "rw"]);
    let alone = &["/sys/fs/cgroup/."][..];
    for (mounts, wanted) in [
        (vec![cgroup("ro")], alone),
        (vec![cgroup("rw")], &[]),
        (vec![cgroup("ro"), volume("/sys/fs/cgroup/x")], alone),
        (vec![cgroup("ro"), volume("/sys/fs/cgroup/memory")], alone),
        (vec![cgroup("ro"), volume("/sys/fs/cgroups")], alone),
        (vec![cgroup("ro"), volume("/sys/fs/cgroup")], &[]),
        (vec![cgroup("ro"), volume("/sys")], &[]),
        (vec![volume("/sys"), cgroup("ro")], alone),
    ] {
        let shown = format!("{mounts:?}");
        let mut spec = spec();
        spec.set_mounts(Some(mounts));
        let plan = around.compile(&spec).unwrap();
        assert_eq!(texts(&plan.readonly_paths), wanted, "{shown}");
        for volume in plan
            .mounts
            .iter()
            .filter(|mount| !matches!(mount.source, MountSource::New { .. }))
        {
            assert_eq!(volume.attributes, 0, "{shown}");
        }
    }
}

#[test]
fn cgroups_of_both_versions() {
    let cgroup = mount(
        "/sys/fs/cgroup",
        "cgroup",
        "cgroup",
        &["nosuid", "noexec", "nodev", "ro"],
    );
    let mut spec = spec();
    spec.set_mounts(Some(vec![cgroup]));
    let plan = Around::default().compile(&spec).unwrap();
    let MountSource::New {
        fs_type, options, ..
    } = &plan.mounts[0].source
    else {
        panic!()
    };
    assert_eq!(fs_type.as_c_str(), c"cgroup2");
    assert_eq!(joined(options), ["source=cgroup", "nsdelegate="]);
    assert_eq!(plan.mounts[0].attributes, 0xf);
    assert!(plan.readonly_paths.is_empty());

    let hierarchy = |directory: &str, options: &[&str]| CgroupHierarchy {
        directory: directory.into(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
    };
    let around = Around {
        cgroups: CgroupMounts::V1(vec![
            hierarchy("cpu,cpuacct", &["cpu", "cpuacct"]),
            hierarchy("systemd", &["none", "name=systemd"]),
        ]),
        ..Around::default()
    };
    let plan = around.compile(&spec).unwrap();
    let targets: Vec<_> = plan
        .mounts
        .iter()
        .map(|mount| mount.target.to_str().unwrap())
        .collect();
    assert_eq!(
        targets,
        [
            "/sys/fs/cgroup",
            "/sys/fs/cgroup/cpu,cpuacct",
            "/sys/fs/cgroup/systemd"
        ]
    );
    assert_eq!(plan.mounts[0].attributes, 0xe);
    assert_eq!(plan.mounts[2].attributes, 0xf);
    let MountSource::New { options, .. } = &plan.mounts[2].source else {
        panic!()
    };
    assert_eq!(joined(options), ["source=cgroup", "none=", "name=systemd"]);
    assert_eq!(texts(&plan.readonly_paths), ["/sys/fs/cgroup/."]);
    assert_eq!(plan.symlinks[0].0.as_c_str(), c"/sys/fs/cgroup/cpu");
    assert_eq!(plan.symlinks[0].1.as_c_str(), c"cpu,cpuacct");
}

#[test]
fn devices_replace_defaults() {
    let device = |path: &str, kind| {
        let mut out = LinuxDevice::default();
        out.set_path(path.into())
            .set_typ(kind)
            .set_major(10)
            .set_minor(200)
            .set_file_mode(Some(0o600));
        out
    };
    let mut spec = spec();
    let nodes = vec![
        device("/dev/net/tun", LinuxDeviceType::C),
        device("/dev/null", LinuxDeviceType::C),
    ];
    linux(&mut spec).set_devices(Some(nodes));
    let plan = Around::default().compile(&spec).unwrap();
    assert_eq!(plan.devices.len(), 7);
    let null = plan
        .devices
        .iter()
        .find(|device| device.target.as_c_str() == c"/dev/null")
        .unwrap();
    assert_eq!((null.major, null.mode, null.kind), (10, 0o600, 0o020_000));

    linux(&mut spec).set_devices(Some(vec![device("/dev/a", LinuxDeviceType::A)]));
    assert!(Around::default().compile(&spec).is_err());
}

#[test]
fn the_mappings_of_the_user_namespace_are_in_both_plans() {
    let map = |inside: u32| {
        let map = LinuxIdMappingBuilder::default()
            .host_id(7_u32)
            .container_id(inside)
            .size(2_u32);
        Some(vec![map.build().unwrap()])
    };
    let mut spec = spec();
    linux(&mut spec).set_uid_mappings(map(0));
    assert!(Around::default().compile(&spec).is_err());
    linux(&mut spec).set_gid_mappings(map(5));
    let user = Around::default().compile(&spec).unwrap().user.unwrap();
    assert_eq!(user.outside_user(1), Some(8));
    assert_eq!(user.outside_user(2), None);
    assert_eq!(user.outside_group(4), None);
    assert_eq!(user.outside_group(6), Some(8));
    let request = ExecRequest {
        args: &["x".to_owned()],
        terminal: false,
        terminal_size: None,
        exact_env: &[],
        seccomp_base: None,
    };
    let exec = crate::plan::exec(&spec, &request, &FilterCache::default()).unwrap();
    assert_eq!(exec.user, Some(user));
}

#[test]
fn images_are_mounted_from_their_layers() {
    let around = Around {
        images: vec![ImageTree {
            source: "image:1/dir".into(),
            lower: vec!["/store/b".into(), "/store/a".into()],
            sub_path: "dir".into(),
        }],
        ..Around::default()
    };
    let mut spec = spec();
    spec.set_mounts(Some(vec![mount(
        "/v",
        "image",
        "image:1/dir",
        &["ro", "nodev"],
    )]));
    let plan = around.compile(&spec).unwrap();
    assert_eq!(plan.mounts[0].attributes, 0x5);
    let MountSource::Image { lower, sub_path } = &plan.mounts[0].source else {
        panic!()
    };
    assert_eq!(texts(lower), ["/store/b", "/store/a"]);
    assert_eq!(sub_path.as_c_str(), c"dir");
    assert!(Around::default().compile(&spec).is_err());
}

#[test]
fn the_hosts_dev_is_left_alone() {
    let mut spec = spec();
    spec.set_mounts(Some(vec![mount("/dev", "bind", "/dev", &["rbind"])]));
    let plan = Around::default().compile(&spec).unwrap();
    assert!(plan.devices.is_empty() && plan.symlinks.is_empty());
}

#[test]
fn pid_namespaces() {
    let id = "ab".repeat(32).parse().unwrap();
    let pid = |own: Option<Option<&str>>, known: Option<PidNamespace>| {
        let mut spec = spec();
        let mut all = vec![namespace(LinuxNamespaceType::Mount, None)];
        all.extend(own.map(|path| namespace(LinuxNamespaceType::Pid, path)));
        linux(&mut spec).set_namespaces(Some(all));
        Around {
            joined_pid: known,
            ..Around::default()
        }
        .compile(&spec)
        .map(|plan| plan.pid)
        .ok()
    };
    let path = Some(Some("/proc/7/ns/pid"));
    assert_eq!(pid(None, None), Some(PidNamespace::Host));
    assert_eq!(pid(Some(None), None), Some(PidNamespace::Own));
    assert_eq!(pid(path, Some(PidNamespace::Pod)), Some(PidNamespace::Pod));
    assert_eq!(
        pid(path, Some(PidNamespace::Container(id))),
        Some(PidNamespace::Container(id))
    );
    assert_eq!(pid(path, None), None);
    assert_eq!(pid(path, Some(PidNamespace::Host)), None);
}

#[test]
fn what_the_launcher_cannot_do_is_refused() {
    let refused = |change: &dyn Fn(&mut Spec), field: &str| {
        let mut spec = spec();
        change(&mut spec);
        let error = Around::default().compile(&spec).unwrap_err();
        assert!(error.to_string().starts_with(field), "{error}");
    };
    refused(&|spec| _ = spec.set_hostname(Some("x".into())), "hostname");
    refused(
        &|spec| _ = spec.set_domainname(Some("x".into())),
        "domainname",
    );
    refused(&|spec| _ = spec.set_linux(None), "linux");
    refused(&|spec| _ = spec.set_process(None), "process");
    let sysctl = [("net.x".to_owned(), "1".to_owned())];
    refused(
        &|spec| _ = linux(spec).set_sysctl(Some(sysctl.clone().into())),
        "linux.sysctl",
    );
    let offsets = [("boottime".to_owned(), LinuxTimeOffset::default())];
    refused(
        &|spec| _ = linux(spec).set_time_offsets(Some(offsets.clone().into())),
        "linux.timeOffsets",
    );
    refused(
        &|spec| _ = linux(spec).set_mount_label(Some("l".into())),
        "linux.mountLabel",
    );
    refused(
        &|spec| _ = linux(spec).set_rootfs_propagation(Some("unbindable".into())),
        "linux.rootfsPropagation",
    );
    refused(
        &|spec| _ = linux(spec).set_namespaces(None),
        "linux.namespaces",
    );
    for (kind, path) in [
        (LinuxNamespaceType::Network, None),
        (LinuxNamespaceType::Time, None),
        (LinuxNamespaceType::Mount, Some("/proc/1/ns/mnt")),
    ] {
        let one = vec![namespace(kind, path)];
        refused(
            &|spec| _ = linux(spec).set_namespaces(Some(one.clone())),
            "linux.namespaces[0]",
        );
    }
}

#[test]
fn processes_in_detail() {
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(
        [Capability::Chown, Capability::CheckpointRestore].into(),
    ))
    .set_effective(Some([Capability::SysAdmin].into()))
    .set_permitted(None)
    .set_inheritable(None)
    .set_ambient(None);
    let limit = PosixRlimitBuilder::default()
        .typ(PosixRlimitType::RlimitNofile)
        .soft(1024_u64)
        .hard(2048_u64)
        .build()
        .unwrap();
    let mut spec = spec();
    process(&mut spec)
        .set_capabilities(Some(sets))
        .set_rlimits(Some(vec![limit]))
        .set_apparmor_profile(Some(String::new()))
        .set_selinux_label(Some("u:r:t:s0".into()))
        .set_cwd("/srv".into());
    linux(&mut spec).set_masked_paths(Some(vec!["/proc/kcore".into()]));
    let plan = Around::default().compile(&spec).unwrap();
    let caps = plan.process.capabilities;
    assert_eq!(
        (caps.bounding, caps.effective, caps.permitted),
        (1 | 1 << 40, 1 << 21, 0)
    );
    assert_eq!(plan.process.rlimits, [(7, 1024, 2048)]);
    assert_eq!(
        (plan.process.apparmor, plan.process.cwd.as_c_str()),
        (None, c"/srv")
    );
    assert_eq!(plan.process.selinux.as_deref(), Some(c"u:r:t:s0"));
    assert_eq!(texts(&plan.masked_paths), ["/proc/kcore"]);
}

#[test]
fn programs_are_looked_up_in_path() {
    let candidates = |program: &str, path: &str| {
        let mut spec = spec();
        let env = if path.is_empty() {
            vec![]
        } else {
            vec![format!("PATH={path}")]
        };
        process(&mut spec)
            .set_args(Some(vec![program.into()]))
            .set_env(Some(env));
        let plan = Around::default().compile(&spec).ok()?;
        Some(
            texts(&plan.process.candidates)
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(candidates("/bin/sh", "/x").unwrap(), ["/bin/sh"]);
    assert_eq!(candidates("./run", "/x").unwrap(), ["./run"]);
    assert_eq!(candidates("sh", "/a/:.::b:/a:/").unwrap(), ["/a/sh", "/sh"]);
    assert_eq!(candidates("sh", "").unwrap().len(), 6);
    assert_eq!(candidates("sh", "relative:."), None);
    assert_eq!(candidates("", "/a"), None);
}

#[test]
fn exact_bytes_replace_their_readable_form() {
    let mut spec = spec();
    let env = ["PATH=/bin", "RAW=\u{fffd}", "CHANGED=other"]
        .map(str::to_owned)
        .to_vec();
    process(&mut spec).set_env(Some(env));
    let around = Around {
        exact_env: vec![("RAW".into(), vec![0xfe]), ("CHANGED".into(), vec![0xff])],
        ..Around::default()
    };
    let env = around.compile(&spec).unwrap().process.env;
    assert_eq!(env[1].as_bytes(), b"RAW=\xfe");
    assert_eq!(env[2].as_bytes(), b"CHANGED=other");
    process(&mut spec).set_env(Some(vec!["JUNK".into()]));
    assert!(around.compile(&spec).is_err());
}

#[test]
fn exec_is_the_same_process_with_another_command() {
    let mut spec = spec();
    process(&mut spec).user_mut().set_uid(5);
    let args = ["ls".to_owned(), "-l".to_owned()];
    let mut request = ExecRequest {
        args: &args,
        terminal: false,
        terminal_size: None,
        exact_env: &[],
        seccomp_base: None,
    };
    let plan = exec(&spec, &request, &FilterCache::default())
        .unwrap()
        .process;
    assert_eq!(
        (plan.uid, plan.terminal, texts(&plan.args)),
        (5, false, vec!["ls", "-l"])
    );
    assert_eq!(texts(&plan.candidates), ["/usr/bin/ls", "/bin/ls"]);
    request.terminal = true;
    let plan = exec(&spec, &request, &FilterCache::default())
        .unwrap()
        .process;
    assert!(plan.terminal && texts(&plan.env).contains(&"TERM=xterm"));
    request.args = &[];
    assert!(exec(&spec, &request, &FilterCache::default()).is_err());
}

proptest! {
    /// A NUL anywhere is an error that names the field, never a shorter string.
    #[test]
    fn nul_bytes_are_found(before in "[a-z]{0,5}", after in "[a-z]{0,5}", place in 0..4_usize) {
        let text = format!("/{before}\0{after}");
        let mut spec = spec();
        match place {
            0 => _ = process(&mut spec).set_args(Some(vec!["sh".into(), text])),
            1 => _ = process(&mut spec).set_cwd(text.into()),
            2 => _ = process(&mut spec).set_env(Some(vec![format!("A={text}")])),
            _ => _ = linux(&mut spec).set_masked_paths(Some(vec![text])),
        }
        let error = Around::default().compile(&spec).unwrap_err();
        let field = ["process.args[1]", "process.cwd", "process.env[0]", "linux.maskedPaths"];
        let named = matches!(&error, PlanError::Nul { field: named, .. } if named == field[place]);
        prop_assert!(named, "{}", error);
    }
}
