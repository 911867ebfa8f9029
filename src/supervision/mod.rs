//! TEMPORARY
#![allow(missing_docs)]
use std::{time::Duration, sync::Arc, any::Any};
pub fn catch<T>(f: impl FnOnce() -> T) -> Result<T, CrashReport> { std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).map_err(CrashReport::from_panic) }
#[derive(Clone, Debug)]
pub struct CrashReport { pub place: Arc<str>, pub message: Arc<str> }
impl CrashReport { pub fn from_panic(p: Box<dyn Any + Send>) -> Self { let m = p.downcast_ref::<&str>().map(|s| s.to_string()).or(p.downcast_ref::<String>().cloned()).unwrap_or_default(); Self { place: "unknown".into(), message: m.into() } } }
#[derive(Clone, Debug)]
pub struct Policy { pub max_restarts: u32, pub within: Duration }
impl Policy { pub fn new(max_restarts: u32, within: Duration) -> Self { Self { max_restarts, within } } pub fn system() -> Self { Self::new(100, Duration::from_secs(10)) } }
#[derive(Default, Debug)]
pub struct Budget(Vec<u32>);
#[derive(PartialEq, Eq, Debug)]
pub enum Verdict { Restart, GiveUp }
impl Budget {
    pub fn spend(&mut self, now: u32, p: &Policy) -> Verdict { self.0.retain(|t| now.wrapping_sub(*t) < p.within.as_millis() as u32); if self.0.len() as u32 >= p.max_restarts { Verdict::GiveUp } else { self.0.push(now); Verdict::Restart } }
    pub fn is_fresh(&self, now: u32, p: &Policy) -> bool { self.0.iter().all(|t| now.wrapping_sub(*t) >= p.within.as_millis() as u32) }
}
pub struct Beat;
impl Beat { pub fn begin(&self, _: u64, _: u64, _: &'static str) {} pub fn end(&self) {} }
#[derive(Clone)]
pub struct Watchdog;
impl Watchdog { pub fn start(_: Duration, _: crate::clock::Clock) -> Self { Self } pub fn watch(&self, _: &str) -> Arc<Beat> { Arc::new(Beat) } }
#[derive(Clone, Default)]
pub struct Children;
impl Children {
    pub fn start<A: actix::Actor<Context = actix::Context<A>> + actix::Supervised>(&self, arbiter: &actix_rt::ArbiterHandle, _name: String, _: Policy, make: impl FnOnce() -> A + Send + 'static) -> actix::Addr<A> {
        A::start_in_arbiter(arbiter, move |_| make())
    }
}
