//! Tables whose log maps the names of columns: what is stored keeps its name, and the columns can take others.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::lake::{Lake, Outcome};

const ID: &str = "delta.columnMapping.id";
const STORED: &str = "delta.columnMapping.physicalName";
const LAST_ID: &str = "delta.columnMapping.maxColumnId";

/// What the log says of the table, on its way into the next commit.
struct Metadata {
    action: Value,
    schema: Value,
}

impl Metadata {
    async fn of(lake: &Lake) -> Outcome<Self> {
        let table = lake.open().await?;
        let action: Value = serde_json::to_value(table.snapshot()?.metadata())?;
        let schema = serde_json::from_str(action["schemaString"].as_str().unwrap())?;
        Ok(Self { action, schema })
    }

    fn fields(&mut self) -> &mut Vec<Value> {
        self.schema["fields"].as_array_mut().unwrap()
    }

    fn last_id(&self) -> i64 {
        self.action["configuration"][LAST_ID].as_str().map_or(0, |id| id.parse().unwrap())
    }

    fn set_last_id(&mut self, id: usize) {
        self.action["configuration"][LAST_ID] = json!(id.to_string());
    }

    fn into_action(mut self) -> Value {
        self.action["schemaString"] = json!(self.schema.to_string());
        json!({ "metaData": self.action })
    }
}

impl Lake {
    /// Upgrades the table: from now on columns have ids, and names that may change.
    pub(crate) async fn map_columns(&self) -> Outcome<()> {
        let mut metadata = Metadata::of(self).await?;
        let fields = metadata.fields();
        for (id, field) in (1..).zip(fields.iter_mut()) {
            field["metadata"][STORED] = field["name"].clone();
            field["metadata"][ID] = json!(id);
        }
        let last = fields.len();
        metadata.set_last_id(last);
        metadata.action["configuration"]["delta.columnMapping.mode"] = json!("name");
        let protocol = self.with_feature("columnMapping").await?;
        let actions: Vec<Value> = protocol.into_iter().chain([metadata.into_action()]).collect();
        self.commit("SET TBLPROPERTIES", &actions).await
    }

    /// Lets two columns of one type take each other's names.
    pub(crate) async fn swap_names(&self, one: &str, other: &str) -> Outcome<()> {
        let mut metadata = Metadata::of(self).await?;
        let swapped = |name: &Value| match name.as_str() {
            Some(name) if name == one => json!(other),
            Some(name) if name == other => json!(one),
            _ => name.clone(),
        };
        metadata.fields().iter_mut().for_each(|field| field["name"] = swapped(&field["name"]));
        let partitions = metadata.action["partitionColumns"].as_array_mut().unwrap();
        partitions.iter_mut().for_each(|name| *name = swapped(name));
        self.commit("RENAME COLUMN", &[metadata.into_action()]).await
    }

    /// Drops a column: its values stay in the files.
    pub(crate) async fn drop_column(&self, name: &str) -> Outcome<()> {
        let mut metadata = Metadata::of(self).await?;
        metadata.fields().retain(|field| field["name"] != name);
        self.commit("DROP COLUMNS", &[metadata.into_action()]).await
    }

    /// Adds a column without values, whatever files hold under this name.
    pub(crate) async fn add_mapped_column(&self, name: &str, data_type: &str) -> Outcome<()> {
        let mut metadata = Metadata::of(self).await?;
        let id = usize::try_from(metadata.last_id())? + 1;
        let stored = json!({ ID: id, STORED: format!("col-{id}") });
        metadata.fields().push(json!({ "name": name, "type": data_type, "nullable": true, "metadata": stored }));
        metadata.set_last_id(id);
        self.commit("ADD COLUMNS", &[metadata.into_action()]).await
    }

    /// The names under which columns are stored, by their own.
    pub(crate) async fn stored_names(&self) -> Outcome<HashMap<String, String>> {
        let mut metadata = Metadata::of(self).await?;
        let name = |value: &Value| value.as_str().map(str::to_owned);
        let pair = |field: &Value| Some((name(&field["name"])?, name(&field["metadata"][STORED])?));
        Ok(metadata.fields().iter().filter_map(pair).collect())
    }

    /// The columns by which files are kept apart, by their names of now.
    pub(crate) async fn partitions(&self) -> Outcome<Vec<String>> {
        let names = Metadata::of(self).await?.action["partitionColumns"].take();
        Ok(serde_json::from_value(names)?)
    }
}
