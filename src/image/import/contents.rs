//! Finds the content of an unpacked archive: images with their documents, or a root file system.
//!
//! The documents decide, wherever they stood in the archive and whatever the files beside them are called: tools
//! write them in every order, name layers `layer.tar`, `sha256:…`, `….tar.gz` or `blobs/sha256/…`, and link one to
//! another. A document counts when it is one by its content, since a root file system may have a `manifest.json` too.

use super::error::ImportError;
use crate::digest::Digest;
use crate::document::{Descriptor, Document, Saved};
use crate::manifest::{self, ManifestError, ManifestKind, Parsed, PlatformSource};
use crate::platform::Machine;
use crate::reference::{Reference, Target};
use crate::registry::DOCUMENT_MAX;
use bytes::Bytes;
use holdfast_disk::{Dir, DirError, Entry, EntryKind, FileName};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

/// The annotation by which an OCI layout names its images (image specification, "Annotations").
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation by which containerd and Docker name theirs.
pub(super) const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// The documents of archives: of an OCI layout, and of `docker save`.
const INDEX: &str = "index.json";
const SAVED: &str = "manifest.json";
/// The beginning of the file `version` in a `dir:` of skopeo or podman (containers-transports(5)). In a `dir:`,
/// `manifest.json` is the manifest itself.
const DIRECTORY: &[u8] = b"Directory Transport Version: ";

/// Directories of a root file system that nobody packs an archive of images with, as happens to those in which
/// people work.
const ROOT_FS: [&str; 13] = [
    "bin", "boot", "dev", "etc", "lib", "lib64", "opt", "proc", "sbin", "srv", "sys", "usr", "var",
];
/// How many directories with nothing beside them are looked into for an archive of images.
const DEPTH_MAX: usize = 32;
/// The most characters of a name that an error shows.
const SHOWN: usize = 200;

/// How an archive calls content whose digest is known.
#[derive(Debug, Clone, Copy)]
enum Naming {
    /// The names of an OCI layout.
    Layout,
    /// The names that skopeo gives in a `dir:`.
    Directory,
}

impl Naming {
    /// The path of a layer or a configuration.
    fn blob(self, digest: Digest) -> String {
        let (algorithm, hex) = (digest.algorithm(), digest.hex());
        match self {
            Self::Layout => format!("blobs/{algorithm}/{hex}"),
            Self::Directory if algorithm == "sha256" => hex,
            Self::Directory => format!("{algorithm}-{hex}"),
        }
    }

    /// The path of a manifest that an index names.
    fn manifest(self, digest: Digest) -> String {
        match self {
            Self::Layout => self.blob(digest),
            Self::Directory => self.blob(digest) + ".manifest.json",
        }
    }
}

/// An unpacked archive, and the name that its image is to have.
#[derive(Clone, Copy)]
pub(super) struct Contents<'a> {
    pub spread: &'a Dir,
    pub reference: &'a Reference,
}

/// The entry of an archive or directory under a name.
enum EntryAtName {
    /// A regular file, opened for reading.
    File(File),
    /// Something else, and what it is.
    Other(&'static str),
    Nothing,
}

/// The parts of an image, as files of an unpacked archive.
#[derive(Debug)]
pub(super) struct Parts {
    /// `None` for `docker save`, which has none of its own.
    pub manifest: Option<Bytes>,
    pub config: Bytes,
    /// Paths in the archive, with the digest where the archive promises one.
    pub layers: Vec<(String, Option<Digest>)>,
    pub platform: PlatformSource,
}

/// An image that an archive offers: its names there, and what tells it from the others.
#[derive(Debug, Clone)]
struct Offer<T> {
    names: Vec<String>,
    id: String,
    image: T,
}

impl Contents<'_> {
    /// The image to take from an archive of images; `None` when it is not such an archive.
    pub(super) fn image(self) -> Result<Option<Parts>, ImportError> {
        let saved = self.saved()?;
        // Docker writes both documents since version 25, containerd's export too.
        match (self.index()?, saved) {
            (Some(index), None) => self.layout_image(&index).map(Some),
            (Some(index), Some(saved)) => match self.layout_image(&index) {
                Ok(parts) if self.is_whole(&parts) => Ok(Some(parts)),
                _ => self.saved_image(&saved).map(Some),
            },
            (None, Some(saved)) => self.saved_image(&saved).map(Some),
            (None, None) => self.directory_image(),
        }
    }

