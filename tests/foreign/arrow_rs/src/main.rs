//! Prints the rows that the Arrow library for Rust finds in a memory_map backup.
//!
//!     arrow_rs_rows file PATH      as an Arrow file
//!     arrow_rs_rows stream PATH    as an Arrow stream, from byte 8 on
//!
//! The first line has the factors' names; each further one a row: date, code, timestamp, status and
//! factors with tabs between, codes as hexadecimal bytes, factors as hexadecimal words, '-' for null.
//! Where reading fails, all whole batches were printed before, and the exit status is 3.

use std::error::Error;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom, Write};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType, UInt8Type};
use arrow_array::{Array, RecordBatch};
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, Schema};

const FIXED: usize = 4;

fn check_schema(schema: &Schema) -> Result<(), Box<dyn Error>> {
    let types: Vec<String> = schema.fields().iter().map(|f| f.data_type().to_string()).collect();
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).take(FIXED).collect();
    if names != ["date", "code", "timestamp", "status"]
        || types[..2] != ["Int64", "Utf8"]
        || !types[2].starts_with("Timestamp")
        || types[3] != "UInt8"
        || types[FIXED..].iter().any(|t| t != "Float64")
    {
        return Err(format!("unexpected schema: {names:?} {types:?}").into());
    }
    Ok(())
}

fn put_row(out: &mut String, batch: &RecordBatch, row: usize) -> Result<(), Box<dyn Error>> {
    write!(out, "{}\t", batch.column(0).as_primitive::<Int64Type>().value(row))?;
    for byte in batch.column(1).as_string::<i32>().value(row).bytes() {
        write!(out, "{byte:02x}")?;
    }
    let timestamps = batch.column(2).as_primitive::<TimestampMicrosecondType>();
    let statuses = batch.column(3).as_primitive::<UInt8Type>();
    write!(out, "\t{}\t{}", timestamps.value(row), statuses.value(row))?;
    for column in &batch.columns()[FIXED..] {
        if column.is_null(row) {
            out.push_str("\t-");
        } else {
            let value = column.as_primitive::<Float64Type>().value(row);
            write!(out, "\t{:016x}", value.to_bits())?;
        }
    }
    out.push('\n');
    Ok(())
}

fn print(
    schema: &Schema,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
) -> Result<(), Box<dyn Error>> {
    check_schema(schema)?;
    let names: Vec<&str> = schema.fields()[FIXED..].iter().map(|f| f.name().as_str()).collect();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", names.join("\t"))?;
    for batch in batches {
        let batch = batch?;
        let mut lines = String::new();
        for row in 0..batch.num_rows() {
            put_row(&mut lines, &batch, row)?;
        }
        out.write_all(lines.as_bytes())?;
    }
    Ok(())
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [_, kind, path] = arguments else {
        return Err("usage: arrow_rs_rows file|stream PATH".into());
    };
    let mut file = File::open(path)?;
    if kind == "stream" {
        file.seek(SeekFrom::Start(8))?;
        let reader = StreamReader::try_new(BufReader::new(file), None)?;
        print(&reader.schema(), reader)
    } else {
        let reader = FileReader::try_new(BufReader::new(file), None)?;
        print(&reader.schema(), reader)
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Err(error) = run(&arguments) {
        eprintln!("{error}");
        std::process::exit(3);
    }
}
