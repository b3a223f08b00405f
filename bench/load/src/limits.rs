//! The limits of this machine, checked before a load starts.

use std::fs;
use std::net::IpAddr;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use server_process::address::Transport;

use crate::{Error, Plan, Result};

/// Descriptors for everything but connections: the standard streams, epoll, timers, files.
const DESCRIPTOR_RESERVE: u64 = 32;

const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Checks that the plan has enough descriptors and ports. Raises this process's soft limit of
/// descriptors if the plan needs more and the hard limit allows it.
///
/// # Errors
///
/// [`Error::TooMany`]: which side runs out of what, and what to do.
pub(crate) fn prepare(plan: &Plan) -> Result<()> {
    check_descriptors(plan.total_connections() as u64)?;
    if plan.address.transport() != Transport::Unix {
        check_ports(plan.total_connections() as u64, &plan.sources)?;
    }
    Ok(())
}

/// The limits of this process. `None` is unavailable.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Limits {
    /// Soft limit of descriptors (RLIMIT_NOFILE).
    pub descriptors: Option<u64>,
    /// First and last port of the range from which the system chooses.
    pub local_ports: Option<(u16, u16)>,
}

impl Limits {
    /// The current limits.
    pub(crate) fn current() -> Limits {
        Limits {
            descriptors: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
            local_ports: local_ports(),
        }
    }
}

fn check_descriptors(connections: u64) -> Result<()> {
    let limits = getrlimit(Resource::RLIMIT_NOFILE);
    let (soft, hard) = limits.map_err(Error::generator("getrlimit(2)"))?;
    let needed = connections.saturating_add(DESCRIPTOR_RESERVE);
    if needed <= soft {
        return Ok(());
    }
    if needed <= hard {
        let raised = setrlimit(Resource::RLIMIT_NOFILE, needed, hard);
        return raised.map_err(Error::generator("setrlimit(2)"));
    }
    Err(Error::TooMany(format!(
        "the client side runs out of descriptors: {connections} connections need {needed}, and the \
         hard limit of this process is {hard} (ulimit -Hn). Use at most {} connections, raise the \
         limit, or share the connections among several processes",
        hard.saturating_sub(DESCRIPTOR_RESERVE)
    )))
}

fn check_ports(connections: u64, sources: &[IpAddr]) -> Result<()> {
    // Without a known range, connect(2) finds a lack of ports later.
    let Some((first, last)) = local_ports() else { return Ok(()) };
    let ports = u64::from(last.saturating_sub(first)) + 1;
    let addresses = sources.len().max(1) as u64;
    if connections <= ports * addresses {
        return Ok(());
    }
    Err(Error::TooMany(format!(
        "the client side runs out of ports: {connections} connections to one address from \
         {addresses} source address(es) with {ports} ports each ({first}-{last}). Use at most {} \
         connections, give more --source addresses (all of 127.0.0.0/8 is loopback), or widen \
         net.ipv4.ip_local_port_range",
        ports * addresses
    )))
}

fn local_ports() -> Option<(u16, u16)> {
    let text = fs::read_to_string(PORT_RANGE).ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_descriptors_are_reported_with_the_side_and_the_possible_number() {
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
