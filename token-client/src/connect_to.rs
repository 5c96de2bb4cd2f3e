//! Connections that all go to one place.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A name resolver with one answer: this address and port, whatever the name.
///
/// Where nothing redirects a workload's connections to its sidecar (iptables
/// does in a pod), they can be made there in the first place; the requests stay
/// as they are, host header included. As `--connect-to` of curl. A URL that
/// names a port itself, or an IP address for a host, is connected to as it says.
#[derive(Clone, Copy, Debug)]
pub struct ConnectTo(pub SocketAddr);

impl Resolve for ConnectTo {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(std::iter::once(self.0));
        Box::pin(std::future::ready(Ok(addresses)))
    }
}
