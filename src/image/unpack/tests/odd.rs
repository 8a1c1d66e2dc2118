//! Entries that real writers make and few readers expect. Where a right value is not the specification's it is what
//! Go's archive/tar (go1.26) reads and containerd 2.4.2 or CRI-O 1.37 (containers/storage 1.59) do with it.

use super::*;
use crate::unpack::usage::LeftOut;
use std::collections::BTreeSet;
use std::path::Path as StdPath;

/// A header of one kind and name, for the fields that [`Layer::entry`] does not set.
fn header(kind: EntryType, name: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    header.set_size(size);
    header
}

/// Appends an entry whose header was changed after it was made.
fn raw(mut layer: Layer, mut header: Header, content: &[u8]) -> Layer {
    header.set_cksum();
    let out = layer.0.get_mut();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512), 0);
    layer
}

/// A layer of raw bytes.
fn bytes(tar: &[u8]) -> Result<Unpacked, UnpackError> {
    let dir = tempfile::tempdir().unwrap();
    let root = Dir::open_root(dir.path()).unwrap();
    unpack(tar, &root, LIMITS, &|| Some(Vec::new()))
}

/// Names are cleaned as Go's path.Clean does: lexically, before anything is looked up.
#[test]
fn names_that_stay_inside_are_cleaned() {
    let (root, _) = Layer::new()
        .dir("opt/")
        .file("opt/a/../b", "1")
        .file("./x/../y", "2")
        .file("opt//./c/.", "3")
        .file("/opt/a/../../d", "4")
        .link("link", "opt")
        .file("link/../e", "5")
        .hard("f", "opt/x/../b")
        .hard("opt/x/../g", "./link/../y")
        .file("opt/gone/../.wh.h", "")
        .dir("opt/i/../j/")
        .file("opt/j/../j/.wh..wh..opq", "")
        .unpack()
        .unwrap();
    for (path, content) in [
        ("opt/b", "1"),
        ("y", "2"),
        ("opt/c", "3"),
        ("d", "4"),
        // Where the link leads does not matter: opt/../e would be the same here, usr/lib/../e would not.
        ("e", "5"),
        ("f", "1"),
        ("opt/g", "2"),
    ] {
        assert_eq!(text(&root, path), content, "{path}");
    }
    assert!(lstat(&root, "opt/h").file_type().is_char_device());
    let opaque = xattr::get(root.path().join("root/opt/j"), "trusted.overlay.opaque");
    assert_eq!(opaque.unwrap().as_deref(), Some(&b"y"[..]));
    let names: BTreeSet<_> = fs::read_dir(root.path().join("root/opt"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["b", "c", "g", "h", "j"].map(str::to_owned).into());
}

/// An access control list in the kernel's form, with one user who may read, for something that its owner may use so
/// and others so. The user's number is a line break, at which records must not be split.
fn access_list(owner: u16, others: u16) -> Vec<u8> {
    let mut list = vec![2, 0, 0, 0];
    for (tag, permissions, id) in [
        (1_u16, owner, u32::MAX),
        (2, 4, 10),
        (4, others, u32::MAX),
        (16, others, u32::MAX),
        (32, others, u32::MAX),
    ] {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&permissions.to_le_bytes());
        list.extend_from_slice(&id.to_le_bytes());
    }
    list
}

/// The image specification ("File Attributes") has extended attributes kept. containerd leaves `trusted.` out, CRI-O
/// also `security.selinux`. What the file system of the test does not have is left out too, and said.
#[test]
fn extended_attributes_are_kept_or_named() {
    for (kind, key, value, kept) in attributes() {
        let (root, unpacked) = Layer::new()
            .pax(&[(key, &value)])
            .entry(
                kind,
                "e",
                if kind == EntryType::Symlink { "t" } else { "" },
                b"",
            )
            .unpack()
            .unwrap();
        let at = root.path().join("root/e");
        let left: Vec<_> = unpacked.left_out.attributes.keys().collect();
        let name = kept.unwrap_or(key.trim_start_matches("SCHILY.xattr."));
        match (kept, xattr::get(&at, name).ok().flatten()) {
            (Some(_), Some(found)) if key.starts_with("LIBARCHIVE") => assert_eq!(found, [1, 2]),
            (Some(_), Some(found)) => assert_eq!(found, value, "{key}"),
            (Some(_), None) => assert_eq!(left, [name], "{key}: lost without a word"),
            (None, found) => {
                assert_eq!(found, None, "{key}");
                assert_eq!(left, [name], "{key}");
            }
        }
    }
}

