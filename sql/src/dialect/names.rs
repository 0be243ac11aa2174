//! Which table, column or field a name means: Spark compares names without regard to case, and takes double quotes for
//! text.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr as SqlExpr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, Statement, Subscript,
    TableAlias, TableFactor, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

/// The names that a query may use.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Registered tables.
    tables: BTreeSet<String>,
    /// Columns of the tables that the query reads, and those that it defines.
    columns: BTreeSet<String>,
    /// Those of them that double quotes can mean: the tables', and what the query itself names in double quotes.
    quoted: BTreeSet<String>,
    /// Fields of structs in them, at any depth.
    fields: BTreeSet<String>,
    /// Names of tables and what the query calls them.
    qualifiers: BTreeSet<String>,
    /// `catalog.schema.table` and the like, as the query writes them, in lower case.
    qualified: BTreeSet<Vec<String>>,
    /// Names of lateral views, in lower case.
    views: BTreeSet<String>,
    /// Whether all columns that can be meant are known.
    are_all_known: bool,
}

impl Names {
    /// The names in `syntax`, over the tables registered with the session.
    ///
    /// # Errors
    /// When a registered table does not open.
    pub(super) async fn of(syntax: &mut Statement, state: &SessionState, views: BTreeSet<String>) -> Result<Self> {
        let mut seen = Seen::default();
        // It never breaks.
        let (ControlFlow::Continue(()) | ControlFlow::Break(())) = syntax.visit(&mut seen);
        let catalog = &state.config_options().catalog;
        let schema =
            state.catalog_list().catalog(&catalog.default_catalog).and_then(|all| all.schema(&catalog.default_schema));
        let Some(schema) = schema else { return Ok(Self::default()) };
        let mut names = Self {
            tables: schema.table_names().into_iter().collect(),
            columns: seen.columns,
            quoted: seen.quoted,
            qualifiers: seen.qualifiers,
            views,
            are_all_known: true,
            ..Self::default()
        };
        for relation in seen.relations {
            let Some(table) = names.registered(&relation) else {
                let is_defined = matches!(relation.as_slice(), [only] if names.qualifiers.contains(&folded(only)));
                names.are_all_known &= is_defined;
                continue;
            };
            if relation.len() > 1 {
                names.qualified.insert(relation.iter().map(|part| part.value.to_lowercase()).collect());
            }
            if let Some(provider) = schema.table(&table).await? {
                for field in provider.schema().fields() {
                    names.columns.insert(field.name().clone());
                    names.quoted.insert(field.name().clone());
                    insert_fields(field.data_type(), &mut names.fields);
                }
            }
            names.qualifiers.insert(table);
        }
        Ok(names)
    }

    /// The registered table that a name of a relation means.
    fn registered(&self, relation: &[Ident]) -> Option<String> {
        let (last, before) = relation.split_last()?;
        if before.iter().any(|part| part.value.eq_ignore_ascii_case("information_schema")) {
            return None;
        }
        // What the query defines itself stands before what is registered.
        if before.is_empty() && self.qualifiers.contains(&folded(last)) && !self.tables.contains(&folded(last)) {
            return None;
        }
        find(last, [&self.tables])
    }

