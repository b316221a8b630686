//! From a component's bytes to machine code, once: the compiled form is kept on disk under the component's digest and the
//! engine's fingerprint (its version and settings), and mapped into memory when it is there.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sha2::{Digest as _, Sha256};
use vivarium_domain::ContentHash;
use vivarium_sight::metric;
use wasmtime::component::Component;

use crate::LoadError;
use crate::compiler::{Compiler, CompilerProcess};
use crate::engine::PooledEngine;

/// The folder of compiled forms. Whoever can write to it can run code in the host, so it is made for its owner alone.
#[derive(Debug, Clone)]
pub(crate) struct CompileCache {
    folder: Option<PathBuf>,
    compiler: Compiler,
}

impl CompileCache {
    /// A cache in `folder`, which is made if need be; none: nothing is kept.
    pub(crate) fn new(folder: Option<PathBuf>, compiler: Compiler) -> Result<Self, LoadError> {
        if let Some(folder) = &folder {
            make_private_folder(folder)
                .map_err(|error| LoadError::Engine(format!("the cache folder {}: {error}", folder.display())))?;
        }
        Ok(Self { folder, compiler })
    }

    fn path(&self, engine: &PooledEngine, digest: ContentHash) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(format!("{digest}-{:016x}.cwasm", engine.fingerprint())))
    }

    /// A compiled form is there. Whether it is whole, loading it shows.
    pub(crate) fn keeps(&self, engine: &PooledEngine, digest: ContentHash) -> bool {
        self.path(engine, digest).is_some_and(|path| hash_path(&path).is_file())
    }

    /// Removes a compiled form. What is mapped stays mapped.
    pub(crate) fn forget(&self, engine: &PooledEngine, digest: ContentHash) {
        let Some(path) = self.path(engine, digest) else { return };
        for file in [hash_path(&path), path] {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(path = %file.display(), %error, "a compiled component could not be removed");
                }
                _ => {}
            }
        }
    }

    /// The component, compiled now or earlier.
    pub(crate) fn load(
        &self,
        engine: &PooledEngine,
        digest: ContentHash,
        bytes: &[u8],
    ) -> Result<Component, LoadError> {
        let path = self.path(engine, digest);
        if let Some(component) = path.as_deref().and_then(|path| read(engine, path)) {
            return Ok(component);
        }
        let began = Instant::now();
        let compiled = self.compile(engine, path, bytes);
        let outcome = if compiled.is_ok() { "ok" } else { "error" };
        metric::COMPILE_DURATION.took(began.elapsed(), &[("outcome", outcome)]);
        compiled
    }

    fn compile(&self, engine: &PooledEngine, path: Option<PathBuf>, bytes: &[u8]) -> Result<Component, LoadError> {
        if let (Some(path), Compiler::Process(compiler)) = (&path, &self.compiler) {
            compile_aside(compiler, path, bytes)?;
            let unreadable = || LoadError::Engine("what the compiler has made does not fit this engine".to_owned());
            return read(engine, path).ok_or_else(unreadable);
        }
        let component = Component::from_binary(&engine.engine, bytes)
            .map_err(|error| LoadError::NotAComponent(format!("{error:#}")))?;
        if let Some(path) = &path {
            let written = component.serialize().map_err(std::io::Error::other).and_then(|code| write(path, &code));
            if let Err(error) = written {
                // The component works without it; the next start is slower.
                tracing::warn!(path = %path.display(), %error, "a compiled component could not be kept");
            }
        }
        Ok(component)
    }
}

/// Lets another process compile, in files beside the one that is wanted.
fn compile_aside(compiler: &CompilerProcess, path: &Path, bytes: &[u8]) -> Result<(), LoadError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let (input, output) =
        (path.with_extension(format!("{number}.wasm.tmp")), path.with_extension(format!("{number}.tmp")));
    let failed = |error: std::io::Error| LoadError::Engine(format!("the cache of compiled forms: {error}"));
    let done = fs::write(&input, bytes).map_err(failed).and_then(|()| {
        compiler.compile(&input, &output)?;
        let hash = hash_of_file(&output).map_err(failed)?;
        fs::File::open(&output).and_then(|file| file.sync_all()).map_err(failed)?;
        // The form first: a form without its hash is compiled anew, a hash without its form is not looked at.
        fs::rename(&output, path).map_err(failed)?;
        write_whole(&hash_path(path), hash.to_string().as_bytes()).map_err(failed)
    });
    for litter in [&input, &output] {
        // What is not there needs no removing; what can not be removed is litter and no harm.
        let _ = fs::remove_file(litter);
    }
    done
}

fn make_private_folder(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Next to each compiled form stands its SHA-256: a file that was torn or rotted is compiled anew, not run.
fn hash_path(path: &Path) -> PathBuf {
    path.with_extension("sha256")
}

fn read(engine: &PooledEngine, path: &Path) -> Option<Component> {
    let expected: ContentHash = fs::read_to_string(hash_path(path)).ok()?.trim().parse().ok()?;
    if hash_of_file(path).ok()? != expected {
        tracing::warn!(path = %path.display(), "a compiled component in the cache is damaged and is compiled anew");
        return None;
    }
    #[expect(unsafe_code, reason = "the only way to load compiled code; see the SAFETY comment")]
    // SAFETY: `deserialize_file` demands a file that `serialize` of a compatible engine made and that nobody changes while
    // it is mapped. It stands in a folder that only the host's user can write, under a name that holds the engine's
    // fingerprint; it has the hash that was written down when it was made; the host itself only ever replaces such files by
    // rename, which leaves the mapped one alone; and wasmtime checks its version and settings once more.
    let loaded = unsafe { Component::deserialize_file(&engine.engine, path) };
    match loaded {
        Ok(component) => Some(component),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a compiled component in the cache does not fit and is compiled anew");
            None
        }
    }
}

/// In pieces: the file is mapped afterwards, so its bytes need not be in memory twice.
fn hash_of_file(path: &Path) -> std::io::Result<ContentHash> {
    let mut hasher = Sha256::new();
    std::io::copy(&mut fs::File::open(path)?, &mut hasher)?;
    Ok(<[u8; 32]>::from(hasher.finalize()).into())
}

fn write(path: &Path, code: &[u8]) -> std::io::Result<()> {
    write_whole(path, code)?;
    write_whole(&hash_path(path), ContentHash::of(code).to_string().as_bytes())
}

/// Other processes see the old file or the new one, never a part.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}
