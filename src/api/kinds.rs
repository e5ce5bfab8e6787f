//! The one list of the kinds that the operator knows. What is made of each of them, or looked at for
//! each of them, follows it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::{ApiResource, NamespaceResourceScope};
use kube::{CustomResourceExt, Resource};

use super::{helm, kustomize, notification, source};

/// A part of the operator, as it is switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Sources become artifacts.
    Source,
    /// Folders are applied.
    Kustomize,
    /// Charts are released.
    Helm,
    /// Events are told.
    Notification,
    /// Webhooks are received.
    Receiver,
}

/// What the operator does with the objects of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Does what they ask for, and writes that into their status.
    Reconciled,
    /// Only reads them, for the sake of others.
    Read,
}

/// A wire type that is in the list.
pub trait Known: Resource<DynamicType = (), Scope = NamespaceResourceScope> + CustomResourceExt {
    /// The part that its objects are for.
    const PART: Part;
    /// What is done with its objects.
    const USAGE: Usage;
}

/// An entry of the list.
#[derive(Debug)]
pub struct Kind {
    /// Group, version and names.
    pub resource: ApiResource,
    /// The part that its objects are for.
    pub part: Part,
    /// What is done with its objects.
    pub usage: Usage,
    /// Makes its definition.
    pub definition: fn() -> CustomResourceDefinition,
}

impl Kind {
    fn of<K: Known>() -> Self {
        Self { resource: K::api_resource(), part: K::PART, usage: K::USAGE, definition: K::crd }
    }
}

macro_rules! kinds {
    ($($kind:ty: $part:ident, $usage:ident;)+) => {
        $(impl Known for $kind {
            const PART: Part = Part::$part;
            const USAGE: Usage = Usage::$usage;
        })+

        /// All of them, ordered by group and name.
        pub fn all() -> Vec<Kind> {
            vec![$(Kind::of::<$kind>()),+]
        }
    };
}

kinds! {
    helm::v2::HelmRelease: Helm, Reconciled;
    kustomize::v1::Kustomization: Kustomize, Reconciled;
    notification::v1beta3::Alert: Notification, Read;
    notification::v1beta3::Provider: Notification, Read;
    notification::v1::Receiver: Receiver, Reconciled;
    source::v1::Bucket: Source, Reconciled;
    source::v1::ExternalArtifact: Source, Read;
    source::v1::GitRepository: Source, Reconciled;
    source::v1::HelmChart: Source, Reconciled;
    source::v1::HelmRepository: Source, Reconciled;
    source::v1::OCIRepository: Source, Reconciled;
}
