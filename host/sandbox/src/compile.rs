//! From a component's bytes to machine code, once: the compiled form is kept on disk under the component's digest and the
//! engine's fingerprint (its version and settings), and mapped into memory when it is there.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest as _, Sha256};
use vivarium_domain::ContentHash;
use vivarium_sight::metric;
use wasmtime::component::Component;

use crate::LoadError;
use crate::adapt::as_component;
use crate::compiler::{Compiler, CompilerProcess};
use crate::engine::PooledEngine;

/// What is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A plugin: a component.
    Plugin,
    /// A program that the operator has installed: a command of either kind.
    Program,
    /// A program of a workspace. Nobody removes it from the cache, so only those that were used last stay there.
    File {
        /// The processor time that compiling it may take.
        compile_time: Duration,
    },
}

impl Form {
    /// What the names of its files begin with.
    fn prefix(self) -> &'static str {
        match self {
            Self::Plugin => "",
            Self::Program => "program-",
            Self::File { .. } => "file-",
        }
    }
}

/// How many programs of workspaces stay in the cache, and how many bytes.
const MAX_FILES: usize = 64;
const MAX_FILES_BYTES: u64 = 512 << 20;

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

    fn path(&self, engine: &PooledEngine, digest: ContentHash, form: Form) -> Option<PathBuf> {
        let name = format!("{}{digest}-{:016x}.cwasm", form.prefix(), engine.fingerprint());
        self.folder.as_ref().map(|folder| folder.join(name))
    }

    /// A compiled form is there. Whether it is whole, loading it shows.
    pub(crate) fn keeps(&self, engine: &PooledEngine, digest: ContentHash) -> bool {
        self.path(engine, digest, Form::Plugin).is_some_and(|path| hash_path(&path).is_file())
    }

    /// Removes a compiled form. What is mapped stays mapped.
    pub(crate) fn forget(&self, engine: &PooledEngine, digest: ContentHash) {
        let Some(path) = self.path(engine, digest, Form::Plugin) else { return };
        remove(&path);
    }

    /// The component, compiled now or earlier.
    pub(crate) fn load(
        &self,
        engine: &PooledEngine,
        digest: ContentHash,
        bytes: &[u8],
        form: Form,
    ) -> Result<Component, LoadError> {
        let path = self.path(engine, digest, form);
        if let Some(component) = path.as_deref().and_then(|path| read(engine, path)) {
            if let (Some(path), Form::File { .. }) = (&path, form) {
                // Where it can not be marked as used it goes sooner.
                let _ = fs::File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
            }
            return Ok(component);
        }
        let began = Instant::now();
        let compiled = self.compile(engine, path, bytes, form);
        if let (Some(folder), Form::File { .. }) = (&self.folder, form) {
            prune(folder);
        }
        let outcome = if compiled.is_ok() { "ok" } else { "error" };
        metric::COMPILE_DURATION.took(began.elapsed(), &[("outcome", outcome)]);
        compiled
    }

    fn compile(
        &self,
        engine: &PooledEngine,
        path: Option<PathBuf>,
        bytes: &[u8],
        form: Form,
    ) -> Result<Component, LoadError> {
        if let (Some(path), Compiler::Process(compiler)) = (&path, &self.compiler) {
            match form {
                Form::File { compile_time } => {
                    let cpu = compiler.cpu.min(compile_time);
                    compile_aside(&CompilerProcess { cpu, ..compiler.clone() }, path, bytes)?;
                }
                Form::Plugin | Form::Program => compile_aside(compiler, path, bytes)?,
            }
            let unreadable = || LoadError::Engine("what the compiler has made does not fit this engine".to_owned());
            return read(engine, path).ok_or_else(unreadable);
        }
        let bytes = as_component(bytes).map_err(LoadError::NotAComponent)?;
        let component = Component::from_binary(&engine.engine, &bytes)
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

/// Removes a compiled form and its hash.
fn remove(path: &Path) {
    for file in [hash_path(path).as_path(), path] {
        match fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %file.display(), %error, "a compiled component could not be removed");
            }
            _ => {}
        }
    }
}

/// Removes the compiled forms of workspaces' programs that were not used for longest, down to the bounds. What is mapped stays
/// mapped, and what is wanted again is compiled again.
fn prune(folder: &Path) {
    let is_of_a_file = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("file-") && name.ends_with(".cwasm")
    };
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut forms: Vec<(SystemTime, u64, PathBuf)> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_of_a_file(path))
        .filter_map(|path| {
            let metadata = fs::metadata(&path).ok()?;
            Some((metadata.modified().ok()?, metadata.len(), path))
        })
        .collect();
    forms.sort_by_key(|form| std::cmp::Reverse(form.0));
    let mut bytes = 0_u64;
    for (number, (_, size, path)) in forms.iter().enumerate() {
        bytes = bytes.saturating_add(*size);
        if number >= MAX_FILES || bytes > MAX_FILES_BYTES {
            remove(path);
        }
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