    /// The image of a `dir:`.
    fn directory_image(self) -> Result<Option<Parts>, ImportError> {
        if !self.is_directory()? {
            return Ok(None);
        }
        let manifest = self.document(SAVED)?;
        self.parts(manifest, PlatformSource::Caller, Naming::Directory)
            .map(Some)
    }

    /// Whether this is a `dir:`.
    fn is_directory(self) -> Result<bool, ImportError> {
        let version = self.document_if_there("version")?;
        Ok(version.is_some_and(|version| version.starts_with(DIRECTORY)))
    }

    /// Whether the tree can be a root file system: there is something at its top that is neither what an archive of
    /// images consists of nor a plain file.
    pub(super) fn is_root_fs(self) -> Result<bool, ImportError> {
        let entries = self.entries(self.spread)?;
        for entry in &entries {
            let name = entry.name.as_os_str().to_string_lossy();
            let fits = match entry.kind {
                EntryKind::Directory if name == "blobs" || is_hashed(&name) => false,
                EntryKind::Directory => {
                    ROOT_FS.contains(&name.as_ref()) || !self.is_packed(&entry.name)?
                }
                EntryKind::File => self.is_program(&name),
                EntryKind::Symlink | EntryKind::Other => true,
            };
            if fits {
                return Ok(true);
            }
        }
        Ok(entries.is_empty())
    }

    /// Whether a directory is one with which an archive of images was packed, so that the documents stand some steps
    /// too low: they are in it, or in the only directory in it.
    fn is_packed(self, name: &FileName) -> Result<bool, ImportError> {
        let enter = |dir: &Dir, name: &FileName| dir.subdir(name).map_err(|e| self.dir_error(e));
        let mut here = enter(self.spread, name)?;
        for _ in 0..DEPTH_MAX {
            let inside = Contents {
                spread: &here,
                reference: self.reference,
            };
            if inside.has_documents()? {
                return Ok(true);
            }
            let mut entries = self.entries(&here)?;
            entries.retain(|entry| entry.kind != EntryKind::File);
            let next = match entries.as_slice() {
                [only] if only.kind == EntryKind::Directory => enter(&here, &only.name)?,
                _ => return Ok(false),
            };
            here = next;
        }
        Ok(false)
    }

    /// Whether the documents of an archive of images are here.
    fn has_documents(self) -> Result<bool, ImportError> {
        if self.open("oci-layout", OFlag::O_PATH).is_ok() || self.index()?.is_some() {
            return Ok(true);
        }
        let saved = self.saved_list()?.map(|bytes| Saved::parse(&bytes));
        let saved = matches!(saved, Some(Ok(saved)) if names_images(&saved));
        Ok(saved || self.is_directory()? || self.is_of_old_docker()?)
    }

    /// Whether Docker before 1.10 has written this, which had no manifest.json: layers in directories of their names.
    fn is_of_old_docker(self) -> Result<bool, ImportError> {
        if self.open("repositories", OFlag::O_PATH).is_err() {
            return Ok(false);
        }
        let is_layer = |entry: &Entry| {
            entry.kind == EntryKind::Directory
                && is_hashed(&entry.name.as_os_str().to_string_lossy())
        };
        Ok(self.entries(self.spread)?.iter().any(is_layer))
    }

    fn entries(self, dir: &Dir) -> Result<Vec<Entry>, ImportError> {
        dir.entries().map_err(|e| self.dir_error(e))
    }

    fn is_program(self, path: &str) -> bool {
        let metadata = self.open(path, OFlag::O_PATH).and_then(|f| f.metadata());
        metadata.is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
    }

