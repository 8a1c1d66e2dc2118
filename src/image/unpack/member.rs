//! One entry of an archive, with what the headers before it say of it.

use super::archive::{Archive, HEADERS_MAX};
use super::error::UnpackError;
use super::pax::Records;
use super::sparse::Sparse;
use std::io::Read;
use tar::{EntryType, Header};

/// An entry, with what the headers before it say of it.
pub(super) struct Member {
    pub header: Header,
    pub kind: EntryType,
    /// The name as the archive has it.
    pub name: Vec<u8>,
    /// The target of a link; empty for other kinds.
    pub link: Vec<u8>,
    pub records: Records,
    /// Its content in the archive, in bytes: without the holes of a sparse file.
    pub stored: u64,
    /// Where the content of a file with holes belongs.
    pub sparse: Option<Sparse>,
}

impl<R: Read> Archive<R> {
    /// Skips the rest of the present member and reads the headers of the next; `None` at the end of the
    /// archive. What follows the end is left unread.
    pub(super) fn next(&mut self) -> Result<Option<Member>, UnpackError> {
        self.allowance = HEADERS_MAX;
        let mut records = Records::default();
        let (mut long_name, mut long_link) = (None, None);
        let mut described = false;
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                if described {
                    return Err(self.malformed("it ends after headers that describe an entry"));
                }
                return Ok(None);
            };
            described = true;
            // Of several headers of one kind the last counts.
            match header.entry_type() {
                EntryType::XHeader => records = self.records(&header)?,
                EntryType::GNULongName => long_name = Some(self.long(&header)?),
                EntryType::GNULongLink => long_link = Some(self.long(&header)?),
                EntryType::XGlobalHeader => {
                    // Other readers of layers pass it over too: git's comment is all that is seen there.
                    self.stored(&header, None)?;
                    described = false;
                }
                _ => return self.member(header, records, long_name, long_link).map(Some),
            }
        }
    }

    fn member(
        &mut self,
        header: Header,
        records: Records,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Member, UnpackError> {
        let named = |long: Option<Vec<u8>>, key, short: Option<Vec<u8>>| {
            long.or_else(|| records.get(key).map(<[u8]>::to_vec))
                .or(short)
                .unwrap_or_default()
        };
        let mut name = named(long_name, b"path", Some(header.path_bytes().into_owned()));
        let link = named(
            long_link,
            b"linkpath",
            header.link_name_bytes().map(|link| link.into_owned()),
        );
        let mut kind = header.entry_type();
        // Archives from before there was a kind for directories have a slash.
        if header.as_old().linkflag == [0] && name.ends_with(b"/") {
            kind = EntryType::Directory;
        }
        self.last.clone_from(&name);
        let stored = self.stored(&header, records.get(b"size"))?;
        let sparse = match kind {
            EntryType::GNUSparse => Some(Sparse::of_header(&header, self)?),
            EntryType::Regular | EntryType::Continuous => Sparse::of_records(&records, self)?,
            _ => None,
        };
        if sparse.is_some()
            && let Some(real) = records.get(b"GNU.sparse.name")
        {
            name = real.to_vec();
            self.last.clone_from(&name);
        }
        Ok(Member {
            header,
            kind,
            name,
            link,
            records,
            stored,
            sparse,
        })
    }
}
