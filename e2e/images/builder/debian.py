"""Inputs from Debian or Ubuntu: packages unpacked without being installed, and compiled helpers."""

import functools
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

from .tree import Layer, Tree

SRC = Path(__file__).resolve().parent.parent / "src"
TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}

PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
sync:x:4:100:sync:/bin:/bin/sync
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:Operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
GROUP = """root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
lp:x:7:
mail:x:8:
kmem:x:9:
wheel:x:10:root
cdrom:x:11:
dialout:x:18:
floppy:x:19:
video:x:28:
audio:x:29:
tape:x:32:
www-data:x:33:
operator:x:37:
utmp:x:43:
plugdev:x:46:
staff:x:50:
lock:x:54:
netdev:x:82:
users:x:100:
nobody:x:65534:
"""


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


@functools.cache
def architecture():
    return run("dpkg", "--print-architecture").strip()


def available(packages, update=True):
    """For each `a|b` the first that apt can download, if need be after an update of its lists."""
    names = [name for package in packages for name in package.split("|")]
    policy = run("apt-cache", "policy", *names)
    known = set(re.findall(r"^(\S+):\n  Installed: .*\n  Candidate: [^(]", policy, re.M))
    chosen = [next((name for name in package.split("|") if name in known), None) for package in packages]
    if None not in chosen:
        return chosen
    if not update:
        raise SystemExit(f"apt has no package {packages[chosen.index(None)]}")
    run("apt-get", "update", "-q")
    return available(packages, update=False)


class Debian:
    """Packages and programs, each fetched or built once and kept below `work`."""

    def __init__(self, work):
        self.work = work
        self.debs = work / "debs"
        self.debs.mkdir(parents=True, exist_ok=True)
        self.memo = {}

    def layer(self, make):
        """The layer of a tree-making method, built once: many images share one."""
        if make not in self.memo:
            self.memo[make] = Layer.of(make(self))
        return self.memo[make]

    def unpacked(self, *packages):
        """Tree of the packages' files. `a|b` takes the first that this release has."""
        key = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:8]
        root = self.work / f"root-{packages[0].split('|')[0]}-{key}"
        if (root / ".done").exists():
            return root
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        for path in self._fetch(packages):
            run("dpkg", "-x", str(path), str(root))
        (root / ".done").touch()
        return root

    def _fetch(self, packages):
        """Paths of the packages' archives, those that are missing downloaded in one go."""
        lacking = [package for package in packages if not self._kept(package)]
        if lacking:
            # APT's own user may not write here.
            subprocess.run(["apt-get", "-o", "APT::Sandbox::User=root", "download", "-q", *available(lacking)],
                           cwd=self.debs, check=True, stdout=subprocess.DEVNULL)
        return [self._kept(package) for package in packages]

    def _kept(self, package):
        return next((path for name in package.split("|") for path in self.debs.glob(f"{name}_*.deb")), None)

    def compiled(self, source):
        """A static binary of src/`source`."""
        binary = self.work / Path(source).stem
        if not binary.exists() or binary.stat().st_mtime < (SRC / source).stat().st_mtime:
            run("gcc", "-Os", "-Wall", "-Werror", "-static", "-s", "-o", str(binary), str(SRC / source))
        return binary

    def add_libraries(self, tree, root, *binaries):
        """Puts the shared libraries that `binaries` need into `tree`, all from `root`."""
        files = {}
        for path in root.rglob("*.so*"):
            files.setdefault(path.name, path)
        todo, done = [str(binary) for binary in binaries], {}
        while todo:
            binary = todo.pop()
            for soname in re.findall(r"NEEDED\s+(\S+)", run("objdump", "-p", binary)):
                if soname in done:
                    continue
                if soname not in files:
                    raise SystemExit(f"{soname}, needed by {binary}, is not in the unpacked packages")
                done[soname] = files[soname].resolve()
                todo.append(str(done[soname]))
        for soname, path in sorted(done.items()):
            # The loader's path is compiled into every binary.
            loader = {"amd64": "lib64", "arm64": "lib"}[architecture()]
            folder = loader if soname.startswith("ld-linux") else f"lib/{TRIPLETS[architecture()]}"
            tree.file(f"{folder}/{soname}", path, 0o755)


def busybox(debian):
    """A small system: Debian's busybox under all its names, users and groups."""
    static = debian.unpacked("busybox-static")
    binary = next(p for p in (static / "bin/busybox", static / "usr/bin/busybox") if p.exists())
    tree = Tree().dirs("bin", "etc", "dev", "proc", "sys", "var", "home", "usr/sbin", "usr/bin", "run")
    tree.dir("root", 0o700).dir("tmp", 0o1777).dir("var/www", uid=33, gid=33).dir("var/spool/mail")
    tree.symlink("var/run", "../run").symlink("usr/bin/env", "../../bin/env")
    tree.file("bin/busybox", binary, 0o755)
    for applet in run(str(binary), "--list").split():
        if applet not in ("busybox", "sh"):
            tree.hardlink("bin/" + applet, "bin/busybox")
    # Debian's static busybox has the standalone shell: its sh runs applets without looking at PATH,
    # so that masking /bin/ls would show no effect. The dynamic one has not; critest wants ash's
    # error messages too.
    dynamic = debian.unpacked("busybox", "libc6", "libcrypt1")
    shell = next(p for p in (dynamic / "bin/busybox", dynamic / "usr/bin/busybox") if p.exists())
    tree.file("bin/sh", shell, 0o755)
    debian.add_libraries(tree, dynamic, shell)
    tree.file("bin/pgrep", SRC / "pgrep.sh", 0o755).file("bin/ipcs", SRC / "ipcs.sh", 0o755)
    tree.file("bin/probe", debian.compiled("probe.c"), 0o755)
    tree.file("etc/passwd", PASSWD).file("etc/group", GROUP).file("etc/shadow", "root:*:::::::\n", 0o640)
    tree.file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    return tree.file("etc/hostname", "busybox\n")
