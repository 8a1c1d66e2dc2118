//! HTTP: connections, retries, redirects, bounded answers.

use super::ask::Ask;
use super::challenge;
use super::coding::Decoder;
use super::error::RegistryError;
use super::hosts::{self, Endpoint, Scheme, Tls, Verification};
use super::timers::Timers;
use super::tokens::Tokens;
use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, Method, StatusCode};
use reqwest::{Response, Url};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The most redirects followed.
const REDIRECTS_MAX: usize = 10;
/// The most of an error's text that is read, in bytes.
const DETAIL_MAX: usize = 4096;
/// The wait before the first repetition; doubled for each further one.
const BACKOFF: Duration = Duration::from_millis(250);
/// The longest a registry may make us wait with `Retry-After`.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// The most sets of TLS settings whose connections are kept.
const CLIENTS_MAX: usize = 32;

/// The connection settings that a kept client was made for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Connection {
    /// `None` never speaks TLS and so needs no certificates.
    tls: Option<Tls>,
    route: Route,
}

/// How a host is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Route {
    /// Through the proxy of the environment (`HTTPS_PROXY` and its like), if any.
    Environment,
    /// Directly: this machine, which no proxy could reach.
    Direct,
}

impl Route {
    fn to(authority: &str) -> Self {
        if hosts::is_loopback(hosts::split_port(authority).0) {
            Self::Direct
        } else {
            Self::Environment
        }
    }
}

/// The connections and tokens of this process.
#[derive(Debug)]
pub(super) struct Client {
    clients: Mutex<HashMap<Connection, reqwest::Client>>,
    pub(super) tokens: Tokens,
    pub(super) timers: Timers,
}

impl Client {
    /// Makes a client without connections and tokens.
    pub(super) fn new(timers: Timers) -> Self {
        Self {
            clients: Mutex::default(),
            tokens: Tokens::default(),
            timers,
        }
    }

    /// Fetches a document of at most `limit` bytes.
    pub(super) async fn document(
        &self,
        ask: &Ask<'_>,
        path: &str,
        limit: usize,
    ) -> Result<Bytes, RegistryError> {
        let response = self.send(ask, Method::GET, path, 0).await?;
        self.collect(response, &ask.url(path), limit).await
    }

