#!/usr/bin/env python3
"""The tree that the writers put into their images, and lists of trees to compare.

    BUSYBOX=FILE tree.py make DIR      a small root file system with one of everything that an image can hold
    tree.py change DIR      removes, replaces and adds, so that a second layer has whiteouts
    tree.py turn DIR        makes a directory a file, too
    tree.py list DIR        a line each file: path, kind, mode, owner, what it holds, extended attributes

What a runtime mounts or makes in each container is not listed: /dev, /proc, /sys, three files of /etc, and the volume
that the images declare.
"""

import hashlib
import os
import shutil
import stat
import struct
import sys

# The runtime's own, whatever the image says.
LEFT_OUT = {"dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf", "tmp/kept"}
# CAP_NET_BIND_SERVICE, effective, in the second version of the attribute: linux/capability.h.
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
# user::rwx, user:1234:r-x, group::r-x, mask::r-x, other::---: linux/posix_acl_xattr.h.
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, perm, who)
    for tag, perm, who in [
        (0x01, 7, 0xFFFFFFFF),
        (0x02, 5, 1234),
        (0x04, 5, 0xFFFFFFFF),
        (0x10, 5, 0xFFFFFFFF),
        (0x20, 0, 0xFFFFFFFF),
    ]
)
LONG = "a-name-of-more-than-a-hundred-bytes-" + "x" * 90
DEEP = "/".join(["deep-" + "d" * 60] * 5)


def write(root, path, content, mode=0o644, owner=(0, 0)):
    """Writes a file with its directories."""
    full = os.path.join(root, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "wb") as file:
        file.write(content)
    os.chown(full, *owner)
    os.chmod(full, mode)
    return full


