//! Which files of a source an artifact leaves out: `.sourceignore` files, the object's
//! `spec.ignore`, and Flux's default exclusions, all in the pattern format of `.gitignore`. Pure.

use std::sync::Arc;

use super::glob;

/// The name of the ignore files that a source may hold in any directory.
pub const IGNORE_FILE: &str = ".sourceignore";

const VERSION_CONTROL: &[&str] = &[".git/", ".gitignore", ".gitmodules", ".gitattributes"];

const DEFAULTS: &[&str] = &[
    "*.jpg",
    "*.jpeg",
    "*.gif",
    "*.png",
    "*.wmv",
    "*.flv",
    "*.tar.gz",
    "*.zip",
    ".github/",
    ".circleci/",
    ".travis.yml",
    ".gitlab-ci.yml",
    "appveyor.yml",
    ".drone.yml",
    "cloudbuild.yaml",
    "codeship-services.yml",
    "codeship-steps.yml",
    "**/.goreleaser.yml",
    "**/.sops.yaml",
    "**/.flux.yaml",
];

/// An ordered set of patterns; the last one that matches a path decides.
#[derive(Clone, Debug, Default)]
pub struct IgnoreRules {
    patterns: Vec<Pattern>,
}

impl IgnoreRules {
    /// The rules of a source: its ignore files (directory, text) and the object's own patterns.
    /// Flux's defaults hold only where neither names a pattern; version control files never stay.
    pub fn for_source(files: &[(Vec<String>, String)], spec: Option<&str>) -> Self {
        let mut own = Vec::new();
        for (domain, text) in files {
            own.extend(parse(text, domain));
        }
        own.extend(parse(spec.unwrap_or_default(), &[]));
        let root = Arc::from([]);
        let built_in = |texts: &[&str]| texts.iter().map(|text| Pattern::parse(text, &root)).collect::<Vec<_>>();
        let mut patterns = built_in(VERSION_CONTROL);
        if own.is_empty() {
            patterns.extend(built_in(DEFAULTS));
        }
        patterns.extend(own);
        Self { patterns }
    }

    /// Whether the path, given as its elements below the root, is left out.
    pub fn excludes(&self, path: &[&str], is_directory: bool) -> bool {
        self.patterns.iter().rev().find(|pattern| pattern.matches(path, is_directory)).is_some_and(|p| !p.negated)
    }
}

/// The lines of an ignore file that are patterns.
pub fn patterns(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty())
}

fn parse<'t>(text: &'t str, domain: &[String]) -> impl Iterator<Item = Pattern> + 't {
    let domain = Arc::from(domain);
    patterns(text).map(move |line| Pattern::parse(line, &domain))
}

#[derive(Clone, Debug)]
struct Pattern {
    /// Where it stands; a file may have very many.
    domain: Arc<[String]>,
    elements: Vec<String>,
    negated: bool,
    directories_only: bool,
}

impl Pattern {
    fn parse(text: &str, domain: &Arc<[String]>) -> Self {
        let (negated, text) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let text = if text.ends_with("\\ ") { text } else { text.trim_end_matches(' ') };
        let (directories_only, text) = text.strip_suffix('/').map_or((false, text), |rest| (true, rest));
        let elements = text.split('/').map(str::to_owned).collect();
        Self { domain: Arc::clone(domain), elements, negated, directories_only }
    }

    fn matches(&self, path: &[&str], is_directory: bool) -> bool {
        if path.len() <= self.domain.len() || self.domain.iter().zip(path).any(|(domain, element)| domain != element) {
            return false;
        }
        let path = &path[self.domain.len()..];
        match self.elements.as_slice() {
            [name] => self.matches_name(name, path, is_directory),
            _ => self.matches_path(path, is_directory),
        }
    }

    /// A pattern without a slash matches any element of the path.
    fn matches_name(&self, pattern: &str, path: &[&str], is_directory: bool) -> bool {
        let Some(index) = path.iter().position(|name| glob::matches(pattern, name)) else { return false };
        !(self.directories_only && !is_directory && index == path.len() - 1)
    }

    /// A pattern with a slash matches from its directory on; `**` stands for any directories.
    fn matches_path(&self, path: &[&str], is_directory: bool) -> bool {
        let mut rest = path;
        let mut matched = false;
        let mut anywhere = false;
        for (index, element) in self.elements.iter().enumerate() {
            match element.as_str() {
                "" => anywhere = false,
                "**" if index + 1 == self.elements.len() => break,
                "**" => anywhere = true,
                element if element.contains("**") => return false,
                element => {
                    let found = rest.iter().position(|name| glob::matches(element, name));
                    match found {
                        Some(at) if at == 0 || anywhere => rest = &rest[at + 1..],
                        _ => return false,
                    }
                    matched = true;
                    anywhere = false;
                }
            }
        }
        matched && !(self.directories_only && !is_directory && rest.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(spec: &str) -> IgnoreRules {
        IgnoreRules::for_source(&[], Some(spec))
    }

    fn excluded(rules: &IgnoreRules, path: &str) -> bool {
        let (path, is_directory) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
        rules.excludes(&path.split('/').collect::<Vec<_>>(), is_directory)
    }

    #[test]
    fn the_defaults_leave_out_what_flux_leaves_out() {
        let defaults = IgnoreRules::for_source(&[], None);
        for path in [
            ".git/",
            ".git/config",
            ".gitignore",
            "charts/x/.gitmodules",
            "logo.png",
            "deep/down/photo.jpg",
            "x.tar.gz",
            ".github/workflows/ci.yaml",
            ".travis.yml",
            "sub/.sops.yaml",
            ".flux.yaml",
        ] {
            assert!(excluded(&defaults, path), "{path}");
        }
        for path in ["production/api.yaml", "charts/x/Chart.yaml", "PLACEHOLDER", "a.tgz", ".helmignore"] {
            assert!(!excluded(&defaults, path), "{path}");
        }
    }

    #[test]
    fn own_patterns_replace_the_defaults_but_not_version_control() {
        let own = rules("*.md\n");
        assert!(excluded(&own, "README.md"));
        assert!(!excluded(&own, "logo.png"));
        assert!(excluded(&own, ".git/HEAD"));
    }

    #[test]
    fn a_directory_can_be_all_that_stays() {
        let only = rules("# all but deploy\n/*\n!/deploy\n/deploy/**/*.md\n");
        assert!(excluded(&only, "src/main.rs"));
        assert!(!excluded(&only, "deploy/app.yaml"));
        assert!(excluded(&only, "deploy/docs/README.md"));
    }

    #[test]
    fn patterns_of_a_directory_hold_below_it() {
        let files = [(vec!["sub".to_owned()], "*.txt\n".to_owned())];
        let scoped = IgnoreRules::for_source(&files, None);
        assert!(excluded(&scoped, "sub/a.txt"));
        assert!(excluded(&scoped, "sub/deep/a.txt"));
        assert!(!excluded(&scoped, "a.txt"));
    }

    #[test]
    fn a_trailing_slash_means_directories() {
        let directories = rules("build/\n/dist/\n");
        assert!(excluded(&directories, "build/"));
        assert!(excluded(&directories, "a/build/out.o"));
        assert!(!excluded(&directories, "a/build"));
        assert!(excluded(&directories, "dist/x"));
        assert!(!excluded(&directories, "dist"));
    }

    #[test]
    fn the_objects_patterns_overrule_the_files() {
        let files = [(vec![], "secret.yaml\n".to_owned())];
        let both = IgnoreRules::for_source(&files, Some("!secret.yaml\n"));
        assert!(!excluded(&both, "secret.yaml"));
    }
}
