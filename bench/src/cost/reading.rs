//! A measured value, or the reason why there is none.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A measured value, or the reason why there is none. A missing measurement is never written as 0.
///
/// In JSON, a reading is the bare value, or `{"unavailable": "the reason"}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reading<T> {
    /// The measured value.
    Measured(T),
    /// There is no value.
    Unavailable {
        /// The reason, as a phrase.
        unavailable: String,
    },
}

impl<T> Reading<T> {
    /// Returns a reading without a value, for the given reason.
    pub fn unavailable(reason: impl fmt::Display) -> Reading<T> {
        Reading::Unavailable { unavailable: reason.to_string() }
    }

    /// Returns the value, or `None` for a reading without a value.
    pub fn value(&self) -> Option<&T> {
        match self {
            Reading::Measured(value) => Some(value),
            Reading::Unavailable { .. } => None,
        }
    }

    /// Applies `change` to the value. A reading without a value keeps its reason.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Reading::Measured(value) => Reading::Measured(change(value)),
            Reading::Unavailable { unavailable } => Reading::Unavailable { unavailable },
        }
    }

    /// Combines the values of `self` and `other`. If a value is missing, returns its reason. If
    /// both values are missing, returns the reason of `self`.
    pub fn zip_with<U, V>(self, other: Reading<U>, combine: impl FnOnce(T, U) -> V) -> Reading<V> {
        match (self, other) {
            (Reading::Measured(ours), Reading::Measured(theirs)) => {
                Reading::Measured(combine(ours, theirs))
            }
            (Reading::Unavailable { unavailable }, _)
            | (_, Reading::Unavailable { unavailable }) => Reading::Unavailable { unavailable },
        }
    }
}

impl<T, E: fmt::Display> From<Result<T, E>> for Reading<T> {
    fn from(result: Result<T, E>) -> Reading<T> {
        match result {
            Ok(value) => Reading::Measured(value),
            Err(error) => Reading::unavailable(error),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Reading<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reading::Measured(value) => value.fmt(f),
            Reading::Unavailable { unavailable } => write!(f, "unavailable: {unavailable}"),
        }
    }
}
