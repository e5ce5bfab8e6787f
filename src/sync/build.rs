//! From a folder to its manifests: plain files are read, what has a `kustomization.yaml` is built
//! by the kustomize binary, and so is everything that the spec wants patched, renamed or extended.

mod generate;
pub mod mirror;
mod names;
mod references;

use super::decrypt::{Decryptor, Failure, Format, is_encrypted, learn_text, undecrypted};
use super::manifest::Manifest;
use super::problem::{Place, Problem};
use super::scan::{self, Scan, label};
use super::validate;
use crate::api::kustomize::v1::{BuildMetadataOption, KustomizationSpec};
use crate::postrender::kustomize::words;
use crate::process::Command;
use crate::redact::Redactor;
use crate::yaml;
use mirror::Mirror;
use references::Checked;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Annotation of what is no object of the cluster, such as a configuration for a function.
const LOCAL: &str = "config.kubernetes.io/local-config";

/// Builds folders of one Kustomization.
pub struct Builder<'a> {
    /// The kustomize binary.
    pub kustomize: &'a Path,
    /// Where private copies are made.
    pub place: &'a Path,
    /// Whether a `kustomization.yaml` may refer to URLs.
    pub allow_remote_bases: bool,
    /// What the Kustomization asks for.
    pub spec: &'a KustomizationSpec,
    /// What decrypts, if the Kustomization asks for it.
    pub decryptor: Option<Decryptor<'a>>,
    /// How long one build may take.
    pub timeout: Duration,
}

/// What a folder states.
#[derive(Default)]
pub struct Read {
    /// Its objects.
    pub manifests: Vec<Manifest>,
    /// What could not be read or built.
    pub problems: Vec<Problem>,
    /// Knows what must not show.
    pub redactor: Redactor,
}

type Built = Result<Vec<Manifest>, Box<Problem>>;

/// What kustomize made of a `kustomization.yaml`.
struct Output {
    manifests: Vec<Manifest>,
    /// Whether it makes names.
    renames: bool,
}

/// Folders of kustomize below a plain one, each built alone.
#[derive(Default)]
struct Overlays {
    objects: Vec<Manifest>,
    /// The `kustomization.yaml` of each.
    folders: Vec<PathBuf>,
    /// Whether one of them makes names.
    renames: bool,
}

impl Overlays {
    /// The plain manifests of one build of all, and what is wrong with others, where names are made that somebody may
    /// refer to. None if two state the same object, which no build takes.
    fn beside(&self, plain: &[Manifest]) -> Option<(Vec<Manifest>, Vec<Problem>)> {
        if !self.renames || plain.len() + self.folders.len() < 2 {
            return None;
        }
        let (mut all, unfit) = validate::distinct(self.objects.iter().chain(plain).cloned().collect());
        let is_conflict = |problem: &Problem| problem.object.is_some();
        (!unfit.iter().any(is_conflict)).then(|| (all.split_off(self.objects.len()), unfit))
    }
}

