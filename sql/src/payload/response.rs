//! Responses: `{"predictions": …}`.

use jiter::Peek;

use super::json::{Fault, Json, describe};
use super::request::unexpected;
use super::rows::Rows;

/// The key that holds the rows.
pub(super) const PREDICTIONS: &str = "predictions";

/// Reads a response and answers how many rows it has. What stands beside the predictions, `databricks_output` above all,
/// is not looked at.
pub(super) fn read(json: &mut Json<'_>, rows: &mut Rows) -> Result<usize, Fault> {
    let peek = json.peek()?;
    if peek != Peek::Object {
        json.skip(peek)?;
        return Err(Fault(format!("the response is {}, an object is expected", describe(peek))));
    }
    let mut found = None;
    let mut is_ours = json.object()?.map(|key| key == PREDICTIONS);
    while let Some(ours) = is_ours {
        let peek = json.peek()?;
        if !ours {
            json.skip(peek)?;
        } else if found.is_some() {
            return Err(Fault(format!("the response has `{PREDICTIONS}` twice")));
        } else {
            found = Some(match peek {
                Peek::Array => rows.read_rows(json)?,
                Peek::Object => rows.read_columns(json, PREDICTIONS)?,
                Peek::Null => return Err(unexpected(PREDICTIONS, peek, "a value")),
                peek => {
                    rows.read_row(json, peek, 0)?;
                    1
                }
            });
        }
        is_ours = json.key()?.map(|key| key == PREDICTIONS);
    }
    json.finish()?;
    found.ok_or_else(|| Fault(format!("the response has no `{PREDICTIONS}`")))
}
