//! The contract of a database that agents may read by SQL, and the tool `db.query` over such databases.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::tool::{Tool, ToolContext, ToolHandle, ToolSpec};

/// A database that is read by SQL, and never written whatever the SQL says.
#[async_trait]
pub trait QueryDatabase: fmt::Debug + Send + Sync + 'static {
    /// Runs one statement that gives rows.
    ///
    /// - `parameters` stand for the placeholders of the SQL: null, booleans, numbers and texts; a list or an object
    ///   stands for its JSON, and for an array where the database has arrays.
    /// - More than one statement, and every statement that is no query, is refused and changes nothing, whatever it
    ///   contains.
    /// - Rows come in the statement's order up to the limits; [`Rows::truncated`] says that there were more.
    /// - SQL that the database refuses is `Invalid` with code `query_failed` and the database's own message; what takes
    ///   too long is `Invalid` with code `query_timeout`; what may not be done here is `Denied` with code `read_only`.
    ///   A database that does not answer is `Unavailable`.
    /// - Called concurrently. A future that is dropped stops the statement soon.
    async fn query(&self, sql: &str, parameters: &[Value], limits: QueryLimits) -> Result<Rows>;

    /// The tables and views that can be read, with their columns; of the one of this name where one is named.
    ///
    /// A name that no table has is `NotFound` with code `unknown_table`.
    async fn describe(&self, table: Option<&str>) -> Result<Schema>;
}

/// How much one query may give, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryLimits {
    /// The most rows; 1,000 by default.
    pub rows: usize,
    /// The most bytes of rows, as JSON; 256 KiB by default.
    pub bytes: usize,
    /// The longest time; 5 seconds by default.
    pub time: Duration,
}

impl QueryLimits {
    /// The most columns of a result.
    pub const COLUMNS: usize = 256;

    /// Sets the most rows.
    #[must_use]
    pub fn with_rows(mut self, rows: usize) -> Self {
        self.rows = rows;
        self
    }

    /// Sets the most bytes of rows.
    #[must_use]
    pub fn with_bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets the longest time.
    #[must_use]
    pub fn with_time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self { rows: 1000, bytes: 256 * 1024, time: Duration::from_secs(5) }
    }
}

/// What a query gave.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Rows {
    /// The names of the columns, in order; two may be alike.
    pub columns: Vec<String>,
    /// The rows, each with one value per column.
    pub rows: Vec<Vec<Value>>,
    /// Whether there were more rows than the limits allow.
    pub truncated: bool,
    #[serde(skip)]
    bytes: usize,
}

impl Rows {
    /// No rows yet. Too many columns are `Invalid` with code `too_many_columns`.
    pub fn new(columns: Vec<String>) -> Result<Self> {
        if columns.len() > QueryLimits::COLUMNS {
            let detail = format!(
                "the result has {} columns, at most {} are given",
                columns.len(),
                QueryLimits::COLUMNS
            );
            return Err(Error::invalid(detail).with_code("too_many_columns"));
        }
        Ok(Self { columns, rows: Vec::new(), truncated: false, bytes: 0 })
    }

    /// Adds a row and says whether another may follow; a row beyond the limits is left out, and
    /// [`truncated`](Self::truncated) is set.
    ///
    /// A first row that is too large by itself is `Invalid` with code `row_too_large`.
    pub fn push(&mut self, row: Vec<Value>, limits: &QueryLimits) -> Result<bool> {
        // The commas between values, and the brackets.
        let bytes = row.iter().map(|value| json_bytes(value) + 1).sum::<usize>() + 1;
        if self.rows.len() >= limits.rows || self.bytes + bytes > limits.bytes {
            if self.rows.is_empty() && limits.rows > 0 {
                let detail = format!(
                    "the first row alone is larger than {} bytes: select fewer columns, or parts of them",
                    limits.bytes
                );
                return Err(Error::invalid(detail).with_code("row_too_large"));
            }
            self.truncated = true;
            return Ok(false);
        }
        self.bytes += bytes;
        self.rows.push(row);
        Ok(true)
    }
}

fn json_bytes(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // A value of JSON can always be written.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

/// The tables and views of a database.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Schema {
    /// In the database's order.
    pub tables: Vec<Table>,
    /// Whether there are more tables than these, or tables whose columns are left out.
    pub truncated: bool,
}

/// A table or view.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Table {
    /// Its name, as it is written in SQL.
    pub name: String,
    /// `table` or `view`.
    pub kind: &'static str,
    /// Its columns; empty where they are left out for the sake of size.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type in the database's own words.
    #[serde(rename = "type")]
    pub type_name: String,
}

impl Table {
    /// A table or view without columns yet.
    pub fn new(name: impl Into<String>, kind: &'static str) -> Self {
        Self { name: name.into(), kind, columns: Vec::new() }
    }
}

impl Column {
    /// A column.
    pub fn new(name: impl Into<String>, type_name: impl Into<String>) -> Self {
        Self { name: name.into(), type_name: type_name.into() }
    }
}