impl Builder<'_> {
    /// The manifests of a scanned folder within `root` (both by their real paths). A build that
    /// fails hides what it would have made, so that its problem holds all pruning.
    pub async fn read(&self, root: &Path, folder: &Path, scan: Scan) -> Read {
        let mut redactor = Redactor::default();
        let (mut manifests, mut problems) = self.build_all(root, folder, scan, &mut redactor).await;
        if let Some(decryptor) = &self.decryptor {
            let (decrypted, failed) = decryptor.manifests(manifests, &mut redactor).await;
            manifests = decrypted;
            problems.extend(failed);
        }
        Read { manifests, problems, redactor }
    }

    async fn build_all(
        &self,
        root: &Path,
        folder: &Path,
        scan: Scan,
        redactor: &mut Redactor,
    ) -> (Vec<Manifest>, Vec<Problem>) {
        let Scan { manifests, mut problems, overlays } = scan;
        let (closed, manifests): (Vec<_>, Vec<_>) = manifests.into_iter().partition(is_closed);
        problems.extend(closed.iter().map(|list| {
            let reason = "a List that sops encrypted as a whole cannot be taken apart";
            Problem::unreadable(list.place("/sops"), reason).fix("encrypt its objects one by one")
        }));
        let manifests = manifests.into_iter().flat_map(Manifest::flatten);
        let mut manifests: Vec<_> = manifests.filter(|manifest| !is_local(&manifest.object)).collect();
        let needed = generate::is_needed(self.spec);
        if let Some(file) = scan::kustomization_file(folder).filter(|_| needed) {
            let built = self.merged(root, folder, &file, redactor).await;
            return built.map_or_else(|problem| (Vec::new(), vec![*problem]), |built| (built, Vec::new()));
        }
        let overlays = self.overlays(root, overlays, &mut manifests, &mut problems, redactor).await;
        if let Some((plain, unfit)) = overlays.beside(&manifests) {
            match self.layered(root, folder, &plain, &overlays.folders, redactor).await {
                Ok(built) => {
                    problems.extend(unfit);
                    return (built, problems);
                }
                Err(problem) => problems.push(names::not_followed(*problem)),
            }
        }
        manifests.extend(overlays.objects);
        if !needed || (manifests.is_empty() && self.spec.components.is_empty()) {
            return (manifests, problems);
        }
        let (manifests, unfit) = validate::distinct(manifests);
        problems.extend(unfit);
        match self.layered(root, folder, &manifests, &[], redactor).await {
            Ok(built) => (built, problems),
            Err(problem) => {
                problems.push(*problem);
                (Vec::new(), problems)
            }
        }
    }

    /// Builds each of these alone. Of `plain` manifests, those are taken out that need one that cannot be built.
    async fn overlays(
        &self,
        root: &Path,
        kustomizations: Vec<PathBuf>,
        plain: &mut Vec<Manifest>,
        problems: &mut Vec<Problem>,
        redactor: &mut Redactor,
    ) -> Overlays {
        let mut overlays = Overlays::default();
        for kustomization in kustomizations {
            match self.build(root, None, &inside(root, &kustomization), redactor).await {
                Ok(Output { manifests, renames }) => {
                    overlays.objects.extend(manifests);
                    overlays.renames |= renames;
                    overlays.folders.push(kustomization);
                }
                Err(problem) => {
                    if !plain.is_empty() {
                        let made = tokio::task::spawn_blocking(move || names::of(&kustomization)).await;
                        problems.extend(names::withhold(plain, &made.unwrap_or_default(), &problem.place));
                    }
                    problems.push(*problem);
                }
            }
        }
        overlays
    }

    /// Builds a folder with a `kustomization.yaml` and what the spec adds to it.
    async fn merged(&self, root: &Path, folder: &Path, file: &Path, redactor: &mut Redactor) -> Built {
        let place = Place { file: label(root, file), line: None };
        let failed = |reason: String| Box::new(Problem::unreadable(place.clone(), reason));
        let text = std::fs::read_to_string(file).map_err(|error| failed(format!("cannot be read: {error}")))?;
        let value = yaml::parse(&text).map_err(|error| {
            let place = Place { line: Some(error.line), ..place.clone() };
            Box::new(Problem::unreadable(place, error.message))
        })?;
        let mut kustomization = match value {
            Value::Object(kustomization) => kustomization,
            Value::Null => serde_json::Map::new(),
            _ => return Err(failed("is no kustomization: it must be a mapping".to_owned())),
        };
        // Checked as it is, because the merged one has other lines.
        self.check(root, file).await?;
        let components = generate::components(self.spec, |name| folder.join(name).exists()).map_err(failed)?;
        generate::merge(&mut kustomization, self.spec, components);
        let mirror = self.mirror(root, &place).await?;
        let file = inside(root, file);
        let written = mirror.replace(&file, Value::Object(kustomization).to_string().as_bytes());
        written.map_err(|error| failed(error.to_string()))?;
        self.build(root, Some(mirror), &file, redactor).await.map(|built| built.manifests)
    }

    /// Puts read manifests, with folders of kustomize, through what the spec asks of kustomize.
    async fn layered(
        &self,
        root: &Path,
        folder: &Path,
        manifests: &[Manifest],
        folders: &[PathBuf],
        redactor: &mut Redactor,
    ) -> Built {
        let place = Place { file: label(root, folder), line: None };
        let failed = |reason: String| Box::new(Problem::unreadable(place.clone(), reason));
        let components = generate::components(self.spec, |name| folder.join(name).exists()).map_err(failed)?;
        let mirror = self.mirror(root, &place).await?;
        let inner = inside(root, folder);
        let write = || -> std::io::Result<PathBuf> {
            let parts = tempfile::Builder::new().prefix("manifests-").tempdir_in(mirror.root().join(&inner))?.keep();
            let name = parts.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mut resources: Vec<_> = folders.iter().map(|file| label(folder, below(file)).to_string()).collect();
            for (index, manifest) in manifests.iter().enumerate() {
                let part = format!("{name}/{index}.yaml");
                mirror.replace(&inner.join(&part), manifest.object.to_string().as_bytes())?;
                resources.push(part);
            }
            let mut kustomization = serde_json::Map::from_iter([("resources".to_owned(), json!(resources))]);
            generate::merge(&mut kustomization, self.spec, components);
            let mut options: Vec<Value> = self.spec.build_metadata.iter().map(|option| json!(option)).collect();
            options.push(generate::ORIGIN_OPTION.into());
            kustomization.insert("buildMetadata".to_owned(), options.into());
            let file = inner.join("kustomization.yaml");
            mirror.replace(&file, Value::Object(kustomization).to_string().as_bytes())?;
            Ok(file)
        };
        let file = write().map_err(|error| failed(format!("the build cannot be prepared: {error}")))?;
        let built = self.build(root, Some(mirror), &file, redactor).await;
        let built = built.map_err(|problem| Box::new(Problem { place: place.clone(), ..*problem }))?;
        let folders = folders.iter().map(|file| (label(folder, below(file)).to_string(), label(root, file)));
        let origins = Origins {
            manifests,
            folders: &folders.collect::<Vec<_>>(),
            inner: &inner,
            folder: &place.file,
            wanted: self.spec.build_metadata.contains(&BuildMetadataOption::OriginAnnotations),
        };
        Ok(built.manifests.into_iter().map(|one| origins.trace(one)).collect())
    }

    async fn mirror(&self, root: &Path, place: &Place) -> Result<Mirror, Box<Problem>> {
        let (source, parent) = (root.to_owned(), self.place.to_owned());
        let made = tokio::task::spawn_blocking(move || Mirror::of(&source, &parent)).await;
        let failed = |error: String| {
            Box::new(Problem::unreadable(place.clone(), format!("the build cannot be prepared: {error}")))
        };
        made.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
    }

    /// Runs kustomize on the folder of a `kustomization.yaml`, in the source or in a copy of it.
    async fn build(
        &self,
        root: &Path,
        mirror: Option<Mirror>,
        inner: &Path,
        redactor: &mut Redactor,
    ) -> Result<Output, Box<Problem>> {
        let file = label(root, inner);
        let failed =
            |reason: String| Box::new(Problem::unreadable(Place { file: Arc::clone(&file), line: None }, reason));
        let tree = mirror.as_ref().map_or(root, Mirror::root);
        let Checked { unrestricted, renames, sources } = self.check(tree, &tree.join(inner)).await?;
        let decrypted = self.decrypted(tree, sources, redactor).await?;
        let mirror = match mirror {
            None if !decrypted.is_empty() => {
                Some(self.mirror(root, &Place { file: Arc::clone(&file), line: None }).await?)
            }
            given => given,
        };
        for (path, text) in &decrypted {
            let replaced = mirror.as_ref().map_or(Ok(()), |mirror| mirror.replace(path, text));
            replaced.map_err(|error| failed(error.to_string()))?;
        }
        let tree = mirror.as_ref().map_or(root, Mirror::root);
        let kustomization = tree.join(inner);
        let folder = kustomization.parent().unwrap_or(tree);
        let mut command = Command::new(self.kustomize).arg("build").arg(".").current_dir(folder).timeout(self.timeout);
        if unrestricted {
            command = command.args(["--load-restrictor", "LoadRestrictionsNone"]);
        }
        let output = Box::pin(command.run()).await.map_err(|error| failed(error.to_string()))?;
        if !output.success() {
            let said = words(&self.spec.patches, &redactor.text(&output.stderr));
            let said = without_place(&without_place(&said, tree), root);
            let field = if said.starts_with("patches[") { "spec." } else { "" };
            return Err(failed(format!("kustomize build failed: {field}{said}")));
        }
        let text =
            String::from_utf8(output.stdout).map_err(|_| failed("kustomize did not print UTF-8 text".to_owned()))?;
        let manifests = yaml::documents(&text).into_iter().map(|document| {
            let object = document.result.map_err(|error| failed(format!("in what kustomize built, {error}")))?;
            Ok(Manifest::built(Arc::clone(&file), object))
        });
        Ok(Output { manifests: manifests.collect::<Built>()?, renames })
    }

    /// The files among these that are encrypted, by their paths within the tree.
    async fn decrypted(
        &self,
        tree: &Path,
        sources: Vec<(PathBuf, Format)>,
        redactor: &mut Redactor,
    ) -> Result<Vec<(PathBuf, Zeroizing<Vec<u8>>)>, Box<Problem>> {
        let Some(decryptor) = &self.decryptor else { return Ok(Vec::new()) };
        let real = tree.canonicalize().unwrap_or_else(|_| tree.to_owned());
        let mut decrypted: Vec<(PathBuf, Zeroizing<Vec<u8>>)> = Vec::new();
        for (path, format) in sources {
            let inner = inside(&real, &path);
            let place = || Place { file: label(&real, &path), line: None };
            let problem = |failure| Box::new(undecrypted(place(), failure));
            let bytes = std::fs::read(&path).map_err(|error| problem(Failure::unanswered(&error)))?;
            if !format.marks(&bytes) || decrypted.iter().any(|(known, _)| *known == inner) {
                continue;
            }
            let text = Zeroizing::new(decryptor.text(bytes, format, format).await.map_err(problem)?);
            learn_text(redactor, &String::from_utf8_lossy(&text));
            decrypted.push((inner, text));
        }
        Ok(decrypted)
    }

    async fn check(&self, tree: &Path, kustomization: &Path) -> Result<Checked, Box<Problem>> {
        let (root, file, allow) = (tree.to_owned(), kustomization.to_owned(), self.allow_remote_bases);
        let place = Place { file: label(tree, kustomization), line: None };
        let checked = tokio::task::spawn_blocking(move || {
            let root = root.canonicalize().unwrap_or(root);
            references::check(&root, &file.canonicalize().unwrap_or(file), allow)
        });
        checked.await.map_err(|error| Box::new(Problem::unreadable(place, error.to_string())))?
    }
}

