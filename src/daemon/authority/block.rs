//! A header block (HPACK, RFC 7541) with another value for `:authority`.
//!
//! The block is not decoded: its representations are walked over, and only the value of `:authority` is exchanged,
//! in the same kind of representation. So both ends go on counting the same entries of the dynamic table. An entry
//! whose value became shorter takes less room at the server than the client believes, which makes the server keep
//! entries longer than the client refers to them, and never shorter.

/// The value that `:authority` gets. One letter is not longer than any value but the empty one, which clients send
/// as entry 1 of the static table and never put into the dynamic one.
const VALUE: u8 = b'h';

/// `:authority` as it is and in the Huffman code.
const NAME: &[u8] = b":authority";
const NAME_CODED: &[u8] = b"\xb8\x3b\x53\x39\xec\x32\x7d\x7f";

/// `localhost` as it is and in the Huffman code: what most clients send.
const LOCAL: &[u8] = b"localhost";
const LOCAL_CODED: &[u8] = b"\xa0\xe4\x1d\x13\x9d\x09";

/// Entry of `:authority` in the static table, and the number of that table's entries.
const AUTHORITY: usize = 1;
const STATIC: usize = 61;

/// The bits of a representation's first byte (section 6) and of a string's (section 5.2).
const INDEXED: u8 = 0x80;
const INCREMENTAL: u8 = 0x40;
const SIZE_UPDATE: u8 = 0x20;
const CODED: u8 = 0x80;

/// Which entries of the client's dynamic table are named `:authority`, the newest in the lowest bit. A table of 4096
/// bytes, the most that our server allows, has at most 128 entries.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Names(u128);

impl Names {
    fn add(&mut self, authority: bool) {
        self.0 = self.0 << 1 | u128::from(authority);
    }

    fn is_authority(self, index: usize) -> bool {
        match index.checked_sub(STATIC + 1) {
            None => index == AUTHORITY,
            Some(place) => place < 128 && self.0 >> place & 1 == 1,
        }
    }
}

/// A block with another authority.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// The block.
    pub bytes: Vec<u8>,
    /// Whether an authority stood in it that is not `localhost`.
    pub odd: bool,
}

/// Exchanges the authority in a whole block. None when it is no header block: the server says so better.
pub fn rewrite(block: &[u8], names: &mut Names) -> Option<Rewritten> {
    let mut input = Input(block);
    let mut out = Rewritten {
        bytes: Vec::with_capacity(block.len() + 2),
        odd: false,
    };
    while let Some(first) = input.0.first().copied() {
        let start = input.0;
        let prefix = match first {
            INDEXED.. => 7,
            INCREMENTAL.. => 6,
            SIZE_UPDATE.. => 5,
            _ => 4,
        };
        let index = input.integer(prefix)?;
        match prefix {
            7 if index == AUTHORITY => {
                out.odd = true;
                // A literal that goes into no table, with the name of entry 1.
                out.bytes.extend([1, 1, VALUE]);
                continue;
            }
            5 | 7 => {}
            _ => {
                let authority = match index {
                    0 => matches!(input.string()?, (false, NAME) | (true, NAME_CODED)),
                    _ => names.is_authority(index),
                };
                let name = start.len() - input.0.len();
                let value = input.string()?;
                if prefix == 6 {
                    names.add(authority);
                }
                if authority && !matches!(value, (false, LOCAL) | (true, LOCAL_CODED)) {
                    out.odd = true;
                    out.bytes.extend(start.get(..name)?);
                    out.bytes.extend([1, VALUE]);
                    continue;
                }
            }
        }
        let length = start.len() - input.0.len();
        out.bytes.extend(start.get(..length)?);
    }
    Some(out)
}

/// What is left of a block.
struct Input<'b>(&'b [u8]);

