//! The programs that tools may run: those that came with the binary, and those of a folder that the operator names. Each of
//! its folders is a program by the folder's name, and a `program.toml` in it says what it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format as _, Toml};
use serde::Deserialize;
use vivarium_sandbox::{InstalledProgram, ProgramCode};

use crate::host::StartError;
use crate::plugins::embedded_programs;

/// The file that makes a folder a program.
const FILE: &str = "program.toml";

/// A program's folder, as its `program.toml` has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    /// What it is, in one line.
    description: String,
    /// The WASI command, within the folder.
    file: PathBuf,
    /// Arguments that come before those of a call.
    #[serde(default)]
    arguments: Vec<String>,
    /// Variables.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// Folders within the folder that the program sees, to read: by the name that it sees each under.
    #[serde(default)]
    mounts: BTreeMap<String, PathBuf>,
}

/// All programs, the operator's in the place of ours of the same name.
pub(crate) fn programs(folder: Option<&Path>) -> Result<Vec<InstalledProgram>, StartError> {
    let mut programs: BTreeMap<String, InstalledProgram> = BTreeMap::new();
    for (name, bytes) in embedded_programs() {
        let description = match name {
            "javascript" => "JavaScript (ECMAScript modules), by the engine Boa",
            _ => "a program that came with Vivarium",
        };
        let program = InstalledProgram {
            name: name.to_owned(),
            description: description.to_owned(),
            code: ProgramCode::Embedded(bytes),
            arguments: Vec::new(),
            environment: Vec::new(),
            mounts: Vec::new(),
        };
        programs.insert(name.to_owned(), program);
    }
    let Some(folder) = folder else { return Ok(programs.into_values().collect()) };
    let unreadable = |error: std::io::Error| failed(folder, format!("the folder of programs can not be read: {error}"));
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.join(FILE).is_file() {
            let program = read(&path).map_err(|reason| failed(&path, reason))?;
            programs.insert(program.name.clone(), program);
        }
    }
    Ok(programs.into_values().collect())
}

fn failed(path: &Path, reason: String) -> StartError {
    StartError::Program { folder: path.display().to_string(), reason }
}

fn read(folder: &Path) -> Result<InstalledProgram, String> {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let fits = matches!(name.len(), 1..=64)
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_' || b == b'.');
    if !fits {
        return Err(format!("a program's folder has a name of 1 to 64 of a-z, 0-9, '-', '_' and '.', not {name:?}"));
    }
    let described = Figment::from(Toml::file_exact(folder.join(FILE))).extract::<Description>();
    let described = described.map_err(|error| format!("{FILE}: {error}"))?;
    let code = folder.join(&described.file);
    if !code.is_file() {
        return Err(format!("{FILE}: `file` names {}, which is not there", code.display()));
    }
    let mut mounts = Vec::new();
    for (seen, path) in described.mounts {
        let path = folder.join(path);
        if !path.is_dir() {
            return Err(format!("{FILE}: the mount {seen} names {}, which is no folder", path.display()));
        }
        mounts.push((seen, path));
    }
    Ok(InstalledProgram {
        name: name.to_owned(),
        description: described.description,
        code: ProgramCode::File(code),
        arguments: described.arguments,
        environment: described.environment.into_iter().collect(),
        mounts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, toml: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(name);
        fs::create_dir(&program).unwrap();
        fs::write(program.join(FILE), toml).unwrap();
        programs(Some(folder.path())).unwrap_err().to_string()
    }

    #[test]
    fn a_folder_with_a_description_is_a_program_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("python");
        fs::create_dir_all(program.join("lib")).unwrap();
        fs::create_dir(folder.path().join("no-program")).unwrap();
        fs::write(program.join("python.wasm"), b"\0asm").unwrap();
        let toml = "description = 'CPython'\nfile = 'python.wasm'\narguments = ['-I']\n[environment]\nA = 'b'\n[mounts]\n'/lib' = 'lib'";
        fs::write(program.join(FILE), toml).unwrap();
        let found = programs(Some(folder.path())).unwrap();
        let python = found.iter().find(|program| program.name == "python").unwrap();
        assert_eq!(python.arguments, ["-I"]);
        assert_eq!(python.environment, [("A".to_owned(), "b".to_owned())]);
        assert_eq!(python.mounts, [("/lib".to_owned(), program.join("lib"))]);
        assert!(!found.iter().any(|program| program.name == "no-program"));
    }

    #[test]
    fn what_is_wrong_with_a_program_is_said_with_its_folder() {
        assert!(told("p", "description = 'd'\nfile = 'p.wasm'").contains("p.wasm, which is not there"));
        assert!(told("p", "description = 'd'").contains("file"));
        assert!(told("p", "description = 'd'\nfile = 'p.wasm'\nnetwork = true").contains("network"));
        assert!(told("No Name", "description = 'd'\nfile = 'p.wasm'").contains("a-z"));
    }
}
