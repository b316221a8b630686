//! Looks into `plugins/dist` and lists what is there, so that one binary holds the first-party plugins. It builds
//! nothing: `cargo xtask` does that, before the host.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let dist = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../plugins/dist");
    // Cargo looks at the folder itself too: a plugin that comes or goes is noticed.
    println!("cargo::rerun-if-changed={}", dist.display());
    let mut list = String::from("&[\n");
    for component in components(&dist)? {
        println!("cargo::rerun-if-changed={}", component.display());
        let name = component.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let path = component.to_str().ok_or("the path of plugins/dist is not UTF-8")?;
        writeln!(list, "    ({name:?}, include_bytes!({path:?}) as &[u8]),")?;
    }
    list.push(']');
    fs::write(Path::new(&env::var("OUT_DIR")?).join("plugins.rs"), list)?;
    Ok(())
}

/// The components, by name; none where the folder is not there.
fn components(dist: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    if !dist.is_dir() {
        return Ok(Vec::new());
    }
    let dist = dist.canonicalize()?;
    let mut found = Vec::new();
    for entry in fs::read_dir(dist)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