    /// The index of an OCI layout.
    fn index(self) -> Result<Option<Vec<Descriptor>>, ImportError> {
        let Some(bytes) = self.document_if_there(INDEX)? else {
            return Ok(None);
        };
        let is_layout = ["oci-layout", "blobs"].map(|name| self.open(name, OFlag::O_PATH).is_ok());
        match Document::parse(&bytes, INDEX) {
            // A layout without any image may have null for its list, as Go writes an empty one.
            Ok(document) if is_layout[0] => Ok(Some(document.manifests.unwrap_or_default())),
            Ok(document) => Ok(document.manifests.filter(|_| is_layout[1])),
            Err(source) if is_layout[0] => Err(self.manifest_error(source.into())),
            Err(_) => Ok(None),
        }
    }

    /// The images of `docker save`.
    fn saved(self) -> Result<Option<Vec<Saved>>, ImportError> {
        let Some(bytes) = self.saved_list()? else {
            return Ok(None);
        };
        match Saved::parse(&bytes) {
            Ok(saved) => Ok(Some(saved).filter(|saved| names_images(saved))),
            Err(source) if self.is_root_fs()? => {
                tracing::debug!(error = %source, "a manifest.json is not that of docker save");
                Ok(None)
            }
            Err(source) => Err(self.manifest_error(source.into())),
        }
    }

    /// A `manifest.json` that can be that of `docker save`: a web application's is an object.
    fn saved_list(self) -> Result<Option<Bytes>, ImportError> {
        let bytes = self.document_if_there(SAVED)?;
        Ok(bytes.filter(|bytes| bytes.trim_ascii_start().first() == Some(&b'[')))
    }

    /// The manifest or index to begin with, of those that the index of a layout names.
    fn entry(self, index: &[Descriptor]) -> Result<(Digest, PlatformSource), ImportError> {
        let mut entries: Vec<&Descriptor> = index.iter().collect();
        if entries.iter().any(|entry| !manifest::is_attestation(entry)) {
            entries.retain(|entry| !manifest::is_attestation(entry));
        }
        let offers = entries.into_iter().map(|entry| Offer {
            names: [CONTAINERD_NAME, REF_NAME]
                .iter()
                .filter_map(|key| entry.annotations.get(*key).cloned())
                .collect(),
            id: entry.digest.clone(),
            image: entry,
        });
        let chosen = self.choose(offers.collect())?;
        match chosen.as_slice() {
            [one] => {
                let digest = manifest::digest(&one.digest, || format!("{INDEX}: digest"));
                Ok((
                    digest.map_err(|e| self.manifest_error(e))?,
                    PlatformSource::Caller,
                ))
            }
            [_, _, ..] if chosen.iter().all(|entry| entry.platform.is_none()) => {
                Err(self.several([].iter()))
            }
            several => {
                let several: Vec<Descriptor> = several.iter().copied().cloned().collect();
                let choice = manifest::choose(&several, &Machine::this());
                let choice = choice.map_err(|e| self.manifest_error(e))?;
                Ok((choice.digest, choice.platform))
            }
        }
    }

    fn layout_image(self, index: &[Descriptor]) -> Result<Parts, ImportError> {
        let (digest, platform) = self.entry(index)?;
        let document = self.blob(digest, &Naming::Layout.manifest(digest))?;
        self.parts(document, platform, Naming::Layout)
    }

    /// Goes from a manifest, or an index, to what it names.
    fn parts(
        self,
        mut document: Bytes,
        mut platform: PlatformSource,
        naming: Naming,
    ) -> Result<Parts, ImportError> {
        let machine = Machine::this();
        loop {
            let parsed = manifest::parse(&document, &machine);
            let manifest = match parsed.map_err(|e| self.manifest_error(e))? {
                // Each step verifies a digest, so that an index cannot contain itself.
                Parsed::Index(next) => {
                    document = self.blob(next.digest, &naming.manifest(next.digest))?;
                    platform = next.platform;
                    continue;
                }
                Parsed::Manifest(manifest) => manifest,
            };
            if manifest.kind != ManifestKind::Image {
                return Err(ImportError::NotAnImage {
                    name: self.reference.to_string(),
                    what: "holds an artifact, not a container image: pull it from a registry"
                        .to_owned(),
                });
            }
            let config = manifest.config.digest;
            let layers = manifest.layers.iter();
            return Ok(Parts {
                config: self.blob(config, &naming.blob(config))?,
                manifest: Some(document),
                layers: layers
                    .map(|part| (naming.blob(part.digest), Some(part.digest)))
                    .collect(),
                platform,
            });
        }
    }

