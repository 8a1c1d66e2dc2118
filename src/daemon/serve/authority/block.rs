//! Replaces `:authority` in a header block (HPACK, RFC 7541).
//!
//! The block is not decoded. Its representations are walked, and only an `:authority` other than `localhost` is
//! replaced. The replacement goes into no table. So the server's dynamic table lacks some of the client's entries,
//! and the client's indexes of older entries are renumbered:
//!
//! ```text
//!   client    62 :authority=/run/x   63 user-agent=a   64 :authority=/run/y   65 grpc-timeout=1S
//!   server            (h)            62 user-agent=a           (h)            63 grpc-timeout=1S
//! ```
//!
//! The server's table never has more entries than the client's, so it drops no entry to which the client still
//! refers.

/// The replacement of an authority: a literal that goes into no table, with the name of entry 1 and a host of one
/// letter.
const EXCHANGED: [u8; 3] = [1, 1, b'h'];

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

/// The known state of the client's dynamic table, with the newest entry in the lowest bit. A table of 4096 bytes, the
/// most that our server allows, has at most 128 entries.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Table {
    /// The entries that are named `:authority`.
    authorities: u128,
    /// The entries that the server's table does not have.
    missing: u128,
}

impl Table {
    fn add(&mut self, authority: bool, missing: bool) {
        self.authorities = self.authorities << 1 | u128::from(authority);
        self.missing = self.missing << 1 | u128::from(missing);
    }

    fn is_authority(self, index: usize) -> bool {
        match place(index) {
            None => index == AUTHORITY,
            Some(place) => self.authorities & place != 0,
        }
    }

    /// The server's index of an entry. Of an entry that it lacks only the name can be said, and the static table has
    /// it.
    fn at_server(self, index: usize) -> usize {
        match place(index) {
            Some(place) if self.missing & place != 0 => AUTHORITY,
            Some(place) => {
                let newer = self.missing & (place - 1);
                index - usize::try_from(newer.count_ones()).unwrap_or_default()
            }
            None => index,
        }
    }
}

/// The bit of an entry of the dynamic table; None for those of the static one, and for what is beyond both.
fn place(index: usize) -> Option<u128> {
    let place = index.checked_sub(STATIC + 1)?;
    1_u128.checked_shl(u32::try_from(place).ok()?)
}

/// A block with another authority.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rewritten {
    pub bytes: Vec<u8>,
    /// Whether the block had an authority other than `localhost`.
    pub other_authority: bool,
}

/// Replaces the authority in a complete block. `None` when the block is malformed: the server reports that.
pub(super) fn rewrite(block: &[u8], table: &mut Table) -> Option<Rewritten> {
    let mut input = Input(block);
    let mut out = Rewritten {
        bytes: Vec::with_capacity(block.len() + 2),
        other_authority: false,
    };
    while let Some(first) = input.0.first().copied() {
        let prefix = match first {
            INDEXED.. => 7,
            INCREMENTAL.. => 6,
            SIZE_UPDATE.. => 5,
            _ => 4,
        };
        let given = input.integer(prefix)?;
        let index = match prefix {
            5 => given,
            _ => table.at_server(given),
        };
        let strings = input.0;
        let mut other_authority = prefix == 7 && index == AUTHORITY;
        if prefix == 6 || prefix == 4 {
            let authority = match given {
                0 => matches!(input.string()?, (false, NAME) | (true, NAME_CODED)),
                _ => table.is_authority(given),
            };
            let value = input.string()?;
            other_authority = authority && !matches!(value, (false, LOCAL) | (true, LOCAL_CODED));
            if prefix == 6 {
                table.add(authority, other_authority);
            }
        }
        if other_authority {
            out.other_authority = true;
            out.bytes.extend(EXCHANGED);
            continue;
        }
        put_integer(&mut out.bytes, first, prefix, index);
        let length = strings.len() - input.0.len();
        out.bytes.extend(strings.get(..length)?);
    }
    Some(out)
}

/// Writes an integer behind the bits that a first byte has for something else (section 5.1).
fn put_integer(out: &mut Vec<u8>, first: u8, prefix: u32, value: usize) {
    let most = u8::MAX >> (8 - prefix);
    match u8::try_from(value) {
        Ok(value) if value < most => out.push(first & !most | value),
        _ => {
            out.push(first | most);
            let mut rest = value.saturating_sub(usize::from(most));
            while rest >= 0x80 {
                out.push(u8::try_from(rest & 0x7f).unwrap_or_default() | 0x80);
                rest >>= 7;
            }
            out.push(u8::try_from(rest).unwrap_or_default());
        }
    }
}

/// The bytes of a block that are not read yet.
struct Input<'b>(&'b [u8]);

