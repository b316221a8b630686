//! What the prelude stands on: output, files, clock and the way out. An error of the system is thrown as a text that begins with
//! its code, such as `ENOENT`; the prelude makes of it what a program expects.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use boa_engine::object::builtins::{JsArray, JsUint8Array};
use boa_engine::{Context, JsArgs as _, JsError, JsNativeError, JsResult, JsValue, NativeFunction, js_string};

use crate::kind;
use crate::loader::absolute;

#[cfg(target_arch = "wasm32")]
#[allow(missing_docs, unreachable_pub, unsafe_code, reason = "generated")]
#[allow(clippy::all, clippy::unwrap_used, clippy::indexing_slicing, reason = "generated")]
mod wasi {
    wit_bindgen::generate!({
        path: "../../../wit/0.1.0",
        inline: "
            package vivarium:program-javascript;
            world exiting { import wasi:cli/exit@0.2.12; }
        ",
        world: "vivarium:program-javascript/exiting",
        generate_all,
    });
}

type Native = fn(&JsValue, &[JsValue], &mut Context) -> JsResult<JsValue>;

/// The functions, by the names that the prelude knows, with the number of their arguments.
const NATIVES: [(&str, usize, Native); 17] = [
    ("__write", 2, write),
    ("__read", 2, read),
    ("__save", 3, save),
    ("__stat", 1, stat),
    ("__list", 1, list),
    ("__mkdir", 1, mkdir),
    ("__rmdir", 1, rmdir),
    ("__unlink", 1, unlink),
    ("__rename", 2, rename),
    ("__stdin", 0, stdin),
    ("__now", 0, now),
    ("__environment", 0, environment),
    ("__exit", 1, leave),
    ("__parse", 2, parse),
    ("__isModule", 1, is_module),
    ("__testing", 0, testing),
    ("__mocks", 0, mocks),
];

pub(crate) fn register(context: &mut Context) -> JsResult<()> {
    for (name, length, native) in NATIVES {
        context.register_global_callable(js_string!(name), length, NativeFunction::from_fn_ptr(native))?;
    }
    Ok(())
}

