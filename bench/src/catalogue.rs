//! The servers of this workspace.
