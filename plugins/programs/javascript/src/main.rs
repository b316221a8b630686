//! JavaScript as a program of the sandbox: `javascript -e CODE …`, `javascript FILE …`, or `javascript --test [FILE …]`. The code is an
//! ECMAScript module, or a CommonJS one; what it has besides the language is in `prelude.js` and the files that it stands on,
//! and, where it has tests, in `testing.js` and `mocks.js`, over the few functions of `natives.rs`.
//!
//! It exits with what the code exits with: 0 at its end, 1 where a test fails or an error is not caught, which is told on standard
//! error.

mod kind;
mod loader;
mod natives;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use boa_engine::builtins::promise::{OperationType, Promise, PromiseState};
use boa_engine::context::HostHooks;
use boa_engine::object::JsObject;
use boa_engine::object::builtins::JsPromise;
use boa_engine::{Context, JsError, JsResult, JsValue, Module, Source, js_string};

use crate::loader::Workspace;

/// What a program's own file is called where the code is given as text.
const MAIN: &str = "/main.mjs";

/// A program that runs the test files that its arguments name, or all that there are.
const TESTS: &str = "await __testFiles((path) => import(path));";

/// How many lines are shown of an error of the engine's own, which is mostly a row of the same frame.
const MAX_FRAMES: usize = 10;

/// How deep calls may go, and how many values they may hold together.
const MAX_RECURSION: usize = 10_000;
const MAX_STACK: usize = 1 << 20;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().unwrap_or_default();
    let code = match first.as_str() {
        "-e" => {
            let code = arguments.next().unwrap_or_default();
            run(Path::new(MAIN), &code, arguments.collect())
        }
        "--test" => run(Path::new(MAIN), TESTS, arguments.collect()),
        "" => {
            natives::tell("javascript: -e CODE, a file or --test is expected\n");
            2
        }
        file => {
            let path = loader::absolute(file);
            match std::fs::read_to_string(&path) {
                Ok(code) => run(&path, &code, arguments.collect()),
                Err(error) => {
                    natives::tell(&format!("javascript: {file} can not be read: {error}\n"));
                    2
                }
            }
        }
    };
    natives::exit(code);
}

/// Runs a module to the end of all that it has begun. Gives the exit code.
fn run(path: &Path, code: &str, arguments: Vec<String>) -> u8 {
    match evaluate(path, code, arguments) {
        Ok(code) => code,
        Err(told) => {
            natives::tell(&told);
            1
        }
    }
}

fn evaluate(path: &Path, code: &str, arguments: Vec<String>) -> Result<u8, String> {
    let loader = Rc::new(Workspace::default());
    let rejected = Rc::new(Rejections::default());
    let builder = Context::builder().module_loader(Rc::clone(&loader)).host_hooks(Rc::clone(&rejected));
    let made = builder.build();
    let mut context = made.map_err(|error| format!("javascript: the engine does not start: {error}\n"))?;
    let context = &mut context;
    context.runtime_limits_mut().set_recursion_limit(MAX_RECURSION);
    context.runtime_limits_mut().set_stack_size_limit(MAX_STACK);
    natives::register(context).map_err(|error| format!("javascript: the engine does not start: {error}\n"))?;
    let prelude = format!(
        "{}\n{}\n{}\nglobalThis.__arguments = {};\n{}",
        include_str!("assert.js"),
        include_str!("numbers.js"),
        include_str!("readline.js"),
        json_list(std::iter::once(path.display().to_string()).chain(arguments)),
        include_str!("prelude.js")
    );
    if let Err(error) = context.eval(Source::from_bytes(&prelude)) {
        return Err(format!("javascript: the prelude does not run: {error}\n"));
    }
    let common = if path == Path::new(MAIN) { kind::is_common_without_name(code) } else { kind::is_common(path, code) };
    let quoted = json_list([path.display().to_string(), code.to_owned()].into_iter());
    let code = if common { &format!("__main(...{quoted});") } else { code };
    let code = code.strip_prefix('\u{feff}').unwrap_or(code);
    let source = Source::from_reader(code.as_bytes(), Some(path));
    let module = Module::parse(source, None, context).map_err(|error| told(&error, context))?;
    loader.remember(path, module.clone());
    let promise = module.load_link_evaluate(context);
    loop {
        context.run_jobs().map_err(|error| told(&error, context))?;
        if let PromiseState::Rejected(reason) = promise.state() {
            return Err(told(&JsError::from_opaque(reason), context));
        }
        match call(context, "__nextTimer").map_err(|error| told(&error, context))?.as_number() {
            Some(wait) if wait >= 0.0 => {
                natives::sleep(wait);
                call(context, "__runTimers").map_err(|error| told(&error, context))?;
            }
            // Nothing goes on any more: time for the tests.
            _ if call(context, "__atEnd").map_err(|error| told(&error, context))?.to_boolean() => {}
            _ => break,
        }
    }
    if let Some(reason) = rejected.first() {
        return Err(told(&JsError::from_opaque(reason), context));
    }
    if matches!(promise.state(), PromiseState::Pending) {
        return Err("the program waits for a promise that nothing can settle any more\n".to_owned());
    }
    let code = call(context, "__exitCode").map_err(|error| told(&error, context))?;
    Ok(code.as_number().map_or(0, |code| (code as i64 & 0xff) as u8))
}

