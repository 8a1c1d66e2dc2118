"""What a layer holds, and the tar and compressed blob made of it.

The same tree always gives the same bytes: times are fixed and the order is that of insertion.
"""

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

# Every entry's modification time, 2023-11-14T22:13:20Z, unless it says otherwise.
EPOCH = 1700000000


def digest_of(data, algorithm="sha256"):
    return algorithm + ":" + hashlib.new(algorithm, data).hexdigest()


class Tree:
    """Ordered tar entries. Parents of an entry are added in front of it when missing."""

    def __init__(self):
        self.entries = {}

    def _add(self, path, kind, data=None, mode=0o755, uid=0, gid=0, **extra):
        path = path.strip("/")
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            self.dir(parent)
        self.entries[path] = dict(kind=kind, data=data, mode=mode, uid=uid, gid=gid, **extra)
        return self

    def dir(self, path, mode=0o755, uid=0, gid=0):
        return self._add(path, tarfile.DIRTYPE, None, mode, uid, gid)

    def dirs(self, *paths):
        for path in paths:
            self.dir(path)
        return self

    def file(self, path, data, mode=0o644, uid=0, gid=0, **extra):
        if isinstance(data, Path):
            data = data.read_bytes()
        elif isinstance(data, str):
            data = data.encode()
        return self._add(path, tarfile.REGTYPE, data, mode, uid, gid, **extra)

    def symlink(self, path, target):
        return self._add(path, tarfile.SYMTYPE, target, 0o777)

    def hardlink(self, path, target, **extra):
        """`target` is a path in the image, of an entry that stands earlier, whose owner and mode are said again, as
        writers of archives do. For one of a lower layer they are given: mode, uid, gid."""
        target = target.strip("/")
        known = self.entries.get(target, {})
        said = {name: known[name] for name in ("mode", "uid", "gid") if name in known}
        return self._add(path, tarfile.LNKTYPE, target, **{**said, **extra})

    def fifo(self, path, mode=0o644):
        return self._add(path, tarfile.FIFOTYPE, None, mode)

    def char_device(self, path, major, minor, mode=0o666):
        return self._add(path, tarfile.CHRTYPE, (major, minor), mode)

    def whiteout(self, path):
        """Takes away what lower layers have at `path`."""
        return self.file(os.path.join(os.path.dirname(path), ".wh." + os.path.basename(path)), b"")

    def opaque(self, path):
        """Hides everything that lower layers have below `path`."""
        return self.dir(path).file(path + "/.wh..wh..opq", b"")

    def verbatim(self, name, **entry):
        """An entry whose name goes into the tar as it is, however hostile."""
        self.entries[name] = dict(dict(kind=tarfile.REGTYPE, data=b"", mode=0o644, uid=0, gid=0, raw=True), **entry)
        return self

    def tar(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
            for path, entry in self.entries.items():
                values = {"SCHILY.xattr." + name: value for name, value in entry.get("xattrs", {}).items()}
                values.update(entry.get("pax", {}))
                if values:
                    records = _pax_records(values)
                    header = tarfile.TarInfo("PaxHeaders/" + path)
                    header.type, header.size = tarfile.XHDTYPE, len(records)
                    archive.addfile(header, io.BytesIO(records))
                info, data = _tar_entry(path, entry)
                archive.addfile(info, data)
        return out.getvalue()


def _pax_records(values):
    """PAX records with raw bytes as values, as Docker writes extended attributes. Python's own
    would add a `hdrcharset` record, which no image has."""
    out = b""
    for key, value in values.items():
        body = b" " + key.encode() + b"=" + value + b"\n"
        # A record's length counts its own digits.
        length = len(body) + len(str(len(body)))
        length += len(str(length)) - len(str(len(body)))
        out += str(length).encode() + body
    return out


def _tar_entry(path, entry):
    kind, data = entry["kind"], entry["data"]
    is_dir = kind == tarfile.DIRTYPE and not entry.get("raw")
    info = tarfile.TarInfo(path + "/" if is_dir else path)
    info.type, info.mode, info.uid, info.gid = kind, entry["mode"], entry["uid"], entry["gid"]
    info.mtime = entry.get("mtime", EPOCH)
    if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.linkname = data
    elif kind == tarfile.CHRTYPE:
        info.devmajor, info.devminor = data
    elif kind == tarfile.REGTYPE:
        info.size = len(data)
        return info, io.BytesIO(data)
    return info, None


class Layer:
    """A blob with its digest, and the diff id: the digest of the tar inside it."""

    def __init__(self, blob, diff_id, compression, algorithm="sha256"):
        self.blob, self.diff_id, self.compression = blob, diff_id, compression
        self.digest = digest_of(blob, algorithm)

    @classmethod
    def of(cls, tree, compression="gzip", algorithm="sha256"):
        raw = tree.tar()
        return cls(COMPRESSORS[compression](raw), digest_of(raw, algorithm), compression, algorithm)


def gzipped(raw, level=6):
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=level, mtime=0) as stream:
        stream.write(raw)
    return out.getvalue()


def zstandard(raw):
    return subprocess.run(["zstd", "-q", "-c", "-3"], input=raw, stdout=subprocess.PIPE, check=True).stdout


COMPRESSORS = {"gzip": gzipped, "zstd": zstandard, "none": bytes}