impl Schema {
    /// The most tables.
    pub const TABLES: usize = 500;
    /// The most bytes of names and types; tables beyond come without their columns.
    pub const BYTES: usize = 64 * 1024;

    /// Adds a table, or what of it there is room for, and says whether another may follow.
    pub fn push(&mut self, mut table: Table) -> bool {
        if self.tables.len() >= Self::TABLES {
            self.truncated = true;
            return false;
        }
        let used: usize = self.tables.iter().map(Table::bytes).sum();
        if used + table.bytes() > Self::BYTES {
            self.truncated = true;
            if self.tables.is_empty() {
                // A single table with very many columns: the first of them.
                let mut room = Self::BYTES;
                let fitting = table.columns.iter().take_while(|column| {
                    room = room.saturating_sub(column.bytes());
                    room > 0
                });
                let fitting = fitting.count();
                table.columns.truncate(fitting);
            } else {
                table.columns.clear();
            }
        }
        self.tables.push(table);
        true
    }
}

impl Table {
    fn bytes(&self) -> usize {
        self.name.len() + self.columns.iter().map(Column::bytes).sum::<usize>()
    }
}

impl Column {
    fn bytes(&self) -> usize {
        self.name.len() + self.type_name.len()
    }
}

/// The tool `db.query` over databases by name.
///
/// It takes `{"database", "sql", "parameters"?, "max_rows"?}` and gives `{"columns", "rows", "truncated", "row_count"}`.
/// Without `sql` it takes `{"database", "table"?}` and gives `{"tables": [{"name", "kind", "columns"?}], "truncated"}`.
/// Where there are no databases every call is `NotFound` with code `no_database`; a name that none has is `NotFound`
/// with code `unknown_database`.
pub fn query_tool(databases: BTreeMap<String, Arc<dyn QueryDatabase>>) -> ToolHandle {
    ToolHandle::new(Query { databases })
}

struct Query {
    databases: BTreeMap<String, Arc<dyn QueryDatabase>>,
}

/// Everything may be left out, so that it is this tool that says what is missing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    database: Option<String>,
    sql: Option<String>,
    table: Option<String>,
    #[serde(default)]
    parameters: Vec<Value>,
    max_rows: Option<usize>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Output {
    Rows {
        #[serde(flatten)]
        rows: Rows,
        row_count: usize,
    },
    Schema(Schema),
}

impl Query {
    fn names(&self) -> String {
        self.databases.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    fn database(&self, name: Option<&str>) -> Result<&dyn QueryDatabase> {
        if self.databases.is_empty() {
            return Err(Error::not_found("no database is configured for agents").with_code("no_database"));
        }
        let Some(name) = name else {
            let detail = format!("'database' is missing; there are: {}", self.names());
            return Err(Error::invalid(detail).with_code("invalid_input"));
        };
        let database = self.databases.get(name).ok_or_else(|| {
            let detail = format!("there is no database '{name}'; there are: {}", self.names());
            Error::not_found(detail).with_code("unknown_database")
        })?;
        Ok(database.as_ref())
    }

    async fn answer(&self, input: Input) -> Result<Output> {
        let database = self.database(input.database.as_deref())?;
        let most = QueryLimits::default();
        let rows = input.max_rows.unwrap_or(most.rows);
        match (input.sql, input.table) {
            (Some(_), Some(_)) => {
                Err(Error::invalid("give either 'sql' or 'table'").with_code("invalid_input"))
            }
            (Some(_), None) if rows == 0 || rows > most.rows => {
                Err(Error::invalid(format!("max_rows is 1 to {}, not {rows}", most.rows))
                    .with_code("invalid_max_rows"))
            }
            (Some(sql), None) => {
                let rows = database.query(&sql, &input.parameters, most.with_rows(rows)).await?;
                Ok(Output::Rows { row_count: rows.rows.len(), rows })
            }
            (None, table) => Ok(Output::Schema(database.describe(table.as_deref()).await?)),
        }
    }
}

impl Tool for Query {
    type Input = Input;
    type Output = Output;

    fn spec(&self) -> ToolSpec {
        let databases = match self.databases.len() {
            0 => "No database is configured.".to_owned(),
            _ => format!("Databases: {}.", self.names()),
        };
        let most = QueryLimits::default();
        let description = format!(
            "Reads from a database by one SQL query; nothing can be changed. Without 'sql' it gives the tables and \
             their columns: do that first. At most {} rows and {} KiB; where 'truncated' is true there are more. {}",
            most.rows,
            most.bytes / 1024,
            databases,
        );
        let mut database = json!({"type": "string", "description": "the database's name"});
        if let (Some(fields), false) = (database.as_object_mut(), self.databases.is_empty()) {
            fields.insert("enum".to_owned(), self.databases.keys().cloned().collect());
        }
        ToolSpec::new("db.query", description).with_input_schema(json!({
            "type": "object",
            "required": ["database"],
            "additionalProperties": false,
            "properties": {
                "database": database,
                "sql": {"type": "string", "description": "one SELECT; placeholders are $1, $2 (Postgres) or ?1, ?2 (SQLite)"},
                "parameters": {"type": "array", "description": "the values of the placeholders, in order"},
                "max_rows": {"type": "integer", "minimum": 1, "maximum": most.rows},
                "table": {"type": "string", "description": "without 'sql': the one table to describe"}
            }
        }))
    }

