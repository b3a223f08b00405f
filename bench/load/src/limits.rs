//! What this machine can hold, checked before a load starts rather than found out in the middle.

use std::fs;
use std::io;
use std::net::IpAddr;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use server_process::address::Transport;

use crate::Plan;

/// Descriptors that are left for everything but connections: the standard streams, epoll, timers,
/// logs.
const DESCRIPTOR_RESERVE: u64 = 32;

const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Raises this process's soft limit of descriptors to its hard limit, as far as the plan needs it,
/// and checks that descriptors and ports suffice.
///
/// # Errors
///
/// Which side runs out of what, and what to do about it.
pub fn prepare(plan: &Plan) -> io::Result<()> {
    check_descriptors(plan.total_connections() as u64)?;
    if plan.address.transport() != Transport::Unix {
        check_ports(plan.total_connections() as u64, &plan.sources)?;
    }
    Ok(())
}

/// The limits of this process as reports have them.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Limits {
    /// Soft limit of descriptors (RLIMIT_NOFILE).
    pub descriptors: Option<u64>,
    /// First and last port the system chooses from, both included.
    pub local_ports: Option<(u16, u16)>,
}

/// The limits as they are now; `None` is unavailable.
pub fn current() -> Limits {
    Limits {
        descriptors: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
        local_ports: local_ports(),
    }
}

fn check_descriptors(connections: u64) -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let needed = connections.saturating_add(DESCRIPTOR_RESERVE);
    if needed <= soft {
        return Ok(());
    }
    if needed <= hard {
        return Ok(setrlimit(Resource::RLIMIT_NOFILE, needed, hard)?);
    }
    Err(too_many(format!(
        "the client side runs out of descriptors: {connections} connections need {needed}, and the \
         hard limit of this process is {hard} (ulimit -Hn). Use at most {} connections, or raise \
         the limit, or share them among several processes",
        hard.saturating_sub(DESCRIPTOR_RESERVE)
    )))
}

fn check_ports(connections: u64, sources: &[IpAddr]) -> io::Result<()> {
    // Without the range, connect(2) has to find out.
    let Some((first, last)) = local_ports() else { return Ok(()) };
    let ports = u64::from(last.saturating_sub(first)) + 1;
    let addresses = sources.len().max(1) as u64;
    if connections <= ports * addresses {
        return Ok(());
    }
    Err(too_many(format!(
        "the client side runs out of ports: {connections} connections to one address from \
         {addresses} source address(es) with {ports} ports each ({first}-{last}). Use at most {}, \
         or give more --source addresses (all of 127.0.0.0/8 is loopback), or widen \
         net.ipv4.ip_local_port_range",
        ports * addresses
    )))
}

fn local_ports() -> Option<(u16, u16)> {
    let text = fs::read_to_string(PORT_RANGE).ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn too_many(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_than_descriptors_names_the_client_side_and_the_most_that_fit() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let message = check_descriptors(hard).unwrap_err().to_string();
        assert!(message.contains("client side runs out of descriptors"), "{message}");
        assert!(message.contains(&format!("at most {}", hard - DESCRIPTOR_RESERVE)), "{message}");
    }

    #[test]
    fn a_second_source_address_doubles_the_ports() {
        let (first, last) = local_ports().unwrap();
        let ports = u64::from(last - first) + 1;
        assert!(check_ports(ports, &[]).is_ok());
        let message = check_ports(ports + 1, &[]).unwrap_err().to_string();
        assert!(message.contains("client side runs out of ports"), "{message}");
        let sources = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2])];
        assert!(check_ports(2 * ports, &sources).is_ok());
        assert!(check_ports(2 * ports + 1, &sources).is_err());
    }
}
