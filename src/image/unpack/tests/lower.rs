//! Layers that refer to the layers below them.

use super::*;
use std::fs::File;
use std::path::Path as StdPath;
use tempfile::TempDir;

/// An image being stacked, the top layer first.
#[derive(Default)]
struct Stack(Vec<TempDir>);

impl Stack {
    fn add(&mut self, layer: Layer) -> Unpacked {
        let dir = tempfile::tempdir().unwrap();
        let open = |dir: &TempDir| File::open(dir.path()).unwrap();
        let below = || Some(self.0.iter().map(open).collect());
        let root = Dir::open_root(dir.path()).unwrap();
        let unpacked = unpack(layer.bytes().as_slice(), &root, LIMITS, &below).unwrap();
        self.0.insert(0, dir);
        unpacked
    }

    fn top(&self) -> &StdPath {
        self.0[0].path()
    }
}

fn alone(layer: Layer) -> Result<Unpacked, UnpackError> {
    let dir = tempfile::tempdir().unwrap();
    let root = Dir::open_root(dir.path()).unwrap();
    unpack(layer.bytes().as_slice(), &root, LIMITS, &|| None)
}

/// A layer with a file below a directory of that mode and owner.
fn with_directory(mode: u32, owner: u64) -> Layer {
    let mut layer = Layer::new();
    let mut header = Header::new_gnu();
    header.set_path("data/").unwrap();
    header.set_entry_type(EntryType::Directory);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mtime(1_234_567_890);
    header.set_size(0);
    header.set_cksum();
    layer.0.append(&header, &b""[..]).unwrap();
    layer.file("data/lower", "lower")
}

#[test]
fn a_layer_that_lists_its_directories_stands_alone() {
    let layer = Layer::new()
        .dir("./")
        .dir("d/")
        .file("d/one", "1")
        .hard("d/two", "d/one")
        .file("d/.wh.gone", "")
        .link("l", "d")
        .file("l/three", "3");
    assert_eq!(alone(layer).unwrap().standing, Standing::Alone);
}

#[test]
fn a_layer_that_refers_to_lower_ones_says_so_when_they_are_not_there() {
    for layer in [
        Layer::new().file("implied/file", "x"),
        Layer::new().file("implied/.wh.file", ""),
        Layer::new().hard("link", "below"),
        Layer::new()
            .dir("d/")
            .link("d/l", "../e")
            .file("d/l/x", "x"),
    ] {
        let error = alone(layer).unwrap_err();
        assert!(error.needs_lower(), "{error}");
    }
}

#[test]
fn an_implied_directory_is_what_the_layers_below_have() {
    let mut stack = Stack::default();
    stack.add(with_directory(0o2750, 77));
    let unpacked = stack.add(Layer::new().file("data/upper", "upper").file("new/x", "x"));
    assert_eq!(unpacked.standing, Standing::OnLower);
    assert_eq!(unpacked.inodes, 1 + 4);
    let data = fs::metadata(stack.top().join("data")).unwrap();
    assert_eq!(
        (data.mode() & 0o7777, data.uid(), data.gid()),
        (0o2750, 77, 77)
    );
    assert_eq!(data.mtime(), 1_234_567_890);
    let new = fs::metadata(stack.top().join("new")).unwrap();
    assert_eq!((new.mode() & 0o7777, new.uid()), (0o755, 0));
}

#[test]
fn an_entry_below_a_lower_link_goes_where_it_leads() {
    let mut stack = Stack::default();
    stack.add(
        Layer::new()
            .dir("usr/")
            .dir("usr/lib/")
            .link("lib", "/usr/./lib")
            .link("up", "usr/../../../lib"),
    );
    stack.add(Layer::new().file("lib/one", "1").file("up/two", "2"));
    let entries = |path: &str| {
        let entries = fs::read_dir(stack.top().join(path)).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(entries(""), ["usr"]);
    assert_eq!(entries("usr/lib"), ["one", "two"]);
}

#[test]
fn a_lower_link_does_not_lead_out_of_the_image() {
    let outer = tempfile::tempdir().unwrap();
    let mut stack = Stack::default();
    stack.add(
        Layer::new()
            .link("out", outer.path().to_str().unwrap())
            .link("dots", "../../../.."),
    );
    stack.add(Layer::new().file("out/x", "x").file("dots/y", "y"));
    assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 0);
    assert!(stack.top().join("y").is_file());
}

