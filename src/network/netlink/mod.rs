//! Netlink: requests built by hand, sent in batches, answered by acknowledgements with the kernel's reasons.
//!
//! One small encoder serves rtnetlink and nf_tables alike; a request and its attributes go into one buffer
//! without intermediate objects. Knows nothing of links or rules.

mod message;
mod socket;

pub use message::Batch;
pub(crate) use message::{Attributes, Flags, attributes, string_of, u32_of};
pub use socket::{NetlinkError, NetlinkSocket};
