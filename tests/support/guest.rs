//! Hostile guests, small enough to read: a core module in WAT is made a component of the contract's world, with a manifest, as any
//! toolchain would make it.

use serde_json::{Value, json};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{PackageId, Resolve, WorldId};

use crate::{repository_root, vivarium_binary};

/// What every guest needs: a memory and an allocator that only goes up.
const PRELUDE: &str = r#"
    (memory (export "memory") 2)
    (global $free (mut i32) (i32.const 1024))
    (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
        (global.set $free (i32.add (local.get $at) (local.get $size)))
        (block $fits
            (br_if $fits (i32.le_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))))
            (drop (memory.grow (i32.add (i32.div_u (local.get $size) (i32.const 65536)) (i32.const 1)))))
        (local.get $at))
"#;

/// A plugin with one tool, `hostile`, that takes any object. `body` is the body of the exported function; its parameters
/// are `$arguments` and `$arguments_len` (the JSON text), and it leaves the address of its result on the stack.
/// `imports` and `more` are put before and after.
///
/// # Panics
/// When the WAT is not valid.
#[must_use]
pub fn tool_plugin(imports: &str, more: &str, body: &str) -> Vec<u8> {
    tool_plugin_as(json!({}), imports, more, body)
}

/// The same with these fields of the manifest, over those that [`tool_plugin`] has.
///
/// # Panics
/// When the WAT is not valid.
#[must_use]
pub fn tool_plugin_as(fields: Value, imports: &str, more: &str, body: &str) -> Vec<u8> {
    let wat = format!(
        r#"(module {imports} {PRELUDE} {more}
            (func (export "vivarium:plugin/tool@0.1.0#call")
                (param i32 i32) (param $arguments i32) (param $arguments_len i32) (param i32 i32 i32 i32 i32 i32) (result i32)
                {body}))"#
    );
    let tool = json!({
        "name": "hostile", "title": "Hostile", "description": "Does what it should not.",
        "inputSchema": {"type": "object"},
    });
    let mut manifest = manifest(json!({"tools": [tool]}));
    manifest.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    component("tool-plugin", &wat, &manifest)
}

/// A tool's manifest with this name that takes any object.
#[must_use]
pub fn tool(name: &str) -> Value {
    json!({"name": name, "title": "T", "description": "Does this and that.", "inputSchema": {"type": "object"}})
}

/// The body of a tool that answers with this text, which must be short and plain.
#[must_use]
pub fn saying(text: &str) -> (String, String) {
    let data = format!(r#"(data (i32.const 700) "{text}")"#);
    let body = format!(
        r"(i32.store8 (i32.const 512) (i32.const 0))
        (i32.store (i32.const 516) (i32.const 700))
        (i32.store (i32.const 520) (i32.const {}))
        (i32.store (i32.const 524) (i32.const 0))
        (i32.store (i32.const 528) (i32.const 0))
        (i32.const 512)",
        text.len()
    );
    (data, body)
}

/// The body of a tool that gives its arguments back.
pub const ECHO: &str = r"
    (i32.store8 (i32.const 512) (i32.const 0))
    (i32.store (i32.const 516) (local.get $arguments))
    (i32.store (i32.const 520) (local.get $arguments_len))
    (i32.store (i32.const 524) (i32.const 0))
    (i32.store (i32.const 528) (i32.const 0))
    (i32.const 512)";

/// A plugin with one mode. `body` leaves the address of its result on the stack.
///
/// # Panics
/// When the WAT is not valid.
#[must_use]
pub fn mode_plugin(name: &str, imports: &str, body: &str) -> Vec<u8> {
    let wat = format!(
        r#"(module {imports} {PRELUDE}
            (func (export "vivarium:plugin/mode@0.1.0#run")
                (param i32 i32) (param $input i32) (param $input_len i32) (param i32 i32 i32 i32 i32 i32 i32 i32 i32)
                (result i32)
                {body}))"#
    );
    let mode = json!({
        "name": name, "title": "Hostile", "description": "Does what it should not.", "defaultMaxCycles": 1,
    });
    let mut manifest = manifest(json!({"modes": [mode]}));
    manifest["name"] = json!(format!("test/{name}"));
    component("mode-plugin", &wat, &manifest)
}