    async fn call(&self, context: &ToolContext, input: Input) -> Result<Output> {
        tokio::select! {
            output = self.answer(input) => output,
            () = context.cancelled.cancelled() => {
                Err(Error::new(ErrorKind::Cancelled, "the query was stopped on request"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed;

    #[async_trait]
    impl QueryDatabase for Fixed {
        async fn query(&self, sql: &str, parameters: &[Value], limits: QueryLimits) -> Result<Rows> {
            if sql == "wait" {
                std::future::pending::<()>().await;
            }
            let mut rows = Rows::new(vec!["sql".into(), "parameter".into()])?;
            for parameter in parameters {
                if !rows.push(vec![sql.into(), parameter.clone()], &limits)? {
                    break;
                }
            }
            Ok(rows)
        }

        async fn describe(&self, table: Option<&str>) -> Result<Schema> {
            let mut schema = Schema::default();
            let mut found = Table::new(table.unwrap_or("all"), "table");
            found.columns.push(Column::new("id", "integer"));
            schema.push(found);
            Ok(schema)
        }
    }

    fn tool() -> ToolHandle {
        query_tool(BTreeMap::from([("sales".to_owned(), Arc::new(Fixed) as Arc<dyn QueryDatabase>)]))
    }

    async fn call(tool: &ToolHandle, input: Value) -> Result<Value> {
        tool.call(&ToolContext::default(), input).await
    }

    #[tokio::test]
    async fn it_gives_rows_or_the_schema() {
        let tool = tool();
        assert!(tool.spec().description.contains("Databases: sales."), "{:?}", tool.spec());
        let input = json!({"database": "sales", "sql": "q", "parameters": [1, 2, 3], "max_rows": 2});
        let rows = json!({
            "columns": ["sql", "parameter"], "rows": [["q", 1], ["q", 2]], "truncated": true, "row_count": 2
        });
        assert_eq!(call(&tool, input).await.unwrap(), rows);
        let schema = json!({
            "tables": [{"name": "t", "kind": "table", "columns": [{"name": "id", "type": "integer"}]}],
            "truncated": false
        });
        assert_eq!(call(&tool, json!({"database": "sales", "table": "t"})).await.unwrap(), schema);
    }

    #[tokio::test]
    async fn what_it_cannot_do_has_a_code() {
        let none = query_tool(BTreeMap::new());
        for (tool, input, code) in [
            (&none, json!({}), "no_database"),
            (&none, json!({"database": "sales", "sql": "q"}), "no_database"),
            (&tool(), json!({"sql": "q"}), "invalid_input"),
            (&tool(), json!({"database": "other", "sql": "q"}), "unknown_database"),
            (&tool(), json!({"database": "sales", "sql": "q", "table": "t"}), "invalid_input"),
            (&tool(), json!({"database": "sales", "sql": "q", "max_rows": 0}), "invalid_max_rows"),
            (&tool(), json!({"database": "sales", "sql": "q", "max_rows": 1001}), "invalid_max_rows"),
            (&tool(), json!({"database": "sales", "query": "q"}), "invalid_input"),
        ] {
            assert_eq!(call(tool, input.clone()).await.unwrap_err().code(), code, "{input}");
        }
    }

    #[tokio::test]
    async fn a_cancelled_call_ends() {
        let context = ToolContext::default();
        context.cancelled.cancel();
        let error = tool().call(&context, json!({"database": "sales", "sql": "wait"})).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }

    #[test]
    fn rows_stop_at_the_bytes() {
        let limits = QueryLimits::default().with_bytes(20);
        let mut rows = Rows::new(vec!["a".into()]).unwrap();
        // `["123456"]` and a comma: ten bytes.
        assert!(rows.push(vec!["123456".into()], &limits).unwrap());
        assert!(rows.push(vec!["123456".into()], &limits).unwrap());
        assert!(!rows.push(vec!["".into()], &limits).unwrap());
        assert!(rows.truncated && rows.rows.len() == 2);
        let mut rows = Rows::new(vec!["a".into()]).unwrap();
        let error = rows.push(vec!["12345678901234567890".into()], &limits).unwrap_err();
        assert_eq!(error.code(), "row_too_large");
    }

    #[test]
    fn a_large_schema_keeps_the_names() {
        let mut schema = Schema::default();
        for number in 0..Schema::TABLES {
            let mut table = Table::new(format!("t{number}"), "table");
            table.columns =
                (0..100).map(|column| Column::new(format!("column{column}"), "integer")).collect();
            assert!(schema.push(table));
        }
        assert!(!schema.push(Table::new("more", "table")));
        assert!(schema.truncated);
        assert_eq!(schema.tables.len(), Schema::TABLES);
        assert!(!schema.tables[0].columns.is_empty() && schema.tables[400].columns.is_empty());
    }
}
