//! Tests which values a request is converted to, which are refused and how, and that no request makes this code panic.

mod arbitrary;
mod experiment_cases;
mod mount_cases;
mod profile_cases;

use std::collections::HashMap;

use cri_api::runtime::v1 as cri;

use super::namespace::namespaces_message;
use super::signal::{signal, signal_message};
use super::*;
use crate::spec::{
    AppArmorChoice, ContainerConfig, IpcMode, NamespaceOptions, NetMode, PidMode, PodConfig,
    RequestedUser, SeccompChoice,
};

fn pod_request(config: cri::PodSandboxConfig) -> cri::RunPodSandboxRequest {
    let metadata = cri::PodSandboxMetadata {
        name: "web".to_owned(),
        uid: "u1".to_owned(),
        namespace: "default".to_owned(),
        attempt: 2,
    };
    let config = cri::PodSandboxConfig {
        metadata: config.metadata.or(Some(metadata)),
        ..config
    };
    cri::RunPodSandboxRequest {
        config: Some(config),
        runtime_handler: String::new(),
    }
}

fn pod(context: cri::LinuxSandboxSecurityContext) -> Result<PodConfig, FieldError> {
    let linux = cri::LinuxPodSandboxConfig {
        security_context: Some(context),
        ..Default::default()
    };
    pod_config(&pod_request(cri::PodSandboxConfig {
        linux: Some(linux),
        ..Default::default()
    }))
}

fn container_request(config: cri::ContainerConfig) -> cri::CreateContainerRequest {
    let metadata = cri::ContainerMetadata {
        name: "main".to_owned(),
        attempt: 1,
    };
    let image = cri::ImageSpec {
        image: "busybox".to_owned(),
        ..Default::default()
    };
    let config = cri::ContainerConfig {
        metadata: config.metadata.or(Some(metadata)),
        image: config.image.or(Some(image)),
        ..config
    };
    cri::CreateContainerRequest {
        config: Some(config),
        ..Default::default()
    }
}

fn container(config: cri::ContainerConfig) -> Result<ContainerConfig, FieldError> {
    container_config(&container_request(config), &NamespaceOptions::default())
}

fn secured(context: cri::LinuxContainerSecurityContext) -> Result<ContainerConfig, FieldError> {
    let linux = cri::LinuxContainerConfig {
        security_context: Some(context),
        resources: None,
    };
    container(cri::ContainerConfig {
        linux: Some(linux),
        ..Default::default()
    })
}

fn limited(resources: cri::LinuxContainerResources) -> Result<ContainerConfig, FieldError> {
    let linux = cri::LinuxContainerConfig {
        security_context: None,
        resources: Some(resources),
    };
    container(cri::ContainerConfig {
        linux: Some(linux),
        ..Default::default()
    })
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, FieldError>, field: &str) {
    let text = result.unwrap_err().to_string();
    assert!(text.starts_with(field), "{text:?} does not name {field}");
    let says_what_to_do = text.contains(';') || text.contains("invalid value");
    assert!(says_what_to_do, "{text:?} says nothing to do");
}

#[test]
fn missing_parts_are_refused_and_named() {
    refused(
        pod_config(&cri::RunPodSandboxRequest::default()),
        "config is not set",
    );
    let empty = cri::RunPodSandboxRequest {
        config: Some(Default::default()),
        ..Default::default()
    };
    refused(pod_config(&empty), "config.metadata is not set");
    let without_name = Some(cri::PodSandboxMetadata::default());
    refused(
        pod_config(&pod_request(cri::PodSandboxConfig {
            metadata: without_name,
            ..Default::default()
        })),
        "config.metadata.name",
    );
    let none = NamespaceOptions::default();
    refused(
        container_config(&Default::default(), &none),
        "config is not set",
    );
    let image = Some(cri::ImageSpec::default());
    refused(
        container(cri::ContainerConfig {
            image,
            ..Default::default()
        }),
        "config.image.image",
    );
}