    fn saved_image(self, saved: &[Saved]) -> Result<Parts, ImportError> {
        let offers = saved.iter().map(|image| Offer {
            names: image.repo_tags.clone(),
            id: image.config.clone(),
            image,
        });
        let image = match self.choose(offers.collect())?.as_slice() {
            [image] => *image,
            [] => return Err(self.archive("holds no image")),
            _ => return Err(self.several([].iter())),
        };
        Ok(Parts {
            manifest: None,
            config: self.document(&image.config)?,
            layers: image
                .layers
                .iter()
                .map(|path| (path.clone(), None))
                .collect(),
            platform: PlatformSource::Caller,
        })
    }

    /// The images among which only the platform decides: those of the name that was asked for, else the only one,
    /// else all of an archive that names none.
    fn choose<T: Clone>(self, offers: Vec<Offer<T>>) -> Result<Vec<T>, ImportError> {
        let tag_only =
            |name: &str| matches!(self.reference.target(), Target::Tag(tag) if tag == name);
        let by = |fits: &dyn Fn(&str) -> bool| -> Vec<&Offer<T>> {
            let named = |offer: &&Offer<T>| offer.names.iter().any(|name| fits(name));
            offers.iter().filter(named).collect()
        };
        let mut chosen = by(&|name| self.is_same(name));
        if chosen.is_empty() {
            chosen = by(&tag_only);
        }
        if chosen.is_empty() {
            chosen = offers.iter().collect();
            let named: BTreeSet<&[String]> = offers.iter().map(|o| o.names.as_slice()).collect();
            let ids: BTreeSet<&str> = offers.iter().map(|offer| offer.id.as_str()).collect();
            if ids.len() > 1 && named.len() > 1 {
                return Err(self.several(offers.iter().flat_map(|offer| &offer.names)));
            }
        }
        let mut seen = BTreeSet::new();
        chosen.retain(|offer| seen.insert(offer.id.clone()));
        Ok(chosen
            .into_iter()
            .map(|offer| offer.image.clone())
            .collect())
    }

    fn is_same(self, name: &str) -> bool {
        name.parse::<Reference>()
            .is_ok_and(|reference| reference == *self.reference)
    }

    fn is_whole(self, parts: &Parts) -> bool {
        let mut layers = parts.layers.iter();
        layers.all(|(path, _)| self.open(path, OFlag::O_PATH).is_ok())
    }

    fn blob(self, digest: Digest, path: &str) -> Result<Bytes, ImportError> {
        let bytes = self.document(path)?;
        if digest.same_of(&bytes) != digest {
            return Err(self.archive(&format!(
                "has other content than {digest} under that digest"
            )));
        }
        Ok(bytes)
    }

    /// Reads a document that another one names.
    fn document(self, path: &str) -> Result<Bytes, ImportError> {
        match self.find(path)? {
            EntryAtName::File(file) => self.read_document(path, file),
            EntryAtName::Other(kind) => Err(self.no_file(path, kind)),
            EntryAtName::Nothing => Err(self.archive(&format!("lacks {}", shown(path)))),
        }
    }

    /// Reads a document of a fixed name, which a root file system may have for something else.
    fn document_if_there(self, path: &str) -> Result<Option<Bytes>, ImportError> {
        match self.find(path)? {
            EntryAtName::File(file) => self.read_document(path, file).map(Some),
            EntryAtName::Other(_) | EntryAtName::Nothing => Ok(None),
        }
    }

    fn read_document(self, path: &str, file: File) -> Result<Bytes, ImportError> {
        let mut bytes = Vec::new();
        file.take(DOCUMENT_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| self.read_error(e))?;
        if bytes.len() > DOCUMENT_MAX {
            let path = shown(path);
            return Err(self.archive(&format!("has a {path} of more than {DOCUMENT_MAX} bytes")));
        }
        Ok(bytes.into())
    }

    /// Opens the file of a layer.
    pub(super) fn layer(self, path: &str) -> Result<File, ImportError> {
        match self.find(path)? {
            EntryAtName::File(file) => Ok(file),
            EntryAtName::Other(kind) => Err(self.no_file(path, kind)),
            EntryAtName::Nothing => Err(self.archive(&format!("lacks the layer {}", shown(path)))),
        }
    }

