//! Images whose layers are odd and right: what a container and a volume of them show.
//!
//! The images are archives as `docker save` writes them, made here. What is right is what applying the layers one
//! after the other gives (image specification, "Applying Changesets"); containerd 2.4 and CRI-O 1.37 show the same.

use std::path::PathBuf;

use cri_api::runtime::v1::{ContainerConfig, IdMapping, Mount, NamespaceMode, UserNamespace};
use e2e::program::run;
use e2e::request::{ContainerParts, PodParts, container, idle, image_spec};
use e2e::{BUSYBOX, Daemon, fails};
use tonic::Code;

/// Words for layers: each function gives an entry, `L` a layer, and `images` maps names to layers.
const WRITER: &str = r#"
import hashlib, io, json, os, sys, tarfile
def E(name, type=tarfile.REGTYPE, data=b'', link='', mode=0o644, pax={}):
    info = tarfile.TarInfo(name); info.type = type; info.size = len(data); info.linkname = link; info.mode = mode
    info.pax_headers = pax
    return info.tobuf(tarfile.PAX_FORMAT, 'utf-8', 'surrogateescape') + data + bytes(-len(data) % 512)
F = lambda name, data='', **more: E(name, data=data.encode(), **more)
D = lambda name, **more: E(name, tarfile.DIRTYPE, mode=0o755, **more)
W = lambda name: E(name)
H = lambda name, link: E(name, tarfile.LNKTYPE, link=link)
S = lambda name, link: E(name, tarfile.SYMTYPE, link=link)
L = lambda *entries: b''.join(entries) + bytes(1024)
found = [p for p in ('/bin/busybox', '/usr/bin/busybox') if os.path.exists(p)][0]
tools = 'sh sleep cat ls find sort tr stat touch test tail head du'.split()
system = b''.join([D('bin'), E('bin/busybox', data=open(found, 'rb').read(), mode=0o755), D('tmp')] + [S('bin/' + t, 'busybox') for t in tools])
base = L(system)
def write(name, layers, config={}):
    arch = {'x86_64': 'amd64', 'aarch64': 'arm64'}[os.uname().machine]
    ids = ['sha256:' + hashlib.sha256(layer).hexdigest() for layer in layers]
    whole = {'architecture': arch, 'os': 'linux', 'config': config, 'rootfs': {'type': 'layers', 'diff_ids': ids}}
    files = {id[7:] + '.tar': layer for id, layer in zip(ids, layers)}
    files['config.json'] = json.dumps(whole).encode()
    listed = [{'Config': 'config.json', 'RepoTags': None, 'Layers': [id[7:] + '.tar' for id in ids]}]
    with open(os.path.join(sys.argv[1], name + '.tar'), 'wb') as out:
        out.write(F('manifest.json', json.dumps(listed)))
        for file, data in files.items(): out.write(E(file, data=data))
        out.write(bytes(1024))
"#;

/// Writes the archives that `script` tells and gives their directory.
fn written(daemon: &Daemon, script: &str) -> PathBuf {
    let dir = daemon.place.dir.join("archives");
    std::fs::create_dir_all(&dir).unwrap();
    let script = format!("{WRITER}{script}");
    run("python3", ["-c", &script, &dir.display().to_string()]).ok();
    dir
}

/// Brings in an image that was written, under a name of its own.
fn import(daemon: &Daemon, dir: &std::path::Path, name: &str) -> String {
    let archive = dir.join(format!("{name}.tar")).display().to_string();
    let reference = format!("localhost/{name}:1");
    daemon
        .holdfast(&["image", "import", &archive, &reference])
        .ok();
    reference
}

/// A container of an image, named after it.
fn idle_of(reference: &str) -> ContainerConfig {
    let name = reference.trim_start_matches("localhost/").replace(':', "-");
    container(&name, reference, &["sleep", "100000"])
}

/// A read-only volume of an image.
fn volume(reference: &str, at: &str) -> Mount {
    Mount {
        container_path: at.to_owned(),
        readonly: true,
        image: Some(image_spec(reference)),
        ..Mount::default()
    }
}

