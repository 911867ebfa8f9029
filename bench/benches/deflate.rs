//! What compressing one message costs and wins, by size, level and library, as Markdown: where the constants of
//! `src/websocket/deflate.rs` come from.
//!
//! Run by hand: `cargo bench -p dormouse-bench --bench deflate`. Each message is a stream of its own, as on the wire. The
//! libraries take turns, so that a slow moment of the machine hits both. No socket, no server.

use std::hint::black_box;

use dormouse::clock::Clock;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

const ROUNDS: usize = 15;
const EACH: usize = 300;

fn main() {
    let clock = Clock::start();
    println!("| event, bytes | level | zlib-rs, bytes | µs | miniz_oxide, bytes | µs | inflated by zlib-rs, µs |");
    println!("|--:|--:|--:|--:|--:|--:|--:|");
    for words in [2, 8, 16, 32, 128, 512] {
        let event = event(words);
        for level in [1, 2, 3, 5, 6, 9] {
            let mut ours = Compress::new(Compression::new(level), false);
            let flags = miniz_oxide::deflate::core::create_comp_flags_from_zip_params(level as i32, -15, 0);
            let mut theirs = Box::new(miniz_oxide::deflate::core::CompressorOxide::new(flags));
            let mut back = Decompress::new(false);
            let (mut packed, mut packed_theirs, mut unpacked) =
                (Vec::with_capacity(event.len() + 64), vec![0; event.len() + 64], Vec::with_capacity(event.len() + 64));
            let mut their_bytes = 0;
            let mut times = [Vec::new(), Vec::new(), Vec::new()];
            for _ in 0..ROUNDS {
                times[0].push(time(clock, || {
                    ours.reset();
                    packed.clear();
                    let _ = ours.compress_vec(&event, &mut packed, FlushCompress::Sync);
                    black_box(&packed);
                }));
                times[1].push(time(clock, || {
                    theirs.reset();
                    let flush = miniz_oxide::MZFlush::Sync;
                    let done = miniz_oxide::deflate::stream::deflate(&mut theirs, &event, &mut packed_theirs, flush);
                    their_bytes = black_box(done.bytes_written);
                }));
                times[2].push(time(clock, || {
                    back.reset(false);
                    unpacked.clear();
                    let _ = back.decompress_vec(&packed, &mut unpacked, FlushDecompress::Sync);
                    black_box(&unpacked);
                }));
            }
            assert_eq!(unpacked, event, "what was compressed comes back");
            let [ours, theirs, back] = times.map(median);
            let (from, to) = (event.len(), packed.len() - 4);
            println!("| {from} | {level} | {to} | {ours:.1} | {} | {theirs:.1} | {back:.1} |", their_bytes - 4);
        }
    }
}

/// A frame of the protocol in which somebody says so many words: of the README, since made-up text repeats itself.
fn event(words: usize) -> Vec<u8> {
    let said: Vec<&str> = include_str!("../../README.md").split_whitespace().skip(100).take(words).collect();
    let data = serde_json::json!({ "text": said.join(" ") });
    format!(r#"{{"op":"event","channel":"chat:lobby","offset":4711,"from":"alice","at":1764400000000,"data":{data}}}"#)
        .into()
}

/// Microseconds for one of many.
fn time(clock: Clock, mut work: impl FnMut()) -> f64 {
    let began = clock.micros();
    for _ in 0..EACH {
        work();
    }
    (clock.micros() - began) as f64 / EACH as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