def make(root):
    """One of everything."""
    with open(os.environ["BUSYBOX"], "rb") as file:
        write(root, "bin/busybox", file.read(), 0o755)
    for name in ("sh", "cat", "echo", "id", "sleep", "pwd", "env"):
        os.symlink("busybox", os.path.join(root, "bin", name))
    write(root, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nmaker:x:1234:2345::/home/maker:/bin/sh\n")
    write(root, "etc/group", b"root:x:0:\nmakers:x:2345:\n")
    # What the images run: says by whom it was made, and what the configuration does to it.
    write(root, "made", b'#!/bin/sh\necho "$1 as $(id -u):$(id -g) in $(pwd) A=$A"\n', 0o755)
    write(root, "data/mark", b"made\n", 0o640, (1234, 2345))
    write(root, "data/setuid", b"#!/bin/sh\n", 0o4755)
    write(root, "data/setgid", b"#!/bin/sh\n", 0o2755, (0, 2345))
    write(root, "data/large-owner", b"", 0o600, (3_000_000, 4_000_000))
    write(root, "data/empty", b"")
    write(root, "data/nothing-allowed", b"secret", 0o000)
    write(root, "data/" + LONG, b"long")
    write(root, DEEP + "/file", b"deep")
    write(root, "data/gr\u00fc\u00dfe \u4f60\u597d", b"letters")
    write(root, "data/with space\ttab", b"blank")
    capable = write(root, "data/capable", b"#!/bin/sh\n", 0o755)
    os.setxattr(capable, "security.capability", CAPABILITY)
    listed = write(root, "data/listed", b"acl", 0o750)
    os.setxattr(listed, "system.posix_acl_access", ACL)
    noted = write(root, "data/noted", b"note")
    os.setxattr(noted, "user.note", b"a note\nof two lines")
    os.link(os.path.join(root, "data/mark"), os.path.join(root, "data/mark-again"))
    os.symlink("../data/mark", os.path.join(root, "etc/relative"))
    os.symlink("/data/mark", os.path.join(root, "etc/absolute"))
    os.symlink("nowhere", os.path.join(root, "etc/dangling"))
    os.makedirs(os.path.join(root, "data/private"))
    os.chown(os.path.join(root, "data/private"), 1234, 2345)
    os.chmod(os.path.join(root, "data/private"), 0o2700)
    os.makedirs(os.path.join(root, "tmp"))
    os.chmod(os.path.join(root, "tmp"), 0o1777)
    os.mkfifo(os.path.join(root, "data/fifo"))
    os.chmod(os.path.join(root, "data/fifo"), 0o620)
    os.mknod(os.path.join(root, "data/null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chmod(os.path.join(root, "data/null"), 0o666)
    with open(os.path.join(root, "data/holes"), "wb") as file:
        file.write(b"begin")
        file.seek(1 << 20)
        file.write(b"end")
    for path in ("gone/file", "gone/below/file", "emptied/one", "emptied/two", "turned/file"):
        write(root, path, path.encode())
    write(root, "filled", b"a file")
    # The same times wherever it is made, in whole seconds, because not every format keeps more.
    for directory, directories, files in os.walk(root, topdown=False):
        for name in files + directories + ["."]:
            os.utime(os.path.join(directory, name), (1_600_000_000, 1_600_000_000), follow_symlinks=False)


def change(root):
    """What a second layer says of the first."""
    shutil.rmtree(os.path.join(root, "gone"))
    os.remove(os.path.join(root, "emptied/one"))
    os.remove(os.path.join(root, "data/setgid"))
    # A file becomes a directory.
    os.remove(os.path.join(root, "filled"))
    write(root, "filled/inside", b"a directory now")
    write(root, "data/added", b"second", 0o444, (1, 2))
    os.chmod(os.path.join(root, "data/empty"), 0o600)


def turn(root):
    """A directory becomes a file."""
    shutil.rmtree(os.path.join(root, "turned"))
    write(root, "turned", b"a file now")


def kind_and_content(path, status):
    """The kind of a file, and what tells it from others of its kind."""
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        return "dir", "-"
    if stat.S_ISLNK(mode):
        return "link", os.readlink(path)
    if stat.S_ISREG(mode):
        with open(path, "rb") as file:
            return "file", f"{status.st_size} {hashlib.sha256(file.read()).hexdigest()[:16]}"
    if stat.S_ISFIFO(mode):
        return "fifo", "-"
    if stat.S_ISSOCK(mode):
        return "socket", "-"
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    return ("char" if stat.S_ISCHR(mode) else "block"), number


def attributes(path):
    """Extended attributes that belong to an image."""
    found = []
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        # Overlay's and SELinux' own belong to the machine.
        if name.startswith("trusted.") or name == "security.selinux":
            continue
        found.append(f"{name}={os.getxattr(path, name, follow_symlinks=False).hex()}")
    return ",".join(found) or "-"


def listing(root):
    """All files below a directory in the order of their names."""
    linked = {}
    for directory, directories, files in os.walk(root):
        directories[:] = sorted(name for name in directories if os.path.relpath(os.path.join(directory, name), root) not in LEFT_OUT)
        for name in sorted(files) + directories:
            full = os.path.join(directory, name)
            path = os.path.relpath(full, root)
            if path in LEFT_OUT:
                continue
            status = os.lstat(full)
            kind, content = kind_and_content(full, status)
            # Names of one file say so by the first of them.
            if kind != "dir" and status.st_nlink > 1:
                linked.setdefault((status.st_dev, status.st_ino), []).append(path)
            mode = "-" if kind == "link" else f"{stat.S_IMODE(status.st_mode):04o}"
            yield path, [kind, mode, f"{status.st_uid}:{status.st_gid}", content, attributes(full)], linked, (status.st_dev, status.st_ino)


def show(root):
    """Prints the list."""
    rows = list(listing(root))
    lines = []
    for path, columns, linked, inode in rows:
        names = sorted(linked.get(inode, []))
        same = names[0] if len(names) > 1 else "-"
        lines.append("\t".join([repr(path), *columns, f"same:{same}"]))
    print("\n".join(sorted(lines)))


def main():
    """Does what the arguments say."""
    what, directory = sys.argv[1:3]
    {"make": make, "change": change, "turn": turn, "list": show}[what](directory)


if __name__ == "__main__":
    main()
