//! Turns a client's stream of chunks into a reader for code that blocks.
//!
//! An upload that breaks off must not look complete: the reader sees the end only when the client has ended the
//! stream, and an error when the client just disappears.

use std::io::{self, Read};

use cri_api::holdfast::v1::ImportImageRequest;
use cri_api::holdfast::v1::import_image_request::Part;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::convert::FieldError;

/// Chunks that wait for the reader; with those of 1 MiB this bounds what an import holds.
const MAX_QUEUED_CHUNKS: usize = 2;

enum Piece {
    Bytes(Vec<u8>),
    End,
}

/// The blocking end of an upload.
pub(super) struct UploadReader {
    pieces: mpsc::Receiver<Piece>,
    current: Vec<u8>,
    taken: usize,
    ended: bool,
}

/// The end of an upload that the client's messages are put into.
pub(super) struct Upload {
    pieces: mpsc::Sender<Piece>,
}

/// Both ends of an upload.
pub(super) fn upload() -> (Upload, UploadReader) {
    let (sender, receiver) = mpsc::channel(MAX_QUEUED_CHUNKS);
    let reader = UploadReader {
        pieces: receiver,
        current: Vec::new(),
        taken: 0,
        ended: false,
    };
    (Upload { pieces: sender }, reader)
}

impl Upload {
    /// Passes chunks on until the client ends the stream or the reader is gone.
    pub(super) async fn feed(
        self,
        mut messages: Streaming<ImportImageRequest>,
    ) -> Result<(), Status> {
        while let Some(message) = messages.message().await? {
            let Some(Part::Chunk(bytes)) = message.part else {
                let remedy = "send the header once, and then only chunks";
                return Err(FieldError::missing("chunk", remedy).into());
            };
            if self.pieces.send(Piece::Bytes(bytes)).await.is_err() {
                return Ok(());
            }
        }
        // When the reader is gone, the import's result says why.
        let _ = self.pieces.send(Piece::End).await;
        Ok(())
    }
}

impl Read for UploadReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.current.len() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(bytes)) => (self.current, self.taken) = (bytes, 0),
                Some(Piece::End) => self.ended = true,
                None => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the client broke off",
                    ));
                }
            }
        }
        let rest = &self.current[self.taken..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::{Piece, upload};

    #[test]
    fn an_end_is_an_end_and_a_break_is_an_error() {
        for (last, whole) in [(Some(Piece::End), true), (None, false)] {
            let (upload, mut reader) = upload();
            upload
                .pieces
                .blocking_send(Piece::Bytes(b"abc".to_vec()))
                .unwrap();
            if let Some(last) = last {
                upload.pieces.blocking_send(last).unwrap();
            }
            drop(upload);
            let mut out = Vec::new();
            assert_eq!(reader.read_to_end(&mut out).is_ok(), whole);
            assert_eq!(out, b"abc");
        }
    }
}
