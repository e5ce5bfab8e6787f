//! The signatures that a chart asks for: by `spec.verify` of its artifact in a registry, and by an annotation of its
//! package's provenance file.

use jiff::Timestamp;
use k8s_openapi::ByteString;
use kube::ResourceExt as _;

use super::{blocking, chart_failure};
use crate::api::annotation::PROVENANCE_KEYS;
use crate::api::condition::{self, reason};
use crate::api::source::v1::{ChartSourceKind, HelmChart, HelmChartStatus};
use crate::controller::{Context, conditions};
use crate::dns_name;
use crate::source::chart::provenance::{Keys, ProvenanceError, Signed};
use crate::source::chart::{ChartError, ChartFault, Metadata};
use crate::source::download::SecretData;
use crate::source::lifecycle;
use crate::source::oci::verify::Asked;
use crate::source::outcome::{Failure, tell_verified};
use crate::source::proofs::Proof;
use crate::source::verified;

/// What a chart has to be signed with, and whether it is.
pub(super) struct Signatures {
    /// Stands for the package, and for everything that it is verified with.
    pub(super) proof: Proof,
    /// What the package's provenance file has to be; it is read when the package is.
    pub(super) provenance: Option<Provenance>,
}

/// What a provenance file has to be.
pub(super) struct Provenance {
    keys: SecretData,
    chart: Metadata,
}

/// The keys of a Secret, which are read when they are needed, and what stands for all of it.
pub(super) struct KeysOfSecret {
    keys: SecretData,
    proof: Proof,
}

/// The Secrets with keys that a chart names.
pub(super) fn keys_of(chart: &HelmChart) -> impl Iterator<Item = &str> {
    let of_artifact = chart.spec.verify.iter().flat_map(|verify| Asked::from(verify).secrets());
    of_artifact.chain(named(chart))
}

fn named(chart: &HelmChart) -> Option<&str> {
    chart.annotations().get(PROVENANCE_KEYS).map(String::as_str)
}

/// An unverified chart must not pass for a verified one.
pub(super) fn refuse_cosign(object: &HelmChart) -> Result<(), Failure> {
    if object.spec.verify.is_none() {
        return Ok(());
    }
    let why = format!(
        "'spec.verify' is for charts in registries: remove it, or use a HelmRepository of the type 'oci'; packages that \
         have a provenance file are verified by the annotation '{PROVENANCE_KEYS}'"
    );
    Err(Failure { terminal: true, ..unproven(&why) })
}

/// The Secret that the annotation names, if there is one.
fn asked(object: &HelmChart) -> Result<Option<&str>, Failure> {
    let Some(name) = named(object) else { return Ok(None) };
    let wrong = |why: &str| Failure { terminal: true, ..unproven(&format!("annotation '{PROVENANCE_KEYS}': {why}")) };
    if name.is_empty() {
        return Err(wrong("it has to name a Secret with OpenPGP public keys; remove it to verify nothing"));
    }
    if let Some(why) = dns_name::subdomain(name) {
        return Err(wrong(&format!("it has to name a Secret with OpenPGP public keys: {why}")));
    }
    match object.spec.source_ref.kind {
        ChartSourceKind::HelmRepository => Ok(Some(name)),
        ChartSourceKind::GitRepository => Err(wrong(
            "only packages of a HelmRepository have a provenance file: remove it, and verify commits by 'spec.verify' of \
             the GitRepository",
        )),
        ChartSourceKind::Bucket => {
            Err(wrong("only packages of a HelmRepository have a provenance file: remove it, or use a HelmRepository"))
        }
    }
}

/// Reads the keys that a provenance file has to be signed by, where one is asked for.
pub(super) async fn keys(
    context: &Context,
    object: &HelmChart,
    status: &mut HelmChartStatus,
) -> Result<Option<KeysOfSecret>, Failure> {
    if named(object).is_some() && !is_judged(status) {
        // An annotation makes no new generation, and what was stored without it must not pass for what it asks for.
        status.observed_generation = None;
    }
    let Some(name) = asked(object)? else { return Ok(None) };
    let namespace = object.namespace().unwrap_or_default();
    let data = lifecycle::secret_data(context, &namespace, name).await.map_err(|failure| Failure {
        condition: condition::SOURCE_VERIFIED,
        reason: reason::VERIFICATION_ERROR,
        message: verified::bad(false, &format!("public keys secret error: {}", failure.message)),
        ..failure
    })?;
    let proof = Proof::of(data.iter().flat_map(|(name, ByteString(value))| [name.as_bytes(), value.as_slice()]));
    Ok(Some(KeysOfSecret { keys: data, proof }))
}