    /// Asks once more and more until there is an answer worth having: a success, from `offset` on.
    pub(super) async fn send(
        &self,
        ask: &Ask<'_>,
        method: Method,
        path: &str,
        offset: u64,
    ) -> Result<Response, RegistryError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (wait, error) = match self.authenticated(ask, &method, path, offset).await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    let wait =
                        is_passing(response.status()).then(|| retry_after(response.headers()));
                    (wait, self.refusal(response, ask.url(path)).await)
                }
                Err(e) => {
                    let passing = match &e {
                        RegistryError::Unreachable { .. } | RegistryError::Stalled { .. } => true,
                        // The token service's answer.
                        RegistryError::Status { status, .. } => is_passing(*status),
                        RegistryError::Hosts { .. }
                        | RegistryError::Client { .. }
                        | RegistryError::TooSlow { .. }
                        | RegistryError::NotFound { .. }
                        | RegistryError::Unauthorized { .. }
                        | RegistryError::Token { .. }
                        | RegistryError::Answer { .. }
                        | RegistryError::UnknownCoding { .. }
                        | RegistryError::Coding { .. }
                        | RegistryError::Mismatch { .. }
                        | RegistryError::Length { .. }
                        | RegistryError::TooLong { .. }
                        | RegistryError::TooLarge { .. }
                        | RegistryError::GivenUp { .. }
                        | RegistryError::AllHosts { .. } => false,
                    };
                    (passing.then_some(None), e)
                }
            };
            match wait {
                Some(wait) if attempt < ask.attempts.most(&error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        attempt,
                        "asking the registry again"
                    );
                    tokio::time::sleep(wait.unwrap_or(BACKOFF * 2_u32.pow(attempt - 1))).await;
                }
                _ => return Err(error),
            }
        }
    }

    /// Asks with what is known of the host's challenges, and once more after it sent a new one.
    async fn authenticated(
        &self,
        ask: &Ask<'_>,
        method: &Method,
        path: &str,
        offset: u64,
    ) -> Result<Response, RegistryError> {
        let known = self.tokens.cached_token(ask);
        let response = self
            .follow(ask, method, path, (offset, known.as_deref()))
            .await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let challenges = challenge::parse(response.headers().get_all(WWW_AUTHENTICATE));
        match self.answer(ask, &challenges, &ask.url(path)).await? {
            Some(header) => {
                self.follow(ask, method, path, (offset, Some(&header)))
                    .await
            }
            None => Ok(response),
        }
    }

    /// Follows redirects; what belongs to the registry's host stays with it.
    async fn follow(
        &self,
        ask: &Ask<'_>,
        method: &Method,
        path: &str,
        (offset, authorization): (u64, Option<&str>),
    ) -> Result<Response, RegistryError> {
        let told = ask.url(path);
        let first = ask.full_url(path)?;
        let mut url = first.clone();
        for _ in 0..=REDIRECTS_MAX {
            let home = url.origin() == first.origin();
            let client = if home {
                self.for_endpoint(ask.endpoint)
            } else {
                self.for_redirect(&url)
            };
            let client = client.map_err(|source| RegistryError::Client {
                url: told.clone(),
                source,
            })?;
            let mut request = client
                .request(method.clone(), url.clone())
                .header(ACCEPT, ask.accept);
            if offset > 0 {
                request = request.header(RANGE, format!("bytes={offset}-"));
            }
            if home {
                for (name, value) in &ask.endpoint.headers {
                    // What the host was asked for and answered comes before what the file says.
                    if authorization.is_none() || *name != AUTHORIZATION {
                        request = request.header(name, value);
                    }
                }
                if let Some(value) = authorization {
                    request = request.header(AUTHORIZATION, sensitive(value, &told)?);
                }
            }
            let response = self.within_stall(request.send(), &told).await?;
            let Some(target) = redirect(&response) else {
                return Ok(response);
            };
            let target = url.join(&target).ok().filter(|next| is_safe(&url, next));
            url = target.ok_or(RegistryError::Answer {
                url: told.clone(),
                what: "an unusable redirect",
            })?;
        }
        Err(RegistryError::Answer {
            url: told,
            what: "too many redirects",
        })
    }

    /// Reads the whole of a small answer.
    pub(super) async fn collect(
        &self,
        mut response: Response,
        url: &str,
        limit: usize,
    ) -> Result<Bytes, RegistryError> {
        let too_large = || RegistryError::TooLarge {
            url: url.to_owned(),
            limit: limit as u64,
        };
        if response
            .content_length()
            .is_some_and(|length| length > limit as u64)
        {
            return Err(too_large());
        }
        let mut decoder = decoder(&response, url)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = self.within_stall(response.chunk(), url).await? {
            decoder.feed(chunk);
            while let Some(piece) = decoder.draw().map_err(|source| RegistryError::Coding {
                url: url.to_owned(),
                source,
            })? {
                if bytes.len() + piece.len() > limit {
                    return Err(too_large());
                }
                bytes.extend_from_slice(&piece);
            }
        }
        Ok(bytes.into())
    }

    /// Waits no longer than the stall timeout.
    pub(super) async fn within_stall<T>(
        &self,
        operation: impl Future<Output = reqwest::Result<T>>,
        url: &str,
    ) -> Result<T, RegistryError> {
        match tokio::time::timeout(self.timers.stall, operation).await {
            Ok(result) => result.map_err(|e| RegistryError::Unreachable {
                url: url.to_owned(),
                source: e.without_url(),
            }),
            Err(_) => Err(RegistryError::Stalled {
                url: url.to_owned(),
                period: self.timers.stall,
            }),
        }
    }

    async fn refusal(&self, mut response: Response, url: String) -> RegistryError {
        let status = response.status();
        let mut decoder = decoder(&response, &url).unwrap_or_default();
        let mut body = Vec::new();
        'answer: while let Ok(Some(chunk)) = self.within_stall(response.chunk(), &url).await {
            decoder.feed(chunk);
            while let Ok(Some(piece)) = decoder.draw() {
                body.extend_from_slice(&piece[..piece.len().min(DETAIL_MAX - body.len())]);
                if body.len() == DETAIL_MAX {
                    break 'answer;
                }
            }
        }
        let detail = challenge::error_detail(&body);
        match status {
            StatusCode::NOT_FOUND => RegistryError::NotFound { url, detail },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                RegistryError::Unauthorized { url, detail }
            }
            status => RegistryError::Status {
                url,
                status,
                detail,
            },
        }
    }

    /// Returns the HTTP client for the connections to a host.
    pub(super) fn for_endpoint(&self, endpoint: &Endpoint) -> reqwest::Result<reqwest::Client> {
        let tls = match endpoint.scheme {
            Scheme::Https => Some(endpoint.tls.clone()),
            Scheme::Http => None,
        };
        self.client(Connection {
            tls,
            route: Route::to(&endpoint.authority),
        })
    }

    /// A client for a host the registry sent us to, which gets nothing of the registry's settings.
    fn for_redirect(&self, url: &Url) -> reqwest::Result<reqwest::Client> {
        let tls = (url.scheme() == "https").then(Tls::default);
        self.client(Connection {
            tls,
            route: Route::to(url.host_str().unwrap_or_default()),
        })
    }

    fn client(&self, connection: Connection) -> reqwest::Result<reqwest::Client> {
        let mut known = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known.get(&connection) {
            return Ok(client.clone());
        }
        if known.len() >= CLIENTS_MAX {
            known.clear();
        }
        let client = build(&connection)?;
        known.insert(connection, client.clone());
        Ok(client)
    }
}

