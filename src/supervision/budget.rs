//! The restarts an actor has had lately: an exact sliding window of their times. Reads no clock; the caller brings the
//! time, as [`crate::clock::Now::ms`].
//!
//! Kept per connection (only for those that crashed: drop a budget once it [is fresh](Budget::is_fresh)) and per system
//! actor. Shared by nobody, so that one crashing client cannot spend what its neighbours have.

use smallvec::SmallVec;

use super::Policy;

/// What to do after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Start it again.
    Restart,
    /// It has crashed too often; only time refills the budget.
    GiveUp,
}

/// Times of the restarts that may still count, oldest first. Never more than the policy's `max_restarts`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    restarts: SmallVec<[u32; 4]>,
}

impl Budget {
    /// Records a crash at `now_ms`: more than `max_restarts` within the window give up. A crash that is given up on is
    /// not a restart and does not lengthen the wait for the next chance.
    pub fn spend(&mut self, now_ms: u32, policy: &Policy) -> Verdict {
        let window = policy.window_ms();
        self.restarts.retain(|at| is_within(window, *at, now_ms));
        if self.restarts.len() >= policy.max_restarts as usize {
            return Verdict::GiveUp;
        }
        self.restarts.push(now_ms);
        Verdict::Restart
    }

    /// Restarts in the window that ends at `now_ms`.
    #[must_use]
    pub fn spent(&self, now_ms: u32, policy: &Policy) -> usize {
        let window = policy.window_ms();
        self.restarts.iter().filter(|at| is_within(window, **at, now_ms)).count()
    }

    /// Nothing is left in the window: this budget says no more than a new one and may be dropped. Look at least once in
    /// 49 days, after which an old time would look new.
    #[must_use]
    pub fn is_fresh(&self, now_ms: u32, policy: &Policy) -> bool {
        self.spent(now_ms, policy) == 0
    }
}

/// Whether `at` is no further than `window` from `now_ms`. Also true for a time slightly ahead: shards read the clock
/// separately, and a parked session may take its budget to a shard whose reading is older.
fn is_within(window: u32, at: u32, now_ms: u32) -> bool {
    let age = now_ms.wrapping_sub(at);
    age.min(age.wrapping_neg()) <= window
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn policy(max_restarts: u32, within_ms: u64) -> Policy {
        Policy::new(max_restarts, Duration::from_millis(within_ms))
    }

    fn spend_all(budget: &mut Budget, policy: &Policy, times: &[u32]) -> Vec<Verdict> {
        times.iter().map(|now| budget.spend(*now, policy)).collect()
    }

    #[test]
    fn five_restarts_are_allowed_and_the_sixth_crash_in_the_window_gives_up() {
        let (mut budget, policy) = (Budget::default(), policy(5, 10_000));
        let verdicts = spend_all(&mut budget, &policy, &[0, 1, 2, 3, 9_999, 10_000]);
        assert_eq!(verdicts[..5], [Verdict::Restart; 5]);
        assert_eq!(verdicts[5], Verdict::GiveUp, "a restart exactly one window ago still counts, as in OTP");
        assert_eq!(budget.spend(10_001, &policy), Verdict::Restart, "the oldest has left the window");
    }

    #[test]
    fn a_budget_of_none_gives_up_at_the_first_crash() {
        assert_eq!(Budget::default().spend(7, &policy(0, 10_000)), Verdict::GiveUp);
    }

    #[test]
    fn crashes_that_were_given_up_on_do_not_lengthen_the_wait() {
        let (mut budget, policy) = (Budget::default(), policy(1, 100));
        let verdicts = spend_all(&mut budget, &policy, &[0, 50, 99, 100, 101]);
        assert_eq!(verdicts[1..4], [Verdict::GiveUp; 3]);
        assert_eq!(verdicts[4], Verdict::Restart);
    }

    #[test]
    fn the_window_slides_across_the_wrap_of_the_clock() {
        let (mut budget, policy) = (Budget::default(), policy(2, 1_000));
        let start = u32::MAX - 100;
        assert_eq!(budget.spend(start, &policy), Verdict::Restart);
        assert_eq!(budget.spend(start.wrapping_add(200), &policy), Verdict::Restart);
        assert_eq!(budget.spend(start.wrapping_add(1_000), &policy), Verdict::GiveUp);
        assert_eq!(budget.spend(start.wrapping_add(1_001), &policy), Verdict::Restart);
        assert!(!budget.is_fresh(start.wrapping_add(2_001), &policy));
        assert!(budget.is_fresh(start.wrapping_add(2_002), &policy));
    }

    #[test]
    fn a_reading_that_is_a_little_old_refills_nothing() {
        let (mut budget, policy) = (Budget::default(), policy(1, 1_000));
        assert_eq!(budget.spend(500, &policy), Verdict::Restart);
        assert_eq!(budget.spend(498, &policy), Verdict::GiveUp);
    }

    proptest! {
        /// The model keeps every restart for ever, in 64 bits, and counts.
        #[test]
        fn a_budget_agrees_with_a_naive_count(
            start in any::<u32>(),
            max_restarts in 0_u32..8,
            within_ms in 0_u64..500,
            steps in prop::collection::vec(0_u64..200, 0..200),
        ) {
            let policy = policy(max_restarts, within_ms);
            let (mut budget, mut model, mut now) = (Budget::default(), Vec::<u64>::new(), u64::from(start));
            for step in steps {
                now += step;
                let recent = model.iter().filter(|at| now - **at <= within_ms).count();
                prop_assert_eq!(budget.spent(now as u32, &policy), recent);
                prop_assert_eq!(budget.is_fresh(now as u32, &policy), recent == 0);
                let expected = if recent < max_restarts as usize { Verdict::Restart } else { Verdict::GiveUp };
                prop_assert_eq!(budget.spend(now as u32, &policy), expected);
                if expected == Verdict::Restart {
                    model.push(now);
                }
                prop_assert!(budget.restarts.len() <= max_restarts as usize);
            }
        }

        #[test]
        fn dropping_a_fresh_budget_changes_no_verdict(
            max_restarts in 0_u32..4,
            steps in prop::collection::vec(0_u32..300, 0..100),
        ) {
            let policy = policy(max_restarts, 250);
            let (mut kept, mut swept, mut now) = (Budget::default(), None::<Budget>, 0);
            for step in steps {
                now += step;
                swept = swept.filter(|budget| !budget.is_fresh(now, &policy));
                prop_assert_eq!(kept.spend(now, &policy), swept.get_or_insert_default().spend(now, &policy));
            }
        }
    }
}
