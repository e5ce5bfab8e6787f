//! Whether another cluster answers: it is asked by one pass at a time until it does, so that a
//! cluster that hangs holds up one pass and not all of them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::Client;

use crate::cause;

/// How long an answer may take while it is not known whether there will be one.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a cluster that did not answer is believed not to.
const SILENCE: Duration = Duration::from_secs(10);

/// What is known of a cluster.
#[derive(Default)]
pub struct Reach {
    state: Mutex<State>,
    /// Never asked.
    certain: bool,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    /// It has not been asked yet, or long ago.
    #[default]
    Unknown,
    /// It answers.
    Answers,
    /// It did not answer, since when and why.
    Silent(Instant, String),
}

impl State {
    /// What is known of it now; none when it has to be asked.
    fn verdict(&self, now: Instant) -> Option<Result<(), String>> {
        match self {
            Self::Answers => Some(Ok(())),
            Self::Silent(since, why) if now.duration_since(*since) < SILENCE => Some(Err(why.clone())),
            Self::Unknown | Self::Silent(..) => None,
        }
    }
}

impl Reach {
    /// Of a cluster that needs no asking.
    pub fn certain() -> Self {
        Self { state: Mutex::new(State::Answers), certain: true, asking: tokio::sync::Mutex::default() }
    }

    /// Whether the cluster answers, and if not, why; none while another pass is asking.
    pub async fn at_once(&self, client: &Client) -> Option<Result<(), String>> {
        if let Some(known) = self.known() {
            return Some(known);
        }
        let _asking = self.asking.try_lock().ok()?;
        Some(self.ask(client).await)
    }

    /// As [`Self::at_once`], after the pass that is asking.
    pub async fn in_turn(&self, client: &Client) -> Result<(), String> {
        if let Some(known) = self.known() {
            return known;
        }
        let _asking = self.asking.lock().await;
        self.ask(client).await
    }

    /// That it has answered does not mean that it still does: it is asked again.
    pub fn doubt(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.certain && *state == State::Answers {
            *state = State::Unknown;
        }
    }

    /// It did not answer.
    pub fn is_silent(&self, why: &str) {
        self.set(State::Silent(Instant::now(), why.to_owned()));
    }

    fn known(&self) -> Option<Result<(), String>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).verdict(Instant::now())
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    async fn ask(&self, client: &Client) -> Result<(), String> {
        // The pass before may have asked.
        if let Some(known) = self.known() {
            return known;
        }
        let why = match tokio::time::timeout(PATIENCE, client.apiserver_version()).await {
            // A refusal is an answer, too.
            Ok(Ok(_) | Err(kube::Error::Api(_))) => {
                self.set(State::Answers);
                return Ok(());
            }
            Ok(Err(error)) => cause::innermost(&error).to_string(),
            Err(_) => format!("it does not answer within {PATIENCE:?}"),
        };
        self.is_silent(&why);
        Err(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_believed_for_a_while() {
        let now = Instant::now();
        let silent = State::Silent(now, "refused".to_owned());
        assert_eq!(silent.verdict(now), Some(Err("refused".to_owned())));
        assert_eq!(silent.verdict(now + SILENCE), None);
        assert_eq!(State::Unknown.verdict(now), None);
        assert_eq!(State::Answers.verdict(now + SILENCE), Some(Ok(())));
    }

    #[tokio::test]
    async fn one_asks_and_the_others_do_not_wait() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let nobody = kube::Config::new("http://127.0.0.1:9".parse().expect("a URL"));
        let client = Client::try_from(nobody).expect("a client");
        let reach = Reach::default();
        let asking = reach.asking.lock().await;
        assert_eq!(reach.at_once(&client).await, None);
        drop(asking);
        let why = reach.at_once(&client).await.expect("asked").expect_err("nobody is there");
        assert_eq!(reach.in_turn(&client).await, Err(why.clone()));
        assert_eq!(reach.at_once(&client).await, Some(Err(why)));
        let certain = Reach::certain();
        certain.doubt();
        assert_eq!(certain.at_once(&client).await, Some(Ok(())));
        let reach = Reach::default();
        reach.set(State::Answers);
        assert_eq!(reach.at_once(&client).await, Some(Ok(())));
        reach.doubt();
        assert!(matches!(reach.at_once(&client).await, Some(Err(_))), "it was asked again");
    }
}
