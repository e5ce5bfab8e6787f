use super::*;

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn packed(dir: &Path) -> Vec<u8> {
    let rules = IgnoreRules::for_source(&ignore_files(dir).unwrap(), None);
    let mut out = Vec::new();
    pack_directory(dir, &rules, &mut out).unwrap();
    out
}

#[test]
fn equal_trees_give_equal_bytes() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [a.path(), b.path()] {
        write(dir, "production/api.yaml", "kind: Namespace\n");
        write(dir, "PLACEHOLDER", "");
    }
    fs::set_permissions(b.path().join("PLACEHOLDER"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(packed(a.path()), packed(b.path()));
}

#[test]
fn a_tree_survives_the_round_trip_without_links_and_ignored_files() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(from.path(), "a/b.yaml", "x: 1\n");
    write(from.path(), "run.sh", "#!/bin/sh\n");
    fs::set_permissions(from.path().join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    write(from.path(), "logo.png", "image");
    std::os::unix::fs::symlink("/etc/passwd", from.path().join("link")).unwrap();
    unpack_gzip(packed(from.path()).as_slice(), to.path()).unwrap();
    assert_eq!(fs::read_to_string(to.path().join("a/b.yaml")).unwrap(), "x: 1\n");
    assert_eq!(fs::metadata(to.path().join("run.sh")).unwrap().permissions().mode() & 0o111, 0o111);
    assert!(!to.path().join("logo.png").exists());
    assert!(fs::symlink_metadata(to.path().join("link")).is_err());
}

#[test]
fn ignore_files_hold_where_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "sub/.sourceignore", "*.txt\n");
    write(dir.path(), "sub/a.txt", "");
    write(dir.path(), "a.txt", "");
    let files = read_files(packed(dir.path()).as_slice(), 1024).unwrap();
    assert!(files.contains_key("a.txt") && !files.contains_key("sub/a.txt"));
}

/// What both ways to collect ignore files say of a tree.
fn collected(tree: &[(&str, String)]) -> Result<usize, String> {
    let dir = tempfile::tempdir().unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in tree {
        write(dir.path(), name, text);
        let mut header = header(tar::EntryType::Regular, 0o644, text.len() as u64);
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    let [on_disk, packed] = [ignore_files(dir.path()), ignore_files_in(tar.as_slice(), UNPACKED)]
        .map(|found| found.map(|found| found.len()).map_err(|error| error.to_string()));
    assert_eq!(on_disk, packed);
    on_disk
}

#[test]
fn ignore_files_are_limited_together() {
    let most = usize::try_from(MAX_IGNORE_FILES).unwrap();
    let text = |bytes: usize| "#".repeat(bytes);
    let names = ["a/.sourceignore", "b/c/.sourceignore"];
    let half = |index: usize| most / 2 - names[index].len();
    assert_eq!(collected(&[(names[0], text(half(0))), (names[1], text(half(1)))]), Ok(2));
    let error = collected(&[(names[0], text(half(0))), (names[1], text(half(1) + 1))]).unwrap_err();
    assert!(error.starts_with("b/c/.sourceignore: the .sourceignore files up to this one have more than"), "{error}");
    let lines = |count| "a\n# not one\n\n".repeat(count);
    let (one, other) = (lines(MAX_PATTERNS / 2), lines(MAX_PATTERNS / 2));
    assert_eq!(collected(&[(names[0], one.clone()), (names[1], other.clone())]), Ok(2));
    let error = collected(&[(names[0], one), (names[1], other + "b\n")]).unwrap_err();
    assert!(error.starts_with("b/c/.sourceignore: ") && error.contains("20000 patterns"), "{error}");
}

#[test]
fn paths_that_climb_are_refused() {
    let mut raw = tar::Builder::new(Vec::new());
    let mut header = header(tar::EntryType::Regular, 0o644, 1);
    let name = b"../evil";
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_cksum();
    raw.append(&header, &b"x"[..]).unwrap();
    let tar = raw.into_inner().unwrap();
    let into = tempfile::tempdir().unwrap();
    assert!(matches!(unpack(tar.as_slice(), into.path()), Err(ArchiveError::UnsafePath(_))));
}

#[test]
fn paths_that_no_file_system_takes_are_refused() {
    let tar = |name: &str, kind| {
        let mut raw = tar::Builder::new(Vec::new());
        raw.append_data(&mut header(kind, 0o644, 0), name, io::empty()).unwrap();
        raw.into_inner().unwrap()
    };
    let kinds = [tar::EntryType::Regular, tar::EntryType::Directory];
    for name in ["a/".repeat(400_000) + "a", "a/".repeat(MAX_DEPTH) + "a", "a".repeat(MAX_PATH + 1)] {
        for kind in kinds {
            let into = tempfile::tempdir().unwrap();
            let error = unpack(tar(&name, kind).as_slice(), into.path()).unwrap_err();
            assert!(matches!(error, ArchiveError::LongPath(_)), "{error}");
            assert!(error.to_string().len() < 250, "{error}");
            assert_eq!(fs::read_dir(into.path()).unwrap().count(), 0);
        }
    }
    let deep = "a/".repeat(MAX_DEPTH - 1) + "a";
    for kind in kinds {
        let into = tempfile::tempdir().unwrap();
        unpack(tar(&deep, kind).as_slice(), into.path()).unwrap();
        assert!(into.path().join(&deep).exists());
    }
}

#[test]
fn too_much_is_refused() {
    let files = BTreeMap::from([("big".to_owned(), Content::Bytes(vec![0; 4096]))]);
    let mut out = Vec::new();
    pack_files(&files, &mut out).unwrap();
    assert!(matches!(read_files(out.as_slice(), 1024), Err(ArchiveError::TooLarge(1024))));
}

/// A header as it is in the stream.
fn block(kind: tar::EntryType, name: &str, size: u64) -> Vec<u8> {
    let mut header = header(kind, 0o644, size);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// Counts what is read of a stream.
struct Counted<R>(R, u64);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(into)?;
        self.1 += read as u64;
        Ok(read)
    }
}

