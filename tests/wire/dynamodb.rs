//! DynamoDB: the state tables, and what DescribeTable tells of a source table.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::answer::{Answer, refused, text};
use crate::expression::{Expressions, Item, storable};

#[derive(Debug)]
pub struct Table {
    description: Value,
    /// The names of its key's parts.
    key: Vec<String>,
    /// So many looks find it being created.
    creating: u32,
    rows: BTreeMap<Vec<String>, Item>,
}

#[derive(Debug)]
pub struct Tables {
    tables: BTreeMap<String, Table>,
    /// A table with a stream, that holds nothing of Weir's: its name and the stream's ARN.
    source: Option<(String, String)>,
    /// Whether that stream is enabled; `None`: the table never had one.
    pub source_stream: Option<bool>,
    /// Rows of one page.
    page: usize,
}

impl Tables {
    /// Beside this source table, none so far. A read gives so many rows at a time.
    pub fn of(source: Option<(String, String)>, page: usize) -> Self {
        Self {
            tables: BTreeMap::new(),
            source,
            source_stream: Some(true),
            page,
        }
    }

    /// The rows of a table, in the order of their keys.
    #[allow(dead_code, reason = "the benches, which share this file, look at no row")]
    pub fn rows(&self, table: &str) -> Vec<&Item> {
        let table = self.tables.get(table);
        table.map(|t| t.rows.values().collect()).unwrap_or_default()
    }

    pub fn answer(&mut self, operation: &str, body: &Value, complaints: &mut Vec<String>) -> Answer {
        let name = text(body, "TableName").to_owned();
        match operation {
            "DescribeTable" => return self.describe(&name),
            "CreateTable" => return self.create(&name, body),
            _ => {}
        }
        let is_there = |t: &&mut Table| t.creating == 0;
        let Some(table) = self.tables.get_mut(&name).filter(is_there) else {
            return Err(refused(
                "ResourceNotFoundException",
                "Requested resource not found",
            ));
        };
        let done = match operation {
            "PutItem" => table.put(body),
            "UpdateItem" => table.update(body),
            "DeleteItem" => table.delete(body),
            "GetItem" => table.get(body),
            "Scan" => table.page(body, None, self.page),
            "Query" => table.page(body, Some(text(body, "KeyConditionExpression")), self.page),
            _ => Err(Problem::Unreadable(format!(
                "the fake knows no operation {operation}"
            ))),
        };
        done.map_err(|problem| match problem {
            // The real service would say so too; that Weir sends it is a defect here or there.
            Problem::Unreadable(why) => {
                complaints.push(format!("{operation} {name}: {why}: {body}"));
                refused("ValidationException", why)
            }
            Problem::Condition(row) => {
                let mut refusal = refused(
                    "ConditionalCheckFailedException",
                    "The conditional request failed",
                );
                let wants_row = body["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD";
                if let Some(row) = row.filter(|_| wants_row) {
                    refusal.more = Map::from_iter([("Item".to_owned(), Value::Object(row))]);
                }
                refusal
            }
        })
    }

    fn describe(&mut self, name: &str) -> Answer {
        if let Some((source, arn)) = &self.source
            && source == name
        {
            let mut table = json!({
                "TableName": name, "TableStatus": "ACTIVE",
                "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
                "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
            });
            if let Some(is_enabled) = self.source_stream {
                table["LatestStreamArn"] = arn.as_str().into();
                table["StreamSpecification"] = json!({ "StreamEnabled": is_enabled });
            }
            return Ok(json!({ "Table": table }));
        }
        let Some(table) = self.tables.get_mut(name) else {
            return Err(refused(
                "ResourceNotFoundException",
                format!("Requested resource not found: Table: {name} not found"),
            ));
        };
        let mut description = table.description.clone();
        description["TableStatus"] = if table.creating > 0 { "CREATING" } else { "ACTIVE" }.into();
        table.creating = table.creating.saturating_sub(1);
        Ok(json!({ "Table": description }))
    }

    fn create(&mut self, name: &str, body: &Value) -> Answer {
        if self.tables.contains_key(name) {
            let text = format!("Table already exists: {name}");
            return Err(refused("ResourceInUseException", text));
        }
        let parts = body["KeySchema"].as_array().cloned().unwrap_or_default();
        let table = Table {
            description: json!({
                "TableName": name, "KeySchema": parts, "AttributeDefinitions": body["AttributeDefinitions"],
            }),
            key: parts
                .iter()
                .map(|p| text(p, "AttributeName").to_owned())
                .collect(),
            creating: 1,
            rows: BTreeMap::new(),
        };
        self.tables.insert(name.to_owned(), table);
        Ok(json!({ "TableDescription": { "TableName": name, "TableStatus": "CREATING" } }))
    }
}

enum Problem {
    /// The request can't be carried out by anyone.
    Unreadable(String),
    /// The row that is there does not meet the condition.
    Condition(Option<Item>),
}

impl From<String> for Problem {
    fn from(why: String) -> Self {
        Self::Unreadable(why)
    }
}

type Done = Result<Value, Problem>;

impl Table {
    fn key_of(&self, row: &Value) -> Result<Vec<String>, String> {
        self.key
            .iter()
            .map(|part| {
                let value = row[part]["S"].as_str().filter(|v| !v.is_empty());
                value
                    .map(str::to_owned)
                    .ok_or_else(|| format!("the key lacks {part}"))
            })
            .collect()
    }

