//! Basic and bearer authentication (distribution specification, "Token Authentication").

use super::ask::Ask;
use super::challenge::{Challenge, error_detail};
use super::client::{Client, sensitive};
use super::error::RegistryError;
use super::hosts::Scheme;
use crate::credentials::Secret;
use base64::Engine as _;
use holdfast_disk::json_text;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use reqwest::Url;
use serde::Deserialize;
use std::time::Duration;

/// The lifetime of a token that does not tell its own (distribution specification).
const TOKEN_LIFETIME: u64 = 60;
/// The largest answer of a token service, in bytes.
const TOKEN_ANSWER_MAX: usize = 1 << 20;

/// The answer of a token service. A lifetime that is not a number of seconds does not cost the token.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    #[serde(default)]
    expires_in: serde_json::Value,
}

/// The token of an answer, and how long it is good for, in seconds.
fn token(body: &[u8]) -> Option<(String, u64)> {
    let answer: TokenAnswer = serde_json::from_str(&json_text(body)).ok()?;
    let lifetime = answer.expires_in.as_u64().unwrap_or_default();
    let tokens = [answer.token, answer.access_token];
    let token = tokens
        .into_iter()
        .flatten()
        .find(|token| !token.is_empty())?;
    Some((token, lifetime.max(TOKEN_LIFETIME)))
}

impl Client {
    /// The `Authorization` that answers a challenge, `None` when we have no answer.
    pub(super) async fn answer(
        &self,
        ask: &Ask<'_>,
        challenges: &[Challenge],
        url: &str,
    ) -> Result<Option<String>, RegistryError> {
        let find = |scheme| challenges.iter().find(|c| c.scheme == scheme);
        match (ask.secret, find("bearer"), find("basic")) {
            // The caller's token was sent already.
            (Some(Secret::Registry(_)), _, _) => Ok(None),
            (_, Some(bearer), _) => self.token(ask, bearer, url).await.map(Some),
            (Some(Secret::Password { username, password }), None, Some(_)) => {
                let header = basic(username, password);
                self.tokens
                    .remember(ask, &header, Duration::from_secs(TOKEN_LIFETIME));
                Ok(Some(header))
            }
            _ => Ok(None),
        }
    }

    async fn token(
        &self,
        ask: &Ask<'_>,
        bearer: &Challenge,
        url: &str,
    ) -> Result<String, RegistryError> {
        let unusable = |what| RegistryError::Answer {
            url: url.to_owned(),
            what,
        };
        let realm = bearer
            .parameters
            .get("realm")
            .ok_or(unusable("a challenge without realm"))?;
        let mut realm =
            Url::parse(realm).map_err(|_| unusable("a challenge whose realm is no URL"))?;
        let clear = realm.scheme() == "http" && ask.endpoint.scheme == Scheme::Http;
        if realm.scheme() != "https" && !clear {
            return Err(unusable(
                "a challenge whose token service is not behind TLS",
            ));
        }
        let scope = match bearer.parameters.get("scope") {
            Some(scope) => scope.clone(),
            None => format!("repository:{}:pull", ask.repository),
        };
        let service = bearer
            .parameters
            .get("service")
            .cloned()
            .unwrap_or_default();
        let client =
            self.for_token_service(ask, &realm)
                .map_err(|source| RegistryError::Client {
                    url: url.to_owned(),
                    source,
                })?;
        let request = match ask.secret {
            Some(Secret::Identity(token)) => {
                let form = [
                    ("grant_type", "refresh_token"),
                    ("service", &service),
                    ("client_id", "holdfast"),
                    ("scope", &scope),
                    ("refresh_token", token),
                ];
                let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
                client
                    .post(realm.clone())
                    .header(CONTENT_TYPE, form_type)
                    .body(encode_form(&form))
            }
            secret => {
                if !service.is_empty() {
                    realm.query_pairs_mut().append_pair("service", &service);
                }
                realm.query_pairs_mut().append_pair("scope", &scope);
                let request = client.get(realm.clone());
                match secret {
                    Some(Secret::Password { username, password }) => {
                        request.header(AUTHORIZATION, sensitive(&basic(username, password), url)?)
                    }
                    _ => request,
                }
            }
        };
        self.fetch_token(ask, request, &realm).await
    }

    async fn fetch_token(
        &self,
        ask: &Ask<'_>,
        request: reqwest::RequestBuilder,
        realm: &Url,
    ) -> Result<String, RegistryError> {
        let url = format!("{}{}", realm.origin().ascii_serialization(), realm.path());
        let response = self.within_stall(request.send(), &url).await?;
        let status = response.status();
        let body = self.collect(response, &url, TOKEN_ANSWER_MAX).await?;
        if matches!(
            status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST
        ) {
            return Err(RegistryError::Unauthorized {
                url,
                detail: error_detail(&body),
            });
        }
        if !status.is_success() {
            return Err(RegistryError::Status {
                url,
                status,
                detail: error_detail(&body),
            });
        }
        let (token, lifetime) = token(&body).ok_or(RegistryError::Answer {
            url,
            what: "no token in the token service's answer",
        })?;
        let header = format!("Bearer {token}");
        self.tokens
            .remember(ask, &header, Duration::from_secs(lifetime));
        Ok(header)
    }

    /// The client for a token service: the registry's own settings where it is the registry itself.
    fn for_token_service(&self, ask: &Ask<'_>, realm: &Url) -> reqwest::Result<reqwest::Client> {
        let mut endpoint = ask.endpoint.clone();
        endpoint.scheme = if realm.scheme() == "https" {
            Scheme::Https
        } else {
            Scheme::Http
        };
        self.for_endpoint(&endpoint)
    }
}

fn basic(username: &str, password: &str) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
    format!("Basic {text}")
}

fn encode_form(pairs: &[(&str, &str)]) -> String {
    // The URL crate's query encoding is exactly the form encoding.
    let Ok(mut url) = Url::parse("http://form/") else {
        return String::new();
    };
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
