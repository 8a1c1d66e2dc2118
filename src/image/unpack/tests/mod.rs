mod lower;
mod odd;

use super::*;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use tar::{Builder, EntryType, Header};

const LIMITS: Limits = Limits {
    entries: 1000,
    bytes: 1 << 20,
};

/// A layer being written, with names no honest program would write.
struct Layer(Builder<Vec<u8>>);

impl Layer {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    fn entry(mut self, kind: EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        let raw = header.as_old_mut();
        raw.name[..name.len()].copy_from_slice(name.as_bytes());
        raw.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory {
            0o755
        } else {
            0o644
        });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        header.set_device_major(0).unwrap();
        header.set_device_minor(0).unwrap();
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn dir(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name, "", b"")
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.entry(EntryType::Regular, name, "", content.as_bytes())
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, target, b"")
    }

    fn hard(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name, target, b"")
    }

    fn pax(mut self, pairs: &[(&str, &[u8])]) -> Self {
        self.0.append_pax_extensions(pairs.iter().copied()).unwrap();
        self
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }

    fn unpack_into(self, root: &std::path::Path) -> Result<Unpacked, UnpackError> {
        unpack(
            self.bytes().as_slice(),
            &Dir::open_root(root).unwrap(),
            LIMITS,
            &|| Some(Vec::new()),
        )
    }

    fn unpack(self) -> Result<(tempfile::TempDir, Unpacked), UnpackError> {
        // A directory beside which escapes would become visible.
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        fs::create_dir(&root).unwrap();
        let unpacked = self.unpack_into(&root);
        assert_eq!(
            fs::read_dir(outer.path()).unwrap().count(),
            1,
            "something escaped"
        );
        unpacked.map(|unpacked| (outer, unpacked))
    }
}

fn text(root: &tempfile::TempDir, path: &str) -> String {
    fs::read_to_string(root.path().join("root").join(path)).unwrap()
}

fn lstat(root: &tempfile::TempDir, path: &str) -> fs::Metadata {
    fs::symlink_metadata(root.path().join("root").join(path)).unwrap()
}

#[test]
fn an_ordinary_layer() {
    let (root, unpacked) = Layer::new()
        .dir("./")
        .dir("bin/")
        .file("bin/sh", "shell")
        .link("bin/ash", "sh")
        .hard("bin/dash", "bin/sh")
        .file("implicit/parent/file", "x")
        .entry(EntryType::Fifo, "pipe", "", b"")
        .unpack()
        .unwrap();
    assert_eq!(text(&root, "bin/ash"), "shell");
    assert_eq!(lstat(&root, "bin/dash").ino(), lstat(&root, "bin/sh").ino());
    assert_eq!(lstat(&root, "bin/sh").mtime(), 1_000_000_000);
    assert_eq!(lstat(&root, "bin").mtime(), 1_000_000_000);
    assert_eq!(lstat(&root, "").mtime(), 1_000_000_000);
    assert!(lstat(&root, "pipe").file_type().is_fifo());
    assert_eq!(
        lstat(&root, "implicit/parent").permissions().mode() & 0o7777,
        0o755
    );
    assert!(
        unpacked.inodes >= 5 && unpacked.bytes >= 8192,
        "{unpacked:?}"
    );
}

#[test]
fn metadata_is_kept() {
    let mut layer = Layer::new();
    let mut header = Header::new_gnu();
    header.set_path("su").unwrap();
    header.set_mode(0o6755);
    header.set_uid(1000);
    header.set_gid(2000);
    header.set_size(1);
    header.set_cksum();
    layer = layer.pax(&[
        ("mtime", b"1234567890.5"),
        (
            "SCHILY.xattr.security.capability",
            &hex::decode("0100000200040000000000000000000000000000").unwrap(),
        ),
        ("SCHILY.xattr.user.note", b"kept"),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
    ]);
    layer.0.append(&header, &b"x"[..]).unwrap();
    let (root, unpacked) = layer.unpack().unwrap();
    let stat = lstat(&root, "su");
    assert_eq!(
        (stat.uid(), stat.gid(), stat.permissions().mode() & 0o7777),
        (1000, 2000, 0o6755)
    );
    assert_eq!(
        (stat.mtime(), stat.mtime_nsec()),
        (1_234_567_890, 500_000_000)
    );
    let mut names: Vec<_> = xattr::list(root.path().join("root/su")).unwrap().collect();
    names.sort();
    // The file system may refuse user.*, which is said; what overlay reads is never set.
    assert!(names.contains(&"security.capability".into()), "{names:?}");
    assert!(
        names
            .iter()
            .all(|name| name == "security.capability"
                || name.as_encoded_bytes().starts_with(b"user.")),
        "{names:?}"
    );
    let left = unpacked.left_out.attributes;
    assert!(
        left.contains_key(OsStr::new("trusted.overlay.redirect")),
        "{left:?}"
    );
}