/// Whether an object is for tools beside the folder; kustomize leaves such ones out as well.
fn is_local(object: &Value) -> bool {
    let value = object["metadata"]["annotations"].get(LOCAL);
    value.is_some_and(|value| value != "false" && *value != false)
}

/// Whether a List is encrypted, and not its items: what they are encrypted with is noted on it.
fn is_closed(manifest: &Manifest) -> bool {
    let is_list = manifest.object["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    is_list && manifest.object["items"].is_array() && is_encrypted(&manifest.object)
}

fn below(file: &Path) -> &Path {
    file.parent().unwrap_or(file)
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_owned()
}

/// What a build is made of, for the places of what comes out of it.
struct Origins<'a> {
    manifests: &'a [Manifest],
    /// Folders of kustomize below the folder, with the place of what is made of each.
    folders: &'a [(String, Arc<str>)],
    /// The folder within the source.
    inner: &'a Path,
    /// The place of the folder.
    folder: &'a Arc<str>,
    /// Whether the objects are to tell where they come from.
    wanted: bool,
}

impl Origins<'_> {
    /// Gives a built object the place of the manifest it was made from, which kustomize notes on it.
    fn trace(&self, mut built: Manifest) -> Manifest {
        let annotations = built.object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
        let Some(annotations) = annotations else { return built };
        let origin = annotations.remove(generate::ORIGIN);
        let told = origin.as_ref().and_then(Value::as_str).and_then(|text| yaml::parse(text).ok()).unwrap_or_default();
        let source = told["path"].as_str().and_then(|path| self.manifest(path));
        if self.wanted
            && let Some(origin) = origin
        {
            let real = source.map(|source| inside(self.inner, Path::new(&*source.place("").file)));
            let text = real.map_or(origin, |real| format!("path: {}\n", real.display()).into());
            annotations.insert(generate::ORIGIN.to_owned(), text);
        } else if annotations.is_empty()
            && let Some(metadata) = built.object["metadata"].as_object_mut()
        {
            metadata.remove("annotations");
        }
        let from = ["path", "configuredIn"].iter().find_map(|field| self.file(told[*field].as_str()?));
        match source {
            Some(source) => source.with_object(built.object),
            None => Manifest::built(Arc::clone(from.unwrap_or(self.folder)), built.object),
        }
    }

    fn manifest(&self, path: &str) -> Option<&Manifest> {
        let index = Path::new(path).file_stem().filter(|_| path.starts_with("manifests-"))?;
        self.manifests.get(index.to_str()?.parse::<usize>().ok()?)
    }

    fn file(&self, path: &str) -> Option<&Arc<str>> {
        self.folders.iter().find(|(folder, _)| Path::new(path).starts_with(folder)).map(|(_, file)| file)
    }
}

