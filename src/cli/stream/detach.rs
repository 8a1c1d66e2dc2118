//! The keys that end an attachment and not the container: ctrl-p ctrl-q, as docker and kubectl have them.

const CTRL_P: u8 = 0x10;
const CTRL_Q: u8 = 0x11;

/// Looks for the keys in what is typed.
#[derive(Debug, Default)]
pub(super) struct DetachKeys {
    /// The first key was typed last, and is held back.
    begun: bool,
}

/// Typed bytes, and whether the detach keys followed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Typed {
    /// Bytes for the container.
    pub bytes: Vec<u8>,
    /// The keys were typed after that.
    pub detach: bool,
}

impl DetachKeys {
    /// Takes what was typed.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Typed {
        let mut passed = Vec::with_capacity(bytes.len() + 1);
        for byte in bytes.iter().copied() {
            match (std::mem::take(&mut self.begun), byte) {
                (true, CTRL_Q) => {
                    return Typed {
                        bytes: passed,
                        detach: true,
                    };
                }
                (true, CTRL_P) => {
                    passed.push(CTRL_P);
                    self.begun = true;
                }
                (true, other) => passed.extend([CTRL_P, other]),
                (false, CTRL_P) => self.begun = true,
                (false, other) => passed.push(other),
            }
        }
        Typed {
            bytes: passed,
            detach: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DetachKeys, Typed};

    fn feed(keys: &mut DetachKeys, bytes: &[u8]) -> (Vec<u8>, bool) {
        let Typed { bytes, detach } = keys.feed(bytes);
        (bytes, detach)
    }

    #[test]
    fn the_keys_are_found_also_in_pieces() {
        let mut keys = DetachKeys::default();
        assert_eq!(feed(&mut keys, b"ab\x10\x11cd"), (b"ab".to_vec(), true));
        assert_eq!(feed(&mut keys, b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(feed(&mut keys, b"\x11"), (Vec::new(), true));
    }

    #[test]
    fn one_of_them_alone_is_passed_on() {
        let mut keys = DetachKeys::default();
        assert_eq!(
            feed(&mut keys, b"\x10x\x11"),
            (b"\x10x\x11".to_vec(), false)
        );
        assert_eq!(feed(&mut keys, b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(feed(&mut keys, b"y"), (b"\x10y".to_vec(), false));
        assert_eq!(feed(&mut keys, b"\x10\x10\x11"), (b"\x10".to_vec(), true));
    }
}
