//! Tokens of streams that were requested and have no client yet.
//!
//! A token has 256 random bits and is valid once, within a minute. A client needs nothing but the token, so that a
//! token must not be guessable and is never logged.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::pod::Streams;
use holdfast_kernel::id::{ContainerId, IdError, PodId, StreamToken};

/// How long a token is good.
pub(super) const LIFETIME: Duration = Duration::from_secs(60);

/// Most tokens at once.
pub(crate) const MOST_PENDING: usize = 1000;

/// The exec, attach or port-forward that a token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Run a command in a container.
    Exec {
        container: ContainerId,
        command: Vec<String>,
        streams: Streams,
    },
    /// Attach to a container.
    Attach {
        container: ContainerId,
        streams: Streams,
    },
    /// Connect to ports of a pod.
    PortForward {
        pod: PodId,
        /// The ports, for clients that do not name them per stream.
        ports: Vec<u16>,
    },
}

impl Purpose {
    /// The first part of the path.
    pub(crate) fn path(&self) -> &'static str {
        match self {
            Self::Exec { .. } => "exec",
            Self::Attach { .. } => "attach",
            Self::PortForward { .. } => "portforward",
        }
    }
}

/// Why no stream can be asked for.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Too many were asked for and not connected to.
    #[error(
        "{MOST_PENDING} requested streams have no client yet; connect to them, or try again in a minute"
    )]
    Pending,
    /// No token could be made.
    #[error("cannot make a token")]
    Random(#[from] IdError),
}

/// The tokens that are good.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<HashMap<String, (Instant, Purpose)>>);

impl Tokens {
    fn pending(&self) -> MutexGuard<'_, HashMap<String, (Instant, Purpose)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws a token that cannot be guessed.
    ///
    /// # Errors
    /// Too many are pending.
    pub(super) fn insert(&self, purpose: Purpose, now: Instant) -> Result<String, TokenError> {
        let token = StreamToken::random()?.to_string();
        let mut all = self.pending();
        if all.len() >= MOST_PENDING {
            all.retain(|_, (since, _)| now.duration_since(*since) < LIFETIME);
        }
        if all.len() >= MOST_PENDING {
            return Err(TokenError::Pending);
        }
        all.insert(token.clone(), (now, purpose));
        Ok(token)
    }

    /// Takes what a token allows. The token cannot be used again.
    pub(super) fn take(&self, token: &str, now: Instant) -> Option<Purpose> {
        let (since, purpose) = self.pending().remove(token)?;
        (now.duration_since(since) < LIFETIME).then_some(purpose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purpose() -> Purpose {
        Purpose::PortForward {
            pod: PodId::random().unwrap(),
            ports: vec![80],
        }
    }

    #[test]
    fn a_token_is_good_once() {
        let (tokens, now) = (Tokens::default(), Instant::now());
        let wanted = purpose();
        let token = tokens.insert(wanted.clone(), now).unwrap();
        assert_eq!(token.len(), 64);
        assert_eq!(tokens.take(&token, now), Some(wanted));
        assert_eq!(tokens.take(&token, now), None);
        assert_eq!(tokens.take("", now), None);
    }

    #[test]
    fn a_token_is_good_for_a_minute() {
        let (tokens, now) = (Tokens::default(), Instant::now());
        let token = tokens.insert(purpose(), now).unwrap();
        assert_eq!(tokens.take(&token, now + LIFETIME), None);
    }

    #[test]
    fn a_thousand_may_wait_and_old_ones_make_room() {
        let (tokens, now) = (Tokens::default(), Instant::now());
        for _ in 0..MOST_PENDING {
            tokens.insert(purpose(), now).unwrap();
        }
        let refused = tokens.insert(purpose(), now + LIFETIME / 2).unwrap_err();
        assert!(matches!(refused, TokenError::Pending), "{refused}");
        tokens.insert(purpose(), now + LIFETIME).unwrap();
        assert_eq!(tokens.pending().len(), 1);
    }
}