    /// Opens what an archive calls so when it is a regular file. Anything else is not opened: that alone does
    /// something to some devices, and an archive can hold every device.
    fn find(self, path: &str) -> Result<EntryAtName, ImportError> {
        let place = match self.open(path, OFlag::O_PATH) {
            Ok(place) => place,
            Err(e) => return self.unfound(path, &e),
        };
        let kind = place.metadata().map_err(|e| self.read_error(e))?;
        let kind = kind.file_type();
        let other = [
            (kind.is_dir(), "a directory"),
            (kind.is_char_device(), "a character device"),
            (kind.is_block_device(), "a block device"),
            (kind.is_fifo(), "a fifo"),
        ];
        if !kind.is_file() {
            let other = other.iter().find(|(is, _)| *is);
            return Ok(EntryAtName::Other(
                other.map_or("a special file", |(_, what)| what),
            ));
        }
        let file = File::open(format!("/proc/self/fd/{}", place.as_raw_fd()));
        file.map(EntryAtName::File).map_err(|e| self.read_error(e))
    }

    /// Tells a missing name, which is no error, from a name that cannot be opened.
    fn unfound(self, path: &str, error: &io::Error) -> Result<EntryAtName, ImportError> {
        let what = match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => return Ok(EntryAtName::Nothing),
            Some(libc::ENAMETOOLONG) => "which is longer than a path can be".to_owned(),
            Some(libc::ELOOP) => "which leads through too many symbolic links".to_owned(),
            _ if path.contains('\0') => "which holds a zero byte".to_owned(),
            _ => format!("which cannot be opened: {error}"),
        };
        Err(self.archive(&format!("names {}, {what}", shown(path))))
    }

    fn no_file(self, path: &str, kind: &str) -> ImportError {
        let path = shown(path);
        self.archive(&format!(
            "has {kind} under the name {path}, which is not a regular file"
        ))
    }

    /// Opens a file; links in the archive, which `docker save` used to write, end at its own root.
    pub(super) fn open(self, path: &str, flags: OFlag) -> io::Result<File> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        Ok(openat2(self.spread, path, how)?.into())
    }

    /// The error where nothing tells which image is meant; `names` are those that could be asked for.
    fn several<'n>(self, names: impl Iterator<Item = &'n String>) -> ImportError {
        let names: BTreeSet<&str> = names.map(String::as_str).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let remedy = match names.as_slice() {
            [] => "save each in an archive of its own".to_owned(),
            names => format!(
                "give the new image the name of one of them: {}",
                names.join(", ")
            ),
        };
        ImportError::Ambiguous {
            name: self.reference.to_string(),
            remedy,
        }
    }

    fn archive(self, what: &str) -> ImportError {
        ImportError::Archive {
            name: self.reference.to_string(),
            what: what.to_owned(),
        }
    }

    fn manifest_error(self, source: ManifestError) -> ImportError {
        ImportError::Manifest {
            name: self.reference.to_string(),
            source,
        }
    }

    fn dir_error(self, source: DirError) -> ImportError {
        self.read_error(io::Error::other(source))
    }

    fn read_error(self, source: io::Error) -> ImportError {
        ImportError::Read {
            name: self.reference.to_string(),
            source,
        }
    }
}

/// A name of an archive for a message: shortened, and quoted where it would be misread.
fn shown(name: &str) -> String {
    let mut text: String = name.chars().take(SHOWN).collect();
    if text.len() < name.len() {
        text.push('…');
    }
    let quoted = format!("{text:?}");
    match quoted.trim_matches('"') == text && !text.is_empty() {
        true => text,
        false => quoted,
    }
}

fn names_images(saved: &[Saved]) -> bool {
    saved.iter().any(|image| !image.config.is_empty())
}

/// Whether `docker save` may have called a file or a directory so.
fn is_hashed(name: &str) -> bool {
    let stem = name.split(['.', ':']).find(|part| part.len() == 64);
    stem.is_some_and(|stem| stem.bytes().all(|b| b.is_ascii_hexdigit()))
}
