//! Manifests: what an artifact is made of. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::reference::Digest;

/// The media types of manifests that are asked for.
pub const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";

/// Media type of the layer that holds a Helm chart.
pub const HELM_CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// Media type of that layer in charts pushed by Helm before 3.7.
const OLD_HELM_CHART: &str = "application/tar+gzip";

/// Media type of the layer that holds the provenance file of a chart.
pub const HELM_PROVENANCE: &str = "application/vnd.cncf.helm.chart.provenance.v1.prov";

/// What a manifest refers to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type.
    #[serde(default)]
    pub media_type: String,
    /// Digest, as written.
    pub digest: String,
    /// Length in bytes.
    pub size: u64,
    /// For which platform a manifest of an index is.
    #[serde(default)]
    pub(super) platform: Option<Platform>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

/// The manifest of an artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Its layers, in order.
    pub layers: Vec<Descriptor>,
    /// What it says about itself.
    pub annotations: BTreeMap<String, String>,
}

/// What stands behind a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// An artifact.
    Manifest(Manifest),
    /// A choice of artifacts; the one that is taken.
    Index(Digest),
}

#[derive(Deserialize)]
struct Wire {
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl Document {
    /// Reads what a registry keeps behind a digest. Of an index, the artifact for `linux/amd64`
    /// is taken, as Flux does it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let wire: Wire = serde_json::from_slice(bytes).map_err(|error| format!("not a manifest: {error}"))?;
        if let Some(layers) = wire.layers {
            return Ok(Self::Manifest(Manifest { layers, annotations: wire.annotations.unwrap_or_default() }));
        }
        let manifests = wire.manifests.ok_or("not a manifest: neither 'layers' nor 'manifests'")?;
        let wanted = |entry: &&Descriptor| {
            entry.platform.as_ref().is_none_or(|platform| platform.os == "linux" && platform.architecture == "amd64")
        };
        let entry = manifests.iter().find(wanted).ok_or("an index without an artifact for linux/amd64")?;
        Digest::parse(&entry.digest).map(Self::Index).map_err(|error| error.to_string())
    }
}

impl Manifest {
    /// The first layer, or the first of a media type.
    pub fn layer(&self, media_type: Option<&str>) -> Result<&Descriptor, String> {
        let Some(wanted) = media_type.filter(|wanted| !wanted.is_empty()) else {
            return self.layers.first().ok_or_else(|| "no layers found in artifact".to_owned());
        };
        self.layers.iter().find(|layer| layer.media_type == wanted).ok_or_else(|| {
            let found: Vec<&str> = self.layers.iter().map(|layer| layer.media_type.as_str()).collect();
            format!("failed to find layer with media type '{wanted}' in artifact; it has: {}", found.join(", "))
        })
    }

    /// The layer that holds a Helm chart.
    pub fn chart_layer(&self) -> Result<&Descriptor, String> {
        self.layer(Some(HELM_CHART)).or_else(|error| self.layer(Some(OLD_HELM_CHART)).map_err(|_| error))
    }

    /// The layer that holds the provenance file of a Helm chart.
    pub fn provenance_layer(&self) -> Option<&Descriptor> {
        self.layer(Some(HELM_PROVENANCE)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(digit: &str) -> String {
        format!("sha256:{}", digit.repeat(64))
    }

    #[test]
    fn layers_are_chosen_by_media_type_or_order() {
        let text = format!(
            r#"{{"schemaVersion":2,"layers":[{{"mediaType":"a","digest":"{}","size":1}},{{"mediaType":"{HELM_CHART}","digest":"{}","size":2}}],"annotations":{{"x":"y"}}}}"#,
            digest("a"),
            digest("b")
        );
        let Ok(Document::Manifest(manifest)) = Document::parse(text.as_bytes()) else { panic!("not a manifest") };
        assert_eq!(manifest.layer(None).unwrap().size, 1);
        assert_eq!(manifest.layer(Some("")).unwrap().size, 1);
        assert_eq!(manifest.chart_layer().unwrap().size, 2);
        assert_eq!(manifest.provenance_layer(), None);
        assert_eq!(manifest.annotations["x"], "y");
        let error = manifest.layer(Some("z")).unwrap_err();
        assert!(error.contains("'z'") && error.contains(HELM_CHART), "{error}");
        assert!(Manifest::default().layer(None).is_err());
    }

    #[test]
    fn an_index_stands_for_its_artifact_for_linux() {
        let entry = |digit: &str, platform: &str| format!(r#"{{"digest":"{}","size":1{platform}}}"#, digest(digit));
        let arm = entry("a", r#","platform":{"os":"linux","architecture":"arm64"}"#);
        let amd = entry("b", r#","platform":{"os":"linux","architecture":"amd64"}"#);
        let read = |entries: &[&str]| Document::parse(format!(r#"{{"manifests":[{}]}}"#, entries.join(",")).as_bytes());
        assert_eq!(read(&[&arm, &amd]), Ok(Document::Index(Digest::parse(&digest("b")).unwrap())));
        assert!(read(&[&arm]).is_err());
        for bad in ["", "{}", "[]", "<html>"] {
            assert!(Document::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
