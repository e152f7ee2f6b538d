//! A checksum beside the columns of every row, so that a bit that has flipped on the disk is found
//! and never answered. SQLite computes it by a function of ours whenever a row is written
//! (a stored generated column); whoever reads a row compares.

use std::fmt;

use rusqlite::{
    Connection, Row,
    functions::FunctionFlags,
    types::{Type, ValueRef},
};

/// The name of the column, always the last one that is read.
pub(crate) const COLUMN: &str = "row_sum";

/// Teaches a connection the function that the tables are declared with.
pub(crate) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("crc_of", -1, flags, |context| {
        let mut sum = crc32fast::Hasher::new();
        (0..context.len()).for_each(|column| add(&mut sum, context.get_raw(column)));
        Ok(i64::from(sum.finalize()))
    })
}

/// The declaration of the column in a table whose other columns are these.
pub(crate) fn declared(columns: &str) -> String {
    format!("{COLUMN} INTEGER GENERATED ALWAYS AS (crc_of({columns})) STORED")
}

/// Compares the first `columns` of a row with the sum that stands behind them.
pub(crate) fn check(row: &Row<'_>, columns: usize) -> rusqlite::Result<()> {
    let mut sum = crc32fast::Hasher::new();
    for column in 0..columns {
        add(&mut sum, row.get_ref(column)?);
    }
    let stored: i64 = row.get(columns)?;
    if stored == i64::from(sum.finalize()) {
        return Ok(());
    }
    Err(rusqlite::Error::FromSqlConversionFailure(columns, Type::Integer, Box::new(Mismatch)))
}

/// The type and length go in too, so that no two rows of the same bytes are alike.
fn add(sum: &mut crc32fast::Hasher, value: ValueRef<'_>) {
    let (kind, bytes): (u8, &[u8]) = match value {
        ValueRef::Null => (0, &[]),
        ValueRef::Integer(number) => {
            sum.update(&[1]);
            return sum.update(&number.to_be_bytes());
        }
        ValueRef::Real(number) => {
            sum.update(&[2]);
            return sum.update(&number.to_be_bytes());
        }
        ValueRef::Text(text) => (3, text),
        ValueRef::Blob(bytes) => (4, bytes),
    };
    sum.update(&[kind]);
    sum.update(&(bytes.len() as u64).to_be_bytes());
    sum.update(bytes);
}

/// A row is not what was written.
#[derive(Debug)]
struct Mismatch;

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row does not agree with its checksum")
    }
}

impl std::error::Error for Mismatch {}
