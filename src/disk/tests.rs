use super::*;
use proptest::prelude::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

fn root() -> (tempfile::TempDir, Dir) {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::open_root(temp.path()).unwrap();
    (temp, dir)
}

#[test]
fn hostile_names_are_not_representable() {
    for bad in ["", ".", "..", "/", "a/b", "/etc", "../x", "a\0b", "a/"] {
        assert!(FileName::new(bad).is_err(), "{bad:?}");
    }
    assert!(FileName::new("x".repeat(255)).is_ok());
    assert_eq!(
        FileName::new("x".repeat(256)),
        Err(FileNameError::TooLong(256))
    );
    assert!(matches!(
        FileName::new(".holdfast-tmp.1.2"),
        Err(FileNameError::Reserved(_))
    ));
    assert!(FileName::new("...").is_ok());
    assert!(FileName::new("a\nb").is_ok());
}

proptest! {
    #[test]
    fn an_accepted_name_is_one_component(text in "\\PC{0,40}|[./a\0]{0,5}") {
        if let Ok(name) = FileName::new(&text) {
            let parts: Vec<_> = Path::new(name.as_os_str()).components().collect();
            prop_assert_eq!(parts.len(), 1);
            prop_assert!(matches!(parts[0], std::path::Component::Normal(_)));
        }
    }
}

