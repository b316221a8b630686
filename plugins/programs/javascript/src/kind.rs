//! What code is: an ECMAScript module, or a CommonJS one. What it parses as decides, because words of either stand in the texts and
//! comments of the other, too.

use std::path::Path;

use boa_engine::Source;
use boa_engine::ast::operations::{ContainsSymbol, contains};
use boa_engine::ast::scope::Scope;
use boa_engine::ast::{Module, Script};
use boa_engine::interner::Interner;
use boa_engine::parser::Parser;

/// What only a CommonJS module has. Code with none of it is the same as either, and is taken for the newer one.
const NAMES: [&str; 6] = ["module.exports", "exports.", "require(", "require.main", "__dirname", "__filename"];

/// The function that a CommonJS module is the body of.
pub(crate) fn wrapped(code: &str) -> String {
    // Only the first line of a file may be one for a shell. Its end stays, so that all lines keep their numbers.
    let code =
        if code.starts_with("#!") { code.find('\n').and_then(|end| code.get(end..)).unwrap_or("") } else { code };
    format!("(function (module, exports, require, __filename, __dirname) {{ {code}\n}})")
}

/// Whether a file is a CommonJS module: it says so, or it uses what only such a module has.
pub(crate) fn is_common(path: &Path, code: &str) -> bool {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("cjs") => true,
        Some("mjs") => false,
        _ => NAMES.iter().any(|name| code.contains(name)) && reads_as_common(code),
    }
}

/// The same of code without a name, which has `require` in any case.
pub(crate) fn is_common_without_name(code: &str) -> bool {
    let names = ["module.exports", "require.main", "exports."];
    names.iter().any(|name| code.contains(name)) && reads_as_common(code)
}

/// Whether code that is no CommonJS module is an ECMAScript one: one of them as it stands, or one with a mistake.
pub(crate) fn is_module(code: &str) -> bool {
    module(code).is_some() || begins_as_module(code)
}

fn reads_as_common(code: &str) -> bool {
    if common(code).is_some() {
        // `await (x)` parses as both: as a call of a function `await`, which nobody has. Without the word nothing waits.
        let waits = |module: Module| contains(&module, ContainsSymbol::AwaitExpression);
        return !code.contains("await") || !module(code).is_some_and(waits);
    }
    // What has a mistake either way: that one is told which belongs to what it was meant to be.
    module(code).is_none() && !begins_as_module(code)
}

/// Whether a line begins with `import` or `export`.
fn begins_as_module(code: &str) -> bool {
    code.lines().map(str::trim_start).any(|line| {
        let rest = line.strip_prefix("import").or_else(|| line.strip_prefix("export"));
        rest.is_some_and(|rest| rest.starts_with([' ', '{', '*', '"', '\'']))
    })
}

fn common(code: &str) -> Option<Script> {
    Parser::new(Source::from_bytes(&wrapped(code))).parse_script(&Scope::new_global(), &mut Interner::default()).ok()
}

fn module(code: &str) -> Option<Module> {
    Parser::new(Source::from_bytes(code)).parse_module(&Scope::new_global(), &mut Interner::default()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_common_file(path: &str, code: &str) -> bool {
        is_common(Path::new(path), code)
    }

    #[test]
    fn what_a_file_is_follows_from_its_name_and_else_from_what_only_one_kind_has() {
        assert!(is_common_file("/a.js", "const { b } = require('./b');\nmodule.exports = { b };"));
        assert!(is_common_file("/a.cjs", "") && !is_common_file("/a.mjs", "module.exports = 1"));
        assert!(!is_common_file("/a.js", "import b from './b.js';\nconst c = require('./c.cjs');"));
        assert!(!is_common_file("/a.js", "export const b = 1;") && !is_common_file("/a.js", "console.log(1)"));
        assert!(!is_common_file("/a.js", "const fs = require('fs');\nconst b = await f();"));
        assert!(is_common_file("/a.js", "exports.f = async () => {\n  await g();\n};"));
    }

    #[test]
    fn words_in_texts_and_comments_do_not_make_another_kind_of_a_file() {
        assert!(is_common_file("/a.js", "/*\nimport me with require\n*/\nmodule.exports = `\nexport default 1\n`;"));
        assert!(is_common_file("/a.js", "// await what comes\nmodule.exports = `\nto await it\n`;"));
        assert!(is_common_file("/a.js", "#!/usr/bin/env node\nwith (require('./a')) b();"));
        assert!(!is_common_file("/a.js", "export const a = 'module.exports';"));
    }

    #[test]
    fn a_file_that_waits_at_its_top_is_a_module_however_it_is_indented() {
        assert!(!is_common_file("/a.js", "const fs = require('fs');\nif (fs) {\n  await f();\n}"));
        assert!(!is_common_file("/a.js", "const fs = require('fs');\ntry {\n  await (f());\n} finally {}"));
        assert!(!is_common_file("/a.js", "const a = require('./a');\nfor await (const b of a) {}"));
        assert!(!is_common_without_name("module.exports = 1;\n  await f();"));
    }

    #[test]
    fn a_file_with_a_mistake_is_what_it_was_meant_to_be() {
        assert!(is_common_file("/a.js", "const a = require('./a');\nlet = = 1;"));
        assert!(!is_common_file("/a.js", "import fs from 'fs';\nconst a = require('./a');\nlet = = 1;"));
        assert!(is_module("import fs from 'fs';\nlet = = 1;") && is_module("await f();") && !is_module("let = = 1;"));
    }
}
