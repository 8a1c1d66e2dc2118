//! Reads the refusals of a registry: challenges, and the text of its errors.

use holdfast_disk::json_text;
use http::HeaderValue;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The longest text of a registry repeated in an error, in characters.
const DETAIL_MAX: usize = 200;

/// A challenge of a `WWW-Authenticate` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// The scheme in lower case.
    pub scheme: String,
    /// Names in lower case.
    pub parameters: BTreeMap<String, String>,
}

/// The text in a registry's error answer, shortened and free of control characters.
pub(super) fn error_detail(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<ErrorEntry>,
    }
    #[derive(Deserialize)]
    struct ErrorEntry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(Errors { errors }) = serde_json::from_str(&json_text(body)) else {
        return String::new();
    };
    let Some(ErrorEntry { code, message }) = errors.into_iter().next() else {
        return String::new();
    };
    let text = if message.is_empty() { code } else { message };
    text.chars()
        .filter(|c| !c.is_control())
        .take(DETAIL_MAX)
        .collect()
}

/// All challenges of an answer; what cannot be parsed is left out.
pub(super) fn parse<'a>(headers: impl IntoIterator<Item = &'a HeaderValue>) -> Vec<Challenge> {
    headers
        .into_iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(parse_one)
        .collect()
}

/// Parses one header, which may hold several challenges (RFC 9110, section 11.6.1).
fn parse_one(text: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find([' ', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after = after.trim_start();
        if let Some(value) = after.strip_prefix('=') {
            let (value, remaining) = parse_value(value.trim_start());
            if let Some(challenge) = challenges.last_mut() {
                challenge
                    .parameters
                    .insert(word.to_ascii_lowercase(), value);
            }
            rest = remaining;
        } else {
            if !word.is_empty() {
                challenges.push(Challenge {
                    scheme: word.to_ascii_lowercase(),
                    parameters: BTreeMap::new(),
                });
            }
            rest = after;
        }
        rest = rest.trim_start_matches([',', ' ', '\t']);
    }
    challenges
}

/// A token or a quoted string, and what follows it.
fn parse_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    (value, "")
}
