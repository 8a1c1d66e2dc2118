//! What can be seen of pods from outside: their namespaces, and the way into them.

mod namespaces;

pub use namespaces::{EnterArgs, NsArgs};
pub(super) use namespaces::{enter, ns};
