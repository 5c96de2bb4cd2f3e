//! Where an issuer's token endpoint is (OpenID Connect Discovery 1.0 §4).

use reqwest::Url;
use serde::Deserialize;

use crate::{
    SourceError,
    error::boxed,
    oauth::{read, retry_after, unreachable},
};

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: Url,
}

/// Why an issuer's metadata is of no use.
#[derive(Debug, thiserror::Error)]
enum DiscoveryError {
    #[error("{url} is no URL")]
    Url { url: String },
    #[error("{url} answered {status}")]
    Status {
        url: Url,
        status: reqwest::StatusCode,
    },
    #[error("{url} is no provider metadata: {source}")]
    Metadata { url: Url, source: serde_json::Error },
    /// Metadata of another issuer may be an attacker's (§4.3).
    #[error("{url} speaks of the issuer {found}, not of {wanted}")]
    Issuer {
        url: Url,
        found: String,
        wanted: String,
    },
}

pub(crate) async fn token_endpoint(
    http: &reqwest::Client,
    issuer: &str,
) -> Result<Url, SourceError> {
    let url = format!(
        "{}/.well-known/openid-configuration",
        issuer.trim_end_matches('/')
    );
    let url: Url = url
        .parse()
        .map_err(|_| SourceError::unavailable(DiscoveryError::Url { url }))?;
    let answer = http
        .get(url.clone())
        .send()
        .await
        .map_err(|error| unreachable(&error))?;
    let status = answer.status();
    if !status.is_success() {
        return Err(SourceError::Unavailable {
            source: boxed(DiscoveryError::Status { url, status }),
            retry_after: retry_after(answer.headers()),
        });
    }
    let body = read(answer).await?;
    let metadata: Metadata = serde_json::from_slice(&body).map_err(|source| {
        SourceError::unavailable(DiscoveryError::Metadata {
            url: url.clone(),
            source,
        })
    })?;
    if metadata.issuer != issuer {
        let (found, wanted) = (metadata.issuer, issuer.to_owned());
        return Err(SourceError::unavailable(DiscoveryError::Issuer {
            url,
            found,
            wanted,
        }));
    }
    Ok(metadata.token_endpoint)
}
