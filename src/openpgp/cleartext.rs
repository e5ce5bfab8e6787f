//! The cleartext signature framework (RFC 9580, section 7): text that people can read, and the signature of it.
//!
//! Read by hand and strictly, since strangers write it: in one pass, and nothing but what `gpg --clearsign` and helm
//! write. Text that is read is text that was signed; there is no room for any beside it.

const BEGIN_TEXT: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const BEGIN_SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END_SIGNATURE: &str = "-----END PGP SIGNATURE-----";

/// Room for a few signatures of the largest keys; each is checked against the whole text.
const MAX_SIGNATURE: usize = 16 * 1024;

/// Why something is no signed text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CleartextError {
    /// It begins otherwise.
    #[error("it does not begin with '{BEGIN_TEXT}'")]
    Begin,
    /// Something else than `Hash` before the text.
    #[error("it has another header than 'Hash'")]
    Header,
    /// A dash that is not escaped, or a stray carriage return.
    #[error("line {0} of it cannot be a line of a signed text")]
    Line(usize),
    /// No signature, more than one block, or one that does not end.
    #[error("it does not end with one block from '{BEGIN_SIGNATURE}' to '{END_SIGNATURE}'")]
    Signature,
    /// More than any signature takes.
    #[error("its signature is larger than {MAX_SIGNATURE} bytes")]
    SignatureSize,
}

/// A text, and the signature that is said to be of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleartext<'m> {
    lines: Vec<&'m str>,
    /// Armoured.
    pub signature: &'m str,
}

impl<'m> Cleartext<'m> {
    /// Takes a message apart. Nothing is verified.
    pub fn read(message: &'m str) -> Result<Self, CleartextError> {
        let message = message.trim_ascii();
        let body_and_signature = message.strip_prefix(BEGIN_TEXT).ok_or(CleartextError::Begin)?;
        let mut lines = Lines { rest: body_and_signature, number: 1 };
        // What is left of the first line.
        if lines.next().is_none_or(|line| !line.trim_ascii().is_empty()) {
            return Err(CleartextError::Begin);
        }
        for header in lines.by_ref() {
            match header.trim_ascii() {
                "" => break,
                header if header.starts_with("Hash:") => {}
                _ => return Err(CleartextError::Header),
            }
        }
        let mut text = Vec::new();
        loop {
            let here = lines.rest;
            let line = lines.next().ok_or(CleartextError::Signature)?;
            if line.trim_ascii_end() == BEGIN_SIGNATURE {
                return Ok(Self { lines: text, signature: signature(here)? });
            }
            text.push(unescaped(line).ok_or(CleartextError::Line(lines.number - 1))?);
        }
    }

    /// As it was signed: without spaces at the ends of lines, which end as in mails.
    pub fn payload(&self) -> String {
        self.lines.join("\r\n")
    }

    /// Its lines.
    pub fn lines(&self) -> &[&'m str] {
        &self.lines
    }
}

/// A line without its escape, and without what does not count at its end.
fn unescaped(line: &str) -> Option<&str> {
    let line = match line.strip_prefix("- ") {
        Some(escaped) => escaped,
        None if line.starts_with('-') => return None,
        None => line,
    };
    let line = line.trim_end_matches([' ', '\t']);
    // Some take one for the end of a line, and some do not.
    (!line.contains('\r')).then_some(line)
}

fn signature(block: &str) -> Result<&str, CleartextError> {
    if block.len() > MAX_SIGNATURE {
        return Err(CleartextError::SignatureSize);
    }
    let is_line = |line: &str| line.starts_with("-----");
    let marks: Vec<&str> = block.lines().filter(|line| is_line(line)).map(str::trim_ascii_end).collect();
    let whole = marks == [BEGIN_SIGNATURE, END_SIGNATURE] && block.ends_with(END_SIGNATURE);
    whole.then_some(block).ok_or(CleartextError::Signature)
}

/// Lines that know their number, without their ends.
struct Lines<'t> {
    rest: &'t str,
    /// Of the next line.
    number: usize,
}

impl<'t> Iterator for Lines<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        self.number += 1;
        Some(line.strip_suffix('\r').unwrap_or(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----\n\nwsBc\n-----END PGP SIGNATURE-----";

    fn message(head: &str, text: &str, signature: &str) -> String {
        format!("-----BEGIN PGP SIGNED MESSAGE-----{head}\n{text}\n{signature}\n")
    }

    #[test]
    fn the_text_is_that_which_was_signed() {
        for (head, text, expected) in [
            ("\nHash: SHA512\n", "a: b", "a: b"),
            ("\n", "a: b", "a: b"),
            (" \nHash: SHA256\nHash: SHA512, SHA384\n", "a: b  \t\nc", "a: b\r\nc"),
            ("\r\nHash: SHA512\r\n\r", "a\r\nb\r", "a\r\nb"),
            (
                "\nHash: SHA512\n",
                "- - one\n- -----BEGIN PGP SIGNATURE-----\n",
                "- one\r\n-----BEGIN PGP SIGNATURE-----\r\n",
            ),
            ("\nHash: SHA512\n", "\n\na\n...\nb\n", "\r\n\r\na\r\n...\r\nb\r\n"),
        ] {
            let message = message(head, text, SIGNATURE);
            let read = Cleartext::read(&message).unwrap_or_else(|error| panic!("{message}: {error}"));
            assert_eq!(read.payload(), expected, "{message}");
            assert_eq!(read.signature, SIGNATURE);
        }
    }

    #[test]
    fn nothing_stands_beside_it() {
        use CleartextError::{Begin, Header, Line, Signature, SignatureSize};
        let good = message("\nHash: SHA512\n", "a: b", SIGNATURE);
        let unsigned = format!("-----BEGIN PGP SIGNED MESSAGE-----\n\na: b\n{BEGIN_SIGNATURE}");
        for (message, expected) in [
            (String::new(), Begin),
            ("a: b\n".to_owned(), Begin),
            (SIGNATURE.to_owned(), Begin),
            (BEGIN_TEXT.to_owned(), Begin),
            (format!("a: c\n{good}"), Begin),
            (message(" x\n\n", "a", SIGNATURE), Begin),
            (message("\nComment: x\n", "a", SIGNATURE), Header),
            (message("\nNotDashEscaped: You need GnuPG\n", "a", SIGNATURE), Header),
            (message("\n", "a\n-b", SIGNATURE), Line(4)),
            (message("\n", "a\n-----BEGIN PGP SIGNED MESSAGE-----", SIGNATURE), Line(4)),
            (message("\n", "a\rb", SIGNATURE), Line(3)),
            (message("\n", "a", ""), Signature),
            (unsigned, Signature),
            (format!("{good}a: c\n"), Signature),
            (format!("{good}{good}"), Signature),
            (format!("{good}{SIGNATURE}"), Signature),
            (message("\n", "a", &SIGNATURE.replace("wsBc", &"x\n".repeat(MAX_SIGNATURE))), SignatureSize),
        ] {
            assert_eq!(Cleartext::read(&message), Err(expected), "{message:.200}");
        }
    }
}
