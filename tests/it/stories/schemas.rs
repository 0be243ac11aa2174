//! The metric tables' columns as other readers of Delta see them.

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use limno_metrics::schema::{Shape, drift_schema, profile_schema};
use serde_json::{Value, json};

use crate::support_run::Place;

/// The type of a column as a Delta log names it.
fn delta_type(data_type: &DataType) -> Value {
    match data_type {
        DataType::Float64 => json!("double"),
        DataType::Int64 => json!("long"),
        DataType::Int32 => json!("integer"),
        DataType::Utf8 => json!("string"),
        DataType::Boolean => json!("boolean"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => json!("timestamp"),
        DataType::Struct(fields) => {
            let fields: Vec<_> = fields.iter().map(|field| delta_field(field.name(), field.data_type())).collect();
            json!({ "type": "struct", "fields": fields })
        }
        DataType::List(item) => {
            json!({ "type": "array", "elementType": delta_type(item.data_type()), "containsNull": true })
        }
        other => panic!("{other} is in no metric table"),
    }
}

fn delta_field(name: &str, data_type: &DataType) -> Value {
    json!({ "name": name, "type": delta_type(data_type), "nullable": true, "metadata": {} })
}

/// The metric tables have exactly the columns that the schema says, as any reader of Delta sees them.
pub(super) fn check_schemas(place: &Place, name: &str) {
    let schemas: [(_, SchemaRef); 2] = [
        (format!("{name}_profile_metrics"), profile_schema(&Shape::of_model(Some("model_version")))),
        (format!("{name}_drift_metrics"), drift_schema(&Shape::of_model(Some("model_version")))),
    ];
    for (table, schema) in schemas {
        let log = place.path(&format!("monitoring/{table}/_delta_log/{:020}.json", 0));
        let log = std::fs::read_to_string(log).unwrap();
        let actions = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let metadata = actions.into_iter().find_map(|action| action.get("metaData").cloned()).unwrap();
        let written: Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
        let expected: Vec<_> =
            schema.fields().iter().map(|field| delta_field(field.name(), field.data_type())).collect();
        assert_eq!(written["fields"], json!(expected), "{table}");
    }
}
