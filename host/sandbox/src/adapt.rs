//! From a command of WASI 0.1, a core module, to a component: with wasmtime's adapter, and with one of our own for the way out.
//! wasmtime's adapter knows success and failure only, and a program's exit code is half of what it says.

use std::borrow::Cow;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as PREVIEW1, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// How an import of the way out stands in a module: both names with their lengths before them.
const WAY_OUT: &[u8] = b"\x16wasi_snapshot_preview1\x09proc_exit";
/// The same with another module's name, as long as the first: so the module's sections stay as they are.
const OUR_WAY_OUT: &[u8] = b"\x16vivarium_exit_preview1\x09proc_exit";
const OUR_NAME: &str = "vivarium_exit_preview1";

const EXIT_WIT: &str = "package wasi:cli@0.2.12;
    interface exit { exit-with-code: func(status-code: u8); }
    world exiting { import exit; }";
const EXIT_MODULE: &str = r#"(module
    (import "wasi:cli/exit@0.2.12" "exit-with-code" (func $exit (param i32)))
    (func (export "proc_exit") (param i32)
        (call $exit (i32.and (local.get 0) (i32.const 255)))
        unreachable))"#;

/// The component that this is, or that it becomes where it is a command of WASI 0.1.
///
/// # Errors
/// What is wrong with the module.
pub(crate) fn as_component(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if !Parser::is_core_wasm(bytes) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut module = bytes.to_vec();
    let exits = take_our_way_out(&mut module)?;
    let encoder = ComponentEncoder::default().module(&module).map_err(told)?;
    let mut encoder = encoder.adapter(PREVIEW1, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER).map_err(told)?;
    if exits {
        encoder = encoder.adapter(OUR_NAME, &exit_adapter()?).map_err(told)?;
    }
    encoder.encode().map(Cow::Owned).map_err(told)
}

/// With all that lies beneath it.
fn told(error: impl std::fmt::Display) -> String {
    format!("{error:#}")
}

/// Lets the module leave through our adapter; says whether it leaves at all.
fn take_our_way_out(module: &mut [u8]) -> Result<bool, String> {
    let mut imports = None;
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(section) = payload.map_err(|error| error.to_string())? {
            imports = Some(section.range());
            break;
        }
    }
    let Some(imports) = imports.and_then(|range| module.get_mut(range)) else { return Ok(false) };
    let Some(at) = imports.windows(WAY_OUT.len()).position(|window| window == WAY_OUT) else { return Ok(false) };
    if let Some(name) = imports.get_mut(at..at + WAY_OUT.len()) {
        name.copy_from_slice(OUR_WAY_OUT);
    }
    Ok(true)
}

fn exit_adapter() -> Result<Vec<u8>, String> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("exit.wit", EXIT_WIT).map_err(told)?;
    let world = resolve.select_world(&[package], None).map_err(told)?;
    let mut module = wat::parse_str(EXIT_MODULE).map_err(told)?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(told)?;
    Ok(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_wasi_0_1_becomes_a_component_and_a_component_stays_what_it_is() {
        let command = r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "_start") (call $exit (i32.const 7))))"#;
        let module = wat::parse_str(command).unwrap();
        let component = as_component(&module).unwrap().into_owned();
        assert!(Parser::is_component(&component));
        assert!(component.windows(14).any(|window| window == b"exit-with-code"), "its exit code is handed on");
        assert_eq!(as_component(&component).unwrap(), component);
    }

    #[test]
    fn a_module_that_wants_what_is_not_there_is_refused_with_its_name() {
        let module = wat::parse_str(r#"(module (import "env" "system" (func)) (func (export "_start")))"#).unwrap();
        assert!(as_component(&module).unwrap_err().contains("env"));
        assert!(as_component(&wat::parse_str("(module)").unwrap()).is_err(), "no _start");
    }
}
