//! Users as CSV (RFC 4180), for the API and for `rollcall users export`. No cell is a formula to a spreadsheet.

use crate::store::UserRow;

/// Users that are read at once: however many there are, no more are held in memory.
pub const PAGE_USERS: u64 = 1_000;

/// The columns, in order.
const HEADER: [&str; 19] = [
    "id",
    "kind",
    "email",
    "first_name",
    "last_name",
    "phone",
    "title",
    "organization",
    "organization_id",
    "license",
    "billable",
    "status",
    "disabled_by",
    "roles",
    "source",
    "external_id",
    "attributes",
    "created_at",
    "updated_at",
];

/// The first line.
pub fn header() -> Vec<u8> {
    lines([HEADER.map(str::to_owned)].into_iter())
}

/// One line for each user.
pub fn rows(users: &[UserRow]) -> Vec<u8> {
    lines(users.iter().map(cells))
}

fn lines(rows: impl Iterator<Item = [String; HEADER.len()]>) -> Vec<u8> {
    let mut csv = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    for row in rows {
        csv.write_record(row.iter().map(|cell| guarded(cell)))
            .expect("every line has as many cells as the header, and memory takes them");
    }
    csv.into_inner().expect("memory takes what is left")
}

fn cells(user: &UserRow) -> [String; HEADER.len()] {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let roles: Vec<&str> = user.roles.iter().map(|(name, _)| name.as_str()).collect();
    let (organization_id, organization) = user
        .organization
        .as_ref()
        .map_or_else(Default::default, |(id, name)| (id.to_string(), name.clone()));
    let (source, external_id) = user
        .link
        .as_ref()
        .map_or_else(Default::default, |(source, id)| (source.to_string(), id.to_string()));
    [
        user.id.to_string(),
        user.kind.clone(),
        user.email.clone(),
        text(&user.first_name),
        text(&user.last_name),
        text(&user.phone),
        text(&user.title),
        organization,
        organization_id,
        text(&user.license),
        user.billable.map(|b| b.to_string()).unwrap_or_default(),
        user.status.clone(),
        text(&user.disabled_by),
        roles.join(";"),
        source,
        external_id,
        user.attributes.to_string(),
        user.created_at.to_string(),
        user.updated_at.to_string(),
    ]
}

/// A cell that a spreadsheet shows as text, whatever it begins with (OWASP, "CSV Injection").
fn guarded(cell: &str) -> String {
    let risky = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    if cell.starts_with(risky) {
        format!("'{cell}")
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for bad in ["=1+1", "+1 555 0100", "-2", "@SUM(A1)", "\tx", "\rx", "＝1"] {
            assert_eq!(guarded(bad), format!("'{bad}"));
        }
        for good in ["", "a=b", "'=1", "ada@x.example", "{}"] {
            assert_eq!(guarded(good), good);
        }
    }
}