/// A text without the place of a tree.
fn without_place(text: &str, tree: &Path) -> String {
    let tree = tree.to_string_lossy();
    text.replace(&format!("{tree}/"), "").replace(tree.as_ref(), ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_repository() {
        let said = "accumulating resources from 'x.yaml': open /data/a/production/x.yaml: no such file in /data/a";
        assert_eq!(
            without_place(said, Path::new("/data/a")),
            "accumulating resources from 'x.yaml': open production/x.yaml: no such file in ."
        );
    }

    #[test]
    fn what_is_local_is_told_as_kustomize_tells_it() {
        let object = |annotations: Value| json!({"kind": "A", "metadata": {"annotations": annotations}});
        for value in ["true", "True", "yes", ""] {
            assert!(is_local(&object(json!({LOCAL: value}))), "{value}");
        }
        for annotations in [json!({LOCAL: "false"}), json!({"a": "true"}), json!(null), json!("x")] {
            assert!(!is_local(&object(annotations.clone())), "{annotations}");
        }
        assert!(!is_local(&json!("just words")));
    }

    #[test]
    fn a_list_that_is_encrypted_as_a_whole_is_closed() {
        let manifest = |object: Value| Manifest::built("a.yaml".into(), object);
        let sops = json!({"mac": "ENC[AES256_GCM,data:x]", "version": "3.9.0"});
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [], "sops": sops});
        assert!(is_closed(&manifest(list)));
        assert!(!is_closed(&manifest(json!({"apiVersion": "v1", "kind": "List", "items": []}))));
        assert!(!is_closed(&manifest(json!({"apiVersion": "v1", "kind": "Secret", "sops": sops}))));
    }

    #[test]
    fn built_objects_are_traced_to_their_lines() {
        let text = "kind: A\n---\nkind: B\nmetadata: {name: b}\n";
        let read: Vec<_> = yaml::documents(text)
            .into_iter()
            .map(|one| Manifest::read("p/a.yaml".into(), one.lines, one.result.unwrap()))
            .collect();
        let built = |path: &str| {
            let object =
                json!({"kind": "B", "metadata": {"annotations": {generate::ORIGIN: format!("path: {path}\n")}}});
            Manifest::built("p/kustomization.yaml".into(), object)
        };
        let folders = [("base".to_owned(), "p/base/kustomization.yaml".into())];
        let (inner, folder) = (Path::new("p"), "p".into());
        let traced = |path: &str, wanted| {
            Origins { manifests: &read, folders: &folders, inner, folder: &folder, wanted }.trace(built(path))
        };
        let found = traced("manifests-x/1.yaml", false);
        assert_eq!(
            (found.place("").to_string(), found.object),
            ("p/a.yaml:3".to_owned(), json!({"kind": "B", "metadata": {}}))
        );
        let found = traced("manifests-x/1.yaml", true);
        assert_eq!(found.object["metadata"]["annotations"][generate::ORIGIN], "path: a.yaml\n");
        assert_eq!(traced("base/0.yaml", false).place("").to_string(), "p/base/kustomization.yaml");
        let found = traced("../component/0.yaml", true);
        assert_eq!(found.place("").to_string(), "p");
        assert_eq!(found.object["metadata"]["annotations"][generate::ORIGIN], "path: ../component/0.yaml\n");
    }
}
