//! Every metric of the node, registered once (CONTRACT §5), and the text page they are read from.
//!
//! Shards count in thread-local copies (see `shard/stats.rs`) and pour them in here a few times a second; gauges that
//! describe tables are set when somebody asks. Nothing here decides anything. Traces are in `telemetry/traces.rs`.

mod collector;
mod traces;

use std::io::IsTerminal;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

use crate::config::{LogFormat, Telemetry};

pub use traces::{Span, Trace, Tracer};

/// Log lines that may wait for whoever reads standard error; the queue is allocated whole.
const WAITING_LINES: usize = 4096;

/// What is logged, while the process runs.
#[derive(Clone)]
pub struct LogFilter(reload::Handle<EnvFilter, tracing_subscriber::Registry>);

impl LogFilter {
    /// Logs what the configuration asks for from now on.
    ///
    /// # Errors
    /// When the filter cannot be read.
    pub fn set(&self, telemetry: &Telemetry) -> anyhow::Result<()> {
        self.0.reload(EnvFilter::try_new(&telemetry.log)?)?;
        Ok(())
    }
}

/// Sends logs to standard error as the configuration asks; `RUST_LOG` is not read, the configuration is. They are written
/// by a thread of their own until the guard is dropped; when nobody reads them and its queue is full, lines are lost
/// rather than a shard stopped.
///
/// # Errors
/// When the filter cannot be read, or logging was set up before.
pub fn init_logs(telemetry: &Telemetry) -> anyhow::Result<(WorkerGuard, LogFilter)> {
    let (filter, handle) = reload::Layer::new(EnvFilter::try_new(&telemetry.log)?);
    let (writer, guard) = NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES).finish(std::io::stderr());
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let logs = tracing_subscriber::registry().with(filter);
    let installed = match telemetry.format {
        LogFormat::Text => logs.with(lines.with_ansi(std::io::stderr().is_terminal())).try_init(),
        LogFormat::Json => logs.with(lines.json()).try_init(),
    };
    installed.map_err(|error| anyhow::anyhow!(error))?;
    Ok((guard, LogFilter(handle)))
}

/// 1 µs … 4 s, ×4: turns and waits are micro- to milliseconds, stalls are seconds.
const SECONDS: &[f64] =
    &[1e-6, 2e-6, 4e-6, 8e-6, 16e-6, 32e-6, 64e-6, 128e-6, 256e-6, 512e-6, 1e-3, 4e-3, 16e-3, 64e-3, 256e-3, 1.0, 4.0];
/// A restart takes microseconds and is held to 100 of them: fine steps up to there, and a bound at it.
const RESTART_SECONDS: &[f64] = &[
    1e-6, 2e-6, 3e-6, 4e-6, 6e-6, 8e-6, 12e-6, 16e-6, 24e-6, 32e-6, 48e-6, 64e-6, 80e-6, 100e-6, 150e-6, 250e-6,
    500e-6, 1e-3, 4e-3, 16e-3, 64e-3, 256e-3, 1.0, 4.0,
];
/// A delivery takes from a few microseconds to whatever a slow socket takes: every step a doubling, for percentiles are read
/// from it.
const DELIVERY_SECONDS: &[f64] = &[
    8e-6, 16e-6, 32e-6, 64e-6, 128e-6, 256e-6, 512e-6, 1e-3, 2e-3, 4e-3, 8e-3, 16e-3, 32e-3, 64e-3, 128e-3, 256e-3,
    512e-3, 1.0, 2.0, 4.0, 8.0,
];
/// 32 B … 16 KiB, ×2.
const BYTES: &[f64] = &[32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 16384.0];

