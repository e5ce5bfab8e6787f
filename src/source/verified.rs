//! What `SourceVerified` says of a chart's provenance file. `spec.verify` writes the same condition, with the same
//! reasons, so that only the message tells one from the other. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::chart::{ChartError, ChartFault};
use crate::api::condition::SOURCE_VERIFIED;
use crate::controller::conditions;

/// What was looked at, where provenance is asked for.
const ALONE: &str = "provenance";
/// The same, where `spec.verify` asks for a signature as well.
const WITH_SIGNATURE: &str = "signature and provenance";

fn what(with_signature: bool) -> &'static str {
    if with_signature { WITH_SIGNATURE } else { ALONE }
}

fn good_start(what: &str) -> String {
    format!("verified {what} of version ")
}

fn bad_start(what: &str) -> String {
    format!("failed to verify the {what}: ")
}

/// Says who signed a package.
pub fn good(with_signature: bool, version: &str, signer: &str) -> String {
    format!("{}{version} with key '{signer}'", good_start(what(with_signature)))
}

/// Says why a package does not count as signed.
pub fn bad(with_signature: bool, why: &str) -> String {
    format!("{}{why}", bad_start(what(with_signature)))
}

/// Whether somebody has looked for the provenance of what is stored, well or ill.
pub fn tells_of_provenance(conditions: &[Condition]) -> bool {
    let Some(told) = conditions::get(conditions, SOURCE_VERIFIED) else { return false };
    let failed = ChartError::new(ChartFault::Verification, "").to_string();
    let said = told.message.strip_prefix(&failed).unwrap_or(&told.message);
    [ALONE, WITH_SIGNATURE]
        .into_iter()
        .any(|what| said.starts_with(&good_start(what)) || said.starts_with(&bad_start(what)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_said_of_the_provenance_counts() {
        let tells = |message: &str| {
            let (type_, truth) = (SOURCE_VERIFIED, conditions::Truth::True);
            let mut told = Vec::new();
            conditions::set(&mut told, type_, truth, "Succeeded", message, Some(1), jiff::Timestamp::UNIX_EPOCH);
            tells_of_provenance(&told)
        };
        for with_signature in [false, true] {
            let why = bad(with_signature, "no");
            assert!(tells(&good(with_signature, "1.0.0", "A")) && tells(&why));
            assert!(tells(&ChartError::new(ChartFault::Verification, why).to_string()));
        }
        for other in [
            "",
            "verified signature of version 1.0.0-provenance",
            "verified signature of version 1.0.0",
            "chart verification error: failed to verify the signature using provider 'cosign': no provenance: ",
        ] {
            assert!(!tells(other), "{other}");
        }
        assert!(!tells_of_provenance(&[]));
    }
}
