//! `.helmignore`: what a chart's package leaves out, by Helm's rules, which differ from git's.
//! Pure.

use super::glob;

/// The name of the file, in a chart's root.
pub const HELM_IGNORE_FILE: &str = ".helmignore";

/// Helm's own rule: hidden files among the templates.
const BUILT_IN: &str = "templates/.?*";

/// A chart's rules, in their order.
#[derive(Clone, Debug)]
pub struct HelmIgnore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    pattern: String,
    negated: bool,
    directories_only: bool,
}

impl HelmIgnore {
    /// Reads the file's text. The error names a line that Helm refuses.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut rules = Vec::new();
        for line in lines.chain([BUILT_IN]) {
            if line.contains("**") {
                return Err(format!("{HELM_IGNORE_FILE}: '{line}': helm does not support '**'"));
            }
            let (negated, pattern) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
            let (directories_only, pattern) = pattern.strip_suffix('/').map_or((false, pattern), |rest| (true, rest));
            rules.push(Rule { pattern: pattern.to_owned(), negated, directories_only });
        }
        Ok(Self { rules })
    }

    /// Whether the path below the chart's root is left out. A directory that is takes all
    /// below it along.
    pub fn ignores(&self, path: &str, is_directory: bool) -> bool {
        for rule in &self.rules {
            let applies = !rule.directories_only || is_directory;
            // Helm's reading of `!`: whatever it does not name is left out.
            if rule.negated {
                if !applies || !rule.matches(path) {
                    return true;
                }
            } else if applies && rule.matches(path) {
                return true;
            }
        }
        false
    }
}

impl Rule {
    fn matches(&self, path: &str) -> bool {
        if let Some(rooted) = self.pattern.strip_prefix('/') {
            return glob::matches(rooted, path);
        }
        if self.pattern.contains('/') {
            return glob::matches(&self.pattern, path);
        }
        glob::matches(&self.pattern, path.rsplit('/').next().unwrap_or(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_hold_as_helm_reads_them() {
        let ignore = HelmIgnore::parse("# comment\n*.md\n/ci\ndocs/\nfiles/*.tmp\n").unwrap();
        for (path, is_directory, expected) in [
            ("README.md", false, true),
            ("deep/NOTES.md", false, true),
            ("ci", true, true),
            ("a/ci", true, false),
            ("docs", true, true),
            ("docs", false, false),
            ("files/a.tmp", false, true),
            ("a.tmp", false, false),
            ("templates/.hidden", false, true),
            ("templates/a.yaml", false, false),
            ("Chart.yaml", false, false),
        ] {
            assert_eq!(ignore.ignores(path, is_directory), expected, "{path}");
        }
    }

    #[test]
    fn double_stars_are_refused() {
        assert!(HelmIgnore::parse("a/**/b").unwrap_err().contains("a/**/b"));
    }
}
