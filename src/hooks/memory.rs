//! The last answers of a hook, for the time when its backend is down and the fallback is `cached`. Bounded in number and
//! age; the ones not needed for longest go first.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use lru::LruCache;

use super::call::Answer;

/// Answers kept for one hook: some hundred bytes each.
const MOST: NonZeroUsize = NonZeroUsize::new(100_000).expect("not zero");

/// See the module's text.
pub(super) struct Memory {
    answers: Mutex<LruCache<String, (Answer, Duration)>>,
    lasts: Duration,
}

impl Memory {
    /// Remembers for so long.
    pub(super) fn new(lasts: Duration) -> Self {
        Self { answers: Mutex::new(LruCache::new(MOST)), lasts }
    }

    /// The backend has said.
    pub(super) fn keep(&self, topic: String, answer: &Answer, now: Duration) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.put(topic, (answer.clone(), now));
    }

    /// What it last said about this, unless that is too old.
    pub(super) fn recall(&self, topic: &str, now: Duration) -> Option<Answer> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, since) = answers.get(topic)?;
        (now.saturating_sub(*since) <= self.lasts).then(|| answer.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_remembered_for_its_time() {
        let memory = Memory::new(Duration::from_secs(10));
        memory.keep("a".to_owned(), &Answer::yes(), Duration::from_secs(5));
        assert!(matches!(memory.recall("a", Duration::from_secs(15)), Some(Answer::Allowed { .. })));
        assert!(memory.recall("a", Duration::from_secs(16)).is_none());
        assert!(memory.recall("b", Duration::from_secs(5)).is_none());
        memory.keep("a".to_owned(), &Answer::Denied("no".to_owned()), Duration::from_secs(16));
        assert!(matches!(memory.recall("a", Duration::from_secs(16)), Some(Answer::Denied(_))));
    }
}
