//! The kinds of namespaces.

use std::fmt;

use anstyle::{AnsiColor, Style};
use nix::sched::CloneFlags;
use serde::Serialize;

/// A kind of namespace, namespaces(7). In the order in which people look for them: what a pod shares first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Net,
    Ipc,
    Uts,
    Pid,
    Mnt,
    Cgroup,
    User,
    Time,
}

impl Kind {
    /// All kinds, in order.
    pub(super) const ALL: [Self; 8] = [
        Self::Net,
        Self::Ipc,
        Self::Uts,
        Self::Pid,
        Self::Mnt,
        Self::Cgroup,
        Self::User,
        Self::Time,
    ];

    /// Its name in /proc/PID/ns.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Pid => "pid",
            Self::Mnt => "mnt",
            Self::Cgroup => "cgroup",
            Self::User => "user",
            Self::Time => "time",
        }
    }

    /// Its flag for setns(2).
    pub(super) fn flag(self) -> CloneFlags {
        match self {
            Self::Net => CloneFlags::CLONE_NEWNET,
            Self::Ipc => CloneFlags::CLONE_NEWIPC,
            Self::Uts => CloneFlags::CLONE_NEWUTS,
            Self::Pid => CloneFlags::CLONE_NEWPID,
            Self::Mnt => CloneFlags::CLONE_NEWNS,
            Self::Cgroup => CloneFlags::CLONE_NEWCGROUP,
            Self::User => CloneFlags::CLONE_NEWUSER,
            // CLONE_NEWTIME, which nix does not name; linux/sched.h.
            Self::Time => CloneFlags::from_bits_retain(0x80),
        }
    }

    /// Its long option of nsenter(1).
    pub(super) const fn nsenter_option(self) -> &'static str {
        match self {
            Self::Mnt => "mount",
            Self::Net
            | Self::Ipc
            | Self::Uts
            | Self::Pid
            | Self::Cgroup
            | Self::User
            | Self::Time => self.name(),
        }
    }

    /// Its colour on a terminal.
    pub(super) const fn style(self) -> Style {
        match self {
            Self::Net => AnsiColor::Blue.on_default(),
            Self::Ipc => AnsiColor::Green.on_default(),
            Self::Uts => AnsiColor::Yellow.on_default(),
            Self::Pid => AnsiColor::Red.on_default(),
            Self::Mnt => AnsiColor::Magenta.on_default(),
            Self::Cgroup => AnsiColor::BrightBlack.on_default(),
            Self::User => AnsiColor::BrightMagenta.on_default(),
            Self::Time => AnsiColor::Cyan.on_default(),
        }
    }

    /// Its colour in pictures.
    pub(super) const fn colour(self) -> &'static str {
        match self {
            Self::Net => "#1f6fb4",
            Self::Ipc => "#2a9134",
            Self::Uts => "#e07a10",
            Self::Pid => "#c8323a",
            Self::Mnt => "#8254b4",
            Self::Cgroup => "#7d5a46",
            Self::User => "#c2529d",
            Self::Time => "#16919c",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
