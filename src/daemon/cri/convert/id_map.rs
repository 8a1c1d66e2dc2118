//! Mappings of user and group ids.

use cri_api::runtime::v1 as cri;

use super::FieldError;
use holdfast_wire::plan::{IdMappings, IdRange};

/// User and group mappings: both or none.
pub(super) fn id_mappings(
    field: &str,
    uids: &[cri::IdMapping],
    gids: &[cri::IdMapping],
) -> Result<Option<IdMappings>, FieldError> {
    if uids.is_empty() && gids.is_empty() {
        return Ok(None);
    }
    if uids.is_empty() || gids.is_empty() {
        return Err(FieldError::missing(
            format!("{field}.{}", if uids.is_empty() { "uids" } else { "gids" }),
            "give mappings for users and for groups, or for neither",
        ));
    }
    Ok(Some(IdMappings {
        uids: ranges(&format!("{field}.uids"), uids)?,
        gids: ranges(&format!("{field}.gids"), gids)?,
    }))
}

fn ranges(field: &str, mappings: &[cri::IdMapping]) -> Result<Vec<IdRange>, FieldError> {
    /// Lines that the kernel takes in /proc/PID/uid_map: user_namespaces(7), Linux 4.15.
    const MAX_RANGES: usize = 340;
    if mappings.len() > MAX_RANGES {
        return Err(FieldError::invalid(
            field,
            mappings.len(),
            "give at most 340 ranges, which is the limit of the kernel",
        ));
    }
    let range = |(index, mapping): (usize, &cri::IdMapping)| {
        let fits = |first: u32| first.checked_add(mapping.length).is_some();
        if mapping.length == 0 || !fits(mapping.host_id) || !fits(mapping.container_id) {
            let remedy = "give a length above 0 that stays below 4294967295";
            return Err(FieldError::invalid(
                format!("{field}[{index}]"),
                mapping.length,
                remedy,
            ));
        }
        Ok(IdRange {
            inside: mapping.container_id,
            outside: mapping.host_id,
            count: mapping.length,
        })
    };
    mappings.iter().enumerate().map(range).collect()
}

/// Converts ranges of ids to messages.
pub(super) fn ranges_message(ranges: &[IdRange]) -> Vec<cri::IdMapping> {
    let message = |range: &IdRange| cri::IdMapping {
        host_id: range.outside,
        container_id: range.inside,
        length: range.count,
    };
    ranges.iter().map(message).collect()
}
