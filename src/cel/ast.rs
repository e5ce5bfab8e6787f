//! An expression as a tree.

use super::Fault;
use super::value::Value;

/// Levels that an expression may have; an evaluation needs stack for each.
const DEPTH: u16 = 120;

/// One operation, and where it stands in the text.
#[derive(Clone, Debug)]
pub struct Node {
    pub at: usize,
    pub kind: Kind,
    depth: u16,
}

/// What a node does.
#[derive(Clone, Debug)]
pub enum Kind {
    Literal(Value),
    Variable(String),
    /// `of.field`, or `of.?field`.
    Select {
        of: Box<Node>,
        field: String,
        optional: bool,
    },
    /// `has(of.field)`.
    Has {
        of: Box<Node>,
        field: String,
    },
    /// `of[index]`, or `of[?index]`.
    Index {
        of: Box<Node>,
        index: Box<Node>,
        optional: bool,
    },
    Call {
        target: Option<Box<Node>>,
        function: String,
        arguments: Vec<Node>,
    },
    List(Vec<Item>),
    Map(Vec<Entry>),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Conditional(Box<[Node; 3]>),
    /// A macro over the elements of a list or the keys of a map.
    Fold {
        fold: Fold,
        range: Box<Node>,
        variable: String,
        /// Which elements count, where that is asked.
        condition: Option<Box<Node>>,
        body: Box<Node>,
    },
    /// `target.optMap(variable, body)`.
    OptionalMap {
        flat: bool,
        target: Box<Node>,
        variable: String,
        body: Box<Node>,
    },
}

/// An element of a list literal.
#[derive(Clone, Debug)]
pub struct Item {
    pub optional: bool,
    pub value: Node,
}

/// An entry of a map literal.
#[derive(Clone, Debug)]
pub struct Entry {
    pub optional: bool,
    pub key: Node,
    pub value: Node,
}

/// The macros over elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

/// Operators with two operands that are both evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

impl Node {
    pub fn new(at: usize, kind: Kind) -> Result<Self, Fault> {
        let depth = 1 + kind.children().iter().map(|child| child.depth).max().unwrap_or(0);
        if depth > DEPTH {
            return Err(too_deep(at));
        }
        Ok(Self { at, kind, depth })
    }
}

/// The error for an expression that nests too much.
pub fn too_deep(at: usize) -> Fault {
    Fault::new(at, format!("more than {DEPTH} levels"))
}

/// Whether a parser may go down to this level.
pub fn may_descend(level: u16) -> bool {
    level < DEPTH
}

impl Kind {
    /// The nodes below.
    pub fn children(&self) -> Vec<&Node> {
        match self {
            Self::Literal(_) | Self::Variable(_) => Vec::new(),
            Self::Select { of, .. } | Self::Has { of, .. } | Self::Not(of) | Self::Negate(of) => vec![of],
            Self::Index { of, index, .. } => vec![of, index],
            Self::Call { target, arguments, .. } => target.as_deref().into_iter().chain(arguments).collect(),
            Self::List(items) => items.iter().map(|item| &item.value).collect(),
            Self::Map(entries) => entries.iter().flat_map(|entry| [&entry.key, &entry.value]).collect(),
            Self::And(left, right) | Self::Or(left, right) | Self::Binary(_, left, right) => vec![left, right],
            Self::Conditional(parts) => parts.iter().collect(),
            Self::Fold { range, condition, body, .. } => {
                [Some(range), condition.as_ref(), Some(body)].into_iter().flatten().map(Box::as_ref).collect()
            }
            Self::OptionalMap { target, body, .. } => vec![target, body],
        }
    }
}