/// Writes to standard error. Nobody can be told where that fails.
pub(crate) fn tell(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Waits for so many milliseconds.
pub(crate) fn sleep(millis: f64) {
    if let Ok(time) = Duration::try_from_secs_f64(millis / 1000.0) {
        std::thread::sleep(time);
    }
}

/// Ends the program. WASI's own `exit` of the C library knows success and failure only.
pub(crate) fn exit(code: u8) -> ! {
    let _ = io::stdout().flush();
    #[cfg(target_arch = "wasm32")]
    wasi::wasi::cli::exit::exit_with_code(code);
    std::process::exit(i32::from(code))
}

fn failed(error: &io::Error) -> JsError {
    let code = match error.kind() {
        io::ErrorKind::NotFound => "ENOENT",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "EACCES",
        io::ErrorKind::AlreadyExists => "EEXIST",
        io::ErrorKind::NotADirectory => "ENOTDIR",
        io::ErrorKind::IsADirectory => "EISDIR",
        io::ErrorKind::DirectoryNotEmpty => "ENOTEMPTY",
        io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull => "EDQUOT",
        io::ErrorKind::InvalidInput => "EINVAL",
        _ => "EIO",
    };
    JsNativeError::error().with_message(format!("{code}: {error}")).into()
}

fn text(arguments: &[JsValue], index: usize, context: &mut Context) -> JsResult<String> {
    Ok(arguments.get_or_undefined(index).to_string(context)?.to_std_string_lossy())
}

fn path(arguments: &[JsValue], context: &mut Context) -> JsResult<std::path::PathBuf> {
    Ok(absolute(&text(arguments, 0, context)?))
}

/// The bytes of a `Uint8Array`, or of a text in UTF-8.
fn bytes(value: &JsValue, context: &mut Context) -> JsResult<Vec<u8>> {
    match value.as_object().and_then(|object| JsUint8Array::from_object(object.clone()).ok()) {
        Some(array) => Ok(array.iter(context).collect()),
        None => Ok(value.to_string(context)?.to_std_string_lossy().into_bytes()),
    }
}

/// `__write(1 or 2, text)`
fn write(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let to = arguments.get_or_undefined(0).to_i32(context)?;
    let content = bytes(arguments.get_or_undefined(1), context)?;
    let written = if to == 2 { io::stderr().write_all(&content) } else { io::stdout().write_all(&content) };
    written.map(|()| JsValue::undefined()).map_err(|error| failed(&error))
}

/// `__read(path, asText)`
fn read(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let content = fs::read(path(arguments, context)?).map_err(|error| failed(&error))?;
    content_value(content, arguments.get_or_undefined(1).to_boolean(), context)
}

/// `__stdin(asText)`
fn stdin(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let mut content = Vec::new();
    io::stdin().read_to_end(&mut content).map_err(|error| failed(&error))?;
    content_value(content, arguments.get_or_undefined(0).to_boolean(), context)
}

fn content_value(content: Vec<u8>, as_text: bool, context: &mut Context) -> JsResult<JsValue> {
    if as_text {
        Ok(js_string!(String::from_utf8_lossy(&content).as_ref()).into())
    } else {
        Ok(JsUint8Array::from_iter(content, context)?.into())
    }
}

/// `__save(path, content, append)`
fn save(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let path = path(arguments, context)?;
    let content = bytes(arguments.get_or_undefined(1), context)?;
    let append = arguments.get_or_undefined(2).to_boolean();
    let file = OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(path);
    let saved = file.and_then(|mut file| file.write_all(&content));
    saved.map(|()| JsValue::undefined()).map_err(|error| failed(&error))
}

/// `__stat(path)`: [whether it is a folder, bytes, milliseconds since 1970].
fn stat(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let metadata = fs::metadata(path(arguments, context)?).map_err(|error| failed(&error))?;
    let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let changed = changed.map_or(0.0, |time| time.as_secs_f64() * 1000.0);
    #[expect(clippy::cast_precision_loss, reason = "JavaScript has no other numbers")]
    let values = [metadata.is_dir().into(), JsValue::from(metadata.len() as f64), changed.into()];
    Ok(JsArray::from_iter(values, context).into())
}

/// `__list(path)`: the names in a folder, in order.
fn list(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let entries = fs::read_dir(path(arguments, context)?).map_err(|error| failed(&error))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(|error| failed(&error))?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(JsArray::from_iter(names.into_iter().map(|name| js_string!(name).into()), context).into())
}

fn mkdir(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    fs::create_dir(path(arguments, context)?).map(|()| JsValue::undefined()).map_err(|error| failed(&error))
}

fn rmdir(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    fs::remove_dir(path(arguments, context)?).map(|()| JsValue::undefined()).map_err(|error| failed(&error))
}

fn unlink(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    fs::remove_file(path(arguments, context)?).map(|()| JsValue::undefined()).map_err(|error| failed(&error))
}

fn rename(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let (from, to) = (path(arguments, context)?, absolute(&text(arguments, 1, context)?));
    fs::rename(from, to).map(|()| JsValue::undefined()).map_err(|error| failed(&error))
}

/// Milliseconds since 1970, with their fractions.
fn now(_: &JsValue, _: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok((since.as_secs_f64() * 1000.0).into())
}

/// `[name, value, name, value, …]`
fn environment(_: &JsValue, _: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let texts = std::env::vars().flat_map(|(name, value)| [name, value]);
    Ok(JsArray::from_iter(texts.map(|text| js_string!(text).into()), context).into())
}

fn leave(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let code = arguments.get_or_undefined(0).to_i32(context)?;
    exit((code & 0xff) as u8)
}

/// `__parse(code)`: a function of (module, exports, require, __filename, __dirname) with this body.
fn parse(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let (code, name) = (text(arguments, 0, context)?, text(arguments, 1, context)?);
    let wrapped = kind::wrapped(&code);
    let source = boa_engine::Source::from_reader(wrapped.as_bytes(), Some(std::path::Path::new(&name)));
    context.eval(source)
}

/// `__isModule(code)`: what is no CommonJS module is an ECMAScript one.
fn is_module(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    Ok(kind::is_module(&text(arguments, 0, context)?).into())
}

/// `__testing()`: what makes the functions of tests.
fn testing(_: &JsValue, _: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    context.eval(boa_engine::Source::from_bytes(include_str!("testing.js")))
}

/// `__mocks()`: what makes the functions that note their calls.
fn mocks(_: &JsValue, _: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    context.eval(boa_engine::Source::from_bytes(include_str!("mocks.js")))
}
