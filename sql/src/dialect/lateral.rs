//! `FROM t LATERAL VIEW explode(e) v AS c` becomes `FROM (SELECT *, unnest(e) AS c FROM t) AS t`; a column `v.c` is then
//! `c`.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::common::plan_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::sql::sqlparser::ast::{
    Ident, LateralView, Select, SelectItem, SetExpr, Statement, TableAlias, TableFactor, TableWithJoins, VisitMut,
    VisitorMut,
};

use super::functions;

/// Rewrites all lateral views. Their names, in lower case.
///
/// # Errors
/// For views of other functions, with `OUTER`, and after joins.
pub(super) fn rewrite(syntax: &mut Statement) -> Result<BTreeSet<String>> {
    let mut views = Views(BTreeSet::new());
    match syntax.visit(&mut views) {
        ControlFlow::Continue(()) => Ok(views.0),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Views(BTreeSet<String>);

impl VisitorMut for Views {
    type Break = DataFusionError;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<DataFusionError> {
        for view in std::mem::take(&mut select.lateral_views) {
            self.0.insert(view.lateral_view_name.to_string().to_lowercase());
            if let Err(error) = nest(select, view) {
                return ControlFlow::Break(error);
            }
        }
        ControlFlow::Continue(())
    }
}

fn nest(select: &mut Select, view: LateralView) -> Result<()> {
    let shown = view.to_string();
    let shown = shown.trim();
    if view.outer {
        return Err(plan_datafusion_err!("{shown} is not supported: write LATERAL VIEW without OUTER"));
    }
    let exploded = functions::only_argument(&view.lateral_view, "explode");
    let (Some(exploded), [] | [_]) = (exploded, view.lateral_col_alias.as_slice()) else {
        return Err(plan_datafusion_err!("{shown} is not supported: a lateral view takes explode(array) AS column"));
    };
    let [TableWithJoins { relation, joins }] = select.from.as_mut_slice() else {
        return Err(plan_datafusion_err!("{shown} is not supported after several tables"));
    };
    if !joins.is_empty() {
        return Err(plan_datafusion_err!("{shown} is not supported after a join: put the join into a subquery"));
    }
    let name = match &*relation {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            alias.name.clone()
        }
        TableFactor::Table { name, .. } => {
            let last = name.0.last().and_then(|part| part.as_ident());
            last.cloned().unwrap_or_else(|| Ident::new("__lateral"))
        }
        _ => Ident::new("__lateral"),
    };
    let column = view.lateral_col_alias.into_iter().next().unwrap_or_else(|| Ident::new("col"));
    let mut query = functions::query("SELECT * FROM t")?;
    let SetExpr::Select(inner) = query.body.as_mut() else {
        return Err(plan_datafusion_err!("{shown} is not supported"));
    };
    let unnest = functions::template("unnest(__0)", &[exploded])?;
    inner.projection.push(SelectItem::ExprWithAlias { expr: unnest, alias: column });
    let derived = functions::query("SELECT * FROM (SELECT 1) AS t")?;
    let SetExpr::Select(outer) = *derived.body else {
        return Err(plan_datafusion_err!("{shown} is not supported"));
    };
    let Some(mut derived) = outer.from.into_iter().next() else {
        return Err(plan_datafusion_err!("{shown} is not supported"));
    };
    let TableFactor::Derived { subquery, alias: Some(TableAlias { name: of, .. }), .. } = &mut derived.relation else {
        return Err(plan_datafusion_err!("{shown} is not supported"));
    };
    *of = name;
    std::mem::swap(&mut inner.from, &mut select.from);
    **subquery = query;
    select.from = vec![derived];
    Ok(())
}
