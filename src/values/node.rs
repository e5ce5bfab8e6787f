//! A tree whose branches are shared, as Go's maps and slices are.
//!
//! Flux merges values by reference: a `targetPath` that lands in a map which only `spec.values`
//! holds changes `spec.values` itself and so wins, while one that lands in a merged copy loses
//! against `spec.values`. Releases taken over from Flux must come out the same.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Value};

/// A mapping that several trees may hold.
pub(super) type SharedMap = Rc<RefCell<BTreeMap<String, Node>>>;

/// A list that several trees may hold.
pub(super) type SharedList = Rc<RefCell<Vec<Node>>>;

/// A value; cloning one shares its branches.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Map(SharedMap),
    List(SharedList),
    Leaf(Value),
}

/// A shared mapping that holds a copy of the values.
pub(super) fn from_values(values: Map<String, Value>) -> SharedMap {
    let entries = values.into_iter().map(|(key, value)| (key, Node::from(value)));
    Rc::new(RefCell::new(entries.collect()))
}

/// The values that a shared mapping holds.
pub(super) fn to_values(map: &SharedMap) -> Map<String, Value> {
    map.borrow().iter().map(|(key, node)| (key.clone(), node.to_value())).collect()
}

/// A new mapping with the entries of both; `over` wins, except that two mappings merge.
pub(super) fn merge(base: &SharedMap, over: &SharedMap) -> SharedMap {
    let mut merged = base.borrow().clone();
    for (key, node) in over.borrow().iter() {
        let node = match (merged.get(key), node) {
            (Some(Node::Map(below)), Node::Map(above)) => Node::Map(merge(below, above)),
            _ => node.clone(),
        };
        merged.insert(key.clone(), node);
    }
    Rc::new(RefCell::new(merged))
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        match value {
            Value::Object(entries) => Self::Map(from_values(entries)),
            Value::Array(items) => Self::List(Rc::new(RefCell::new(items.into_iter().map(Self::from).collect()))),
            leaf => Self::Leaf(leaf),
        }
    }
}

impl Node {
    fn to_value(&self) -> Value {
        match self {
            Self::Map(map) => Value::Object(to_values(map)),
            Self::List(list) => Value::Array(list.borrow().iter().map(Self::to_value).collect()),
            Self::Leaf(value) => value.clone(),
        }
    }
}