/// The kind of an entry, a record of it, and the attribute that comes of it, if one does.
type Attribute = (EntryType, &'static str, Vec<u8>, Option<&'static str>);

fn attributes() -> Vec<Attribute> {
    let [file, directory, link] = [EntryType::Regular, EntryType::Directory, EntryType::Symlink];
    let bytes = |text: &[u8]| text.to_vec();
    let capability = hex::decode("0100000200040000000000000000000000000000").unwrap();
    vec![
        (
            file,
            "SCHILY.xattr.user.lines",
            bytes(b"a\nb\n7 c=d\n"),
            Some("user.lines"),
        ),
        (
            file,
            "SCHILY.xattr.user.empty",
            bytes(b""),
            Some("user.empty"),
        ),
        (
            file,
            "SCHILY.xattr.user.overlay.opaque",
            bytes(b"y"),
            Some("user.overlay.opaque"),
        ),
        (
            file,
            "SCHILY.xattr.security.capability",
            capability,
            Some("security.capability"),
        ),
        (
            file,
            "SCHILY.xattr.system.posix_acl_access",
            access_list(6, 4),
            Some("system.posix_acl_access"),
        ),
        (
            directory,
            "SCHILY.xattr.system.posix_acl_access",
            access_list(7, 5),
            Some("system.posix_acl_access"),
        ),
        (
            directory,
            "SCHILY.xattr.system.posix_acl_default",
            access_list(6, 4),
            Some("system.posix_acl_default"),
        ),
        // libarchive's own form, without padding.
        (
            file,
            "LIBARCHIVE.xattr.user.a%3Db",
            bytes(b"AQI"),
            Some("user.a=b"),
        ),
        (file, "SCHILY.xattr.trusted.note", bytes(b"x"), None),
        (file, "SCHILY.xattr.security.selinux", bytes(b"x"), None),
        (file, "SCHILY.acl.access", bytes(b"user::rw-"), None),
        (link, "SCHILY.xattr.user.link", bytes(b"x"), None),
    ]
}

/// Of two forms for one name the plain one counts, in either order.
#[test]
fn an_attribute_in_two_forms_is_the_plain_one() {
    for records in [
        [
            ("SCHILY.xattr.user.n", &b"plain"[..]),
            ("LIBARCHIVE.xattr.user.n", b"AQI"),
        ],
        [
            ("LIBARCHIVE.xattr.user.n", b"AQI"),
            ("SCHILY.xattr.user.n", &b"plain"[..]),
        ],
    ] {
        let (root, _) = Layer::new().pax(&records).file("e", "").unpack().unwrap();
        let found = xattr::get(root.path().join("root/e"), "user.n").unwrap();
        assert!(found.is_none_or(|value| value == b"plain"));
    }
}

/// The default list of a directory is for files that will be made there, not for those of the layer.
#[test]
fn a_default_list_does_not_reach_the_layers_own_files() {
    let (root, unpacked) = Layer::new()
        .pax(&[("SCHILY.xattr.system.posix_acl_default", &access_list(7, 5))])
        .dir("d/")
        .file("d/f", "")
        .dir("d/e/")
        .unpack()
        .unwrap();
    let list = |path: &str, name: &str| {
        let path = root.path().join("root").join(path);
        xattr::get(path, name).ok().flatten()
    };
    if unpacked.left_out == LeftOut::default() {
        assert!(list("d", "system.posix_acl_default").is_some());
    }
    assert_eq!(list("d/f", "system.posix_acl_access"), None);
    assert_eq!(list("d/e", "system.posix_acl_default"), None);
    assert_eq!(lstat(&root, "d/f").permissions().mode() & 0o7777, 0o644);
    assert_eq!(lstat(&root, "d").mtime(), 1_000_000_000);
}