#[test]
fn a_minimal_pod_shares_pids_and_has_no_filter() {
    let pod = pod_config(&pod_request(Default::default())).unwrap();
    assert_eq!(pod.namespaces.pid, PidMode::Pod);
    assert_eq!(
        (pod.namespaces.network, pod.namespaces.ipc),
        (NetMode::Pod, IpcMode::Pod)
    );
    assert_eq!(pod.security.seccomp, SeccompChoice::Unconfined);
    assert_eq!(
        (pod.log_directory, pod.dns, pod.cgroup_parent),
        (None, None, None)
    );
    assert_eq!(pod.metadata.attempt, 2);
}

#[test]
fn an_empty_dns_config_is_not_a_missing_one() {
    let dns_config = Some(cri::DnsConfig::default());
    let config = cri::PodSandboxConfig {
        dns_config,
        ..Default::default()
    };
    assert_eq!(
        pod_config(&pod_request(config)).unwrap().dns,
        Some(Default::default())
    );
}

#[test]
fn labels_and_annotations_are_kept_byte_for_byte() {
    let annotations: HashMap<_, _> = [("a/ä".to_owned(), " x\n\t=".to_owned())].into();
    let config = cri::PodSandboxConfig {
        annotations: annotations.clone(),
        ..Default::default()
    };
    let pod = pod_config(&pod_request(config)).unwrap();
    assert_eq!(super::field::unsorted(&pod.annotations), annotations);
}

#[test]
fn a_log_directory_is_cleaned() {
    let config = cri::PodSandboxConfig {
        log_directory: "/a/../b/./c//".into(),
        ..Default::default()
    };
    let directory = pod_config(&pod_request(config)).unwrap().log_directory;
    assert_eq!(directory.map(String::from).as_deref(), Some("/b/c"));
}

#[test]
fn hostile_pods_are_refused_by_field() {
    let with = |change: fn(&mut cri::PodSandboxConfig)| {
        let mut config = cri::PodSandboxConfig::default();
        change(&mut config);
        pod_config(&pod_request(config))
    };
    refused(with(|pod| pod.hostname = "a b".into()), "config.hostname");
    refused(with(|pod| pod.hostname = "a".repeat(65)), "config.hostname");
    refused(
        with(|pod| pod.log_directory = "logs".into()),
        "config.log_directory",
    );
    refused(
        with(|pod| pod.log_directory = "/a\0b".into()),
        "config.log_directory",
    );
    refused(
        with(|pod| {
            let servers = vec!["1.1.1.1\nnameserver 2.2.2.2".into()];
            pod.dns_config = Some(cri::DnsConfig {
                servers,
                ..Default::default()
            });
        }),
        "config.dns_config.servers[0]",
    );
    refused(
        with(|pod| {
            pod.port_mappings.push(cri::PortMapping {
                container_port: 1,
                host_port: 65536,
                ..Default::default()
            })
        }),
        "config.port_mappings[0].host_port",
    );
    refused(
        with(|pod| {
            pod.port_mappings.push(cri::PortMapping {
                protocol: 9,
                ..Default::default()
            })
        }),
        "config.port_mappings[0].protocol",
    );
    refused(
        with(|pod| {
            let cgroup_parent = "/a/../../b".into();
            pod.linux = Some(cri::LinuxPodSandboxConfig {
                cgroup_parent,
                ..Default::default()
            });
        }),
        "config.linux.cgroup_parent",
    );
    refused(
        with(|pod| {
            pod.port_mappings.push(cri::PortMapping {
                host_port: 80,
                ..Default::default()
            })
        }),
        "config.port_mappings[0].container_port",
    );
    let handler = cri::RunPodSandboxRequest {
        runtime_handler: "kata".into(),
        ..pod_request(Default::default())
    };
    refused(pod_config(&handler), "runtime_handler");
}

fn options(network: i32, pid: i32, ipc: i32) -> Option<cri::NamespaceOption> {
    Some(cri::NamespaceOption {
        network,
        pid,
        ipc,
        ..Default::default()
    })
}