#[test]
fn long_names_and_links() {
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(200));
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o600);
    builder.append_data(&mut header, &long, &b"x"[..]).unwrap();
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "link", &long).unwrap();
    let (root, _) = Layer(builder).unpack().unwrap();
    assert_eq!(text(&root, "link"), "x");
}

#[test]
fn whiteouts_become_overlays() {
    let (root, _) = Layer::new()
        .dir("a/")
        .file("a/.wh.gone", "")
        .dir("b/")
        .file("b/.wh..wh..opq", "")
        .file("b/.wh..wh.plnk", "")
        .unpack()
        .unwrap();
    let gone = lstat(&root, "a/gone");
    assert!(gone.file_type().is_char_device());
    assert_eq!(gone.rdev(), 0);
    let opaque = xattr::get(root.path().join("root/b"), "trusted.overlay.opaque").unwrap();
    assert_eq!(opaque.as_deref(), Some(&b"y"[..]));
    assert_eq!(fs::read_dir(root.path().join("root/b")).unwrap().count(), 0);
}

#[test]
fn a_whiteout_hides_only_lower_layers() {
    let opaque = |root: &tempfile::TempDir, path: &str| {
        xattr::get(
            root.path().join("root").join(path),
            "trusted.overlay.opaque",
        )
        .unwrap()
        .is_some()
    };
    let (root, _) = Layer::new()
        .file("file", "mine")
        .file(".wh.file", "")
        .dir("before/")
        .file("before/x", "")
        .file(".wh.before", "")
        .file(".wh.after", "")
        .dir("after/")
        .file(".wh.again", "")
        .file("again", "mine")
        .unpack()
        .unwrap();
    assert_eq!(text(&root, "file"), "mine");
    assert_eq!(text(&root, "again"), "mine");
    assert!(opaque(&root, "before") && lstat(&root, "before/x").is_file());
    assert!(opaque(&root, "after"));
}

#[test]
fn later_entries_replace_earlier_ones() {
    let (root, _) = Layer::new()
        .file("a", "one")
        .file("a", "two")
        .file("b", "file")
        .dir("b/")
        .file("b/in", "x")
        .dir("c/")
        .file("c/in", "x")
        .file("c", "file")
        .link("d", "/nowhere")
        .file("d", "file")
        .dir("e/")
        .file("e/keep", "kept")
        .dir("e/")
        .unpack()
        .unwrap();
    assert_eq!(text(&root, "a"), "two");
    assert_eq!(text(&root, "b/in"), "x");
    assert_eq!(text(&root, "c"), "file");
    assert!(lstat(&root, "d").is_file());
    assert_eq!(text(&root, "e/keep"), "kept");
}

#[test]
fn names_that_leave_are_refused() {
    for name in ["../out", "a/../../out", "..", "/../out"] {
        for layer in [Layer::new().file(name, "x"), Layer::new().hard("x", name)] {
            let error = layer.unpack().unwrap_err();
            assert!(matches!(error, UnpackError::Escape(_)), "{name}: {error:?}");
        }
    }
    // What resolves to the root and is no directory is passed over, as containerd does.
    assert!(Layer::new().file("a/..", "").unpack().is_ok());
    assert!(Layer::new().file(".wh.", "").unpack().is_err());
    assert!(Layer::new().file(".wh...", "").unpack().is_err());
    assert!(Layer::new().file(".wh..", "").unpack().is_err());
}

#[test]
fn absolute_names_begin_at_the_layers_root() {
    let (root, _) = Layer::new().file("/etc/mark", "mine").unpack().unwrap();
    assert_eq!(text(&root, "etc/mark"), "mine");
}

