//! From an action to helm's arguments, purely. Values never show here: they go in on standard
//! input, because arguments are visible to every user of the machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::version::Version;
use crate::postrender::{self, Plugin};

/// Whether a chart is released for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `helm install`.
    Install,
    /// `helm upgrade`.
    Upgrade,
}

impl Verb {
    /// As on helm's command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Upgrade => "upgrade",
        }
    }
}

/// What to install or upgrade, except its values.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of helm's")]
pub struct ChartAction {
    /// First release or a later one.
    pub verb: Verb,
    /// Name of the release, at most 53 characters.
    pub release_name: String,
    /// Namespace of the release and of its storage.
    pub namespace: String,
    /// The packaged chart, or its folder.
    pub chart: PathBuf,
    /// Limit for each Kubernetes operation of helm, such as a hook.
    pub timeout: Duration,
    /// Make the namespace when it is missing (install only).
    pub create_namespace: bool,
    /// Run no hooks.
    pub disable_hooks: bool,
    /// Leave the chart's `crds/` alone (helm itself installs them at the first release only).
    pub skip_crds: bool,
    /// Do not validate against the API server's `OpenAPI` schema.
    pub disable_openapi_validation: bool,
    /// Do not validate the values against the chart's schema.
    pub disable_schema_validation: bool,
    /// Do not take over objects that another tool made.
    pub disable_take_ownership: bool,
    /// Take a name whose deleted release is still in helm's storage (install only).
    pub replace: bool,
    /// Replace objects that cannot be updated (upgrade only; helm 4 cannot where the API server
    /// applies).
    pub force: bool,
    /// Keep the values of the last revision below the new ones (upgrade only).
    pub preserve_values: bool,
    /// Delete what a failed upgrade created (upgrade only).
    pub cleanup_on_fail: bool,
    /// Let the API server apply the objects (helm 4 only).
    pub server_side: bool,
    /// Let helm itself wait, for charts whose post hooks depend on it.
    pub wait: bool,
    /// Revisions to keep (upgrade only); 0 keeps all.
    pub max_history: u32,
    /// What changes the rendered objects.
    pub post_renderer: Option<PostRenderer>,
}

/// A post-renderer of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostRenderer {
    /// Our own binary.
    pub program: PathBuf,
    /// The file to name to it.
    pub instructions: PathBuf,
}

/// What to uninstall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UninstallAction {
    /// Name of the release.
    pub release_name: String,
    /// Namespace of the release and of its storage.
    pub namespace: String,
    /// Limit for each Kubernetes operation of helm.
    pub timeout: Duration,
    /// Run no hooks.
    pub disable_hooks: bool,
    /// Keep the release's history.
    pub keep_history: bool,
    /// Return only when every object is gone.
    pub wait: bool,
    /// `background`, `foreground` or `orphan`; helm's default (`background`) when none.
    pub deletion_propagation: Option<String>,
}

/// What to go back to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of helm's")]
pub struct RollbackAction {
    /// Name of the release.
    pub release_name: String,
    /// Namespace of the release and of its storage.
    pub namespace: String,
    /// The revision to go back to.
    pub revision: i64,
    /// Limit for each Kubernetes operation of helm.
    pub timeout: Duration,
    /// Run no hooks.
    pub disable_hooks: bool,
    /// Delete what a failed rollback created.
    pub cleanup_on_fail: bool,
    /// Replace objects that cannot be updated (helm 4 cannot where the API server applies).
    pub force: bool,
    /// Let the API server apply the objects (helm 4 only).
    pub server_side: bool,
    /// Revisions to keep; 0 keeps all.
    pub max_history: u32,
}

/// What to test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestAction {
    /// Name of the release.
    pub release_name: String,
    /// Namespace of the release and of its storage.
    pub namespace: String,
    /// Limit for each Kubernetes operation of helm, such as a test.
    pub timeout: Duration,
    /// Names of tests to run, or (`true`) to leave out.
    pub filters: Vec<(String, bool)>,
}

