//! The points of the last ten minutes, so that a page that is opened shows a past. Bounded by number and by age; where
//! nobody watched there is nothing, and plots show a gap.

use std::collections::VecDeque;

use serde::Serialize;

use crate::http::live::point::Point;

/// One a second.
const MOST: usize = 600;
const LIFE_MS: u64 = 600_000;

/// See the module's text. Serialized it is a message to a viewer.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(tag = "kind", rename = "past")]
pub(super) struct Past {
    points: VecDeque<Point>,
}

impl Past {
    pub(super) fn push(&mut self, point: Point) {
        while self.points.len() >= MOST || self.points.front().is_some_and(|first| first.at + LIFE_MS < point.at) {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(past: &Past) -> Vec<u64> {
        past.points.iter().map(|point| point.at / 1_000).collect()
    }

    fn point(second: u64) -> Point {
        Point { at: second * 1_000, ..Point::default() }
    }

    #[test]
    fn it_holds_ten_minutes_and_no_more() {
        let mut past = Past::default();
        (1..=1_000).for_each(|second| past.push(point(second)));
        assert_eq!(at(&past), (401..=1_000).collect::<Vec<_>>());
        past.push(point(1_595));
        assert_eq!(at(&past), [995, 996, 997, 998, 999, 1_000, 1_595], "a pause is a gap");
        past.push(point(9_000));
        assert_eq!(at(&past), [9_000]);
    }

    #[test]
    fn as_a_message_it_says_what_it_is() {
        let mut past = Past::default();
        past.push(point(7));
        let json = serde_json::to_value(&past).expect("json");
        assert_eq!((&json["kind"], &json["points"][0]["at"]), (&"past".into(), &7_000.into()));
    }
}