#[test]
fn namespace_modes_are_taken_or_refused() {
    let modes = |namespace_options| {
        pod(cri::LinuxSandboxSecurityContext {
            namespace_options,
            ..Default::default()
        })
    };
    let field = "config.linux.security_context.namespace_options";
    let host = modes(options(2, 2, 2)).unwrap().namespaces;
    assert_eq!(
        (host.network, host.pid, host.ipc),
        (NetMode::Node, PidMode::Node, IpcMode::Node)
    );
    assert_eq!(
        modes(options(0, 1, 0)).unwrap().namespaces.pid,
        PidMode::Container
    );
    refused(modes(options(1, 0, 0)), &format!("{field}.network"));
    refused(modes(options(0, 0, 3)), &format!("{field}.ipc"));
    refused(modes(options(0, 7, 0)), &format!("{field}.pid"));
    let target_id = "ab".repeat(32);
    let target = cri::NamespaceOption {
        pid: 3,
        target_id: target_id.clone(),
        ..Default::default()
    };
    refused(modes(Some(target.clone())), &format!("{field}.pid"));
    let context = |namespace_options| cri::LinuxContainerSecurityContext {
        namespace_options: Some(namespace_options),
        ..Default::default()
    };
    let found = secured(context(target)).unwrap().security.pid;
    assert_eq!(found, PidMode::Target(target_id.parse().unwrap()));
    let short = cri::NamespaceOption {
        pid: 3,
        target_id: "ab".into(),
        ..Default::default()
    };
    refused(secured(context(short)), &format!("{field}.target_id"));
    // A container cannot have what its pod has not.
    refused(
        secured(context(options(2, 0, 0).unwrap())),
        &format!("{field}.network"),
    );
}

#[test]
fn namespace_options_are_echoed() {
    let mapping = |host_id| cri::IdMapping {
        host_id,
        container_id: 0,
        length: 65_536,
    };
    let wanted = cri::NamespaceOption {
        network: 0,
        pid: 1,
        ipc: 0,
        target_id: String::new(),
        userns_options: Some(cri::UserNamespace {
            mode: 0,
            uids: vec![mapping(100_000)],
            gids: vec![mapping(200_000)],
        }),
        ..Default::default()
    };
    let context = cri::LinuxSandboxSecurityContext {
        namespace_options: Some(wanted.clone()),
        ..Default::default()
    };
    let found = pod(context).unwrap().namespaces;
    assert_eq!(namespaces_message(&found), wanted);
}

#[test]
fn a_pod_with_a_user_namespace_shares_neither_pids_nor_memory_with_the_node() {
    let range = cri::IdMapping {
        host_id: 1000,
        container_id: 0,
        length: 10,
    };
    let with = |pid, ipc| cri::NamespaceOption {
        pid,
        ipc,
        userns_options: Some(cri::UserNamespace {
            mode: 0,
            uids: vec![range],
            gids: vec![range],
        }),
        ..Default::default()
    };
    let field = "config.linux.security_context.namespace_options";
    for (pid, ipc, name) in [(2, 0, "pid"), (0, 2, "ipc")] {
        let context = cri::LinuxSandboxSecurityContext {
            namespace_options: Some(with(pid, ipc)),
            ..Default::default()
        };
        refused(pod(context), &format!("{field}.{name}"));
    }
    let pod = super::namespace::pod_namespaces("f", Some(&with(1, 0))).unwrap();
    let container = |options| super::namespace::container_pid("f", Some(&options), &pod);
    assert!(container(with(1, 0)).is_ok());
    assert!(container(cri::NamespaceOption::default()).is_ok());
    assert!(container(with(2, 0)).is_err());
    let mut other = with(1, 0);
    other.userns_options.as_mut().unwrap().gids[0].host_id = 1;
    assert!(container(other).is_err());
    let mut host = with(1, 0);
    host.userns_options = Some(cri::UserNamespace {
        mode: 2,
        ..Default::default()
    });
    assert!(container(host).is_err());
}

