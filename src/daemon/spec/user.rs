//! Resolves the user and groups of a process from the request and the image's /etc/passwd and /etc/group.
//!
//! A number has 32 bits and is never looked up as a name. A name that is not in the image is an error. No failure makes a
//! process run as root.

use serde::{Deserialize, Serialize};

use super::{GroupsPolicy, RequestedUser, RunAs};

/// Largest /etc/passwd or /etc/group that is read, in bytes: that of containerd 2.4 (`maxUserFileBytes`).
pub(crate) const MAX_FILE: usize = 10 << 20;

/// Most groups of a process: `NGROUPS_MAX` of Linux.
pub(crate) const MAX_GROUPS: usize = 65536;

/// Resolved user, groups and home.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups; the primary one is the first of them.
    pub groups: Vec<u32>,
    /// Home directory of the user's entry in /etc/passwd.
    pub home: Option<String>,
}

/// Why a user cannot be resolved.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub(crate) enum UserError {
    /// A group is given without a user.
    #[error("run_as_group is set without run_as_user or run_as_username; set one of them")]
    GroupWithoutUser,
    /// A number does not fit.
    #[error("invalid {what} id {text:?}: give a number from 0 to 4294967294")]
    Range {
        /// Either `user` or `group`.
        what: &'static str,
        /// The text as given, shortened.
        text: String,
    },
    /// The string is neither a name nor a number.
    #[error("invalid {what} {text:?}: give a name or a number, in an image as USER or USER:GROUP")]
    Malformed {
        /// Either `user` or `group`.
        what: &'static str,
        /// The text as given, shortened.
        text: String,
    },
    /// The name is not in the image.
    #[error("{what} {name:?} is not in the image's {file}; add it or use a number")]
    Unknown {
        /// Either `user` or `group`.
        what: &'static str,
        /// The name as given, shortened.
        name: String,
        /// The file that was searched.
        file: &'static str,
    },
    /// A file of the image is beyond what is read.
    #[error("the image's {file} has more than 10 MiB; make it smaller in the image")]
    TooLarge { file: &'static str },
    /// More groups than a process can have.
    #[error("the user has more than 65536 supplementary groups; remove some of them")]
    TooManyGroups,
}

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// A line of /etc/passwd.
struct Account<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

/// Resolves the user of a container.
///
/// `passwd` and `group` are the image's /etc/passwd and /etc/group; `None` when they are missing. Lines that
/// are not well-formed are skipped, as in the C library.
///
/// # Errors
/// [`UserError`] for an unknown name, a number out of range, a group without a user and files out of bounds.
pub(crate) fn resolve(
    request: &RunAs,
    image_user: &str,
    passwd: Option<&[u8]>,
    group: Option<&[u8]>,
) -> Result<Identity, UserError> {
    let passwd = bounded(passwd, PASSWD)?;
    let group = bounded(group, GROUP)?;
    let wanted = WantedUser::from_request(request, image_user)?;
    let (uid, account) = match &wanted.user {
        UserKey::Id(uid) => (*uid, accounts(passwd).find(|account| account.uid == *uid)),
        UserKey::Name(name) => {
            let account = accounts(passwd)
                .find(|account| account.name == name.as_bytes())
                .ok_or_else(|| unknown("user", name, PASSWD))?;
            (account.uid, Some(account))
        }
    };
    let gid = match wanted.group {
        Some(GroupKey::Id(gid)) => gid,
        Some(GroupKey::Name(name)) => {
            group_id(group, name).ok_or_else(|| unknown("group", name, GROUP))?
        }
        None => account.as_ref().map_or(0, |account| account.gid),
    };
    let name = account.as_ref().map(|account| account.name);
    let groups = supplementary(gid, request, name, group)?;
    let home = account
        .and_then(|account| std::str::from_utf8(account.home).ok())
        .filter(|home| !home.is_empty())
        .map(str::to_owned);
    Ok(Identity {
        uid,
        gid,
        groups,
        home,
    })
}

enum UserKey<'a> {
    Id(u32),
    Name(&'a str),
}

enum GroupKey<'a> {
    Id(u32),
    Name(&'a str),
}

struct WantedUser<'a> {
    user: UserKey<'a>,
    group: Option<GroupKey<'a>>,
}

impl<'a> WantedUser<'a> {
    fn from_request(request: &'a RunAs, image_user: &'a str) -> Result<Self, UserError> {
        let group = request
            .group
            .map(|gid| checked_id("group", gid))
            .transpose()?;
        let user = match &request.user {
            RequestedUser::Image if group.is_some() => return Err(UserError::GroupWithoutUser),
            RequestedUser::Image => return Self::of_image(image_user),
            RequestedUser::Id(uid) => UserKey::Id(checked_id("user", *uid)?),
            RequestedUser::Name(name) => user_key(name)?,
        };
        Ok(Self {
            user,
            group: group.map(GroupKey::Id),
        })
    }

