//! Feeds what strangers and tenants write to the code that reads it: files of `tests/fuzz/<entry>/`, changed at random in
//! ways that keep some of their structure. The changes are the same in each run, which is a short one; `make fuzz` has
//! libFuzzer look at the same entries for longer. An input that is a finding is kept in `target/fuzz-findings/`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use fairlead::fuzzing::{ENTRIES, Entry};

/// How long each entry is fed.
const SHORT: Duration = Duration::from_millis(1_500);
/// No input may take longer, on a busy machine and without optimisation.
const HANG: Duration = Duration::from_mins(1);
const LONGEST: usize = 64 << 10;

/// Pieces of text that mean something to a reader.
const WORDS: &[&str] = &[
    "---\n",
    "...\n",
    "\n",
    "\n\n",
    ": ",
    "- ",
    "&a ",
    "*a",
    "<<: *a\n",
    "!!str ",
    "!!binary ",
    "|\n",
    ">-\n  ",
    "? ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"",
    "'",
    "\\",
    "#",
    "\t",
    "\u{feff}",
    "\0",
    "null",
    "~",
    "yes",
    "0x1f",
    "1e999",
    "-0",
    ".inf",
    ".nan",
    "010",
    "18446744073709551616",
    "2026-01-02",
    "kind: List\nitems:\n",
    "metadata:\n  name: a\n",
    "entries:\n",
    "1.2.3",
    ">=1.0.0 <2",
    "^",
    "||",
    "a.b[0].c",
    "[65536]",
    "[65537]",
    "[-1]",
    "={",
    "=a,",
    "sha256=",
    "sha1=",
    "payload=%7B%7D",
    "%",
    "Content-Type: application/json\n",
    "X-Signature: sha256=00\n",
    "\u{1F600}",
    "-----BEGIN PGP SIGNATURE-----\n",
    "-----END PGP SIGNATURE-----",
    "Hash: SHA512\n",
    "files:\n",
    "<<<<<<< HEAD\n",
    "=======\n",
    ">>>>>>> x\n",
];

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or(0) % bound.max(1)
    }

    /// A range within so many bytes.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..start + self.below((length - start).min(64) + 1)
    }
}

fn changed(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = corpus[dice.below(corpus.len())].clone();
    for _ in 0..=dice.below(8) {
        let range = dice.range(bytes.len());
        match dice.below(9) {
            0 => drop(bytes.drain(range)),
            1 => {
                let copy = bytes[range.clone()].to_vec();
                bytes.splice(range.start..range.start, copy);
            }
            2 => {
                // The same piece again and again: depth and length.
                let piece = WORDS[dice.below(WORDS.len())].repeat(1 << dice.below(11));
                bytes.splice(range.start..range.start, piece.into_bytes());
            }
            3 | 4 => {
                let word = WORDS[dice.below(WORDS.len())].as_bytes().to_vec();
                bytes.splice(range, word);
            }
            5 => {
                let other = &corpus[dice.below(corpus.len())];
                let piece = other[dice.range(other.len())].to_vec();
                bytes.splice(range.start..range.start, piece);
            }
            6 => bytes.truncate(range.end),
            _ => {
                for byte in &mut bytes[range.start..range.end.min(range.start + 2)] {
                    *byte ^= 1 << dice.below(8);
                }
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    // Folders are in no order.
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("read a file")).collect()
}

fn feed(entry: Entry, corpus: &[Vec<u8>], started: &Sender<Option<Vec<u8>>>) -> (u64, Result<(), Vec<u8>>) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let start = Instant::now();
    let mut inputs = corpus.to_vec();
    let mut count = 0;
    while start.elapsed() < SHORT || !inputs.is_empty() {
        let input = inputs.pop().unwrap_or_else(|| changed(corpus, &mut dice));
        // Who waits may have given up.
        let _ = started.send(Some(input.clone()));
        if catch_unwind(AssertUnwindSafe(|| entry(&input))).is_err() {
            return (count, Err(input));
        }
        count += 1;
    }
    let _ = started.send(None);
    (count, Ok(()))
}

fn kept(name: &str, input: &[u8]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz-findings");
    let path = folder.join(format!("{name}-{}", fairlead::source::digest::sha256(input)));
    std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, input)).expect("keep a finding");
    path.display().to_string()
}

#[test]
fn nothing_that_is_read_makes_a_reader_panic_or_hang() {
    for (name, entry) in ENTRIES {
        let corpus = corpus(name);
        let (sender, receiver) = channel();
        let worker = thread::spawn(move || feed(entry, &corpus, &sender));
        let mut under_way = Vec::new();
        loop {
            match receiver.recv_timeout(HANG) {
                Ok(Some(input)) => under_way = input,
                Ok(None) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("{name} hangs: {}", kept(name, &under_way)),
            }
        }
        let (count, result) = worker.join().expect("a worker that catches panics");
        eprintln!("{name}: {count} inputs");
        if let Err(input) = result {
            panic!("{name} panics: {}", kept(name, &input));
        }
        assert!(count > 20, "{name}: {count} inputs are too few to tell");
    }
}