macro_rules! metrics {
    ($($(#[doc = $help:literal])* $field:ident: $kind:ty = $make:expr, $name:literal;)*) => {
        /// Handles to every metric; clones share the same numbers.
        #[derive(Clone, Debug)]
        pub struct Metrics {
            registry: Registry,
            $($(#[doc = $help])* pub $field: $kind,)*
        }

        impl Metrics {
            /// Makes and registers all of them.
            ///
            /// # Errors
            /// When two share a name or a name is not allowed: a defect of this file, found by its test.
            pub fn new() -> Result<Self, prometheus::Error> {
                let registry = Registry::new();
                $(let $field: $kind = register(&registry, $make($name, concat!($($help),*).trim())?)?;)*
                let process = prometheus::process_collector::ProcessCollector::for_self();
                registry.register(Box::new(process))?;
                Ok(Self { registry, $($field),* })
            }
        }
    };
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counter(name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    IntCounter::new(name, help)
}

fn counters(labels: &'static [&'static str]) -> impl Fn(&str, &str) -> Result<IntCounterVec, prometheus::Error> {
    move |name, help| IntCounterVec::new(Opts::new(name, help), labels)
}

fn gauge(name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    IntGauge::new(name, help)
}

fn gauges(label: &'static str) -> impl Fn(&str, &str) -> Result<IntGaugeVec, prometheus::Error> {
    move |name, help| IntGaugeVec::new(Opts::new(name, help), &[label])
}

fn histogram(buckets: &'static [f64]) -> impl Fn(&str, &str) -> Result<Histogram, prometheus::Error> {
    move |name, help| Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
}

fn histograms(
    label: &'static str,
    buckets: &'static [f64],
) -> impl Fn(&str, &str) -> Result<HistogramVec, prometheus::Error> {
    move |name, help| HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), &[label])
}

metrics! {
    /// Connections by state.
    connections: IntGaugeVec = gauges("state"), "dormouse_connections";
    /// Handshakes by result.
    handshakes: IntCounterVec = counters(&["result"]), "dormouse_handshakes_total";
    /// Closed sockets by close code; 1006 is a socket lost without one.
    closes: IntCounterVec = counters(&["code"]), "dormouse_closes_total";
    /// Turns by what they handled.
    turns: IntCounterVec = counters(&["message"]), "dormouse_turns_total";
    /// Duration of a turn.
    turn_seconds: Histogram = histogram(SECONDS), "dormouse_turn_seconds";
    /// From queued to the beginning of its turn.
    mailbox_wait_seconds: Histogram = histogram(SECONDS), "dormouse_mailbox_wait_seconds";
    /// Crashed turns and jobs by place.
    crashes: IntCounterVec = counters(&["place"]), "dormouse_crashes_total";
    /// Crashes by what became of their file.
    crash_files: IntCounterVec = counters(&["result"]), "dormouse_crash_files_total";
    /// Actors restarted.
    restarts: IntCounter = counter, "dormouse_restarts_total";
    /// From the beginning of the turn that crashed until the actor is ready for its next message.
    restart_seconds: Histogram = histogram(RESTART_SECONDS), "dormouse_restart_seconds";
    /// Connections whose restart budget was spent.
    gave_up: IntCounter = counter, "dormouse_gave_up_total";
    /// Dormant connections that had something to do.
    wakes: IntCounter = counter, "dormouse_wakes_total";
    /// How late a shard's tick was.
    shard_lag_seconds: HistogramVec = histograms("shard", SECONDS), "dormouse_shard_lag_seconds";
    /// Turns over the stall limit right now.
    stalled_turns: IntGauge = gauge, "dormouse_stalled_turns";
    /// Turns longer than limits.turn_warn.
    slow_turns: IntCounter = counter, "dormouse_slow_turns_total";
    /// Jobs that run.
    jobs_in_flight: IntGauge = gauge, "dormouse_jobs_in_flight";
    /// Jobs past their deadline that still run (blocking ones cannot be cancelled).
    jobs_overdue: IntGauge = gauge, "dormouse_jobs_overdue";
    /// Events given an offset.
    events_published: IntCounter = counter, "dormouse_events_published_total";
    /// Events the kernel took, per connection.
    events_delivered: IntCounter = counter, "dormouse_events_delivered_total";
    /// From an event's offset until the kernel takes it for a subscriber, of one delivery a shard at a time: at most twenty a second, none of over 10 s.
    delivery_seconds: Histogram = histogram(DELIVERY_SECONDS), "dormouse_delivery_seconds";
    /// Events dropped, per connection, by reason.
    events_dropped: IntCounterVec = counters(&["reason"]), "dormouse_events_dropped_total";
    /// Events offered, per connection: delivered, dropped and pending together.
    events_offered: IntCounter = counter, "dormouse_events_offered_total";
    /// Signals and presence frames a full mailbox refused.
    ephemeral_dropped: IntCounter = counter, "dormouse_ephemeral_dropped_total";
    /// Bytes waiting for slow sockets.
    outbox_bytes: IntGauge = gauge, "dormouse_outbox_bytes";
    /// From a durable publish to its commit on disk; no store, no observations.
    store_commit_seconds: Histogram = histogram(SECONDS), "dormouse_store_commit_seconds";
    /// Calls of the application's backend, by hook and result: allowed, denied, told; failed; full and open without a call.
    hooks: IntCounterVec = counters(&["hook", "result"]), "dormouse_hooks_total";
    /// Duration of such a call with its repetitions.
    hook_seconds: HistogramVec = histograms("hook", SECONDS), "dormouse_hook_seconds";
    /// 1 while a hook's backend is not called because it has failed.
    hook_breaker: IntGaugeVec = gauges("hook"), "dormouse_hook_breaker_open";
    /// Size of a record when its connection falls asleep.
    record_bytes: Histogram = histogram(BYTES), "dormouse_record_bytes";
}

impl Metrics {
    /// The Prometheus text page.
    ///
    /// # Errors
    /// When a collector fails.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut page = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut page)?;
        Ok(String::from_utf8_lossy(&page).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_metrics_register_and_show() {
        let metrics = Metrics::new().expect("unique names");
        metrics.restarts.inc();
        let page = metrics.render().expect("renders");
        assert!(page.contains("dormouse_restarts_total 1"), "{page}");
        assert!(page.contains("process_open_fds"), "{page}");
    }
}
