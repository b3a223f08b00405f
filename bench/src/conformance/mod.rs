//! The contract every server keeps, case by case.
