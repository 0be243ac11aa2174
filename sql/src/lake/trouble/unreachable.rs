//! Nobody was reached who could answer.

use super::{Case, Finding, TroubleKind};
use crate::lake::client::Elsewhere;

/// Those who answered send us on.
pub(super) fn of_redirect(elsewhere: &Elsewhere) -> Finding {
    let Elsewhere { from, to } = elsewhere;
    Finding::new(
        TroubleKind::Unreachable,
        format!("{from} redirects to {to}, another host, to which nothing is sent"),
        "if that is where it is, write the address there, or the endpoint or region of the [store] block",
    )
}

pub(super) fn find(case: &Case<'_>, text: &str) -> Option<Finding> {
    if case.answer.status.is_some() {
        return None;
    }
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let host = host_of(text).unwrap_or(if case.host.is_empty() { "the service" } else { case.host });
    let unreachable = |what: String, hint: String| Some(Finding::new(TroubleKind::Unreachable, what, hint));
    if says(&["dns error", "failed to lookup address"]) {
        let name = match case.authority.split_once("://").map_or("", |(scheme, _)| scheme) {
            "s3" | "s3a" => "the region and the endpoint",
            "gs" => "the endpoint",
            "http" | "https" => "the host",
            _ => "the name of the storage account and the endpoint",
        };
        // The port has no part in it.
        let host = host.split(':').next().unwrap_or(host);
        return unreachable(
            format!("nobody answers there, as there is no host {host}"),
            format!("check {name}, and that this machine can look up names (nslookup {host})"),
        );
    }
    if says(&["invalid peer certificate", "UnknownIssuer", "certificate verify failed", "NotValidForName"]) {
        return unreachable(
            format!("the certificate of {host} is not trusted"),
            "if it is of an authority of your own, name its PEM file as ca_file in the [store] block; if not, somebody \
             stands in between"
                .to_owned(),
        );
    }
    let words = [
        "Connection refused",
        "tcp connect error",
        "error trying to connect",
        "client error (Connect)",
        "Network is unreachable",
    ];
    if says(&words) {
        return unreachable(
            format!("nobody answers there: {host} takes no connection"),
            "check the network, its firewalls and proxies, and the endpoint of the [store] block".to_owned(),
        );
    }
    None
}

/// The host of the request that an error tells of.
fn host_of(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("Error performing ").filter(|(before, _)| !before.contains("://"))?;
    let (_, rest) = rest.split_once("://")?;
    let host = rest.split(['/', '?', ' ', ')']).next()?;
    Some(host).filter(|host| !host.is_empty())
}
