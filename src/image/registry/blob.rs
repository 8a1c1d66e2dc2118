//! The download of a large blob, resumed where it broke.
//!
//! A range only saves bytes: a host that refuses one, or answers with another, is asked for the whole blob, of
//! which the bytes that came before are then skipped.

use super::ask::Ask;
use super::client::{Client, decoder};
use super::coding::Decoder;
use super::error::RegistryError;
use super::timers::Timers;
use crate::digest::Digest;
use crate::layer::Chunk;
use bytes::{Buf, Bytes};
use http::header::CONTENT_RANGE;
use http::{Method, StatusCode};
use reqwest::Response;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

/// How often a transfer may break without having brought [`PROGRESS`] in between.
const BREAKS_MAX: u32 = 5;
/// Bytes that a transfer must bring before its failure counts as a first one again.
const PROGRESS: u64 = 1 << 20;
/// The wait after the first break; doubled for each further one.
const BACKOFF: Duration = Duration::from_millis(200);

/// A blob under way; it survives breaks and changes of host.
pub(super) struct Transfer<'a> {
    path: String,
    size: u64,
    /// The number of bytes that were handed on.
    done: u64,
    sink: &'a Sender<Chunk>,
    ask_for: AskFor,
}

/// The request to a host when a part of the blob is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AskFor {
    /// The rest, by an open range.
    Rest,
    /// The whole blob, because this host refused the range.
    Whole,
}

/// How one connection ended before the blob did.
enum Ended {
    /// The connection broke; another one may bring the rest.
    Broken(RegistryError),
    /// Another connection to this host would end the same way.
    ForGood(RegistryError),
}

/// The speed of one connection. Time in which we did not take what it had to give does not count.
struct Pace {
    timers: Timers,
    begun: Instant,
    brought: u64,
}

impl Pace {
    fn new(timers: Timers) -> Self {
        Self {
            timers,
            begun: Instant::now(),
            brought: 0,
        }
    }

    async fn next_chunk(
        &mut self,
        response: &mut Response,
        url: &str,
    ) -> Result<Option<Bytes>, RegistryError> {
        let stall = self.timers.stall;
        match tokio::time::timeout(stall, response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                self.brought += chunk.len() as u64;
                self.check(url).map(|()| Some(chunk))
            }
            Ok(Ok(None)) => Ok(None),
            Ok(Err(source)) => Err(RegistryError::Unreachable {
                url: url.to_owned(),
                source: source.without_url(),
            }),
            Err(_) => Err(RegistryError::Stalled {
                url: url.to_owned(),
                period: stall,
            }),
        }
    }

    fn check(&mut self, url: &str) -> Result<(), RegistryError> {
        let Timers { rate, window, .. } = self.timers;
        if self.begun.elapsed() < window {
            return Ok(());
        }
        let wanted = u128::from(rate) * window.as_millis() / 1000;
        if u128::from(self.brought) < wanted {
            return Err(RegistryError::TooSlow {
                url: url.to_owned(),
                rate,
                period: window,
            });
        }
        (self.begun, self.brought) = (Instant::now(), 0);
        Ok(())
    }

    fn excuse(&mut self, time: Duration) {
        self.begun += time;
    }
}

impl<'a> Transfer<'a> {
    /// Begins the transfer of a blob whose chunks go to `sink`.
    pub(super) fn new(digest: Digest, size: u64, sink: &'a Sender<Chunk>) -> Self {
        Self {
            path: format!("blobs/{digest}"),
            size,
            done: 0,
            sink,
            ask_for: AskFor::Rest,
        }
    }