#[test]
fn links_end_at_the_layers_root() {
    let (root, _) = Layer::new()
        .link("a", "/")
        .file("a/etc/mark", "mine")
        .link("b", "../../../..")
        .file("b/up", "mine")
        .link("c", "/var/run")
        .file("c/dangling", "mine")
        .link("d", "sub/../../deeper")
        .file("d/x", "mine")
        .unpack()
        .unwrap();
    assert_eq!(text(&root, "etc/mark"), "mine");
    assert_eq!(text(&root, "up"), "mine");
    assert_eq!(text(&root, "var/run/dangling"), "mine");
    assert_eq!(text(&root, "deeper/x"), "mine");
}

#[test]
fn links_to_themselves_end_too() {
    let circles = [
        Layer::new().link("a", "a").file("a/x", ""),
        Layer::new().link("a", "b").link("b", "a").file("a/x", ""),
    ];
    for layer in circles {
        let error = layer.unpack().unwrap_err();
        assert!(matches!(error, UnpackError::Broken { .. }), "{error:?}");
    }
}

/// A final link is replaced, never written through; a hard link to a link is one to the link.
#[test]
fn final_links_are_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    let mark = outside.path().join("mark");
    fs::File::create(&mark).unwrap();
    let (root, _) = Layer::new()
        .link("l", mark.to_str().unwrap())
        .file("l", "overwritten")
        .link("m", mark.to_str().unwrap())
        .hard("n", "m")
        .file("n", "overwritten")
        .unpack()
        .unwrap();
    assert_eq!(fs::metadata(&mark).unwrap().len(), 0);
    assert_eq!(text(&root, "l"), "overwritten");
    assert!(lstat(&root, "m").is_symlink());
}

#[test]
fn a_hard_link_to_nothing_is_an_error() {
    assert!(Layer::new().hard("x", "absent").unpack().is_err());
    assert!(Layer::new().dir("d/").hard("x", "d").unpack().is_err());
    let (root, _) = Layer::new()
        .file("x", "same")
        .hard("x", "./x")
        .unpack()
        .unwrap();
    assert_eq!(text(&root, "x"), "same");
}

#[test]
fn limits_hold() {
    let mut layer = Layer::new();
    for i in 0..1001 {
        layer = layer.file(&format!("f{i}"), "");
    }
    assert!(matches!(
        layer.unpack(),
        Err(UnpackError::TooManyEntries(1000))
    ));
    let big = "x".repeat(600 << 10);
    let error = Layer::new()
        .file("a", &big)
        .file("b", &big)
        .unpack()
        .unwrap_err();
    assert!(error.is_too_large());
}

/// Long names and attributes are kept in memory by the tar reader, so their size is bounded.
#[test]
fn a_huge_header_is_refused() {
    let layer = Layer::new().entry(
        EntryType::GNULongName,
        "././@LongLink",
        "",
        &vec![b'x'; 2 << 20],
    );
    let error = layer.file("x", "").unpack().unwrap_err();
    assert!(matches!(error, UnpackError::Read(_)), "{error:?}");
}

#[test]
fn a_truncated_stream_is_an_error() {
    let bytes = Layer::new().file("a", &"x".repeat(2000)).bytes();
    for length in [100, 600, 1500] {
        let dir = tempfile::tempdir().unwrap();
        let result = unpack(
            &bytes[..length],
            &Dir::open_root(dir.path()).unwrap(),
            LIMITS,
            &|| Some(Vec::new()),
        );
        assert!(matches!(result, Err(UnpackError::Read(_))), "{length}");
    }
}

#[test]
fn an_owner_beyond_32_bits_is_an_error() {
    let mut layer = Layer::new();
    let mut header = Header::new_gnu();
    header.set_path("x").unwrap();
    header.set_uid(1 << 32);
    header.set_size(0);
    header.set_cksum();
    layer.0.append(&header, &b""[..]).unwrap();
    assert!(matches!(
        layer.unpack(),
        Err(UnpackError::Field { field: "owner", .. })
    ));
}

/// The file is longer than one buffer and mostly a hole.
#[test]
fn sparse_files_keep_their_content() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sparse");
    let made = std::fs::File::create(&file).unwrap();
    use std::os::unix::fs::FileExt;
    made.write_all_at(b"begin", 0).unwrap();
    made.write_all_at(b"end", 700_000).unwrap();
    made.set_len(800_000).unwrap();
    let mut builder = Builder::new(Vec::new());
    builder.sparse(true);
    builder.append_path_with_name(&file, "sparse").unwrap();
    let (root, _) = Layer(builder).unpack().unwrap();
    let path = root.path().join("root/sparse");
    assert_eq!(fs::read(&path).unwrap(), fs::read(&file).unwrap());
}