#[test]
fn long_headers_are_not_read_into_memory() {
    let into = tempfile::tempdir().unwrap();
    let (mib, long) = (1 << 20, 64 << 20);
    let file = block(tar::EntryType::Regular, "a", 4 * mib);
    for kind in [tar::EntryType::GNULongName, tar::EntryType::GNULongLink, tar::EntryType::XHeader] {
        let header = block(kind, "x", long);
        for before in [0, 4 * mib] {
            let file = if before == 0 { Vec::new() } else { file.clone() };
            let start = [file.as_slice(), &vec![0; usize::try_from(before).unwrap()], &header].concat();
            let mut stream = Counted(start.chain(io::repeat(b'a').take(long)), 0);
            let error = unpack(&mut stream, into.path()).unwrap_err();
            assert!(matches!(error, ArchiveError::LongHeaders), "{kind:?}: {error}");
            assert!(stream.1 < before + 2 * mib, "{kind:?}: {} bytes were read", stream.1);
        }
    }
    let long = format!("{}/file", "d".repeat(200));
    let mut out = Vec::new();
    pack_files(&BTreeMap::from([(long.clone(), Content::Bytes(vec![1]))]), &mut out).unwrap();
    assert_eq!(read_files(out.as_slice(), 1024).unwrap().into_keys().collect::<Vec<_>>(), [long]);
}

#[test]
fn what_costs_more_than_its_bytes_is_limited_too() {
    let unpacked = |tar: &mut dyn Read| {
        let limits = Limits { bytes: 1 << 20, entries: 20 };
        unpack_kept((tar, limits), (tempfile::tempdir().unwrap().path(), limits), |_, _| true)
    };
    let many = |kind, names: &[String]| -> Vec<u8> { names.iter().flat_map(|name| block(kind, name, 0)).collect() };
    let names: Vec<String> = (0..21).map(|index| format!("f{index}")).collect();
    for kind in [tar::EntryType::Regular, tar::EntryType::Directory, tar::EntryType::Symlink] {
        let error = unpacked(&mut many(kind, &names).as_slice()).unwrap_err();
        assert!(matches!(error, ArchiveError::TooMany(20)), "{kind:?}: {error}");
        unpacked(&mut many(kind, &names[1..]).as_slice()).unwrap();
    }
    let deep = [format!("{}f", "x/".repeat(21))];
    let error = unpacked(&mut many(tar::EntryType::Regular, &deep).as_slice()).unwrap_err();
    assert!(matches!(error, ArchiveError::TooMany(20)), "{error}");
    let link = block(tar::EntryType::Symlink, "link", 1 << 40);
    let mut stream = Counted(link.chain(io::repeat(0)), 0);
    let error = unpacked(&mut stream).unwrap_err();
    assert!(matches!(error, ArchiveError::TooLarge(_)) && stream.1 < 2 << 20, "{error}: {} bytes", stream.1);
}

#[test]
fn what_an_artifact_leaves_out_does_not_count() {
    let tree = tempfile::tempdir().unwrap();
    for (name, text) in [
        (".sourceignore", "*.bin\n.sourceignore\n/old/\n"),
        ("a/.sourceignore", "!keep.bin\n"),
        ("a/keep.bin", "kept"),
        ("a/dump.bin", "left out, and longer than the limit"),
        ("keep.bin", "left out, and longer than the limit"),
        ("old/a/b.yaml", "left out"),
        ("old/own.yaml", "back by the object's own rule"),
        ("a.yaml", "a: 1"),
    ] {
        write(tree.path(), name, text);
    }
    let tar = tree.path().with_extension("tar");
    let mut archive = tar::Builder::new(File::create(&tar).unwrap());
    archive.append_dir_all("", tree.path()).unwrap();
    archive.finish().unwrap();
    let (all, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (own, most) = (Some("!old/own.yaml"), Limits { bytes: 100, entries: 9 });
    let error = unpack_source_within(most, &tar, all.path(), None).unwrap_err();
    assert!(matches!(error, ArchiveError::TooLarge(100)), "{error}");
    unpack_source(&tar, all.path(), None).unwrap();
    unpack_source_within(most, &tar, kept.path(), own).unwrap();
    fs::remove_file(&tar).unwrap();
    assert!(all.path().join("old/a/b.yaml").exists() && !kept.path().join("old/a").exists());
    let [whole, part] = [all.path(), kept.path()].map(|dir| {
        let rules = IgnoreRules::for_source(&ignore_files(dir).unwrap(), own);
        let mut out = Vec::new();
        pack_directory(dir, &rules, &mut out).unwrap();
        out
    });
    assert_eq!(whole, part, "the artifact is the same");
    let files = read_files(part.as_slice(), 1 << 20).unwrap();
    let names = ["a.yaml", "a/keep.bin", "old/own.yaml"];
    assert_eq!(files.keys().filter(|name| !name.ends_with(IGNORE_FILE)).collect::<Vec<_>>(), names);
}

#[test]
fn sparse_files_are_refused() {
    let mut header = header(tar::EntryType::GNUSparse, 0o644, 0);
    header.as_gnu_mut().unwrap().realsize[..2].copy_from_slice(b"0\0");
    header.set_cksum();
    let into = tempfile::tempdir().unwrap();
    let error = unpack(header.as_bytes().as_slice(), into.path()).unwrap_err();
    assert!(matches!(error, ArchiveError::Sparse(_)), "{error}");
}
