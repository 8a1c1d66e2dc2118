//! Content codings of answers (RFC 9110, section 8.4).
//!
//! Every request asks for content as it is, but caches and proxies before a registry may send it compressed
//! nevertheless. Digests and lengths are those of the decoded content.

use bytes::{Buf, Bytes};
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use std::io::{self, Write};

/// The most codings of one answer; more than one is allowed and hardly ever seen.
const CODINGS_MAX: usize = 4;
/// The largest window of the coding zstd, as a power of two (RFC 9659, section 3).
const ZSTD_WINDOW: u32 = 23;

/// Gives the content of an answer in small pieces, however much one chunk of it becomes.
#[derive(Default)]
pub(super) struct Decoder {
    /// Bytes that arrived and are not decoded yet.
    fed: Bytes,
    /// The coding that was applied last comes first.
    stages: Vec<Stage>,
}

/// A content coding that is undone.
struct Stage {
    input: Bytes,
    engine: Engine,
}

enum Engine {
    Gzip(MultiGzDecoder<Vec<u8>>),
    /// `deflate` before its first byte, which tells the two forms apart.
    Deflate,
    Zlib(ZlibDecoder<Vec<u8>>),
    /// `deflate` without the wrapper that the RFC wants (8.4.1.2), as some servers send it.
    Raw(DeflateDecoder<Vec<u8>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Vec<u8>>>),
}

impl Decoder {
    /// Undoes the codings that an answer names.
    ///
    /// # Errors
    /// The name of a coding that is not known.
    pub(super) fn from_headers(headers: &HeaderMap) -> Result<Self, String> {
        let mut stages = Vec::new();
        for line in headers.get_all(CONTENT_ENCODING) {
            for name in String::from_utf8_lossy(line.as_bytes()).split(',') {
                let name = name.trim().to_ascii_lowercase();
                if matches!(name.as_str(), "" | "identity") {
                    continue;
                }
                let engine = Engine::from_name(&name).filter(|_| stages.len() < CODINGS_MAX);
                let stage = engine.map(|engine| Stage {
                    input: Bytes::new(),
                    engine,
                });
                stages.insert(0, stage.ok_or(name)?);
            }
        }
        Ok(Self {
            fed: Bytes::new(),
            stages,
        })
    }

    /// Whether the content comes as it is.
    pub(super) fn is_identity(&self) -> bool {
        self.stages.is_empty()
    }

    /// Takes what came next; everything of it has to be drawn before more comes.
    pub(super) fn feed(&mut self, bytes: Bytes) {
        self.fed = bytes;
    }

    /// The next piece of the content; `None` when more has to be fed.
    ///
    /// # Errors
    /// The bytes are not in the coding that the answer names.
    pub(super) fn draw(&mut self) -> io::Result<Option<Bytes>> {
        draw(&mut self.fed, &mut self.stages)
    }
}

fn draw(fed: &mut Bytes, stages: &mut [Stage]) -> io::Result<Option<Bytes>> {
    // The first stage stands first, so the last one is asked for content.
    let Some((last, before)) = stages.split_last_mut() else {
        let all = std::mem::take(fed);
        return Ok((!all.is_empty()).then_some(all));
    };
    loop {
        if last.input.is_empty() {
            match draw(fed, before)? {
                Some(more) => last.input = more,
                None => return last.engine.rest(),
            }
        }
        let taken = last.engine.write(&last.input)?;
        last.input.advance(taken);
        match last.engine.output() {
            Some(piece) => return Ok(Some(piece)),
            None if taken == 0 => return Err(io::Error::other("there is more after its end")),
            None => {}
        }
    }
}