/// PAX records of a file, and its data.
type PaxForm<'a> = (&'a [(&'a str, &'a [u8])], &'a [u8]);

/// GNU tar's PAX forms of one file: `begin` at 0, `end` at 5000, 6000 bytes in all.
#[test]
fn sparse_files_in_pax_form_keep_their_content() {
    let mut wanted = b"begin".to_vec();
    wanted.resize(5000, 0);
    wanted.extend_from_slice(b"end");
    wanted.resize(6000, 0);
    let mut mapped = b"2\n0\n5\n5000\n3\n".to_vec();
    mapped.resize(512, 0);
    mapped.extend_from_slice(b"beginend");
    let forms: [PaxForm<'_>; 3] = [
        (
            &[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", b"sparse"),
                ("GNU.sparse.realsize", b"6000"),
            ],
            &mapped,
        ),
        (
            &[
                ("GNU.sparse.size", b"6000"),
                ("GNU.sparse.numblocks", b"2"),
                ("GNU.sparse.name", b"sparse"),
                ("GNU.sparse.map", b"0,5,5000,3"),
            ],
            b"beginend",
        ),
        (
            &[
                ("GNU.sparse.size", b"6000"),
                ("GNU.sparse.numblocks", b"2"),
                ("GNU.sparse.offset", b"0"),
                ("GNU.sparse.numbytes", b"5"),
                ("GNU.sparse.offset", b"5000"),
                ("GNU.sparse.numbytes", b"3"),
                ("GNU.sparse.name", b"sparse"),
            ],
            b"beginend",
        ),
    ];
    for (headers, content) in forms {
        let name = "./GNUSparseFile.1/sparse";
        let (root, _) = Layer::new()
            .pax(headers)
            .entry(EntryType::Regular, name, "", content)
            .file("after", "intact")
            .unpack()
            .unwrap();
        assert_eq!(fs::read(root.path().join("root/sparse")).unwrap(), wanted);
        assert_eq!(text(&root, "after"), "intact");
    }
}

#[test]
fn maps_of_sparse_files_are_not_trusted() {
    for (map, size) in [
        ("0,5,3,5", "100"),
        ("0,5,5", "100"),
        ("90,20", "100"),
        ("18446744073709551615,2", "100"),
        ("0,5,5000,90", "6000"),
        ("x", "100"),
    ] {
        let headers = [
            ("GNU.sparse.map", map.as_bytes()),
            ("GNU.sparse.size", size.as_bytes()),
        ];
        let layer = Layer::new().pax(&headers).file("sparse", "0123456789");
        assert!(layer.unpack().is_err(), "{map}");
    }
    let huge = [
        ("GNU.sparse.major", &b"1"[..]),
        ("GNU.sparse.realsize", b"100"),
    ];
    let content = format!("{:0<512}", "99999999999\n");
    assert!(
        Layer::new()
            .pax(&huge)
            .file("sparse", &content)
            .unpack()
            .is_err()
    );
}

/// What the extraction opens is resolved anew after a directory was replaced by a link.
#[test]
fn a_replaced_directory_is_not_remembered() {
    let (root, _) = Layer::new()
        .dir("d/")
        .file("d/one", "1")
        .dir("other/")
        .link("d", "other")
        .file("d/two", "2")
        .unpack()
        .unwrap();
    assert_eq!(text(&root, "other/two"), "2");
    assert!(!root.path().join("root/other/one").exists());
}

#[test]
fn unpacking_does_not_leave_through_what_is_there() {
    let outer = tempfile::tempdir().unwrap();
    fs::create_dir(outer.path().join("root")).unwrap();
    fs::create_dir(outer.path().join("target")).unwrap();
    symlink("../target", outer.path().join("root/d")).unwrap();
    Layer::new()
        .file("d/x", "1")
        .unpack_into(&outer.path().join("root"))
        .unwrap();
    assert_eq!(
        fs::read_dir(outer.path().join("target")).unwrap().count(),
        0
    );
}