/// A user namespace for a pod or a container of it.
fn mapped() -> UserNamespace {
    let range = IdMapping {
        host_id: 800_000,
        container_id: 0,
        length: 65_536,
    };
    UserNamespace {
        mode: NamespaceMode::Pod.into(),
        uids: vec![range],
        gids: vec![range],
    }
}

/// StartContainer failed with "too many levels of symbolic links" when a layer stood in an image twice, which build
/// tools' empty layers do: overlay takes a directory once. A layer that follows from those below (it has a file in a
/// directory that it does not list) is another one in each place.
#[test]
fn a_layer_may_stand_in_an_image_several_times() {
    let daemon = Daemon::start();
    let dir = written(
        &daemon,
        r#"
a = L(D('d'), F('d/x', 'a'), F('f', 'a'))
b = L(D('d'), F('d/y', 'b'), F('f', 'b'))
empty = L()
gone = L(D('d'), W('d/.wh.x'), W('.wh.f'))
opaque = L(D('d'), W('d/.wh..wh..opq'), F('d/z', 'o'))
file = L(F('d', 'file'))
implied = L(F('d/i', 'i'))
for name, layers in {
    'ends-same': [a, b, b], 'around': [a, b, a], 'twice': [a, a], 'thrice': [a, a, a], 'empties': [empty, a, empty, b, empty],
    'taken': [a, gone, a], 'taken-again': [a, gone, a, gone], 'opaque': [a, opaque, a], 'opaque-twice': [a, opaque, b, opaque],
    'root': [a, L(D('d'), F('d/y', 'b'), W('.wh..wh..opq'), system)], 'file': [a, file, a], 'file-last': [a, file, a, file], 'implied': [a, implied, b, implied], 'long': [a, b] * 20,
}.items():
    write(name, [base] + layers)
    write('volume-' + name, layers)
"#,
    );
    let cases = [
        ("ends-same", "d/x:a d/y:b f:b"),
        ("around", "d/x:a d/y:b f:a"),
        ("twice", "d/x:a f:a"),
        ("thrice", "d/x:a f:a"),
        ("empties", "d/x:a d/y:b f:b"),
        ("taken", "d/x:a f:a"),
        ("taken-again", ""),
        ("opaque", "d/x:a d/z:o f:a"),
        ("opaque-twice", "d/z:o f:b"),
        ("root", "d/y:b"),
        ("file", "d/x:a f:a"),
        ("file-last", "d:file f:a"),
        ("implied", "d/i:i d/x:a d/y:b f:b"),
        ("long", "d/x:a d/y:b f:b"),
    ];
    let script = |root: &str| {
        format!(
            "cd {root} && for f in $(find d f -type f 2>/dev/null | sort); do echo $f:$(cat $f); done | tr '\\n' ' '"
        )
    };
    let plain = daemon.run_named("plain");
    let mut config = daemon.pod("mapped");
    config.namespaces().userns_options = Some(mapped());
    let in_namespace = daemon.run(config);
    for (name, wanted) in cases {
        let reference = import(&daemon, &dir, name);
        let of_volume = import(&daemon, &dir, &format!("volume-{name}"));
        for pod in [&plain, &in_namespace] {
            let mut config = idle_of(&reference);
            config.mounts = vec![volume(&of_volume, "/volume")];
            if pod.id != plain.id {
                config.namespaces().userns_options = Some(mapped());
            }
            let run = pod.attempt(config).unwrap();
            for root in ["/", "/volume"] {
                assert_eq!(run.sh(&script(root)).trim(), wanted, "{name} at {root}");
            }
            run.remove();
        }
    }
}

/// overlay stacks 500 layers; peers that give the kernel one page of options stop at some 128 of them.
#[test]
fn an_image_may_have_as_many_layers_as_overlay_stacks() {
    let daemon = Daemon::start();
    let dir = written(
        &daemon,
        r#"
numbered = [L(D('n'), F('n/%d' % n, str(n))) for n in range(500)]
write('many', [base] + numbered[:200]); write('most', [base] + numbered[:499]); write('more', [base] + numbered)
"#,
    );
    let pod = daemon.run_named("many");
    for (name, layers) in [("many", 200), ("most", 499)] {
        let reference = import(&daemon, &dir, name);
        let mut config = idle_of(&reference);
        config.mounts = vec![volume(&reference, "/volume")];
        let run = pod.attempt(config).unwrap();
        for root in ["/n", "/volume/n"] {
            let script = format!("ls {root} | sort -n | tr '\\n' ' '");
            let wanted: Vec<_> = (0..layers).map(|n: i32| n.to_string()).collect();
            assert_eq!(run.sh(&script).trim(), wanted.join(" "), "{name}");
        }
        run.remove();
    }
    let archive = dir.join("more.tar").display().to_string();
    let refused = daemon
        .holdfast(&["image", "import", &archive, "localhost/more:1"])
        .fails(1);
    assert!(
        refused.contains("501 layers") && refused.contains("500"),
        "{refused}"
    );
    assert_eq!(daemon.image("localhost/more:1"), None);
}

