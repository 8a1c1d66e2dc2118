//! Artifacts: files as they are, each of which becomes one in the directory of the artifact.

use super::error::PullError;
use super::fetch::FetchError;
use super::operation::Pull;
use crate::digest::{Digest, Hasher};
use crate::index::LayerKey;
use crate::layer::{self, ChunkReader, Counter, Layer, LayerError};
use crate::manifest::{ArtifactFile, Part};
use crate::registry::Repository;
use crate::store::{CandidateLayer, Staging, StoreError};
use crate::unpack::{Standing, UnpackError, Unpacked};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use holdfast_disk::{Dir, FileName};
use nix::sys::stat::{Mode, fchmod};
use std::convert::Infallible;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The size of the copy buffer, in bytes.
const BUFFER: usize = 128 << 10;

impl Pull<'_> {
    /// Gets all files of the artifact whose manifest has the digest `manifest`.
    pub(super) async fn artifact(
        &self,
        repository: &Arc<Repository>,
        files: &[ArtifactFile],
        manifest: Digest,
    ) -> Result<CandidateLayer, PullError> {
        // An artifact is a layer of its own: what its files are called is not in their digests.
        let key = LayerKey {
            diff_id: manifest,
            chain: Some(manifest),
        };
        self.progress.plan(files.iter().map(|file| file.part));
        if let Some(hold) = self.store.hold_layer(&key).await {
            (0..files.len()).for_each(|at| self.progress.present(at));
            return Ok(CandidateLayer::Present(Arc::new(hold)));
        }
        let staging = self.blocking(Staging::new).await?;
        let (busy, mut over) = mpsc::channel(1);
        let mut fetches: Vec<BoxFuture<'_, Result<(), PullError>>> = Vec::new();
        for (at, file) in files.iter().enumerate() {
            let counter = Counter::default();
            self.progress.follow(at, &counter);
            let fetch = self.file(repository, file, (&staging.diff, busy.clone()), counter);
            let failed = |e: FetchError| e.of_pull(self.reference.to_string(), file.part.digest);
            fetches.push(fetch.map(move |fetched| fetched.map_err(failed)).boxed());
        }
        let parallel = self.store.settings.max_parallel_layers;
        let fetched = stream::iter(fetches).buffer_unordered(parallel);
        let fetched = fetched.try_collect::<()>().await;
        drop(busy);
        if fetched.is_err() {
            // What still writes has the room of what it wrote.
            let _ = over.recv().await;
        }
        fetched?;
        let sizes = files.iter().map(|file| file.part.size);
        let usage = Unpacked {
            bytes: sizes.clone().map(|size| size.next_multiple_of(4096)).sum(),
            inodes: 1 + files.len() as u64,
            standing: Standing::OnLower,
            ..Unpacked::default()
        };
        let layer = Layer {
            diff_id: manifest,
            blob: manifest,
            blob_size: sizes.sum(),
            usage,
        };
        Ok(CandidateLayer::Staged(Arc::new(
            staging.done(layer, manifest),
        )))
    }

    async fn file(
        &self,
        repository: &Repository,
        file: &ArtifactFile,
        (directory, busy): (&Dir, mpsc::Sender<Infallible>),
        counter: Counter,
    ) -> Result<(), FetchError> {
        let store = |e: StoreError| FetchError::Store(Arc::new(e));
        let cloned = directory.try_clone();
        let directory = cloned.map_err(|e| store(StoreError::directory("stage an artifact")(e)))?;
        let (part, name, limit) = (file.part, file.name.clone(), self.store.limits().bytes);
        if part.size > limit {
            let error = LayerError::Unpack(UnpackError::TooLarge {
                path: name.into(),
                limit,
            });
            return Err(FetchError::Layer(Arc::new(error)));
        }
        let (sink, reader) = layer::channel(counter);
        let writing = tokio::task::spawn_blocking(move || {
            let _busy = busy;
            write(reader, part, &directory, &name)
        });
        let downloaded = repository.blob(part.digest, part.size, &sink).await;
        drop(sink);
        let written = writing.await.map_err(|_| store(StoreError::Interrupted))?;
        downloaded.map_err(|e| FetchError::Registry(Arc::new(e)))?;
        written.map_err(|e| FetchError::Layer(Arc::new(e)))
    }
}

/// Writes a file whose name the manifest's reader checked. Blocks.
fn write(
    mut reader: ChunkReader,
    part: Part,
    directory: &Dir,
    name: &str,
) -> Result<(), LayerError> {
    let failed = |source| UnpackError::Create {
        operation: "write the file",
        path: Path::new(name).to_owned(),
        source,
    };
    let mut file = create(directory, name).map_err(failed)?;
    let mut hash = Hasher::comparable(Some(&part.digest));
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = reader.read(&mut buffer).map_err(LayerError::Read)?;
        if length == 0 {
            break;
        }
        hash.update(&buffer[..length]);
        file.write_all(&buffer[..length]).map_err(failed)?;
    }
    let found = hash.finish();
    if found != part.digest {
        return Err(LayerError::BlobMismatch {
            expected: Box::new(part.digest),
            found: Box::new(found),
        });
    }
    Ok(())
}

/// Creates a file below a directory that nobody else writes to, with the directories on the way.
fn create(directory: &Dir, name: &str) -> std::io::Result<File> {
    let part = |text: &str| FileName::new(text).map_err(std::io::Error::other);
    let open = |dir: &Dir| fchmod(dir, Mode::from_bits_truncate(0o755));
    let mut here = directory.try_clone().map_err(std::io::Error::other)?;
    open(&here)?;
    let mut parts: Vec<&str> = name.split('/').collect();
    let last = parts.pop().unwrap_or_default();
    for text in parts {
        let made = here.create_subdir(&part(text)?, 0o755);
        here = made.map_err(std::io::Error::other)?;
        open(&here)?;
    }
    let file = here
        .create_file(&part(last)?)
        .map_err(std::io::Error::other)?;
    fchmod(&file, Mode::from_bits_truncate(0o644))?;
    Ok(file)
}
