"""Images of our own, each made to show one thing, below registry.holdfast.test."""

import random
import struct
import tarfile

from .debian import GROUP, PASSWD, busybox
from .push import DOCKER, FOREIGN, OCI, Image
from .tree import Layer, Tree, digest_of, gzipped

HOST = "registry.holdfast.test/"
PROBE = {"Entrypoint": ["/bin/probe"]}
# What a test config names when it wants the small system.
SHELL = {"Cmd": ["sh"]}
CAP_NET_RAW = 13


def file_capability(*capabilities):
    """A security.capability value, revision 2 with the effective bit: linux/capability.h."""
    permitted = sum(1 << capability for capability in capabilities)
    low, high = permitted & 0xFFFFFFFF, permitted >> 32
    return struct.pack("<IIIII", 0x02000001, low, 0, high, 0)


def contents(_):
    """What the three compressions of one layer hold."""
    tree = Tree().file("content/text", "the same in every compression\n").dir("content/empty")
    return tree.file("content/zeros", bytes(1 << 20)).file("content/none", b"")


def whiteout_lower(_):
    tree = Tree().file("w/keep", "keep\n").file("w/gone", "gone\n").file("w/back", "old\n")
    tree.file("w/dir/a", "a\n").file("w/dir/b", "b\n").file("w/opaque/old", "old\n").file("w/opaque/sub/old", "old\n")
    tree.file("w/becomes-dir", "file\n").file("w/becomes-file/inside", "inside\n").file("w/gone-dir/inside", "inside\n")
    return tree.symlink("w/becomes-target", "keep")


def whiteout_middle(_):
    tree = Tree().whiteout("w/gone").whiteout("w/back").whiteout("w/dir/a").whiteout("w/gone-dir")
    tree.whiteout("w/never-was").opaque("w/opaque").file("w/opaque/new", "new\n")
    tree.file("w/becomes-dir/inside", "inside\n").file("w/becomes-file", "file\n")
    return tree.file("w/becomes-target", "a file where a link was\n")


def whiteout_upper(_):
    return Tree().file("w/back", "new\n")


def links(_):
    tree = Tree().file("l/one", "linked\n", 0o640, 7, 8).hardlink("l/two", "l/one").hardlink("l/sub/three", "l/two")
    tree.symlink("l/absolute", "/l/one").symlink("l/relative", "../l/one").symlink("l/dangling", "/nowhere")
    return tree.symlink("l/loop", "loop").symlink("l/root", "/")


def link_across(_):
    return Tree().hardlink("l/four", "l/one", mode=0o640, uid=7, gid=8)


def merged_usr(_):
    return Tree().file("usr/lib/lower", "lower\n").symlink("lib", "usr/lib")


def through_symlink(_):
    """Real images have this: the upper layer writes below a path that a lower layer made a link."""
    tree = Tree()
    tree.verbatim("lib/upper", data=b"upper\n")
    return tree


def owned_directory(_):
    tree = Tree().dir("owned", 0o2750, 1000, 1001).file("owned/lower", "lower\n", 0o640, 1000, 1001)
    return tree.dir("hidden", 0o700, 1000, 1000).file("hidden/lower", "lower\n")


def implied_directory(_):
    """Names directories without listing them, as some build tools do: they stay what the lower layer made them."""
    tree = Tree().verbatim("owned/upper", data=b"upper\n").verbatim("new/upper", data=b"upper\n")
    return tree.verbatim(".wh.hidden", data=b"").verbatim("hidden/upper", data=b"upper\n")


def sparse(_):
    """A file with a hole, in the PAX form 1.0 of GNU tar: in front of the data is the map."""
    data = b"2\n0\n5\n1048576\n3\n".ljust(512, b"\0") + b"beginend"
    headers = {"GNU.sparse.major": b"1", "GNU.sparse.minor": b"0", "GNU.sparse.name": b"sparse",
               "GNU.sparse.realsize": b"2097152"}
    return Tree().verbatim("./GNUSparseFile.0/sparse", data=data, pax=headers)


