//! Subscribers who are too far behind to be given all they miss at once: they get it page by page, each page when the one
//! before has left their mailbox, and no live event meanwhile: that comes with a page too. So who is a million events behind
//! costs the node one page.
//!
//! ```text
//! behind ──ask the home──→ page on its way ──it arrives──→ in the mailbox ──handed on──→ behind …
//!                                                  └── the page that reaches the head ──→ live
//! ```
//! Pure state of a hub, by slot index; `hub.rs` moves it.

use std::{collections::HashMap, sync::Arc};

use crate::channel::directory::Channel;

/// One subscriber in one channel.
#[derive(Debug)]
struct Pursuit {
    channel: Arc<Channel>,
    /// The last offset he was given.
    after: u64,
    /// His next page is on its way.
    asked: bool,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Pursuits {
    open: HashMap<u32, Vec<Pursuit>>,
}

impl Pursuits {
    /// Live events of `channel` are not for him yet.
    pub(super) fn is_behind(&self, index: u32, channel: &Arc<Channel>) -> bool {
        // Nearly always nobody is, and this is asked for every delivery.
        !self.open.is_empty() && self.position(index, channel).is_some()
    }

    /// What he was given so far, if he is behind.
    pub(super) fn position(&self, index: u32, channel: &Arc<Channel>) -> Option<u64> {
        self.open.get(&index)?.iter().find(|pursuit| pursuit.channel == *channel).map(|pursuit| pursuit.after)
    }

    /// He is behind from now on; his first page has been asked for.
    pub(super) fn begin(&mut self, index: u32, channel: &Arc<Channel>, after: u64) {
        self.end_of(index, channel);
        let pursuit = Pursuit { channel: Arc::clone(channel), after, asked: true };
        self.open.entry(index).or_default().push(pursuit);
    }

    /// A page has come that begins after `after`: whether it is the one he waits for.
    pub(super) fn arrived(&mut self, index: u32, channel: &Arc<Channel>, after: u64) -> bool {
        let pursuits = self.open.get_mut(&index);
        let pursuit = pursuits.and_then(|all| all.iter_mut().find(|pursuit| pursuit.channel == *channel));
        let Some(pursuit) = pursuit.filter(|pursuit| pursuit.asked && pursuit.after == after) else { return false };
        pursuit.asked = false;
        true
    }

    /// He was given everything up to `offset`.
    pub(super) fn advance(&mut self, index: u32, channel: &Arc<Channel>, offset: u64) {
        let pursuits = self.open.get_mut(&index);
        if let Some(pursuit) = pursuits.and_then(|all| all.iter_mut().find(|pursuit| pursuit.channel == *channel)) {
            pursuit.after = offset;
        }
    }

    /// What is to be asked for, now that his mailbox is empty: nothing is asked for twice.
    pub(super) fn due(&mut self, index: u32) -> Vec<(Arc<Channel>, u64)> {
        let pursuits = self.open.get_mut(&index).map(|all| all.iter_mut()).into_iter().flatten();
        let ask = |pursuit: &mut Pursuit| {
            let due = !std::mem::replace(&mut pursuit.asked, true);
            due.then(|| (Arc::clone(&pursuit.channel), pursuit.after))
        };
        pursuits.filter_map(ask).collect()
    }

    /// He is live, or no longer interested.
    pub(super) fn end_of(&mut self, index: u32, channel: &Arc<Channel>) {
        if let Some(pursuits) = self.open.get_mut(&index) {
            pursuits.retain(|pursuit| pursuit.channel != *channel);
            if pursuits.is_empty() {
                self.open.remove(&index);
            }
        }
    }

    /// He is gone.
    pub(super) fn end(&mut self, index: u32) {
        self.open.remove(&index);
    }

    /// Connections that are behind.
    #[cfg(feature = "simulation")]
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Namespace;

    fn channel(name: &str) -> Arc<Channel> {
        Arc::new(Channel { name: name.into(), home: 0, namespace: Arc::new(Namespace::default()) })
    }

    #[test]
    fn one_page_is_on_its_way_at_a_time_and_a_stale_one_is_none() {
        let (mut pursuits, a, b) = (Pursuits::default(), channel("a"), channel("b"));
        assert!(!pursuits.is_behind(1, &a));
        pursuits.begin(1, &a, 5);
        assert!(pursuits.is_behind(1, &a) && !pursuits.is_behind(1, &b) && !pursuits.is_behind(2, &a));
        assert_eq!(pursuits.due(1), []);
        assert!(!pursuits.arrived(1, &a, 4), "of an earlier pursuit");
        assert!(pursuits.arrived(1, &a, 5));
        assert!(!pursuits.arrived(1, &a, 5), "twice");
        pursuits.advance(1, &a, 9);
        assert_eq!(pursuits.due(1), [(a.clone(), 9)]);
        assert_eq!(pursuits.due(1), []);
        pursuits.end_of(1, &a);
        assert!(!pursuits.is_behind(1, &a));
        assert_eq!(pursuits.position(1, &a), None);
    }
}