#[test]
fn user_namespaces_without_mappings_are_refused() {
    let with = |userns: cri::UserNamespace| {
        pod(cri::LinuxSandboxSecurityContext {
            namespace_options: Some(cri::NamespaceOption {
                userns_options: Some(userns),
                ..Default::default()
            }),
            ..Default::default()
        })
    };
    let field = "config.linux.security_context.namespace_options.userns_options";
    refused(
        with(cri::UserNamespace::default()),
        &format!("{field}.uids"),
    );
    let uids = vec![cri::IdMapping {
        host_id: u32::MAX,
        container_id: 0,
        length: 2,
    }];
    let both = cri::UserNamespace {
        mode: 0,
        uids: uids.clone(),
        gids: uids,
    };
    refused(with(both), &format!("{field}.uids[0]"));
    let range = |container_id| cri::IdMapping {
        host_id: 1000,
        container_id,
        length: 10,
    };
    let ranges = |uids, gids| cri::UserNamespace {
        mode: 0,
        uids,
        gids,
    };
    let one = || vec![range(0)];
    refused(
        with(ranges(vec![range(0), range(10)], one())),
        &format!("{field}.uids"),
    );
    refused(
        with(ranges(one(), vec![range(1)])),
        &format!("{field}.gids[0].container_id"),
    );
    for mode in [1, 3, 9] {
        let other = cri::UserNamespace {
            mode,
            ..ranges(one(), one())
        };
        refused(with(other), &format!("{field}.mode"));
    }
    let node = cri::UserNamespace {
        mode: 2,
        ..Default::default()
    };
    assert_eq!(with(node).unwrap().namespaces.userns, None);
}

#[allow(deprecated, reason = "the deprecated fields are what is tested")]
#[test]
fn profiles_and_their_deprecated_forms() {
    let seccomp = |context| secured(context).map(|container| container.security.seccomp);
    let profile = |profile_type, localhost_ref: &str| {
        Some(cri::SecurityProfile {
            profile_type,
            localhost_ref: localhost_ref.to_owned(),
            ..Default::default()
        })
    };
    let new = |seccomp| cri::LinuxContainerSecurityContext {
        seccomp,
        ..Default::default()
    };
    assert_eq!(seccomp(new(None)).unwrap(), SeccompChoice::Unconfined);
    assert_eq!(
        seccomp(new(Some(Default::default()))).unwrap(),
        SeccompChoice::RuntimeDefault
    );
    assert_eq!(
        seccomp(new(profile(1, ""))).unwrap(),
        SeccompChoice::Unconfined
    );
    assert!(matches!(
        seccomp(new(profile(2, "/p.json"))).unwrap(),
        SeccompChoice::Localhost(_)
    ));
    let field = "config.linux.security_context.seccomp";
    refused(
        seccomp(new(profile(2, ""))),
        &format!("{field}.localhost_ref"),
    );
    refused(
        seccomp(new(profile(5, ""))),
        &format!("{field}.profile_type"),
    );
    let old = |text: &str| cri::LinuxContainerSecurityContext {
        seccomp_profile_path: text.to_owned(),
        apparmor_profile: text.to_owned(),
        ..Default::default()
    };
    assert_eq!(
        seccomp(old("runtime/default")).unwrap(),
        SeccompChoice::RuntimeDefault
    );
    refused(
        seccomp(old("localhost/p.json")),
        "config.linux.security_context.seccomp_profile_path",
    );
    refused(
        seccomp(old("nonsense")),
        "config.linux.security_context.seccomp_profile_path",
    );
    // The prefix is accepted in the new field as well.
    let apparmor = profile(2, "localhost/mine");
    let both = cri::LinuxContainerSecurityContext {
        apparmor,
        ..Default::default()
    };
    assert_eq!(
        secured(both).unwrap().security.apparmor,
        AppArmorChoice::Localhost("mine".into())
    );
}

