//! Payload tables, the inference tables that model serving writes, unpacked on the fly.
//!
//! A row of a payload table is one call: its request and its response as JSON text, each with a batch of rows.
//! [`unpacked`] is the table of those rows: what the call was, the columns of the request, the predictions, and for rows
//! that do not unpack what is wrong with them. It is a plain plan over the payload table; nothing is stored.
//!
//! | module | holds |
//! |---|---|
//! | `layout` | the two layouts of payload tables |
//! | `schema` | the columns that payloads unpack to |
//! | `signature`, `infer` | such a schema from a model's `MLmodel`, or from samples |
//! | `json`, `column` | JSON pulled value by value into Arrow |
//! | `rows`, `request`, `response` | the shapes of requests and responses |
//! | `unpack`, `function` | the kernel, and the SQL function around it |
//! | `quarantine` | rows that do not unpack, described for a table of their own |
//! | `repeat` | calls that the log has more than once |
//! | `view` | the plan |

mod column;
mod function;
mod infer;
mod json;
mod layout;
mod quarantine;
mod repeat;
mod request;
mod response;
mod rows;
mod schema;
mod signature;
mod unpack;
mod view;

#[cfg(test)]
mod tests;

pub use function::unpacks;
pub use infer::Inference;
pub use layout::Layout;
pub use quarantine::{QuarantinedRow, quarantined};
pub use repeat::repeated_windows;
pub use schema::{INPUT, PREDICTION, PayloadColumn, PayloadSchema, PayloadType, ScalarType, Side};
pub use unpack::{Outcome, Unpacked, Unpacker};
pub use view::{HIDDEN_COLUMNS, META_COLUMNS, PayloadOptions, unpacked};
