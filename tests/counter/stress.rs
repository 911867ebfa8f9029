//! Many visitors at once, with actors killed at random moments: what was acknowledged is what the room holds.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use rand::{Rng as _, RngCore as _, SeedableRng as _, TryRngCore as _, rngs::StdRng};
use serde_json::json;

use crate::{client::Client, server::Service};

const VISITORS: usize = 12;
/// Of each.
const INCREMENTS: usize = 150;

/// Adds one at a time. Told that its actor was restarted, a visitor cannot know from that alone whether its last word was
/// lost: the turn over it may have returned. So it looks at what is its own.
fn visit(address: SocketAddr, acknowledged: &AtomicU64) {
    let mut client = Client::open(address, "/counter?room=crowd");
    let mut own = 0;
    while own < INCREMENTS as i64 {
        client.say("add 1");
        loop {
            let heard = client.hear();
            let Some((_, rest)) = heard.split_once(", ") else { continue };
            let now: i64 = rest.split(' ').next().and_then(|number| number.parse().ok()).expect("a number");
            assert!(now == own || now == own + 1, "{now} after {own}: an increment was lost or doubled");
            if now == own + 1 {
                own = now;
                break;
            }
        }
    }
    acknowledged.fetch_add(own as u64, Ordering::Relaxed);
}

#[test]
fn the_sum_is_what_was_acknowledged_however_many_actors_are_killed() {
    let seed = std::env::var("COUNTER_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| rand::rngs::OsRng.unwrap_err().next_u64());
    println!("COUNTER_SEED={seed} repeats it");
    let mut rng = StdRng::seed_from_u64(seed);
    let service = Service::start();
    let (acknowledged, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let address = service.address();
    let mut hits = 0;
    std::thread::scope(|scope| {
        let visitors: Vec<_> = (0..VISITORS).map(|_| scope.spawn(|| visit(address, &acknowledged))).collect();
        let (service, over) = (&service, &over);
        let killer = scope.spawn(move || {
            let mut hits = 0;
            while !over.load(Ordering::Relaxed) {
                let place = if rng.random_bool(0.5) { "turn" } else { "wake" };
                let count = rng.random_range(1..4);
                hits += service
                    .chaos(&json!({"fault": "panic", "where": place, "app": "counter", "target": {"count": count}}));
                if rng.random_bool(0.1) {
                    service.chaos(&json!({"fault": "panic_shard", "app": "counter", "target": {"count": 1}}));
                }
            }
            hits
        });
        visitors.into_iter().for_each(|visitor| visitor.join().expect("a visitor has what was promised"));
        over.store(true, Ordering::Relaxed);
        hits = killer.join().expect("a killer");
    });
    let acknowledged = acknowledged.into_inner() as i64;
    assert_eq!(acknowledged, (VISITORS * INCREMENTS) as i64);
    service.visitor("crowd", acknowledged);
    assert!(hits > 0 && service.metric("dormouse_restarts_total") > 0.0, "nobody was killed");
    service.stop();
}
