//! JSON of other programs: files that people and tools wrote, and what plugins answer.

use std::borrow::Cow;

/// A JSON text in which everything is Unicode, as readers in Go take it (`encoding/json` of Go 1.26): each byte of a text
/// that is no UTF-8, and each half of a surrogate pair without its other half, is U+FFFD. Writers leave the first in
/// comments in Latin-1, and the second where they wrote bytes that are not text (Python's `surrogateescape`).
pub fn json_text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return without_lone_surrogates(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(without_lone_surrogates(&text).into_owned())
}

/// Replaces the halves of surrogate pairs that have no other half.
fn without_lone_surrogates(text: &str) -> Cow<'_, str> {
    let unit = |at: usize| -> Option<u16> {
        let digits = text.get(at..)?.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut fixed = String::new();
    let (mut done, mut at) = (0, 0);
    while let Some(found) = text[at..].find('\\') {
        at += found;
        at += match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                fixed.push_str(&text[done..at]);
                fixed.push_str("\\ufffd");
                done = at + 6;
                6
            }
            (Some(_), _) => 6,
            // The character that follows, of whatever length, is not the beginning of an escape.
            (None, _) => 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
        };
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    fixed.push_str(&text[done..]);
    Cow::Owned(fixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What json.Unmarshal of Go 1.26 reads of the same bytes.
    #[test]
    fn what_is_no_unicode_is_replaced_as_in_go() {
        for (text, value) in [
            (&b"\"plain\""[..], "plain"),
            ("\"\u{e9}\u{1f600}\"".as_bytes(), "\u{e9}\u{1f600}"),
            (b"\"a\xffb\"", "a\u{fffd}b"),
            (b"\"r\xe9seau\"", "r\u{fffd}seau"),
            // Go takes one byte at a time, also of a character that is cut, or of a surrogate in UTF-8.
            (b"\"\xe2\x82x\"", "\u{fffd}\u{fffd}x"),
            (b"\"\xed\xa0\x80\"", "\u{fffd}\u{fffd}\u{fffd}"),
            (br#""\udc80x""#, "\u{fffd}x"),
            (br#""\ud83d""#, "\u{fffd}"),
            (br#""\ud83d\u0041""#, "\u{fffd}A"),
            (br#""\ud83d\ude00""#, "\u{1f600}"),
            (br#""\uD83D\uDE00""#, "\u{1f600}"),
            (br#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (br#""\\ud83d""#, "\\ud83d"),
            (br#""\\\udc80""#, "\\\u{fffd}"),
            (b"\"\\\xff\"", "refused"),
        ] {
            let read: Result<String, _> = serde_json::from_str(&json_text(text));
            match read {
                Ok(read) => assert_eq!(read, value, "{text:?}"),
                Err(error) => assert_eq!(value, "refused", "{text:?}: {error}"),
            }
        }
        let plain = json_text(br#"{"a":"\u00e9"}"#);
        assert!(matches!(plain, Cow::Borrowed(_)), "nothing is copied");
    }
}
