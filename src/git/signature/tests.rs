use super::*;

/// Objects and keys that `GnuPG` 2.2, OpenSSH 9.2 and git 2.39 made.
macro_rules! made {
    ($name:literal) => {
        include_bytes!(concat!("testdata/", $name)).as_slice()
    };
}

fn keys(files: &[(&str, &[u8])]) -> TrustedKeys {
    TrustedKeys::from_secret(&files.iter().map(|(name, text)| ((*name).into(), ByteString(text.to_vec()))).collect())
}

fn all_keys() -> TrustedKeys {
    keys(&[
        ("plain.asc", made!("plain.asc")),
        ("subkey", made!("subkey.asc")),
        ("expired.asc", made!("expired.asc")),
        ("revoked.asc", made!("revoked.asc")),
        ("a.sshpub", &[made!("ssh-ed25519.sshpub"), b"# more\n\n", made!("ssh-ecdsa.sshpub")].concat()),
        ("b.sshpub", made!("ssh-rsa.sshpub")),
    ])
}

fn now() -> Timestamp {
    "2027-01-01T00:00:00Z".parse().unwrap()
}

#[test]
fn good_signatures_tell_their_key() {
    for (commit, tag, key) in [
        (made!("plain.commit"), made!("plain.tag"), "74B59FFC7D325517"),
        (made!("subkey.commit"), made!("subkey.tag"), "F2C2D3A8683668C2"),
        (made!("ssh-ed25519.commit"), made!("ssh-ed25519.tag"), "SHA256:SG5TeAyGU7Xp9alGiBEdA8rDMBJsdC8hPMAFFrOTJc0"),
        (made!("ssh-ecdsa.commit"), made!("ssh-ecdsa.tag"), "SHA256:DwQ/7aUi0dmgNUaJsg2YTOUZofuv/9AOYS+LZmYG0hI"),
        (made!("ssh-rsa.commit"), made!("ssh-rsa.tag"), "SHA256:7evGDCl+OXZZCAJv05pkXQuxMl+toU4dXGGNeygZNLA"),
    ] {
        assert_eq!(all_keys().verify(&Signed::commit(commit), now()).as_deref(), Ok(key));
        assert_eq!(all_keys().verify(&Signed::tag(tag), now()).as_deref(), Ok(key));
    }
}

#[test]
fn binary_keys_are_read_as_well() {
    use pgp::composed::{Deserializable as _, SignedPublicKey};
    use pgp::ser::Serialize as _;
    let armoured = std::str::from_utf8(made!("plain.asc")).unwrap();
    let binary = SignedPublicKey::from_string(armoured).unwrap().0.to_bytes().unwrap();
    let verified = keys(&[("pubring.gpg", &binary)]).verify(&Signed::commit(made!("plain.commit")), now());
    assert_eq!(verified.as_deref(), Ok("74B59FFC7D325517"));
}

#[test]
fn a_changed_object_is_refused() {
    for commit in [made!("plain.commit"), made!("subkey.commit"), made!("ssh-ecdsa.commit"), made!("ssh-rsa.commit")] {
        let text = String::from_utf8(commit.to_vec()).unwrap();
        for changed in [text.replace("Signed by", "Forged by"), text.replace("tree 4b", "tree 5b")] {
            let error = all_keys().verify(&Signed::commit(changed.as_bytes()), now()).unwrap_err().to_string();
            assert!(error.contains("did not sign this: it is not what was signed"), "{error}");
        }
    }
}

#[test]
fn what_is_not_good_is_named() {
    let only = |name: &str, text: &[u8]| keys(&[(name, text)]);
    for (keys, commit, needle) in [
        (all_keys(), made!("unsigned.commit"), "it is not signed"),
        (all_keys(), made!("expired.commit"), "key 'FC2BBDFDE5A3B7DD' has expired"),
        (all_keys(), made!("revoked.commit"), "key 'EE30ADAF13FCB3C2' is revoked"),
        (only("a.asc", made!("plain.asc")), made!("subkey.commit"), "which is not among them"),
        (only("a.asc", made!("plain.asc")), made!("ssh-rsa.commit"), "the secret has no ssh public key"),
        (only("a.sshpub", made!("ssh-rsa.sshpub")), made!("plain.commit"), "the secret has no openpgp public key"),
        (only("a.sshpub", made!("ssh-rsa.sshpub")), made!("ssh-ecdsa.commit"), "DwQ/7aUi"),
        (only("a.asc", b"garbage"), made!("plain.commit"), "('a.asc': unable to read armored key ring"),
        (only("a.sshpub", b"garbage"), made!("ssh-rsa.commit"), "('a.sshpub': no SSH public key"),
        (only("a.sshpub", b"\n# none\n"), made!("ssh-rsa.commit"), "no SSH public key"),
    ] {
        let error = keys.verify(&Signed::commit(commit), now()).unwrap_err().to_string();
        assert!(error.contains(needle), "{error}");
    }
    let expired_then = "2024-01-10T00:00:00Z".parse().unwrap();
    assert!(all_keys().verify(&Signed::commit(made!("expired.commit")), expired_then).is_ok());
}

#[test]
fn other_formats_and_garbage_are_told_apart() {
    let signed = |signature: &str| Signed { payload: b"x".to_vec(), signature: Some(signature.to_owned()) };
    for (signature, needle) in [
        ("-----BEGIN SIGNED MESSAGE-----\nMII=\n-----END SIGNED MESSAGE-----", "of the format x509"),
        ("nonsense", "of the format unknown"),
        ("-----BEGIN PGP SIGNATURE-----\n\nnonsense\n-----END PGP SIGNATURE-----", "openpgp"),
        ("-----BEGIN SSH SIGNATURE-----\nnonsense\n-----END SSH SIGNATURE-----", "its ssh signature cannot be read"),
    ] {
        let error = all_keys().verify(&signed(signature), now()).unwrap_err().to_string();
        assert!(error.contains(needle), "{error}");
    }
}

#[test]
fn a_signature_for_something_else_is_none_for_a_commit() {
    let signature = String::from_utf8(made!("file.sig").to_vec()).unwrap();
    let signed = Signed { payload: b"file\n".to_vec(), signature: Some(signature) };
    let error = all_keys().verify(&signed, now()).unwrap_err().to_string();
    assert!(error.contains("signed for 'file', not for 'git'"), "{error}");
}

#[test]
fn headers_and_signatures_are_taken_apart() {
    let tag = made!("plain.tag");
    assert_eq!(header(tag, "tag"), Some("v-plain"));
    assert_eq!(header(tag, "type"), Some("commit"));
    assert_eq!(header(tag, "PGP"), None);
    let commit = b"tree 1\ngpgsig-sha256 -----BEGIN X-----\n other\ngpgsig -----BEGIN Y-----\n \n own\nencoding x\n\ngpgsig in the text\n";
    let signed = Signed::commit(commit);
    assert_eq!(signed.signature.as_deref(), Some("-----BEGIN Y-----\n\nown\n"));
    assert_eq!(signed.payload, b"tree 1\nencoding x\n\ngpgsig in the text\n");
    assert!(!Signed::commit(made!("unsigned.commit")).is_signed());
    assert_eq!(Signed::commit(made!("unsigned.commit")).payload, made!("unsigned.commit"));
}
