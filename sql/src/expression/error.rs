//! What can be wrong with a slicing expression.

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Location;

use super::{MAX_DEPTH, MAX_LENGTH};

/// What is wrong with a slicing expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpressionError {
    /// Nothing.
    #[error("the expression is empty, write a column or a condition such as distance > 1000")]
    Empty,
    /// Too much.
    #[error("the expression has {length} characters, at most {MAX_LENGTH} are read")]
    TooLong {
        /// Its length in characters.
        length: usize,
    },
    /// Not SQL.
    #[error("the expression does not parse{position}: {message}")]
    Syntax {
        /// What the parser says.
        message: String,
        /// Where.
        position: Position,
    },
    /// SQL and then something else.
    #[error("the expression has more text after it{position}: {found:?}")]
    Trailing {
        /// The first word of it.
        found: String,
        /// Where.
        position: Position,
    },
    /// Too many operations that hang on each other.
    #[error("the expression is more than {MAX_DEPTH} operations deep; IN (…) and CASE take any number of values")]
    TooDeep,
    /// A subquery.
    #[error("a slice cannot hold a subquery, only the columns of its own row")]
    Subquery,
    /// An aggregate function, or an aggregate's clause on another function.
    #[error("a slice cannot aggregate, but {function} runs over many rows")]
    Aggregate {
        /// Its name.
        function: String,
    },
    /// A window function.
    #[error("a slice cannot hold a window function, but {function} runs over many rows")]
    Window {
        /// Its name.
        function: String,
    },
    /// A placeholder.
    #[error("a slice has no parameters, but {name} is one")]
    Placeholder {
        /// As written.
        name: String,
    },
    /// A variable.
    #[error("a slice has no variables, but {name} is one; a column of that name is written in double quotes")]
    Variable {
        /// As written.
        name: String,
    },
    /// A star.
    #[error("a slice is one expression, but * stands for all columns")]
    Wildcard,
    /// A function that does not depend on its arguments alone.
    #[error("a slice must yield the same whenever it is computed, but {function}() does not")]
    Volatile {
        /// Its name.
        function: String,
    },
    /// A name that is no column's.
    #[error("the table has no column {column:?}{}", if *.is_quoted { ", text is written in single quotes" } else { "" })]
    UnknownColumn {
        /// The name.
        column: String,
        /// Whether it stood in double quotes, which some dialects have for text.
        is_quoted: bool,
        /// The columns there are, or the fields of the struct that it was looked for in.
        columns: Vec<String>,
    },
    /// A name that only upper and lower case would tell from several columns.
    #[error("{column:?} may be any of the columns {}, write it as one of them", .columns.join(", "))]
    AmbiguousColumn {
        /// The name.
        column: String,
        /// The columns.
        columns: Vec<String>,
    },
    /// A name that is no function's.
    #[error("there is no function {function:?}")]
    UnknownFunction {
        /// The name.
        function: String,
        /// The functions there are.
        functions: Vec<String>,
    },
    /// A comparison or function that takes text for something else, and would fail on the first text that is not.
    #[error(
        "the expression takes the text {text} for {data_type}; write try_cast({text} AS {data_type}) or compare with text"
    )]
    ImplicitCast {
        /// The expression that yields text.
        text: String,
        /// Spark's name of the type that it is taken for.
        data_type: String,
    },
    /// Values that cannot tell slices apart.
    #[error("the expression yields {data_type}, a slice needs a single value that can be written as text")]
    ResultType {
        /// Spark's name of the type.
        data_type: String,
    },
    /// No column at all.
    #[error(
        "the expression names no column, so all rows would fall into one slice; columns are written bare, text in single quotes"
    )]
    Constant,
    /// An aggregate function that custom metrics do not have.
    #[error("{function} is no aggregate of a metric; there are {}", super::AGGREGATES.join(", "))]
    UnknownAggregate {
        /// Its name.
        function: String,
    },
    /// An aggregate function in a form that custom metrics do not have.
    #[error("{function} {problem}")]
    AggregateForm {
        /// Its name.
        function: String,
        /// What it does not take, or takes and lacks.
        problem: String,
    },
    /// A column outside of any aggregate function.
    #[error(
        "column {column:?} stands outside of an aggregate function, so it has many values; write avg({column}), or another aggregate of it"
    )]
    OutsideAggregate {
        /// The column.
        column: String,
    },
    /// No aggregate function at all.
    #[error("the expression aggregates nothing; there are {}", super::AGGREGATES.join(", "))]
    NoAggregate,
    /// Anything else that does not hold for the table, such as types that do not fit.
    #[error("the expression does not fit the table: {message}")]
    Plan {
        /// What the planner says.
        message: String,
    },
}

/// A place in an expression's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// From 1; 0 if the place is the end of the text.
    pub line: u64,
    /// In characters, from 1; 0 if the place is the end of the text.
    pub column: u64,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self { line: 0, .. } => f.write_str(" at its end"),
            Self { line: 1, column } => write!(f, " at character {column}"),
            Self { line, column } => write!(f, " at line {line}, character {column}"),
        }
    }
}

impl From<Location> for Position {
    fn from(location: Location) -> Self {
        Self { line: location.line, column: location.column }
    }
}

impl ExpressionError {
    /// The name that is no column's, if that is the matter.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::UnknownColumn { column, .. } => Some(column),
            _ => None,
        }
    }

    /// A name that is nobody's, and all that would be.
    #[must_use]
    pub fn unknown(&self) -> Option<(&str, &[String])> {
        match self {
            Self::UnknownColumn { column, columns, .. } => Some((column, columns)),
            Self::UnknownFunction { function, functions } => Some((function, functions)),
            _ => None,
        }
    }
}

/// The parser writes the place into the message; at the end of the text it writes none.
pub(super) fn syntax_error(error: ParserError) -> ExpressionError {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        ParserError::RecursionLimitExceeded => "it nests too deeply".to_owned(),
    };
    let place = message.rsplit_once(" at Line: ").and_then(|(before, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((before, Position { line: line.parse().ok()?, column: column.parse().ok()? }))
    });
    let (message, position) = place.unwrap_or((&message, Position { line: 0, column: 0 }));
    let mut letters = message.chars();
    let message = letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect();
    ExpressionError::Syntax { message, position }
}

/// The first line of what the planner says; more lines list all signatures of a function.
pub(super) fn plan_error(error: &DataFusionError) -> ExpressionError {
    let message = error.find_root().message();
    let message = message.lines().next().unwrap_or_default();
    // The parser's word for the syntax comes first, then all of its fields.
    let unsupported = message.strip_prefix("Unsupported ast node in sqltorel: ").map(|syntax| {
        let end = syntax.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(syntax.len());
        format!("{} is not supported", &syntax[..end])
    });
    ExpressionError::Plan { message: unsupported.unwrap_or_else(|| message.to_owned()) }
}