/// Arguments of `helm install` and `helm upgrade`; the values are read from standard input.
pub fn chart_action(action: &ChartAction, version: Version) -> Vec<OsString> {
    let mut args = Arguments::new(action.verb.as_str());
    if action.verb == Verb::Install {
        args.flag(action.create_namespace, "--create-namespace");
        args.flag(action.replace, "--replace");
    } else {
        args.option("--history-max", &action.max_history.to_string());
        // Without it helm reuses the last values whenever the new ones are empty.
        args.flag(true, if action.preserve_values { "--reuse-values" } else { "--reset-values" });
        args.flag(action.cleanup_on_fail, "--cleanup-on-fail");
        args.force(action.force, action.server_side, version);
    }
    args.flag(action.skip_crds, "--skip-crds");
    args.flag(action.disable_hooks, "--no-hooks");
    args.flag(action.disable_openapi_validation, "--disable-openapi-validation");
    args.flag(action.disable_schema_validation, "--skip-schema-validation");
    args.flag(!action.disable_take_ownership, "--take-ownership");
    args.server_side(action.server_side, version);
    args.wait(action.wait, version);
    args.option("--timeout", &go_duration(action.timeout));
    args.option("--namespace", &action.namespace);
    args.option("--values", "-");
    if let Some(renderer) = &action.post_renderer {
        args.post_renderer(renderer, version);
    }
    args.positional(&action.release_name);
    args.0.push(action.chart.clone().into_os_string());
    args.0
}

/// Arguments of `helm rollback`.
pub fn rollback(action: &RollbackAction, version: Version) -> Vec<OsString> {
    let mut args = Arguments::new("rollback");
    args.option("--history-max", &action.max_history.to_string());
    args.flag(action.disable_hooks, "--no-hooks");
    args.flag(action.cleanup_on_fail, "--cleanup-on-fail");
    args.force(action.force, action.server_side, version);
    args.server_side(action.server_side, version);
    args.option("--timeout", &go_duration(action.timeout));
    args.option("--namespace", &action.namespace);
    args.positional(&action.release_name);
    args.0.push(action.revision.to_string().into());
    args.0
}

/// Arguments of `helm test`.
pub fn test(action: &TestAction) -> Vec<OsString> {
    let mut args = Arguments::new("test");
    for (name, exclude) in &action.filters {
        args.option("--filter", &format!("{}name={name}", if *exclude { "!" } else { "" }));
    }
    args.option("--timeout", &go_duration(action.timeout));
    args.option("--namespace", &action.namespace);
    args.positional(&action.release_name);
    args.0
}

/// Arguments of `helm uninstall`; a release that is gone is what was wanted.
pub fn uninstall(action: &UninstallAction, version: Version) -> Vec<OsString> {
    let mut args = Arguments::new("uninstall");
    args.flag(true, "--ignore-not-found");
    args.flag(action.disable_hooks, "--no-hooks");
    args.flag(action.keep_history, "--keep-history");
    args.wait(action.wait, version);
    if let Some(propagation) = &action.deletion_propagation {
        args.option("--cascade", propagation);
    }
    args.option("--timeout", &go_duration(action.timeout));
    args.option("--namespace", &action.namespace);
    args.positional(&action.release_name);
    args.0
}

struct Arguments(Vec<OsString>);

impl Arguments {
    fn new(verb: &str) -> Self {
        Self(vec![verb.into()])
    }

    fn flag(&mut self, wanted: bool, name: &str) {
        if wanted {
            self.0.push(name.into());
        }
    }

    /// As one argument, so that a value that starts with a dash is no flag.
    fn option(&mut self, name: &str, value: &str) {
        self.0.push(format!("{name}={value}").into());
    }

    /// As in Flux the release wins over whoever changed a field since: a scaled replica count
    /// fails no upgrade. Helm 3 only knows the client's way.
    fn server_side(&mut self, wanted: bool, version: Version) {
        if version.major >= 4 {
            self.option("--server-side", if wanted { "true" } else { "false" });
            self.flag(wanted, "--force-conflicts");
        }
    }