/// The guest of `tests/guests/hostile`, which does what its arguments say and asks for all that there is. `fields` of the manifest go
/// over those.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn hostile(fields: &Value) -> Vec<u8> {
    let binary = vivarium_binary();
    let target = binary.ancestors().nth(2).expect("a binary stands in target/<profile>");
    let path = target.join("test-guests/hostile.wasm");
    let read = std::fs::read(&path);
    let mut component =
        read.unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask test -- hostile` makes it", path.display()));
    let mut manifest = manifest(json!({
        "tools": [tool("hostile")],
        "requests": {"hosts": ["*"], "secrets": ["token"], "settings": ["place"], "files": "write", "state": true},
    }));
    manifest.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    append_section(&mut component, "vivarium:manifest", manifest.to_string().as_bytes());
    component
}

/// A component that is both a tool and a mode, `hostile` each, with `body` as that of [`tool_plugin`].
///
/// # Panics
/// When the WAT is not valid.
#[must_use]
pub fn tool_and_mode_plugin(imports: &str, body: &str) -> Vec<u8> {
    let wat = format!(
        r#"(module {imports} {PRELUDE}
            (func (export "vivarium:plugin/tool@0.1.0#call")
                (param i32 i32) (param $arguments i32) (param $arguments_len i32) (param i32 i32 i32 i32 i32 i32) (result i32)
                {body})
            (func (export "vivarium:plugin/mode@0.1.0#run")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (unreachable)))"#
    );
    let mode = json!({"name": "hostile", "title": "T", "description": "d", "defaultMaxCycles": 1});
    let world = "package tests:both; world both { include vivarium:plugin/tool-plugin@0.1.0; include vivarium:plugin/mode-plugin@0.1.0; }";
    component_of(world, &wat, &manifest(json!({"tools": [tool("hostile")], "modes": [mode]})))
}

fn manifest(provides: Value) -> Value {
    let mut manifest = json!({
        "name": "test/hostile", "version": "1.0.0", "contract": "0.1.0", "description": "A test's guest.",
    });
    manifest.as_object_mut().unwrap().extend(provides.as_object().unwrap().clone());
    manifest
}

/// A component of `world`, with this manifest.
///
/// # Panics
/// When the WAT is not valid or does not fit the world.
#[must_use]
pub fn component(world: &str, wat: &str, manifest: &Value) -> Vec<u8> {
    let (resolve, package) = contract();
    let world = resolve.select_world(&[package], Some(world)).expect("the contract has this world");
    encoded(&resolve, world, wat, manifest)
}

/// A component of the only world of this package.
fn component_of(package: &str, wat: &str, manifest: &Value) -> Vec<u8> {
    let (mut resolve, _) = contract();
    let package = resolve.push_str("world.wit", package).expect("the test's world is valid");
    let world = resolve.select_world(&[package], None).expect("the package has one world");
    encoded(&resolve, world, wat, manifest)
}

fn contract() -> (Resolve, PackageId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(repository_root().join("wit/0.1.0")).expect("the contract is valid");
    (resolve, package)
}

fn encoded(resolve: &Resolve, world: WorldId, wat: &str, manifest: &Value) -> Vec<u8> {
    let mut core = wat::parse_str(wat).expect("the test's WAT is valid");
    embed_component_metadata(&mut core, resolve, world, StringEncoding::UTF8).expect("metadata can be embedded");
    let mut component = ComponentEncoder::default()
        .module(&core)
        .expect("the module fits the world")
        .validate(true)
        .encode()
        .expect("a component can be made");
    append_section(&mut component, "vivarium:manifest", manifest.to_string().as_bytes());
    component
}

/// Appends a custom section: id 0, and the lengths in LEB128.
pub fn append_section(component: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut content = Vec::new();
    leb128(&mut content, name.len());
    content.extend_from_slice(name.as_bytes());
    content.extend_from_slice(data);
    component.push(0);
    leb128(component, content.len());
    component.extend_from_slice(&content);
}

fn leb128(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}
