//! One pass over a layer: blob → digest → decompression → diff id → tar → files.
//!
//! ```text
//!   chunks of the blob ──► [decoding thread: SHA-256, gzip/zstd, SHA-256] ──► [extraction thread]
//! ```
//!
//! Nothing compressed touches the disk. Digests are compared only after the last byte, so what was
//! extracted counts for nothing before [`unpack_verified`] returned.

use super::digest::Digest;
use super::digest::Hasher;
use super::unpack::{self, Below, Limits, UnpackError, Unpacked};
use bytes::{Buf, Bytes};
use holdfast_disk::Dir;
use holdfast_kernel::fault;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

/// Chunks of a blob under way between the network and the decoder.
const CHUNKS_QUEUED: usize = 32;
/// The size of the decoder's input buffer, in bytes.
const INPUT_BUFFER: usize = 128 << 10;
/// The size of a decompressed block under way to the extraction, in bytes.
const BLOCK: usize = 256 << 10;
/// Decompressed blocks under way to the extraction.
const BLOCKS_QUEUED: usize = 8;

/// The digests that a layer must have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// The digest of the blob as the registry serves it; unknown for imported files.
    pub blob: Option<Digest>,
    /// The digest of the decompressed tar stream; unknown for a bare root file system.
    pub diff_id: Option<Digest>,
}

/// The digests and sizes of an unpacked layer.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// The digest of the decompressed tar stream.
    pub diff_id: Digest,
    /// The digest of the blob.
    pub blob: Digest,
    /// The size of the blob, in bytes.
    pub blob_size: u64,
    /// The space of the unpacked layer.
    pub usage: Unpacked,
}

/// Why a layer was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The blob's bytes could not be had or decompressed.
    #[error("cannot read or decompress the layer")]
    Read(#[source] io::Error),
    /// The decompressed stream could not be extracted.
    #[error("cannot extract the layer")]
    Unpack(#[from] UnpackError),
    /// The blob is not the one the manifest names.
    #[error("the layer's content has digest {found}, the manifest says {expected}")]
    BlobMismatch {
        /// The digest that the manifest names.
        expected: Box<Digest>,
        /// The digest of the content that came.
        found: Box<Digest>,
    },
    /// The decompressed stream is not the one the configuration names.
    #[error("the layer unpacks to diff id {found}, the configuration says {expected}")]
    DiffIdMismatch {
        /// The configuration's diff id.
        expected: Box<Digest>,
        /// The digest of the content that came.
        found: Box<Digest>,
    },
}

/// A message from the download to the decoder; a channel closed without [`Chunk::End`] is an
/// interrupted download.
pub(super) enum Chunk {
    /// The next bytes of the layer.
    Data(Bytes),
    /// There are no more.
    End,
}

/// Bytes that a reader has taken so far, for those who show how far a download is.
pub(super) type Counter = Arc<AtomicU64>;

/// The way from an asynchronous download to a blocking reader, which counts what it takes.
pub(super) fn channel(counter: Counter) -> (tokio::sync::mpsc::Sender<Chunk>, ChunkReader) {
    let (sender, receiver) = tokio::sync::mpsc::channel(CHUNKS_QUEUED);
    (
        sender,
        ChunkReader {
            receiver,
            current: Bytes::new(),
            ended: false,
            counter,
        },
    )
}

/// Reads what a download sends; to be used outside of asynchronous code.
pub(super) struct ChunkReader {
    receiver: tokio::sync::mpsc::Receiver<Chunk>,
    current: Bytes,
    ended: bool,
    counter: Counter,
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                Some(Chunk::Data(bytes)) => {
                    self.counter
                        .fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    self.current = bytes;
                }
                Some(Chunk::End) => self.ended = true,
                None => {
                    return Err(io::Error::new(
                        io::ErrorKind::ConnectionAborted,
                        "the download was given up",
                    ));
                }
            }
        }
        let length = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// Unpacks the blob `source` into `dir` and compares the digests.
///
/// Blocks until done. On an error `dir` holds a part of the layer and is to be deleted.
pub(super) fn unpack_verified(
    source: impl Read + Send,
    dir: &Dir,
    expected: Expected,
    limits: Limits,
    below: Below<'_>,
) -> Result<Layer, LayerError> {
    let _step = fault::step("image.unpack").map_err(|errno| LayerError::Read(errno.into()))?;
    let (blocks, blocks_out) = mpsc::sync_channel(BLOCKS_QUEUED);
    let (spent, spent_out) = mpsc::channel();
    let (decoded, unpacked) = std::thread::scope(|scope| {
        let decoder = scope.spawn(move || decode(source, expected, &blocks, &spent_out));
        let mut reader = BlockReader {
            blocks: blocks_out,
            spent,
            block: Vec::new(),
            at: 0,
        };
        let unpacked = unpack::unpack(&mut reader, dir, limits, below);
        if unpacked.is_ok() {
            // What follows the end of the archive belongs to the digests.
            while reader.next_block() {}
        }
        drop(reader);
        let decoded = decoder
            .join()
            .unwrap_or_else(|_| Err(Stopped::Failed(io::Error::other("the decoder panicked"))));
        (decoded, unpacked)
    });
    let decoded = match decoded {
        Ok(decoded) => decoded,
        Err(Stopped::Failed(source)) => return Err(LayerError::Read(source)),
        // The extraction ended first and says why.
        Err(Stopped::Unwanted) => {
            return Err(unpacked
                .err()
                .unwrap_or(UnpackError::Read(io::ErrorKind::BrokenPipe.into()))
                .into());
        }
    };
    decoded.compare(expected)?;
    let usage = unpacked?;
    usage.left_out.report(&decoded.diff_id);
    Ok(Layer {
        diff_id: decoded.diff_id,
        blob: decoded.blob,
        blob_size: decoded.blob_size,
        usage,
    })
}

