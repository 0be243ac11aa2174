//! The schema that the signature of a model gives: `MLmodel`, as MLflow writes it beside every model.
//!
//! Source: MLflow, `mlflow/types/schema.py` (`Schema.to_json`, `ColSpec`, `TensorSpec`) and `mlflow/models/signature.py`.

use serde::Deserialize;

use super::schema::{Draft, PayloadSchema, PayloadType, ScalarType};
use crate::{Error, Result};

#[derive(Deserialize)]
struct MlModel {
    signature: Option<Signature>,
}

/// Each part is a JSON text within the YAML.
#[derive(Deserialize)]
struct Signature {
    inputs: Option<String>,
    outputs: Option<String>,
}

/// A column or a tensor.
#[derive(Deserialize)]
struct Spec {
    name: Option<String>,
    #[serde(flatten)]
    data_type: SpecType,
}

#[derive(Deserialize)]
struct SpecType {
    r#type: String,
    items: Option<Box<Self>>,
    #[serde(rename = "tensor-spec")]
    tensor: Option<TensorSpec>,
}

#[derive(Deserialize)]
struct TensorSpec {
    dtype: String,
    /// −1 where the length is open; the first one counts the rows.
    shape: Vec<i64>,
}

impl PayloadSchema {
    /// The schema of a model's signature, from the text of its `MLmodel`.
    ///
    /// | of the signature | column |
    /// |---|---|
    /// | `boolean`; `integer`, `long`; `float`, `double`; `string`, `datetime`, `binary` | boolean; bigint; double; string |
    /// | `array` of those | array |
    /// | `object`, `map`, `any`, arrays of arrays or of those | string, the JSON text |
    /// | a tensor of rows; of rows of values; of more dimensions | its type; array of it; string, the JSON text |
    /// | an input without a name | `input`; `input_0`, … if there are several |
    /// | an output without a name | `prediction`; `prediction_0`, … if there are several |
    ///
    /// # Errors
    /// When the text is no `MLmodel`, or has no signature of both inputs and outputs.
    pub fn of_signature(mlmodel: &str) -> Result<Self> {
        let model: MlModel = serde_saphyr::from_str(mlmodel)
            .map_err(|error| refused(format!("the MLmodel does not read as YAML: {error}")))?;
        let signature = model.signature.ok_or_else(|| refused("the MLmodel has no signature".to_owned()))?;
        let part = |name: &str, text: Option<String>| {
            let text = text.ok_or_else(|| refused(format!("the signature of the MLmodel has no {name}")))?;
            let specs: Vec<Spec> = serde_json::from_str(&text)
                .map_err(|error| refused(format!("the {name} of the MLmodel's signature do not read: {error}")))?;
            specs
                .into_iter()
                .enumerate()
                .map(|(position, spec)| {
                    let data_type = match &spec.data_type.tensor {
                        Some(tensor) => tensor.column(spec.name.is_some())?,
                        None => spec.data_type.column()?,
                    };
                    Ok(Draft { key: spec.name, data_type, position: Some(position) })
                })
                .collect::<Result<Vec<_>>>()
        };
        Self::of_drafts(part("inputs", signature.inputs)?, part("outputs", signature.outputs)?)
    }
}

fn refused(message: String) -> Error {
    Error::Payload { message }
}

impl SpecType {
    fn column(&self) -> Result<PayloadType> {
        let scalar = match self.r#type.as_str() {
            "boolean" => ScalarType::Boolean,
            "integer" | "long" => ScalarType::Int64,
            "float" | "double" => ScalarType::Float64,
            "string" | "datetime" | "binary" | "object" | "map" | "any" | "sparkml-vector" => ScalarType::Text,
            "array" => {
                let Some(items) = &self.items else {
                    return Err(refused("an array of the signature has no items".to_owned()));
                };
                let is_plain = !matches!(items.r#type.as_str(), "array" | "object" | "map" | "any" | "sparkml-vector");
                return Ok(match items.column()? {
                    PayloadType::Scalar(item) if is_plain => PayloadType::List(item),
                    _ => PayloadType::TEXT,
                });
            }
            other => {
                return Err(refused(format!("the signature has a column of the type {other:?}, which is not known")));
            }
        };
        Ok(PayloadType::Scalar(scalar))
    }
}