def metadata(debian):
    probe = debian.compiled("probe.c")
    tree = Tree().file("m/capable", probe, 0o755, xattrs={"security.capability": file_capability(CAP_NET_RAW)})
    tree.file("m/noted", "noted\n", xattrs={"user.note": b"a note", "user.bytes": b"\x00\x01\xff"})
    # Extracting as root must not let these two change what the host trusts.
    tree.file("m/trusted", "trusted\n", xattrs={"trusted.overlay.opaque": b"y"})
    tree.file("m/setuid", probe, 0o4755).file("m/setgid", probe, 0o2755).dir("m/sticky", 0o1777)
    tree.file("m/owned", "owned\n", 0o600, 1234, 4321).file("m/large-id", "", 0o600, 2_000_000_000, 2_000_000_001)
    tree.file("m/old", "old\n", mtime=1.5).file("m/precise", "precise\n", mtime=1700000000.123456789)
    tree.file("m/" + "long-name-" * 20, "long\n").file("m/" + "d" * 90 + "/" + "e" * 90 + "/deep", "deep\n")
    tree.file("m/caf\u00e9", "utf-8\n").file("m/latin-\udce9", "not utf-8\n").file("m/ space\ttab", "odd\n")
    return tree.fifo("m/fifo").char_device("m/null", 1, 3)


def volumes(_):
    tree = Tree().file("data/from-image", "from the image\n", 0o640, 1000, 1000).dir("data", 0o750, 1000, 1000)
    tree.hardlink("data/same", "data/from-image").symlink("data/link", "/etc/passwd").file("data/sub/deep", "deep\n")
    return tree.symlink("linked", "data").symlink("outside", "../../../../../../etc")


def users(_):
    tree = Tree().file("etc/passwd", PASSWD + "app:x:1234:5678::/home/app:/bin/sh\n" + "7:x:4242:4242::/:/bin/sh\n")
    tree.file("etc/group", GROUP + "app:x:5678:\nextra:x:6000:app\nmore:x:6001:app,root\n")
    return tree.dir("home/app", 0o700, 1234, 5678)


def hostile(_):
    tree = Tree()
    tree.verbatim("../escape-parent", data=b"escaped\n").verbatim("/escape-absolute", data=b"escaped\n")
    tree.verbatim("h/link", kind=tarfile.SYMTYPE, data="/").verbatim("h/link/escape-symlink", data=b"escaped\n")
    tree.verbatim("h/up", kind=tarfile.SYMTYPE, data="../../../../../..").verbatim("h/up/escape-up", data=b"escaped\n")
    tree.verbatim("h/out", kind=tarfile.LNKTYPE, data="../escape-parent")
    tree.verbatim("h/.wh...", data=b"").verbatim(".wh.", data=b"")
    return tree


def big(seed, megabytes):
    """About `megabytes` of blob: large files that do not compress, many small ones that do."""
    rng = random.Random(1000 + seed)
    words = [rng.randbytes(6).hex().encode() for _ in range(4096)]
    tree = Tree()
    for i in range(2):
        tree.file(f"opt/big/{seed}/blob{i}", rng.randbytes(megabytes * 400_000))
    for i in range(1500):
        tree.file(f"opt/big/{seed}/tree/{i % 50}/{i}.txt", b" ".join(rng.choices(words, k=rng.randrange(200, 2400))))
    return tree


def of_bytes(raw, blob):
    """A layer whose blob need not fit its diff id."""
    return lambda: Layer(blob, digest_of(raw), "gzip")


