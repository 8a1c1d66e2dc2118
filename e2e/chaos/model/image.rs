//! What is known of an image.

use super::{Checked, Since, When};

/// An image of the registry: there or not, any number of times.
#[derive(Debug, Default)]
pub struct Image {
    /// The last pull that succeeded ended.
    pub pulled: Option<When>,
    /// The last removal that succeeded.
    pub removed: Option<When>,
    /// The last time that somebody began to pull it.
    pub pull_asked: Option<std::time::Instant>,
    /// The last time that somebody began to remove it.
    pub remove_asked: Option<std::time::Instant>,
    /// Somebody pulled it at some time.
    pub ever_pulled: Since,
}

impl Image {
    /// It was seen, or was not there.
    pub fn seen(&self, there: bool, when: When) -> Checked {
        let latest = |asked: Option<std::time::Instant>, than: std::time::Instant| {
            asked.is_some_and(|asked| asked >= than)
        };
        if there {
            if !self.ever_pulled.by(when.end) {
                return Err("an image is there that nobody pulled".to_owned());
            }
            // Whoever pulls from before the removal's beginning on may come after it.
            let removed = self.removed.filter(|removed| removed.end <= when.start);
            let again = removed.is_some_and(|removed| !self.pulls_since(removed));
            return if again {
                Err("an image was removed and is there".to_owned())
            } else {
                Ok(())
            };
        }
        match self.pulled {
            Some(pulled)
                if pulled.end <= when.start && !latest(self.remove_asked, pulled.start) =>
            {
                Err("an image was pulled and is not there".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Whether a pull may have made it anew: pulls outlive those who asked, for at most this long.
    fn pulls_since(&self, removed: When) -> bool {
        const LINGERS: std::time::Duration = std::time::Duration::from_secs(30);
        self.pull_asked
            .is_some_and(|asked| asked + LINGERS >= removed.start)
    }
}