/// Whether what is stored was looked at for its provenance.
fn is_judged(status: &HelmChartStatus) -> bool {
    let conditions = &status.conditions;
    verified::tells_of_provenance(conditions) && !conditions::is_true(conditions, condition::STALLED)
}

impl Signatures {
    /// Of the artifact in a registry, if that is what was verified, and of the provenance file, if there are keys.
    /// `subject` stands for the package.
    pub(super) fn new(
        by_cosign: Option<Proof>,
        keys: Option<KeysOfSecret>,
        subject: &[&[u8]],
        chart: &Metadata,
    ) -> Self {
        let proofs = [by_cosign.as_ref(), keys.as_ref().map(|keys| &keys.proof)];
        let proofs = proofs.map(|proof| proof.map_or(&[][..], Proof::as_bytes));
        let named = [chart.name.as_bytes(), chart.version.as_bytes()];
        let proof = Proof::of(proofs.into_iter().chain(named).chain(subject.iter().copied()));
        let provenance = keys.map(|keys| Provenance { keys: keys.keys, chart: chart.clone() });
        Self { proof, provenance }
    }

    /// Whether the status tells all that there is to tell of the stored package.
    pub(super) fn are_told(&self, status: &HelmChartStatus) -> bool {
        let conditions = &status.conditions;
        self.provenance.is_none()
            || conditions::is_true(conditions, condition::SOURCE_VERIFIED) && verified::tells_of_provenance(conditions)
    }
}

/// Says before the package is fetched that its artifact's signature is good, or nothing where none is asked for.
pub(super) fn tell_artifact(
    signatures: Option<&Signatures>,
    object: &HelmChart,
    status: &mut HelmChartStatus,
    version: &str,
) {
    match signatures {
        None => conditions::remove(&mut status.conditions, condition::SOURCE_VERIFIED),
        Some(Signatures { provenance: None, .. }) => {
            let message = format!("verified signature of version {version}");
            tell_verified(&mut status.conditions, &message, object.metadata.generation, Timestamp::now());
        }
        Some(_) => {}
    }
}

/// Says who signed the provenance file of a package.
pub(super) fn tell_signer(object: &HelmChart, status: &mut HelmChartStatus, version: &str, signer: &str) {
    let message = verified::good(object.spec.verify.is_some(), version, signer);
    tell_verified(&mut status.conditions, &message, object.metadata.generation, Timestamp::now());
}

impl Provenance {
    /// Verifies who signed a provenance file, for this chart.
    pub(super) async fn verify(self, file: Vec<u8>) -> Result<Signed, Failure> {
        blocking(move || {
            let keys = Keys::from_secret(&self.keys);
            Signed::read(&file, &self.chart, &keys, Timestamp::now()).map_err(|error| bad(&error))
        })
        .await
    }
}

/// Why a package is not what its provenance file says.
pub(super) fn bad(error: &ProvenanceError) -> ChartError {
    ChartError::new(ChartFault::Verification, verified::bad(false, &error.to_string()))
}

/// There is no provenance file at all.
pub(super) fn without_provenance(why: &str) -> Failure {
    unproven(&verified::bad(false, why))
}

/// Why an artifact's signature is not good, told so that what is stored counts as looked at where its provenance is
/// asked for, too.
pub(super) fn unsigned(why: String, with_provenance: bool) -> String {
    if with_provenance { verified::bad(true, &why) } else { why }
}

/// The failure of a chart that is not signed as it has to be.
pub(super) fn unproven(why: &str) -> Failure {
    chart_failure(&ChartError::new(ChartFault::Verification, why))
}
