use super::*;
use crate::image::LayerName;
use holdfast_disk::Dir;
use nix::sys::stat::mknod;
use nix::sys::stat::{Mode, SFlag};
use std::fs;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

/// Layers being laid out by hand, the bottom one first.
struct Layers {
    dir: tempfile::TempDir,
    names: Vec<LayerName>,
}

impl Layers {
    fn new(count: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<_> = (0..count).map(LayerName::from_number).collect();
        for name in &names {
            fs::create_dir_all(dir.path().join(name.as_str()).join(DIFF)).unwrap();
        }
        Self { dir, names }
    }

    fn path(&self, layer: usize, path: &str) -> PathBuf {
        let full = self
            .dir
            .path()
            .join(self.names[layer].as_str())
            .join(DIFF)
            .join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        full
    }

    fn file(self, layer: usize, path: &str, content: &str) -> Self {
        fs::File::create(self.path(layer, path))
            .unwrap()
            .write_all(content.as_bytes())
            .unwrap();
        self
    }

    fn link(self, layer: usize, path: &str, target: &str) -> Self {
        symlink(target, self.path(layer, path)).unwrap();
        self
    }

    fn whiteout(self, layer: usize, path: &str) -> Self {
        mknod(&self.path(layer, path), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
        self
    }

    fn opaque(self, layer: usize, path: &str) -> Self {
        fs::create_dir_all(self.path(layer, path)).unwrap();
        xattr::set(self.path(layer, path), "trusted.overlay.opaque", b"y").unwrap();
        self
    }

    fn read(&self, path: &str) -> Option<String> {
        let dir = Dir::open_root(self.dir.path()).unwrap();
        read_file(&dir, &self.names, path, 100)
            .unwrap()
            .map(|bytes| String::from_utf8(bytes).unwrap())
    }
}

#[test]
fn the_top_layer_wins() {
    let layers = Layers::new(3)
        .file(0, "etc/a", "0")
        .file(1, "etc/a", "1")
        .file(2, "etc/b", "2")
        .file(0, "etc/c", "0");
    assert_eq!(layers.read("/etc/a").as_deref(), Some("1"));
    assert_eq!(layers.read("etc/b").as_deref(), Some("2"));
    assert_eq!(layers.read("//etc/./c").as_deref(), Some("0"));
    assert_eq!(layers.read("/etc"), None);
    assert_eq!(layers.read("/etc/a/b"), None);
    assert_eq!(layers.read("/"), None);
    assert_eq!(layers.read(""), None);
}

#[test]
fn whiteouts_and_opaque_directories_hide() {
    let layers = Layers::new(3)
        .file(0, "a", "0")
        .whiteout(1, "a")
        .file(0, "d/x", "0")
        .opaque(1, "d")
        .file(2, "d/y", "2")
        .file(0, "e/x", "0")
        .whiteout(1, "e")
        .file(2, "e/y", "2")
        .file(0, "f", "0")
        .whiteout(1, "f")
        .file(2, "f", "2");
    assert_eq!(layers.read("a"), None);
    assert_eq!(layers.read("d/x"), None);
    assert_eq!(layers.read("d/y").as_deref(), Some("2"));
    assert_eq!(layers.read("e/x"), None);
    assert_eq!(layers.read("e/y").as_deref(), Some("2"));
    assert_eq!(layers.read("f").as_deref(), Some("2"));
}

/// overlay takes a directory once, and does not look whether the root of a layer is opaque.
#[test]
fn layers_stand_once_and_those_below_an_opaque_root_not_at_all() {
    let layers = Layers::new(4)
        .file(0, "a", "0")
        .opaque(1, "")
        .file(2, "b", "2");
    let dir = Dir::open_root(layers.dir.path()).unwrap();
    let name = |number: usize| layers.names[number].clone();
    for (image, shown, lower) in [
        (vec![2, 3], vec![2, 3], vec![3, 2]),
        (vec![0, 2, 2], vec![0, 2, 2], vec![2, 0]),
        (vec![2, 3, 2], vec![2, 3, 2], vec![2, 3]),
        (vec![2, 2, 2], vec![2, 2, 2], vec![2]),
        (vec![0, 2, 0, 3, 2], vec![0, 2, 0, 3, 2], vec![2, 3, 0]),
        (vec![0, 1, 2], vec![1, 2], vec![2, 1]),
        (vec![1, 0, 1], vec![1], vec![1]),
        (vec![1, 0], vec![1, 0], vec![0, 1]),
        (vec![], vec![], vec![]),
    ] {
        let names: Vec<_> = image.iter().copied().map(name).collect();
        let visible = visible_layers(&dir, &names).unwrap();
        let wanted: Vec<_> = shown.iter().copied().map(name).collect();
        assert_eq!(visible, wanted, "{image:?}");
        let wanted: Vec<_> = lower.iter().copied().map(name).collect();
        let stack: Vec<_> = lower_layers(&visible).cloned().collect();
        assert_eq!(stack, wanted, "{image:?}");
    }
}

#[test]
fn a_file_hides_a_directory_and_the_other_way_round() {
    let layers = Layers::new(3)
        .file(0, "a/x", "0")
        .file(1, "a", "1")
        .file(0, "b", "0")
        .file(1, "b/x", "1")
        .file(2, "b/y", "2");
    assert_eq!(layers.read("a/x"), None);
    assert_eq!(layers.read("a").as_deref(), Some("1"));
    assert_eq!(layers.read("b/x").as_deref(), Some("1"));
    assert_eq!(layers.read("b"), None);
}

#[test]
fn links_are_followed_across_layers_and_stay_inside() {
    let layers = Layers::new(2)
        .file(0, "usr/etc/passwd", "mine")
        .link(1, "etc", "usr/etc")
        .link(1, "up", "../../../../../../etc")
        .link(1, "absolute", "/usr/../usr/etc/passwd")
        .link(0, "usr/etc/self", "./passwd")
        .link(1, "loop", "loop")
        .link(1, "host", "/etc/hostname");
    for path in [
        "etc/passwd",
        "up/passwd",
        "absolute",
        "etc/self",
        "../../etc/passwd",
    ] {
        assert_eq!(layers.read(path).as_deref(), Some("mine"), "{path}");
    }
    assert_eq!(layers.read("host"), None);
    let dir = Dir::open_root(layers.dir.path()).unwrap();
    assert!(matches!(
        read_file(&dir, &layers.names, "loop", 9),
        Err(ViewError::TooManyLinks { .. })
    ));
}

/// Links that go round answered INTERNAL for the sub path of an image volume, where every other missing directory is one
/// that the image has not. The kernel follows 40 links (path_resolution(7)).
#[test]
fn links_that_go_round_lead_to_no_directory() {
    let mut layers = Layers::new(2)
        .file(0, "dir/file", "")
        .link(0, "loop", "loop")
        .link(0, "a", "b")
        .link(1, "b", "a/x")
        .link(1, "dir/up", "../dir/up")
        .link(1, "round", "dir/../round/dir")
        .link(0, "l0", "dir");
    for number in 1..45 {
        layers = layers.link(0, &format!("l{number}"), &format!("l{}", number - 1));
    }
    let dir = Dir::open_root(layers.dir.path()).unwrap();
    for (path, wanted) in [
        ("dir", true),
        ("l30", true),
        ("loop", false),
        ("loop/dir", false),
        ("a", false),
        ("dir/up", false),
        ("round", false),
        ("l44", false),
        ("dir/file", false),
    ] {
        let found = is_directory(&dir, &layers.names, path).unwrap();
        assert_eq!(found, wanted, "{path}");
    }
    let error = read_file(&dir, &layers.names, "a", 9).unwrap_err();
    assert!(error.is_of_image(), "{error}");
}

#[test]
fn what_is_no_small_regular_file_is_not_read() {
    let layers = Layers::new(1).file(0, "big", &"x".repeat(101));
    nix::unistd::mkfifo(&layers.path(0, "fifo"), Mode::S_IRWXU).unwrap();
    mknod(
        &layers.path(0, "null"),
        SFlag::S_IFCHR,
        Mode::S_IRWXU,
        nix::sys::stat::makedev(1, 3),
    )
    .unwrap();
    assert_eq!(layers.read("fifo"), None);
    assert_eq!(layers.read("null"), None);
    let dir = Dir::open_root(layers.dir.path()).unwrap();
    let error = read_file(&dir, &layers.names, "big", 100).unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"big\" of the image is larger than 100 bytes; make it smaller in the image"
    );
}

