//! The private files around one helm action, and the plugin by which helm 4 finds us.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Instructions;

/// The place for all of it below helm's directory.
const FOLDER: &str = "post-render";
/// The instructions within a workplace.
const INSTRUCTIONS: &str = "instructions.json";
/// What went wrong, beside the instructions: helm 4 does not pass on what a plugin says.
const FAILURE: &str = "failure";
/// Our own binary within the plugin.
const PROGRAM: &str = "fairlead";

/// Why post-rendering cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[error("cannot prepare post-rendering in {}: {source}", path.display())]
pub struct WorkplaceError {
    path: PathBuf,
    source: io::Error,
}

/// A private directory for one helm action; gone when dropped.
#[derive(Debug)]
pub struct Workplace {
    directory: TempDir,
    program: PathBuf,
}

impl Workplace {
    /// Writes the instructions into a new directory below `parent`, which must exist.
    pub fn new(parent: &Path, instructions: &Instructions) -> Result<Self, WorkplaceError> {
        let make = || {
            let directory = private_dir(parent)?;
            private_file(&directory.path().join(INSTRUCTIONS), &serde_json::to_vec(instructions)?)?;
            Ok(Self { directory, program: std::env::current_exe()? })
        };
        make().map_err(|source| WorkplaceError { path: parent.to_owned(), source })
    }

    /// Our own binary, which helm 3 starts by its path.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The file to name to the subcommand.
    pub fn instructions(&self) -> PathBuf {
        self.directory.path().join(INSTRUCTIONS)
    }

    /// What went wrong in the subcommand, if anything did.
    pub fn failure(&self) -> Option<String> {
        std::fs::read_to_string(self.directory.path().join(FAILURE)).ok()
    }
}

/// Leaves word of a failure beside the instructions.
pub(super) fn leave_word(instructions: &Path, words: &str) -> io::Result<()> {
    private_file(&instructions.with_file_name(FAILURE), words.as_bytes())
}

/// A new directory of this user alone; gone when dropped.
pub(crate) fn private_dir(parent: &Path) -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("action-").permissions(Permissions::from_mode(0o700)).tempdir_in(parent)
}

/// A new file of this user alone.
pub(crate) fn private_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

/// The plugin by which helm 4 runs our subcommand, and the place for workplaces.
#[derive(Clone, Debug)]
pub struct Plugin {
    root: PathBuf,
}

impl Plugin {
    /// Its name on helm's command line.
    pub const NAME: &str = "fairlead";

    /// Removes what an operator that died left of its actions below `home`.
    pub fn sweep(home: &Path) -> Result<(), WorkplaceError> {
        let path = home.join(FOLDER);
        match std::fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(WorkplaceError { path, source }),
            _ => Ok(()),
        }
    }

    /// Makes the plugin anew below `home`; what was there goes.
    pub fn install(home: &Path) -> Result<Self, WorkplaceError> {
        Self::sweep(home)?;
        let plugin = Self { root: home.join(FOLDER) };
        let make = || {
            let folder = plugin.plugins().join(Self::NAME);
            DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            DirBuilder::new().mode(0o700).create(plugin.workplaces())?;
            symlink(std::env::current_exe()?, folder.join(PROGRAM))?;
            private_file(&folder.join("plugin.yaml"), manifest().as_bytes())
        };
        make().map_err(|source| WorkplaceError { path: plugin.root.clone(), source })?;
        Ok(plugin)
    }

    /// The directory to name in `HELM_PLUGINS`. Helm 3 must not see it: it warns about a plugin of
    /// a kind unknown to it.
    pub fn plugins(&self) -> PathBuf {
        self.root.join("plugins")
    }

    /// The parent of workplaces.
    pub fn workplaces(&self) -> PathBuf {
        self.root.join("actions")
    }
}

/// Helm splits the command at spaces before it fills in the variable, so a path with spaces works.
fn manifest() -> String {
    let name = Plugin::NAME;
    format!(
        "apiVersion: v1\ntype: postrenderer/v1\nname: {name}\nversion: {}\nruntime: subprocess\nruntimeConfig:\n  platformCommand:\n  - command: ${{HELM_PLUGIN_DIR}}/{PROGRAM}\n",
        env!("CARGO_PKG_VERSION"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::helm::v2::PostRenderStrategy;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("it exists").permissions().mode() & 0o777
    }

    #[test]
    fn what_is_written_is_private_and_goes_away() {
        let home = tempfile::tempdir().expect("a directory");
        let plugin = Plugin::install(home.path()).expect("installs");
        let instructions = Instructions {
            steps: Vec::new(),
            strategy: PostRenderStrategy::Combined,
            metadata: crate::api::kustomize::CommonMetadata::default(),
            strict: false,
            kustomize: "kustomize".into(),
        };
        let workplace = Workplace::new(&plugin.workplaces(), &instructions).expect("writes");
        let file = workplace.instructions();
        assert_eq!((mode(&file), mode(file.parent().expect("a directory"))), (0o600, 0o700));
        assert_eq!(workplace.failure(), None);
        leave_word(&file, "no").expect("writes");
        assert_eq!(workplace.failure().as_deref(), Some("no"));
        drop(workplace);
        assert!(!file.exists());
        let left = Workplace::new(&plugin.workplaces(), &instructions).expect("writes");
        Plugin::sweep(home.path()).expect("removes");
        Plugin::sweep(home.path()).expect("nothing to do");
        let again = Plugin::install(home.path()).expect("installs anew");
        assert!(!left.instructions().exists(), "what a dead operator left is removed");
        assert!(again.plugins().join("fairlead/fairlead").is_symlink());
    }
}