impl<'b> Input<'b> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// An integer whose first byte has so many bits for it (section 5.1). None is as large as four more bytes make it.
    fn integer(&mut self, prefix: u32) -> Option<usize> {
        let most = (1_usize << prefix) - 1;
        let first = usize::from(self.byte()?) & most;
        if first < most {
            return Some(first);
        }
        let mut value = most;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A string: whether it is in the Huffman code, and its bytes.
    fn string(&mut self) -> Option<(bool, &'b [u8])> {
        let coded = self.0.first()? & CODED != 0;
        let length = self.integer(7)?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some((coded, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of a block, one after the other.
    fn block(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    /// :method POST and :scheme http of the static table, and :path as a literal.
    const METHOD: &[u8] = b"\x83\x86";
    const PATH: &[u8] = b"\x44\x02/x";

    /// RFC 7541: the representations of section 6, the strings of section 5.2, the integers of section 5.1.
    #[test]
    fn an_authority_is_exchanged_in_every_representation() {
        let long = [b"\x41\x7f\x81\x01".as_slice(), &[b'a'; 256]].concat();
        let cases: [(&str, &[u8], &[u8]); 13] = [
            ("a path, indexed", b"\x41\x0b/run/x.sock", b"\x41\x01h"),
            ("a path, not indexed", b"\x01\x0b/run/x.sock", b"\x01\x01h"),
            (
                "a path, never indexed",
                b"\x11\x0b/run/x.sock",
                b"\x11\x01h",
            ),
            ("percent signs", b"\x41\x0d%2Frun%2Fx.so", b"\x41\x01h"),
            ("a space and an underscore", b"\x41\x03a _", b"\x41\x01h"),
            // The Huffman code of "/run/x" by the Python package hpack 4.2.
            ("coded", b"\x41\x85\x62\xcb\x6a\x63\xcf", b"\x41\x01h"),
            ("empty, of the static table", b"\x81", b"\x01\x01h"),
            ("empty, a literal", b"\x01\x00", b"\x01\x01h"),
            (
                "its name written out",
                b"\x40\x0a:authority\x02/x",
                b"\x40\x0a:authority\x01h",
            ),
            (
                "its name coded",
                b"\x40\x88\xb8\x3b\x53\x39\xec\x32\x7d\x7f\x02/x",
                b"\x40\x88\xb8\x3b\x53\x39\xec\x32\x7d\x7f\x01h",
            ),
            ("longer than a prefix", &long, b"\x41\x01h"),
            ("bytes of no text", b"\x41\x02\xff\xfe", b"\x41\x01h"),
            ("another host", b"\x41\x06node:1", b"\x41\x01h"),
        ];
        for (what, authority, wanted) in cases {
            let given = block(&[METHOD, PATH, authority, b"\x00\x01a\x01b"]);
            let rewritten = rewrite(&given, &mut Names::default()).unwrap();
            let wanted = block(&[METHOD, PATH, wanted, b"\x00\x01a\x01b"]);
            assert_eq!(rewritten.bytes, wanted, "{what}");
            assert!(rewritten.odd, "{what}");
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        let cases: [(&str, &[u8]); 8] = [
            ("nothing", b""),
            ("no authority", b"\x83\x86\x44\x02/x"),
            ("localhost", b"\x83\x41\x09localhost"),
            ("localhost, coded", b"\x83\x41\x86\xa0\xe4\x1d\x13\x9d\x09"),
            ("the word as a value", b"\x40\x01a\x0a:authority"),
            ("another name of that length", b"\x40\x0a:authoritx\x01a"),
            ("a smaller table first", b"\x20\x3f\xe1\x1f\x83"),
            ("an entry of the dynamic table", b"\xbe\x7e\x01a"),
        ];
        for (what, given) in cases {
            let rewritten = rewrite(given, &mut Names::default()).unwrap();
            assert_eq!(
                (rewritten.bytes.as_slice(), rewritten.odd),
                (given, false),
                "{what}"
            );
        }
    }

    /// What the client refers to later is what it meant: the entry with the other value, and new values for the
    /// name of an entry.
    #[test]
    fn names_of_the_dynamic_table_are_followed() {
        let mut names = Names::default();
        let first = rewrite(b"\x41\x02/x\x40\x01a\x01b", &mut names).unwrap();
        assert_eq!(first.bytes, b"\x41\x01h\x40\x01a\x01b");
        // 62 is the field a, 63 the authority.
        let second = rewrite(b"\xbe\xbf\x7f\x00\x02/y", &mut names).unwrap();
        assert_eq!(second.bytes, b"\xbe\xbf\x7f\x00\x01h");
        // The new authority is 62 now, a is 63 and the first authority 64.
        let third = rewrite(b"\x0f\x30\x02/y\x0f\x31\x02/z\x7e\x02/z", &mut names).unwrap();
        assert_eq!(third.bytes, b"\x0f\x30\x02/y\x0f\x31\x01h\x7e\x01h");
        // Entries beyond the table's end are nobody's.
        let fourth = rewrite(b"\x0f\xaf\x02\x02/y", &mut names).unwrap();
        assert_eq!(fourth.bytes, b"\x0f\xaf\x02\x02/y");
    }

    #[test]
    fn what_is_no_block_is_left_to_the_server() {
        let cases: [(&str, &[u8]); 6] = [
            ("a string that ends early", b"\x41\x0b/run"),
            ("no value", b"\x41"),
            ("an integer that ends early", b"\x7f"),
            (
                "an integer that does not end",
                b"\x7f\xff\xff\xff\xff\xff\xff",
            ),
            (
                "a length that does not end",
                b"\x41\x7f\xff\xff\xff\xff\x01",
            ),
            ("a name that ends early", b"\x40\x0a:auth"),
        ];
        for (what, given) in cases {
            assert_eq!(rewrite(given, &mut Names::default()), None, "{what}");
        }
    }
}