/// What a volume begins with: the merged directory, with owners, modes and names of one file, but no link
/// followed and nothing that is taken away.
#[test]
fn a_directory_is_copied_out() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    let dir = tempfile::tempdir().unwrap();
    let make = |layer: &str, path: &str| {
        let path = dir.path().join(layer).join(DIFF).join(path);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let write = |path: std::path::PathBuf, text: &str| {
        std::io::Write::write_all(&mut File::create(path).unwrap(), text.as_bytes()).unwrap();
    };
    let lower = make("1", "data/sub");
    write(lower.join("../one"), "lower");
    std::fs::hard_link(lower.join("../one"), lower.join("two")).unwrap();
    write(lower.join("../gone"), "gone");
    write(lower.join("../over"), "lower");
    symlink("/etc/passwd", lower.join("../link")).unwrap();
    symlink(
        "../../../../data",
        dir.path().join("1").join(DIFF).join("alias"),
    )
    .unwrap();
    let upper = make("2", "data");
    write(upper.join("over"), "upper");
    nix::sys::stat::mknod(&upper.join("gone"), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
    std::fs::set_permissions(&upper, std::fs::Permissions::from_mode(0o1751)).unwrap();
    std::os::unix::fs::chown(&upper, Some(7), Some(8)).unwrap();
    let layers: Vec<LayerName> = ["1", "2"].map(|name| name.parse().unwrap()).into();
    let layers_dir = Dir::open_root(dir.path()).unwrap();
    for path in ["/data", "alias", "data/../alias/."] {
        let to = tempfile::tempdir().unwrap();
        let target = Dir::open_root(to.path()).unwrap();
        copy_directory(&layers_dir, &layers, path, &target).unwrap();
        let facts = std::fs::metadata(to.path()).unwrap();
        let mode = facts.mode() & 0o7777;
        assert_eq!((mode, facts.uid(), facts.gid()), (0o1751, 7, 8), "{path}");
        let read = |name: &str| std::fs::read_to_string(to.path().join(name)).unwrap();
        assert_eq!(
            (read("one"), read("over")),
            ("lower".into(), "upper".into())
        );
        let inode = |name: &str| std::fs::metadata(to.path().join(name)).unwrap().ino();
        assert_eq!(inode("one"), inode("sub/two"));
        assert!(to.path().join("link").is_symlink());
        assert!(!to.path().join("gone").exists());
    }
    let to = tempfile::tempdir().unwrap();
    let target = Dir::open_root(to.path()).unwrap();
    for path in ["/absent", "/data/one", "/data/gone"] {
        copy_directory(&layers_dir, &layers, path, &target).unwrap();
        assert_eq!(std::fs::read_dir(to.path()).unwrap().count(), 0, "{path}");
    }
}
