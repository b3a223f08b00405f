//! The mistakes that a server can make.

use clap::ValueEnum;

/// One mistake each. Most of them were found in servers that people run. The tests `suite` and `check` say
/// what must be found in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// No mistake: the server keeps the contract.
    None,

    /// The server reads, and writes nothing.
    NeverAnswers,
    /// When a read fills the buffer, its last byte is lost: an off-by-one.
    DropsTheLastByte,
    /// Once on each connection, after 6 MiB, two halves of a buffer change places.
    SwapsTwoChunks,
    /// The server drops everything after the first read.
    EchoesOnlyTheFirstRead,

    /// The server treats the peer's half-close as a close.
    ClosesOnHalfClose,
    /// An error of one connection ends the process.
    EndsOnReset,
    /// An error of one connection is a panic of its thread, which never closes the connection.
    PanicsOnReset,
    /// A copy of the socket stays open after the end of the connection.
    LeaksADescriptor,
    /// The thread stays after the end of the connection.
    LeaksAThread,

    /// The accepting thread serves the client itself, and all other clients wait.
    ServesOneAtATime,
    /// All threads write under one lock.
    OneSlowReaderStallsAll,
    /// A client that keeps sending is served, and all other clients wait.
    ServesOneUntilItIsSilent,
    /// The server continues to read, and queues all bytes that the peer does not take.
    BuffersWithoutBound,
    /// For each message, the server asks the kernel about every client.
    AsksAboutEveryClient,
    /// A client that sends nothing for 50 ms is dropped.
    DropsIdleClients,

    /// The server accepts the client after the last place is taken, and closes it.
    TurnsAwayWhenFull,
    /// A full server polls without a timeout until it has room.
    SpinsWhenFull,
    /// When out of descriptors, the server calls accept(2) again without a pause.
    SpinsOnEmfile,
    /// EMFILE ends the server.
    EndsOnEmfile,

    /// SIGTERM does nothing.
    IgnoresSigterm,
    /// On SIGTERM, the server exits and drops the bytes that have arrived.
    EndsOnSigtermAtOnce,
    /// The drain has no limit: it lasts until all peers have read their echoes.
    WaitsForStuckPeers,
    /// The server accepts and serves new clients while it drains.
    AcceptsWhileItDrains,
    /// EINTR ends the server.
    EndsOnEintr,

    /// The server prints a second line to stdout.
    PrintsTwice,
    /// The server panics when the address is in use, and prints no clear line.
    PanicsWhenTheAddressIsInUse,
    /// The server does not set SO_REUSEADDR: connections in TIME_WAIT keep the port in use.
    KeepsThePort,
    /// An idle server polls without a timeout.
    SpinsWhenIdle,
}
