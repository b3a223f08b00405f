//! What a server process cost, seen from outside.

mod reading;

pub use reading::Reading;
