//! A server as a child process.