/// Access control lists were dropped without a word, and an attribute whose value has a line break made the layer
/// unreadable. They are kept in containers, in volumes of an image, and in declared volumes; in a pod with a user
/// namespace they name the pod's users.
#[test]
fn access_lists_reach_containers_and_volumes() {
    let daemon = Daemon::start();
    let dir = written(
        &daemon,
        r#"
import struct
# user::rw-, user:10:r--, group::r--, mask::r--, other::---
none = 0xffffffff
acl = struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *e) for e in [(1, 6, none), (2, 4, 10), (4, 4, none), (16, 4, none), (32, 0, none)])
text = acl.decode('utf-8', 'surrogateescape')
lists = lambda *kinds: {'SCHILY.xattr.system.posix_acl_' + kind: text for kind in kinds}
write('lists', [base, L(D('data', pax=lists('access', 'default')), F('data/f', 'x', mode=0o640, pax=lists('access')),
    F('data/plain', 'x'), F('lines', pax={'SCHILY.xattr.user.lines': 'a\nb'}),
    F('odd', pax={'SCHILY.xattr.trusted.overlay.opaque': 'y', 'SCHILY.xattr.user.kept': 'k'}))], {'Volumes': {'/data': {}}})
"#,
    );
    let reference = import(&daemon, &dir, "lists");
    let log = daemon.log();
    assert!(
        log.contains("trusted.overlay.opaque") && log.contains("odd"),
        "what is left out is said"
    );
    let script = "
import os, struct, sys
for path in sys.argv[2:]:
    for kind in ('access', 'default'):
        try: value = os.getxattr(sys.argv[1] + path, 'system.posix_acl_' + kind)
        except OSError: continue
        named = [struct.unpack('<HHI', value[at:at + 8]) for at in range(4, len(value), 8)]
        print(path, kind, [id for tag, _, id in named if tag == 2])";
    for (name, userns, host) in [("plain", None, 10), ("mapped", Some(mapped()), 800_010)] {
        let mut config = daemon.pod(name);
        config.namespaces().userns_options = userns.clone();
        let pod = daemon.run(config);
        let mut config = idle_of(&reference);
        config.namespaces().userns_options = userns;
        config.mounts = vec![volume(&reference, "/volume")];
        let run_of = pod.attempt(config).unwrap();
        let root = format!("/proc/{}/root", run_of.pid());
        let paths = [
            "/data",
            "/data/f",
            "/data/plain",
            "/volume/data",
            "/volume/data/f",
        ];
        let args = ["-c", script, root.as_str()].into_iter().chain(paths);
        let said = run("python3", args).ok();
        let mut wanted = String::new();
        for path in paths.into_iter().filter(|path| *path != "/data/plain") {
            wanted += &format!("{path} access [{host}]\n");
            if path.ends_with("/data") {
                wanted += &format!("{path} default [{host}]\n");
            }
        }
        assert_eq!(said, wanted, "{name}");
        let get = "import os, sys; print(os.getxattr(sys.argv[1], sys.argv[2]))";
        let value =
            |file: &str, name: &str| run("python3", ["-c", get, &format!("{root}{file}"), name]);
        assert_eq!(value("/lines", "user.lines").ok(), "b'a\\nb'\n");
        assert_eq!(value("/odd", "user.kept").ok(), "b'k'\n");
    }
}

