use super::*;

/// What helm 4.2 and `GnuPG` 2.2 signed, and the keys that they did it with.
macro_rules! made {
    ($name:literal) => {
        include_bytes!(concat!("testdata/", $name)).as_slice()
    };
}

const DIGEST: &str = "87b9563e5e01a69049bc2a8f1895aa55d13dab2614bd38128e46e0562c18626a";
const SIGNER: &str = "8A2C4A0F95D9D95C";

fn keys(files: &[(&str, &[u8])]) -> Keys {
    Keys::from_secret(&files.iter().map(|(name, file)| ((*name).into(), ByteString(file.to_vec()))).collect())
}

fn all_keys() -> Keys {
    keys(&[
        ("helm.asc", made!("helm.asc")),
        ("subkey", made!("subkey.asc")),
        ("expired.asc", made!("expired.asc")),
        ("revoked.asc", made!("revoked.asc")),
    ])
}

fn nodejs() -> Metadata {
    Metadata { name: "nodejs".into(), version: "1.0.0".into() }
}

fn now() -> Timestamp {
    "2027-01-01T00:00:00Z".parse().unwrap()
}

/// Verifies the whole, as for a package with this digest.
fn verify(file: &[u8], chart: &Metadata, keys: &Keys, digest: &str) -> Result<String, ProvenanceError> {
    Signed::read(file, chart, keys, now()).and_then(|signed| signed.check(digest))
}

#[test]
fn what_helm_and_gnupg_sign_is_good() {
    assert_eq!(verify(made!("helm.prov"), &nodejs(), &all_keys(), DIGEST).as_deref(), Ok(SIGNER));
    assert_eq!(verify(made!("subkey.prov"), &nodejs(), &all_keys(), DIGEST).as_deref(), Ok("22602A67E81C4BDC"));
    let with_mail_ends = String::from_utf8(made!("helm.prov").to_vec()).unwrap().replace('\n', "\r\n");
    assert!(verify(with_mail_ends.as_bytes(), &nodejs(), &all_keys(), DIGEST).is_ok());
    let with_spaces = String::from_utf8(made!("helm.prov").to_vec()).unwrap().replace("1.0.0\n", "1.0.0 \t\n");
    assert!(verify(with_spaces.as_bytes(), &nodejs(), &all_keys(), DIGEST).is_ok());
}

#[test]
fn what_is_not_good_is_named() {
    let only = |name: &str, file: &[u8]| keys(&[(name, file)]);
    let chart = |name: &str, version: &str| Metadata { name: name.into(), version: version.into() };
    let unsigned = b"apiVersion: v1\nname: nodejs\nversion: 1.0.0\n...\nfiles: {}\n".as_slice();
    let large = vec![b'\n'; MAX_PROVENANCE + 1];
    for (file, chart, keys, digest, needle) in [
        (made!("helm.prov"), nodejs(), only("a", made!("subkey.asc")), DIGEST, "which is not among them"),
        (made!("helm.prov"), nodejs(), Keys::default(), DIGEST, "the secret has no OpenPGP public key"),
        (made!("helm.prov"), nodejs(), only("a.asc", b"garbage"), DIGEST, "('a.asc': unable to read armored key ring"),
        (made!("helm.prov"), nodejs(), only("a.gpg", b"\x99\x00"), DIGEST, "('a.gpg': unable to read binary key ring"),
        (made!("helm.prov"), nodejs(), only("a.sshpub", made!("helm.asc")), DIGEST, "no OpenPGP public key"),
        (made!("expired.prov"), nodejs(), all_keys(), DIGEST, "key 'C065506C0916A1F2' has expired"),
        (made!("revoked.prov"), nodejs(), all_keys(), DIGEST, "key '4A5CDAB2BD088C1E' is revoked"),
        (
            made!("helm.prov"),
            chart("nodejs", "1.0.1"),
            all_keys(),
            DIGEST,
            "for 'nodejs' 1.0.0, not for 'nodejs' 1.0.1",
        ),
        (made!("helm.prov"), chart("other", "1.0.0"), all_keys(), DIGEST, "for 'nodejs' 1.0.0, not for 'other' 1.0.0"),
        (made!("helm.prov"), nodejs(), all_keys(), "00", "that was downloaded has sha256:00"),
        (unsigned, nodejs(), all_keys(), DIGEST, "it is no signed text"),
        (b"<html>", nodejs(), all_keys(), DIGEST, "it is no signed text"),
        (b"\xff", nodejs(), all_keys(), DIGEST, "it is not UTF-8 text"),
        (&large, nodejs(), all_keys(), DIGEST, "larger than 1048576 bytes"),
    ] {
        let error = verify(file, &chart, &keys, digest).unwrap_err().to_string();
        assert!(error.contains(needle), "{error}");
    }
    let then = "2024-01-03T00:00:00Z".parse().unwrap();
    assert!(Signed::read(made!("expired.prov"), &nodejs(), &all_keys(), then).is_ok());
}