#[test]
fn what_a_layer_takes_away_is_not_below_it() {
    let mut stack = Stack::default();
    stack.add(with_directory(0o700, 5));
    // Whiteout first, then an entry that implies the directory again.
    stack.add(Layer::new().file(".wh.data", "").file("data/new", "x"));
    let data = stack.top().join("data");
    assert_eq!(fs::metadata(&data).unwrap().mode() & 0o7777, 0o755);
    let opaque = xattr::get(&data, "trusted.overlay.opaque").unwrap();
    assert_eq!(opaque.as_deref(), Some(&b"y"[..]));
    // Above that, the lowest layer's directory does not show through.
    stack.add(Layer::new().file("data/more", "x"));
    assert_eq!(fs::metadata(stack.top().join("data")).unwrap().uid(), 0);
    let error = {
        let open = |dir: &TempDir| File::open(dir.path()).unwrap();
        let below = || Some(stack.0.iter().map(open).collect());
        let dir = tempfile::tempdir().unwrap();
        let layer = Layer::new().hard("x", "data/lower");
        let root = Dir::open_root(dir.path()).unwrap();
        unpack(layer.bytes().as_slice(), &root, LIMITS, &below).unwrap_err()
    };
    assert!(matches!(error, UnpackError::Broken { .. }), "{error:?}");
}

#[test]
fn a_hard_link_brings_its_target_up() {
    let mut stack = Stack::default();
    stack.add(
        with_directory(0o750, 9)
            .hard("data/other", "data/lower")
            .link("s", "data/lower"),
    );
    fs::set_permissions(
        stack.top().join("data/lower"),
        fs::Permissions::from_mode(0o4711),
    )
    .unwrap();
    xattr::set(stack.top().join("data/lower"), "user.note", b"kept").unwrap();
    let unpacked = stack.add(
        Layer::new()
            .hard("linked", "data/lower")
            .hard("again", "linked")
            .hard("link", "s"),
    );
    assert_eq!(unpacked.standing, Standing::OnLower);
    let linked = fs::metadata(stack.top().join("linked")).unwrap();
    let target = fs::metadata(stack.top().join("data/lower")).unwrap();
    assert_eq!((linked.ino(), linked.nlink()), (target.ino(), 3));
    // The last name says the mode.
    assert_eq!(linked.mode() & 0o7777, 0o644);
    assert_eq!(fs::read(stack.top().join("again")).unwrap(), b"lower");
    let note = xattr::get(stack.top().join("linked"), "user.note").unwrap();
    assert_eq!(note.as_deref(), Some(&b"kept"[..]));
    assert_eq!(fs::metadata(stack.top().join("data")).unwrap().uid(), 9);
    // A link to a link is one to the link itself.
    assert!(
        fs::symlink_metadata(stack.top().join("link"))
            .unwrap()
            .is_symlink()
    );
    // The other name is the lower layer's still.
    assert!(!stack.top().join("data/other").exists());
}

#[test]
fn a_copied_target_counts() {
    let mut stack = Stack::default();
    stack.add(Layer::new().file("big", &"x".repeat(900 << 10)));
    let dir = tempfile::tempdir().unwrap();
    let open = |dir: &TempDir| File::open(dir.path()).unwrap();
    let below = || Some(stack.0.iter().map(open).collect());
    let layer = Layer::new()
        .hard("link", "big")
        .file("more", &"x".repeat(900 << 10));
    let root = Dir::open_root(dir.path()).unwrap();
    let error = unpack(layer.bytes().as_slice(), &root, LIMITS, &below).unwrap_err();
    assert!(error.is_too_large(), "{error:?}");
}