#[test]
fn replace_leaves_only_the_new_content() {
    let (temp, dir) = root();
    dir.replace(&name("a"), b"one", Durability::Volatile)
        .unwrap();
    dir.replace(&name("a"), b"two", Durability::Synced).unwrap();
    assert_eq!(dir.read_file(&name("a"), 10).unwrap().unwrap(), b"two");
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
    let mode = std::fs::metadata(temp.path().join("a"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn replace_replaces_a_link_not_its_target() {
    let (temp, dir) = root();
    std::fs::File::create(temp.path().join("target")).unwrap();
    symlink("target", temp.path().join("a")).unwrap();
    dir.replace(&name("a"), b"x", Durability::Volatile).unwrap();
    assert_eq!(
        std::fs::metadata(temp.path().join("target")).unwrap().len(),
        0
    );
    assert!(
        std::fs::symlink_metadata(temp.path().join("a"))
            .unwrap()
            .is_file()
    );
}

#[test]
fn an_interrupted_replace_is_invisible_and_swept() {
    let (temp, dir) = root();
    dir.replace(&name("a"), b"old", Durability::Volatile)
        .unwrap();
    std::fs::File::create(temp.path().join(".holdfast-tmp.77.0")).unwrap();
    let entries = dir.entries().unwrap();
    assert_eq!(
        entries,
        vec![Entry {
            name: name("a"),
            kind: EntryKind::File
        }]
    );
    assert_eq!(dir.sweep_temporaries().unwrap(), 1);
    assert_eq!(dir.sweep_temporaries().unwrap(), 0);
    assert_eq!(dir.read_file(&name("a"), 10).unwrap().unwrap(), b"old");
}

#[test]
fn a_failed_replace_leaves_no_temporary() {
    let (temp, dir) = root();
    std::fs::create_dir(temp.path().join("a")).unwrap();
    assert!(dir.replace(&name("a"), b"x", Durability::Volatile).is_err());
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
}

#[test]
fn reads_are_bounded_and_links_refused() {
    let (temp, dir) = root();
    dir.replace(&name("a"), b"12345", Durability::Volatile)
        .unwrap();
    assert!(dir.read_file(&name("a"), 5).unwrap().is_some());
    assert!(matches!(
        dir.read_file(&name("a"), 4),
        Err(DirError::TooLarge { .. })
    ));
    assert!(dir.read_file(&name("none"), 4).unwrap().is_none());
    symlink("a", temp.path().join("l")).unwrap();
    assert!(dir.read_file(&name("l"), 10).is_err());
    symlink("/", temp.path().join("slash")).unwrap();
    assert!(dir.subdir(&name("slash")).is_err());
}

#[test]
fn subdirectories_are_made_once() {
    let (temp, dir) = root();
    let sub = dir.create_subdir(&name("s"), 0o700).unwrap();
    dir.create_subdir(&name("s"), 0o700).unwrap();
    assert_eq!(sub.path(), temp.path().join("s"));
    assert!(
        dir.create_new_subdir(&name("s"), 0o700)
            .unwrap_err()
            .is_already_exists()
    );
    assert!(dir.exists(&name("s")).unwrap());
    assert!(!dir.exists(&name("t")).unwrap());
    let made = Dir::create_root(&temp.path().join("x/y")).unwrap();
    assert_eq!(
        std::fs::metadata(made.path()).unwrap().mode() & 0o777,
        0o700
    );
}

#[test]
fn rename_into_replaces_nothing() {
    let (_temp, dir) = root();
    let a = dir.create_subdir(&name("a"), 0o700).unwrap();
    let b = dir.create_subdir(&name("b"), 0o700).unwrap();
    a.create_subdir(&name("x"), 0o700).unwrap();
    a.rename_into(&name("x"), &b, &name("y")).unwrap();
    assert!(b.exists(&name("y")).unwrap());
    a.create_subdir(&name("x"), 0o700).unwrap();
    assert!(
        a.rename_into(&name("x"), &b, &name("y"))
            .unwrap_err()
            .is_already_exists()
    );
}

#[test]
fn remove_tree_removes_links_not_targets() {
    let (temp, dir) = root();
    let outside = tempfile::tempdir().unwrap();
    std::fs::File::create(outside.path().join("keep")).unwrap();
    std::fs::create_dir_all(temp.path().join("t/u/v")).unwrap();
    symlink(outside.path(), temp.path().join("t/u/out")).unwrap();
    std::fs::hard_link(outside.path().join("keep"), temp.path().join("t/hard")).ok();
    dir.remove_tree(&name("t")).unwrap();
    dir.remove_tree(&name("t")).unwrap();
    assert!(!temp.path().join("t").exists());
    assert!(outside.path().join("keep").exists());

    symlink(outside.path(), temp.path().join("linked")).unwrap();
    dir.remove_tree(&name("linked")).unwrap();
    assert!(!dir.exists(&name("linked")).unwrap());
    assert!(outside.path().join("keep").exists());
}

/// A tree deeper than the process may hold descriptors and than a path may be long.
#[test]
fn remove_tree_takes_deep_and_wide_trees() {
    let (temp, dir) = root();
    let mut at = dir.create_subdir(&name("deep"), 0o700).unwrap();
    for _ in 0..1100 {
        at = at.create_subdir(&name("abcdefgh"), 0o700).unwrap();
        at.replace(&name("f"), b"", Durability::Volatile).unwrap();
    }
    let wide = dir.create_subdir(&name("wide"), 0o700).unwrap();
    for i in 0..500 {
        wide.create_subdir(&name(&format!("d{i}")), 0o700).unwrap();
    }
    dir.remove_tree(&name("deep")).unwrap();
    dir.remove_tree(&name("wide")).unwrap();
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[test]
fn remove_tree_stops_at_a_mount_point() {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    let (temp, dir) = root();
    let mounted = temp.path().join("t/m");
    std::fs::create_dir_all(&mounted).unwrap();
    // The mount lives in a mount namespace of this thread alone and dies with it.
    let path = temp.path().to_owned();
    std::thread::spawn(move || {
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        if unshare(CloneFlags::CLONE_NEWNS).is_err()
            || mount(None::<&str>, "/", None::<&str>, private, None::<&str>).is_err()
        {
            println!("skipped: no permission to make a mount namespace");
            return;
        }
        mount(
            Some("tmpfs"),
            &mounted,
            Some("tmpfs"),
            MsFlags::empty(),
            None::<&str>,
        )
        .unwrap();
        let dir = Dir::open_root(&path).unwrap();
        std::fs::File::create(mounted.join("keep")).unwrap();
        assert!(matches!(
            dir.remove_tree(&name("t")),
            Err(DirError::MountPoint { .. })
        ));
        assert!(mounted.join("keep").exists());
    })
    .join()
    .unwrap();
    dir.remove_tree(&name("t")).unwrap();
}

#[test]
fn a_lock_is_held_by_one() {
    let (_temp, dir) = root();
    let held = dir.lock(&name("lock")).unwrap();
    assert!(matches!(
        dir.lock(&name("lock")),
        Err(DirError::Locked { .. })
    ));
    drop(held);
    dir.lock(&name("lock")).unwrap();
}

#[test]
fn records_carry_their_version() {
    const ONE: Record<Vec<u32>> = Record::new(1, 64);
    const TWO: Record<Vec<u32>> = Record::new(2, 64);
    let (_temp, dir) = root();
    let file = name("r.json");
    assert!(ONE.load(&dir, &file).unwrap().is_none());
    ONE.store(&dir, &file, &vec![1, 2], Durability::Synced)
        .unwrap();
    assert_eq!(
        dir.read_file(&file, 64).unwrap().unwrap(),
        br#"{"version":1,"data":[1,2]}"#
    );
    assert_eq!(ONE.load(&dir, &file).unwrap(), Some(vec![1, 2]));
    let error = TWO.load(&dir, &file).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("r.json has version 1, this program knows version 2"),
        "{error}"
    );
    assert!(matches!(
        ONE.store(&dir, &file, &vec![7; 99], Durability::Volatile),
        Err(RecordError::TooLarge { .. })
    ));
    assert_eq!(ONE.load(&dir, &file).unwrap(), Some(vec![1, 2]));
}

#[test]
fn damaged_records_are_errors() {
    const KIND: Record<Vec<u32>> = Record::new(1, 64);
    let (_temp, dir) = root();
    for bad in [
        "",
        "{",
        "[]",
        "{\"version\":1}",
        "{\"version\":1,\"data\":\"x\"}",
        "{\"version\":-1,\"data\":[]}",
    ] {
        dir.replace(&name("r"), bad.as_bytes(), Durability::Volatile)
            .unwrap();
        assert!(
            matches!(
                KIND.load(&dir, &name("r")),
                Err(RecordError::Damaged { .. })
            ),
            "{bad}"
        );
    }
}

#[test]
fn usage_counts_hard_links_once() {
    let (temp, dir) = root();
    let sub = dir.create_subdir(&name("s"), 0o700).unwrap();
    sub.replace(&name("a"), &[7; 8192], Durability::Synced)
        .unwrap();
    let before = dir.usage().unwrap();
    std::fs::hard_link(temp.path().join("s/a"), temp.path().join("b")).unwrap();
    let after = dir.usage().unwrap();
    assert_eq!(before.inodes, 3);
    assert_eq!(after.inodes, 3);
    assert!(after.bytes >= 8192);
    assert!(dir.space().unwrap().total_bytes > 0);
}
