//! Values, their order and their equality.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value as Json;

/// A value of the language. Cheap to clone.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each case is the CEL type of its name")]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
    List(Arc<Vec<Value>>),
    Map(Arc<BTreeMap<Key, Value>>),
    Timestamp(Timestamp),
    Duration(SignedDuration),
    Type(&'static str),
    Optional(Option<Arc<Value>>),
}

/// The key of a map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each case is the CEL type of its name")]
pub enum Key {
    Bool(bool),
    Int(i64),
    Uint(u64),
    String(Arc<str>),
}

impl Value {
    /// CEL's name of the value's type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Type(_) => "type",
            Self::Optional(_) => "optional_type",
        }
    }

    /// A text.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::String(text.into())
    }

    /// A list.
    pub fn list(items: Vec<Self>) -> Self {
        Self::List(Arc::new(items))
    }

    /// What counts as nothing: the empty value of its type.
    pub fn is_zero(&self) -> bool {
        match self {
            Self::Null | Self::Optional(None) => true,
            Self::Bool(value) => !value,
            Self::Int(value) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::String(value) => value.is_empty(),
            Self::Bytes(value) => value.is_empty(),
            Self::List(value) => value.is_empty(),
            Self::Map(value) => value.is_empty(),
            Self::Duration(value) => value.is_zero(),
            Self::Timestamp(_) | Self::Type(_) | Self::Optional(Some(_)) => false,
        }
    }

    /// The whole number that indexes a list or equals a key.
    pub fn whole(&self) -> Option<i128> {
        match self {
            Self::Int(value) => Some(i128::from(*value)),
            Self::Uint(value) => Some(i128::from(*value)),
            Self::Double(value) => whole_of(*value),
            _ => None,
        }
    }

    /// The entry of a map; numbers are equal across their types.
    pub fn entry<'m>(map: &'m BTreeMap<Key, Self>, key: &Self) -> Option<&'m Self> {
        match key {
            Self::Bool(key) => map.get(&Key::Bool(*key)),
            Self::String(key) => map.get(&Key::String(Arc::clone(key))),
            number => {
                let whole = number.whole()?;
                let signed = i64::try_from(whole).ok().and_then(|key| map.get(&Key::Int(key)));
                signed.or_else(|| map.get(&Key::Uint(u64::try_from(whole).ok()?)))
            }
        }
    }

    /// How two values of types that can be ordered are ordered; `None` for others and for NaN.
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(one), Self::Bool(two)) => Some(one.cmp(two)),
            (Self::String(one), Self::String(two)) => Some(one.cmp(two)),
            (Self::Bytes(one), Self::Bytes(two)) => Some(one.cmp(two)),
            (Self::Timestamp(one), Self::Timestamp(two)) => Some(one.cmp(two)),
            (Self::Duration(one), Self::Duration(two)) => Some(one.cmp(two)),
            (Self::Double(one), Self::Double(two)) => one.partial_cmp(two),
            (Self::Double(one), two) => order_of(two.whole()?, *one).map(Ordering::reverse),
            (one, Self::Double(two)) => order_of(one.whole()?, *two),
            (one, two) => Some(one.whole()?.cmp(&two.whole()?)),
        }
    }

    /// Whether two values have an order at all.
    pub fn can_be_ordered(&self, other: &Self) -> bool {
        let number = |value: &Self| matches!(value, Self::Int(_) | Self::Uint(_) | Self::Double(_));
        (number(self) && number(other)) || self.order(other).is_some()
    }
}

/// The double as a whole number, if it is one.
fn whole_of(value: f64) -> Option<i128> {
    // Both bounds are exact; everything between them fits.
    #[allow(clippy::cast_possible_truncation, reason = "checked to be whole and within bounds")]
    (value.fract() == 0.0 && value.abs() < 1e20).then_some(value as i128)
}

fn order_of(whole: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    if double.abs() >= 1e20 {
        return Some(if double > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    let floor = whole_of(double.floor())?;
    let fraction = double.fract() != 0.0;
    Some(whole.cmp(&floor).then(if fraction { Ordering::Less } else { Ordering::Equal }))
}

impl Key {
    /// The key that a value is; none for values that cannot be one.
    pub fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            Value::Uint(value) => Self::Uint(*value),
            Value::String(value) => Self::String(Arc::clone(value)),
            _ => return None,
        })
    }

    /// The key as a value.
    pub fn value(&self) -> Value {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Uint(value) => Value::Uint(*value),
            Self::String(value) => Value::String(Arc::clone(value)),
        }
    }
}

impl From<&Json> for Value {
    fn from(json: &Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(int), _) => Self::Int(int),
                (None, Some(uint)) => Self::Uint(uint),
                (None, None) => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::text(text.as_str()),
            Json::Array(items) => Self::list(items.iter().map(Self::from).collect()),
            Json::Object(fields) => {
                let entries = fields.iter().map(|(key, value)| (Key::String(key.as_str().into()), Self::from(value)));
                Self::Map(Arc::new(entries.collect()))
            }
        }
    }
}
