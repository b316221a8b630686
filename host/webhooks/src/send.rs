//! One attempt: a signed POST to the address, and what its answer means.

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use url::Url;
use vivarium_domain::{Delivery, DeliveryAttempt, TenantId, Timestamp};
use vivarium_egress::{AllowedHost, EgressError, EgressPolicy, HostRule, Limits, Meter};

use crate::sign::signature;
use crate::{Rooms, WebhooksConfig};

/// The largest body: a run's steps may hold much text.
const MAX_BODY_BYTES: u64 = 64 << 20;

/// The whole exchange. Nothing is read of the answer but its head.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    TryAgain,
    GiveUp,
}

/// Sends a delivery's body.
pub(crate) async fn attempt(
    rooms: &Rooms,
    config: &WebhooksConfig,
    tenant: &TenantId,
    delivery: &Delivery,
    body: Vec<u8>,
) -> (DeliveryAttempt, Verdict) {
    let at = Timestamp::now();
    let failed = |error: String| DeliveryAttempt { at, status: None, error: Some(error) };
    let id = delivery.run_id.to_string();
    let signature = signature(&(rooms.keys)(tenant), &id, at.as_second(), &body);
    let request = Request::builder()
        .method(Method::POST)
        .uri(&delivery.url)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("vivarium/", env!("CARGO_PKG_VERSION")))
        .header("webhook-id", id)
        .header("webhook-timestamp", at.as_second())
        .header("webhook-signature", signature)
        .body(Full::new(Bytes::from(body)));
    let (policy, request) = match (policy(config, &delivery.url), request) {
        (Ok(policy), Ok(request)) => (policy, request),
        (Err(error), _) => return (failed(error), Verdict::GiveUp),
        (_, Err(error)) => return (failed(error.to_string()), Verdict::GiveUp),
    };
    match rooms.egress.send(&policy, &Meter::default(), request).await {
        Ok(response) => {
            let status = response.status();
            let verdict = verdict(status);
            let error = (verdict != Verdict::Delivered).then(|| format!("the server answered {status}"));
            (DeliveryAttempt { at, status: Some(status.as_u16()), error }, verdict)
        }
        Err(error) => (failed(sentence(&error)), verdict_of(&error)),
    }
}

/// The address's own host at its own port, and nothing else; whether it is public, the door sees.
fn policy(config: &WebhooksConfig, url: &str) -> Result<EgressPolicy, String> {
    let url = Url::parse(url).map_err(|error| format!("the address is no URL: {error}"))?;
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err("the address has no host".to_owned());
    };
    let rule: HostRule = format!("{host}:{port}").parse().map_err(|error| format!("the address: {error}"))?;
    let hosts = vec![AllowedHost::from(rule)];
    let exceptions = config.dangerously_allow_private_addresses.clone();
    let limits = Limits {
        max_request_bytes: MAX_BODY_BYTES,
        max_total_bytes: 2 * MAX_BODY_BYTES,
        total_timeout: TIMEOUT,
        ..Limits::default()
    };
    Ok(EgressPolicy {
        requested: hosts.clone(),
        granted: hosts,
        dangerously_allow_private_addresses: exceptions,
        limits,
        ..EgressPolicy::default()
    })
}

/// A server that is busy or broken may be asked again; one that refuses means it, and one that sends us elsewhere is not
/// followed.
fn verdict(status: StatusCode) -> Verdict {
    const TOO_EARLY: u16 = 425;
    match status.as_u16() {
        200..=299 => Verdict::Delivered,
        408 | TOO_EARLY | 429 | 500.. => Verdict::TryAgain,
        _ => Verdict::GiveUp,
    }
}

fn verdict_of(error: &EgressError) -> Verdict {
    match error {
        EgressError::Dns { .. }
        | EgressError::Connect { .. }
        | EgressError::Tls { .. }
        | EgressError::Timeout { .. }
        | EgressError::Protocol { .. }
        | EgressError::RequestBody(_) => Verdict::TryAgain,
        _ => Verdict::GiveUp,
    }
}

/// The door speaks to who writes plugins; this is for who wants to be called back.
fn sentence(error: &EgressError) -> String {
    match error {
        EgressError::PrivateAddress { host, port, why, .. } => format!(
            "{host}:{port} is not on the public internet ({why}); only an operator can allow it, with \
             dangerously_allow_private_addresses = [\"{host}:{port}\"]"
        ),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_or_broken_server_is_asked_again_and_a_refusal_counts() {
        let of = |status: u16| verdict(StatusCode::from_u16(status).unwrap());
        for delivered in [200, 202, 204] {
            assert_eq!(of(delivered), Verdict::Delivered);
        }
        for again in [408, 425, 429, 500, 503, 599] {
            assert_eq!(of(again), Verdict::TryAgain, "{again}");
        }
        for refusal in [301, 307, 400, 401, 404, 410] {
            assert_eq!(of(refusal), Verdict::GiveUp, "{refusal}");
        }
    }

    #[test]
    fn only_the_addresss_own_host_is_reached() {
        let policy = policy(&WebhooksConfig::default(), "https://[::1]:8443/done").unwrap();
        assert_eq!(policy.granted.iter().map(|host| host.rule.to_string()).collect::<Vec<_>>(), ["[::1]:8443"]);
    }
}
