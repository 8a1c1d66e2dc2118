//! The log pump: any bytes in any pieces become valid records of the CRI log that reassemble to the input.

use holdfast_shim::cri_log::{Lines, LogStream, MAX_CONTENT, MAX_RECORD, Prefix, Records};

const PREFIX: &str = "2016-10-06T00:17:09.669794202Z stdout F ";
const NANOS: i64 = 1_475_713_029_669_794_202;

/// The first byte says how large pieces are.
pub fn pump(bytes: &[u8]) {
    let Some((size, content)) = bytes.split_first() else {
        return;
    };
    let mut written = Vec::new();
    let mut lines = Lines::default();
    // Some contents are long without the fuzzer having to write it all.
    let content = content.repeat(if size % 2 == 0 { 1 } else { 700 });
    let mut buffer = vec![0; MAX_RECORD + usize::from(*size) * 64];
    let mut write = |records: &[u8]| written.extend_from_slice(records);
    let prefix = Prefix::new(NANOS, LogStream::Output);
    let mut records = Records::new(&mut buffer, &mut write);
    for piece in content.chunks(1 + usize::from(*size) * usize::from(*size)) {
        lines.feed(piece, prefix, &mut records);
    }
    lines.finish(prefix, &mut records);
    records.flush();
    check(&written, &content);
}

fn check(written: &[u8], content: &[u8]) {
    let mut again = Vec::new();
    for record in written.split_inclusive(|byte| *byte == b'\n') {
        let (prefix, rest) = record.split_at(PREFIX.len());
        let mut full = prefix.to_vec();
        full[PREFIX.len() - 2] = b'F';
        assert_eq!(full, PREFIX.as_bytes());
        let (line, end) = rest.split_at(rest.len() - 1);
        assert!(line.len() <= MAX_CONTENT && end == b"\n");
        again.extend_from_slice(line);
        match prefix[PREFIX.len() - 2] {
            b'F' => again.push(b'\n'),
            tag => assert_eq!(tag, b'P'),
        }
    }
    assert!(
        again == content,
        "a log of {} bytes came back as {}",
        content.len(),
        again.len()
    );
}
