//! Modules of the workspace, and those that the prelude has: `fs`, `path`, `process` and their kin.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use boa_engine::module::{ModuleLoader, ModuleRequest, Referrer, SyntheticModuleInitializer};
use boa_engine::object::JsObject;
use boa_engine::{Context, JsNativeError, JsResult, JsString, JsValue, Module, Source, js_string};

use crate::kind;

/// What is tried where a file is not there under the name that it is imported by.
const ENDINGS: [&str; 6] = ["", ".js", ".mjs", ".json", "/index.js", "/index.mjs"];

/// A path from the root of the workspace, without `.` and `..`.
pub(crate) fn absolute(path: &str) -> PathBuf {
    let mut absolute = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => absolute.push(part),
            Component::ParentDir => {
                absolute.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    absolute
}

/// The modules that were loaded.
#[derive(Default)]
pub(crate) struct Workspace(RefCell<HashMap<PathBuf, Module>>);

impl Workspace {
    pub(crate) fn remember(&self, path: &Path, module: Module) {
        self.0.borrow_mut().insert(path.to_owned(), module);
    }

    fn load(&self, referrer: &Referrer, specifier: &JsString, context: &mut Context) -> JsResult<Module> {
        let wanted = specifier.to_std_string_escaped();
        if let Some(builtin) = builtin(&wanted, context)? {
            return Ok(builtin);
        }
        let is_path = ["./", "../", "/"].iter().any(|start| wanted.starts_with(start));
        if !is_path {
            let message = format!(
                "Cannot find package '{wanted}': packages of npm are not there; there are files of the workspace \
                 (import \"./file.js\") and fs, path, process, util, assert, events, readline, node:test, @jest/globals"
            );
            return Err(JsNativeError::error().with_message(message).into());
        }
        let folder = referrer.path().and_then(Path::parent).unwrap_or(Path::new("/"));
        let path = if wanted.starts_with('/') {
            absolute(&wanted)
        } else {
            absolute(&folder.join(&wanted).display().to_string())
        };
        for ending in ENDINGS {
            let path = PathBuf::from(format!("{}{ending}", path.display()));
            if let Some(module) = self.0.borrow().get(&path) {
                return Ok(module.clone());
            }
            let Ok(code) = std::fs::read_to_string(&path) else { continue };
            let code = code.strip_prefix('\u{feff}').unwrap_or(&code);
            let module = if path.extension().is_some_and(|extension| extension == "json") {
                Module::parse_json(js_string!(code), context)?
            } else if kind::is_common(&path, code) {
                of_value(required(&path, context)?, Some(path.clone()), context)?
            } else {
                Module::parse(Source::from_reader(code.as_bytes(), Some(&path)), None, context)?
            };
            self.remember(&path, module.clone());
            return Ok(module);
        }
        let from = referrer.path().map(|path| format!(" imported from {}", path.display())).unwrap_or_default();
        let message = format!("Cannot find module '{wanted}'{from}: {} is not in the workspace", path.display());
        Err(JsNativeError::error().with_message(message).into())
    }
}

impl ModuleLoader for Workspace {
    fn load_imported_module(
        self: Rc<Self>,
        referrer: Referrer,
        request: ModuleRequest,
        context: &RefCell<&mut Context>,
    ) -> impl Future<Output = JsResult<Module>> {
        let loaded = self.load(&referrer, request.specifier(), &mut context.borrow_mut());
        async { loaded }
    }

    fn init_import_meta(self: Rc<Self>, import_meta: &JsObject, module: &Module, context: &mut Context) {
        if let Some(path) = module.path() {
            let (path, url) = (path.display().to_string(), format!("file://{}", path.display()));
            let folder = Path::new(&path).parent().map(|folder| folder.display().to_string()).unwrap_or_default();
            for (name, value) in [("url", url), ("filename", path), ("dirname", folder)] {
                // An object that was made just now takes them.
                let _ = import_meta.create_data_property(js_string!(name), js_string!(value), context);
            }
        }
    }
}

/// A module of the prelude's.
fn builtin(name: &str, context: &mut Context) -> JsResult<Option<Module>> {
    let find = context.global_object().get(js_string!("__builtin"), context)?;
    let Some(find) = find.as_callable() else { return Ok(None) };
    let value = find.call(&JsValue::undefined(), &[js_string!(name).into()], context)?;
    if value.is_undefined() { Ok(None) } else { of_value(value, None, context).map(Some) }
}

/// What `require` of this file gives.
fn required(path: &Path, context: &mut Context) -> JsResult<JsValue> {
    let require = context.global_object().get(js_string!("require"), context)?;
    match require.as_callable() {
        Some(require) => require.call(&JsValue::undefined(), &[js_string!(path.display().to_string()).into()], context),
        None => Ok(JsValue::undefined()),
    }
}

/// A module whose default is the value, with an export for each of its properties.
fn of_value(value: JsValue, path: Option<PathBuf>, context: &mut Context) -> JsResult<Module> {
    let mut names = vec![js_string!("default")];
    if let Some(object) = value.as_object() {
        for key in object.own_property_keys(context)? {
            if let boa_engine::property::PropertyKey::String(name) = key
                && name != js_string!("default")
            {
                names.push(name);
            }
        }
    }
    let steps = SyntheticModuleInitializer::from_copy_closure_with_captures(
        |module, (value, names), context| {
            for name in names {
                let export = if *name == js_string!("default") {
                    value.clone()
                } else {
                    value.to_object(context)?.get(name.clone(), context)?
                };
                module.set_export(name, export)?;
            }
            Ok(())
        },
        (value, names.clone()),
    );
    Ok(Module::synthetic(&names, steps, path, None, context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_above_the_root() {
        for (path, expected) in
            [("a.js", "/a.js"), ("./a/../b.js", "/b.js"), ("../../etc/passwd", "/etc/passwd"), ("/a/./b", "/a/b")]
        {
            assert_eq!(absolute(path), Path::new(expected));
        }
    }
}
