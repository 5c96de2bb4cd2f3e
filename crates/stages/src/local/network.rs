//! Where the pods of the local stage are.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result, bail};

use harness::trouble::Trouble;

/// Addresses for pods: on Linux every pod has one of its own in 127.0.0.0/8 and
/// so the ports of its manifest, as in a cluster; elsewhere all share 127.0.0.1.
#[derive(Debug)]
pub struct Network {
    subnet: [u8; 2],
    pods: u8,
}

impl Network {
    /// A network that no other stage has: one of 60,000.
    pub fn new() -> Self {
        Self {
            subnet: [fastrand::u8(16..=250), fastrand::u8(..)],
            pods: 1,
        }
    }

    /// The address of a further pod.
    pub fn pod(&mut self) -> IpAddr {
        self.pods += 1;
        let [second, third] = self.subnet;
        if cfg!(target_os = "linux") {
            Ipv4Addr::new(127, second, third, self.pods).into()
        } else {
            Ipv4Addr::LOCALHOST.into()
        }
    }
}

/// This port of this pod if it is free on this machine, or any free one: who
/// listens on all addresses has the port on every pod.
pub fn free_port(pod: IpAddr, wanted: u16) -> Result<SocketAddr> {
    for port in [wanted, 0] {
        match TcpListener::bind((pod, port)) {
            Ok(listener) => return Ok(listener.local_addr()?),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error).with_context(|| format!("cannot listen on {pod}")),
        }
    }
    bail!(Trouble::new(
        format!("{pod} has no free port"),
        "end something that listens"
    ))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::{Network, free_port};

    #[test]
    fn a_port_that_is_taken_is_replaced() {
        let pod = Network::new().pod();
        let taken = TcpListener::bind((pod, 0)).unwrap();
        let wanted = taken.local_addr().unwrap();
        let found = free_port(pod, wanted.port()).unwrap();
        assert_eq!(found.ip(), pod);
        assert_ne!(found.port(), wanted.port());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn pods_have_addresses_of_their_own() {
        let mut network = Network::new();
        assert_ne!(network.pod(), network.pod());
    }
}