    /// Writes a relation's name as the session has it.
    pub(super) fn table(&self, relation: &mut ObjectName) {
        let parts: Option<Vec<Ident>> = relation.0.iter().map(|part| part.as_ident().cloned()).collect();
        if let Some(name) = parts.and_then(|parts| self.registered(&parts)) {
            relation.0 = vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))];
        }
    }

    /// Writes a column's name as the table has it, and a name in double quotes that is no column's as text.
    pub(super) fn value(&self, expr: &mut SqlExpr) {
        let SqlExpr::Identifier(name) = expr else { return };
        if name.quote_style != Some('"') {
            adopt(name, [&self.columns, &self.qualifiers]);
        } else if self.are_all_known && !self.quoted.contains(&name.value) {
            *expr = SqlExpr::Value(Value::SingleQuotedString(name.value.clone()).into());
        }
    }

    /// Writes the names in `table.column.field`, without what stands before a registered table.
    pub(super) fn path(&self, path: &mut Vec<Ident>) {
        let lower: Vec<String> = path.iter().map(|part| part.value.to_lowercase()).collect();
        let qualified =
            self.qualified.iter().find(|qualified| lower.len() > qualified.len() && lower.starts_with(qualified));
        if let Some(qualified) = qualified {
            path.drain(..qualified.len() - 1);
        } else if path.len() > 1 && lower.first().is_some_and(|first| self.views.contains(first)) {
            path.remove(0);
        }
        for (at, name) in path.iter_mut().enumerate() {
            if at == 0 {
                adopt(name, [&self.qualifiers, &self.columns]);
            } else {
                adopt(name, [&self.columns, &self.fields]);
            }
        }
    }

    /// Writes the names of fields in `value.field[0].field`; those after a subscript, or after what is no name, as the
    /// texts that the planner expects there. Where names stay, their places.
    pub(super) fn accesses(&self, root: &SqlExpr, chain: &mut [AccessExpr]) -> Vec<Span> {
        let mut is_path = matches!(root, SqlExpr::Identifier(_));
        let mut places = Vec::new();
        for access in chain {
            match access {
                AccessExpr::Dot(of @ SqlExpr::Identifier(_)) => {
                    let SqlExpr::Identifier(name) = of else { continue };
                    adopt(name, [&self.fields, &self.columns]);
                    if is_path {
                        places.push(name.span);
                    } else {
                        let field = if name.quote_style.is_some() { name.value.clone() } else { folded(name) };
                        *of = SqlExpr::Value(Value::SingleQuotedString(field).into());
                    }
                }
                AccessExpr::Dot(_) => is_path = false,
                AccessExpr::Subscript(subscript) => {
                    is_path = false;
                    if let Subscript::Index { index } = subscript
                        && matches!(index, SqlExpr::Identifier(_))
                    {
                        self.value(index);
                    }
                }
            }
        }
        places
    }
}

/// As DataFusion reads a name.
fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

/// The known name that `name` means: the one that DataFusion would find, or else the only one without regard to case.
fn find<const N: usize>(name: &Ident, known: [&BTreeSet<String>; N]) -> Option<String> {
    let (exact, lower) = (folded(name), name.value.to_lowercase());
    if known.iter().any(|known| known.contains(&exact)) {
        return Some(exact);
    }
    let similar: BTreeSet<&String> =
        known.iter().flat_map(|known| known.iter()).filter(|known| known.to_lowercase() == lower).collect();
    match similar.into_iter().collect::<Vec<_>>().as_slice() {
        [only] => Some((*only).clone()),
        _ => None,
    }
}

/// Makes `name` the known one that it means. Whether there is one.
fn adopt<const N: usize>(name: &mut Ident, known: [&BTreeSet<String>; N]) -> bool {
    let Some(found) = find(name, known) else { return false };
    if found != folded(name) {
        name.value = found;
        name.quote_style = Some('"');
    }
    true
}

fn insert_fields(data_type: &DataType, into: &mut BTreeSet<String>) {
    let inner = |field: &FieldRef, into: &mut BTreeSet<String>| insert_fields(field.data_type(), into);
    match data_type {
        DataType::Struct(fields) => {
            for field in fields {
                into.insert(field.name().clone());
                inner(field, into);
            }
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => inner(item, into),
        DataType::Map(entries, _) => {
            if let DataType::Struct(entry) = entries.data_type() {
                entry.iter().for_each(|field| inner(field, into));
            }
        }
        _ => {}
    }
}

/// What a query reads and what it defines.
#[derive(Debug, Default)]
struct Seen {
    relations: Vec<Vec<Ident>>,
    columns: BTreeSet<String>,
    quoted: BTreeSet<String>,
    qualifiers: BTreeSet<String>,
}

impl Seen {
    fn alias(&mut self, alias: &TableAlias) {
        self.qualifiers.insert(folded(&alias.name));
        alias.columns.iter().for_each(|column| self.column(&column.name));
    }

    fn column(&mut self, name: &Ident) {
        self.columns.insert(folded(name));
        if name.quote_style == Some('"') {
            self.quoted.insert(name.value.clone());
        }
    }
}

impl VisitorMut for Seen {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let Some(with) = &query.with {
            with.cte_tables.iter().for_each(|table| self.alias(&table.alias));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &select.projection {
            match item {
                SelectItem::ExprWithAlias { alias, .. } => self.column(alias),
                // What DataFusion calls it; columns keep their own names.
                SelectItem::UnnamedExpr(expr)
                    if !matches!(expr, SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_)) =>
                {
                    self.quoted.insert(expr.to_string().to_lowercase());
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), .. }
            | TableFactor::UNNEST { alias: Some(alias), .. } => self.alias(alias),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        self.relations.push(relation.0.iter().filter_map(|part| part.as_ident().cloned()).collect());
        ControlFlow::Continue(())
    }
}