impl<'b> Input<'b> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Reads an integer whose first byte has `prefix` bits for it (section 5.1). No valid integer here needs more
    /// than four further bytes.
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
        let cases: [(&str, &[u8], &[u8]); 14] = [
            ("a path, indexed", b"\x41\x0b/run/x.sock", b"\x01\x01h"),
            ("a path, not indexed", b"\x01\x0b/run/x.sock", b"\x01\x01h"),
            (
                "a path, never indexed",
                b"\x11\x0b/run/x.sock",
                b"\x01\x01h",
            ),
            ("percent signs", b"\x41\x0d%2Frun%2Fx.so", b"\x01\x01h"),
            ("a space and an underscore", b"\x41\x03a _", b"\x01\x01h"),
            // The Huffman code of "/run/x" by the Python package hpack 4.2.
            ("coded", b"\x41\x85\x62\xcb\x6a\x63\xcf", b"\x01\x01h"),
            ("empty, of the static table", b"\x81", b"\x01\x01h"),
            ("empty, indexed", b"\x41\x00", b"\x01\x01h"),
            ("empty, a literal", b"\x01\x00", b"\x01\x01h"),
            (
                "its name written out",
                b"\x40\x0a:authority\x02/x",
                b"\x01\x01h",
            ),
            (
                "its name coded",
                b"\x40\x88\xb8\x3b\x53\x39\xec\x32\x7d\x7f\x02/x",
                b"\x01\x01h",
            ),
            ("longer than a prefix", &long, b"\x01\x01h"),
            ("bytes of no text", b"\x41\x02\xff\xfe", b"\x01\x01h"),
            ("another host", b"\x41\x06node:1", b"\x01\x01h"),
        ];
        for (what, authority, wanted) in cases {
            let given = block(&[METHOD, PATH, authority, b"\x00\x01a\x01b"]);
            let rewritten = rewrite(&given, &mut Table::default()).unwrap();
            let wanted = block(&[METHOD, PATH, wanted, b"\x00\x01a\x01b"]);
            assert_eq!(rewritten.bytes, wanted, "{what}");
            assert!(rewritten.other_authority, "{what}");
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
            let rewritten = rewrite(given, &mut Table::default()).unwrap();
            assert_eq!(
                (rewritten.bytes.as_slice(), rewritten.other_authority),
                (given, false),
                "{what}"
            );
        }
    }

    /// What the client refers to later is what it meant, though the server's table has none of the exchanged entries.
    #[test]
    fn entries_of_the_dynamic_table_are_followed() {
        let mut table = Table::default();
        // The client's table: 62 a=b, 63 :authority. The server's: 62 a=b.
        // Then the new authority is 62, a=b 63 and 62, the first authority 64.
        let blocks: [(&[u8], &[u8]); 7] = [
            (b"\x41\x02/x\x40\x01a\x01b", b"\x01\x01h\x40\x01a\x01b"),
            (b"\xbe\xbf\x7f\x00\x02/y", b"\xbe\x01\x01h\x01\x01h"),
            (
                b"\xbf\x0f\x30\x02/y\x0f\x31\x02/z\x7e\x02/z",
                b"\xbe\x0f\x2f\x02/y\x01\x01h\x01\x01h",
            ),
            // An authority that may stay, by the name of one that the server lacks: a=b is 65 now, and 63 there.
            (b"\x7e\x09localhost\xc1\xbe", b"\x41\x09localhost\xbf\xbe"),
            // More of the name of a: c is 62 at both ends, the localhost 63 at both, a 66 and 64.
            (b"\x7f\x02\x01c\xbe\xbf\xc2", b"\x7f\x00\x01c\xbe\xbf\xc0"),
            (b"\x20\x3f\xe1\x1f\xbe", b"\x20\x3f\xe1\x1f\xbe"),
            // Entries beyond the table's end do not exist.
            (b"\x0f\xaf\x02\x02/y", b"\x0f\xaf\x02\x02/y"),
        ];
        for (given, wanted) in blocks {
            let rewritten = rewrite(given, &mut table).unwrap();
            assert_eq!(rewritten.bytes, wanted, "{given:x?}");
        }
    }

    /// The server's table holds what the client's holds, however full it is: an empty authority with its name takes 42
    /// bytes of the 4096 (section 4.1), and the field after it the other 4054.
    #[test]
    fn a_full_table_keeps_the_fields_that_the_client_refers_to() {
        let mut fill = b"\x41\x00\x40\x01a\x7f\xb6\x1e".to_vec();
        fill.resize(fill.len() + 4021, b'b');
        let mut table = Table::default();
        let filled = rewrite(&fill, &mut table).unwrap();
        assert_eq!(filled.bytes[..3], EXCHANGED);
        assert_eq!(filled.bytes[3..], fill[2..]);
        // 62 is the field, 63 the authority.
        assert_eq!(
            rewrite(b"\xbf\xbe", &mut table).unwrap().bytes,
            b"\x01\x01h\xbe"
        );
        // Of 128 entries the oldest is 189, and 62 at the server when all others are authorities.
        let mut table = Table::default();
        rewrite(b"\x40\x00\x00", &mut table).unwrap();
        rewrite(&b"\x41\x00".repeat(127), &mut table).unwrap();
        assert_eq!(rewrite(b"\xff\x3e", &mut table).unwrap().bytes, b"\xbe");
    }

    /// RFC 7541, section 5.1 and its examples in C.1.
    #[test]
    fn integers_are_written_as_they_are_read() {
        for (value, prefix, wanted) in [
            (10, 5, &b"\xea"[..]),
            (1337, 5, b"\xff\x9a\x0a"),
            (42, 7, b"\xaa"),
            (62, 6, b"\xfe"),
            (63, 6, b"\xff\x00"),
            (126, 7, b"\xfe"),
            (127, 7, b"\xff\x00"),
            (254, 7, b"\xff\x7f"),
            (255, 7, b"\xff\x80\x01"),
            (15, 4, b"\xff\x00"),
        ] {
            let mut out = Vec::new();
            let bits = 0xff_u8 << prefix;
            put_integer(&mut out, bits, prefix, value);
            assert_eq!(out, wanted, "{value} in {prefix} bits");
            assert_eq!(Input(&out).integer(prefix), Some(value));
        }
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
            assert_eq!(rewrite(given, &mut Table::default()), None, "{what}");
        }
    }
}