impl TensorSpec {
    fn column(&self, is_named: bool) -> Result<PayloadType> {
        let dtype = self.dtype.as_str();
        let item = if dtype == "bool" {
            ScalarType::Boolean
        } else if dtype.starts_with("int") || dtype.starts_with("uint") {
            ScalarType::Int64
        } else if dtype.starts_with("float") {
            ScalarType::Float64
        } else if ["str", "object", "bytes", "datetime", "<U", "|S", "<M"].iter().any(|head| dtype.starts_with(head)) {
            ScalarType::Text
        } else {
            return Err(refused(format!("the signature has a tensor of the type {dtype:?}, which is not known")));
        };
        Ok(match self.shape.as_slice() {
            [] | [_] => PayloadType::Scalar(item),
            // Rows of one value, as scikit-learn has them: a row that is a list of one is read by position.
            [_, 1] if !is_named => PayloadType::Scalar(item),
            [_, _] => PayloadType::List(item),
            _ => PayloadType::TEXT,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(inputs: &str, outputs: &str) -> Result<PayloadSchema> {
        let text = format!("flavors: {{}}\nsignature:\n  inputs: '{inputs}'\n  outputs: '{outputs}'\n  params: null\n");
        PayloadSchema::of_signature(&text)
    }

    #[test]
    fn models_that_mlflow_wrote() {
        let credit = include_str!("../../../fixtures/data/mlflow/credit_classifier.MLmodel");
        let schema = PayloadSchema::of_signature(credit).unwrap();
        let expected = "age double, income double, utilization double, is_new double → prediction bigint";
        assert_eq!(schema.to_string(), expected);
        let limit = include_str!("../../../fixtures/data/mlflow/limit_regressor.MLmodel");
        let schema = PayloadSchema::of_signature(limit).unwrap();
        assert_eq!(schema.to_string(), expected.replace("bigint", "double"));
    }

    #[test]
    fn columns_of_every_type() {
        let schema = of(
            r#"[{"type":"boolean","name":"b"},{"type":"integer","name":"i"},{"type":"long","name":"l"},
            {"type":"datetime","name":"d"},{"type":"binary","name":"y"},{"type":"array","items":{"type":"double"},"name":"v"},
            {"type":"array","items":{"type":"array","items":{"type":"double"}},"name":"m"},
            {"type":"object","properties":{"x":{"type":"double"}},"name":"o"},{"type":"map","values":{"type":"long"},"name":"k"},
            {"type":"array","items":{"type":"object","properties":{}},"name":"a"},
            {"type":"array","items":{"type":"string"},"name":"s"}]"#,
            r#"[{"type":"double","name":"score"},{"type":"string","name":"b"}]"#,
        )
        .unwrap();
        assert_eq!(
            schema.to_string(),
            "b boolean, i bigint, l bigint, d string, y string, v array<double>, m string, o string, k string, a string, \
             s array<string> → score double, prediction_b string"
        );
    }

    #[test]
    fn tensors_and_what_has_no_name() {
        let tensor = |dtype: &str, shape: &str| {
            format!(r#"[{{"type":"tensor","tensor-spec":{{"dtype":"{dtype}","shape":{shape}}}}}]"#)
        };
        for (shape, expected) in [
            ("[-1]", "input double → prediction double"),
            ("[-1, 1]", "input double → prediction double"),
            ("[-1, 4]", "input array<double> → prediction array<double>"),
            ("[-1, 28, 28]", "input string → prediction string"),
        ] {
            let tensor = tensor("float32", shape);
            assert_eq!(of(&tensor, &tensor).unwrap().to_string(), expected);
        }
        let unnamed = r#"[{"type":"double"},{"type":"long"}]"#;
        let schema = of(r#"[{"type":"string"}]"#, unnamed).unwrap();
        assert_eq!(schema.to_string(), "input string → prediction_0 double, prediction_1 bigint");
        assert!(of(&tensor("complex64", "[-1]"), unnamed).unwrap_err().to_string().contains("complex64"));
    }

    #[test]
    fn what_has_no_signature_is_refused() {
        let say = |text: &str| PayloadSchema::of_signature(text).unwrap_err().to_string();
        assert_eq!(say("flavors: {}\n"), "the MLmodel has no signature");
        assert_eq!(say("signature:\n  inputs: '[]'\n"), "the signature of the MLmodel has no outputs");
        assert!(say(": : [").starts_with("the MLmodel does not read as YAML"));
        assert!(
            of("[{", "[]").unwrap_err().to_string().starts_with("the inputs of the MLmodel's signature do not read")
        );
        assert_eq!(of("[]", "[]").unwrap_err().to_string(), "the request has no columns");
        assert!(of(r#"[{"type":"money","name":"a"}]"#, "[]").unwrap_err().to_string().contains("\"money\""));
    }
}
