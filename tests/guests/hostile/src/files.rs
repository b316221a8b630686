//! Out of the folder, and over its quota.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};

use serde_json::{Value, json};

use crate::wasi::filesystem::preopens::get_directories;
use crate::wasi::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};
use crate::{Outcome, Wish};

pub(crate) fn attack(name: &str, wish: &Wish) -> Option<Outcome> {
    let (path, to) = (wish.text("path"), wish.text("to"));
    let done = |result: std::io::Result<()>| result.map(|()| Value::Null).map_err(|error| error.to_string());
    Some(match name {
        "read" => fs::read_to_string(path).map(|text| json!(text)).map_err(|error| error.to_string()),
        "write" => done(fs::write(path, wish.text("text"))),
        "list" => list(path).map_err(|error| error.to_string()),
        "folder" => done(fs::create_dir_all(path)),
        "rename" => done(fs::rename(path, to)),
        "remove" => done(fs::remove_file(path)),
        "hard link" => done(fs::hard_link(path, to)),
        "sparse" => done(File::create(path).and_then(|file| file.set_len(wish.number("bytes")))),
        "far" => done(far(path, wish.number("bytes"))),
        "fill" => Ok(fill(path, wish.number("bytes"))),
        "many" => Ok(many(path, wish.number("times"))),
        "open" => Ok(open(path, wish.number("times"))),
        "raw open" => raw_open(path),
        "symbolic link" => symbolic_link(path, to),
        _ => return None,
    })
}

fn list(path: &str) -> std::io::Result<Value> {
    let names: std::io::Result<Vec<_>> =
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect();
    Ok(json!(names?))
}

/// One byte, far behind the file's end.
fn far(path: &str, at: u64) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(b"x")?;
    file.flush()
}

/// Bytes up to this number, and what ended it.
fn fill(path: &str, most: u64) -> Value {
    let chunk = [7_u8; 16 << 10];
    let mut written = 0;
    let mut file = match File::create(path) {
        Ok(file) => file,
        Err(error) => return json!({"written": 0, "error": error.to_string()}),
    };
    while written < most {
        match file.write(&chunk) {
            Ok(more) => written += more as u64,
            Err(error) => return json!({"written": written, "error": error.to_string()}),
        }
    }
    json!({"written": written})
}

/// Empty files up to this number, and what ended it.
fn many(prefix: &str, most: u64) -> Value {
    for number in 0..most {
        if let Err(error) = File::create(format!("{prefix}{number}")) {
            return json!({"made": number, "error": error.to_string()});
        }
    }
    json!({"made": most})
}

/// Opens the same file up to this number of times at once, and what ended it.
fn open(path: &str, most: u64) -> Value {
    let mut files = Vec::new();
    for number in 0..most {
        match File::open(path) {
            Ok(file) => files.push(file),
            Err(error) => return json!({"open": number, "error": error.to_string()}),
        }
    }
    json!({"open": most})
}

/// A path as it is, past the C library, which takes `..` apart by itself.
fn raw_open(path: &str) -> Outcome {
    let mut told = Vec::new();
    for (folder, _) in get_directories() {
        let opened = folder.open_at(PathFlags::SYMLINK_FOLLOW, path, OpenFlags::empty(), DescriptorFlags::READ);
        match opened {
            Ok(file) => match file.read(1000, 0) {
                Ok((bytes, _)) => return Ok(json!(String::from_utf8_lossy(&bytes))),
                Err(error) => told.push(format!("read: {error:?}")),
            },
            Err(error) => told.push(format!("{error:?}")),
        }
    }
    Err(if told.is_empty() { "no folder".to_owned() } else { told.join(", ") })
}

fn symbolic_link(path: &str, to: &str) -> Outcome {
    let Some((folder, _)) = get_directories().into_iter().next() else { return Err("no folder".to_owned()) };
    folder.symlink_at(to, path).map(|()| Value::Null).map_err(|error| format!("{error:?}"))
}