#[test]
fn users_are_numbers_or_names_and_never_both() {
    let user = |number: Option<i64>, name: &str| {
        secured(cri::LinuxContainerSecurityContext {
            run_as_user: number.map(|value| cri::Int64Value { value }),
            run_as_username: name.to_owned(),
            ..Default::default()
        })
        .map(|container| container.security.run_as.user)
    };
    let field = "config.linux.security_context";
    assert_eq!(user(None, "").unwrap(), RequestedUser::Image);
    assert_eq!(user(Some(0), "").unwrap(), RequestedUser::Id(0));
    assert_eq!(
        user(None, "web").unwrap(),
        RequestedUser::Name("web".into())
    );
    assert_eq!(user(None, "1000").unwrap(), RequestedUser::Id(1000));
    refused(
        user(None, "4294967296"),
        &format!("{field}.run_as_username"),
    );
    refused(
        user(None, "99999999999999999999999"),
        &format!("{field}.run_as_username"),
    );
    refused(user(Some(-1), ""), &format!("{field}.run_as_user"));
    refused(
        user(Some(4_294_967_295), ""),
        &format!("{field}.run_as_user"),
    );
    refused(user(Some(1), "web"), &format!("{field}.run_as_username"));
    let group = cri::LinuxContainerSecurityContext {
        run_as_group: Some(cri::Int64Value { value: 5 }),
        ..Default::default()
    };
    refused(secured(group), &format!("{field}.run_as_user is not set"));
}

#[test]
fn resources_keep_to_what_the_kernel_takes() {
    let with = |change: fn(&mut cri::LinuxContainerResources)| {
        let mut resources = cri::LinuxContainerResources::default();
        change(&mut resources);
        limited(resources)
    };
    let field = "config.linux.resources";
    assert!(with(|limits| limits.cpu_quota = -1).is_ok());
    refused(
        with(|limits| limits.cpu_quota = -2),
        &format!("{field}.cpu_quota"),
    );
    refused(
        with(|limits| limits.cpu_shares = -1),
        &format!("{field}.cpu_shares"),
    );
    refused(
        with(|limits| limits.oom_score_adj = 1001),
        &format!("{field}.oom_score_adj"),
    );
    refused(
        with(|limits| limits.cpuset_cpus = "0;1".into()),
        &format!("{field}.cpuset_cpus"),
    );
    for key in ["../cgroup.procs", "memory/high", "", ".x", "memory"] {
        let mut limits = cri::LinuxContainerResources::default();
        limits.unified.insert(key.to_owned(), "1".to_owned());
        refused(limited(limits), &format!("{field}.unified"));
    }
}

#[test]
fn resources_are_echoed() {
    let limits = cri::LinuxContainerResources {
        cpu_period: 100_000,
        cpu_quota: 50_000,
        cpu_shares: 512,
        memory_limit_in_bytes: 1 << 26,
        oom_score_adj: -998,
        cpuset_cpus: "0-1".into(),
        cpuset_mems: "0".into(),
        hugepage_limits: vec![cri::HugepageLimit {
            page_size: "2MB".into(),
            limit: 3,
        }],
        unified: [("memory.high".to_owned(), "max".to_owned())].into(),
        memory_swap_limit_in_bytes: -1,
    };
    let found = resources("linux", Some(&limits)).unwrap();
    assert_eq!(super::resources::resources_message(&found), limits);
}

fn mounted(mount: cri::Mount) -> Result<cri::Mount, FieldError> {
    let mount = cri::Mount {
        container_path: "/data".into(),
        ..mount
    };
    let config = cri::ContainerConfig {
        mounts: vec![mount],
        ..Default::default()
    };
    container(config).map(|container| super::mount::volume_message(&container.mounts[0]))
}