    /// Parses the user of an image, `USER` or `USER:GROUP`. An empty half, which a build leaves when a variable is
    /// empty, counts as not given (moby and CRI-O; containerd 2.4.2 takes an empty group as group 0).
    fn of_image(text: &'a str) -> Result<Self, UserError> {
        if text.is_empty() {
            return Ok(Self {
                user: UserKey::Id(0),
                group: None,
            });
        }
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let group = match group.filter(|group| !group.is_empty()) {
            Some(group) => Some(match key("group", group)? {
                Some(gid) => GroupKey::Id(gid),
                None => GroupKey::Name(group),
            }),
            None => None,
        };
        let user = match user {
            "" => UserKey::Id(0),
            user => user_key(user)?,
        };
        Ok(Self { user, group })
    }
}

fn user_key(text: &str) -> Result<UserKey<'_>, UserError> {
    Ok(key("user", text)?.map_or(UserKey::Name(text), UserKey::Id))
}

/// The number, when `text` has only digits; `None` for a name.
fn key(what: &'static str, text: &str) -> Result<Option<u32>, UserError> {
    let shown = || text.chars().take(80).collect();
    if text.is_empty() || text.bytes().any(|byte| matches!(byte, 0 | b':' | b'\n')) {
        return Err(UserError::Malformed {
            what,
            text: shown(),
        });
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let id = text.parse().map_err(|_| UserError::Range {
        what,
        text: shown(),
    })?;
    checked_id(what, id).map(Some)
}

/// Refuses the id with all bits set, which means "no change" to setresuid(2) and chown(2).
fn checked_id(what: &'static str, id: u32) -> Result<u32, UserError> {
    if id == u32::MAX {
        return Err(UserError::Range {
            what,
            text: id.to_string(),
        });
    }
    Ok(id)
}

fn unknown(what: &'static str, name: &str, file: &'static str) -> UserError {
    UserError::Unknown {
        what,
        name: name.chars().take(80).collect(),
        file,
    }
}

fn bounded<'a>(file: Option<&'a [u8]>, name: &'static str) -> Result<&'a [u8], UserError> {
    let content = file.unwrap_or_default();
    if content.len() > MAX_FILE {
        return Err(UserError::TooLarge { file: name });
    }
    Ok(content)
}

fn lines(content: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    content
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| line.split(|byte| *byte == b':').collect::<Vec<_>>())
}

fn accounts(passwd: &[u8]) -> impl Iterator<Item = Account<'_>> {
    lines(passwd).filter_map(|fields| {
        let [name, _, uid, gid, _, home, ..] = fields.as_slice() else {
            return None;
        };
        let named = !name.is_empty();
        named.then_some(Account {
            name,
            uid: number(uid)?,
            gid: number(gid)?,
            home,
        })
    })
}

/// Groups as (name, id, members).
fn groups(group: &[u8]) -> impl Iterator<Item = (&[u8], u32, &[u8])> {
    lines(group).filter_map(|fields| {
        let [name, _, gid, rest @ ..] = fields.as_slice() else {
            return None;
        };
        Some((
            *name,
            number(gid)?,
            rest.first().copied().unwrap_or_default(),
        ))
    })
}

fn number(field: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(field).ok()?;
    key("id", text).ok().flatten()
}

fn group_id(group: &[u8], name: &str) -> Option<u32> {
    groups(group)
        .find(|(known, ..)| *known == name.as_bytes())
        .map(|(_, gid, _)| gid)
}

/// The primary group first, then the image's memberships (policy Merge), then the request's list.
fn supplementary(
    gid: u32,
    request: &RunAs,
    name: Option<&[u8]>,
    group: &[u8],
) -> Result<Vec<u32>, UserError> {
    let mut out = vec![gid];
    let mut seen = std::collections::HashSet::from([gid]);
    let mut add = |gid: u32| {
        if seen.insert(gid) {
            out.push(gid);
        }
    };
    if let (GroupsPolicy::Merge, Some(name)) = (request.policy, name) {
        groups(group)
            .filter(|(_, _, members)| {
                members
                    .split(|byte| *byte == b',')
                    .any(|member| member == name)
            })
            .for_each(|(_, gid, _)| add(gid));
    }
    for gid in &request.supplemental_groups {
        add(checked_id("group", *gid)?);
    }
    if out.len() > MAX_GROUPS {
        return Err(UserError::TooManyGroups);
    }
    Ok(out)
}
