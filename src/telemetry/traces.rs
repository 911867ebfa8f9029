//! Traces of some publications: from the request to the kernels' taking the event, as spans for an OpenTelemetry collector.
//!
//! Which ones is decided by a hash of the event's place, so every shard decides alike and an event carries nothing for it.
//! Spans are made when they have ended; a thread of the SDK sends them. When the collector is slow or gone its queue fills and
//! spans are lost, never time. Payloads and tokens are not known here.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchSpanProcessor, SpanData, SpanProcessor},
};

use crate::{clock::Clock, config::Telemetry, telemetry::collector::Collector};

/// Chooses publications and sends their spans; one that is off chooses none. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Option<Arc<Sending>>);

#[derive(Debug)]
struct Sending {
    spans: BatchSpanProcessor,
    scope: InstrumentationScope,
    one_in: u64,
    hashes: RandomState,
    /// Of the clock's start.
    start: SystemTime,
}

/// A publication that is traced.
#[derive(Clone, Debug)]
pub struct Trace {
    sending: Arc<Sending>,
    id: TraceId,
    /// The span of the publication itself, above all others.
    root: SpanId,
}

/// A part of a trace that is under way.
#[derive(Debug)]
pub struct Span {
    trace: Trace,
    name: &'static str,
    id: SpanId,
    parent: SpanId,
    /// In microseconds of the node's clock.
    began: u64,
    attributes: Vec<KeyValue>,
}

impl Tracer {
    /// As the configuration asks; `node` is what the collector knows this process by.
    ///
    /// # Errors
    /// The collector's address is none.
    pub fn new(telemetry: &Telemetry, node: &str, clock: Clock) -> Result<Self, ExporterBuildError> {
        if telemetry.traces.is_empty() {
            return Ok(Self(None));
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::default())
            .with_protocol(Protocol::HttpJson)
            .with_endpoint(&telemetry.traces)
            .build()?;
        let mut spans = BatchSpanProcessor::builder(exporter).build();
        let version = env!("CARGO_PKG_VERSION");
        let attributes =
            [KeyValue::new("service.instance.id", node.to_owned()), KeyValue::new("service.version", version)];
        spans.set_resource(&Resource::builder().with_service_name("dormouse").with_attributes(attributes).build());
        let now = clock.now();
        let start = UNIX_EPOCH + Duration::from_millis(now.unix_ms) - Duration::from_micros(now.micros);
        let scope = InstrumentationScope::builder("dormouse").with_version(version).build();
        let one_in = u64::from(telemetry.trace_one_in.max(1));
        Ok(Self(Some(Arc::new(Sending { spans, scope, one_in, hashes: RandomState::new(), start }))))
    }

    /// Whether any are chosen.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The trace of the event at this place, if it has one: the same on every shard. `at`: when it was published.
    #[must_use]
    pub fn trace(&self, channel: &str, offset: u64, at: u64) -> Option<Trace> {
        let sending = self.0.as_ref()?;
        let [chance, high, low, root] =
            [0_u8, 1, 2, 3].map(|part| move || sending.hashes.hash_one((part, channel, offset, at)));
        if !chance().is_multiple_of(sending.one_in) {
            return None;
        }
        let id = TraceId::from((u128::from(high()) << 64) | u128::from(low()));
        Some(Trace { sending: Arc::clone(sending), id, root: SpanId::from(root()) })
    }

    /// Sends what waits, for at most so long.
    pub fn end(&self, patience: Duration) {
        if let Some(sending) = &self.0
            && let Err(error) = sending.spans.shutdown_with_timeout(patience)
        {
            tracing::warn!(%error, "the last traces are lost");
        }
    }
}

impl Trace {
    /// The publication itself, which began at `began`.
    #[must_use]
    pub fn root(&self, name: &'static str, began: u64) -> Span {
        let (id, parent) = (self.root, SpanId::INVALID);
        Span { trace: self.clone(), name, id, parent, began, attributes: Vec::new() }
    }

    /// A part of it; `nth` tells parts of one name apart.
    #[must_use]
    pub fn part(&self, name: &'static str, nth: u64, began: u64) -> Span {
        self.below(self.root, name, nth, began)
    }

    fn below(&self, parent: SpanId, name: &'static str, nth: u64, began: u64) -> Span {
        let hash = self.sending.hashes.hash_one((parent.to_bytes(), name, nth));
        Span { trace: self.clone(), name, id: SpanId::from(hash), parent, began, attributes: Vec::new() }
    }
}

impl Span {
    /// A part of this part.
    #[must_use]
    pub fn part(&self, name: &'static str, nth: u64, began: u64) -> Self {
        self.trace.below(self.id, name, nth, began)
    }

    /// Says something of it.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<opentelemetry::Value>) -> Self {
        self.attributes.push(KeyValue::new(key, value));
        self
    }

    /// It is over, at `ended` of the node's clock.
    pub fn end(self, ended: u64) {
        self.finish(ended, Status::Ok);
    }

    /// It did not come to its end.
    pub fn fail(self, ended: u64, why: &'static str) {
        self.finish(ended, Status::error(why));
    }

    fn finish(self, ended: u64, status: Status) {
        let Self { trace: Trace { sending, id: trace, .. }, name, id, parent, began, attributes } = self;
        let at = |micros| sending.start + Duration::from_micros(micros);
        sending.spans.on_end(SpanData {
            span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, TraceState::NONE),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: if parent == SpanId::INVALID { SpanKind::Server } else { SpanKind::Internal },
            name: name.into(),
            start_time: at(began),
            end_time: at(ended.max(began)),
            attributes,
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status,
            instrumentation_scope: sending.scope.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracer(one_in: u32) -> Tracer {
        // Nobody listens there, and nothing is sent before the end.
        let telemetry =
            Telemetry { traces: "http://127.0.0.1:9".to_owned(), trace_one_in: one_in, ..Telemetry::default() };
        Tracer::new(&telemetry, "n1", Clock::start()).expect("an address")
    }

    #[test]
    fn every_shard_chooses_the_same_and_about_as_many_as_asked_for() {
        let (tracer, other) = (tracer(10), tracer(10));
        let chosen: Vec<u64> = (1..=10_000).filter(|&offset| tracer.trace("room:a", offset, 5).is_some()).collect();
        assert!((800..1200).contains(&chosen.len()), "{} of 10,000", chosen.len());
        let again = chosen.iter().filter_map(|&offset| tracer.clone().trace("room:a", offset, 5));
        let ids: std::collections::HashSet<_> = again.map(|trace| trace.id).collect();
        assert_eq!(ids.len(), chosen.len(), "each has its own, and has it wherever it is asked");
        assert!(other.trace("room:a", chosen[0], 5).is_none_or(|trace| !ids.contains(&trace.id)), "of another node");
    }

    #[test]
    fn parts_of_a_trace_are_told_apart_and_each_knows_what_it_is_part_of() {
        let trace = tracer(1).trace("room:a", 1, 5).expect("every one");
        let fan_out = trace.part("fan out", 0, 3);
        let ids = [trace.part("fan out", 1, 3), fan_out.part("deliver", 0, 4), fan_out.part("deliver", 1, 4)];
        assert_eq!(ids.each_ref().map(|span| span.parent), [trace.root, fan_out.id, fan_out.id]);
        assert!(ids.iter().all(|span| span.id != fan_out.id) && ids[1].id != ids[2].id);
    }

    #[test]
    fn one_that_is_off_chooses_none() {
        assert!((0..100).all(|offset| Tracer::default().trace("room:a", offset, 5).is_none()));
    }
}