#[test]
fn a_flipped_bit_never_gives_another_answer() {
    let (good, keys) = (made!("helm.prov"), keys(&[("helm.asc", made!("helm.asc"))]));
    let text = String::from_utf8(good.to_vec()).unwrap();
    let (start, end) = (text.find("\n\n").unwrap() + 2, text.find("\n-----BEGIN PGP SIGNATURE").unwrap());
    for at in 0..good.len() {
        let mut changed = good.to_vec();
        changed[at] ^= 1 << (at % 8);
        match Signed::read(&changed, &nodejs(), &keys, now()) {
            Err(_) => {}
            Ok(_) if (start..end).contains(&at) => panic!("byte {at} of the text counts for nothing"),
            // Some bits of a signature and of its armour are not a part of what is proven.
            Ok(signed) => assert_eq!(signed.check(DIGEST).as_deref(), Ok(SIGNER), "byte {at}"),
        }
    }
}

#[test]
fn what_was_signed_has_to_be_a_provenance_of_the_chart() {
    let chart = "apiVersion: v2\nname: nodejs\nversion: 1.0.0\n";
    let files = |sums: &str| format!("{chart}\n...\nfiles:\n{sums}");
    let digest = |text: &str| digest_of(&text.lines().collect::<Vec<_>>(), &nodejs());
    let more = files("  nodejs-1.0.0.tgz: sha256:aa\n  other-1.0.0.tgz: sha256:bb\nimages: {}\n");
    assert_eq!(digest(&more).as_deref(), Ok("sha256:aa"));
    for (text, needle) in [
        (String::new(), "it has to be a Chart.yaml"),
        (chart.to_owned(), "it has to be a Chart.yaml"),
        (format!("{}\n...\nfiles: {{}}\n", files("  nodejs-1.0.0.tgz: sha256:aa\n")), "it has to be a Chart.yaml"),
        (format!("{chart}...\n"), "no 'files'"),
        (format!("{chart}...\nfiles: [nodejs-1.0.0.tgz]\n"), "no 'files'"),
        (format!("{chart}...\nfiles: {{\n"), "its digests: "),
        (files("  nodejs-1.0.0.tgz: sha256:aa\n  nodejs-1.0.0.tgz: sha256:bb\n"), "its digests: "),
        (files("  nodejs-1.0.1.tgz: sha256:aa\n"), "for 'nodejs-1.0.1.tgz', not for 'nodejs-1.0.0.tgz'"),
        (files("  {}\n"), "for no file"),
        (files("  nodejs-1.0.0.tgz: [sha256:aa]\n"), "a digest is not text"),
        (files("  nodejs-1.0.0.tgz: sha256:aa\n").replace("name: nodejs", "name: [a]"), "name is not a text"),
        (files("  nodejs-1.0.0.tgz: sha256:aa\n").replace("1.0.0\n", "1.0.0+1\n"), "for 'nodejs' 1.0.0+1"),
    ] {
        let error = digest(&text).unwrap_err().to_string();
        assert!(error.contains(needle), "{text}: {error}");
    }
    let signed = |digest: &str| Signed { signer: SIGNER.into(), file: "f.tgz".into(), digest: digest.to_owned() };
    assert!(signed("sha256:aa").check("aa").is_ok());
    for other in ["sha256:ab", "aa", "sha512:aa", "sha256:AA", "sha256:", ""] {
        assert!(matches!(signed(other).check("aa"), Err(ProvenanceError::Digest { .. })), "{other}");
    }
}

#[test]
fn a_large_text_of_short_lines_is_read_in_time() {
    let text = "a\n".repeat(MAX_PROVENANCE / 2 - 100);
    let message = format!("-----BEGIN PGP SIGNED MESSAGE-----\n\n{text}");
    let started = std::time::Instant::now();
    assert!(verify(message.as_bytes(), &nodejs(), &all_keys(), DIGEST).is_err());
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}