    /// The API server replaces nothing, whoever asks for it.
    fn force(&mut self, wanted: bool, server_side: bool, version: Version) {
        if version.major >= 4 {
            self.flag(wanted && !server_side, "--force-replace");
        } else {
            self.flag(wanted, "--force");
        }
    }

    /// Helm 3 runs a program, helm 4 a plugin. The arguments come first: helm loads the plugin again
    /// for each one that follows its name.
    fn post_renderer(&mut self, renderer: &PostRenderer, version: Version) {
        self.option("--post-renderer-args", postrender::SUBCOMMAND);
        self.path("--post-renderer-args=", &renderer.instructions);
        if version.major >= 4 {
            self.option("--post-renderer", Plugin::NAME);
        } else {
            self.path("--post-renderer=", &renderer.program);
        }
    }

    fn path(&mut self, option: &str, path: &Path) {
        let mut arg = OsString::from(option);
        arg.push(path);
        self.0.push(arg);
    }

    fn wait(&mut self, wanted: bool, version: Version) {
        self.flag(wanted, if version.major >= 4 { "--wait=watcher" } else { "--wait" });
    }

    /// What follows is no flag, whatever it looks like.
    fn positional(&mut self, value: &str) {
        self.0.push("--".into());
        self.0.push(value.into());
    }
}

