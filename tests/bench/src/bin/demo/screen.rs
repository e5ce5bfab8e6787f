//! What the demo prints.

use std::cell::{Cell, RefCell};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Writes the story to standard output: in colour and with a live progress line on a terminal.
pub struct Screen {
    colour: bool,
    live: bool,
    chapter: Cell<u32>,
    frame: Cell<usize>,
    shown: RefCell<String>,
}

const FRAMES: [char; 8] = ['⣾', '⣽', '⣻', '⢿', '⡿', '⣟', '⣯', '⣷'];

impl Screen {
    /// Colour needs a terminal or `CLICOLOR_FORCE`, and no `NO_COLOR`.
    pub fn new() -> Self {
        let live = std::io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        let colour = (live || set("CLICOLOR_FORCE")) && !set("NO_COLOR");
        Self { colour, live, chapter: Cell::new(0), frame: Cell::new(0), shown: RefCell::default() }
    }

    /// The first line.
    pub fn title(&self, text: &str) {
        self.line(&format!("\n{}", self.paint("1;36", text)));
    }

    /// A numbered part of the story.
    pub fn chapter(&self, text: &str) {
        self.chapter.set(self.chapter.get() + 1);
        let number = self.chapter.get();
        self.line(&format!("\n{}", self.paint("1", &format!("{number}. {text}"))));
    }

    /// Something that someone did: a commit.
    pub fn act(&self, text: &str) {
        self.line(&format!("  {} {text}", self.paint("35", "»")));
    }

    /// Something that was reached, and how long it took.
    pub fn done(&self, text: &str, took: Duration) {
        let seconds = self.paint("2", &format!("{:.1} s", took.as_secs_f64()));
        self.line(&format!("  {} {text}  {seconds}", self.paint("32", "✔")));
    }

    /// Something that is wrong, as the story wants it to be.
    pub fn trouble(&self, text: &str) {
        let indented = text.replace('\n', "\n    ");
        self.line(&format!("  {} {}", self.paint("33", "✘"), self.paint("33", &indented)));
    }

    /// A named value.
    pub fn fact(&self, name: &str, value: &str) {
        self.line(&format!("  {} {name}: {}", self.paint("34", "·"), self.paint("1", value)));
    }

    /// A shell command for the reader.
    pub fn command(&self, text: &str) {
        self.line(&format!("  {} {}", self.paint("2", "$"), self.paint("1", text)));
    }

    /// What is being waited for, and its state: replaced in place on a terminal, printed when it changes elsewhere.
    pub fn progress(&self, state: &str) {
        let state = state.lines().next().unwrap_or_default();
        if self.live {
            self.frame.set((self.frame.get() + 1) % FRAMES.len());
            let short: String = state.chars().take(100).collect();
            let _ = write!(std::io::stdout(), "\r\x1b[K  {} {}", FRAMES[self.frame.get()], self.paint("2", &short));
            let _ = std::io::stdout().flush();
        } else if *self.shown.borrow() != state {
            println!("    … {state}");
            state.clone_into(&mut self.shown.borrow_mut());
        }
    }

    /// The table at the end.
    pub fn summary(&self, times: &[(String, Duration)]) {
        self.chapter("From commit to cluster");
        for (what, took) in times {
            let seconds = format!("{:>6.2} s", took.as_secs_f64());
            self.line(&format!("  {}  {what}", self.paint("1;32", &seconds)));
        }
    }

    /// The story did not go as it should.
    pub fn fail(&self, error: &str) {
        self.line(&format!("\n{} {error}", self.paint("1;31", "failed:")));
    }

    fn line(&self, text: &str) {
        if self.live {
            print!("\r\x1b[K");
        }
        self.shown.borrow_mut().clear();
        println!("{text}");
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
