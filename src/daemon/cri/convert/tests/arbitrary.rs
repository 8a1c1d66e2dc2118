//! Requests of random bytes: converting them may fail, but never panics, and what is accepted is echoed.

use cri_api::runtime::v1 as cri;
use proptest::prelude::*;

use super::super::namespace::namespaces_message;
use super::super::resources::resources_message;
use super::super::*;
use crate::spec::NamespaceOptions;

prop_compose! {
    fn namespaces()(network in -1..4, pid in -1..5, ipc in -1..4, target_id in "[0-9a-f]{0,3}")
        -> cri::NamespaceOption {
        cri::NamespaceOption { network, pid, ipc, target_id, ..Default::default() }
    }
}

prop_compose! {
    fn limits()(
        cpu_period in any::<i64>(), cpu_quota in any::<i64>(), cpu_shares in any::<i64>(),
        memory in any::<i64>(), oom in -1100..1100_i64, cpus in "[0-9,;-]{0,5}", key in "[a-z./]{0,8}",
    ) -> cri::LinuxContainerResources {
        cri::LinuxContainerResources {
            cpu_period, cpu_quota, cpu_shares,
            memory_limit_in_bytes: memory,
            oom_score_adj: oom,
            cpuset_cpus: cpus,
            unified: [(key, "1".to_owned())].into(),
            ..Default::default()
        }
    }
}

prop_compose! {
    fn context()(
        namespace_options in proptest::option::of(namespaces()), user in any::<i64>(), name in ".{0,4}",
        profile_type in -1..5, localhost_ref in ".{0,6}", oci_ref in ".{0,3}", policy in -1..3,
        cgroup_mount_mode in -1..4,
        groups in proptest::collection::vec(any::<i64>(), 0..3),
    ) -> cri::LinuxContainerSecurityContext {
        let profile = cri::SecurityProfile { profile_type, localhost_ref, oci_ref, ..Default::default() };
        cri::LinuxContainerSecurityContext {
            namespace_options,
            run_as_user: (user % 2 == 0).then_some(cri::Int64Value { value: user }),
            run_as_username: name,
            supplemental_groups: groups,
            supplemental_groups_policy: policy,
            seccomp: Some(profile.clone()),
            apparmor: Some(profile),
            cgroup_mount_mode,
            ..Default::default()
        }
    }
}

proptest! {
    #[test]
    fn containers(
        name in ".{0,8}", image in ".{0,8}", paths in proptest::collection::vec(".{0,8}", 4),
        context in context(), limits in limits(), stop_signal in -1..70, propagation in -1..4,
    ) {
        let mount = cri::Mount {
            container_path: paths[0].clone(), host_path: paths[1].clone(), propagation,
            ..Default::default()
        };
        let request = cri::CreateContainerRequest {
            config: Some(cri::ContainerConfig {
                metadata: Some(cri::ContainerMetadata { name, attempt: 0 }),
                image: Some(cri::ImageSpec { image, ..Default::default() }),
                working_dir: paths[2].clone(),
                log_path: paths[3].clone(),
                mounts: vec![mount],
                linux: Some(cri::LinuxContainerConfig {
                    resources: Some(limits.clone()), security_context: Some(context),
                }),
                stop_signal,
                ..Default::default()
            }),
            ..Default::default()
        };
        if let Ok(config) = container_config(&request, &NamespaceOptions::default()) {
            prop_assert_eq!(resources_message(&config.resources), limits);
            prop_assert!(!config.log_path.contains(".."));
        }
    }

    #[test]
    fn pods(options in namespaces(), hostname in ".{0,8}", cgroup_parent in ".{0,8}", port in any::<i32>()) {
        let security_context = cri::LinuxSandboxSecurityContext {
            namespace_options: Some(options.clone()),
            ..Default::default()
        };
        let request = cri::RunPodSandboxRequest {
            config: Some(cri::PodSandboxConfig {
                metadata: Some(cri::PodSandboxMetadata { name: "a".into(), ..Default::default() }),
                hostname,
                port_mappings: vec![cri::PortMapping { container_port: port, ..Default::default() }],
                linux: Some(cri::LinuxPodSandboxConfig {
                    cgroup_parent, security_context: Some(security_context), ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        if let Ok(config) = pod_config(&request) {
            let echo = namespaces_message(&config.namespaces);
            prop_assert_eq!((echo.network, echo.pid, echo.ipc), (options.network, options.pid, options.ipc));
        }
    }

    #[test]
    fn limits_alone(limits in limits()) {
        if let Ok(found) = resources("linux", Some(&limits)) {
            prop_assert_eq!(resources_message(&found), limits);
        }
    }
}
