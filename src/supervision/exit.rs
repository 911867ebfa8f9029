//! Why an actor ended, in OTP's words. A value for lists and logs; deciding what follows is the supervisor's.

use std::fmt;

use serde::{Serialize, Serializer};

use super::CrashReport;

/// See the module's text. As the last exit of an actor that runs, it is what its predecessor died of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It stopped by itself; it is not started again.
    Normal,
    /// Nobody holds its address any more, or its thread ended.
    Shutdown,
    /// It panicked.
    Crash(CrashReport),
    /// It panicked, and its restart budget was spent.
    GaveUp(CrashReport),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Crash(report) => write!(f, "crash: {report}"),
            Self::GaveUp(report) => write!(f, "gave up: {report}"),
        }
    }
}

/// As its text.
impl Serialize for Exit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
