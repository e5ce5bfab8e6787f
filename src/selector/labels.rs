//! Label selectors in their text form: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::{Map, Value};

/// A label selector; every requirement has to be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    /// Also met by an object without the label.
    NotIn(Vec<String>),
    Above(i64),
    Below(i64),
}

/// Why a text is no label selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no label selector: write `key=value`, `key!=value`, `key in (a,b)`, `key notin (a,b)`, `key` or `!key`"
)]
pub struct LabelSelectorError(String);

impl LabelSelector {
    /// Whether these labels (or annotations), if there are any, are chosen.
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.is_met_by(|key| labels?.get(key)?.as_str())
    }

    /// Whether these labels are chosen.
    pub fn chooses(&self, labels: &BTreeMap<String, String>) -> bool {
        self.is_met_by(|key| labels.get(key).map(String::as_str))
    }

    fn is_met_by<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> bool {
        self.0.iter().all(|requirement| requirement.test.is_met_by(value(&requirement.key)))
    }
}

impl Test {
    fn is_met_by(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        let among = |values: &[String]| value.is_some_and(|value| values.iter().any(|known| known == value));
        match self {
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::In(values) => among(values),
            Self::NotIn(values) => !among(values),
            Self::Above(bound) => number().is_some_and(|number| number > *bound),
            Self::Below(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

impl FromStr for LabelSelector {
    type Err = LabelSelectorError;

    fn from_str(text: &str) -> Result<Self, LabelSelectorError> {
        let requirements = split(text).into_iter().map(|part| requirement(part.trim()));
        requirements.collect::<Option<_>>().map(Self).ok_or_else(|| LabelSelectorError(text.to_owned()))
    }
}

/// The parts between commas that stand in no parentheses; none for an empty text.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let outside = |character: char| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    };
    if text.trim().is_empty() { Vec::new() } else { text.split(outside).collect() }
}

fn requirement(text: &str) -> Option<Requirement> {
    let made = |key: &str, test| is_word(key).then(|| Requirement { key: key.to_owned(), test });
    if let Some(key) = text.strip_prefix('!') {
        return made(key.trim(), Test::Absent);
    }
    let end = text.find(|character: char| character.is_whitespace() || "=!<>(".contains(character));
    let Some(end) = end else {
        return made(text, Test::Exists);
    };
    let (key, rest) = text.split_at(end);
    let rest = rest.trim();
    let one =
        |value: &str| Some(value.trim()).filter(|value| value.is_empty() || is_word(value)).map(|v| vec![v.to_owned()]);
    // The longer operator first: `==` begins with `=`.
    let wanted = if let Some(value) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
        Test::In(one(value)?)
    } else if let Some(value) = rest.strip_prefix("!=") {
        Test::NotIn(one(value)?)
    } else if let Some(value) = rest.strip_prefix('>') {
        Test::Above(value.trim().parse().ok()?)
    } else if let Some(value) = rest.strip_prefix('<') {
        Test::Below(value.trim().parse().ok()?)
    } else if let Some(values) = rest.strip_prefix("notin") {
        Test::NotIn(set(values)?)
    } else {
        Test::In(set(rest.strip_prefix("in")?)?)
    };
    made(key, wanted)
}

fn set(text: &str) -> Option<Vec<String>> {
    let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
    let values = inner.split(',').map(str::trim);
    values.map(|value| (value.is_empty() || is_word(value)).then(|| value.to_owned())).collect()
}

/// What keys and values are made of; which of them Kubernetes accepts is not for us to say.
fn is_word(text: &str) -> bool {
    let ends = |character: Option<char>| character.is_some_and(|character| character.is_ascii_alphanumeric());
    ends(text.chars().next())
        && ends(text.chars().next_back())
        && text.chars().all(|character| character.is_ascii_alphanumeric() || "-_./".contains(character))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn labels_are_chosen_as_kubernetes_does() {
        let labels = json!({"app": "ui", "empty": "", "helm.sh/chart": "node-1.0.0", "weight": "7"});
        let table = [
            ("", true),
            ("app", true),
            ("!app", false),
            ("none", false),
            ("! none", true),
            ("app=ui", true),
            ("app == ui", true),
            ("app=u", false),
            ("app!=ui", false),
            ("app != api", true),
            ("none!=x", true),
            ("none=", false),
            ("empty=", true),
            ("app in (api, ui)", true),
            ("app in(api)", false),
            ("empty in (,x)", true),
            ("app notin (api)", true),
            ("app notin (api,ui)", false),
            ("none notin (x)", true),
            ("helm.sh/chart=node-1.0.0", true),
            ("weight>6", true),
            ("weight > 7", false),
            ("weight<8", true),
            ("weight<7", false),
            ("app>1", false),
            ("app in (ui, api), weight=7", true),
            ("app=ui,weight=8", false),
        ];
        for (text, expected) in table {
            let selector: LabelSelector = text.parse().expect(text);
            assert_eq!(selector.matches(labels.as_object()), expected, "{text}");
        }
        assert!("!app".parse::<LabelSelector>().expect("readable").matches(None));
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in [
            "=a",
            "a in b",
            "a in (b",
            "a inside (b)",
            "a b",
            "a=b=c",
            "a=(b)",
            ",",
            "a,",
            "a>b",
            "a<",
            "!",
            "-a",
            "a in (b c)",
        ] {
            assert!(text.parse::<LabelSelector>().is_err(), "{text}");
        }
    }
}
