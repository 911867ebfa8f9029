//! Hooks: questions to the application's own backend over HTTP, whatever language it is written in. Who a token stands for,
//! who may enter a channel, what may be published, calls of its own, and the news that a client is gone.
//!
//! A backend is slow, dead, flapping or lying sooner or later. So each call has a deadline, each hook its own bound on calls
//! under way and its own circuit breaker, what is safe to ask again is asked again, and what is then still unknown is decided
//! by the hook's declared fallback. Calls run on a thread of their own: shards only wait for answers, in jobs.
//!
//! `call.rs` is what is asked and answered, `backend.rs` decides whether to call, `caller.rs` calls, `breaker.rs` and
//! `memory.rs` are what a hook remembers.

mod backend;
mod breaker;
mod call;
mod caller;
mod memory;

pub use backend::Hooks;
pub use call::{Answer, Call, Hook, Question};
