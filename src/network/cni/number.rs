//! Numbers of a configuration as plugins read them.
//!
//! libcni reads each plugin's part into `map[string]any` and writes it again (libcni/conf.go, InjectConf), so a plugin
//! that wants a whole number gets one, however the file spells it: 1500 for `1500.0` and `15e2`.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

/// The text of a configuration, with fractions spelled as Go's encoding/json spells a float64. Whole numbers stay as they
/// are, also those beyond 2^53, which libcni would round.
pub(super) fn text(value: &Value) -> Vec<u8> {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, AsGo);
    match value.serialize(&mut serializer) {
        Ok(()) => text,
        Err(_) => value.to_string().into_bytes(),
    }
}

struct AsGo;

impl Formatter for AsGo {
    fn write_f64<W: Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let size = value.abs();
        if size == 0.0 || (1e-6..1e21).contains(&size) {
            return write!(writer, "{value}");
        }
        let text = format!("{value:e}");
        match text.contains("e-") {
            true => writer.write_all(text.as_bytes()),
            false => writer.write_all(text.replace('e', "e+").as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plugin bridge refused `"mtu": 1500.0` with "cannot unmarshal number 1500.0 into Go struct field". The right
    /// values are what Go 1.26 writes after it read the number into an `any`.
    #[test]
    fn numbers_are_spelled_as_go_spells_them() {
        for (read, written) in [
            ("1500", "1500"),
            ("1500.0", "1500"),
            ("15e2", "1500"),
            ("1.5E+3", "1500"),
            ("0.15e4", "1500"),
            ("100e-2", "1"),
            ("-2.0", "-2"),
            ("0.0", "0"),
            ("-0", "-0"),
            ("-0.0", "-0"),
            ("0.5", "0.5"),
            ("1e19", "10000000000000000000"),
            ("1e20", "100000000000000000000"),
            ("18446744073709551616", "18446744073709552000"),
            ("9007199254740992.0", "9007199254740992"),
            ("1e21", "1e+21"),
            ("-1e21", "-1e+21"),
            ("1e-6", "0.000001"),
            ("1e-7", "1e-7"),
            ("0.00000012", "1.2e-7"),
            // Not rounded as in Go: an identifier that a plugin reads as a whole number stays what it is.
            ("9007199254740993", "9007199254740993"),
        ] {
            for frame in ["N", r#"{"ipam":{"list":[true,N,"1.0"]}}"#] {
                let value: Value = serde_json::from_str(&frame.replace('N', read)).unwrap();
                let wanted = frame.replace('N', written);
                assert_eq!(String::from_utf8(text(&value)).unwrap(), wanted, "{read}");
            }
        }
        let other = r#"{"a":null,"b":"\u0001é\"","c":[],"d":{}}"#;
        let value: Value = serde_json::from_str(other).unwrap();
        assert_eq!(text(&value), value.to_string().into_bytes());
    }
}
