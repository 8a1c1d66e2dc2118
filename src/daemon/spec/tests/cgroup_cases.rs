//! Cgroup namespaces of containers, and whether they may write to their cgroups.

use oci_spec::runtime::LinuxNamespaceType;

use super::*;
use crate::spec::experiments::{CgroupSharing, ContainerSharing};
use crate::spec::{CgroupAccess, CgroupNamespace, delegated};

/// The request of a container and the machine it is made on.
#[derive(Debug, Clone, Copy)]
struct Asked {
    privileged: bool,
    namespace: Option<CgroupNamespace>,
    access: CgroupAccess,
    nsdelegate: bool,
}

fn world(asked: Asked) -> World {
    let mut world = World::new();
    world.pod.security.privileged = true;
    let security = &mut world.container.security;
    security.privileged = asked.privileged;
    security.cgroup_namespace = asked.namespace;
    security.cgroup_access = asked.access;
    world.host.cgroup_delegation = asked.nsdelegate;
    world
}

/// Whether it has a namespace of its own, and the access of its mount; or the error.
fn outcome(world: &World) -> Result<(bool, String), String> {
    let spec = world.build().map_err(|error| error.to_string())?;
    let namespaces = spec.linux().as_ref().unwrap().namespaces().clone().unwrap();
    let own = namespaces
        .iter()
        .any(|namespace| namespace.typ() == LinuxNamespaceType::Cgroup);
    let options = mount_at(&spec, "/sys/fs/cgroup").2;
    let access = options
        .into_iter()
        .find(|option| option == "ro" || option == "rw");
    Ok((own, access.unwrap()))
}

#[track_caller]
fn compare(asked: Asked, wanted: Result<(bool, &str), &str>) {
    match (outcome(&world(asked)), wanted) {
        (Ok((own, access)), Ok(wanted)) => {
            assert_eq!((own, access.as_str()), wanted, "{asked:?}")
        }
        (Err(error), Err(word)) => {
            let field = "linux.security_context.cgroup_mount_mode:";
            assert!(
                error.starts_with(field) && error.contains(word),
                "{asked:?} {error}"
            );
        }
        (found, wanted) => panic!("{asked:?}: {found:?} instead of {wanted:?}"),
    }
}

/// The right values are those of the comments on `CgroupNamespace.mode` and `CgroupMountMode` in cri-api
/// v0.38.0-beta.0; what nothing is asked for is as in containerd 2.4.2 (its own namespace, the host's when it is
/// privileged).
#[test]
fn namespace_and_access_follow_the_proto() {
    use CgroupAccess::{ReadOnly, ReadWrite, Usual};
    use CgroupNamespace::{Host, Own};
    let (plain, privileged, delegating) = (false, true, true);
    let cases = [
        (plain, None, Usual, false, Ok((true, "ro"))),
        (plain, Some(Own), Usual, false, Ok((true, "ro"))),
        (plain, Some(Host), Usual, false, Ok((false, "ro"))),
        (plain, Some(Host), ReadOnly, delegating, Ok((false, "ro"))),
        (plain, None, ReadOnly, false, Ok((true, "ro"))),
        (plain, None, ReadWrite, delegating, Ok((true, "rw"))),
        (plain, Some(Own), ReadWrite, delegating, Ok((true, "rw"))),
        (plain, Some(Own), ReadWrite, false, Err("nsdelegate")),
        (
            plain,
            Some(Host),
            ReadWrite,
            delegating,
            Err("set cgroupns_options.mode to CONTAINER"),
        ),
        (
            plain,
            Some(Host),
            ReadWrite,
            false,
            Err("set cgroupns_options.mode to CONTAINER"),
        ),
        (privileged, None, Usual, false, Ok((false, "rw"))),
        (privileged, Some(Own), Usual, false, Ok((true, "rw"))),
        (privileged, Some(Host), Usual, false, Ok((false, "rw"))),
        (
            privileged,
            Some(Host),
            ReadWrite,
            delegating,
            Ok((false, "rw")),
        ),
        (
            privileged,
            Some(Own),
            ReadWrite,
            delegating,
            Ok((true, "rw")),
        ),
        (privileged, None, ReadWrite, false, Err("nsdelegate")),
        (privileged, None, ReadOnly, delegating, Err("privileged")),
        (
            privileged,
            Some(Own),
            ReadOnly,
            delegating,
            Err("privileged"),
        ),
    ];
    for (privileged, namespace, access, nsdelegate, wanted) in cases {
        let asked = Asked {
            privileged,
            namespace,
            access,
            nsdelegate,
        };
        compare(asked, wanted);
    }
}

#[test]
fn a_field_and_an_annotation_must_agree() {
    let asked = |namespace, annotation| {
        let access = CgroupAccess::Usual;
        let mut world = world(Asked {
            privileged: false,
            namespace,
            access,
            nsdelegate: true,
        });
        let name = world.container.metadata.name.clone();
        let sharing = ContainerSharing {
            cgroup: annotation,
            ..ContainerSharing::default()
        };
        world.pod.experiments.namespaces.insert(name, sharing);
        outcome(&world).map(|(own, _)| own)
    };
    let field = "linux.security_context.namespace_options.cgroupns_options.mode:";
    assert_eq!(
        asked(Some(CgroupNamespace::Host), Some(CgroupSharing::Host)),
        Ok(false)
    );
    assert_eq!(
        asked(Some(CgroupNamespace::Own), Some(CgroupSharing::Own)),
        Ok(true)
    );
    assert_eq!(asked(None, Some(CgroupSharing::Host)), Ok(false));
    assert_eq!(asked(Some(CgroupNamespace::Host), None), Ok(false));
    for other in [CgroupSharing::Pod, CgroupSharing::Host] {
        let error = asked(Some(CgroupNamespace::Own), Some(other)).unwrap_err();
        assert!(error.starts_with(field), "{error}");
    }
}

/// The three conditions of "Cgroup ownership" in config-linux.md, OCI runtime specification v1.3.0.
#[test]
fn a_cgroup_is_given_away_only_where_it_is_written_from_inside() {
    use CgroupAccess::{ReadOnly, ReadWrite, Usual};
    use CgroupNamespace::{Host, Own};
    let cases = [
        (false, None, ReadWrite, true, true),
        (true, Some(Own), ReadWrite, true, true),
        (true, None, ReadWrite, true, false),
        (true, Some(Host), ReadWrite, true, false),
        (false, None, ReadWrite, false, false),
        (false, None, ReadOnly, true, false),
        (true, Some(Own), Usual, true, false),
    ];
    for (privileged, namespace, access, nsdelegate, wanted) in cases {
        let asked = Asked {
            privileged,
            namespace,
            access,
            nsdelegate,
        };
        let world = world(asked);
        assert_eq!(
            delegated(&world.pod, &world.container, &world.host),
            wanted,
            "{asked:?}"
        );
    }
}
