//! The client for Rust: against a real server (its binary, its sockets, its disk), through a wire that can be cut, and
//! against a scripted peer where every frame counts. No sleeps: each wait is for something that must come.

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use dormouse::client::{Client, Notice};

mod conversation;
mod losses;
mod peer;
mod proxy;
mod readme;
mod scripted;
mod server;
mod trust;

/// Longer than any honest wait takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what must come.
async fn within<F: Future>(wait: F) -> F::Output {
    tokio::time::timeout(PATIENCE, wait).await.expect("it must come")
}

/// The first notice that is the one.
async fn noticed<T>(notices: &mut dormouse::client::Notices, wanted: impl Fn(&Notice) -> Option<T>) -> T {
    within(async {
        loop {
            let notice = notices.next().await.expect("a notice");
            if let Some(found) = wanted(&notice) {
                return found;
            }
        }
    })
    .await
}

/// An open client that the test cannot do without.
async fn open(connect: dormouse::client::Connect) -> Client {
    within(connect.open()).await.expect("it opens")
}