/// The promises that were rejected and that nobody has taken care of.
#[derive(Default)]
struct Rejections(RefCell<Vec<JsObject<Promise>>>);

impl Rejections {
    /// Why the first of them was rejected.
    fn first(&self) -> Option<JsValue> {
        let first = self.0.borrow().first()?.clone();
        match JsPromise::from_object(first.upcast()).ok()?.state() {
            PromiseState::Rejected(reason) => Some(reason),
            _ => None,
        }
    }
}

impl HostHooks for Rejections {
    fn promise_rejection_tracker(&self, promise: &JsObject<Promise>, operation: OperationType, _: &mut Context) {
        let mut rejected = self.0.borrow_mut();
        match operation {
            OperationType::Reject => rejected.push(promise.clone()),
            OperationType::Handle => rejected.retain(|known| !JsObject::equals(known, promise)),
        }
    }
}

fn call(context: &mut Context, name: &str) -> JsResult<JsValue> {
    let function = context.global_object().get(js_string!(name), context)?;
    match function.as_callable() {
        Some(function) => function.call(&JsValue::undefined(), &[], context),
        None => Ok(JsValue::undefined()),
    }
}

/// An error as a person reads it, with where it came from.
fn told(error: &JsError, context: &mut Context) -> String {
    // What is of the engine alone, such as a limit of it, is no value.
    let Ok(value) = error.clone().into_opaque(context) else {
        let (text, most) = (error.to_string(), MAX_FRAMES);
        return format!("Uncaught {}\n", text.lines().take(most).collect::<Vec<_>>().join("\n"));
    };
    let function = context.global_object().get(js_string!("__told"), context).ok();
    let text = function.as_ref().and_then(JsValue::as_callable).and_then(|function| {
        let told = function.call(&JsValue::undefined(), &[value], context).ok()?;
        Some(told.to_string(context).ok()?.to_std_string_escaped())
    });
    format!("Uncaught {}\n", text.filter(|text| !text.is_empty()).unwrap_or_else(|| error.to_string()))
}

/// Texts as a JSON list, which is JavaScript, too.
fn json_list(texts: impl Iterator<Item = String>) -> String {
    let quoted = texts.map(|text| {
        let mut quoted = String::from("\"");
        for letter in text.chars() {
            match letter {
                '"' | '\\' => quoted.extend(['\\', letter]),
                letter if (letter as u32) < 0x20 || matches!(letter, '\u{2028}' | '\u{2029}') => {
                    quoted.push_str(&format!("\\u{:04x}", letter as u32));
                }
                letter => quoted.push(letter),
            }
        }
        quoted.push('"');
        quoted
    });
    format!("[{}]", quoted.collect::<Vec<_>>().join(","))
}
