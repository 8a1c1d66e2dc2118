//! Options of bind mounts: CRI `Mount.mount_options` of Kubernetes 1.37.

use super::*;
use crate::spec::MountOption::{self, NoDev, NoExec, NoSuid};

/// What is different about a mount.
type Change = fn(&mut cri::Mount);

/// Options, the mount that they are given to, and what they mean.
type Case<'a> = (&'a [&'a str], Change, &'a [MountOption]);

fn mounts(options: &[&str], change: fn(&mut cri::Mount)) -> Result<ContainerConfig, FieldError> {
    let mut mount = cri::Mount {
        container_path: "/c".into(),
        host_path: "/h".into(),
        mount_options: options.iter().map(|&option| option.into()).collect(),
        ..Default::default()
    };
    change(&mut mount);
    let mounts = vec![
        cri::Mount {
            container_path: "/other".into(),
            host_path: "/h".into(),
            ..Default::default()
        },
        mount,
    ];
    container(cri::ContainerConfig {
        mounts,
        ..Default::default()
    })
}

fn image(mount: &mut cri::Mount) {
    mount.host_path.clear();
    mount.readonly = true;
    let image = "busybox".to_owned();
    mount.image = Some(cri::ImageSpec {
        image,
        ..Default::default()
    });
}

/// The three that the comment of `RuntimeFeatures.mount_options` names (cri-api v0.37.2); the status gives them
/// back as they came.
#[test]
fn the_three_options_are_taken_with_every_kind_of_volume() {
    let plain: Change = |_| {};
    let cases: [Case<'_>; 8] = [
        (&[], plain, &[]),
        (&["noexec"], plain, &[NoExec]),
        (&["nodev", "nosuid"], plain, &[NoDev, NoSuid]),
        (
            &["nosuid", "noexec", "nodev"],
            plain,
            &[NoSuid, NoExec, NoDev],
        ),
        (&["noexec", "noexec"], plain, &[NoExec, NoExec]),
        (&["noexec"], |mount| mount.propagation = 2, &[NoExec]),
        (
            &["noexec"],
            |mount| (mount.readonly, mount.recursive_read_only) = (true, true),
            &[NoExec],
        ),
        (&["nosuid"], image, &[NoSuid]),
    ];
    for (options, change, wanted) in cases {
        let config = mounts(options, change).unwrap();
        assert_eq!(config.mounts[1].options, wanted, "{options:?}");
        assert!(config.mounts[0].options.is_empty());
        let echo = super::super::mount::volume_message(&config.mounts[1]);
        assert_eq!(echo.mount_options, options);
    }
}

/// What is not known may be meant to protect. OCI has many more options (config.md, "Linux mount options");
/// those that give rights, or that the other fields of a mount decide, are not for this field.
#[test]
fn every_other_option_is_refused_by_name() {
    let others = [
        "exec",
        "suid",
        "dev",
        "ro",
        "rw",
        "rnoexec",
        "NOEXEC",
        " noexec",
        "",
        "nosymfollow",
        "noatime",
        "noexec,nodev",
        "size=1m",
        "rshared",
        "remount",
    ];
    for other in others {
        let field = "config.mounts[1].mount_options[1]";
        let error = mounts(&["noexec", other], |_| {}).unwrap_err().to_string();
        assert!(error.starts_with(field), "{error}");
        assert!(error.contains("noexec, nodev or nosuid"), "{error}");
    }
}