/// An entry that is called like the root and is not a directory is passed over, content and all (containerd 2.4.2, archive.go).
#[test]
fn entries_that_are_the_root_are_passed_over() {
    for name in ["", ".", "./", "/", "a/.."] {
        for kind in [EntryType::Regular, EntryType::Fifo, EntryType::Link] {
            let layer = Layer::new().entry(kind, name, "x", b"");
            let (root, _) = layer.file("after", "intact").unpack().unwrap();
            assert_eq!(text(&root, "after"), "intact", "{name:?} {kind:?}");
            assert!(lstat(&root, "").is_dir());
        }
    }
}

/// Mode, owner, times and attributes of the last name of a file are those of all (containerd 2.4.2, createTarFile).
#[test]
fn the_last_name_of_a_file_says_what_it_is() {
    let link = |mode: u32, owner: u64, mtime: u64| {
        let mut link = header(EntryType::Link, "b", 0);
        link.set_link_name("a").unwrap();
        link.set_mode(mode);
        link.set_uid(owner);
        link.set_mtime(mtime);
        link
    };
    for (mode, owner, mtime) in [(0o600, 0, 5), (0o4755, 7, 6), (0o2711, 0, 7), (0, 1, 8)] {
        let records = [("SCHILY.xattr.user.b", &b"2"[..])];
        let layer = Layer::new()
            .pax(&[("SCHILY.xattr.user.a", b"1")])
            .file("a", "x");
        let layer = raw(layer.pax(&records), link(mode, owner, mtime), b"");
        let (root, _) = layer.unpack().unwrap();
        let found = lstat(&root, "a");
        assert_eq!(
            (found.mode() & 0o7777, u64::from(found.uid()), found.mtime()),
            (mode, owner, i64::try_from(mtime).unwrap())
        );
        let path = root.path().join("root/a");
        for (name, value) in [("user.a", b"1"), ("user.b", b"2")] {
            assert_eq!(
                xattr::get(&path, name).unwrap().as_deref(),
                Some(&value[..])
            );
        }
    }
}

/// Only a directory can have a default list; elsewhere it is named among what is left out.
#[test]
fn a_default_list_of_no_directory_is_named() {
    let key = "SCHILY.xattr.system.posix_acl_default";
    let value = access_list(7, 5);
    for kind in [EntryType::Regular, EntryType::Symlink, EntryType::Fifo] {
        let layer = Layer::new()
            .pax(&[(key, &value)])
            .entry(kind, "x", "t", b"");
        let (_, unpacked) = layer.unpack().unwrap();
        assert!(
            format!("{:?}", unpacked.left_out).contains("posix_acl_default"),
            "{kind:?}"
        );
    }
}

/// Holes take no room, and the limit is said with its key and the entry.
#[test]
fn holes_do_not_count() {
    let (root, _) = gnu_sparse("f", 5 << 30, &[(0, b"x")]).unpack().unwrap();
    assert_eq!(lstat(&root, "f").len(), 5 << 30);
    let content = "x".repeat(1 << 20);
    let error = Layer::new()
        .file("a", "x")
        .file("d/b", &content)
        .unpack()
        .unwrap_err();
    let shown = error.to_string();
    assert!(
        error.is_too_large() && shown.contains("\"d/b\"") && shown.contains("image.max_layer_size"),
        "{shown}"
    );
}

/// What is wrong with the layer is said with the entry, and is not the machine's fault.
#[test]
fn broken_entries_are_the_layers_fault() {
    for (layer, words) in entries_at_odds().into_iter().chain(unusable_fields()) {
        let error = layer.unpack().unwrap_err();
        let shown = format!("{error}: {:?}", std::error::Error::source(&error));
        assert!(shown.contains(words), "{words}: {shown}");
        assert!(
            !error.is_local() && !error.is_no_space(),
            "{words}: {shown}"
        );
    }
}

