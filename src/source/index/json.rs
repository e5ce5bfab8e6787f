//! One chart's entries in an index that is JSON, read as a stream.

use std::fmt;
use std::io;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// What was found.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// It is no index.
    NoEntries,
    /// It has no such chart.
    NoChart,
    /// The chart's entries.
    Entries(Value),
}

/// What is at `entries.<chart>`.
pub fn chart(reader: impl io::Read, chart: &str) -> Result<Found, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    let found = deserializer.deserialize_map(Root(chart))?;
    deserializer.end()?;
    Ok(found)
}

/// Reads `entries` of the index, and passes over all else.
struct Root<'c>(&'c str);

impl<'de> Visitor<'de> for Root<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an index")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut found = Found::NoEntries;
        while let Some(key) = map.next_key::<String>()? {
            if key == "entries" {
                found = map.next_value_seed(Entries(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Reads the entries of one chart, and passes over all others.
struct Entries<'c>(&'c str);

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the entries of every chart")
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::NoChart)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut found = Found::NoChart;
        while let Some(key) = map.next_key::<String>()? {
            if key == self.0 {
                found = Found::Entries(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}