#[test]
fn mounts_are_echoed_or_refused() {
    let host = cri::Mount {
        host_path: "/srv".into(),
        propagation: 2,
        ..Default::default()
    };
    let wanted = cri::Mount {
        container_path: "/data".into(),
        ..host.clone()
    };
    assert_eq!(mounted(host).unwrap(), wanted);
    let field = "config.mounts[0]";
    refused(mounted(Default::default()), &format!("{field}.host_path"));
    let recursive = |readonly, propagation| cri::Mount {
        host_path: "/srv".into(),
        recursive_read_only: true,
        readonly,
        propagation,
        ..Default::default()
    };
    assert!(mounted(recursive(true, 0)).is_ok());
    refused(
        mounted(recursive(false, 0)),
        &format!("{field}.recursive_read_only"),
    );
    refused(
        mounted(recursive(true, 1)),
        &format!("{field}.recursive_read_only"),
    );
    let image = Some(cri::ImageSpec {
        image: "busybox".into(),
        ..Default::default()
    });
    let volume = cri::Mount {
        image,
        readonly: true,
        image_sub_path: "a".into(),
        ..Default::default()
    };
    assert_eq!(mounted(volume.clone()).unwrap().image_sub_path, "a");
    refused(
        mounted(cri::Mount {
            readonly: false,
            ..volume.clone()
        }),
        &format!("{field}.readonly"),
    );
    refused(
        mounted(cri::Mount {
            host_path: "/srv".into(),
            ..volume.clone()
        }),
        &format!("{field}.host_path"),
    );
    let within = mounted(cri::Mount {
        image_sub_path: "./x/../a".into(),
        ..volume.clone()
    });
    assert_eq!(within.unwrap().image_sub_path, "a");
    for outside in ["../a", "a/../../a", "/a"] {
        refused(
            mounted(cri::Mount {
                image_sub_path: outside.into(),
                ..volume.clone()
            }),
            &format!("{field}.image_sub_path"),
        );
    }
}

#[test]
fn containers_with_impossible_parts_are_refused_by_field() {
    let with = |change: fn(&mut cri::ContainerConfig)| {
        let mut config = cri::ContainerConfig::default();
        change(&mut config);
        container(config)
    };
    let env = |key: &str, value: &[u8]| cri::KeyValue {
        key: key.to_owned(),
        value: value.to_vec(),
    };
    let envs = vec![env("A", b"\xff\xfe")];
    let kept = container(cri::ContainerConfig {
        envs,
        ..Default::default()
    })
    .unwrap();
    assert_eq!(kept.envs, [("A".to_owned(), b"\xff\xfe".to_vec())]);
    let envs = vec![env("A=B", b"")];
    refused(
        container(cri::ContainerConfig {
            envs,
            ..Default::default()
        }),
        "config.envs[0].key",
    );
    let envs = vec![env("A", b"a\0b")];
    refused(
        container(cri::ContainerConfig {
            envs,
            ..Default::default()
        }),
        "config.envs[0].value",
    );
    refused(
        with(|config| config.log_path = "../x".into()),
        "config.log_path",
    );
    refused(
        with(|config| config.log_path = "/etc/passwd".into()),
        "config.log_path",
    );
    refused(
        with(|config| config.command = vec!["a".into(), "b\0".into()]),
        "config.command[1]",
    );
    refused(with(|config| config.stop_signal = 99), "config.stop_signal");
    refused(
        with(|config| config.cdi_devices.push(Default::default())),
        "config.CDI_devices[0].name",
    );
    let device = cri::Device {
        host_path: "/dev/null".into(),
        permissions: "rx".into(),
        ..Default::default()
    };
    let config = cri::ContainerConfig {
        devices: vec![device],
        ..Default::default()
    };
    refused(container(config), "config.devices[0].permissions");
}

#[test]
fn signals_of_the_protocol_are_not_those_of_the_kernel() {
    let number = |value: cri::Signal| signal("f", value.into()).unwrap().unwrap().number();
    assert_eq!(number(cri::Signal::Sigkill), 9);
    assert_eq!(number(cri::Signal::Sigterm), 15);
    assert_eq!(number(cri::Signal::Sigrtminplus3), 37);
    assert_eq!(number(cri::Signal::Sigrtmax), 64);
    assert_eq!(signal("f", 0).unwrap(), None);
    for value in 1..=65 {
        let found = signal("f", value).unwrap().unwrap();
        // Also SIGCLD, SIGIOT and SIGPOLL, as containerd 2.4.2 keeps the name that was asked for.
        assert_eq!(i32::from(signal_message(found)), value);
    }
}