class Own:
    """The catalog. `data` is the registry's directory, for the images that are spoilt on its disk."""

    def __init__(self, debian, native, data):
        self.debian, self.native, self.data = debian, native, data

    def of(self, make, compression="gzip"):
        if compression == "gzip":
            return lambda: self.debian.layer(make)
        return lambda: Layer.of(make(self.debian), compression)

    def base(self):
        return self.debian.layer(busybox)

    def images(self):
        yield Image(HOST + "busybox:1", [self.base], SHELL, shows="the small system, with /bin/probe; Cmd sh")
        yield Image(HOST + "probe:1", [self.of(lambda d: Tree().file("bin/probe", d.compiled("probe.c"), 0o755))],
                    {**PROBE, "Cmd": ["signals", "SIGTERM"]}, shows="one static binary and no /etc: no users, no shell")
        yield Image(HOST + "artifact/files:1", [], files={"config.json": b'{"a": 1}\n', "weights/part.bin": bytes(300_000)},
                    shows="an OCI artifact of two files")
        for part in (self._layers, self._users, self._configs, self._indexes, self._bad):
            yield from part()

    def _layers(self):
        for compression, form, name in (("gzip", OCI, "gzip"), ("zstd", OCI, "zstd"), ("none", OCI, "plain"),
                                        ("gzip", DOCKER, "docker")):
            yield Image(HOST + f"layers/{name}:1", [self.base, self.of(contents, compression)], SHELL, form,
                        shows=f"/content, compression {compression}, {'OCI' if form is OCI else 'Docker'} media types")
        lower, middle, upper = map(self.of, (whiteout_lower, whiteout_middle, whiteout_upper))
        yield Image(HOST + "layers/whiteouts:1", [self.base, lower, middle, upper], SHELL,
                    shows="/w: whiteouts, an opaque directory, file and directory trading places")
        yield Image(HOST + "layers/links:1", [self.base, self.of(links)], SHELL,
                    shows="/l: hard links in one layer; absolute, relative, dangling and looping symlinks")
        yield Image(HOST + "layers/links-across:1", [self.base, self.of(links), self.of(link_across)], SHELL,
                    shows="/l/four: a hard link to a lower layer's file")
        yield Image(HOST + "layers/symlink-parent:1", [self.of(merged_usr), self.of(through_symlink)],
                    shows="lib -> usr/lib below, lib/upper above: must end in usr/lib/upper; no shell")
        yield Image(HOST + "layers/implied:1", [self.base, self.of(owned_directory), self.of(implied_directory)], SHELL,
                    shows="/owned: 2750, 1000:1001, of the lower layer, implied by the upper one; /hidden made anew")
        yield Image(HOST + "layers/implied-elsewhere:1", [self.base, self.of(implied_directory)], SHELL,
                    shows="the upper layer of layers/implied without the lower one")
        yield Image(HOST + "layers/sparse:1", [self.base, self.of(sparse)], SHELL,
                    shows="/sparse: 2 MiB with a hole, in the PAX form of sparse files")
        yield Image(HOST + "layers/sha512:1", [self.base, lambda: Layer.of(contents(None), algorithm="sha512")], SHELL,
                    shows="/content in a layer whose digests are SHA-512")
        yield Image(HOST + "layers/metadata:1", [self.base, self.of(metadata)], SHELL,
                    shows="/m: xattrs, file capability, setuid, owners, times, odd names, fifo, device")

    def _users(self):
        layers = [self.base, self.of(users)]
        for name, user in (("uid", "1234"), ("uid-gid", "1234:4321"), ("name", "app"), ("name-group", "app:extra"),
                           ("name-gid", "app:77"), ("uid-group", "1234:more"), ("unlisted", "99999"),
                           ("missing", "nobody-here"), ("missing-group", "app:no-such-group"), ("huge", "4294967296"),
                           ("wraps", "18446744073709551616"), ("negative", "-1"), ("digits", "7")):
            yield Image(HOST + f"user/{name}:1", layers, {**SHELL, "User": user}, shows=f"USER {user}")

    def _configs(self):
        base = [self.base]
        variants = {
            "entrypoint": ({"Entrypoint": ["/bin/probe", "args"], "Cmd": ["one", "two words"]}, "ENTRYPOINT with CMD"),
            "entrypoint-only": ({"Entrypoint": ["/bin/probe", "args"]}, "ENTRYPOINT without CMD"),
            "cmd": ({"Cmd": ["probe", "args"]}, "CMD found through PATH"),
            "empty": ({}, "neither ENTRYPOINT nor CMD: a container needs a command"),
            "no-such-program": ({"Cmd": ["/no/such/program"]}, "a program that does not exist"),
            "env": ({**PROBE, "Cmd": ["args"], "Env": ["PATH=/image/bin:/bin", "EMPTY=", "EQUALS=a=b", "TWICE=1",
                                                       "TWICE=2", "HOME=/image"]}, "odd variables"),
            "workdir": ({**PROBE, "Cmd": ["args"], "WorkingDir": "/made/on/start"}, "WORKDIR that is in no layer"),
            "stop-name": ({**PROBE, "Cmd": ["signals", "SIGUSR1"], "StopSignal": "SIGUSR1"}, "STOPSIGNAL by name"),
            "stop-number": ({**PROBE, "Cmd": ["signals", "12"], "StopSignal": "12"}, "STOPSIGNAL by number, SIGUSR2"),
            "stop-realtime": ({**PROBE, "Cmd": ["signals", "37"], "StopSignal": "SIGRTMIN+3"}, "a realtime STOPSIGNAL"),
            "stop-bad": ({**SHELL, "StopSignal": "SIGNONSENSE"}, "a STOPSIGNAL that does not exist"),
            "stubborn": ({**PROBE, "Cmd": ["signals"]}, "never ends by itself on any signal but SIGKILL"),
            "labels": ({**SHELL, "Labels": {"io.kubernetes.pod.name": "from-image", "a": "b"}},
                       "labels that must not be mixed into a container's"),
        }
        for name, (config, shows) in variants.items():
            yield Image(HOST + f"config/{name}:1", base, config, shows=shows)
        for name, paths, shows in (
                ("volumes", ("/data", "/new"), "VOLUME /data with content and owner, VOLUME /new without"),
                ("volumes-odd", ("/data/", "/data", "/through/../data", "/linked"), "VOLUME twice, with .. and a link"),
                ("volumes-linked", ("/linked", "/outside"), "VOLUMEs that are links: to /data, and out of the root"),
                ("volumes-proc", ("/proc/self",), "a VOLUME that would cover a part of /proc")):
            config = {**SHELL, "Volumes": {path: {} for path in paths}}
            yield Image(HOST + f"config/{name}:1", [self.base, self.of(volumes)], config, shows=shows)

    def _indexes(self):
        marked = {arch: [self.base, self.of(lambda _, arch=arch: Tree().file("arch", arch + "\n"))]
                  for arch in (FOREIGN, self.native)}
        yield Image(HOST + "index/oci:1", [], SHELL, OCI, marked, "an OCI index, another architecture first; see /arch")
        yield Image(HOST + "index/docker:1", [], SHELL, DOCKER, marked, "a Docker manifest list, likewise")
        yield Image(HOST + "index/nested:1", [], SHELL, OCI, marked, "an index in an index, beside an attestation", nested=True)
        yield Image(HOST + "index/foreign:1", [], SHELL, OCI, {FOREIGN: marked[FOREIGN]},
                    "an index without this machine's architecture: a pull fails and says so")

    def _bad(self):
        good = Tree().file("never/seen", "x" * 100_000).tar()
        blobs = {"gzip": (b"this is not gzip at all\n" * 50, "a layer that is not gzip, though its digest is right"),
                 "tar": (gzipped(b"this is not a tar archive\n" * 500), "a layer whose gzip holds no tar"),
                 "truncated": (gzipped(good, 1)[:-200], "a layer whose gzip stream breaks off"),
                 "short-tar": (gzipped(good[:60_000]), "a layer whose tar breaks off inside a file"),
                 "diff-id": (gzipped(good + bytes(512)), "a good layer whose content is not what diff_id says")}
        for name, (blob, shows) in blobs.items():
            yield Image(HOST + f"bad/{name}:1", [self.base, of_bytes(good, blob)], SHELL, shows=shows)
        yield Image(HOST + "bad/hostile:1", [self.base, self.of(hostile)], SHELL,
                    shows="entries that try to leave the root: ../, /, through symlinks, a hard link out")
        yield from self._bad_parts()

    def _bad_parts(self):
        def own(mark):
            # Not shared with any image, so that spoiling it spoils no other.
            return [self.base, lambda: Layer.of(Tree().file("mark", mark))]

        def resized(config, manifest):
            manifest["layers"][-1]["size"] += 1
            return config, manifest

        def fewer(config, manifest):
            return config, {**manifest, "layers": manifest["layers"][:-1]}

        yield Image(HOST + "bad/size:1", own("size"), SHELL, spoil=resized,
                    shows="a layer that is not of the size its descriptor says")
        yield Image(HOST + "bad/config:1", own("config"), SHELL, spoil=lambda _, manifest: (b"{ not json", manifest),
                    shows="a config that is not JSON")
        yield Image(HOST + "bad/layers:1", own("layers"), SHELL, spoil=fewer, shows="fewer layers than diff_ids")
        yield Image(HOST + "bad/digest:1", own("digest"), SHELL, after=self._corrupt,
                    shows="the registry sends other bytes than the digest says")
        yield Image(HOST + "bad/missing:1", own("missing"), SHELL, after=_delete,
                    shows="a layer that the registry no longer has")

    def _corrupt(self, _registry, _repository, manifest):
        hexadecimal = manifest["layers"][-1]["digest"].split(":")[1]
        path = self.data / "docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"
        data = path.read_bytes()
        # A push finds the blob of the last time, spoilt as it is. Length and gzip header stay right.
        if digest_of(data) == manifest["layers"][-1]["digest"]:
            path.write_bytes(data[:-9] + bytes([data[-9] ^ 0xFF]) + data[-8:])

    def bench(self):
        layers = [self.base] + [self.of(lambda _, n=n: big(n, 30)) for n in range(4)]
        yield Image(HOST + "bench/big:1", layers, SHELL, shows="about 140 MB in five layers, for pull benchmarks")


def _delete(registry, repository, manifest):
    registry.request("DELETE", f"/v2/{repository}/blobs/{manifest['layers'][-1]['digest']}")
