//! What a component shows of itself without running it: what it imports and exports, and which compilers made it.

use std::collections::BTreeSet;

use wasmparser::{KnownCustom, Parser, Payload, ProducersSectionReader, Validator};

use crate::binary::{BinaryError, Kind, kind};

/// The outside of a component.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surface {
    /// What it imports, with versions, in its own order.
    pub imports: Vec<String>,
    /// What it exports, with versions, in its own order.
    pub exports: Vec<String>,
    /// Languages and compilers, as they name themselves: a claim, not a proof.
    pub made_with: BTreeSet<String>,
}

/// Reads the outside of a component, and checks that it is a valid one.
///
/// # Errors
/// When it is none, with what would help.
pub fn surface(component: &[u8]) -> Result<Surface, BinaryError> {
    if kind(component)? == Kind::Module {
        let what = "and a plugin is a component: `vivarium plugin build` makes one of it where it can";
        return Err(BinaryError::NotAComponent(what.to_owned()));
    }
    let not_wasm = |error: wasmparser::BinaryReaderError| BinaryError::NotWasm(error.to_string());
    let mut found = Surface::default();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(not_wasm)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth = depth.saturating_add(1),
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    found.imports.push(import.map_err(not_wasm)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    found.exports.push(export.map_err(not_wasm)?.name.name.to_owned());
                }
            }
            Payload::CustomSection(section) => {
                if let KnownCustom::Producers(producers) = section.as_known() {
                    found.made_with.extend(producers_of(producers));
                }
            }
            _ => {}
        }
    }
    Validator::new().validate_all(component).map_err(not_wasm)?;
    Ok(found)
}

/// More than this is no list of compilers.
const MAX_PRODUCERS: usize = 64;
const MAX_PRODUCER_CHARS: usize = 100;

/// A broken list is left out: it says nothing about the plugin.
fn producers_of(section: ProducersSectionReader<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for field in section.into_iter().flatten() {
        for value in field.values.into_iter().flatten() {
            let text = format!("{} {}", value.name, value.version);
            if found.len() < MAX_PRODUCERS && !text.chars().any(char::is_control) {
                found.push(text.trim().chars().take(MAX_PRODUCER_CHARS).collect());
            }
        }
    }
    found
}
