use std::collections::BTreeMap;

use serde::Deserialize;

use super::from_str;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sample {
    text: String,
    number: i64,
    small: Option<u32>,
    flag: bool,
    list: Vec<Option<String>>,
    map: BTreeMap<String, String>,
    inner: Option<Box<Self>>,
}

fn read(text: &str) -> Result<Sample, String> {
    from_str(text).map_err(|error| error.to_string())
}

/// Every value is what `yaml.Decoder` of go.yaml.in/yaml/v3 3.0.5 makes of it for an int64 field; none is an error
/// there. `e2e/tools/cdi-oracle` prints it for whole files.
#[test]
fn numbers_are_those_of_the_reference() {
    for (text, wanted) in [
        ("0640", Some(0o640)),
        ("0o640", Some(0o640)),
        ("00640", Some(0o640)),
        ("-0640", Some(-0o640)),
        ("+12", Some(12)),
        ("0x1B0", Some(0x1b0)),
        ("0b110", Some(6)),
        ("1_000", Some(1000)),
        ("0_640", Some(0o640)),
        ("416.0", Some(416)),
        ("4e2", Some(400)),
        // No octal number: read as a float then.
        ("0888", Some(888)),
        ("9223372036854775807", Some(i64::MAX)),
        ("9223372036854775808", None),
        ("~", Some(0)),
        ("!!int 0640", Some(0o640)),
        ("!!int \"0640\"", Some(0o640)),
        ("\"0640\"", None),
        ("'416'", None),
        ("!!str 416", None),
        // Cut off, not rounded (decode.go, float64 of the integer kinds).
        ("416.5", Some(416)),
        ("1.5", Some(1)),
        ("-1.9", Some(-1)),
        ("0.9e1", Some(9)),
        ("1e30", None),
        ("yes", None),
        ("1:30", None),
        ("0x", None),
        ("0o9", None),
        (".inf", None),
        ("2024-01-02", None),
        ("[1]", None),
        ("{}", None),
    ] {
        let found = read(&format!("number: {text}"));
        assert_eq!(
            found.as_ref().ok().map(|one| one.number),
            wanted,
            "{text}: {found:?}"
        );
    }
    assert_eq!(read("small: 4294967295").unwrap().small, Some(u32::MAX));
    assert_eq!(read("small: null").unwrap().small, None);
    for text in ["4294967296", "-1"] {
        assert!(read(&format!("small: {text}")).is_err(), "{text}");
    }
}

/// Where a text is wanted, a scalar is its own letters, whatever else they could mean.
#[test]
fn texts_and_booleans_are_those_of_the_reference() {
    for (text, wanted) in [
        ("0", "0"),
        ("007", "007"),
        ("1.10", "1.10"),
        ("yes", "yes"),
        ("true", "true"),
        ("2024-01-02", "2024-01-02"),
        ("!!str 0640", "0640"),
        ("!vendor x", "x"),
        ("!!binary Q0RJPTE=", "CDI=1"),
        ("!!binary \"Q0RJPTE=\"", "CDI=1"),
        ("!!binary |\n  Q0RJ\n  PTE=\n", "CDI=1"),
        ("!!binary ''", ""),
        // Go's StdEncoding takes bits that are left over.
        ("!!binary QR==", "A"),
        ("'a''b'", "a'b"),
        ("\"a\\tb\"", "a\tb"),
        ("~", ""),
        ("\"~\"", "~"),
        ("", ""),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        (">-\n  two\n  lines", "two lines"),
    ] {
        assert_eq!(
            read(&format!("text: {text}")).unwrap().text,
            wanted,
            "{text}"
        );
    }
    for (text, wanted) in [
        ("true", Some(true)),
        ("False", Some(false)),
        ("yes", Some(true)),
        ("off", Some(false)),
        ("Y", Some(true)),
        // Quoted words count too; other letters do not.
        ("\"on\"", Some(true)),
        ("tRUE", None),
        ("1", None),
    ] {
        let found = read(&format!("flag: {text}"));
        assert_eq!(found.ok().map(|one| one.flag), wanted, "{text}");
    }
}

#[test]
fn anchors_merge_keys_and_documents_are_read() {
    let text = "
inner: &base {text: below, number: 0640, list: [a, ~, 0]}
text: own
<<: *base
map: {one: 1, \"two\": yes}
---
what: stands here, nobody reads
";
    let found = read(text).unwrap();
    assert_eq!((found.text.as_str(), found.number), ("own", 0o640));
    let list = [Some("a".to_owned()), None, Some("0".to_owned())];
    assert_eq!(found.list, list);
    assert_eq!(found.map["two"], "yes");
    let first_wins = read("<<: [{text: first}, {text: second, number: 2}]").unwrap();
    assert_eq!((first_wins.text.as_str(), first_wins.number), ("first", 2));
    let json = "\u{feff}{\"text\": \"a\\/b\",\n\t\"number\": 5, \"flag\": false, \"list\": null}";
    assert_eq!(read(json).unwrap().text, "a/b");
}

#[test]
fn mistakes_are_named_with_line_and_place() {
    for (text, words) in [
        (
            "number: 1\nnumber: 2",
            &["line 2", "\"number\"", "twice"][..],
        ),
        ("number: 1\nother: 2", &["line 2", "other"]),
        (
            "text: a\ninner:\n  inner:\n    number: x",
            &["line 4", "inner.inner.number", "\"x\""],
        ),
        ("list:\n- a\n- [b]", &["line 3", "list[1]", "a list"]),
        ("list: x", &["line 1", "list", "a list"]),
        ("text: [a", &["line"]),
        ("inner: &a {inner: *a}", &["line 1", "contains itself"]),
        ("text: *none", &["line 1"]),
        ("<<: text", &["line 1", "merges"]),
        ("? [a]\n: b", &["line 1", "key"]),
        ("number: !!int abc", &["line 1", "abc", "int"]),
        ("text: !!binary Q0RJ*", &["line 1", "text", "base64"]),
        ("text: !!binary Q0RJPTE", &["line 1", "base64"]),
        ("text: !!binary /w==", &["line 1", "UTF-8"]),
        ("", &["no document"]),
        ("# only a word\n", &["no document"]),
    ] {
        let error = read(text).unwrap_err();
        for word in words {
            assert!(error.contains(word), "{text:?}: {error}");
        }
    }
    assert!(read(&"[".repeat(100_000)).is_err());
    let mut text = "map: &m0 {k: v}\n".to_owned();
    for number in 1..400 {
        text += &format!(
            "m{number}: &m{number} {{<<: *m{}, k{number}: v}}\n",
            number - 1
        );
    }
    assert!(read(&text).is_err(), "unknown keys");
}