impl Engine {
    /// `name` is in lower case.
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "gzip" | "x-gzip" => Some(Self::Gzip(MultiGzDecoder::new(Vec::new()))),
            "deflate" => Some(Self::Deflate),
            "zstd" => {
                let mut decoder = zstd::stream::write::Decoder::new(Vec::new()).ok()?;
                decoder.window_log_max(ZSTD_WINDOW).ok()?;
                Some(Self::Zstd(Box::new(decoder)))
            }
            _ => None,
        }
    }

    /// Decodes a part of `input` and tells how long that part was.
    fn write(&mut self, input: &[u8]) -> io::Result<usize> {
        if let (Self::Deflate, Some(first)) = (&self, input.first()) {
            // The method 8 of zlib's header. A stored block without a wrapper would begin with 0 or 1.
            *self = match first & 0x0f {
                8 => Self::Zlib(ZlibDecoder::new(Vec::new())),
                _ => Self::Raw(DeflateDecoder::new(Vec::new())),
            };
        }
        match self {
            Self::Gzip(decoder) => decoder.write(input),
            Self::Zlib(decoder) => decoder.write(input),
            Self::Raw(decoder) => decoder.write(input),
            Self::Zstd(decoder) => decoder.write(input),
            Self::Deflate => Ok(0),
        }
    }

    /// Returns the bytes that the decoder still holds back.
    fn rest(&mut self) -> io::Result<Option<Bytes>> {
        match self {
            Self::Gzip(decoder) => decoder.flush()?,
            Self::Zlib(decoder) => decoder.flush()?,
            Self::Raw(decoder) => decoder.flush()?,
            Self::Zstd(decoder) => decoder.flush()?,
            Self::Deflate => {}
        }
        Ok(self.output())
    }

    fn output(&mut self) -> Option<Bytes> {
        let decoded = match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zlib(decoder) => decoder.get_mut(),
            Self::Raw(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
            Self::Deflate => return None,
        };
        let decoded = std::mem::take(decoded);
        (!decoded.is_empty()).then(|| decoded.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use http::HeaderValue;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        crate::testing::gzip(bytes).to_vec()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn raw(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 3).unwrap()
    }

    fn decoded(names: &[&str], coded: &[u8], chunk: usize) -> io::Result<Vec<u8>> {
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(CONTENT_ENCODING, HeaderValue::from_str(name).unwrap());
        }
        let mut decoder = Decoder::from_headers(&headers).map_err(io::Error::other)?;
        let mut out = Vec::new();
        for part in coded.chunks(chunk) {
            decoder.feed(Bytes::copy_from_slice(part));
            while let Some(piece) = decoder.draw()? {
                assert!(
                    piece.len() <= (128 << 10).max(part.len()),
                    "{}",
                    piece.len()
                );
                out.extend_from_slice(&piece);
            }
        }
        Ok(out)
    }

    /// RFC 9110, 8.4: codings are listed in the order in which they were applied, over one line or several, in any
    /// case; 8.4.1.2 for both forms of deflate, 8.4.1.3 for `x-gzip`; RFC 1952, 2.2 for several members; RFC 8878
    /// for several frames.
    #[test]
    fn the_content_of_every_coding_is_the_same() {
        let plain: Vec<u8> = (0..60_000_u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect();
        let (head, tail) = plain.split_at(1_000);
        let cases: Vec<(&[&str], Vec<u8>)> = vec![
            (&[], plain.clone()),
            (&["identity"], plain.clone()),
            (&[""], plain.clone()),
            (&["gzip"], gzip(&plain)),
            (&["GZIP"], gzip(&plain)),
            (&["x-gzip"], gzip(&plain)),
            (&["gzip"], [gzip(head), gzip(tail)].concat()),
            (&["deflate"], zlib(&plain)),
            (&["deflate"], raw(&plain)),
            (&["zstd"], zstd(&plain)),
            (&["zstd"], [zstd(head), zstd(tail)].concat()),
            (&["identity, gzip"], gzip(&plain)),
            (&["gzip, zstd"], zstd(&gzip(&plain))),
            (&["gzip", "deflate , gzip"], gzip(&zlib(&gzip(&plain)))),
        ];
        for (names, coded) in cases {
            for chunk in [1, 4_099, 1 << 20] {
                let found = decoded(names, &coded, chunk).unwrap();
                assert!(found == plain, "{names:?} in chunks of {chunk}");
            }
        }
        assert_eq!(decoded(&["gzip"], b"", 1).unwrap(), b"");
        assert_eq!(decoded(&["deflate"], b"", 1).unwrap(), b"");
    }

    #[test]
    fn other_bytes_and_other_codings_are_refused() {
        let more = [zlib(b"a"), b"more".to_vec()].concat();
        for (names, coded) in [
            (&["gzip"][..], b"{\"schemaVersion\":2}".as_slice()),
            (&["zstd"], b"{\"schemaVersion\":2}"),
            (&["deflate"], b"\x78\x9c{\"schemaVersion\":2}"),
            (&["deflate"], &more),
            (&["br"], b""),
            (&["gzip, br"], b""),
            (&["gzip;q=1"], b""),
            (&["gzip, gzip, gzip, gzip, gzip"], b""),
        ] {
            assert!(decoded(names, coded, 1 << 20).is_err(), "{names:?}");
        }
        let mut headers = HeaderMap::new();
        headers.append(CONTENT_ENCODING, HeaderValue::from_static("gzip, Br"));
        assert_eq!(Decoder::from_headers(&headers).err().as_deref(), Some("br"));
    }
}
