//! A repository that tests write to.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::signing::Signer;
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

    /// Makes a long history on `main`: commits that each put another incompressible text of this size into `file`. The
    /// work tree has the last one only. Gives its hash.
    ///
    /// # Panics
    /// When git refuses.
    pub fn history(&self, commits: usize, size: usize) -> String {
        let mut import = command();
        import.arg("--git-dir").arg(&self.bare).args(["-c", "core.compression=0"]);
        import.args(["fast-import", "--quiet", "--force", "--depth=0"]).stdin(Stdio::piped());
        let mut import = import.spawn().expect("start git");
        let into = import.stdin.take().expect("its input is a pipe");
        write_history(into, commits, size).expect("write to git");
        assert!(import.wait().is_ok_and(|status| status.success()), "git fast-import failed");
        self.git(&["fetch", "--quiet", "--depth=1", "origin", "+main:refs/remotes/origin/main"]);
        self.git(&["switch", "--quiet", "--force-create", "main", "origin/main"]);
        self.head("main")
    }

    /// Signs the last commit of `main`, replacing it: a force push. Gives the new hash.
    ///
    /// # Panics
    /// When git refuses.
    pub fn sign_head(&self, signer: &impl Signer) -> String {
        let commit = self.git(&["cat-file", "commit", "refs/heads/main"]);
        let (head, message) = commit.split_once("\n\n").expect("a commit has a message");
        let signature = signer.sign(commit.as_bytes()).trim_end().replace('\n', "\n ");
        let hash = self.store("commit", &format!("{head}\ngpgsig {signature}\n\n{message}"));
        self.git(&["update-ref", "refs/heads/main", &hash]);
        self.push(&["--force", "main"]);
        hash
    }

    /// Tags the head of `main` with a signed tag object.
    ///
    /// # Panics
    /// When git refuses.
    pub fn signed_tag(&self, name: &str, signer: &impl Signer) {
        let commit = self.head("main");
        let tagger = "tagger bench <bench@example.org> 1700000000 +0000";
        let payload = format!("object {commit}\ntype commit\ntag {name}\n{tagger}\n\nA release.\n");
        let tag = self.store("tag", &format!("{payload}{}", signer.sign(payload.as_bytes())));
        self.force_tag(name, &tag);
    }

    /// Makes a tag lead to any object, whatever it was before.
    ///
    /// # Panics
    /// When git refuses.
    pub fn force_tag(&self, name: &str, object: &str) {
        let reference = format!("refs/tags/{name}");
        self.git(&["update-ref", &reference, object]);
        self.push(&["--force", &reference]);
    }

    fn store(&self, kind: &str, text: &str) -> String {
        let file = self.work.with_extension(kind);
        std::fs::write(&file, text).expect("write an object");
        self.git(&["hash-object", "-t", kind, "-w", &file.to_string_lossy()]).trim().to_owned()
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

/// Writes what `git fast-import` reads.
fn write_history(into: impl Write, commits: usize, size: usize) -> std::io::Result<()> {
    let mut into = BufWriter::new(into);
    let mut noise = 1_u64;
    for number in 0..commits {
        let message = format!("commit {number}");
        let who = "committer bench <bench@example.org> 1700000000 +0000";
        write!(into, "commit refs/heads/main\n{who}\ndata {}\n{message}\n", message.len())?;
        writeln!(into, "M 644 inline file\ndata {}", size / 8 * 8)?;
        for _ in 0..size / 8 {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            into.write_all(&noise.to_le_bytes())?;
        }
        into.write_all(b"\n")?;
    }
    into.flush()
}