/// Names were refused as hostile as soon as they had `..`; and a layer that was broken was called this machine's
/// fault.
#[test]
fn names_are_cleaned_and_broken_layers_are_named() {
    let daemon = Daemon::start();
    let dir = written(
        &daemon,
        r#"
write('clean', [base, L(D('opt'), F('opt/a/../b', 'b'), F('./x/../y', 'y'), F('e', 'e'), H('opt/h', 'opt/x/../../e'), D('tmp/../var'))],
    {'WorkingDir': '/opt/../var'})
write('leaves', [base, L(F('a/../../b'))]); write('nothing', [base, L(H('h', 'absent'))])
write('child', [base, L(F('f'), F('f/child'))]); write('kind', [base, L(E('v', b'V'))])
"#,
    );
    let pod = daemon.run_named("clean");
    let reference = import(&daemon, &dir, "clean");
    let mut config = idle_of(&reference);
    config.mounts = vec![e2e::request::mount(&dir, "/a/../b2")];
    let run = pod.attempt(config).unwrap();
    assert_eq!(run.sh("cat /opt/b /y /opt/h"), "bye");
    run.sh("test -f /b2/clean.tar && test ! -e /a");
    assert_eq!(run.sh("ls -d $PWD").trim(), "/var");
    let mut config = idle("directory");
    config.working_dir = "/tmp/../etc".to_owned();
    daemon.provide(BUSYBOX);
    assert_eq!(pod.attempt(config).unwrap().sh("ls -d $PWD").trim(), "/etc");
    let mut config = idle("leaves");
    config.mounts = vec![e2e::request::mount(&dir, "/a/../../b")];
    fails(
        daemon.try_create(&pod.id, &pod.config, &config),
        Code::InvalidArgument,
        &["container_path", "/a/../../b", "leads out of"],
    );
    for (name, words) in [
        ("leaves", "\"a/../../b\" leads out of the layer"),
        (
            "nothing",
            "\"h\" is a hard link to \"absent\", which is not there",
        ),
        ("child", "\"f\" is needed as a directory"),
        ("kind", "\"v\" is of the unknown kind 'V'"),
    ] {
        let archive = dir.join(format!("{name}.tar")).display().to_string();
        let import = ["image", "import", &archive, &format!("localhost/{name}:1")];
        let refused = daemon.holdfast(&import).fails(1);
        assert!(
            refused.contains("layer 1") && refused.contains(words),
            "{refused}"
        );
    }
}

/// The old GNU form of sparse files was written out with its holes filled, and volumes were filled when they were
/// copied.
#[test]
fn holes_of_sparse_files_stay_holes() {
    let daemon = Daemon::start();
    let dir = written(
        &daemon,
        r#"
import subprocess
os.makedirs(sys.argv[1] + '/tree/data')
with open(sys.argv[1] + '/tree/data/sparse', 'wb') as file:
    for n in range(30):
        file.seek(n * 131072); file.write(b'part')
    file.truncate(5 << 20)
for form in ('gnu', 'posix'):
    tar = subprocess.run(['tar', '-C', sys.argv[1] + '/tree', '-S', '--format=' + form, '-cf', '-', 'data'], check=True, capture_output=True)
    write(form, [base, tar.stdout], {'Volumes': {'/data': {}}})
"#,
    );
    let tree = dir.join("tree").display().to_string();
    daemon
        .holdfast(&["image", "import", &tree, "localhost/tree:1"])
        .ok();
    let pod = daemon.run_named("holes");
    for name in ["gnu", "posix"] {
        let reference = import(&daemon, &dir, name);
        let mut config = idle_of(&reference);
        config.mounts = vec![
            volume(&reference, "/volume"),
            volume("localhost/tree:1", "/tree"),
        ];
        let run = pod.attempt(config).unwrap();
        for root in ["/data", "/volume/data", "/tree/data"] {
            let said = run.sh(&format!(
                "cd {root}; stat -c %s sparse; tr -d '\\0' <sparse; du -k sparse"
            ));
            let (size, rest) = said.split_once('\n').unwrap();
            let content = rest.strip_prefix(&"part".repeat(30)).unwrap();
            let blocks: u64 = content.split('\t').next().unwrap().parse().unwrap();
            assert_eq!(size, "5242880", "{name} at {root}");
            assert!(blocks <= 30 * 4 + 16, "{blocks} KiB: {name} at {root}");
        }
    }
}
