//! Puts the first-party plugins into the binary. They are built by `cargo xtask guests`, not here: another target, another
//! workspace, sometimes another compiler. Where they are missing, the binary says so when it starts.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = Path::new("../../plugins/dist").to_owned();
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut components: Vec<PathBuf> = match fs::read_dir(&folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    components.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    components.sort();
    let mut list = String::from("&[");
    for path in components {
        println!("cargo::rerun-if-changed={}", path.display());
        let absolute = fs::canonicalize(&path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        list.push_str(&format!("({name:?}, include_bytes!({:?})),", absolute.display().to_string()));
    }
    list.push(']');
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&out).join("plugins.rs"), list)
}
