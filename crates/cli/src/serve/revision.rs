//! Verification with an answer that includes a revision, for callers that know of a change.

use std::time::Duration;

use clap::Args;
use http::HeaderName;
use tower_api_tokens::{ApiTokenLayer, RequestHead, Revision};

use super::client_address::ClientAddresses;
use crate::time;

#[derive(Args)]
#[group(skip)]
pub(super) struct Options {
    /// Header field in which your proxies may demand a revision, as returned with a change: the answer then
    /// includes this change. Such a request may cost a read of the change log and a lookup, so the
    /// proxies must not pass on the field of a client
    #[arg(long, value_name = "FIELD", requires = "trusted_proxies")]
    required_revision_header: Option<HeaderName>,
    /// How long a request waits until this node has applied the revision, before the token is looked up
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = time::duration,
        default_value = "1s",
        requires = "required_revision_header"
    )]
    required_revision_wait: Duration,
}

/// A revision that no store has. A demand that cannot be read is not met.
const NONE: Revision = Revision::new(u64::MAX, 0);

/// Configures the layer.
pub(super) fn configure(
    layer: ApiTokenLayer,
    options: &Options,
    addresses: &ClientAddresses,
) -> ApiTokenLayer {
    let Some(name) = options.required_revision_header.clone() else {
        return layer;
    };
    let addresses = addresses.clone();
    let wait = options.required_revision_wait;
    layer.required_revision(wait, move |request| required(&name, &addresses, request))
}

/// The revision that a trusted proxy demands.
fn required(
    name: &HeaderName,
    addresses: &ClientAddresses,
    request: RequestHead<'_>,
) -> Option<Revision> {
    let mut values = request.headers().get_all(name).iter();
    let value = values.next()?;
    if !addresses.trusts(request) {
        return None;
    }
    let revision = value.to_str().ok().and_then(|text| text.parse().ok());
    Some(revision.filter(|_| values.next().is_none()).unwrap_or(NONE))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::serve::network::Peer;

    fn demanded(peer: &str, fields: &[&str]) -> Option<Revision> {
        let addresses = ClientAddresses::trusting("x-real-ip", "10.0.0.1");
        let name = HeaderName::from_static("revision");
        let mut request = Request::get("/").extension(Peer::Ip(peer.parse().unwrap()));
        for field in fields {
            request = request.header(&name, *field);
        }
        let request = request.body(()).unwrap();
        required(&name, &addresses, RequestHead::from(&request))
    }

    #[test]
    fn only_a_trusted_proxy_demands_a_revision() {
        let revision = Revision::new(42, 7);
        let text = revision.to_string();
        assert_eq!(demanded("10.0.0.1", &[&text]), Some(revision));
        assert_eq!(demanded("10.0.0.2", &[&text]), None);
        assert_eq!(demanded("10.0.0.1", &[]), None);
    }

    #[test]
    fn a_demand_that_cannot_be_read_is_not_met() {
        let text = Revision::new(42, 7).to_string();
        for fields in [&["42"][..], &[""], &["x"], &[&text, &text]] {
            assert_eq!(demanded("10.0.0.1", fields), Some(NONE), "{fields:?}");
        }
    }
}
