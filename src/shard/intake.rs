//! How much each client may say in a second, in frames and in bytes. Whoever has said as much is not read before the next
//! second: the kernel's buffers fill, and he waits, not the others. Whoever goes on like that for [`STRIKES`] seconds is no
//! client in a hurry, and is closed with 4004.
//!
//! Only those who said something in this second stand here; a dormant connection costs nothing.

use std::collections::HashMap;

use crate::{clock::Now, config};

/// What is counted together.
const WINDOW_MS: u32 = 1000;
/// Seconds in a row that a client may use up.
const STRIKES: u8 = 10;
/// Entries that outlive a burst.
const KEEP: usize = 64;

/// Bounds of one client for one second; 0 is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct IntakeLimits {
    /// Frames.
    pub frames: u32,
    /// Bytes, framing included, and those that compressed messages come to.
    pub bytes: u32,
}

impl IntakeLimits {
    /// What a configuration asks for. Whoever may publish so much may also say so much: these limits never hold before those.
    #[must_use]
    pub fn new(limits: &config::Limits) -> Self {
        let above =
            |limit: u32, least: u64| if limit == 0 { 0 } else { limit.max(u32::try_from(least).unwrap_or(u32::MAX)) };
        let publishes = 2 * u64::from(limits.publish_per_second) + u64::from(limits.publish_burst);
        let bytes = publishes.saturating_mul(limits.max_frame_bytes as u64);
        Self { frames: above(limits.frames_per_second, publishes), bytes: above(limits.bytes_per_second, bytes) }
    }
}

#[derive(Default)]
struct Use {
    frames: u32,
    bytes: u32,
    /// Seconds before this one that were used up.
    strikes: u8,
}

/// See the module's text. Clients are told apart by their slots.
pub(super) struct Intake {
    limits: IntakeLimits,
    began_ms: u32,
    used: HashMap<u32, Use>,
    /// How many of them have used up this second.
    spent: usize,
}

/// Whom the new second finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// He is read again.
    GoOn(u32),
    /// He has been told often enough.
    Close(u32),
}

impl Intake {
    pub(super) fn new(limits: IntakeLimits) -> Self {
        Self { limits, began_ms: 0, used: HashMap::new(), spent: 0 }
    }

    /// Holds from now on; who waits is read again.
    pub(super) fn set_limits(&mut self, limits: IntakeLimits) {
        self.limits = limits;
        self.spent = self.used.values().filter(|used| used.is_spent(limits)).count();
    }

    /// The client in this slot has said so much.
    pub(super) fn charge(&mut self, index: u32, frames: usize, bytes: usize) {
        let IntakeLimits { frames: most_frames, bytes: most_bytes } = self.limits;
        if most_frames == 0 && most_bytes == 0 {
            return;
        }
        let used = self.used.entry(index).or_default();
        let was_spent = used.is_spent(self.limits);
        used.frames = used.frames.saturating_add(u32::try_from(frames).unwrap_or(u32::MAX));
        used.bytes = used.bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.spent += usize::from(!was_spent && used.is_spent(self.limits));
    }

    /// He is not to be read before the next second.
    pub(super) fn is_spent(&self, index: u32) -> bool {
        self.spent > 0 && self.used.get(&index).is_some_and(|used| used.is_spent(self.limits))
    }

    /// The slot gets, or had, another client.
    pub(super) fn forget(&mut self, index: u32) {
        if let Some(used) = self.used.remove(&index) {
            self.spent -= usize::from(used.is_spent(self.limits));
        }
    }

    /// Begins a new second if it is time; those who waited for it.
    pub(super) fn turn_over(&mut self, now: Now) -> Vec<Verdict> {
        if self.used.is_empty() || now.ms_since(self.began_ms) < WINDOW_MS {
            return Vec::new();
        }
        self.began_ms = now.ms();
        let (limits, mut waited) = (self.limits, Vec::new());
        self.used.retain(|&index, used| {
            let strikes = if used.is_spent(limits) { used.strikes + 1 } else { 0 };
            if strikes > 0 {
                waited.push(if strikes >= STRIKES { Verdict::Close(index) } else { Verdict::GoOn(index) });
            }
            *used = Use { strikes, ..Use::default() };
            strikes > 0 && strikes < STRIKES
        });
        self.used.shrink_to(KEEP);
        self.spent = 0;
        waited
    }
}

impl Use {
    fn is_spent(&self, limits: IntakeLimits) -> bool {
        (limits.frames > 0 && self.frames >= limits.frames) || (limits.bytes > 0 && self.bytes >= limits.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { micros: (seconds + 10) * 1_000_000, unix_ms: 0 }
    }

    #[test]
    fn who_has_said_enough_waits_for_the_next_second() {
        let mut intake = Intake::new(IntakeLimits { frames: 10, bytes: 1000 });
        intake.charge(1, 9, 999);
        intake.charge(2, 1, 1000);
        assert!(!intake.is_spent(1) && intake.is_spent(2) && !intake.is_spent(3));
        intake.charge(1, 1, 0);
        assert!(intake.is_spent(1));
        let mut waited = intake.turn_over(at(0));
        waited.sort_by_key(|verdict| matches!(verdict, Verdict::GoOn(2)));
        assert_eq!(waited, [Verdict::GoOn(1), Verdict::GoOn(2)]);
        assert!(!intake.is_spent(1) && !intake.is_spent(2));
        intake.charge(1, 10, 0);
        assert_eq!(intake.turn_over(at(0)), [], "the second is not over");
        assert!(intake.is_spent(1));
    }

    #[test]
    fn who_goes_on_like_that_is_closed_and_a_pause_is_forgiveness() {
        let mut intake = Intake::new(IntakeLimits { frames: 10, bytes: 0 });
        for second in 0..u64::from(STRIKES) - 1 {
            intake.charge(1, 10, 0);
            assert_eq!(intake.turn_over(at(second)), [Verdict::GoOn(1)]);
        }
        intake.charge(1, 9, 0);
        assert_eq!(intake.turn_over(at(20)), []);
        for second in 0..u64::from(STRIKES) - 1 {
            intake.charge(1, 1000, 0);
            assert_eq!(intake.turn_over(at(30 + second)), [Verdict::GoOn(1)]);
        }
        intake.charge(1, 10, 0);
        assert_eq!(intake.turn_over(at(50)), [Verdict::Close(1)]);
        assert!(intake.used.is_empty());
    }

    #[test]
    fn a_slot_given_away_begins_anew_and_no_limit_counts_nothing() {
        let mut intake = Intake::new(IntakeLimits { frames: 1, bytes: 0 });
        intake.charge(1, 5, 5);
        intake.forget(1);
        assert!(!intake.is_spent(1) && intake.spent == 0);
        let mut open = Intake::new(IntakeLimits::default());
        open.charge(1, usize::MAX, usize::MAX);
        assert!(!open.is_spent(1) && open.used.is_empty());
    }
}