fn build(connection: &Connection) -> reqwest::Result<reqwest::Client> {
    // The program as a whole uses ring; whoever comes first installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
        .default_headers(as_it_is())
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_adaptive_window(true);
    let builder = match connection.route {
        Route::Environment => builder,
        Route::Direct => builder.no_proxy(),
    };
    let Some(tls) = &connection.tls else {
        return builder.tls_certs_only([]).build();
    };
    let mut authorities = Vec::new();
    // A system without certificates can still reach hosts whose authority is configured.
    for der in rustls_native_certs::load_native_certs().certs {
        authorities.push(reqwest::Certificate::from_der(&der)?);
    }
    for pem in &tls.authorities {
        authorities.extend(reqwest::Certificate::from_pem_bundle(pem)?);
    }
    let mut builder = builder
        .tls_certs_only(authorities)
        .tls_danger_accept_invalid_certs(tls.verification == Verification::Skipped);
    if let Some(pem) = &tls.identity {
        builder = builder.identity(reqwest::Identity::from_pem(pem)?);
    }
    builder.build()
}

/// Without this header any coding of the content would be acceptable (RFC 9110, section 12.5.3).
fn as_it_is() -> HeaderMap {
    let identity = http::HeaderValue::from_static("identity");
    HeaderMap::from_iter([(ACCEPT_ENCODING, identity)])
}

/// Undoes the codings of an answer.
pub(super) fn decoder(response: &Response, url: &str) -> Result<Decoder, RegistryError> {
    Decoder::from_headers(response.headers()).map_err(|coding| RegistryError::UnknownCoding {
        url: url.to_owned(),
        coding: coding.chars().take(DETAIL_MAX).collect(),
    })
}

fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// The wait the registry asks for; its form with a date is as good as none.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

fn redirect(response: &Response) -> Option<String> {
    let status = response.status();
    let moved = matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let location = response.headers().get(LOCATION).filter(|_| moved)?;
    location.to_str().ok().map(str::to_owned)
}

/// A redirect may not lead from TLS into the clear, nor out of HTTP.
fn is_safe(from: &Url, to: &Url) -> bool {
    matches!(
        (from.scheme(), to.scheme()),
        ("http", "http" | "https") | ("https", "https")
    )
}

/// The value of `Authorization` that is sent to `url`.
pub(super) fn sensitive(value: &str, url: &str) -> Result<http::HeaderValue, RegistryError> {
    hosts::secret_header(value).ok_or_else(|| RegistryError::Token {
        url: url.to_owned(),
    })
}
