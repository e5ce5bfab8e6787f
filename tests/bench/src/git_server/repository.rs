//! A repository that tests write to.

use std::path::PathBuf;
use std::process::Command;

use crate::tools::{git, run};

/// A bare repository with a work tree beside it through which it is written.
#[derive(Clone, Debug)]
pub struct Repository {
    pub(super) name: String,
    pub(super) bare: PathBuf,
    pub(super) work: PathBuf,
}

impl Repository {
    pub(super) fn create(root: &std::path::Path, name: &str) -> Self {
        let repository = Self {
            name: name.to_owned(),
            bare: root.join("repositories").join(format!("{name}.git")),
            work: root.join("work").join(name),
        };
        let mut init = command();
        run(init.args(["init", "--quiet", "--bare", "--initial-branch=main"]).arg(&repository.bare));
        for setting in ["http.receivepack", "uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"] {
            run(command().arg("--git-dir").arg(&repository.bare).args(["config", setting, "true"]));
        }
        run(command().args(["clone", "--quiet"]).arg(&repository.bare).arg(&repository.work));
        repository
    }

    /// The name, without `.git`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Commits files to `main` and pushes; a file without a text is removed. Gives the commit's hash.
    ///
    /// # Panics
    /// When git refuses, for instance since nothing changes.
    pub fn commit(&self, message: &str, files: &[(&str, Option<&str>)]) -> String {
        self.commit_to("main", message, files)
    }

    /// As [`Repository::commit`], to a branch; a branch that does not exist starts at the last one used.
    ///
    /// # Panics
    /// As [`Repository::commit`].
    pub fn commit_to(&self, branch: &str, message: &str, files: &[(&str, Option<&str>)]) -> String {
        self.switch(branch);
        self.write(files);
        self.git(&["add", "--all", "--force"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.push(&[branch]);
        self.head(branch)
    }

    /// Replaces the last commit of a branch by one with other files: a force push. Gives the new hash.
    ///
    /// # Panics
    /// As [`Repository::commit`].
    pub fn rewrite(&self, branch: &str, message: &str, files: &[(&str, Option<&str>)]) -> String {
        self.switch(branch);
        self.write(files);
        self.git(&["add", "--all", "--force"]);
        self.git(&["commit", "--quiet", "--amend", "--message", message]);
        self.push(&["--force", branch]);
        self.head(branch)
    }

    /// Tags the head of `main`, lightly.
    ///
    /// # Panics
    /// When there is such a tag.
    pub fn tag(&self, name: &str) {
        self.git(&["tag", name, "refs/heads/main"]);
        self.push(&[name]);
    }

    /// Tags the head of `main` with a tag object.
    ///
    /// # Panics
    /// When there is such a tag.
    pub fn annotated_tag(&self, name: &str, message: &str) {
        self.git(&["tag", "--annotate", "--message", message, name, "refs/heads/main"]);
        self.push(&[name]);
    }

    /// Links another repository's newest commit into the work tree under a URL, replacing an older link at that
    /// path; the next commit records it.
    ///
    /// # Panics
    /// When git refuses.
    pub fn submodule(&self, path: &str, of: &Self, url: &str) {
        let section = format!("submodule.{path}");
        for (key, value) in [("path", path), ("url", url)] {
            self.git(&["config", "--file", ".gitmodules", &format!("{section}.{key}"), value]);
        }
        self.submodule_at(path, &of.head("main"));
    }

    /// Links another commit of a submodule.
    ///
    /// # Panics
    /// When git refuses.
    pub fn submodule_at(&self, path: &str, commit: &str) {
        // Where git looks, the link must be a folder of its own, or the next `git add` undoes it.
        std::fs::create_dir_all(self.work.join(path)).expect("make a folder");
        self.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]);
    }

    /// Deletes a branch on the server.
    ///
    /// # Panics
    /// When there is none.
    pub fn delete_branch(&self, branch: &str) {
        self.push(&["--delete", branch]);
    }

    /// The hash of a branch' (or tag's) commit.
    ///
    /// # Panics
    /// When there is none.
    pub fn head(&self, name: &str) -> String {
        self.git(&["rev-parse", &format!("{name}^{{commit}}")]).trim().to_owned()
    }

    /// A file's text in the work tree.
    ///
    /// # Panics
    /// When there is none.
    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.work.join(path)).unwrap_or_else(|error| panic!("read {path}: {error}"))
    }

    /// Runs git in the work tree and gives its standard output.
    ///
    /// # Panics
    /// When it fails, with its output.
    pub fn git(&self, args: &[&str]) -> String {
        run(command().arg("-C").arg(&self.work).args(args))
    }

    fn write(&self, files: &[(&str, Option<&str>)]) {
        for (path, text) in files {
            let path = self.work.join(path);
            let done = match text {
                Some(text) => std::fs::create_dir_all(path.parent().expect("a path in the work tree"))
                    .and_then(|()| std::fs::write(&path, text)),
                None => std::fs::remove_file(&path),
            };
            done.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }

    fn push(&self, args: &[&str]) {
        self.git(&[&["push", "--quiet", "origin"], args].concat());
    }

    fn switch(&self, branch: &str) {
        let current = self.git(&["symbolic-ref", "--short", "HEAD"]);
        if current.trim() == branch {
            return;
        }
        let exists = command().arg("-C").arg(&self.work).args(["rev-parse", "--verify", "--quiet", branch]).output();
        if exists.is_ok_and(|output| output.status.success()) {
            self.git(&["switch", "--quiet", branch]);
        } else {
            self.git(&["switch", "--quiet", "--create", branch]);
        }
    }
}

/// Git without the settings of this machine and its user.
fn command() -> Command {
    let mut command = Command::new(git());
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "bench").env(format!("GIT_{role}_EMAIL"), "bench@example.org");
    }
    command
}