    /// Transfers what is missing from one host.
    pub(super) async fn run(
        &mut self,
        client: &Client,
        ask: &Ask<'_>,
    ) -> Result<(), RegistryError> {
        let mut breaks = 0;
        let mut counted_from = self.done;
        self.ask_for = AskFor::Rest;
        loop {
            let error = match self.once(client, ask).await {
                Ok(()) => return self.finish(ask).await,
                Err(Ended::Broken(e)) => e,
                Err(Ended::ForGood(e)) => return Err(e),
            };
            if self.done - counted_from >= PROGRESS {
                breaks = 0;
                counted_from = self.done;
            }
            breaks += 1;
            if breaks > BREAKS_MAX {
                return Err(error);
            }
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                offset = self.done,
                "resuming a download"
            );
            tokio::time::sleep(BACKOFF * 2_u32.pow(breaks - 1)).await;
        }
    }

    async fn once(&mut self, client: &Client, ask: &Ask<'_>) -> Result<(), Ended> {
        if self.done == self.size && self.size > 0 {
            return Ok(());
        }
        let url = ask.url(&self.path);
        let mut response = self.open(client, ask).await?;
        let mut decoder = self.decoder(&response, &url)?;
        let mut skip = self.already_sent(&response, &url, &decoder)?;
        let before_answer = self.done;
        let mut pace = Pace::new(client.timers);
        while let Some(chunk) = pace
            .next_chunk(&mut response, &url)
            .await
            .map_err(Ended::Broken)?
        {
            decoder.feed(chunk);
            let before = Instant::now();
            while let Some(mut piece) = decoder.draw().map_err(|source| {
                Ended::ForGood(RegistryError::Coding {
                    url: url.clone(),
                    source,
                })
            })? {
                let skipped = skip.min(piece.len() as u64);
                piece.advance(usize::try_from(skipped).unwrap_or_default());
                skip -= skipped;
                self.hand_on(piece, &url).await.map_err(Ended::ForGood)?;
            }
            // A slow disk is not the registry's fault.
            pace.excuse(before.elapsed());
        }
        if self.done < self.size {
            let error = self.wrong_length(&url, self.done);
            // A host may send less than the range that was asked for, and an answer that only ends with its
            // connection does not tell whether it was cut.
            let goes_on = match response.status() {
                StatusCode::PARTIAL_CONTENT => self.done > before_answer,
                _ => response.content_length().is_none(),
            };
            return Err(match goes_on {
                true => Ended::Broken(error),
                false => self.useless(before_answer, error),
            });
        }
        Ok(())
    }

    /// An answer that ends here, to a request that was made when `had` bytes were there: one to a range says nothing
    /// of the whole blob.
    fn useless(&mut self, had: u64, error: RegistryError) -> Ended {
        match had {
            0 => Ended::ForGood(error),
            _ => self.without_range(error),
        }
    }

    /// Asks for what is missing, and for the whole blob where the host refuses to send a part of it.
    async fn open(&mut self, client: &Client, ask: &Ask<'_>) -> Result<Response, Ended> {
        let offset = match self.ask_for {
            AskFor::Rest => self.done,
            AskFor::Whole => 0,
        };
        match client.send(ask, Method::GET, &self.path, offset).await {
            Ok(response) => Ok(response),
            Err(error) if offset > 0 && error.is_refusal() => Err(self.without_range(error)),
            Err(error) => Err(Ended::ForGood(error)),
        }
    }

    /// Lets the next request be one for the whole blob; `error` is what is wrong with this one's answer.
    fn without_range(&mut self, error: RegistryError) -> Ended {
        match self.ask_for {
            AskFor::Rest => {
                self.ask_for = AskFor::Whole;
                Ended::Broken(error)
            }
            AskFor::Whole => Ended::ForGood(error),
        }
    }

    /// Undoes the codings of an answer. Where what the host keeps has the blob's own length, it is the blob: stores of
    /// files name the coding of an archive that somebody uploaded with it.
    fn decoder(&self, response: &Response, url: &str) -> Result<Decoder, Ended> {
        let length = match response.status() {
            StatusCode::PARTIAL_CONTENT => content_range(response).and_then(|range| range.total),
            _ => response.content_length(),
        };
        match length {
            Some(length) if length == self.size => Ok(Decoder::default()),
            _ => decoder(response, url).map_err(Ended::ForGood),
        }
    }

    fn wrong_length(&self, url: &str, found: u64) -> RegistryError {
        RegistryError::Length {
            url: url.to_owned(),
            expected: self.size,
            found,
        }
    }

    async fn hand_on(&mut self, chunk: Bytes, url: &str) -> Result<(), RegistryError> {
        if chunk.is_empty() {
            return Ok(());
        }
        self.done += chunk.len() as u64;
        if self.done > self.size {
            return Err(RegistryError::TooLong {
                url: url.to_owned(),
                expected: self.size,
            });
        }
        let sent = self.sink.send(Chunk::Data(chunk)).await;
        sent.map_err(|_| RegistryError::GivenUp {
            url: url.to_owned(),
        })
    }

    async fn finish(&self, ask: &Ask<'_>) -> Result<(), RegistryError> {
        let sent = self.sink.send(Chunk::End).await;
        sent.map_err(|_| RegistryError::GivenUp {
            url: ask.url(&self.path),
        })
    }

    /// How many bytes of the answer were handed on before: a host may ignore the range.
    fn already_sent(
        &mut self,
        response: &Response,
        url: &str,
        decoder: &Decoder,
    ) -> Result<u64, Ended> {
        let had = self.done;
        // A range is one of the coded content (RFC 9110, section 14.2), which is of no use from its middle on.
        let is_rest = had > 0 && self.ask_for == AskFor::Rest;
        if is_rest && !decoder.is_identity() {
            return Err(self.without_range(RegistryError::Answer {
                url: url.to_owned(),
                what: "coded content instead of the range that was asked for",
            }));
        }
        let range = content_range(response);
        // 206 answers a request for a range (RFC 9110, section 15.3.7). One that answers another request and names no
        // range is taken as 200.
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        if !is_part || (!is_rest && range.is_none()) {
            let length = response.content_length().filter(|_| decoder.is_identity());
            // Told before anything was handed on, so that the next host can still deliver all of it.
            return match length {
                Some(length) if length != self.size && self.size > 0 => {
                    let error = self.wrong_length(url, length);
                    Err(self.useless(had, error))
                }
                // It may be all or only the rest: nothing tells before the digest is compared.
                None if is_rest => Err(self.without_range(RegistryError::Answer {
                    url: url.to_owned(),
                    what: "content of unknown length instead of the range that was asked for",
                })),
                _ => Ok(had),
            };
        }
        match range {
            Some(range) if range.start <= self.done => Ok(self.done - range.start),
            _ => Err(self.without_range(RegistryError::Answer {
                url: url.to_owned(),
                what: "another range than was asked for",
            })),
        }
    }
}

/// The range of a partial answer.
struct ContentRange {
    start: u64,
    /// The whole length, where the host tells it.
    total: Option<u64>,
}

fn content_range(response: &Response) -> Option<ContentRange> {
    let value = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (unit, range) = value.trim().split_at_checked("bytes".len())?;
    // Names of units have no case (RFC 9110, section 14.1).
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let range = range.trim_start_matches([' ', '\t', '=']);
    let (start, rest) = range.split_once('-')?;
    let total = rest.split_once('/').map(|(_, total)| total.trim());
    Some(ContentRange {
        start: start.trim().parse().ok()?,
        total: total.and_then(|total| total.parse().ok()),
    })
}