    /// Checks the condition of a write against the row that is there, which stays as it is.
    fn check(
        &self,
        body: &Value,
        key: &[String],
        expressions: &mut Expressions<'_>,
    ) -> Result<Option<Item>, Problem> {
        let row = self.rows.get(key).cloned();
        match body["ConditionExpression"].as_str() {
            Some(condition) if !expressions.holds(condition, row.as_ref())? => Err(Problem::Condition(row)),
            _ => Ok(row),
        }
    }

    fn put(&mut self, body: &Value) -> Done {
        let key = self.key_of(&body["Item"])?;
        let mut expressions = Expressions::of(body);
        self.check(body, &key, &mut expressions)?;
        expressions.finish()?;
        let Some(row) = body["Item"].as_object() else {
            return Err(Problem::Unreadable("no Item".to_owned()));
        };
        row.values().try_for_each(storable)?;
        self.rows.insert(key, row.clone());
        Ok(json!({}))
    }

    fn update(&mut self, body: &Value) -> Done {
        let key = self.key_of(&body["Key"])?;
        let mut expressions = Expressions::of(body);
        let before = self.check(body, &key, &mut expressions);
        let row = match &before {
            Ok(Some(row)) | Err(Problem::Condition(Some(row))) => row.clone(),
            _ => body["Key"].as_object().cloned().unwrap_or_default(),
        };
        let after = expressions.update(text(body, "UpdateExpression"), &row)?;
        expressions.finish()?;
        before?;
        if self.key_of(&Value::Object(after.clone()))? != key {
            return Err(Problem::Unreadable("the update touches the key".to_owned()));
        }
        self.rows.insert(key, after);
        Ok(json!({}))
    }

    fn delete(&mut self, body: &Value) -> Done {
        let key = self.key_of(&body["Key"])?;
        let mut expressions = Expressions::of(body);
        self.check(body, &key, &mut expressions)?;
        expressions.finish()?;
        self.rows.remove(&key);
        Ok(json!({}))
    }

    fn get(&self, body: &Value) -> Done {
        let key = self.key_of(&body["Key"])?;
        Ok(match self.rows.get(&key) {
            Some(row) => json!({ "Item": row }),
            None => json!({}),
        })
    }

    fn page(&self, body: &Value, condition: Option<&str>, most: usize) -> Done {
        let mut expressions = Expressions::of(body);
        let start = match &body["ExclusiveStartKey"] {
            Value::Null => None,
            key => Some(self.key_of(key)?),
        };
        let mut found = Vec::new();
        for (key, row) in &self.rows {
            let is_wanted = match condition {
                Some(condition) => expressions.holds(condition, Some(row))?,
                None => true,
            };
            if is_wanted && start.as_ref().is_none_or(|start| key > start) {
                found.push(row);
            }
        }
        if !self.rows.is_empty() {
            expressions.finish()?;
        }
        let is_last = found.len() <= most;
        found.truncate(most);
        let mut answer = json!({ "Items": found, "Count": found.len(), "ScannedCount": found.len() });
        if let (false, Some(last)) = (is_last, found.last()) {
            let key: Map<String, Value> = self
                .key
                .iter()
                .map(|part| (part.clone(), last[part].clone()))
                .collect();
            answer["LastEvaluatedKey"] = key.into();
        }
        Ok(answer)
    }
}