/// As Go's `time.ParseDuration` reads it, rounded up to milliseconds.
fn go_duration(duration: Duration) -> String {
    format!("{}ms", duration.as_nanos().div_ceil(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELM3: Version = Version { major: 3, minor: 22, patch: 0 };
    const HELM4: Version = Version { major: 4, minor: 3, patch: 1 };

    fn install() -> ChartAction {
        ChartAction {
            verb: Verb::Install,
            release_name: "ui".to_owned(),
            namespace: "ui-default".to_owned(),
            chart: "/charts/ui.tgz".into(),
            timeout: Duration::from_secs(90),
            create_namespace: false,
            disable_hooks: false,
            skip_crds: false,
            disable_openapi_validation: false,
            disable_schema_validation: false,
            disable_take_ownership: false,
            replace: false,
            force: false,
            preserve_values: false,
            cleanup_on_fail: false,
            server_side: true,
            wait: false,
            max_history: 5,
            post_renderer: None,
        }
    }

    fn words(args: &[OsString]) -> String {
        args.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_install() {
        let expected =
            "install --take-ownership --timeout=90000ms --namespace=ui-default --values=- -- ui /charts/ui.tgz";
        assert_eq!(words(&chart_action(&install(), HELM3)), expected);
        let server_side = expected.replace("--timeout", "--server-side=true --force-conflicts --timeout");
        assert_eq!(words(&chart_action(&install(), HELM4)), server_side);
    }

    #[test]
    fn who_applies_and_how_hard_depends_on_helm() {
        let upgrade = |server_side, version| {
            let action = ChartAction { verb: Verb::Upgrade, server_side, force: true, ..install() };
            let words = words(&chart_action(&action, version));
            ["--server-side=true", "--server-side=false", "--force-conflicts", "--force-replace", "--force"]
                .into_iter()
                .filter(|flag| words.split(' ').any(|word| word == *flag))
                .collect::<Vec<_>>()
        };
        assert_eq!(upgrade(true, HELM4), ["--server-side=true", "--force-conflicts"]);
        assert_eq!(upgrade(false, HELM4), ["--server-side=false", "--force-replace"]);
        assert_eq!(upgrade(true, HELM3), ["--force"]);
    }

    #[test]
    fn a_rollback() {
        let action = RollbackAction {
            release_name: "ui".to_owned(),
            namespace: "ui-default".to_owned(),
            revision: 3,
            timeout: Duration::from_secs(2),
            disable_hooks: true,
            cleanup_on_fail: true,
            force: true,
            server_side: false,
            max_history: 7,
        };
        assert_eq!(
            words(&rollback(&action, HELM3)),
            "rollback --history-max=7 --no-hooks --cleanup-on-fail --force --timeout=2000ms --namespace=ui-default -- ui 3"
        );
        let action = RollbackAction { server_side: true, disable_hooks: false, cleanup_on_fail: false, ..action };
        assert_eq!(
            words(&rollback(&action, HELM4)),
            "rollback --history-max=7 --server-side=true --force-conflicts --timeout=2000ms --namespace=ui-default -- ui 3"
        );
    }

    #[test]
    fn a_test() {
        let action = TestAction {
            release_name: "ui".to_owned(),
            namespace: "ui-default".to_owned(),
            timeout: Duration::from_secs(2),
            filters: vec![("smoke".to_owned(), false), ("slow".to_owned(), true)],
        };
        assert_eq!(
            words(&test(&action)),
            "test --filter=name=smoke --filter=!name=slow --timeout=2000ms --namespace=ui-default -- ui"
        );
    }

    #[test]
    fn an_upgrade_resets_values_and_bounds_history() {
        let action = ChartAction { verb: Verb::Upgrade, create_namespace: true, ..install() };
        let words = words(&chart_action(&action, HELM3));
        assert!(words.starts_with("upgrade --history-max=5 --reset-values "), "{words}");
        assert!(!words.contains("--create-namespace"), "{words}");
        let kept = ChartAction { preserve_values: true, cleanup_on_fail: true, replace: true, ..action };
        let words = self::words(&chart_action(&kept, HELM3));
        assert!(words.starts_with("upgrade --history-max=5 --reuse-values --cleanup-on-fail "), "{words}");
        assert!(!words.contains("--replace"), "{words}");
        let again = ChartAction { replace: true, ..install() };
        assert!(self::words(&chart_action(&again, HELM3)).starts_with("install --replace "));
    }

    #[test]
    fn every_switch_is_a_flag() {
        let action = ChartAction {
            create_namespace: true,
            disable_hooks: true,
            skip_crds: true,
            disable_openapi_validation: true,
            disable_schema_validation: true,
            disable_take_ownership: true,
            wait: true,
            ..install()
        };
        let words = words(&chart_action(&action, HELM4));
        for flag in [
            "--create-namespace",
            "--no-hooks",
            "--skip-crds",
            "--disable-openapi-validation",
            "--skip-schema-validation",
            "--wait=watcher",
        ] {
            assert!(words.contains(flag), "{flag} is not in {words}");
        }
        assert!(!words.contains("--take-ownership"), "{words}");
    }

    #[test]
    fn the_post_renderer_is_a_program_or_a_plugin() {
        let renderer = PostRenderer { program: "/bin/fairlead".into(), instructions: "/data/a b.json".into() };
        let action = ChartAction { post_renderer: Some(renderer), ..install() };
        let args = "--post-renderer-args=post-render --post-renderer-args=/data/a b.json --post-renderer=";
        assert!(words(&chart_action(&action, HELM3)).contains(&format!("{args}/bin/fairlead -- ui")));
        assert!(words(&chart_action(&action, HELM4)).contains(&format!("{args}fairlead -- ui")));
    }

    #[test]
    fn an_uninstall() {
        let action = UninstallAction {
            release_name: "ui".to_owned(),
            namespace: "ui-default".to_owned(),
            timeout: Duration::from_millis(1500),
            disable_hooks: true,
            keep_history: true,
            wait: true,
            deletion_propagation: Some("foreground".to_owned()),
        };
        assert_eq!(
            words(&uninstall(&action, HELM3)),
            "uninstall --ignore-not-found --no-hooks --keep-history --wait --cascade=foreground --timeout=1500ms --namespace=ui-default -- ui"
        );
        assert!(words(&uninstall(&action, HELM4)).contains("--wait=watcher"));
    }

    #[test]
    fn durations_round_up() {
        assert_eq!(go_duration(Duration::from_nanos(1)), "1ms");
    }
}
