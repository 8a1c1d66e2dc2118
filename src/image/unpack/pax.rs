//! PAX records (POSIX.1-2017, pax, "pax Extended Header"): `LENGTH KEY=VALUE\n`, where the length counts the
//! whole record and values may hold any byte.

/// The records before an entry, in their order.
#[derive(Debug, Default)]
pub(super) struct Records(Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    /// `None` when one of them is not of that form.
    pub(super) fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let blank = bytes.iter().position(|byte| *byte == b' ')?;
            let length: usize = std::str::from_utf8(&bytes[..blank]).ok()?.parse().ok()?;
            let record = bytes.get(blank + 1..length)?;
            let (b'\n', record) = record.split_last()? else {
                return None;
            };
            let equals = record.iter().position(|byte| *byte == b'=')?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            let name = matches!(key, b"path" | b"linkpath" | b"uname" | b"gname");
            if key.is_empty() || key.contains(&0) || (name && value.contains(&0)) {
                return None;
            }
            records.push((key.to_vec(), value.to_vec()));
            bytes = &bytes[length..];
        }
        Some(Self(records))
    }

    /// The value of a key. An empty one means that the header's own counts, and the last of several counts.
    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let value = self.iter().filter(|(name, _)| *name == key).last();
        value.map(|(_, value)| value).filter(|v| !v.is_empty())
    }

    /// All records, keys and values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_slice(), value.as_slice()))
    }
}
