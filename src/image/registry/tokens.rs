//! The tokens that registries gave, as long as they are good.

use super::ask::Ask;
use crate::credentials::Secret;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long before its end a token is no longer used, so that it does not expire under way.
const TOKEN_MARGIN: Duration = Duration::from_secs(10);
/// The most tokens kept.
const TOKENS_MAX: usize = 256;

/// The scope of a token: host, repository, and the caller that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TokenKey {
    authority: String,
    repository: String,
    fingerprint: Option<[u8; 32]>,
}

/// Tokens in use; never written anywhere.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<TokenKey, (String, Instant)>>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(…)")
    }
}

impl Tokens {
    /// The `Authorization` to begin with: a token that is still good, or the caller's own.
    pub(super) fn cached_token(&self, ask: &Ask<'_>) -> Option<String> {
        if let Some(Secret::Registry(token)) = ask.secret {
            return Some(format!("Bearer {token}"));
        }
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens
            .get(&key(ask))
            .filter(|(_, end)| *end > Instant::now())
            .map(|(header, _)| header.clone())
    }

    /// Keeps a token until shortly before it expires.
    pub(super) fn remember(&self, ask: &Ask<'_>, header: &str, lifetime: Duration) {
        let now = Instant::now();
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= TOKENS_MAX {
            tokens.retain(|_, (_, end)| *end > now);
        }
        if tokens.len() < TOKENS_MAX {
            tokens.insert(
                key(ask),
                (
                    header.to_owned(),
                    now + lifetime.saturating_sub(TOKEN_MARGIN),
                ),
            );
        }
    }
}

fn key(ask: &Ask<'_>) -> TokenKey {
    TokenKey {
        authority: ask.endpoint.authority.clone(),
        repository: ask.repository.to_owned(),
        fingerprint: ask.fingerprint,
    }
}
