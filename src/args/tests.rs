use super::*;

fn config(args: &[&str]) -> Result<Config, String> {
    let cli = Cli::try_parse_from([&["fairlead", "run"], args].concat()).map_err(|e| e.to_string())?;
    let Command::Run(run) = cli.command else { panic!("not run") };
    run.config().map_err(|e| e.to_string())
}

#[test]
fn defaults_run_everything() {
    let config = config(&[]).unwrap();
    assert_eq!(config.controllers.len(), 4);
    assert_eq!(config.artifact_url, "http://0.0.0.0:9090");
    assert_eq!(config.concurrent, 4);
    assert_eq!(config.remote, RemoteOptions::default());
    assert_eq!(config.prune_ceiling, Ceiling::default());
    assert_eq!(config.retention, Retention::default());
}

#[test]
fn an_empty_default_account_is_none() {
    assert_eq!(config(&["--default-service-account="]).unwrap().default_service_account, None);
    let named = config(&["--default-service-account=tenant"]).unwrap();
    assert_eq!(named.default_service_account.as_deref(), Some("tenant"));
}

#[test]
fn the_own_release_is_a_namespace_and_a_name() {
    let own = |given: &str| config(&[&format!("--own-release={given}")]).map(|config| config.own_release);
    assert_eq!(own("a/b"), Ok(Some(("a".to_owned(), "b".to_owned()))));
    assert_eq!(own(""), Ok(None));
    for wrong in ["b", "/b", "a/", "a/b/c"] {
        assert!(own(wrong).is_err_and(|error| error.contains("--own-release")), "{wrong}");
    }
}

#[test]
fn artifacts_are_kept_as_long_as_asked() {
    let config = config(&["--artifact-retention-ttl=1h30m", "--artifact-retention-records=5"]).unwrap();
    let ttl = std::time::Duration::from_mins(90);
    assert_eq!(config.retention, Retention { ttl, records: 5 });
    assert!(self::config(&["--artifact-retention-ttl=soon"]).is_err());
    assert!(self::config(&["--artifact-retention-records=0"]).is_err());
}

#[test]
fn controllers_are_a_list() {
    let config = config(&["--controllers", "source,kustomize"]).unwrap();
    assert!(!config.controllers.contains(&ControllerGroup::Helm));
}

#[test]
fn alerts_are_left_to_whom_events_are_posted_to_unless_asked_for() {
    let posted = ["--events-addr", "http://notification-controller/"];
    let config = |more: &[&str]| self::config(&[&posted, more].concat()).unwrap();
    assert_eq!(config(&[]).events_addr.unwrap().as_str(), posted[1]);
    assert!(!config(&[]).controllers.contains(&ControllerGroup::Notification));
    assert!(config(&["--controllers", "notification"]).controllers.contains(&ControllerGroup::Notification));
    let error = self::config(&["--events-addr", "hunter2"]).unwrap_err();
    assert!(error.contains("--events-addr") && !error.contains("hunter2"), "{error}");
}

#[test]
fn traces_are_sent_where_the_flag_says_and_nowhere_without_it() {
    assert_eq!(config(&[]).unwrap().otlp, None);
    assert_eq!(config(&["--otlp-endpoint="]).unwrap().otlp, None);
    let otlp = config(&["--otlp-endpoint", "http://collector:4318"]).unwrap().otlp.unwrap();
    assert_eq!(otlp.url.as_str(), "http://collector:4318/v1/traces");
    let error = config(&["--otlp-endpoint", "http://ann:hunter2@collector:4318"]).unwrap_err();
    assert!(error.contains("OTEL_EXPORTER_OTLP_HEADERS") && !error.contains("hunter2"), "{error}");
}

#[test]
fn bad_values_name_the_flag() {
    for (args, needle) in [
        (["--concurrent", "0"], "--concurrent"),
        (["--listen", "nowhere"], "--listen"),
        (["--artifact-url", "ftp://x"], "--artifact-url"),
        (["--controllers", "nope"], "--controllers"),
        (["--prune-ceiling-percent", "101"], "--prune-ceiling-percent"),
        (["--watch-label-selector", "key in a"], "--watch-label-selector"),
        (["--otlp-endpoint", "collector:4318"], "--otlp-endpoint must be a URL such as http://collector:4318"),
    ] {
        let error = config(&args).unwrap_err();
        assert!(error.contains(needle), "{error}");
    }
}

#[test]
fn the_guard_passes_flags_on() {
    let cli = Cli::try_parse_from(["fairlead", "child-guard", "7", "helm", "upgrade", "--install", "-f", "-"]).unwrap();
    let Command::ChildGuard(guard) = cli.command else { panic!("not the guard") };
    assert_eq!((guard.parent, guard.command.len()), (7, 5));
}

#[test]
fn alerts_and_receivers_are_watched_only_where_they_are_looked_after() {
    let watched = |args: &[&str]| {
        let mut kinds: Vec<String> = config(args).unwrap().watched_kinds().map(|kind| kind.resource.kind).collect();
        kinds.retain(|kind| ["HelmRelease", "Alert", "Provider", "Receiver"].contains(&kind.as_str()));
        kinds.join(" ")
    };
    assert_eq!(watched(&[]), "HelmRelease Alert Provider");
    assert_eq!(watched(&["--receiver-listen", "0.0.0.0:9292"]), "HelmRelease Alert Provider Receiver");
    assert_eq!(watched(&["--controllers", "source"]), "HelmRelease");
    assert_eq!(watched(&["--events-addr", "http://example.com/"]), "HelmRelease");
}
