//! What a server can do wrong.

use clap::ValueEnum;

/// One mistake each, most of them found in servers that people run. The test `suite` says which cases
/// must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// Nothing: it keeps the contract.
    None,

    /// A read that filled the buffer loses its last byte: an off-by-one.
    DropsTheLastByte,
    /// Once on a connection, late: two halves of a buffer change places.
    SwapsTwoChunks,
    /// What comes after the first read is thrown away.
    EchoesOnlyTheFirstRead,

    /// It takes the peer's half-close for a close.
    ClosesOnHalfClose,
    /// A connection's error ends the process.
    EndsOnReset,
    /// A copy of the socket stays open when the connection has ended.
    LeaksADescriptor,
    /// The thread stays when the connection has ended.
    LeaksAThread,

    /// The accepting thread serves the client, and the others wait.
    ServesOneAtATime,
    /// All threads write under one lock.
    OneSlowReaderStallsAll,
    /// It serves a client for as long as that has something to say.
    ServesOneUntilItIsSilent,
    /// It reads on and queues what the peer does not take.
    BuffersWithoutBound,
    /// A client that says nothing for a moment is dropped.
    DropsIdleClients,

    /// It accepts and closes the client that is one too many.
    TurnsAwayWhenFull,
    /// It asks again and again whether there is room.
    SpinsWhenFull,
    /// It accepts again and again when out of descriptors.
    SpinsOnEmfile,
    /// It takes EMFILE for the end.
    EndsOnEmfile,

    /// SIGTERM does nothing.
    IgnoresSigterm,
    /// It exits without a look at what its clients have sent.
    EndsOnSigtermAtOnce,
    /// It drains for as long as a peer is stuck.
    WaitsForStuckPeers,
    /// It serves whoever comes while it drains.
    AcceptsWhileItDrains,
    /// It takes EINTR for an error.
    EndsOnEintr,

    /// A second line on stdout.
    PrintsTwice,
    /// A panic where a clear line belongs.
    PanicsWhenTheAddressIsInUse,
    /// No SO_REUSEADDR: the port is taken until TIME_WAIT is over.
    KeepsThePort,
    /// It polls without a timeout.
    SpinsWhenIdle,
}