struct Decoded {
    blob: Digest,
    blob_size: u64,
    diff_id: Digest,
}

impl Decoded {
    fn compare(&self, expected: Expected) -> Result<(), LayerError> {
        match expected.blob {
            Some(expected) if expected != self.blob => {
                return Err(LayerError::BlobMismatch {
                    expected: Box::new(expected),
                    found: Box::new(self.blob),
                });
            }
            _ => {}
        }
        match expected.diff_id {
            Some(expected) if expected != self.diff_id => Err(LayerError::DiffIdMismatch {
                expected: Box::new(expected),
                found: Box::new(self.diff_id),
            }),
            _ => Ok(()),
        }
    }
}

/// Why the decoder ended early.
enum Stopped {
    /// The input of the decompressor failed.
    Failed(io::Error),
    /// Nobody takes the output of the decoder any more.
    Unwanted,
}

fn decode(
    source: impl Read + Send,
    expected: Expected,
    blocks: &mpsc::SyncSender<Vec<u8>>,
    spent: &mpsc::Receiver<Vec<u8>>,
) -> Result<Decoded, Stopped> {
    let mut input = BufReader::with_capacity(
        INPUT_BUFFER,
        Hashing {
            inner: source,
            hash: Hasher::comparable(expected.blob.as_ref()),
            size: 0,
        },
    );
    let mut diff = Hasher::comparable(expected.diff_id.as_ref());
    {
        let mut output = decompress(&mut input).map_err(Stopped::Failed)?;
        loop {
            let mut block = spent.try_recv().unwrap_or_default();
            block.resize(BLOCK, 0);
            let length = fill(&mut output, &mut block).map_err(Stopped::Failed)?;
            if length == 0 {
                break;
            }
            block.truncate(length);
            diff.update(&block);
            blocks.send(block).map_err(|_| Stopped::Unwanted)?;
        }
    }
    io::copy(&mut input, &mut io::sink()).map_err(Stopped::Failed)?;
    let Hashing { hash, size, .. } = input.into_inner();
    Ok(Decoded {
        blob: hash.finish(),
        blob_size: size,
        diff_id: diff.finish(),
    })
}

/// The decompressed form of `input`, recognised by its first bytes as all runtimes do: media types
/// in the wild are not to be trusted.
pub(super) fn decompress<'a, R: BufRead + Send + 'a>(
    input: R,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    const MAGIC_LENGTH: usize = 6;
    let mut input = input;
    let mut magic = [0; MAGIC_LENGTH];
    let length = fill(&mut input, &mut magic)?;
    let whole = Read::take(io::Cursor::new(magic), length as u64).chain(input);
    Ok(match &magic[..length] {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(whole)?),
        [b'B', b'Z', b'h', ..] => return Err(unsupported("bzip2")),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => return Err(unsupported("xz")),
        _ => Box::new(whole),
    })
}

fn unsupported(name: &str) -> io::Error {
    let text = format!("{name} compression is not supported: use gzip or zstd");
    io::Error::new(io::ErrorKind::Unsupported, text)
}

/// Hashes and counts what passes.
struct Hashing<R> {
    inner: R,
    hash: Hasher,
    size: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.update(&buffer[..length]);
        self.size += length as u64;
        Ok(length)
    }
}

/// Reads the blocks of the decoding thread and sends the spent ones back.
struct BlockReader {
    blocks: mpsc::Receiver<Vec<u8>>,
    spent: mpsc::Sender<Vec<u8>>,
    block: Vec<u8>,
    at: usize,
}

impl BlockReader {
    fn next_block(&mut self) -> bool {
        let Ok(block) = self.blocks.recv() else {
            return false;
        };
        let spent = std::mem::replace(&mut self.block, block);
        self.at = 0;
        // A decoder that is done needs no blocks.
        let _ = self.spent.send(spent);
        true
    }
}

impl Read for BlockReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() && !self.next_block() {
            return Ok(0);
        }
        let length = buffer.len().min(self.block.len() - self.at);
        buffer[..length].copy_from_slice(&self.block[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

/// Reads until the buffer is full or the input ends.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match from.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(length)
}
