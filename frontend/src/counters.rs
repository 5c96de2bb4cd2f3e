//! What the token cache did, for `/metrics`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use token_client::TokenCache;

/// The token cache's own counters, read when asked for.
#[derive(Debug)]
pub(crate) struct TokenCounters(pub(crate) TokenCache);

impl Collector for TokenCounters {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let counters = self.0.counters();
        for (name, help, value) in [
            ("fetches", "Attempts to obtain a token", counters.fetches),
            (
                "rejected",
                "Attempts that the token endpoint refused",
                counters.rejected,
            ),
            (
                "unavailable",
                "Attempts that brought no usable answer",
                counters.unavailable,
            ),
            (
                "served_stale",
                "Calls that got a token from its refresh window",
                counters.served_stale,
            ),
            (
                "waited",
                "Calls that had to wait for an attempt",
                counters.waited,
            ),
            (
                "refused_early",
                "Calls that failed at once, before the next attempt",
                counters.refused_early,
            ),
            (
                "invalidated",
                "Tokens dropped after a 401",
                counters.invalidated,
            ),
        ] {
            let name = format!("token_client_{name}");
            let metric = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)?;
        }
        Ok(())
    }
}
