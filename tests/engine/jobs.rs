//! Jobs bring their results back as messages, end at their deadline, and never outlive their connection.

use crate::{diary::Words, engine::Engine};

#[actix::test]
async fn results_of_waiting_and_blocking_jobs_come_back_as_messages() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say("job one");
    client.hears(["job done: one"]);
    client.say("block two");
    client.hears(["job done: two"]);
    engine.finish().await;
}

#[actix::test]
async fn a_job_that_panics_is_told_and_costs_no_generation() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say("job-panic");
    client.hears(["job crashed: asked to panic"]);
    client.say("block-panic");
    client.hears(["job crashed: asked to panic"]);
    client.say("read");
    client.hears(["notes [] generation 1"]);
    engine.finish().await;
}

#[actix::test]
async fn a_waiting_job_is_cancelled_at_its_deadline() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say("job-late");
    client.hears(["job overdue"]);
    assert_eq!(engine.seen(), "job dropped");
    engine.finish().await;
}

#[actix::test]
async fn a_blocking_job_is_given_up_at_its_deadline_and_its_late_result_is_not_told() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say("block-late never");
    client.hears(["job overdue"]);
    assert_eq!(engine.seen(), "job begins");
    engine.settings.gate.wait();
    client.say("block next");
    client.hears(["job done: next"]);
    engine.finish().await;
}

#[actix::test]
async fn a_job_ends_with_its_connection() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say_all(&["job-pending", "job-pending", "end"]);
    let mut seen = [engine.seen(), engine.seen(), engine.seen()];
    seen.sort();
    assert_eq!(seen, ["a farewell", "job dropped", "job dropped"]);
    engine.finish().await;
}

#[actix::test]
async fn a_late_result_is_not_told_to_the_next_connection_in_the_slot() {
    let engine = Engine::start(1);
    let mut first = engine.connect("first").await;
    first.say("block-pending old");
    assert_eq!(engine.seen(), "job begins");
    first.say("end");
    assert_eq!(engine.seen(), "first farewell");
    let mut second = engine.connect("second").await;
    assert_eq!(second.id.index(), first.id.index(), "the slot is used again");
    engine.settings.gate.wait();
    second.say("block new");
    second.hears(["job done: new"]);
    engine.finish().await;
}

#[actix::test]
async fn a_job_survives_a_crash_of_its_actor() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say_all(&["block-pending word", "panic"]);
    client.hears(["restarted 2 after frame panic"]);
    assert_eq!(engine.seen(), "job begins");
    engine.settings.gate.wait();
    client.hears(["job done: word"]);
    engine.finish().await;
}

#[actix::test]
async fn a_job_goes_on_while_its_connection_is_parked_and_its_result_reaches_the_record() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say_all(&["key k", "block-pending word"]);
    client.hears(["locked"]);
    assert_eq!(engine.seen(), "job begins");
    let id = client.id;
    drop(client);
    assert_eq!(engine.seen(), "a cut");
    let mut next = engine.connect("b").await;
    next.say(&format!("move {id} k"));
    next.hears(["claimed a generation 1"]);
    engine.settings.gate.wait();
    next.hears(["job done: word"]);
    engine.finish().await;
}

#[actix::test]
async fn a_held_connection_hears_of_its_jobs_all_the_same() {
    let engine = Engine::start(1);
    let mut client = engine.connect("a").await;
    client.say_all(&["job one", "hold", "read"]);
    client.hears(["held", "job done: one"]);
    engine.tell(&client, [Words::notice("release")]);
    client.hears(["released", "notes [] generation 1"]);
    engine.finish().await;
}
