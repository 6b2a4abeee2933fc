//! What a directory says of one entry, as columns: the same ones where it is staged, in a plan, and in a record.
//! Its organization stands apart, as each of these tables names that in its own way.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::bulk::Cells;
use super::error::StoreError;
use super::json;
use super::row::Row;
use super::users::{attribute_values, lines, text_value};
use crate::domain::field::{Field, Value, Values};
use crate::domain::id::{Digest, ExternalId};

/// The columns, as they are inserted.
macro_rules! said_columns {
    () => {
        "digest, covered, email, first_name, last_name, phone, title, kind, license, billable, status, roles, attributes"
    };
}

/// The columns of a table, as [`Said::read`] reads them.
macro_rules! said_of {
    ($table:literal) => {
        concat!(
            $table,
            ".digest, ",
            $table,
            ".covered, ",
            $table,
            ".email, ",
            $table,
            ".first_name, ",
            $table,
            ".last_name, ",
            $table,
            ".phone, ",
            $table,
            ".title, ",
            $table,
            ".kind, ",
            $table,
            ".license, ",
            $table,
            ".billable, ",
            $table,
            ".status, ",
            $table,
            ".roles, ",
            $table,
            ".attributes::text"
        )
    };
}
pub(super) use {said_columns, said_of};

/// How many columns there are.
pub(super) const SAID_CELLS: usize = 13;

/// The columns of text, in their order.
const TEXTS: [Field; 7] = [
    Field::Email,
    Field::FirstName,
    Field::LastName,
    Field::Phone,
    Field::Title,
    Field::Kind,
    Field::License,
];

/// In a mask of columns that a new user gets: every attribute.
pub(super) const ALL_ATTRIBUTES: i64 = 1 << Field::COLUMNS.len();

/// The bit of a column, in the order of [`Field::COLUMNS`]; none for an attribute.
pub(super) fn bit(field: &Field) -> i64 {
    let at = Field::COLUMNS.iter().position(|column| column == field);
    at.map_or(0, |at| 1 << at)
}

/// Appends the columns of one entry.
pub(super) fn put(cells: &mut dyn Cells, digest: Digest, values: Values) {
    let mut texts: [Option<String>; 7] = Default::default();
    let (mut billable, mut status, mut roles) = (None, None, None);
    let (mut attributes, mut covered) = (Map::new(), 0);
    for (field, value) in values {
        covered |= bit(&field);
        match (field, value) {
            (Field::Attribute(name), value) => drop(attributes.insert(name.to_string(), json::value(&value))),
            (Field::Billable, Value::Text(word)) => billable = word.map(|word| word == "true"),
            (Field::Status, Value::Text(word)) => status = word,
            (Field::Roles, Value::Set(set)) => roles = Some(joined(set)),
            (field, Value::Text(text)) => {
                if let Some(at) = TEXTS.iter().position(|column| *column == field) {
                    texts[at] = text;
                }
            }
            (_, Value::Set(_)) => {}
        }
    }
    cells.plain(&digest.to_string());
    cells.int(covered);
    texts.into_iter().for_each(|text| cells.text(text));
    cells.flag(billable);
    cells.text(status);
    cells.text(roles);
    cells.text((!attributes.is_empty()).then(|| Json::from(attributes).to_string()));
}

/// Names, one a line; most often there is one.
fn joined(set: BTreeSet<String>) -> String {
    let mut names = set.into_iter();
    let first = names.next().unwrap_or_default();
    names.fold(first, |all, name| all + "\n" + &name)
}

/// Appends the columns of an entry that says nothing.
pub(super) fn put_nothing(cells: &mut dyn Cells) {
    cells.text(None);
    cells.int(0);
    (2..SAID_CELLS).for_each(|_| cells.text(None));
}

/// What a row says.
pub(super) struct Said {
    /// Its digest; none where it says nothing.
    pub(super) digest: Option<Digest>,
    values: Vec<(Field, Value)>,
}

impl Said {
    /// Reads [`said_of`].
    pub(super) fn read(row: &mut Row) -> Result<Self, StoreError> {
        let digest = row.opt_parsed()?;
        let covered = row.opt_int()?.unwrap_or(0);
        let mut values = Vec::with_capacity(Field::COLUMNS.len() + 1);
        for field in TEXTS {
            values.push((field, text_value(row.opt_text()?)));
        }
        let billable = row.opt_int()?.map(|b| if b == 0 { "false" } else { "true" });
        values.push((Field::Billable, Value::Text(billable.map(str::to_owned))));
        values.push((Field::Status, text_value(row.opt_text()?)));
        values.push((Field::Roles, Value::Set(lines(row.opt_text()?))));
        values.retain(|(field, _)| covered & bit(field) != 0);
        values.extend(attribute_values(row.opt_json()?));
        Ok(Self { digest, values })
    }

    /// The values, with the organization, which every mapping states.
    pub(super) fn values(self, organization: Option<&ExternalId>) -> Values {
        let mut values = self.values;
        let id = organization.map(|id| id.as_str().to_owned());
        values.push((Field::Organization, Value::Text(id)));
        Values::new(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::row::{Arg, Cell};

    #[test]
    fn what_is_said_round_trips() {
        let organization = ExternalId::parse("org-1").expect("an id");
        let values = Values::new(vec![
            (Field::Email, Value::text("a@x.example")),
            (Field::Phone, Value::Text(None)),
            (Field::Billable, Value::text("true")),
            (Field::Organization, Value::text("org-1")),
            (
                Field::Roles,
                Value::Set(BTreeSet::from(["editor".to_owned(), "reader".to_owned()])),
            ),
            (Field::Attribute("city".into()), Value::text("Sampleton")),
        ]);
        let mut row: Vec<Arg> = Vec::new();
        put(&mut row, Digest(7), values.clone());
        assert_eq!(row.len(), SAID_CELLS);
        let cells = row
            .into_iter()
            .map(|arg| match arg {
                Arg::Text(Some(text)) => Cell::Text(text),
                Arg::Int(Some(number)) => Cell::Int(number),
                Arg::Bool(Some(truth)) => Cell::Int(truth.into()),
                _ => Cell::Null,
            })
            .collect();
        let said = Said::read(&mut Row::new(cells)).expect("reads");
        assert_eq!(said.digest, Some(Digest(7)));
        assert_eq!(said.values(Some(&organization)), values);
    }
}