/// Layers, and words of the error.
type Broken = Vec<(Layer, &'static str)>;

fn entries_at_odds() -> Broken {
    let new = Layer::new;
    vec![
        (
            new().hard("h", "absent"),
            "\"h\" is a hard link to \"absent\", which is not there",
        ),
        (
            new().hard("h", "no/such/dir"),
            "\"h\" is a hard link to \"no/such/dir\"",
        ),
        (
            new().dir("d/").hard("h", "d"),
            "\"h\" is a hard link to \"d\", which is a directory",
        ),
        (new().hard("h", "."), "\"h\" is a hard link to the root"),
        (
            new().hard("h", "h"),
            "\"h\" is a hard link to \"h\", which is not there",
        ),
        (
            new().file(".wh.w", "").hard("h", "w"),
            "\"h\" is a hard link to \"w\", which is taken away",
        ),
        (
            new().dir("d/").file("d/f", "").hard("d", "d/f"),
            "\"d\" needs something that an earlier entry has replaced",
        ),
        (
            new().file("f", "").file("f/child", ""),
            "\"f\" is needed as a directory",
        ),
        (
            new().entry(EntryType::Fifo, "p", "", b"").dir("p/d/e"),
            "\"p/d\" is needed as a directory",
        ),
        (
            new().file("f", "").file("f/.wh.x", ""),
            "\"f\" is needed as a directory",
        ),
        (
            new().link("l", "l").file("l/x", ""),
            "too many symbolic links",
        ),
        (
            new().entry(EntryType::Symlink, "s", "", b""),
            "\"s\" is a link without a target",
        ),
        (
            new().entry(EntryType::new(b'V'), "volume", "", b""),
            "\"volume\" is of the unknown kind 'V'",
        ),
        (
            new().entry(EntryType::new(b'M'), "multi", "", b""),
            "\"multi\" is of the unknown kind 'M'",
        ),
    ]
}

fn unusable_fields() -> Broken {
    let mut huge_major = header(EntryType::Char, "dev", 0);
    huge_major.set_device_major(4096).unwrap();
    huge_major.set_device_minor(0).unwrap();
    let mut huge_minor = header(EntryType::Block, "dev", 0);
    huge_minor.set_device_major(1).unwrap();
    huge_minor.set_device_minor(1 << 20).unwrap();
    let mut odd_mode = header(EntryType::Regular, "mode", 0);
    odd_mode.as_old_mut().mode.copy_from_slice(b"98765432");
    let mut no_owner = header(EntryType::Regular, "owner", 0);
    no_owner.set_uid(u32::MAX.into());
    let new = Layer::new;
    vec![
        (
            raw(new(), huge_major, b""),
            "\"dev\" has an unusable device number \"4096:0\"",
        ),
        (raw(new(), huge_minor, b""), "device number \"1:1048576\""),
        (
            raw(new(), odd_mode, b""),
            "\"mode\" has an unusable mode \"98765432\"",
        ),
        (raw(new(), no_owner, b""), "\"owner\" has an unusable owner"),
        (
            new().pax(&[("uid", b"-1")]).file("f", ""),
            "unusable owner \"-1\"",
        ),
        (
            new().pax(&[("mtime", b"soon")]).file("f", ""),
            "modification time \"soon\"",
        ),
        (
            new().pax(&[("path", &[b'n'; 300])]).file("f", ""),
            "a name or a target that is too long",
        ),
        (
            new()
                .pax(&[(
                    "SCHILY.xattr.system.posix_acl_access",
                    b"\x02\0\0\0\xff\xff\xff\xff\0\0\0\0",
                )])
                .file("f", ""),
            "cannot set the extended attribute system.posix_acl_access of f",
        ),
    ]
}

/// Streams that are no archives, or end too early. Each message has the place.
#[test]
fn broken_streams_are_the_layers_fault() {
    let whole = Layer::new().file("a", "content").bytes();
    let mut checksum = whole.clone();
    checksum[0] = b'b';
    let mut negative = header(EntryType::Regular, "n", 0);
    negative.as_old_mut().size.fill(0xff);
    let mut trailing = whole[..1024].to_vec();
    trailing.resize(1536, 0);
    trailing.extend_from_slice(&whole[..512]);
    let record = |text: &[u8]| {
        let layer = Layer::new().entry(EntryType::XHeader, "x", "", text);
        layer.file("after", "").bytes()
    };
    for (tar, words) in [
        (
            checksum,
            "at byte 512, before the first entry: the checksum of a header is wrong",
        ),
        (
            whole[..515].to_vec(),
            "it ends at byte 515, within the entry \"a\"",
        ),
        (
            whole[..1100].to_vec(),
            "in or after the entry \"a\": it ends within a header",
        ),
        (trailing, "a block of zeros is followed by more"),
        (
            raw(Layer::new(), negative, b"").bytes(),
            "the size of the entry is unusable",
        ),
        (record(b"nonsense"), "a PAX record is unusable"),
        (record(b"99 path=x\n"), "a PAX record is unusable"),
        (record(b"11 path=xy"), "a PAX record is unusable"),
        (record(b"9 size=x\n"), "the size of the entry is unusable"),
        (record(b"11 size=-1\n"), "the size of the entry is unusable"),
        (
            Layer::new()
                .entry(EntryType::XHeader, "x", "", b"10 path=b\n")
                .bytes(),
            "it ends after headers that describe an entry",
        ),
    ] {
        let error = bytes(&tar).unwrap_err();
        let shown = format!("{:?}", std::error::Error::source(&error));
        assert!(shown.replace('\\', "").contains(words), "{words}: {shown}");
        assert!(!error.is_local(), "{words}");
    }
    // What follows the end belongs to the digest only; the padding of the last entry may be missing.
    let mut followed = whole.clone();
    followed.extend_from_slice(b"anything");
    assert!(bytes(&followed).is_ok());
    assert!(bytes(&whole[..512 + 7]).is_ok());
    assert!(bytes(&whole[..1024]).is_ok());
    assert!(bytes(b"").is_ok());
}

/// Forms of headers that are rare and right.
#[test]
fn rare_headers_are_read() {
    let mut blanks = header(EntryType::Regular, "blanks", 2);
    blanks.as_old_mut().size.copy_from_slice(b"          2 ");
    blanks.as_old_mut().mode.copy_from_slice(b"   600 \0");
    blanks.as_old_mut().uid.fill(0);
    let mut before = header(EntryType::Regular, "before", 0);
    before.as_old_mut().mtime.fill(0xff);
    let mut old = header(EntryType::Regular, "old/", 0);
    old.as_old_mut().linkflag = [0];
    let sized = |kind, name: &str, target: &str| {
        let mut header = header(kind, name, 4096);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header
    };
    let long = "n".repeat(150);
    let mut layer = Layer::new()
        // git's comment, and a global path, which no reader of layers follows.
        .entry(
            EntryType::XGlobalHeader,
            "g",
            "",
            b"13 comment=x\n12 path=zzz\n",
        )
        .file("plain", "1");
    layer = raw(layer, blanks, b"2b");
    layer = raw(layer, before, b"");
    layer = raw(layer, old, b"");
    // Writers give directories and links a size, and no content follows.
    layer = raw(layer, sized(EntryType::Directory, "sized", ""), b"");
    layer = raw(layer, sized(EntryType::Link, "sized-link", "plain"), b"");
    let (root, _) = layer
        // Of several the last counts; an empty record leaves the header's own.
        .pax(&[("path", b"first")])
        .pax(&[("path", b""), ("size", b"1"), ("uid", b"7"), ("uid", b"8")])
        .file("twice", "x")
        .entry(EntryType::GNULongName, "././@LongLink", "", b"unused\0")
        .entry(
            EntryType::GNULongName,
            "././@LongLink",
            "",
            format!("{long}\0").as_bytes(),
        )
        .entry(
            EntryType::GNULongLink,
            "././@LongLink",
            "",
            format!("{long}-target\0").as_bytes(),
        )
        .link("short", "short")
        .entry(EntryType::Continuous, "continuous", "", b"c")
        .pax(&[("mtime", b"-1.25")])
        .file("fraction", "")
        .unpack()
        .unwrap();
    assert_eq!(text(&root, "plain"), "1");
    assert_eq!(text(&root, "blanks"), "2b");
    assert_eq!(lstat(&root, "blanks").permissions().mode() & 0o7777, 0o600);
    assert_eq!(lstat(&root, "before").mtime(), -1);
    assert!(lstat(&root, "old").is_dir());
    assert_eq!(
        lstat(&root, "sized-link").ino(),
        lstat(&root, "plain").ino()
    );
    assert_eq!(
        (text(&root, "twice"), lstat(&root, "twice").uid()),
        ("x".into(), 8)
    );
    let target = fs::read_link(root.path().join("root").join(&long)).unwrap();
    assert_eq!(target, StdPath::new(&format!("{long}-target")));
    assert_eq!(text(&root, "continuous"), "c");
    let fraction = lstat(&root, "fraction");
    assert_eq!((fraction.mtime(), fraction.mtime_nsec()), (-2, 750_000_000));
}

/// Parts of a file: offset and content each.
type Parts<'a> = &'a [(u64, &'a [u8])];

/// The old GNU form, with as many further headers as it needs.
fn gnu_sparse(name: &str, size: u64, parts: Parts<'_>) -> Layer {
    let stored: Vec<u8> = parts
        .iter()
        .flat_map(|(_, content)| content.to_vec())
        .collect();
    let mut first = header(EntryType::GNUSparse, name, stored.len() as u64);
    let octal = |field: &mut [u8; 12], number: u64| {
        field.copy_from_slice(format!("{number:011o}\0").as_bytes());
    };
    let gnu = first.as_gnu_mut().unwrap();
    octal(&mut gnu.realsize, size);
    let mut rest = parts;
    let mut fill = |fields: &mut [tar::GnuSparseHeader]| {
        for field in fields {
            let Some(((offset, content), more)) = rest.split_first() else {
                break;
            };
            octal(&mut field.offset, *offset);
            octal(&mut field.numbytes, content.len() as u64);
            rest = more;
        }
        u8::from(!rest.is_empty())
    };
    gnu.isextended = [fill(&mut gnu.sparse)];
    let mut more = gnu.isextended == [1];
    let mut behind = Vec::new();
    while more {
        let mut further = tar::GnuExtSparseHeader::new();
        further.isextended = [fill(&mut further.sparse)];
        more = further.isextended == [1];
        behind.extend_from_slice(further.as_bytes());
    }
    behind.extend_from_slice(&stored);
    raw(Layer::new(), first, &behind).file("after", "intact")
}

/// Holes stay holes, whatever the form, wherever they are (GNU tar's manual, "Storing Sparse Files").
#[test]
fn holes_stay_holes() {
    let block = [b'x'; 512];
    let many: Vec<(u64, &[u8])> = (0..50).map(|n| (n * 16384, &block[..])).collect();
    let cases: [(u64, Parts<'_>); 6] = [
        // A hole in the middle, at the beginning, at the end, and nothing else.
        (700_512, &[(0, &block), (700_000, &block)]),
        (700_512, &[(700_000, &block)]),
        (800_000, &[(0, &block), (800_000, b"")]),
        (900_000, &[(900_000, b"")]),
        (900_000, &[]),
        // More parts than fit one header, and than fit two.
        (1_000_000, &many),
    ];
    for (size, parts) in cases {
        let mut wanted = vec![0; usize::try_from(size).unwrap()];
        for (offset, content) in parts {
            let at = usize::try_from(*offset).unwrap();
            wanted[at..at + content.len()].copy_from_slice(content);
        }
        let stored: usize = parts.iter().map(|(_, content)| content.len()).sum();
        for (form, layer) in sparse_forms(size, parts).into_iter().enumerate() {
            let (root, unpacked) = layer.unpack().unwrap();
            let path = root.path().join("root/f");
            assert_eq!(fs::read(&path).unwrap(), wanted, "{size} in form {form}");
            assert_eq!(text(&root, "after"), "intact", "{size} in form {form}");
            let (blocks, most) = (lstat(&root, "f").blocks() * 512, stored as u64 * 9 + 8192);
            assert!(
                blocks <= most,
                "{blocks} of {most} bytes: {size} in form {form}"
            );
            assert!(unpacked.bytes <= most + 16384, "{unpacked:?}");
        }
    }
}

/// A file with holes in all forms of GNU tar: the old one, 0.0, 0.1 and 1.0.
fn sparse_forms(size: u64, parts: Parts<'_>) -> [Layer; 4] {
    let numbers = parts
        .iter()
        .flat_map(|(at, content)| [*at, content.len() as u64]);
    let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
    let (map, count) = (numbers.join(","), parts.len().to_string());
    let stored: Vec<u8> = parts
        .iter()
        .flat_map(|(_, content)| content.to_vec())
        .collect();
    let mut mapped = format!("{count}\n{}", numbers.join("\n")).into_bytes();
    mapped.push(b'\n');
    mapped.resize(mapped.len().next_multiple_of(512), 0);
    mapped.extend_from_slice(&stored);
    let real = size.to_string();
    let as_records = |records: &[(&str, &str)], content: &[u8]| {
        let records: Vec<_> = records.iter().map(|(k, v)| (*k, v.as_bytes())).collect();
        let layer = Layer::new().pax(&records);
        layer
            .entry(EntryType::Regular, "GNUSparseFile.1/f", "", content)
            .file("after", "intact")
    };
    let mut pairs = vec![
        ("GNU.sparse.name", "f"),
        ("GNU.sparse.size", &real),
        ("GNU.sparse.numblocks", &count),
    ];
    let keys = ["GNU.sparse.offset", "GNU.sparse.numbytes"];
    pairs.extend(
        numbers
            .iter()
            .zip(keys.iter().cycle())
            .map(|(number, key)| (*key, number.as_str())),
    );
    [
        gnu_sparse("f", size, parts),
        as_records(&pairs, &stored),
        as_records(
            &[
                ("GNU.sparse.name", "f"),
                ("GNU.sparse.size", &real),
                ("GNU.sparse.numblocks", &count),
                ("GNU.sparse.map", &map),
            ],
            &stored,
        ),
        as_records(
            &[
                ("GNU.sparse.name", "f"),
                ("GNU.sparse.major", "1"),
                ("GNU.sparse.minor", "0"),
                ("GNU.sparse.realsize", &real),
            ],
            &mapped,
        ),
    ]
}

#[test]
fn maps_of_the_old_form_are_not_trusted() {
    for (size, parts) in [
        (100_u64, &[(200_u64, &b"late"[..])][..]),
        (5000, &[(1000, b"second"), (0, b"first")]),
        (5000, &[(0, b"first"), (2, b"second")]),
        (5, &[(0, b"longer")]),
    ] {
        let error = gnu_sparse("f", size, parts).unpack().unwrap_err();
        assert!(matches!(error, UnpackError::Read(_)), "{size}: {error:?}");
    }
    let mut less = header(EntryType::GNUSparse, "f", 3);
    let gnu = less.as_gnu_mut().unwrap();
    gnu.realsize.copy_from_slice(b"00000000010\0");
    gnu.sparse[0].offset.copy_from_slice(b"00000000000\0");
    gnu.sparse[0].numbytes.copy_from_slice(b"00000000005\0");
    assert!(raw(Layer::new(), less.clone(), b"abc").unpack().is_err());
    let gnu = less.as_gnu_mut().unwrap();
    gnu.sparse[0].numbytes.copy_from_slice(b"00000000002\0");
    assert!(raw(Layer::new(), less, b"abc").unpack().is_err());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever became of an archive on its way, reading it ends, within the limits and without a panic.
    #[test]
    fn mangled_archives_end(places in proptest::collection::vec((0_usize..4096, 0_u8..=255), 1..8), length in 0_usize..5000) {
        let layer = gnu_sparse("f", 400_000, &[(0, b"a"), (70_000, b"b"), (140_000, b"c"), (210_000, b"d"), (280_000, b"e")])
            .pax(&[("SCHILY.xattr.user.a", b"a\nb"), ("GNU.sparse.map", b"0,1"), ("GNU.sparse.size", b"2")])
            .file("g", "x")
            .hard("h", "g");
        let mut tar = layer.bytes();
        for (place, byte) in places {
            if let Some(at) = tar.get_mut(place) {
                *at = byte;
            }
        }
        // Headers stay headers: what is looked for is behind their sums.
        for block in tar.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
            let mut header = Header::from_byte_slice(block).clone();
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
        tar.truncate(length);
        let _ = bytes(&tar);
    }
}