#[test]
fn credentials_are_taken_in_every_form_and_never_shown() {
    let auth = |change: fn(&mut cri::AuthConfig)| {
        let mut auth = cri::AuthConfig::default();
        change(&mut auth);
        credentials(Some(&auth))
    };
    assert!(credentials(None).unwrap().is_none());
    assert!(auth(|_| ()).unwrap().is_none());
    assert!(auth(|auth| auth.auth = "dTpw".into()).unwrap().is_some());
    assert!(
        auth(|auth| auth.identity_token = "t".into())
            .unwrap()
            .is_some()
    );
    let text = auth(|auth| auth.auth = "hunter2!".into())
        .unwrap_err()
        .to_string();
    assert!(
        text.starts_with("auth.auth") && !text.contains("hunter2"),
        "{text}"
    );
}

#[test]
fn filters_have_to_match_in_every_part() {
    let labels = [("app".to_owned(), "web".to_owned())].into();
    let ready = cri::PodSandboxState::SandboxReady;
    let query = |filter| PodQuery::new(Some(filter)).unwrap();
    assert!(PodQuery::new(None).unwrap().matches("abc", ready, &labels));
    let by_id = query(cri::PodSandboxFilter {
        id: "ab".into(),
        ..Default::default()
    });
    assert!(by_id.matches("abc", ready, &labels) && !by_id.matches("xab", ready, &labels));
    let state = Some(cri::PodSandboxStateValue { state: 1 });
    let by_state = query(cri::PodSandboxFilter {
        state,
        ..Default::default()
    });
    assert!(!by_state.matches("abc", ready, &labels));
    let label_selector = [("app".to_owned(), "other".to_owned())].into();
    let by_label = query(cri::PodSandboxFilter {
        label_selector,
        ..Default::default()
    });
    assert!(!by_label.matches("abc", ready, &labels));
    let state = Some(cri::PodSandboxStateValue { state: 9 });
    refused(
        PodQuery::new(Some(cri::PodSandboxFilter {
            state,
            ..Default::default()
        })),
        "filter.state",
    );
}

/// The zero value of the mode is POD, which a container's cgroup namespace cannot be; a sandbox must not have the
/// message at all (comments of `CgroupNamespace` and `NamespaceOption`, cri-api v0.38.0-beta.0).
#[test]
fn cgroup_namespaces_are_own_or_the_nodes() {
    use crate::spec::CgroupNamespace;
    let options = |mode: Option<i32>| cri::NamespaceOption {
        cgroupns_options: mode.map(|mode| cri::CgroupNamespace { mode }),
        ..Default::default()
    };
    let asked = |mode| {
        let found = secured(cri::LinuxContainerSecurityContext {
            namespace_options: Some(options(mode)),
            ..Default::default()
        });
        found.map(|container| container.security.cgroup_namespace)
    };
    assert_eq!(asked(None).unwrap(), None);
    assert_eq!(asked(Some(1)).unwrap(), Some(CgroupNamespace::Own));
    assert_eq!(asked(Some(2)).unwrap(), Some(CgroupNamespace::Host));
    let field = "config.linux.security_context.namespace_options.cgroupns_options";
    for mode in [0, 3, 4, -1] {
        refused(asked(Some(mode)), &format!("{field}.mode"));
    }
    let sandbox = |mode| {
        pod(cri::LinuxSandboxSecurityContext {
            namespace_options: Some(options(mode)),
            ..Default::default()
        })
    };
    assert!(sandbox(None).is_ok());
    for mode in [0, 1, 2] {
        refused(sandbox(Some(mode)), field);
    }
}

#[test]
fn modes_of_the_cgroup_mount_are_taken_or_refused() {
    use crate::spec::CgroupAccess::{ReadOnly, ReadWrite, Usual};
    let asked = |mode| {
        let found = secured(cri::LinuxContainerSecurityContext {
            cgroup_mount_mode: mode,
            ..Default::default()
        });
        found.map(|container| container.security.cgroup_access)
    };
    for (mode, wanted) in [(0, Usual), (1, ReadOnly), (2, ReadWrite)] {
        assert_eq!(asked(mode).unwrap(), wanted);
    }
    for mode in [3, -1, i32::MAX] {
        refused(
            asked(mode),
            "config.linux.security_context.cgroup_mount_mode",
        );
    }
}
