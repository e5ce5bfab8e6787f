use super::*;

const CHART: &str = "apiVersion: v1\nname: nodejs\nversion: 1.0.0 # bumped by hand\ndescription: A chart\n";

fn source(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn package(source: &Path, chart: &str, packaging: &Packaging) -> Result<Package, ChartError> {
    package_local(source, &locate(source, chart)?, packaging, BTreeMap::new())
}

fn text_of(package: &Package, name: &str) -> Option<String> {
    let files = archive::read_files(package.bytes.as_slice(), MAX_CHART).unwrap();
    files.get(&format!("{}/{name}", package.name)).map(|bytes| String::from_utf8(bytes.clone()).unwrap())
}

fn revision(metadata: &str) -> Packaging {
    Packaging { version_metadata: Some(metadata.to_owned()), ..Packaging::default() }
}

#[test]
fn a_directory_becomes_a_package_with_the_revision_in_its_version() {
    let source = source(&[
        ("charts/nodejs/Chart.yaml", CHART),
        ("charts/nodejs/values.yaml", "replicas: 1\n"),
        ("charts/nodejs/templates/a.yaml", "kind: ConfigMap\n"),
        ("charts/nodejs/README.md", "read me"),
        ("charts/nodejs/.helmignore", "*.md\n"),
    ]);
    let made = package(source.path(), "./charts/nodejs/", &revision("a1b2c3d4e5f6")).unwrap();
    assert_eq!(made.version, "1.0.0+a1b2c3d4e5f6");
    assert_eq!(made.summary(), "packaged 'nodejs' chart with version '1.0.0+a1b2c3d4e5f6'");
    assert!(text_of(&made, "Chart.yaml").unwrap().contains("version: \"1.0.0+a1b2c3d4e5f6\"\ndescription: A chart"));
    assert_eq!(text_of(&made, "templates/a.yaml").unwrap(), "kind: ConfigMap\n");
    assert_eq!(text_of(&made, "README.md"), None);
    let again = package(source.path(), "charts/nodejs", &revision("a1b2c3d4e5f6")).unwrap();
    assert_eq!(made.bytes, again.bytes, "packages are reproducible");
}

#[test]
fn values_files_replace_the_defaults() {
    let source = source(&[
        ("c/Chart.yaml", CHART),
        ("c/values.yaml", "a: {x: 1, z: 2}\nb: 1\n"),
        ("c/prod.yaml", "a: {x: 3}\nl: [1]\n"),
    ]);
    let files = ["c/values.yaml", "c/prod.yaml", "c/none.yaml"].map(str::to_owned).to_vec();
    let mut packaging = Packaging { values_files: files, ..revision("7") };
    let error = package(source.path(), "c", &packaging).unwrap_err();
    assert_eq!(error.fault, ChartFault::ValuesFiles);
    assert!(error.to_string().contains("c/none.yaml"), "{error}");
    packaging.ignore_missing_values_files = true;
    let made = package(source.path(), "c", &packaging).unwrap();
    let values = yaml::parse(&text_of(&made, "values.yaml").unwrap()).unwrap();
    assert_eq!(values, serde_json::json!({"a": {"x": 3, "z": 2}, "b": 1, "l": [1]}));
    assert_eq!(made.values_files, ["c/values.yaml", "c/prod.yaml"]);
}

#[test]
fn what_helm_would_not_take_is_named() {
    let source = source(&[
        ("c/Chart.yaml", CHART),
        ("c/files/dump.bin", ""),
        ("c/.helmignore", ""),
        ("long/Chart.yaml", ""),
        ("big.yaml", ""),
    ]);
    let stretch = |name: &str, length: u64| {
        fs::File::options().write(true).open(source.path().join(name)).unwrap().set_len(length).unwrap();
    };
    stretch("c/files/dump.bin", MAX_FILE);
    let made = package(source.path(), "c", &revision("7")).unwrap();
    for name in ["c/files/dump.bin", "big.yaml", "long/Chart.yaml"] {
        stretch(name, MAX_FILE + 1);
    }
    let told = |chart: &str, packaging: &Packaging| package(source.path(), chart, packaging).unwrap_err().to_string();
    let error = told("c", &revision("7"));
    assert!(
        error.contains("'files/dump.bin' is larger than 5242880 bytes") && error.contains(".helmignore"),
        "{error}"
    );
    let values = Packaging { values_files: vec!["big.yaml".to_owned()], ..Packaging::default() };
    assert!(told("c", &values).ends_with("'big.yaml': it is larger than 5242880 bytes"));
    let error = metadata_at(&source.path().join("long")).unwrap_err().to_string();
    assert!(error.contains("Chart.yaml: it is larger than"), "{error}");
    fs::write(source.path().join("c/.helmignore"), "files/\n").unwrap();
    package(source.path(), "c", &revision("7")).unwrap();

    let mut files = archive::read_files(made.bytes.as_slice(), MAX_CHART).unwrap();
    files.get_mut("nodejs/files/dump.bin").unwrap().push(0);
    let files = files.into_iter().map(|(name, bytes)| (name, Content::Bytes(bytes))).collect();
    let mut bytes = Vec::new();
    archive::pack_files(&files, &mut bytes).unwrap();
    let error = package_remote(bytes, &Packaging::default()).unwrap_err().to_string();
    assert!(error.contains("'files/dump.bin' is larger"), "{error}");
    let many: Files = (0..21).map(|n| (n.to_string(), Content::File(source.path().join("sum.bin")))).collect();
    fs::write(source.path().join("sum.bin"), "").unwrap();
    stretch("sum.bin", MAX_FILE);
    assert!(check_sizes(&many).unwrap_err().contains("104857600 bytes together"));
}

#[test]
fn what_is_no_chart_is_named() {
    let source = source(&[
        ("empty/values.yaml", "a: 1\n"),
        ("noname/Chart.yaml", "version: 1.0.0\n"),
        ("number/Chart.yaml", "name: x\nversion: 1.0\n"),
        ("bad/Chart.yaml", "name: x\nversion: one\n"),
        ("broken/Chart.yaml", "name: [\n"),
        ("slash/Chart.yaml", "name: ../x\nversion: 1.0.0\n"),
    ]);
    for (chart, needle) in [
        ("missing", "no chart found at path 'missing'"),
        ("../..", "leads out"),
        ("empty", "no Chart.yaml"),
        ("noname", "name is missing"),
        ("number", "put it in quotes"),
        ("bad", "'one'"),
        ("broken", "Chart.yaml"),
        ("slash", "not a valid chart name"),
    ] {
        let error = locate(source.path(), chart).and_then(|path| metadata_at(&path)).unwrap_err();
        assert!(error.to_string().contains(needle), "{chart}: {error}");
        assert!(error.fault.is_terminal());
    }
}

#[test]
fn gathered_dependencies_become_part_of_the_package() {
    let chart = "name: x\nversion: 1.0.0\ndependencies:\n- {name: redis, version: 1.x}\n- {name: lib, version: 1.x}\n";
    let source = source(&[("Chart.yaml", chart), ("charts/lib/Chart.yaml", "name: lib\nversion: 1.0.0\n")]);
    let missing = missing_dependencies(source.path()).unwrap();
    assert_eq!(missing.iter().map(|dependency| dependency.name.as_str()).collect::<Vec<_>>(), ["redis"]);
    let more = || BTreeMap::from([("charts/redis-1.2.0.tgz".to_owned(), b"packaged".to_vec())]);
    let made = || package_local(source.path(), source.path(), &Packaging::default(), more()).unwrap();
    assert_eq!(text_of(&made(), "charts/redis-1.2.0.tgz").unwrap(), "packaged");
    assert_eq!(made().bytes, made().bytes, "packages are reproducible");
}

#[test]
fn a_downloaded_package_stays_as_it_is_unless_changed() {
    let source = source(&[("Chart.yaml", CHART), ("values.yaml", "a: 1\n"), ("values-prod.yaml", "a: 2\n")]);
    let made = package(source.path(), ".", &Packaging::default()).unwrap();
    let taken = package_remote(made.bytes.clone(), &Packaging::default()).unwrap();
    assert_eq!(taken.bytes, made.bytes);
    assert_eq!(taken.summary(), "pulled 'nodejs' chart with version '1.0.0'");
    let packaging = Packaging { values_files: vec!["values-prod.yaml".into()], ..revision("3") };
    let changed = package_remote(made.bytes, &packaging).unwrap();
    assert_eq!(changed.version, "1.0.0+3");
    assert!(text_of(&changed, "values.yaml").unwrap().contains('2'));
    let error = package_remote(b"not a chart".to_vec(), &Packaging::default()).unwrap_err();
    assert_eq!(error.fault, ChartFault::Pull);
}

#[test]
fn a_version_in_flow_style_is_patched_too() {
    let source = source(&[("Chart.yaml", "{name: x, version: 1.0.0}\n")]);
    let made = package(source.path(), ".", &revision("abc")).unwrap();
    let chart = yaml::parse(&text_of(&made, "Chart.yaml").unwrap()).unwrap();
    assert_eq!(chart["version"], "1.0.0+abc");
}
